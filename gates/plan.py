"""What a policy's gates can show with the cases planned, known before anything is run.

A gate that an equal student would fail is as useless as one that a bad student passes. Binomial and paired gates are exact;
calibration is simulated with a fixed seed; the confidence gap and mean ratings use the normal approximation, with the spread
that :attr:`PlanRow.assumes` names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scipy.stats import norm

from evals.catalogue import lookup
from evals.power import BinomialLevel, CalibrationLevel, PairedProportions, needed_n, pass_probability, passes_with
from gates.policy import GateRule, Policy

__all__ = ["Plan", "PlanRow", "needed_cases", "plan"]

POWER = 0.8
"""How likely a good student should pass for the number of cases to be called enough."""

RATING_SPREAD = 0.8
"""Standard deviation of the paired difference of an item's mean ratings, in points, assumed until it is known."""

GAP_SPREAD = math.sqrt(2 / 15)
"""Standard deviation of confidence minus correctness of a calibrated student whose confidences follow Beta(4, 1), as in
:class:`evals.power.CalibrationLevel`: sqrt(E[p (1 - p)]) with E[p] = 4/5 and E[p^2] = 2/3."""

# Enough to tell 80 % from 90 %; a plan is to be read in seconds.
_TRIALS, _RESAMPLES, _MOST_SIMULATED = 100, 200, 2_000

_COUNTS_PART_OF_SUITE = frozenset({"pii_reply_rate", "pii_echo_rate", "asks_when_unclear"})
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
    best: Literal["equal", "perfect"]
    """The best student assumed: equal to the reference for a difference, without fault for a level."""
    best_passes: float | None
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
        if self.best_passes is None:
            return f"{self.n} cases; what they can show is not computed for this metric."
        article = "an" if self.best == "equal" else "a"
        parts = [f"With {self.n} cases {article} {self.best} student passes {self.best_passes:.0%} of the time"]
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
    """How likely a student that is equal or perfect everywhere passes all required gates for which it is known, if gates are
    independent. They are not quite, so the truth is usually somewhat higher."""
    not_computed: tuple[str, ...]
    """Required gates that ``joint`` leaves out."""


@dataclass(frozen=True, slots=True)
class _Model:
    """How a gate's chance of passing depends on the truth. ``harm`` grows from ``best`` (a better student) to ``worst``."""

    passes: Callable[[float, int], float]
    """From harm and n to the probability of passing."""
    needed: Callable[[float], int | None]
    """From power to the cases needed by the equal or perfect student, whose harm is 0."""
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
    """Work out what each gate can show.

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
    chances = [row.best_passes for row in required if row.best_passes is not None]
    return Plan(
        rows=tuple(rows),
        joint=math.prod(chances) if chances else 0.0,
        not_computed=tuple(row.gate for row in required if row.best_passes is None),
    )


def needed_cases(rule: GateRule, *, power: float = POWER) -> int | None:
    """Cases at which an equal or perfect student passes with this power; None where that takes a simulation or is unknown."""
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
    return PlanRow(
        gate=rule.id,
        metric=rule.metric,
        suite=rule.suite,
        must_be=rule.must_be,
        required=rule.required,
        n=n,
        min_n=rule.min_n,
        best="equal" if rule.statistic == "difference" else "perfect",
        best_passes=(model.passes(0.0, n) if model else None) if enough else 0.0,
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
    if kind == "proportion":
        return _binomial(rule)
    if kind == "calibration_error":
        return _calibration(rule)
    return _gap(rule) if kind == "confidence_gap" else None


def _binomial(rule: GateRule) -> _Model:
    limit = rule.threshold

    def true_value(harm: float) -> float:
        return harm if rule.side == "upper" else 1 - harm

    def level(harm: float) -> BinomialLevel:
        return BinomialLevel(limit, rule.side, true_value(harm), rule.confidence)

    return _Model(
        passes=lambda harm, n: pass_probability(level(harm), n),
        needed=lambda power: needed_n(level(0.0), power),
        best=0.0,
        worst=true_value(limit),
        true_value=true_value,
        assumes="exact",
    )


def _paired(rule: GateRule, margin: float) -> _Model:
    discordant = rule.assumed_discordant

    def pairs(harm: float) -> PairedProportions:
        return PairedProportions(margin, discordant, harm, rule.confidence)

    return _Model(
        passes=lambda harm, n: pass_probability(pairs(harm), n),
        needed=lambda power: needed_n(pairs(0.0), power),
        best=-discordant,
        worst=min(margin, discordant),
        true_value=lambda harm: harm if rule.side == "upper" else -harm,
        assumes=f"exact, {discordant:.0%} of cases decided differently from the reference",
    )


def _mean_difference(rule: GateRule, margin: float) -> _Model:
    z = float(norm.ppf(rule.confidence))

    def passes(harm: float, n: int) -> float:
        return float(norm.cdf((margin - harm) * math.sqrt(n) / RATING_SPREAD - z))

    return _Model(
        passes=passes,
        needed=lambda power: _fewest(passes, power),
        best=-margin,
        worst=margin,
        true_value=lambda harm: harm if rule.side == "upper" else -harm,
        assumes=f"normal, differences to the reference spread by {RATING_SPREAD:g} points",
    )


def _gap(rule: GateRule) -> _Model:
    z = float(norm.ppf(rule.confidence))

    def passes(harm: float, n: int) -> float:
        # The bound of the folded gap is within the limit exactly when the signed gap is this close to zero.
        error = GAP_SPREAD / math.sqrt(n)
        room = rule.threshold - z * error
        return float(norm.cdf((room - harm) / error) - norm.cdf((-room - harm) / error)) if room > 0 else 0.0

    return _Model(
        passes=passes,
        needed=lambda power: _fewest(passes, power),
        best=0.0,
        worst=rule.threshold,
        true_value=lambda harm: harm,
        assumes=f"normal, confidence minus correctness spreads by {GAP_SPREAD:.2f}",
    )


def _calibration(rule: GateRule) -> _Model:
    def level(error: float) -> CalibrationLevel:
        return CalibrationLevel(rule.threshold, error=error, confidence=rule.confidence, trials=_TRIALS, resamples=_RESAMPLES)

    return _Model(
        passes=lambda harm, n: _simulated_passes(level(harm), n),
        needed=lambda power: _simulated_needed(level(0.0), power),
        best=0.0,
        worst=rule.threshold,
        true_value=lambda harm: harm,
        assumes=f"{_TRIALS} simulations, confidences from Beta(4, 1)",
        decided=lambda harm, n, power: _simulated_reaches(level(harm), n, power),
    )


@lru_cache(maxsize=256)
def _simulated_passes(level: CalibrationLevel, n: int) -> float:
    return pass_probability(level, n)


@lru_cache(maxsize=256)
def _simulated_reaches(level: CalibrationLevel, n: int, power: float) -> bool:
    return passes_with(level, n, power)


@lru_cache(maxsize=64)
def _simulated_needed(level: CalibrationLevel, power: float) -> int | None:
    return needed_n(level, power, most=_MOST_SIMULATED)


def _fewest(passes: Callable[[float, int], float], power: float, most: int = 100_000) -> int | None:
    """The fewest cases at which the student without harm passes with this power."""
    low, high = 0, 1
    while passes(0.0, high) < power:
        if high >= most:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(0.0, middle) >= power else (middle, high)
    return high
