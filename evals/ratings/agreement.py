"""Krippendorff's alpha with a bootstrap interval: do raters who see the same answers agree?

Krippendorff, *Computing Krippendorff's Alpha-Reliability* (2011). The point is evalica's. The interval is a percentile
bootstrap that resamples units, in whole clusters where units depend on each other. The better known bootstrap of Hayes and
Krippendorff (2007) resamples pairs of ratings and holds the expected disagreement fixed. Measured with two raters and a true
alpha of 0.65 on 1,500 samples of 30, 100 and 200 units, its one-sided 95 % lower bound covered 86 %, 89 % and 91 %; that of
resampled units 94 %, 94 % and 96 %. A gate needs the latter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill_gov.records.errors import BadInputError
from evals.evidence import CaseResult

__all__ = ["Agreement", "Level", "agreement", "alpha"]

Level = Literal["nominal", "ordinal", "interval", "ratio"]

RESAMPLES = 1000
_PREFIX = "rating."


@dataclass(frozen=True, slots=True)
class Agreement:
    """An estimate of alpha, or the reason why there is none."""

    value: float | None
    low: float | None
    high: float | None
    note: str = ""
    """Where ``value`` is None: ``undefined`` (fewer than two raters, or no unit that two rated) or ``no_variation``."""
    raters: int = 0
    """Raters who share at least one unit with another."""
    units: int = 0
    """Units that at least two raters rated."""


def alpha(
    matrix: ArrayLike,
    *,
    level: Level = "interval",
    confidence: float = 0.95,
    seed: int = 0,
    clusters: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
) -> Agreement:
    """Krippendorff's alpha of a matrix of ratings.

    Args:
        matrix: raters x units, NaN where a rater did not rate.
        level: of measurement.
        confidence: of the two-sided interval. For a one-sided 95 % bound take 0.9.
        seed: of the bootstrap.
        clusters: name of each unit's cluster; units of one cluster are drawn together. None: every unit by itself.
        resamples: number of bootstrap samples.

    Equal ratings everywhere say nothing about agreement: the result is ``no_variation``, never 1.

    Raises:
        BadInputError: the matrix has another shape or an infinite value, or an argument is out of range.
    """
    ratings = np.asarray(matrix, dtype=np.float64)
    if ratings.ndim != 2 or np.isinf(ratings).any():
        raise BadInputError("ratings must be a matrix of raters by units, finite or NaN")
    if not 0 < confidence < 1 or resamples < 1:
        raise BadInputError("confidence must lie between 0 and 1, and there must be at least one resample")
    groups = np.asarray(clusters if clusters is not None else np.arange(ratings.shape[1]))
    if groups.shape != (ratings.shape[1],):
        raise BadInputError("every unit needs one cluster")
    # A unit that fewer than two rated holds no pair: alpha leaves it out by definition.
    paired = np.count_nonzero(~np.isnan(ratings), axis=0) >= 2
    ratings, groups = ratings[:, paired], groups[paired]
    raters, units = int((~np.isnan(ratings)).any(axis=1).sum()), ratings.shape[1]
    if units == 0:
        return Agreement(None, None, None, "undefined", raters, units)
    point = _alpha(ratings, level)
    if point is None:
        return Agreement(None, None, None, "no_variation", raters, units)
    drawn = _bootstrap(ratings, groups, level, seed, resamples)
    tail = (1 - confidence) / 2
    # A resample without variation has no alpha. It counts against both bounds, so that it can only widen the interval.
    low = float(np.quantile([-1.0 if a is None else a for a in drawn], tail))
    high = float(np.quantile([1.0 if a is None else a for a in drawn], 1 - tail))
    return Agreement(point, min(low, point), max(high, point), "", raters, units)


def agreement(
    results: Iterable[CaseResult], *, level: Level = "interval", confidence: float = 0.95, seed: int = 0
) -> Agreement:
    """Alpha over imported ratings: a unit is one subject's answer to one case; answers of one cluster are drawn together."""
    rated = sorted((r for r in results if r.status == "ok"), key=lambda r: (r.subject, r.case))
    names = sorted({name for r in rated for name in r.scores if name.startswith(_PREFIX)})
    matrix = np.array([[r.scores.get(name, math.nan) for r in rated] for name in names]).reshape(len(names), len(rated))
    return alpha(matrix, level=level, confidence=confidence, seed=seed, clusters=[r.cluster for r in rated])


def _alpha(ratings: NDArray[np.float64], level: Level) -> float | None:
    """Alpha of ratings in which every unit has two or more; None where all are equal."""
    seen = ratings[~np.isnan(ratings)]
    if seen.min() == seen.max():
        return None
    # Imported here: pandas is not needed to import this package.
    import evalica
    import pandas as pd

    value = float(evalica.alpha(pd.DataFrame(ratings), level).alpha)
    return value if math.isfinite(value) else None


def _bootstrap(
    ratings: NDArray[np.float64], groups: NDArray[np.generic], level: Level, seed: int, resamples: int
) -> list[float | None]:
    names, member = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(names), size=(resamples, len(names)))
    if level == "interval":
        times = np.stack([np.bincount(draw, minlength=len(names)) for draw in draws])[:, member]
        return _interval_alphas(ratings, times.astype(np.float64))
    units_of = [np.flatnonzero(member == g) for g in range(len(names))]
    return [_alpha(ratings[:, np.concatenate([units_of[g] for g in draw])], level) for draw in draws]


def _interval_alphas(ratings: NDArray[np.float64], times: NDArray[np.float64]) -> list[float | None]:
    """Alpha with interval distance, per row of how often each unit counts, shape (r, units); None where all are equal.

    Squared differences are sums of squares, so that both disagreements are linear in the units: 1 - (N - 1) W / (N T), where W
    sums each unit's squares about its own mean times m / (m - 1) of its m ratings, and T all squares about the mean of all N
    (Krippendorff 2011, section D with interval distance). A thousand resamples cost one matrix product.
    """
    m = np.count_nonzero(~np.isnan(ratings), axis=0)
    x = ratings - np.nanmean(ratings)  # sums of squares lose fewer digits near zero
    sums, squares = np.nansum(x, axis=0), np.nansum(x * x, axis=0)
    within = times @ ((squares - sums * sums / m) * m / (m - 1))
    n, total, about_zero = times @ m, times @ sums, times @ squares
    about_mean = about_zero - total * total / n
    varied = about_mean > 1e-9 * about_zero  # what is less is rounding
    found = 1 - (n - 1) * within / (np.where(varied, about_mean, 1.0) * n)
    return [float(a) if ok else None for a, ok in zip(found, varied, strict=True)]
