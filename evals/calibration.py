"""Calibration of confidences: debiased error over equal-mass bins, reliability table, temperature.

Estimand: the confidence is that in the *predicted* label, not P(y = 1), and the error is over bins. With bins b of weight
w_b, mean confidence c_b and accuracy a_b, the plug-in error is sum_b w_b |c_b - a_b|. It is biased up, since noise in a_b adds
to the absolute value. The bias is estimated bin by bin and subtracted, as Kumar, Liang & Ma (2019), "Verified Uncertainty
Calibration", section 4 and appendix, do for the L1 error: draw a_b again from a normal distribution with the bin's own
variance and see how far the plug-in error rises on average. That average is the mean of a folded normal distribution, so no
random numbers are needed. See also Broecker (2012) and Ferro & Fricker (2012) on the squared error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, ndtr

from distill_gov.records.errors import BadInputError
from evals.catalogue import CALIBRATION_BINS

__all__ = ["ReliabilityBin", "WeightedCalibration", "calibration_error", "fit_temperature", "reliability_table"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of a reliability diagram."""

    low: float
    """Least confidence in the bin."""
    high: float
    """Greatest confidence in the bin, which belongs to it: the last bin is closed at 1."""
    n: int
    confidence: float
    """Mean confidence."""
    accuracy: float


class WeightedCalibration:
    """Calibration error as a function of how often each case counts, so that a bootstrap costs no sorting.

    Bins hold equal shares of the weight, by rank of confidence. Cases of equal confidence are never parted: a group goes to
    the bin in which its first case falls. So saturated confidences (many exactly 1.0) share one bin, none falls out of the
    last, and the order of the cases does not matter.

    Args:
        confidence: shape (n,), in [0, 1].
        correct: shape (n,), 0 or 1.
        bins: number of bins; those that ties leave empty carry no weight.
    """

    def __init__(self, confidence: FloatArray, correct: FloatArray, bins: int = CALIBRATION_BINS) -> None:
        self.bins = bins
        self.order = np.argsort(confidence, kind="stable")
        self.levels, self.first = np.unique(confidence[self.order], return_index=True)
        self.correct = correct[self.order]

    def sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Per row of ``weights`` (r, n) and bin: weight, summed confidence, summed correctness; each of shape (r, bins)."""
        ordered = weights[:, self.order]
        mass, right = self._by_level(ordered), self._by_level(ordered * self.correct)
        running = _running(mass)
        total = running[:, -1:]
        edges = [(running[:, :-1] < total * b / self.bins).sum(axis=1) for b in range(1, self.bins)]
        return (
            _between(running, edges),
            _between(_running(mass * self.levels), edges),
            _between(_running(right), edges),
        )

    def _by_level(self, ordered: FloatArray) -> FloatArray:
        """Sums over cases of equal confidence; most confidences are all different, and then there is nothing to sum."""
        return ordered if len(self.levels) == len(self.order) else np.add.reduceat(ordered, self.first, axis=1)

    def errors(self, weights: FloatArray) -> FloatArray:
        """Debiased error per row of ``weights`` (r, n); shape (r,). Not clipped: noise can take it a little under zero."""
        mass, confidence, right = self.sums(weights)
        safe = np.where(mass > 0, mass, 1.0)
        accuracy = right / safe
        gap = np.abs(confidence / safe - accuracy)
        deviation = np.sqrt(accuracy * (1 - accuracy) / safe)
        debiased = 2 * gap - _folded_normal_mean(gap, deviation)
        share = mass / mass.sum(axis=1, keepdims=True)
        found: FloatArray = (share * debiased).sum(axis=1)
        return found


def _running(values: FloatArray) -> FloatArray:
    """Sums of each row of ``values`` (r, n) up to each place, from the empty one on; shape (r, n + 1)."""
    found = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=found[:, 1:])
    return found


def _between(running: FloatArray, edges: Sequence[npt.NDArray[np.int64]]) -> FloatArray:
    """Sums between consecutive edges, from running ones."""
    rows = np.arange(running.shape[0])
    at = [running[:, 0], *(running[rows, e] for e in edges), running[:, -1]]
    return np.stack([high - low for low, high in pairwise(at)], axis=1)


def _folded_normal_mean(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """E|X| for X ~ N(mean, deviation^2), mean >= 0; ``mean`` itself where the deviation is 0."""
    spread = np.where(deviation > 0, deviation, 1.0)
    ratio = mean / spread
    folded = spread * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + mean * (1 - 2 * ndtr(-ratio))
    return np.where(deviation > 0, folded, mean)


def calibration_error(confidence: FloatArray, correct: FloatArray, bins: int = CALIBRATION_BINS) -> float:
    """Debiased equal-mass calibration error, at least 0, see the module's text.

    Args:
        confidence: shape (n,), n >= 1, in [0, 1].
        correct: shape (n,), 0 or 1.
    """
    ones = np.ones((1, len(confidence)))
    return max(0.0, float(WeightedCalibration(confidence, correct, bins).errors(ones)[0]))


def reliability_table(confidence: FloatArray, correct: FloatArray, bins: int = CALIBRATION_BINS) -> tuple[ReliabilityBin, ...]:
    """The bins that the calibration error uses, for a plot; empty ones are left out."""
    if len(confidence) == 0:
        return ()
    weighted = WeightedCalibration(confidence, correct, bins)
    mass, summed, right = (s[0] for s in weighted.sums(np.ones((1, len(confidence)))))
    ordered = confidence[weighted.order]
    ends = np.cumsum(mass).astype(int)
    return tuple(
        ReliabilityBin(
            low=float(ordered[end - int(n)]),
            high=float(ordered[end - 1]),
            n=int(n),
            confidence=float(c / n),
            accuracy=float(r / n),
        )
        for n, c, r, end in zip(mass, summed, right, ends, strict=True)
        if n > 0
    )


def fit_temperature(scores: Sequence[Sequence[float]], labels: Sequence[int]) -> float:
    """The temperature T > 0 that minimises the mean negative log-likelihood of softmax(scores / T), on dev.

    Guo et al. (2017), "On Calibration of Modern Neural Networks". Searched over T in [0.05, 20].

    Args:
        scores: per case the logits or log-probabilities of its labels; cases may have different numbers of labels.
        labels: per case the index of the right label.

    Raises:
        BadInputError: no case, a label out of range, or a score that is not finite.
    """
    if not scores or len(scores) != len(labels):
        raise BadInputError("temperature needs one right label for each of at least one case")
    rows = [np.asarray(row, dtype=np.float64) for row in scores]
    for row, label in zip(rows, labels, strict=True):
        if isinstance(label, bool) or not 0 <= label < len(row) or not np.isfinite(row).all():
            raise BadInputError("temperature needs finite scores and labels within them")

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return -sum(float(log_softmax(row * scale)[label]) for row, label in zip(rows, labels, strict=True)) / len(rows)

    found = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded")
    return math.exp(float(found.x))
