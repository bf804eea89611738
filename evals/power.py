"""Power: how likely a gate is passed, and how many cases it takes.

Worked out by the method that will be used to measure: Clopper-Pearson, Tango, the bootstrap of the calibration error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import beta, binom, norm

from distill_gov.records.errors import BadInputError
from evals.catalogue import CALIBRATION_BINS
from evals.intervals import UndefinedEstimateError, checked_counts, tango_statistic
from evals.resampling import calibration_error_interval

__all__ = [
    "BinomialLevel",
    "CalibrationLevel",
    "PairedProportions",
    "Plan",
    "needed_n",
    "pass_probability",
    "passes_with",
]


@dataclass(frozen=True, slots=True)
class BinomialLevel:
    """A limit on a proportion, held against its Clopper-Pearson bound, and the true rate assumed."""

    limit: float
    side: Literal["lower", "upper"]
    """``lower``: the lower bound must be at least the limit (validity); ``upper``: at most (violations)."""
    rate: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class PairedProportions:
    """A margin on a paired difference of proportions, held against its Tango bound, and the truth assumed."""

    margin: float
    """How much worse is still accepted, > 0."""
    discordant: float
    """Share of pairs on which the two disagree."""
    worse_by: float = 0.0
    """By how much the student is truly worse."""
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class CalibrationLevel:
    """A limit on the upper bound of the debiased calibration error, and the truth assumed.

    Confidences are drawn from Beta(4, 1), mean 0.8; answers are right with probability confidence minus ``error``.
    """

    limit: float
    error: float = 0.0
    bins: int = CALIBRATION_BINS
    confidence: float = 0.95
    trials: int = 400
    resamples: int = 400
    seed: int = 0


Plan = BinomialLevel | PairedProportions | CalibrationLevel


def pass_probability(plan: Plan, n: int) -> float:
    """How likely the bound is on the right side at n cases; exact, but for calibration, which is simulated with a seed."""
    checked_counts(n=n)
    if isinstance(plan, BinomialLevel):
        return _binomial_pass(plan, n)
    if isinstance(plan, PairedProportions):
        return _paired_pass(plan, n)
    return sum(_calibration_trials(plan, n)) / plan.trials


def passes_with(plan: Plan, n: int, power: float) -> bool:
    """Whether :func:`pass_probability` is at least ``power``; a simulation is stopped as soon as that is certain."""
    if not isinstance(plan, CalibrationLevel):
        return pass_probability(plan, n) >= power
    checked_counts(n=n)
    passed = 0
    for done, one in enumerate(_calibration_trials(plan, n), start=1):
        passed += one
        if passed / plan.trials >= power:
            return True
        if (passed + plan.trials - done) / plan.trials < power:
            return False
    return False


def needed_n(plan: Plan, power: float = 0.8, *, most: int = 100_000) -> int | None:
    """The fewest cases at which the gate is passed with probability ``power``; None if ``most`` are not enough.

    For a binomial level a few more cases can again fall short, since counts are whole numbers.
    """
    if isinstance(plan, BinomialLevel):
        return _binomial_needed(plan, power, most)
    if isinstance(plan, CalibrationLevel):
        most = min(most, 5_000)  # each step is a simulation
    high = 16
    while not passes_with(plan, high, power):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2
    step = 25 if isinstance(plan, CalibrationLevel) else 1
    while high - low > step:
        middle = (low + high) // 2
        low, high = (low, middle) if passes_with(plan, middle, power) else (middle, high)
    return high


def _as_failures(plan: BinomialLevel) -> tuple[float, float]:
    """Limit and rate of failures; a lower bound on successes is an upper bound on failures."""
    return (plan.limit, plan.rate) if plan.side == "upper" else (1 - plan.limit, 1 - plan.rate)


def _binomial_pass(plan: BinomialLevel, n: int) -> float:
    limit, rate = _as_failures(plan)
    k = np.arange(n)
    most = int(np.searchsorted(beta.ppf(plan.confidence, k + 1, n - k), limit + 1e-12, side="right")) - 1
    return float(binom.cdf(most, n, rate)) if most >= 0 else 0.0


def _binomial_needed(plan: BinomialLevel, power: float, most: int) -> int | None:
    limit, rate = _as_failures(plan)
    if not rate < limit:
        return None
    n = 1
    for failures in range(most):
        # The fewest cases among which so many failures are still within the limit.
        high = max(2 * n, 16)
        while binom.cdf(failures, high, limit) > 1 - plan.confidence + 1e-12:
            high *= 2
        low = n - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if binom.cdf(failures, middle, limit) <= 1 - plan.confidence + 1e-12 else (middle, high)
        n = high
        if n > most:
            return None
        if binom.cdf(failures, n, rate) >= power:
            return n
    return None


def _paired_pass(plan: PairedProportions, n: int) -> float:
    """Sum over the number of discordant pairs and how they fall of the probability that Tango's bound is within the margin."""
    better = (plan.discordant - plan.worse_by) / 2
    if not (0 < plan.margin < 1 and 0 <= better <= plan.discordant <= 1):
        raise BadInputError("margin, discordant share and difference contradict each other")
    low, high = int(binom.ppf(1e-10, n, plan.discordant)), int(binom.isf(1e-10, n, plan.discordant))
    pairs = np.arange(low, high + 1)[:, None]
    b = np.arange(high + 1)[None, :]
    share = better / plan.discordant if plan.discordant > 0 else 0.5
    # Tango's lower bound is at least -margin exactly when H0: difference = -margin is not accepted from above.
    within = tango_statistic(b, np.maximum(pairs - b, 0), n, -plan.margin) >= norm.ppf(plan.confidence)
    weight = binom.pmf(pairs, n, plan.discordant) * binom.pmf(b, pairs, share)
    return float(np.minimum((weight * within * (b <= pairs)).sum(), 1.0))


def _calibration_trials(plan: CalibrationLevel, n: int) -> Iterator[bool]:
    """Whether the bound of each simulated student is within the limit."""
    rng = np.random.default_rng(plan.seed)
    for trial in range(plan.trials):
        confidence = rng.beta(4.0, 1.0, size=n)
        correct = (rng.random(n) < confidence - plan.error).astype(np.float64)
        try:
            found = calibration_error_interval(
                (confidence, correct),
                bins=plan.bins,
                confidence=plan.confidence,
                side="upper",
                seed=plan.seed + trial,
                resamples=plan.resamples,
            )
        except UndefinedEstimateError:
            yield False
            continue
        yield found.high is not None and found.high <= plan.limit
