"""Taking a prompted model's label bias away before it teaches.

A small model's label probabilities after a few examples say more about the labels and the examples' order than about the
message. A multinomial logistic regression from the label log-probabilities (of several orders of the examples) to the label
mends this: matrix scaling, with the same L2 penalty on weights (Kull et al. 2019, NeurIPS, arXiv 1910.12656, section 3:
Dirichlet calibration in its linear form). It is fitted on ``dev``; the log-probabilities are centred on the mean over
unlabelled messages, which alone is batch calibration (Zhou et al. 2024, ICLR, arXiv 2309.17249).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Alignment", "cross_fitted", "fit_alignment"]

Array = NDArray[np.float64]
PENALTIES = (0.01, 0.03, 0.1, 0.3)
"""Inverse L2 penalties tried; the one with the best cross-fitted log-likelihood on ``dev`` is kept."""

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Alignment:
    """Maps a field's raw label log-probabilities to corrected ones."""

    labels: tuple[str, ...]
    centre: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    """Shape (labels, features)."""
    bias: tuple[float, ...]
    penalty: float

    def __call__(self, features: Array) -> Array:
        """Corrected log-probabilities, shape (rows, labels), from features of shape (rows, orders x labels)."""
        scores = (features - np.asarray(self.centre)) @ np.asarray(self.weights).T + np.asarray(self.bias)
        top = scores.max(1, keepdims=True)
        result: Array = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
        return result

    def as_json(self) -> dict[str, Any]:
        return {
            "labels": list(self.labels),
            "centre": list(self.centre),
            "weights": [list(row) for row in self.weights],
            "bias": list(self.bias),
            "penalty": self.penalty,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Alignment:
        return cls(
            tuple(value["labels"]),
            tuple(value["centre"]),
            tuple(tuple(row) for row in value["weights"]),
            tuple(value["bias"]),
            float(value["penalty"]),
        )


def _fit(features: Array, truth: NDArray[np.int64], labels: Sequence[str], penalty: float, centre: Array) -> Alignment:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=penalty, max_iter=5000).fit(features - centre, truth)
    weights = np.zeros((len(labels), features.shape[1]))
    # A label that dev does not hold can still be found, but only if the fit leaves it some mass; it gets the least bias seen.
    bias = np.full(len(labels), float(np.min(model.intercept_)) - 1.0)
    if len(model.classes_) == 2:
        weights[model.classes_[1]], bias[model.classes_[1]] = model.coef_[0], model.intercept_[0]
        weights[model.classes_[0]], bias[model.classes_[0]] = 0.0, 0.0
    else:
        weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return Alignment(
        tuple(labels),
        tuple(map(float, centre)),
        tuple(tuple(map(float, row)) for row in weights),
        tuple(map(float, bias)),
        penalty,
    )


def cross_fitted(features: Array, truth: Sequence[str], labels: Sequence[str], penalty: float) -> Array:
    """Corrected log-probabilities of each row by an alignment that did not see the row, shape (rows, labels)."""
    index = np.array([list(labels).index(t) for t in truth])
    folds = np.arange(len(index)) % FOLDS
    result = np.zeros((len(index), len(labels)))
    for fold in range(FOLDS):
        seen = folds != fold
        result[~seen] = _fit(features[seen], index[seen], labels, penalty, features.mean(0))(features[~seen])
    return result


def fit_alignment(features: Array, truth: Sequence[str], labels: Sequence[str]) -> tuple[Alignment, Array]:
    """Fit on dev and return the alignment with dev's cross-fitted log-probabilities.

    Args:
        features: raw label log-probabilities, shape (rows, orders x labels).
        truth: dev's labels.
        labels: the field's labels, in the schema's order.
    """
    index = np.array([list(labels).index(t) for t in truth])
    tried = {penalty: cross_fitted(features, truth, labels, penalty) for penalty in PENALTIES}
    best = max(PENALTIES, key=lambda p: float(tried[p][np.arange(len(index)), index].mean()))
    return _fit(features, index, labels, best, features.mean(0)), tried[best]
