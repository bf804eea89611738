"""Fidelity: where the student does as its teacher does, and what it lost on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill_gov.records.errors import BadInputError
from evals.evidence import CaseResult, FieldDecision

__all__ = ["ALL", "Agreement", "RightWrong", "agreement", "right_wrong"]

ALL = "all"
"""The name under which :func:`right_wrong` counts every case."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the student decides as the teacher does, right or wrong."""

    field: str
    n: int
    """Cases that both ran; an answer without a readable decision agrees with nothing."""
    agreed: int

    @property
    def share(self) -> float | None:
        """None without cases."""
        return self.agreed / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class RightWrong:
    """Cases with a reference by who was right."""

    both: int = 0
    teacher_only: int = 0
    """What the student lost."""
    student_only: int = 0
    neither: int = 0


def agreement(student: Sequence[CaseResult], teacher: Sequence[CaseResult]) -> dict[str, Agreement]:
    """Agreement per decision field, on the same cases.

    Raises:
        BadInputError: the two ran different cases.
    """
    pairs = _paired(student, teacher)
    names = sorted({d.field for one, other in pairs for d in (*one.decisions, *other.decisions)})
    found = {}
    for name in names:
        predictions = [(_predicted(one, name), _predicted(other, name)) for one, other in pairs]
        found[name] = Agreement(name, len(pairs), sum(a is not None and a == b for a, b in predictions))
    return found


def right_wrong(student: Sequence[CaseResult], teacher: Sequence[CaseResult], field: str) -> dict[str, RightWrong]:
    """Who was right on a field, for all cases and per slice. Errored and unreadable answers are wrong.

    Raises:
        BadInputError: the two ran different cases.
    """
    counts: dict[str, dict[str, int]] = {ALL: {}}
    for one, other in _paired(student, teacher):
        if not (_has_reference(one, field) or _has_reference(other, field)):
            continue
        cell = _CELLS[_right(one, field), _right(other, field)]
        for name in (ALL, *one.slices):
            row = counts.setdefault(name, {})
            row[cell] = row.get(cell, 0) + 1
    return {name: RightWrong(**row) for name, row in counts.items()}


_CELLS: Mapping[tuple[bool, bool], str] = {
    (True, True): "both",
    (False, True): "teacher_only",
    (True, False): "student_only",
    (False, False): "neither",
}


def _paired(student: Sequence[CaseResult], teacher: Sequence[CaseResult]) -> list[tuple[CaseResult, CaseResult]]:
    ours, theirs = {r.case: r for r in student}, {r.case: r for r in teacher}
    if ours.keys() != theirs.keys() or len(ours) != len(student) or len(theirs) != len(teacher):
        raise BadInputError("student and teacher did not run the same cases, each once", fix="Run both on the same suite.")
    return [(ours[case], theirs[case]) for case in sorted(ours)]


def _decision(result: CaseResult, field: str) -> FieldDecision | None:
    return next((d for d in result.decisions if d.field == field), None) if result.status == "ok" else None


def _predicted(result: CaseResult, field: str) -> str | None:
    decision = _decision(result, field)
    return decision.predicted if decision else None


def _right(result: CaseResult, field: str) -> bool:
    decision = _decision(result, field)
    return decision is not None and decision.correct is True


def _has_reference(result: CaseResult, field: str) -> bool:
    decision = _decision(result, field)
    return decision is not None and decision.correct is not None
