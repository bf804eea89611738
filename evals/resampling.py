"""Intervals by resampling: the bootstrap over cases, or over whole groups of cases that depend on each other.

``confidence`` and ``side`` as in :mod:`evals.intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtrit

from distill_gov.records.errors import BadInputError
from evals.calibration import WeightedCalibration
from evals.catalogue import CALIBRATION_BINS
from evals.intervals import (
    MIN_CLUSTERS,
    Alternative,
    Estimate,
    FloatArray,
    Side,
    UndefinedEstimateError,
    checked_numbers,
    tail_of,
)

__all__ = [
    "FLIPS",
    "RESAMPLES",
    "BootstrapMethod",
    "Predictions",
    "WeightedStatistic",
    "bootstrap",
    "calibration_error_interval",
    "confidence_gap_interval",
    "mean_interval",
    "permutation_interval",
    "permutation_p_value",
]

BootstrapMethod = Literal["bootstrap", "pivotal", "bca"]
"""By their names in ``evals.catalogue.METHODS``: percentiles of the resamples; the same turned round the estimate, 2 v - q
(Davison & Hinkley 1997, eq. 5.6); and percentiles corrected for bias and skewness."""

WeightedStatistic = Callable[[FloatArray], FloatArray]
"""From weights of shape (r, n), how often each case counts, to r values."""

RESAMPLES = 2000
FLIPS = 1999
"""Random sets of sign flips; with the identity a round number."""

_BLOCK = 4_000_000  # weights held in memory at a time
_MOST_LEFT_OUT = 2000
_SAME = 1e-12  # values closer than this differ by rounding


def bootstrap(
    statistic: WeightedStatistic,
    n: int,
    *,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    method: BootstrapMethod = "bootstrap",
    resamples: int = RESAMPLES,
) -> Estimate:
    """Bootstrap of a statistic of weighted cases.

    Intervals of few units are too narrow: a resample spreads sqrt((k - 1) / k) times as widely as k units do, and a normal
    quantile stands in for Student's. All take the wider tail of the expanded percentile interval, Phi(-sqrt(k / (k - 1)) t):
    Hesterberg (2015), "What Teachers Should Know About the Bootstrap", The American Statistician 69, 371-386.
    Every interval is widened to hold the point estimate, which a biased statistic can leave outside.

    Args:
        statistic: from weights of shape (r, n) to r values.
        n: number of cases.
        clusters: per case its unit of independence; whole clusters are drawn. None: cases are independent.
        method: see :data:`BootstrapMethod`.

    Raises:
        UndefinedEstimateError: ``too_few_clusters``; ``no_variation`` where all resamples agree, which would look like
            certainty; ``undefined`` under two cases, where a resample has no value, or where BCa's correction has none.
    """
    tail = tail_of(confidence, side)
    member = _membership(n, clusters)
    units = n if member is None else int(member.max()) + 1
    rng = np.random.default_rng(seed)
    value = float(statistic(np.ones((1, n)))[0])
    values = np.concatenate([statistic(_drawn(rng, r, units, member)) for r in _blocks(resamples, n)])
    if not (math.isfinite(value) and np.isfinite(values).all()):
        raise UndefinedEstimateError("undefined")
    if np.ptp(values) < _SAME:
        raise UndefinedEstimateError("no_variation")
    wide = expanded_tail(tail, units)
    at = accelerated(values, value, wide, _left_out(statistic, units, member)) if method == "bca" else [wide, 1 - wide]
    low, high = np.quantile(values, at)
    if method == "pivotal":
        low, high = 2 * value - high, 2 * value - low
    return Estimate(value, min(float(low), value), max(float(high), value))


def expanded_tail(tail: float, units: int) -> float:
    """The tail of the expanded percentile interval of k units, two or more: Phi(-sqrt(k / (k - 1)) t)."""
    return float(ndtr(math.sqrt(units / (units - 1)) * stdtrit(units - 1, tail)))


def _membership(n: int, clusters: Sequence[str] | None) -> npt.NDArray[np.int64] | None:
    """Number of each case's cluster, from 0; None where cases are independent."""
    if n < 2:
        raise UndefinedEstimateError("undefined" if n else "empty")
    if clusters is None:
        return None
    if len(clusters) != n:
        raise BadInputError("every case needs one cluster")
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < MIN_CLUSTERS:
        raise UndefinedEstimateError("too_few_clusters")
    return member


def _blocks(rows: int, n: int) -> list[int]:
    """Numbers of rows to be held in memory at a time."""
    most = max(1, _BLOCK // n)
    return [min(most, rows - done) for done in range(0, rows, most)]


def _drawn(rng: np.random.Generator, rows: int, units: int, member: npt.NDArray[np.int64] | None) -> FloatArray:
    """How often each case is drawn: ``rows`` resamples with replacement of ``units`` units."""
    draws = rng.integers(0, units, size=(rows, units)) + units * np.arange(rows)[:, None]
    counts = np.bincount(draws.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
    return counts if member is None else counts[:, member]


def _left_out(statistic: WeightedStatistic, units: int, member: npt.NDArray[np.int64] | None) -> FloatArray:
    """The statistic without each unit, or without each of 2,000 groups of them where there are more.

    For BCa's acceleration that is the same, since the skewness of a group's mean falls with the root of its size.
    """
    groups = min(units, _MOST_LEFT_OUT)
    group, left, done = np.arange(units) % groups, [], 0
    for rows in _blocks(groups, units if member is None else len(member)):
        kept = (group != done + np.arange(rows)[:, None]).astype(np.float64)
        left.append(statistic(kept if member is None else kept[:, member]))
        done += rows
    return np.concatenate(left)


def accelerated(
    values: FloatArray, value: float, tail: float, without: FloatArray, times: FloatArray | float = 1.0
) -> FloatArray:
    """Which two quantiles of the resamples are BCa's bounds. Efron (1987), JASA 82, 171-185; Efron & Tibshirani (1993), 14.10.

    Ties with the estimate count by half, as scipy counts them.

    Args:
        values: the statistic of each resample.
        value: the statistic.
        tail: beyond each bound.
        without: the statistic without each unit, for the acceleration by jackknife.
        times: how many units each of them stands for.

    Raises:
        UndefinedEstimateError: ``no_variation`` where no unit changes the statistic, ``undefined`` where the correction is.
    """
    if not np.isfinite(without).all():
        raise UndefinedEstimateError("undefined")
    influence = float(np.average(without, weights=np.broadcast_to(times, without.shape))) - without
    spread = float((times * influence**2).sum())
    if spread < _SAME**2:
        raise UndefinedEstimateError("no_variation")
    acceleration = float((times * influence**3).sum()) / (6 * spread**1.5)
    bias = float(ndtri(((values < value - _SAME).mean() + (values <= value + _SAME).mean()) / 2))
    z = bias + float(ndtri(tail)) * np.array([1.0, -1.0])
    if not math.isfinite(bias) or (acceleration * z >= 1).any():
        raise UndefinedEstimateError("undefined")
    found: FloatArray = ndtr(bias + z / (1 - acceleration * z))
    return found


def _weighted_mean(values: FloatArray) -> WeightedStatistic:
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def mean_interval(
    values: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    method: BootstrapMethod = "bootstrap",
    resamples: int = RESAMPLES,
) -> Estimate:
    """Bootstrap of a mean; for paired data give the differences case by case."""
    x = checked_numbers(values)
    return bootstrap(
        _weighted_mean(x),
        len(x),
        clusters=clusters,
        confidence=confidence,
        side=side,
        seed=seed,
        method=method,
        resamples=resamples,
    )


# --- paired permutation

_EXACT_UNITS = 12  # up to so many, all sign flips are tried


def permutation_p_value(
    differences: Sequence[float] | FloatArray,
    *,
    alternative: Alternative = "two-sided",
    clusters: Sequence[str] | None = None,
    seed: int,
    flips: int = FLIPS,
) -> float:
    """Paired permutation test that a mean difference is zero: under H0 every difference may as well have the other sign.

    Exact over all sign flips for up to 12 units. Beyond that over random ones, counted (1 + b) / (1 + m), which holds the level
    where b / m does not: Phipson & Smyth (2010), Statistical Applications in Genetics and Molecular Biology 9, article 39.

    Args:
        differences: of the two members of each pair.
        alternative: ``less``: that the mean is under zero; ``greater``: over it; ``two-sided``: twice the smaller of both.
        clusters: per pair its unit of independence, whose signs are flipped together.

    Raises:
        UndefinedEstimateError: ``undefined`` under two pairs, ``too_few_clusters``. Without any difference the p-value is 1.
    """
    x = checked_numbers(differences)
    totals, _ = _random_sets(x, clusters, seed, flips)
    # Flipping the signs of a set takes twice its sum away. The empty set, which changes nothing, is among them.
    slack = _SAME * max(1.0, float(np.abs(x).sum()))
    less, greater = float((totals >= -slack).mean()), float((totals <= slack).mean())
    return {"less": less, "greater": greater, "two-sided": min(1.0, 2 * min(less, greater))}[alternative]


def permutation_interval(
    differences: Sequence[float] | FloatArray,
    *,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    flips: int = FLIPS,
) -> Estimate:
    """Interval of a mean difference: the values that :func:`permutation_p_value` does not reject.

    Of the differences less a value d, flipping a set F of pairs lowers the mean exactly when the mean over F is above d. So the
    bounds are order statistics of the means of random sets, and no test is repeated (typical values: Hartigan 1969, "Using
    Subsample Values as Typical Values", JASA 64, 1303-1317). It takes the differences as symmetric about their mean. A bound is
    None where there are too few pairs for it.

    Raises:
        UndefinedEstimateError: ``no_variation`` where all differences are equal; ``undefined``, ``too_few_clusters``.
    """
    tail = tail_of(confidence, side)
    x = checked_numbers(differences)
    totals, sizes = _random_sets(x, clusters, seed, flips)
    means = np.sort(totals[sizes > 0] / sizes[sizes > 0])
    if np.ptp(means) < _SAME:
        raise UndefinedEstimateError("no_variation")
    value, rank = float(x.mean()), math.floor(tail * (len(means) + 1) + 1e-9)
    if rank == 0:
        return Estimate(value, None, None)
    return Estimate(value, min(float(means[rank - 1]), value), max(float(means[-rank]), value))


def _random_sets(x: FloatArray, clusters: Sequence[str] | None, seed: int, flips: int) -> tuple[FloatArray, FloatArray]:
    """Sums and numbers of the cases in sets of units: the empty one, then all others of few units, or random ones of many."""
    member = _membership(len(x), clusters)
    member = np.arange(len(x)) if member is None else member
    of_units: FloatArray = np.stack([np.bincount(member, weights=x), np.bincount(member).astype(np.float64)], axis=1)
    units = len(of_units)
    if units <= _EXACT_UNITS:
        found: FloatArray = ((np.arange(2**units)[:, None] >> np.arange(units)) & 1).astype(np.float64) @ of_units
    else:
        rng = np.random.default_rng(seed)
        found = np.concatenate([np.zeros((1, 2)), *(rng.integers(0, 2, (r, units)) @ of_units for r in _blocks(flips, units))])
    return found[:, 0], found[:, 1]


# --- calibration

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
    method: BootstrapMethod = "bootstrap",
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
            first.errors,
            len(p),
            clusters=clusters,
            confidence=confidence,
            side=side,
            seed=seed,
            method=method,
            resamples=resamples,
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
        method=method,
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
    method: BootstrapMethod = "bootstrap",
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
            method=method,
            resamples=resamples,
        )
    signed = bootstrap(
        first, len(p), clusters=clusters, confidence=confidence, side=side, seed=seed, method=method, resamples=resamples
    )
    low, high = signed.low or 0.0, signed.high or 0.0
    inner = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return Estimate(abs(signed.value), inner, max(abs(low), abs(high)))
