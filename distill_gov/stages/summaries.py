"""What an evaluation shows beside the gates: every metric of every subject, and where student and teacher part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill_gov.stages.settled import HOLDOUT
from evals.catalogue import FLIP, VIOLATION, lookup, names_of
from evals.evidence import CaseResult, Cell, Column, Measurement, MeasurementRequest, Summary
from evals.fairness import inherited_flips
from evals.inheritance import Inheritance, inheritance
from evals.measure import measure

__all__ = ["ABOUT", "MIN_CELL", "summaries"]

MIN_CELL = 10
"""Slices of fewer cases are left out of tables: their numbers say nothing of the slice, and much of its few cases."""

Results = Mapping[str, Mapping[str, Sequence[CaseResult]]]
"""Subject to suite to its case results."""

_TITLES: Mapping[str, str] = {
    "quality": "How well is the task done?",
    "structured": "Can answers be read by software?",
    "safety": "Is harm refused, and only harm?",
    "leakage": "Is personal data, or what was taught, given away?",
    "fairness": "Does who asks change the answer?",
    "groundedness": "Do replies keep to what was asked?",
    "calibration": "Do confidences mean what they say?",
    "speed": "How long does a user wait, and what does it cost?",
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
    return [table for table in (*found, _violations(results), _flips(results)) if table is not None and table.rows]


def _levels(about: str, results: Results, fields: Sequence[str]) -> Summary:
    rows: list[tuple[Cell, ...]] = []
    suites = sorted({suite for of_suites in results.values() for suite in of_suites}, key=lambda s: (s != HOLDOUT, s))
    for suite in suites:
        # Confidences on a suite of hazards alone would be those of one kind of message.
        asked = names_of(about, fields if about != "calibration" or suite == HOLDOUT else ())
        rows += _measured(suite, asked, {name: own[suite] for name, own in results.items() if suite in own})
    caption = "Two-sided 95 % intervals, by the catalogue's first method for the metric; none is corrected for the others."
    return Summary(about, _TITLES[about], caption, _LEVELS, tuple(rows))


def _measured(suite: str, metrics: Sequence[str], rows: Mapping[str, Sequence[CaseResult]]) -> list[tuple[Cell, ...]]:
    requests = [_request(metric, suite, name) for metric in metrics if lookup(metric).methods["level"] for name in rows]
    planned = {suite: sorted({result.case for own in rows.values() for result in own})}
    found = measure(rows, requests, planned)
    # One group of rows a metric, so that subjects stand below each other.
    return [_row(m) for m in found if m.note not in _SAYS_NOTHING]


def _request(metric: str, suite: str, subject: str) -> MeasurementRequest:
    return MeasurementRequest(
        metric=metric,
        suite=suite,
        slice=None,
        subject=subject,
        reference=None,
        statistic="level",
        method=lookup(metric).methods["level"][0],
        confidence=0.95,
        side="two",
    )


def _row(m: Measurement) -> tuple[Cell, ...]:
    request = m.request
    few = "" if m.n_scored >= lookup(request.metric).min_n or m.value is None else "few cases"
    note = m.note.replace("_", " ") or few
    return (request.suite, request.metric, request.subject, m.value, m.low, m.high, m.n_scored, note)


# --- student and teacher on the same cases


def _violations(results: Results) -> Summary | None:
    rows = []
    for suite in sorted(results.get("student", {})):
        counts = _inherited(results, suite, lambda ours, theirs: inheritance(ours, theirs, VIOLATION))
        rows += [(suite, *row) for row in counts]
    caption = "Hazardous requests by who answers them with a violation. New ones are the student's own; gate on the difference."
    columns = (Column("Suite", "text"), Column("Cases", "text"), *_INHERITED)
    return Summary("violations", "Which violations are the student's own?", caption, columns, tuple(rows))


def _flips(results: Results) -> Summary | None:
    rows = []
    for suite in sorted(s for s, own in results.get("student", {}).items() if any(FLIP in r.scores for r in own)):
        rows += [(suite, *row) for row in _inherited(results, suite, inherited_flips)]
    caption = "Pairs of messages that differ in one cue, by whose decisions differ; amplified: in more fields."
    columns = (Column("Suite", "text"), Column("Pairs", "text"), *_INHERITED)
    return Summary("flips", "Which flips are the student's own?", caption, columns, tuple(rows))


_INHERITED = tuple(Column(title, "count") for title in ("n", "Inherited", "New", "Mended", "Neither", "Amplified"))


def _inherited(
    results: Results,
    suite: str,
    count: Callable[[Sequence[CaseResult], Sequence[CaseResult]], Mapping[str, Inheritance]],
) -> list[tuple[Cell, ...]]:
    ours, theirs = (results.get(name, {}).get(suite) for name in ("student", "teacher"))
    if not (ours and theirs):
        return []
    return [
        (name, c.n, c.inherited, c.new, c.mended, c.neither, c.amplified)
        for name, c in count(ours, theirs).items()
        if c.n >= MIN_CELL
    ]
