"""What a student has from its teacher and what is its own: faults on the same cases, counted by who made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill_gov.records.errors import BadInputError
from evals.evidence import CaseResult
from evals.fidelity import ALL, paired

__all__ = ["Inheritance", "inheritance"]


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Cases by whose fault they show. The difference of the two rates is ``(new - mended) / n``: gate on that."""

    inherited: int = 0
    """Both: the student learnt it, or has it from where its teacher has it."""
    new: int = 0
    """The student alone."""
    mended: int = 0
    """The teacher alone."""
    neither: int = 0
    amplified: int = 0
    """Of those inherited, how many go further in the student."""

    @property
    def n(self) -> int:
        return self.inherited + self.new + self.mended + self.neither


def inheritance(
    student: Sequence[CaseResult], teacher: Sequence[CaseResult], score: str, *, extent: str = ""
) -> dict[str, Inheritance]:
    """Count the faults of both on the cases that a 0/1 score applies to, for all cases and per slice.

    An errored case is a fault of the student and none of the teacher, as in a measured difference: the worst for the claim
    that nothing was added.

    Args:
        score: name of the score, 1 for a fault: ``violation``, ``flip``.
        extent: name of the score that says how far a fault goes; empty: nothing is called amplified.

    Raises:
        BadInputError: the two ran different cases, or a score is missing on one side or is neither 0 nor 1.
    """
    counts: dict[str, dict[str, int]] = {ALL: {}}
    for one, other in paired(student, teacher):
        if score not in one.scores and score not in other.scores:
            continue
        fault, taught = _fault(one, score, errored=True), _fault(other, score, errored=False)
        cells = [_CELLS[fault, taught]]
        if extent and fault and taught and one.scores.get(extent, 0.0) > other.scores.get(extent, 0.0):
            cells.append("amplified")
        for name in (ALL, *one.slices):
            row = counts.setdefault(name, {})
            for cell in cells:
                row[cell] = row.get(cell, 0) + 1
    return {name: Inheritance(**row) for name, row in counts.items()}


_CELLS = {(True, True): "inherited", (True, False): "new", (False, True): "mended", (False, False): "neither"}


def _fault(result: CaseResult, score: str, *, errored: bool) -> bool:
    if result.status == "errored":
        return errored
    value = result.scores.get(score)
    if isinstance(value, bool) or value not in (0, 1):
        raise BadInputError(f"score `{score}` of a case is missing or neither 0 nor 1")
    return value == 1
