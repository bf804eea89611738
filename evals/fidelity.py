"""Fidelity: where the student does as its teacher does, and what it lost on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from distill_gov.records.errors import BadInputError
from evals.catalogue import OVER_REFUSAL, SAME_AS_TEACHER, SCHEMA_VALID, VIOLATION
from evals.evidence import CaseResult, FieldDecision
from evals.intervals import clopper_pearson

__all__ = [
    "ALL",
    "MIN_CELL",
    "WORST",
    "Agreement",
    "Fidelity",
    "Paired",
    "WorstCase",
    "agreement",
    "fidelity",
    "paired",
    "right_wrong",
    "with_agreement",
]

ALL = "all"
"""The name under which :func:`right_wrong` counts every case."""

MIN_CELL = 5
"""Slices of fewer cases are named and not counted: a table of one or two cases says who they were, and nothing of the rest."""

WORST = 20
"""How many cases are listed at most."""

Pair = tuple[CaseResult, CaseResult]
"""Student and teacher on one case."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the student decides as the teacher does, right or wrong."""

    field: str
    """The decision field; empty: all of them at once."""
    n: int
    """Cases that both ran; an answer without a readable decision agrees with nothing."""
    agreed: int

    @property
    def share(self) -> float | None:
        """None without cases."""
        return self.agreed / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Clopper-Pearson, 95 % two-sided, cases taken as independent; None without cases."""
        if not self.n:
            return None
        found = clopper_pearson(self.agreed, self.n)
        return (found.low or 0.0, 1.0 if found.high is None else found.high)


@dataclass(frozen=True, slots=True)
class Paired:
    """Cases by which of the two something holds of: being right, being valid, violating the policy."""

    both: int = 0
    teacher_only: int = 0
    """Of what is good: what the student lost."""
    student_only: int = 0
    """Of what is bad: what the student added; what both do is inherited."""
    neither: int = 0

    @property
    def n(self) -> int:
        return self.both + self.teacher_only + self.student_only + self.neither


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A case on which the student falls short of its teacher. It names the case and never quotes it."""

    case: str
    why: tuple[str, ...]
    """Of ``violation`` (the student's alone), ``errored``, ``invalid`` (the teacher's answer is not), ``lost`` (a field that
    the teacher had right), ``differs`` (from the teacher where nobody wrote a reference); the gravest first."""
    fields: tuple[str, ...]
    """The fields that are lost or differ."""
    confidence: float | None
    """The student's highest confidence among them; None where nobody knows it."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The student against its teacher on one suite."""

    n: int
    """Cases that both ran."""
    n_errored: Paired
    """Cases that errored, by who failed on them; below they count as what agrees with nothing, and as wrong."""
    exact: Agreement
    """All decisions of an answer at once."""
    fields: tuple[Agreement, ...]
    format: Paired
    """Valid under the schema."""
    policy: Mapping[str, Paired]
    """``violation`` and ``over_refusal``, each over the cases to which it applies."""
    right: Mapping[str, Mapping[str, Paired]]
    """Decision field, then slice (``all`` among them) to who was right."""
    small: tuple[str, ...]
    """Slices under the minimum cell size: not in ``right``."""
    worst: tuple[WorstCase, ...]
    """The gravest first."""
    n_worse: int
    """Cases that could have been listed."""

    def facts(self) -> dict[str, Any]:
        """The same as JSON values, with the intervals."""

        def shown(one: Agreement) -> dict[str, Any]:
            low, high = one.interval or (None, None)
            return {"n": one.n, "agreed": one.agreed, "low": low, "high": high}

        plain = asdict(self)
        plain |= {"exact": shown(self.exact), "fields": {one.field: shown(one) for one in self.fields}}
        plain |= {"small": list(self.small), "policy": {k: asdict(v) for k, v in self.policy.items()}}
        plain["worst"] = [{**asdict(w), "why": list(w.why), "fields": list(w.fields)} for w in self.worst]
        return plain


def fidelity(
    student: Sequence[CaseResult], teacher: Sequence[CaseResult], *, min_cell: int = MIN_CELL, worst: int = WORST
) -> Fidelity:
    """Compare two subjects on the same cases of one suite.

    Raises:
        BadInputError: the two ran different cases, or a score or confidence is none.
    """
    pairs = paired(student, teacher)
    names = _fields(pairs)
    cells: dict[str, int] = {}
    for one, _ in pairs:
        for name in one.slices:
            cells[name] = cells.get(name, 0) + 1
    small = tuple(sorted(name for name, n in cells.items() if n < min_cell))
    right = {name: _right_wrong(pairs, name) for name in names}
    ranked = sorted((found for pair in pairs if (found := _worse(pair, names))), key=_gravity)
    return Fidelity(
        n=len(pairs),
        n_errored=_table(pairs, lambda r: r.status == "errored"),
        exact=Agreement("", len(pairs), sum(_same(pair, names) for pair in pairs)),
        fields=tuple(_agreement(pairs, name) for name in names),
        format=_table(pairs, _valid),
        policy={score: _table(pairs, partial(_flag, score=score)) for score in (VIOLATION, OVER_REFUSAL)},
        right={name: {s: t for s, t in tables.items() if t.n and s not in small} for name, tables in right.items()},
        small=small,
        worst=tuple(ranked[:worst]),
        n_worse=len(ranked),
    )


def agreement(student: Sequence[CaseResult], teacher: Sequence[CaseResult]) -> dict[str, Agreement]:
    """Agreement per decision field, on the same cases.

    Raises:
        BadInputError: the two ran different cases.
    """
    pairs = paired(student, teacher)
    return {name: _agreement(pairs, name) for name in _fields(pairs)}


def right_wrong(student: Sequence[CaseResult], teacher: Sequence[CaseResult], field: str) -> dict[str, Paired]:
    """Who was right on a field, for all cases and per slice. Errored and unreadable answers are wrong.

    Raises:
        BadInputError: the two ran different cases.
    """
    return _right_wrong(paired(student, teacher), field)


def with_agreement(student: Sequence[CaseResult], teacher: Sequence[CaseResult]) -> list[CaseResult]:
    """The student's results with the score ``same_as_teacher``, which the metric ``teacher_agreement`` reads.

    Raises:
        BadInputError: the two ran different cases.
    """
    pairs = paired(student, teacher)
    names = _fields(pairs)
    same = {one.case: float(_same((one, other), names)) for one, other in pairs}
    if not names:
        return list(student)
    return [replace(result, scores={**result.scores, SAME_AS_TEACHER: same[result.case]}) for result in student]


# --- pairs


def paired(student: Sequence[CaseResult], teacher: Sequence[CaseResult]) -> list[Pair]:
    """Student and teacher on every case, in order of its id.

    Raises:
        BadInputError: they ran different cases, one twice, or another suite.
    """
    ours, theirs = {r.case: r for r in student}, {r.case: r for r in teacher}
    if ours.keys() != theirs.keys() or len(ours) != len(student) or len(theirs) != len(teacher):
        raise BadInputError("student and teacher did not run the same cases, each once", fix="Run both on the same suite.")
    if len({(r.suite, r.dataset) for r in (*student, *teacher)}) > 1:
        raise BadInputError("student and teacher did not run one and the same suite", fix="Compare suite by suite.")
    return [(ours[case], theirs[case]) for case in sorted(ours)]


def _fields(pairs: Sequence[Pair]) -> list[str]:
    return sorted({d.field for pair in pairs for result in pair for d in result.decisions})


def _table(pairs: Sequence[Pair], holds: Callable[[CaseResult], bool | None]) -> Paired:
    """Cases by of whom it holds; a case of which neither can say counts nowhere, and what one cannot say does not hold."""
    counts = dict.fromkeys(_CELLS.values(), 0)
    for pair in pairs:
        one, other = (holds(result) for result in pair)
        if one is not None or other is not None:
            counts[_CELLS[bool(one), bool(other)]] += 1
    return Paired(**counts)


_CELLS: Mapping[tuple[bool, bool], str] = {
    (True, True): "both",
    (False, True): "teacher_only",
    (True, False): "student_only",
    (False, False): "neither",
}


def _decision(result: CaseResult, field: str) -> FieldDecision | None:
    return next((d for d in result.decisions if d.field == field), None) if result.status == "ok" else None


def _predicted(result: CaseResult, field: str) -> str | None:
    decision = _decision(result, field)
    return decision.predicted if decision and _valid(result) is not False else None


def _right(result: CaseResult, field: str) -> bool | None:
    """None where nobody wrote a reference, or the case errored, which tells nothing of one."""
    decision = _decision(result, field)
    if decision is None or decision.correct is None:
        return None
    return decision.correct and _predicted(result, field) is not None


def _flag(result: CaseResult, score: str) -> bool | None:
    """A score of 0 or 1; None where it does not apply."""
    if score not in result.scores:
        return None
    value = result.scores[score]
    if isinstance(value, bool) or value not in (0, 1):
        raise BadInputError(f"score `{score}` of case `{result.case}` is neither 0 nor 1", where=f"suite {result.suite}")
    return value == 1


def _valid(result: CaseResult) -> bool | None:
    return False if result.status == "errored" else _flag(result, SCHEMA_VALID)


# --- what is counted


def _agreement(pairs: Sequence[Pair], field: str) -> Agreement:
    return Agreement(field, len(pairs), sum(_same(pair, [field]) for pair in pairs))


def _same(pair: Pair, fields: Sequence[str]) -> bool:
    decided = [[_predicted(result, name) for name in fields] for result in pair]
    return bool(fields) and None not in decided[0] and decided[0] == decided[1]


def _right_wrong(pairs: Sequence[Pair], field: str) -> dict[str, Paired]:
    # Where both errored nobody knows of a reference; the field has one elsewhere, so both count as wrong.
    labelled = any(_right(result, field) is not None for pair in pairs for result in pair)

    def right(result: CaseResult) -> bool | None:
        return False if labelled and result.status == "errored" else _right(result, field)

    by_slice: dict[str, list[Pair]] = {ALL: list(pairs)}
    for pair in pairs:
        if right(pair[0]) is not None or right(pair[1]) is not None:
            for name in pair[0].slices:
                by_slice.setdefault(name, []).append(pair)
    return {name: _table(members, right) for name, members in by_slice.items()}


# --- the worst cases

_GRAVITY = ("violation", "errored", "invalid", "lost", "differs")


def _worse(pair: Pair, fields: Sequence[str]) -> WorstCase | None:
    """What the student did worse than its teacher on one case; None where it did not."""
    one, other = pair
    lost = [name for name in fields if _right(other, name) and not _right(one, name)]
    unlabelled = [name for name in fields if _right(one, name) is None and _right(other, name) is None]
    differing = [name for name in unlabelled if _predicted(other, name) not in (None, _predicted(one, name))]
    found = {
        "violation": bool(_flag(one, VIOLATION)) and _flag(other, VIOLATION) is False,
        "errored": one.status == "errored" and other.status != "errored",
        "invalid": one.status != "errored" and _valid(one) is False and bool(_valid(other)),
        "lost": bool(lost),
        "differs": bool(differing),
    }
    why = tuple(code for code in _GRAVITY if found[code])
    if not why:
        return None
    sure = [decision.confidence for name in (*lost, *differing) if (decision := _decision(one, name))]
    known = [_checked(confidence, one.case) for confidence in sure if confidence is not None]
    return WorstCase(one.case, why, tuple(lost + differing), max(known, default=None))


def _gravity(worst: WorstCase) -> tuple[int, int, float, str]:
    """What sorts the gravest first: the reason, the fields lost, how sure the student was, and then by id."""
    return (_GRAVITY.index(worst.why[0]), -len(worst.fields), -(worst.confidence or 0.0), worst.case)


def _checked(confidence: float, case: str) -> float:
    if isinstance(confidence, bool) or not math.isfinite(confidence) or not 0 <= confidence <= 1:
        raise BadInputError(f"a confidence of case `{case}` is no number between 0 and 1")
    return confidence
