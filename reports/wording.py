"""Numbers, outcomes and rules in words: the one place that says how they are written on a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distill_gov.records.errors import UnknownKeyError
from evals.catalogue import lookup
from evals.evidence import Measurement, MeasurementRequest
from gates.verdict import GateOutcome

__all__ = [
    "ABSENT",
    "MARKS",
    "NOT_DONE",
    "SEEN_BY_RATERS",
    "SIMULATED",
    "STATEMENT",
    "Mark",
    "amount",
    "as_stored",
    "bound_of",
    "estimand_of",
    "must_be",
    "not_shown",
    "rate_in_words",
    "short_digest",
    "size",
    "threshold",
    "unit_of",
]

ABSENT = "–"
NOT_DONE = "not done"
NO_FLOOR = "no floor"
SEEN_BY_RATERS = "Answers in which raters saw personal data"
SIMULATED = "Simulated ratings: made by a script, not by people. Nothing here may be promoted."
STATEMENT = (
    "This suite makes evidence. It does not declare conformity with any law or standard; that remains the act of a person "
    "who is responsible for it."
)
_MINUS = "−"


@dataclass(frozen=True, slots=True)
class Mark:
    """How an outcome looks: never by colour alone."""

    icon: str
    word: str
    tone: str
    """``good``, ``bad`` or ``open``."""


MARKS: Mapping[str, Mark] = {
    "PASS": Mark("✓", "pass", "good"),
    "WAIVED": Mark("◇", "waived", "open"),
    "FAIL": Mark("✗", "fail", "bad"),
    "INCONCLUSIVE": Mark("?", "inconclusive", "open"),
    "ERROR": Mark("!", "error", "bad"),
}


def as_stored(mark: Mark) -> Mark:
    """A mark in a record that does not hold: what the file says, without the look of a result."""
    return Mark("!", f"stored as {mark.word}", "open")


def unit_of(metric: str) -> str:
    """The metric's unit, empty where the catalogue does not know it."""
    try:
        return lookup(metric).unit
    except UnknownKeyError:
        return ""


def estimand_of(metric: str) -> str:
    """What the metric estimates, empty where the catalogue does not know it."""
    try:
        return lookup(metric).estimand
    except UnknownKeyError:
        return ""


def amount(x: float | None, unit: str, *, difference: bool = False, apart_from: float | None = None) -> str:
    """A value of a metric: shares as percentages, their differences as percentage points.

    Args:
        apart_from: a limit; digits are added until a value that is not the limit does not look like it.
    """
    if x is None:
        return ABSENT
    for more in range(4):
        text = _amount(x, unit, difference, more)
        if apart_from is None or x == apart_from or text != _amount(apart_from, unit, difference, more):
            break
    return text


def _amount(x: float, unit: str, difference: bool, more: int) -> str:
    sign = "+" if difference else ""
    if unit == "share":
        text = f"{100 * x:{sign}.{1 + more}f}" + (" pts" if difference else "%")
    elif unit == "s":
        text = f"{1000 * x:{sign}.{more}f} ms" if abs(x) < 1 else f"{x:{sign}.{2 + more}f} s"
    elif unit:
        text = f"{x:{sign}.{2 + more}f}"
    else:
        text = f"{x:{sign}.{4 + more}g}"
    return text.replace("-", _MINUS)


def threshold(x: float, unit: str, *, difference: bool = False) -> str:
    """A limit as its author wrote it, without trailing zeros."""
    if unit == "share":
        return f"{100 * x:.6g}" + (" pts" if difference else "%")
    return f"{x:.6g}" + (" s" if unit == "s" else "")


def must_be(request: MeasurementRequest, limit: float) -> str:
    """The rule in symbols: ``≥ 75%``, ``≥ teacher − 5 pts``."""
    sign = "≥" if request.side == "lower" else "≤"
    unit = unit_of(request.metric)
    if request.statistic == "level":
        return f"{sign} {threshold(limit, unit)}"
    way = _MINUS if limit < 0 else "+"
    return f"{sign} {request.reference} {way} {threshold(abs(limit), unit, difference=True)}"


def bound_of(measurement: Measurement) -> float | None:
    """The bound that decides."""
    return measurement.low if measurement.request.side == "lower" else measurement.high


def not_shown(outcome: GateOutcome) -> str:
    """What this gate's number of cases cannot rule out."""
    m = outcome.measurement
    takes = f" It takes {outcome.needed_n:,} cases." if outcome.needed_n else ""
    bound = bound_of(m) if m is not None else None
    if m is None or bound is None:
        return f"Nothing was shown: {outcome.reason}.{takes}"
    request = m.request
    difference = request.statistic == "difference"
    shown = amount(bound, unit_of(request.metric), difference=difference, apart_from=outcome.limit)
    worse = "low" if request.side == "lower" else "high"
    what = f"the true difference from the {request.reference}" if difference else "the true value"
    return (
        f"With {m.n_scored:,} cases, {what} may still be as {worse} as {shown} "
        f"(one-sided {request.confidence:.0%} confidence).{takes}"
    )


def short_digest(digest: str) -> str:
    """A digest's first twelve hex digits, for reading aloud; pages give the whole one once."""
    algorithm, colon, value = digest.partition(":")
    return f"{algorithm}:{value[:12]}…" if colon and len(value) > 12 else digest


def rate_in_words(rate: tuple[float, float | None, float | None] | None) -> str:
    """Tokens a second, with the interval where there is one."""
    if rate is None:
        return ABSENT
    value, low, high = rate
    return f"{value:.3g}" + (f" ({low:.3g} to {high:.3g})" if low is not None and high is not None else "")


def size(n: float | None, suffix: str = "") -> str:
    """A large number for people: 49.5M, 198 MB."""
    if n is None:
        return ABSENT
    space = " " if suffix else ""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= limit:
            return f"{n / limit:.3g}{space}{letter}{suffix}"
    return f"{n:.0f}{space}{suffix}"
