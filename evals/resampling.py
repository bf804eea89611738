"""Intervals by resampling: the bootstrap over cases, or over whole groups of cases that depend on each other.

``confidence`` and ``side`` as in :mod:`evals.intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from evals.calibration import WeightedCalibration
from evals.catalogue import CALIBRATION_BINS
from evals.intervals import Estimate, FloatArray, Side, UndefinedEstimateError, checked_numbers, tail_of

__all__ = [
    "MIN_CLUSTERS",
    "RESAMPLES",
    "Predictions",
    "WeightedStatistic",
    "bootstrap",
    "calibration_error_interval",
    "confidence_gap_interval",
    "mean_interval",
]

WeightedStatistic = Callable[[FloatArray], FloatArray]
"""From weights of shape (r, n), how often each case counts, to r values."""

MIN_CLUSTERS = 20
"""Fewer independent groups than this, and a cluster bootstrap says nothing (rule of thumb)."""

RESAMPLES = 2000
_BLOCK = 4_000_000  # weights held in memory at a time


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
    tail = tail_of(confidence, side)
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
    x = checked_numbers(values)
    return bootstrap(
        _weighted_mean(x), len(x), clusters=clusters, confidence=confidence, side=side, seed=seed, resamples=resamples
    )


Predictions = tuple[Sequence[float] | FloatArray, Sequence[float] | FloatArray]
"""Confidences in [0, 1] and correctness (0 or 1), case by case."""


def _confidences(predictions: Predictions) -> tuple[FloatArray, FloatArray]:
    p, y = (checked_numbers(column) for column in predictions)
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
