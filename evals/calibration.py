"""Calibration of confidences: debiased error over equal-mass bins, reliability table, temperature.

Estimand: the confidence is that in the *predicted* label, not P(y = 1), and the error is over bins. With bins b of weight
w_b, mean confidence c_b and accuracy a_b, the plug-in error is sum_b w_b |c_b - a_b|. It is biased up, since noise in a_b adds
to the absolute value. The bias is estimated bin by bin and subtracted, as Kumar, Liang & Ma (2019), "Verified Uncertainty
Calibration", section 4 and appendix, do for the L1 error: draw a_b again from a normal distribution with the bin's own
variance and see how far the plug-in error rises on average. That average is the mean of a folded normal distribution, so no
random numbers are needed. See also Broecker (2012) and Ferro & Fricker (2012) on the squared error.

That takes about half of the bias and no more. The squared error has a debiased estimate without any, see
:meth:`WeightedCalibration.squared_errors`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, ndtr

from distill_gov.records.errors import BadInputError
from evals.catalogue import CALIBRATION_BINS

__all__ = [
    "BrierDecomposition",
    "ConfidenceLevels",
    "ReliabilityBin",
    "WeightedCalibration",
    "brier_decomposition",
    "calibration_error",
    "classwise_error",
    "fit_temperature",
    "reliability_table",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
WeightedStatistic = Callable[[FloatArray], FloatArray]
"""From weights of shape (r, n), how often each case counts, to r values."""


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


class ConfidenceLevels:
    """Cases in order of confidence, those of equal confidence as one level, so that no order among them matters.

    Args:
        confidence: shape (n,).
    """

    def __init__(self, confidence: FloatArray) -> None:
        self.order = np.argsort(confidence, kind="stable")
        self.values, self.first = np.unique(confidence[self.order], return_index=True)

    def sums(self, weights: FloatArray, column: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Per row of ``weights`` (r, n) and level, from the least confident on: weight, and weighted sum of ``column`` (n,)."""
        ordered = weights[:, self.order]
        return self._by_level(ordered), self._by_level(ordered * column[self.order])

    def _by_level(self, ordered: FloatArray) -> FloatArray:
        """Most confidences are all different, and then there is nothing to sum."""
        return ordered if len(self.values) == len(self.order) else np.add.reduceat(ordered, self.first, axis=1)


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
        self.levels = ConfidenceLevels(confidence)
        self.correct = correct

    def sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Per row of ``weights`` (r, n) and bin: weight, summed confidence, summed correctness; each of shape (r, bins)."""
        mass, right = self.levels.sums(weights, self.correct)
        running = _running(mass)
        total = running[:, -1:]
        edges = [(running[:, :-1] < total * b / self.bins).sum(axis=1) for b in range(1, self.bins)]
        return (
            _between(running, edges),
            _between(_running(mass * self.levels.values), edges),
            _between(_running(right), edges),
        )

    def errors(self, weights: FloatArray) -> FloatArray:
        """Debiased error per row of ``weights`` (r, n); shape (r,). Not clipped: noise can take it a little under zero."""
        return _debiased_error(*self.sums(weights))

    def squared_errors(self, weights: FloatArray) -> FloatArray:
        """Debiased squared L2 error per row of ``weights`` (r, n); shape (r,). If the truth is 0, half of them are negative.

        sum_b w_b [(c_b - a_b)^2 - a_b (1 - a_b) / (n_b - 1)]: Kumar, Liang & Ma (2019), the debiased estimator of section 5.
        A bin of one case has no variance to take away.
        """
        mass, confidence, right = self.sums(weights)
        safe = np.where(mass > 0, mass, 1.0)
        accuracy = right / safe
        noise = accuracy * (1 - accuracy) / np.maximum(mass - 1, 1.0)
        share = mass / mass.sum(axis=1, keepdims=True)
        found: FloatArray = (share * ((confidence / safe - accuracy) ** 2 - noise)).sum(axis=1)
        return found


def _debiased_error(mass: FloatArray, confidence: FloatArray, right: FloatArray) -> FloatArray:
    """Sum over bins (the last axis) of the bin's share of the row's weight times its debiased gap."""
    safe = np.where(mass > 0, mass, 1.0)
    accuracy = right / safe
    gap = np.abs(confidence / safe - accuracy)
    deviation = np.sqrt(np.maximum(accuracy * (1 - accuracy), 0.0) / safe)
    share = mass / mass.sum(axis=-1, keepdims=True)
    found: FloatArray = (share * (2 * gap - _folded_normal_mean(gap, deviation))).sum(axis=-1)
    return found


def _running(values: FloatArray) -> FloatArray:
    """Sums of each row of ``values`` (r, n) up to each place, from the empty one on; shape (r, n + 1)."""
    found = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=found[:, 1:])
    return found


def _between(running: FloatArray, edges: Sequence[IntArray]) -> FloatArray:
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
    ordered = confidence[weighted.levels.order]
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


def _equal_mass(confidence: FloatArray, bins: int) -> IntArray:
    """The bin of each case, shape (n,): the one in which the first case of its confidence falls."""
    levels = ConfidenceLevels(confidence)
    sizes = np.diff([*levels.first, len(confidence)])
    found = np.empty(len(confidence), dtype=np.int64)
    found[levels.order] = np.repeat(levels.first * bins // len(confidence), sizes)
    return found


def classwise_error(probability: FloatArray, reference: IntArray, bins: int = CALIBRATION_BINS) -> WeightedStatistic:
    """Sum over labels of the debiased error between a label's probability and how often it is the reference.

    The classwise error of Kull et al. (2019), "Beyond temperature scaling", equation 3, is this over the number of labels.
    A label's bins hold equal shares of the cases as they are, and stay when cases are drawn again: sorting anew for each of
    many labels would cost seconds.

    Args:
        probability: shape (n, k).
        reference: shape (n,), the right label's column.

    Returns:
        From weights of shape (r, n), how often each case counts, to r values.
    """
    n, k = probability.shape
    label = np.arange(k)
    place = np.stack([_equal_mass(probability[:, c], bins) for c in label], axis=1) + bins * label
    member = np.zeros((n, k * bins))
    np.put_along_axis(member, place, 1.0, axis=1)
    right = np.zeros((n, k * bins))
    right[np.arange(n), place[np.arange(n), reference]] = 1.0
    columns = [member, member * np.repeat(probability, bins, axis=1), right]

    def errors(weights: FloatArray) -> FloatArray:
        sums = [(weights @ c).reshape(len(weights), k, bins) for c in columns]
        found: FloatArray = _debiased_error(*sums).sum(axis=1)
        return found

    return errors


@dataclass(frozen=True, slots=True)
class BrierDecomposition:
    """Where a Brier score comes from: ``reliability - resolution + uncertainty + within`` is the score."""

    score: float
    reliability: float
    """How far the bins' probabilities are from what happens in them; 0 is calibrated."""
    resolution: float
    """How far the bins differ in what happens in them; the greater, the better."""
    uncertainty: float
    """The score of the labels' base rates: what the task itself holds."""
    within: float
    """What bins leave over: variance of the probabilities within a bin, less twice their covariance with what happens."""


def brier_decomposition(probability: FloatArray, reference: IntArray, bins: int = CALIBRATION_BINS) -> BrierDecomposition:
    """Decompose the multi-class Brier score, label by label, over equal-mass bins of the label's probability.

    Murphy (1973), "A new vector partition of the probability score"; the part within bins by Stephenson, Coelho & Jolliffe
    (2008), "Two extra components in the Brier score decomposition", without which binned terms do not sum to the score.

    Args:
        probability: shape (n, k), n >= 1.
        reference: shape (n,), the right label's column.
    """
    n, k = probability.shape
    happened = np.zeros((n, k))
    happened[np.arange(n), reference] = 1.0
    parts = np.zeros(4)
    for p, y in zip(probability.T, happened.T, strict=True):
        place = _equal_mass(p, bins)
        mass = np.maximum(np.bincount(place, minlength=bins), 1)
        mean_p, mean_y = (np.bincount(place, v, bins) / mass for v in (p, y))
        dp, dy = p - mean_p[place], y - mean_y[place]
        parts += [
            ((mean_p - mean_y)[place] ** 2).mean(),
            ((mean_y[place] - y.mean()) ** 2).mean(),
            y.mean() * (1 - y.mean()),
            (dp**2 - 2 * dp * dy).mean(),
        ]
    return BrierDecomposition(float(((probability - happened) ** 2).sum(axis=1).mean()), *(float(x) for x in parts))


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
