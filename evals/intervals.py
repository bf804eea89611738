"""Intervals and power: one function per method, each with its source.

``confidence`` and ``side`` mean the same everywhere: for ``side="lower"`` or ``"upper"`` *each* bound is one-sided at that
confidence, so the interval between them has confidence ``2 * confidence - 1``; for ``"two"`` the interval has it.
Every number is checked on its way in: NaN, infinities, None and booleans are refused, never skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import beta, binom, binomtest, norm

from distill_gov.records.errors import BadInputError
from evals.calibration import WeightedCalibration
from evals.catalogue import CALIBRATION_BINS, NOTES

__all__ = [
    "MIN_CLUSTERS",
    "BinomialLevel",
    "CalibrationLevel",
    "Estimate",
    "PairedProportions",
    "UndefinedEstimateError",
    "bootstrap",
    "calibration_error_interval",
    "clopper_pearson",
    "confidence_gap_interval",
    "mcnemar_exact",
    "mean_interval",
    "needed_n",
    "pass_probability",
    "passes_with",
    "quantile_interval",
    "tango",
    "tango_statistic",
    "wilson",
]

FloatArray = npt.NDArray[np.float64]
Side = Literal["lower", "upper", "two"]
WeightedStatistic = Callable[[FloatArray], FloatArray]
"""From weights of shape (r, n), how often each case counts, to r values."""

MIN_CLUSTERS = 20
"""Fewer independent groups than this, and a cluster bootstrap says nothing (rule of thumb)."""

RESAMPLES = 2000
_BLOCK = 4_000_000  # weights held in memory at a time


class UndefinedEstimateError(BadInputError):
    """There is no estimate, for the reason that :attr:`code` names: one of ``evals.catalogue.NOTES``."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(NOTES[code])

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.code,))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval; a bound is None where n is too small to give one."""

    value: float
    low: float | None
    high: float | None


def _tail(confidence: float, side: Side) -> float:
    """Probability beyond each bound."""
    if isinstance(confidence, bool) or not 0.5 < confidence < 1:
        raise BadInputError("confidence must lie between 0.5 and 1")
    return (1 - confidence) / 2 if side == "two" else 1 - confidence


def _numbers(values: Sequence[Any] | FloatArray) -> FloatArray:
    """The values as finite floats, shape (n,), n >= 1."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fiu":
            raise UndefinedEstimateError("non_finite")
    elif any(isinstance(v, bool | np.bool_) or not isinstance(v, int | float | np.integer | np.floating) for v in values):
        raise UndefinedEstimateError("non_finite")
    found = np.asarray(values, dtype=np.float64)
    if found.size == 0:
        raise UndefinedEstimateError("empty")
    if not np.isfinite(found).all():
        raise UndefinedEstimateError("non_finite")
    return found


def _counts(*counts: int, n: int) -> None:
    if any(isinstance(k, bool) or not isinstance(k, int | np.integer) for k in (*counts, n)):
        raise UndefinedEstimateError("non_finite")
    if n == 0:
        raise UndefinedEstimateError("empty")
    if any(k < 0 for k in counts) or sum(counts) > n:
        raise UndefinedEstimateError("out_of_range")


# --- proportions


def clopper_pearson(k: int, n: int, *, confidence: float = 0.95, side: Side = "two") -> Estimate:
    """Exact interval of a proportion, k of n. Clopper & Pearson (1934); coverage is never under the nominal one.

    Raises:
        UndefinedEstimateError: n = 0, or counts that contradict each other.
    """
    _counts(k, n=n)
    found = binomtest(int(k), int(n)).proportion_ci(1 - 2 * _tail(confidence, side), "exact")
    return Estimate(k / n, float(found.low), float(found.high))


def wilson(k: int, n: int, *, confidence: float = 0.95, side: Side = "two") -> Estimate:
    """Wilson (1927) score interval of a proportion, for display only: its one-sided coverage falls to 0.93."""
    _counts(k, n=n)
    found = binomtest(int(k), int(n)).proportion_ci(1 - 2 * _tail(confidence, side), "wilson")
    return Estimate(k / n, float(found.low), float(found.high))


def tango_statistic(b: npt.ArrayLike, c: npt.ArrayLike, n: int, difference: float) -> FloatArray:
    """Score statistic of H0: p_b - p_c = ``difference``, from n pairs. Tango (1998), Statistics in Medicine 17, 891-908.

    Args:
        b: pairs in which only the first succeeds.
        c: pairs in which only the second does.
    """
    b, c = np.asarray(b, dtype=np.float64), np.asarray(c, dtype=np.float64)
    # The probability of c under H0 is the greater root of a quadratic, the maximum-likelihood estimate.
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0.0))
    only_second = (root - linear) / (4 * n)
    variance = n * (2 * only_second + difference * (1 - difference))
    distance = b - c - n * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        found: FloatArray = np.where(variance > 0, distance / np.sqrt(np.maximum(variance, 0.0)), np.sign(distance) * np.inf)
    return np.where(distance == 0, 0.0, found)


def tango(b: int, c: int, n: int, *, confidence: float = 0.95, side: Side = "two") -> Estimate:
    """Score interval of a difference of paired proportions, (b - c) / n. Tango (1998).

    With no discordant pair it still has a width, z^2 / (n + z^2) each way, where Wald's is zero.

    Args:
        b: pairs in which only the first succeeds.
        c: pairs in which only the second does.
        n: all pairs.
    """
    _counts(b, c, n=n)
    z = float(norm.isf(_tail(confidence, side)))
    value = (b - c) / n

    def beyond(difference: float, bound: float) -> float:
        return float(np.clip(tango_statistic(b, c, n, difference), -1e9, 1e9)) - bound

    edge = 1 - 1e-12
    low = -1.0 if beyond(-edge, z) <= 0 else float(brentq(beyond, -edge, value, args=(z,), xtol=1e-12))
    high = 1.0 if beyond(edge, -z) >= 0 else float(brentq(beyond, value, edge, args=(-z,), xtol=1e-12))
    return Estimate(value, low, high)


def mcnemar_exact(b: int, c: int) -> float:
    """Exact two-sided p-value that both discordant cells are as likely (McNemar 1947); 1 without discordant pairs."""
    _counts(b, c, n=b + c or 1)
    return 1.0 if b + c == 0 else float(binomtest(int(b), int(b + c)).pvalue)


# --- the bootstrap


def bootstrap(
    statistic: WeightedStatistic,
    n: int,
    *,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Percentile bootstrap of a statistic of weighted cases. Efron & Tibshirani (1993), chapter 13.

    The interval is widened to hold the point estimate, which a biased statistic can leave outside.

    Args:
        statistic: from weights of shape (r, n) to r values.
        n: number of cases.
        clusters: per case its unit of independence; whole clusters are drawn. None: cases are independent.

    Raises:
        UndefinedEstimateError: ``too_few_clusters``; ``no_variation`` where all resamples agree, which would look like
            certainty; ``undefined`` under two cases or where a resample has no value.
    """
    tail = _tail(confidence, side)
    if n < 2:
        raise UndefinedEstimateError("undefined" if n else "empty")
    member = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    units = n if member is None else int(member.max()) + 1
    if member is not None and units < MIN_CLUSTERS:
        raise UndefinedEstimateError("too_few_clusters")
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // n)
    blocks = [min(rows, resamples - done) for done in range(0, resamples, rows)]
    value = float(statistic(np.ones((1, n)))[0])
    values = np.concatenate([statistic(_drawn(rng, r, units, member)) for r in blocks])
    if not (math.isfinite(value) and np.isfinite(values).all()):
        raise UndefinedEstimateError("undefined")
    if np.ptp(values) < 1e-12:
        raise UndefinedEstimateError("no_variation")
    low, high = np.quantile(values, [tail, 1 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value))


def _drawn(rng: np.random.Generator, rows: int, units: int, member: npt.NDArray[np.int64] | None) -> FloatArray:
    """How often each case is drawn: ``rows`` resamples with replacement of ``units`` units."""
    draws = rng.integers(0, units, size=(rows, units)) + units * np.arange(rows)[:, None]
    counts = np.bincount(draws.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
    return counts if member is None else counts[:, member]


def _weighted_mean(values: FloatArray) -> WeightedStatistic:
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def mean_interval(
    values: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Bootstrap of a mean; for paired data give the differences case by case."""
    x = _numbers(values)
    return bootstrap(
        _weighted_mean(x), len(x), clusters=clusters, confidence=confidence, side=side, seed=seed, resamples=resamples
    )


Predictions = tuple[Sequence[float] | FloatArray, Sequence[float] | FloatArray]
"""Confidences in [0, 1] and correctness (0 or 1), case by case."""


def _confidences(predictions: Predictions) -> tuple[FloatArray, FloatArray]:
    p, y = (_numbers(column) for column in predictions)
    if len(p) != len(y) or not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0.0, 1.0)).all():
        raise UndefinedEstimateError("out_of_range")
    if y.min() == y.max():
        # All right or all wrong: resampling cannot show how uncertain the accuracy is.
        raise UndefinedEstimateError("no_variation")
    return p, y


def calibration_error_interval(
    predictions: Predictions,
    *,
    reference: Predictions | None = None,
    bins: int = CALIBRATION_BINS,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Debiased equal-mass calibration error, or its difference to that of a reference on the same cases in the same order.

    Cases are drawn again and binned again each time. A resample carries the sample's noise and its own, so the upper bound errs
    on the safe side when the error is small.

    Raises:
        UndefinedEstimateError: also ``no_variation`` where all answers are right or all wrong.
    """
    p, y = _confidences(predictions)
    first = WeightedCalibration(p, y, bins)
    if reference is None:
        found = bootstrap(
            first.errors, len(p), clusters=clusters, confidence=confidence, side=side, seed=seed, resamples=resamples
        )
        return Estimate(*(min(1.0, max(0.0, x)) for x in (found.value, found.low or 0.0, found.high or 0.0)))
    second = WeightedCalibration(*_confidences(reference), bins)
    return bootstrap(
        lambda weights: np.maximum(first.errors(weights), 0.0) - np.maximum(second.errors(weights), 0.0),
        len(p),
        clusters=clusters,
        confidence=confidence,
        side=side,
        seed=seed,
        resamples=resamples,
    )


def confidence_gap_interval(
    predictions: Predictions,
    *,
    reference: Predictions | None = None,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate:
    """|mean confidence - accuracy|, or its difference to that of a reference on the same cases.

    The level is bounded through the signed gap: the upper bound holds exactly when both one-sided tests of equivalence do
    (Schuirmann 1987), so folding at 0 costs nothing.
    """
    p, y = _confidences(predictions)
    first = _weighted_mean(p - y)
    if reference is not None:
        q, r = _confidences(reference)
        second = _weighted_mean(q - r)
        return bootstrap(
            lambda weights: np.abs(first(weights)) - np.abs(second(weights)),
            len(p),
            clusters=clusters,
            confidence=confidence,
            side=side,
            seed=seed,
            resamples=resamples,
        )
    signed = bootstrap(first, len(p), clusters=clusters, confidence=confidence, side=side, seed=seed, resamples=resamples)
    low, high = signed.low or 0.0, signed.high or 0.0
    inner = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return Estimate(abs(signed.value), inner, max(abs(low), abs(high)))


# --- quantiles


def quantile_interval(
    values: Sequence[float] | FloatArray,
    q: float,
    *,
    beyond: int = 0,
    confidence: float = 0.95,
    side: Side = "two",
) -> Estimate:
    """A quantile with its distribution-free interval between two order statistics.

    Hahn & Meeker (1991), "Statistical Intervals", 5.2. The value is the least x at or under which a share q
    of the cases lies.

    Args:
        values: the observed values.
        beyond: cases that gave no value and count as greater than all of them.

    Raises:
        UndefinedEstimateError: ``undefined`` where the quantile falls on a case without a value.
    """
    x = np.sort(_numbers(values))
    tail, n = _tail(confidence, side), len(x) + beyond
    # Ranks from 1: the r-th smallest is a lower bound if P(Bin(n, q) <= r - 1) <= tail.
    lower = int(binom.ppf(tail, n, q))
    if binom.cdf(lower - 1, n, q) > tail:
        lower -= 1
    upper = int(binom.ppf(1 - tail, n, q)) + 1
    middle = max(1, math.ceil(n * q - 1e-9))
    if middle > len(x):
        raise UndefinedEstimateError("undefined")
    return Estimate(
        float(x[middle - 1]),
        float(x[lower - 1]) if lower >= 1 else None,
        float(x[upper - 1]) if upper <= len(x) else None,
    )


# --- planning: how likely a gate is passed, and how many cases it takes


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
    _counts(n=n)
    if isinstance(plan, BinomialLevel):
        return _binomial_pass(plan, n)
    if isinstance(plan, PairedProportions):
        return _paired_pass(plan, n)
    return sum(_calibration_trials(plan, n)) / plan.trials


def passes_with(plan: Plan, n: int, power: float) -> bool:
    """Whether :func:`pass_probability` is at least ``power``; a simulation is stopped as soon as that is certain."""
    if not isinstance(plan, CalibrationLevel):
        return pass_probability(plan, n) >= power
    _counts(n=n)
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
