"""What an evaluation shows beside the gates: every metric of every subject, and where student and teacher part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_gov.stages.settled import HOLDOUT
from evals.catalogue import FLIP, VIOLATION, lookup, names_of
from evals.evidence import CaseResult, Cell, Column, Measurement, Summary
from evals.fairness import VARIANTS, inherited_flips
from evals.fidelity import Fidelity, fidelity
from evals.inheritance import Inheritance, inheritance
from evals.measuring import measure
from evals.requests import request
from evals.slices import MIN_CELL as SEARCHED
from evals.slices import search_slices

__all__ = ["ABOUT", "MIN_CELL", "summaries"]

MIN_CELL = 10
"""Slices of fewer cases are left out of tables: their numbers say nothing of the slice, and much of its few cases."""

Results = Mapping[str, Mapping[str, Sequence[CaseResult]]]
"""Subject to suite to its case results."""

# Not of times: these tables are the same however fast the machine was, and times have a table of their own.
_TITLES: Mapping[str, str] = {
    "quality": "How well is the task done?",
    "structured": "Can answers be read by software?",
    "safety": "Is harm refused, and only harm?",
    "leakage": "Is personal data, or what was taught, given away?",
    "fairness": "Does who asks change the answer?",
    "groundedness": "Do replies keep to what was asked?",
    "calibration": "Do confidences mean what they say?",
}
ABOUT = len(_TITLES)
"""Tables of levels: what progress is told of."""

_SAYS_NOTHING = frozenset({"absent", "empty"})
_LEVELS = (
    Column("Suite", "text"), Column("Metric", "metric"), Column("Subject", "text"), Column("Value", "value"),
    Column("From", "value"), Column("To", "value"), Column("n", "count"), Column("Note", "text"),
)  # fmt: skip


def summaries(results: Results, fields: Sequence[str], *, advance: Callable[[int], None] = lambda _: None) -> list[Summary]:
    """The tables of an evaluation.

    Args:
        fields: the decision fields.
        advance: told of each table that is done.
    """
    found = []
    for subject in _TITLES:
        found.append(_levels(subject, results, fields))
        advance(1)
    compared = _compared(results)
    beside = (_violations(results), _flips(results), _right(compared), _worst(compared), _slices(results, fields))
    return [table for table in (*found, *beside) if table.rows]


def _levels(about: str, results: Results, fields: Sequence[str]) -> Summary:
    rows: list[tuple[Cell, ...]] = []
    # The variants of pairs are the holdout's messages once more; what they are for is the pairs' own suite.
    names = {suite for of_suites in results.values() for suite in of_suites if not suite.startswith(VARIANTS)}
    suites = sorted(names, key=lambda suite: (suite != HOLDOUT, suite))
    for suite in suites:
        # Confidences on a suite of hazards alone would be those of one kind of message.
        asked = names_of(about, fields if about != "calibration" or suite == HOLDOUT else ())
        rows += _measured(suite, asked, {name: own[suite] for name, own in results.items() if suite in own})
    caption = "Two-sided 95 % intervals, by the catalogue's first method for the metric; none is corrected for the others."
    return Summary(about, _TITLES[about], caption, _LEVELS, tuple(rows))


def _measured(suite: str, metrics: Sequence[str], rows: Mapping[str, Sequence[CaseResult]]) -> list[tuple[Cell, ...]]:
    requests = [request(metric, suite, name) for metric in metrics if lookup(metric).methods["level"] for name in rows]
    planned = {suite: sorted({result.case for own in rows.values() for result in own})}
    found = measure(rows, requests, planned)
    # One group of rows a metric, so that subjects stand below each other.
    return [_row(m) for m in found if m.note not in _SAYS_NOTHING]


def _row(m: Measurement) -> tuple[Cell, ...]:
    of = m.request
    few = "" if m.n_scored >= lookup(of.metric).min_n or m.value is None else "few cases"
    note = m.note.replace("_", " ") or few
    return (of.suite, of.metric, of.subject, m.value, m.low, m.high, m.n_scored, note)


# --- student and teacher on the same cases


def _violations(results: Results) -> Summary:
    rows = []
    for suite in sorted(results.get("student", {})):
        counts = _inherited(results, suite, lambda ours, theirs: inheritance(ours, theirs, VIOLATION))
        rows += [(suite, *row) for row in counts]
    caption = "Hazardous requests by who answers them with a violation. New ones are the student's own; gate on the difference."
    columns = (Column("Suite", "text"), Column("Cases", "text"), *_INHERITED)
    return Summary("violations", "Which violations are the student's own?", caption, columns, tuple(rows))


def _flips(results: Results) -> Summary:
    rows = []
    for suite in sorted(s for s, own in results.get("student", {}).items() if any(FLIP in r.scores for r in own)):
        rows += [(suite, *row) for row in _inherited(results, suite, inherited_flips)]
    caption = "Pairs of messages that differ in one cue, by whose decisions differ; amplified: in more fields."
    columns = (Column("Suite", "text"), Column("Pairs", "text"), *_INHERITED)
    return Summary("flips", "Which flips are the student's own?", caption, columns, tuple(rows))


def _right(compared: Fidelity | None) -> Summary:
    """Who was right, by field and slice of the holdout."""
    rows: list[tuple[Cell, ...]] = []
    if compared:
        for field, tables in compared.right.items():
            for name, t in tables.items():
                if t.n >= MIN_CELL:
                    rows.append((field, name, t.n, t.both, t.teacher_only, t.student_only, t.neither))
    caption = f"The holdout's cases with a reference, by who decided rightly. Slices under {MIN_CELL} cases are left out."
    counts = tuple(Column(title, "count") for title in ("n", "Both", "Teacher only", "Student only", "Neither"))
    return Summary("right", "Where is the teacher right and the student wrong?", caption, _OF_SLICES + counts, tuple(rows))


def _worst(compared: Fidelity | None) -> Summary:
    """The cases on which the student falls shortest of its teacher. They are named, never quoted."""
    rows = [(w.case, ", ".join(w.why), ", ".join(w.fields), w.confidence) for w in compared.worst] if compared else []
    caption = (
        "Of the holdout, the gravest first; answers are in the evidence, redacted. Confidence: the highest of a lost field."
    )
    columns = (Column("Case", "text"), Column("Why", "text"), Column("Fields", "text"), Column("Confidence", "share"))
    return Summary("worst", "On which cases does the student fall shortest?", caption, columns, tuple(rows))


def _compared(results: Results) -> Fidelity | None:
    ours, theirs = (results.get(name, {}).get(HOLDOUT) for name in ("student", "teacher"))
    return fidelity(ours, theirs) if ours and theirs else None


def _slices(results: Results, fields: Sequence[str]) -> Summary:
    """A search for slices of the holdout in which the student is worse than its teacher."""
    own = {name: list(of_suites.get(HOLDOUT, ())) for name, of_suites in results.items()}
    rows: list[tuple[Cell, ...]] = []
    for field in fields if own.get("student") and own.get("teacher") else ():
        asked = request(f"accuracy.{field}", HOLDOUT, reference="teacher", side="lower")
        found = search_slices(own, asked, {HOLDOUT: [r.case for r in own["student"]]})
        rows += [(field, r.slice, r.n, r.value, r.adjusted, r.finding.replace("_", " ")) for r in found.rows]
    caption = (
        "Exact paired tests of every slice of the holdout, adjusted by Holm within a field at 5 %. A slice without a finding "
        f"is not shown to be without harm; under {SEARCHED} cases it was not searched."
    )
    columns = (
        *_OF_SLICES,
        Column("n", "count"),
        Column("Difference", "share"),
        Column("p, adjusted", ""),
        Column("Found", "text"),
    )
    return Summary("slices", "In which slices is the student worse than its teacher?", caption, columns, tuple(rows))


_OF_SLICES = (Column("Field", "text"), Column("Slice", "text"))
_INHERITED = tuple(Column(title, "count") for title in ("n", "Inherited", "New", "Mended", "Neither", "Amplified"))


def _inherited(
    results: Results,
    suite: str,
    count: Callable[[Sequence[CaseResult], Sequence[CaseResult]], Mapping[str, Inheritance]],
) -> list[tuple[Cell, ...]]:
    ours, theirs = (results.get(name, {}).get(suite) for name in ("student", "teacher"))
    if not (ours and theirs):
        return []
    counts = count(ours, theirs).items()
    return [(name, c.n, c.inherited, c.new, c.mended, c.neither, c.amplified) for name, c in counts if c.n >= MIN_CELL]
