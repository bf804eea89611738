"""The bootstrap of a mean from counts: how many units there are of each kind is sufficient, and drawing units draws counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from evals.intervals import MIN_CLUSTERS, Estimate, FloatArray, Side, UndefinedEstimateError, tail_of
from evals.resampling import RESAMPLES, accelerated, expanded_tail

__all__ = ["Units", "multinomial_interval"]

_DISTINCT = 512  # so many kinds are drawn as they are
_BINS = 32  # more are binned


@dataclass(frozen=True, slots=True)
class Units:
    """Kinds of units of independence (cases, or clusters of them) and how many there are of each: columns of shape (kinds,)."""

    size: FloatArray
    """Cases in one unit."""
    total: FloatArray
    """Sum of its cases' values."""
    count: FloatArray
    """How many units are of this kind, > 0."""

    @classmethod
    def of_cases(cls, values: npt.ArrayLike, counts: npt.ArrayLike) -> Units:
        """Independent cases: distinct values, and how often each occurs."""
        total, count = np.asarray(values, dtype=np.float64), np.asarray(counts, dtype=np.float64)
        order = np.argsort(total, kind="stable")
        return cls(np.ones_like(total), total[order], count[order])

    @classmethod
    def of_clusters(cls, values: npt.ArrayLike, clusters: Sequence[str] | npt.NDArray[np.object_]) -> Units:
        """Cases with their clusters, which are drawn whole."""
        member = np.unique(np.asarray(clusters), return_inverse=True)[1]
        sizes = np.bincount(member).astype(np.float64)
        totals = np.bincount(member, weights=np.asarray(values, dtype=np.float64))
        kinds, count = np.unique(np.stack([sizes, totals], axis=1), axis=0, return_counts=True)
        return cls(kinds[:, 0], kinds[:, 1], count.astype(np.float64))

    @property
    def n(self) -> int:
        """All units."""
        return round(float(self.count.sum()))

    @property
    def mean(self) -> float:
        """Mean value of a case."""
        return float((self.count * self.total).sum() / (self.count * self.size).sum())

    @property
    def without_one(self) -> FloatArray:
        """The mean without one unit of each kind, shape (kinds,)."""
        total, size = float((self.count * self.total).sum()), float((self.count * self.size).sum())
        return (total - self.total) / (size - self.size)

    def binned(self) -> Units:
        """Few enough kinds to draw: up to 512 stay as they are, more are put into 32 bins by their mean value.

        A bin of units of one size becomes two kinds, a standard deviation to each side of its mean, so that mean and variance
        over units stay as they are. Third moments are off by less than a bin's width, and count by 1 / sqrt(n), n > 512.
        """
        if len(self.count) <= _DISTINCT:
            return self
        sizes, member = np.unique(self.size, return_inverse=True)
        bins = max(1, _BINS // len(sizes))
        level = self.total / self.size
        place = np.minimum((level - level.min()) / np.ptp(level) * bins, bins - 1).astype(np.int64) if bins > 1 else 0
        cell = member * bins + place
        count = np.bincount(cell, weights=self.count, minlength=len(sizes) * bins)
        used = count > 0
        count, cell = count[used], (np.cumsum(used) - 1)[cell]
        mean = np.bincount(cell, weights=self.count * self.total) / count
        spread = np.sqrt(np.bincount(cell, weights=self.count * (self.total - mean[cell]) ** 2) / count)
        size = np.repeat(sizes, bins)[used]
        return Units(np.tile(size, 2), np.concatenate([mean - spread, mean + spread]), np.tile(count / 2, 2))


def multinomial_interval(
    units: Units,
    *,
    clustered: bool = False,
    confidence: float = 0.95,
    side: Side = "two",
    seed: int,
    method: Literal["bootstrap", "bca"] = "bootstrap",
    resamples: int = RESAMPLES,
) -> Estimate:
    """Bootstrap of the mean over cases, expanded percentiles or BCa, at a cost that n does not raise.

    In distribution it is ``mean_interval``: drawing n units with replacement draws the counts of their kinds from a multinomial
    (Efron & Tibshirani 1993, section 6.2).

    Args:
        units: what is drawn.
        clustered: whether they are clusters of dependent cases.

    Raises:
        UndefinedEstimateError: as ``mean_interval``.
    """
    cases = float((units.count * units.size).sum())
    if cases < 2:
        raise UndefinedEstimateError("undefined" if cases else "empty")
    if clustered and units.n < MIN_CLUSTERS:
        raise UndefinedEstimateError("too_few_clusters")
    if not (np.isfinite(units.total).all() and np.isfinite(units.size).all()):
        raise UndefinedEstimateError("non_finite")
    few = units.binned()
    drawn = np.random.default_rng(seed).multinomial(units.n, few.count / few.count.sum(), size=resamples).astype(np.float64)
    values = (drawn @ few.total) / (drawn @ few.size)
    if np.ptp(values) < 1e-12:
        raise UndefinedEstimateError("no_variation")
    tail = expanded_tail(tail_of(confidence, side), units.n)
    at = accelerated(values, units.mean, tail, units.without_one, units.count) if method == "bca" else [tail, 1 - tail]
    low, high = np.quantile(values, at)
    return Estimate(units.mean, min(float(low), units.mean), max(float(high), units.mean))
