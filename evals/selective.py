"""Abstaining where a confidence is low: what is still wrong, and how much is still done.

A threshold is chosen on ``dev`` (:func:`threshold_at_risk`) and fixed before the holdout is opened; there :class:`Abstention`
marks the decisions that reach it, and ``coverage.<field>`` and ``selective_risk.<field>`` are measured with exact bounds. A
threshold chosen on the cases that it is judged on would make both look better than they are. The threshold-free summaries are
the area under the risk-coverage curve and the AUROC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from distill_gov.records.errors import BadInputError
from evals.calibration import ConfidenceLevels, FloatArray, WeightedStatistic
from evals.cases import Case
from evals.catalogue import ACCEPTED_PREFIX
from evals.suites import ReadAnswer

__all__ = ["Abstention", "CoveragePoint", "area_under_risk_coverage", "auroc", "risk_coverage", "threshold_at_risk"]


def auroc(confidence: FloatArray, correct: FloatArray) -> WeightedStatistic:
    """Probability that a right answer has a greater confidence than a wrong one, ties half: Mann & Whitney (1947), U over n m.

    Args:
        confidence: shape (n,).
        correct: shape (n,), 0 or 1.

    Returns:
        From weights of shape (r, n) to r values; NaN where nothing is right or nothing wrong.
    """
    levels = ConfidenceLevels(confidence)

    def area(weights: FloatArray) -> FloatArray:
        mass, right = levels.sums(weights, correct)
        wrong = mass - right
        below = np.cumsum(wrong, axis=1) - wrong / 2
        with np.errstate(invalid="ignore"):
            found: FloatArray = (right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1))
        return found

    return area


def area_under_risk_coverage(confidence: FloatArray, correct: FloatArray) -> WeightedStatistic:
    """Mean over k = 1..n of the error rate among the k most confident cases: Geifman & El-Yaniv (2017), "Selective
    classification for deep neural networks"; the area is that of Geifman, Uziel & El-Yaniv (2019).

    Cases of equal confidence come in random order, and the mean over those orders is taken: with N cases before them and E
    errors among those, m of them with e errors add sum over j = 1..m of (E + e j / m) / (N + j), a difference of harmonic
    numbers.

    Args:
        confidence: shape (n,).
        correct: shape (n,), 0 or 1.

    Returns:
        From whole weights of shape (r, n) to r values.
    """
    levels = ConfidenceLevels(-confidence)

    def area(weights: FloatArray) -> FloatArray:
        mass, wrong = levels.sums(weights, 1 - correct)
        end, errors = np.cumsum(mass, axis=1), np.cumsum(wrong, axis=1)
        before = end - mass
        total = end[:, -1]
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(total.max()) + 1))])
        steps = harmonic[end.astype(np.int64)] - harmonic[before.astype(np.int64)]
        rate = wrong / np.where(mass > 0, mass, 1.0)
        found: FloatArray = (wrong + (errors - wrong - rate * before) * steps).sum(axis=1) / total
        return found

    return area


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What a threshold gives on the cases looked at."""

    threshold: float
    """Decisions of at least this confidence are taken."""
    n: int
    """How many those are."""
    coverage: float
    risk: float
    """Share of them that are wrong."""
    risk_high: float
    """Its exact one-sided upper bound, for this threshold alone."""


def risk_coverage(confidence: FloatArray, correct: FloatArray, *, level: float = 0.95) -> tuple[CoveragePoint, ...]:
    """The risk-coverage curve: one point a distinct confidence, from the greatest down.

    Args:
        confidence: shape (n,), finite.
        correct: shape (n,), 0 or 1.
        level: confidence of the bounds.
    """
    if len(confidence) == 0:
        return ()
    levels = ConfidenceLevels(-confidence)
    n, wrong = (np.cumsum(s[0]) for s in levels.sums(np.ones((1, len(confidence))), 1 - correct))
    # Clopper & Pearson (1934), for all thresholds at once: one at a time takes minutes on a few thousand cases.
    high = np.where(wrong < n, beta.ppf(level, wrong + 1, np.maximum(n - wrong, 1.0)), 1.0)
    return tuple(
        CoveragePoint(float(-value), int(taken), float(taken / len(confidence)), float(k / taken), float(bound))
        for value, taken, k, bound in zip(levels.values, n, wrong, high, strict=True)
    )


def threshold_at_risk(confidence: FloatArray, correct: FloatArray, risk: float, *, level: float = 0.95) -> float | None:
    """The threshold that covers most, among those whose upper bound on the risk is at most ``risk``; for ``dev`` only.

    It is the best of many looks at the same cases, so the bound on dev is no promise: the holdout measures what it keeps.

    Returns:
        The least confidence to be taken; None where no threshold does it.

    Raises:
        BadInputError: no case, a value that is not finite, or a risk that is not between 0 and 1.
    """
    if isinstance(risk, bool) or not 0 < risk < 1:
        raise BadInputError("the risk of a threshold must lie between 0 and 1")
    p, y = np.asarray(confidence), np.asarray(correct)
    usable = p.dtype.kind == "f" and len(p) == len(y) > 0
    if not usable or not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0, 1)).all():
        raise BadInputError("a threshold needs confidences in [0, 1], each with 0 or 1, of at least one case")
    within = [point.threshold for point in risk_coverage(p, y.astype(np.float64), level=level) if point.risk_high <= risk]
    return min(within, default=None)


@dataclass(frozen=True, slots=True)
class Abstention:
    """Suite that marks the decisions whose confidence reaches the field's threshold.

    Args:
        thresholds: decision field to its threshold, as :func:`threshold_at_risk` found it on dev.
    """

    thresholds: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, threshold in self.thresholds.items():
            if isinstance(threshold, bool) or not math.isfinite(threshold) or not 0 <= threshold <= 1:
                raise BadInputError(f"the threshold of `{name}` must lie in [0, 1]")

    @property
    def name(self) -> str:
        return "abstention"

    def derive(self, cases: Sequence[Case]) -> Sequence[Case]:
        return ()

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> Mapping[str, float]:
        return {
            ACCEPTED_PREFIX + d.field: float(d.predicted is not None and d.confidence >= self.thresholds[d.field])
            for d in answer.decisions
            if d.field in self.thresholds and d.confidence is not None and _has_reference(case, d.field)
        }

    def worst(self, case: Case) -> Mapping[str, float]:
        return {ACCEPTED_PREFIX + name: 0.0 for name in self.thresholds if _has_reference(case, name)}


def _has_reference(case: Case, field: str) -> bool:
    return case.reference is not None and field in case.reference
