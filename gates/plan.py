"""What a policy's gates can show with the cases planned, known before anything is run.

A gate that a good student would fail is as useless as one that a bad student passes. What a good student is, the policy says
gate by gate (``assumed_value``); where it does not, one equal to the reference, or without fault. Binomial and paired gates are
exact; calibration is simulated with a fixed seed; the confidence gap, mean ratings and raters' agreement use the normal
approximation, with the spread that :attr:`PlanRow.assumes` names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scipy.stats import norm

from evals.catalogue import JUDGE_ADJUSTED, lookup
from evals.power import BinomialLevel, CalibrationLevel, PairedProportions, needed_n, pass_probability, passes_with
from gates.policy import GateRule, Policy

__all__ = ["Plan", "PlanRow", "needed_cases", "plan"]

POWER = 0.8
"""How likely a good student should pass for the number of cases to be called enough."""

MEAN_SPREAD = 0.2
"""Standard deviation of the paired difference of a mean's scores, as a share of the metric's range, assumed until it is known:
0.8 points of ratings from 1 to 5."""

GAP_SPREAD = math.sqrt(2 / 15)
"""Standard deviation of confidence minus correctness of a calibrated student whose confidences follow Beta(4, 1), as in
:class:`evals.power.CalibrationLevel`: sqrt(E[p (1 - p)]) with E[p] = 4/5 and E[p^2] = 2/3."""

# Enough to tell 80 % from 90 %; a plan is to be read in seconds.
_TRIALS, _RESAMPLES = 100, 200
_SIMULATED_SIZES = (50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 800, 1_000, 1_250, 1_500, 2_000)
"""Numbers of cases that are simulated: a search tries these only, so that its steps share what was simulated before."""

_COUNTS_PART_OF_SUITE = frozenset({"pii_reply_rate", "pii_echo_rate", "asks_when_unclear", "needless_asking"})
"""Metrics whose denominator is usually a part of the suite's cases."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What one gate can show with the cases planned for it. Probabilities are None where no model of them is known."""

    gate: str
    metric: str
    suite: str
    must_be: str
    required: bool
    n: int
    """Cases planned that count for the metric."""
    min_n: int
    good: Literal["assumed", "equal", "perfect"]
    """The good student: at the gate's ``assumed_value``, or else equal to the reference (a difference) or without fault."""
    good_value: float
    """Its true value, or true difference to the reference."""
    good_passes: float | None
    """How likely that student passes; 0 where n is under ``min_n``."""
    passes_80: float | None
    """The true value, or true difference, at which a student passes 80 % of the time; None where nothing gets so far."""
    passes_5: float | None
    """The true value at which 5 % pass: what is worse than this is caught 95 % of the time."""
    needed_n: int | None
    """Cases at which that student passes 80 % of the time, ``min_n`` at least; None where unknown or very many."""
    assumes: str

    @property
    def in_words(self) -> str:
        """The row as a sentence, for a rationale."""
        if self.n < self.min_n:
            return f"{self.n} cases are planned, it takes {self.needed_n or self.min_n}: it cannot pass."
        if self.good_passes is None:
            return f"{self.n} cases; what they can show is not computed for this metric."
        student = {"equal": "an equal student", "perfect": "a perfect student"}.get(self.good, f"one at {self.good_value:g}")
        parts = [f"With {self.n} cases {student} passes {self.good_passes:.0%} of the time"]
        if self.passes_80 is not None:
            parts.append(f"one at {self.passes_80:.3g} 80%")
        if self.passes_5 is not None:
            parts.append(f"one at {self.passes_5:.3g} 5%")
        return ", ".join(parts) + f" ({self.assumes})."


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy can show."""

    rows: tuple[PlanRow, ...]
    joint: float
    """How likely the good student passes all required gates for which it is known together, if gates are independent. Gates
    on the same cases mostly rise and fall together (who is right on all fields is right on each), and then the truth is
    higher: the product errs on the side of more cases. It would be lower if passing one gate made another less likely."""
    joint_needed: Mapping[str, int]
    """Cases at which ``joint`` is 80 %, with the keys of :func:`plan`'s ``planned``: given to it, they give that. Empty where
    :attr:`beyond_reach` is not, and where nothing is known of any gate."""
    beyond_reach: tuple[str, ...]
    """Required gates that the good student does not pass 80 % of the time at any number of cases that was tried."""
    not_computed: tuple[str, ...]
    """Required gates that ``joint`` and ``joint_needed`` leave out, but for their ``min_n``."""


@dataclass(frozen=True, slots=True)
class _Model:
    """How a gate's chance of passing depends on the truth. ``harm`` grows from ``best`` (a better student) to ``worst``."""

    passes: Callable[[float, int], float]
    """From harm and n to the probability of passing."""
    needed: Callable[[float], int | None]
    """From power to the cases needed by the good student."""
    good: float
    """Harm of the good student; 0 for one that is equal or perfect."""
    best: float
    worst: float
    true_value: Callable[[float], float]
    """From harm to the metric's own scale."""
    assumes: str
    decided: Callable[[float, int, float], bool] | None = None
    """Of a simulation, from harm, n and power to whether that power is reached, without more trials than that takes."""

    def reaches(self, harm: float, n: int, power: float) -> bool:
        """Whether the probability of passing is at least ``power``."""
        return self.decided(harm, n, power) if self.decided else self.passes(harm, n) >= power


def plan(policy: Policy, planned: Mapping[str, int], *, advance: Callable[[int], None] = lambda _: None) -> Plan:
    """Work out what each gate can show, and how many cases all of them take together.

    Args:
        policy: the policy.
        planned: suite to its number of cases. ``suite/slice`` gives a slice's. ``suite/metric`` gives the cases that count for
            a metric; without it they are all of the suite's, or the gate's ``min_n`` where the metric counts only a part
            (messages that carry personal data).
        advance: told of each gate that is done.
    """
    rows = []
    for rule in policy.gates:
        rows.append(_row(rule, _planned(rule, planned)))
        advance(1)
    required = [row for row in rows if row.required]
    chances = [row.good_passes for row in required if row.good_passes is not None]
    beyond = tuple(row.gate for row in required if row.needed_n is None)
    return Plan(
        rows=tuple(rows),
        joint=math.prod(chances) if chances else 0.0,
        joint_needed={} if beyond or not chances else _joint_needed([rule for rule in policy.gates if rule.required], planned),
        beyond_reach=beyond,
        not_computed=tuple(row.gate for row in required if row.good_passes is None),
    )


def _joint_needed(rules: Sequence[GateRule], planned: Mapping[str, int]) -> dict[str, int]:
    """The cases at which the good student passes all gates together with probability ``POWER``.

    Every gate must have one and the same power p, for which it needs so many cases; a suite needs the most that one of its
    gates does. The least p is taken at which the product over all gates, at those sizes, is ``POWER``: with five gates that
    share no suite it is the fifth root, 0.956; a gate beside a more demanding one gets more than p for nothing.
    """
    low, high = POWER, POWER ** (1 / len(rules))
    found = _sizes(rules, high, planned)
    while _joint(rules, found) < POWER and high < 1 - 1e-4:  # counts are whole numbers, so that a few more cases can give less
        high = (1 + high) / 2
        found = _sizes(rules, high, planned)
    if _joint(rules, found) < POWER:
        return {}
    while high - low > 0.001:
        middle = (low + high) / 2
        sizes = _sizes(rules, middle, planned)
        if _joint(rules, sizes) >= POWER:
            high, found = middle, sizes
        else:
            low = middle
    return found


def _sizes(rules: Sequence[GateRule], power: float, planned: Mapping[str, int]) -> dict[str, int]:
    """For each key of a plan, the cases at which every gate has this power."""
    found: dict[str, int] = {}
    for rule in rules:
        model = _model(rule)
        cases = max(rule.min_n, (model.needed(power) or 0) if model else 0)
        suite, key = rule.suite, _key(rule, planned)
        found[key] = max(found.get(key, 0), cases)
        # A part has to lie within its suite; whoever plans the suite knows what share of it the part is.
        found[suite] = max(found.get(suite, 0), cases)
    return found


def _joint(rules: Sequence[GateRule], sizes: Mapping[str, int]) -> float:
    found = 1.0
    for rule in rules:
        n, model = _planned(rule, sizes), _model(rule)
        if n < rule.min_n:
            return 0.0
        if model and model.decided:
            n = max(size for size in _sizes_simulated(rule) if size <= n)
        found *= model.passes(model.good, n) if model else 1.0
    return found


def _key(rule: GateRule, planned: Mapping[str, int]) -> str:
    """The key under which a plan has the cases that count for a gate."""
    if rule.slice is not None:
        return f"{rule.suite}/{rule.slice}"
    of_metric = f"{rule.suite}/{rule.metric}"
    part = rule.metric in _COUNTS_PART_OF_SUITE or planned.get(of_metric, planned.get(rule.suite)) != planned.get(rule.suite)
    return of_metric if part else rule.suite


def needed_cases(rule: GateRule, *, power: float = POWER) -> int | None:
    """Cases at which the good student passes with this power; None where that takes a simulation or is unknown."""
    model = _model(rule)
    return None if model is None or model.decided else model.needed(power)


def _planned(rule: GateRule, planned: Mapping[str, int]) -> int:
    if rule.slice is not None:
        return planned.get(f"{rule.suite}/{rule.slice}", 0)
    whole = planned.get(rule.suite, 0)
    assumed = min(whole, rule.min_n) if rule.metric in _COUNTS_PART_OF_SUITE else whole
    return planned.get(f"{rule.suite}/{rule.metric}", assumed)


def _row(rule: GateRule, n: int) -> PlanRow:
    model = _model(rule)
    enough = n >= rule.min_n
    needed = model.needed(POWER) if model else rule.min_n
    assumed, difference = rule.assumed_value, rule.statistic == "difference"
    return PlanRow(
        gate=rule.id,
        metric=rule.metric,
        suite=rule.suite,
        must_be=rule.must_be,
        required=rule.required,
        n=n,
        min_n=rule.min_n,
        good="assumed" if assumed is not None else "equal" if difference else "perfect",
        good_value=assumed if assumed is not None else 0.0 if difference else lookup(rule.metric).best,
        good_passes=(model.passes(model.good, n) if model else None) if enough else 0.0,
        passes_80=_true_value(model, n, 0.80) if model and enough else None,
        passes_5=_true_value(model, n, 0.05) if model and enough else None,
        needed_n=None if needed is None else max(needed, rule.min_n),
        assumes=model.assumes if model else "",
    )


def _true_value(model: _Model, n: int, power: float) -> float | None:
    """Where the chance of passing falls to ``power``, by bisection; None where even the best student does not reach it."""
    low, high = model.best, model.worst
    if not model.reaches(low, n, power):
        return None
    for _ in range(4 if model.decided else 40):
        middle = (low + high) / 2
        low, high = (middle, high) if model.reaches(middle, n, power) else (low, middle)
    return model.true_value(high)


def _model(rule: GateRule) -> _Model | None:
    kind = lookup(rule.metric).kind
    if rule.statistic == "difference":
        margin = rule.margin or 0.0
        if kind == "proportion" and 0 < margin < 1:
            return _paired(rule, margin)
        return _mean_difference(rule, margin) if kind == "mean" and margin > 0 else None
    if rule.method == JUDGE_ADJUSTED or rule.metric.startswith("selective_risk."):
        # What the judge's labels, or the student's threshold, will be is not known.
        return None
    if kind == "proportion":
        return _binomial(rule)
    if kind == "calibration_error":
        return _calibration(rule)
    if kind == "agreement":
        return _agreement(rule)
    return _gap(rule) if kind == "confidence_gap" else None


def _binomial(rule: GateRule) -> _Model:
    limit = rule.threshold

    def true_value(harm: float) -> float:
        return harm if rule.side == "upper" else 1 - harm

    good = 0.0 if rule.assumed_value is None else true_value(rule.assumed_value)

    def level(harm: float) -> BinomialLevel:
        return BinomialLevel(limit, rule.side, true_value(harm), rule.confidence)

    return _Model(
        passes=lambda harm, n: _passes(level(harm), n),
        needed=lambda power: _needed(level(good), power),
        good=good,
        best=0.0,
        worst=true_value(limit),
        true_value=true_value,
        assumes="exact",
    )


def _paired(rule: GateRule, margin: float) -> _Model:
    good = _worse_by(rule)
    discordant = max(rule.assumed_discordant, abs(good))

    def pairs(harm: float) -> PairedProportions:
        return PairedProportions(margin, discordant, harm, rule.confidence)

    return _Model(
        passes=lambda harm, n: _passes(pairs(harm), n),
        needed=lambda power: _needed(pairs(good), power),
        good=good,
        best=-discordant,
        worst=min(margin, discordant),
        true_value=lambda harm: harm if rule.side == "upper" else -harm,
        assumes=f"exact, {discordant:.0%} of cases decided differently from the reference",
    )


def _worse_by(rule: GateRule) -> float:
    """By how much the good student is worse than the reference."""
    assumed = rule.assumed_value or 0.0
    return assumed if rule.side == "upper" else -assumed


def _mean_difference(rule: GateRule, margin: float) -> _Model | None:
    (lowest, highest), unit = lookup(rule.metric).range, lookup(rule.metric).unit
    if not math.isfinite(highest - lowest):
        return None
    z, good, spread = float(norm.ppf(rule.confidence)), _worse_by(rule), MEAN_SPREAD * (highest - lowest)

    def passes(harm: float, n: int) -> float:
        return float(norm.cdf((margin - harm) * math.sqrt(n) / spread - z))

    return _Model(
        passes=passes,
        needed=lambda power: _fewest(passes, good, power),
        good=good,
        best=-margin,
        worst=margin,
        true_value=lambda harm: harm if rule.side == "upper" else -harm,
        assumes=f"normal, differences to the reference spread by {spread:g} {unit}",
    )


def _agreement(rule: GateRule) -> _Model:
    """Alpha of two raters with interval distance is all but the intraclass correlation. Where ratings are normal, its inverse
    hyperbolic tangent has the standard error 1 / sqrt(n - 3/2) (Fisher 1925, section 39). More raters have a smaller one."""
    z, limit = float(norm.ppf(rule.confidence)), rule.threshold

    def passes(harm: float, n: int) -> float:
        if harm <= 0:
            return 1.0
        above = math.atanh(1 - harm) - math.atanh(limit)
        return float(norm.cdf(above * math.sqrt(max(n - 1.5, 0.0)) - z))

    good = 0.0 if rule.assumed_value is None else 1 - rule.assumed_value
    return _Model(
        passes=passes,
        needed=lambda power: _fewest(passes, good, power),
        good=good,
        best=0.0,
        worst=1 - limit,
        true_value=lambda harm: 1 - harm,
        assumes="normal, two raters",
    )


def _gap(rule: GateRule) -> _Model:
    z, good = float(norm.ppf(rule.confidence)), rule.assumed_value or 0.0

    def passes(harm: float, n: int) -> float:
        # The bound of the folded gap is within the limit exactly when the signed gap is this close to zero.
        error = GAP_SPREAD / math.sqrt(n)
        room = rule.threshold - z * error
        return float(norm.cdf((room - harm) / error) - norm.cdf((-room - harm) / error)) if room > 0 else 0.0

    return _Model(
        passes=passes,
        needed=lambda power: _fewest(passes, good, power),
        good=good,
        best=0.0,
        worst=rule.threshold,
        true_value=lambda harm: harm,
        assumes=f"normal, confidence minus correctness spreads by {GAP_SPREAD:.2f}",
    )


def _calibration(rule: GateRule) -> _Model:
    good = rule.assumed_value or 0.0

    def level(error: float) -> CalibrationLevel:
        return CalibrationLevel(rule.threshold, error=error, confidence=rule.confidence, trials=_TRIALS, resamples=_RESAMPLES)

    return _Model(
        passes=lambda harm, n: _passes(level(harm), n),
        needed=lambda power: next((n for n in _sizes_simulated(rule) if _passes(level(good), n) >= power), None),
        good=good,
        best=0.0,
        worst=rule.threshold,
        true_value=lambda harm: harm,
        assumes=f"{_TRIALS} simulations, confidences from Beta(4, 1)",
        decided=lambda harm, n, power: _simulated_reaches(level(harm), n, power),
    )


# Remembered: a policy's gates are much alike, and the search for the cases of all of them asks the same again.


@lru_cache(maxsize=4096)
def _passes(of: BinomialLevel | PairedProportions | CalibrationLevel, n: int) -> float:
    return pass_probability(of, n)


@lru_cache(maxsize=4096)
def _needed(of: BinomialLevel | PairedProportions, power: float) -> int | None:
    return needed_n(of, power)


@lru_cache(maxsize=256)
def _simulated_reaches(level: CalibrationLevel, n: int, power: float) -> bool:
    return passes_with(level, n, power)


def _sizes_simulated(rule: GateRule) -> list[int]:
    return [rule.min_n, *(n for n in _SIMULATED_SIZES if n > rule.min_n)]


def _fewest(passes: Callable[[float, int], float], harm: float, power: float, most: int = 100_000) -> int | None:
    """The fewest cases at which a student of this harm passes with this power."""
    low, high = 0, 1
    while passes(harm, high) < power:
        if high >= most:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(harm, middle) >= power else (middle, high)
    return high
