"""Intervals in closed form or exact: one function per method, each with its source.

``confidence`` and ``side`` mean the same everywhere: for ``side="lower"`` or ``"upper"`` *each* bound is one-sided at that
confidence, so the interval between them has confidence ``2 * confidence - 1``; for ``"two"`` the interval has it.
Every number is checked on its way in: NaN, infinities, None and booleans are refused, never skipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betainccinv, betaincinv, stdtrit
from scipy.stats import binom, binomtest, norm

from distill_gov.records.errors import BadInputError
from evals.catalogue import NOTES

__all__ = [
    "MIN_CLUSTERS",
    "Alternative",
    "Estimate",
    "FloatArray",
    "Side",
    "UndefinedEstimateError",
    "binomial_p_value",
    "checked_counts",
    "checked_numbers",
    "clopper_pearson",
    "holm",
    "korn_graubard",
    "mcnemar_exact",
    "quantile_interval",
    "tail_of",
    "tango",
    "tango_statistic",
    "wilson",
]

FloatArray = npt.NDArray[np.float64]
MIN_CLUSTERS = 20
"""Fewer independent groups than this, and how they differ says nothing (rule of thumb)."""

Side = Literal["lower", "upper", "two"]
Alternative = Literal["two-sided", "less", "greater"]


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


def tail_of(confidence: float, side: Side) -> float:
    """Probability beyond each bound."""
    if isinstance(confidence, bool) or not 0.5 < confidence < 1:
        raise BadInputError("confidence must lie between 0.5 and 1")
    return (1 - confidence) / 2 if side == "two" else 1 - confidence


def checked_numbers(values: Sequence[Any] | FloatArray) -> FloatArray:
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


def checked_counts(*counts: int, n: int) -> None:
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
    checked_counts(k, n=n)
    found = binomtest(int(k), int(n)).proportion_ci(1 - 2 * tail_of(confidence, side), "exact")
    return Estimate(k / n, float(found.low), float(found.high))


def wilson(k: int, n: int, *, confidence: float = 0.95, side: Side = "two") -> Estimate:
    """Wilson (1927) score interval of a proportion, for display only: its one-sided coverage falls to 0.93."""
    checked_counts(k, n=n)
    found = binomtest(int(k), int(n)).proportion_ci(1 - 2 * tail_of(confidence, side), "wilson")
    return Estimate(k / n, float(found.low), float(found.high))


_FEW_CLUSTERS = 8  # measured: with fewer on the rarer side, the design effect is too often taken for too small


def korn_graubard(
    values: Sequence[float] | FloatArray,
    clusters: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    side: Side = "two",
) -> Estimate:
    """Interval of a proportion of cases that depend on each other in clusters.

    Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of positive counts estimated from
    survey data", Survey Methodology 24, 193-201: Clopper-Pearson at the effective number of cases, p (1 - p) / var(p) with the
    variance between clusters, times (t_{n-1} / t_{k-1})^2. It is at most n. Where fewer than 8 clusters hold a success, or a
    failure, that variance says too little and every cluster counts as one case, which is the least there can be.

    Args:
        values: 0 or 1 per case.
        clusters: per case its cluster; None: every case by itself.

    Raises:
        UndefinedEstimateError: ``too_few_clusters``, ``out_of_range``, ``empty``, ``non_finite``.
    """
    x, tail = checked_numbers(values), tail_of(confidence, side)
    if not np.isin(x, (0.0, 1.0)).all():
        raise UndefinedEstimateError("out_of_range")
    n, p = len(x), float(x.mean())
    member = np.unique(np.arange(n) if clusters is None else np.asarray(clusters), return_inverse=True)[1]
    if len(member) != n:
        raise BadInputError("every case needs one cluster")
    sums, sizes = np.bincount(member, weights=x), np.bincount(member)
    k = len(sizes)
    if k < MIN_CLUSTERS:
        raise UndefinedEstimateError("too_few_clusters")
    effective = float(k)
    if min(int((sums > 0).sum()), int((sums < sizes).sum())) >= _FEW_CLUSTERS:
        variance = k / (k - 1) * float(((sums - p * sizes) ** 2).sum()) / n**2
        shrunk = (stdtrit(n - 1, tail) / stdtrit(k - 1, tail)) ** 2
        effective = n if variance == 0 else min(float(n), p * (1 - p) / variance * float(shrunk))
    hits = effective * p
    low = 0.0 if p == 0 else float(betaincinv(hits, effective - hits + 1, tail))
    high = 1.0 if p == 1 else float(betainccinv(hits + 1, effective - hits, tail))
    return Estimate(p, low, high)


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
    checked_counts(b, c, n=n)
    z = float(norm.isf(tail_of(confidence, side)))
    value = (b - c) / n

    def beyond(difference: float, bound: float) -> float:
        return float(np.clip(tango_statistic(b, c, n, difference), -1e9, 1e9)) - bound

    edge = 1 - 1e-12
    low = -1.0 if beyond(-edge, z) <= 0 else float(brentq(beyond, -edge, value, args=(z,), xtol=1e-12))
    high = 1.0 if beyond(edge, -z) >= 0 else float(brentq(beyond, value, edge, args=(-z,), xtol=1e-12))
    return Estimate(value, low, high)


# --- tests


def mcnemar_exact(b: int, c: int, *, alternative: Alternative = "two-sided") -> float:
    """Exact p-value that both discordant cells are as likely (McNemar 1947); 1 without discordant pairs.

    Args:
        b: pairs in which only the first succeeds.
        c: pairs in which only the second does.
        alternative: ``less``: that the first succeeds less often than the second; ``greater``: more often.
    """
    checked_counts(b, c, n=b + c or 1)
    return 1.0 if b + c == 0 else float(binomtest(int(b), int(b + c), alternative=alternative).pvalue)


def binomial_p_value(k: int, n: int, rate: float, *, alternative: Alternative) -> float:
    """Exact p-value that a proportion is ``rate``, seen k of n; it agrees with :func:`clopper_pearson` of the same side."""
    checked_counts(k, n=n)
    if isinstance(rate, bool) or not 0 <= rate <= 1:
        raise UndefinedEstimateError("out_of_range")
    return float(binomtest(int(k), int(n), rate, alternative=alternative).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, in their order: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.

    Calling those at or under ``a`` findings makes a false one with probability at most ``a``, however they depend on each
    other. The i-th smallest of m is multiplied by m - i + 1, and never falls under a smaller one.
    """
    if len(p_values) == 0:
        return []
    p = checked_numbers(p_values)
    if not ((p >= 0) & (p <= 1)).all():
        raise UndefinedEstimateError("out_of_range")
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    found = np.empty(len(p))
    found[order] = stepped
    return [float(x) for x in found]


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
    x = np.sort(checked_numbers(values))
    tail, n = tail_of(confidence, side), len(x) + beyond
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
