"""Taking a prompted model's label bias away before it teaches.

A small model's label probabilities after a few examples say more about the labels and the examples' order than about the
message. A multinomial logistic regression from the label log-probabilities (of several orders of the examples) to the label
mends this: matrix scaling, with the same L2 penalty on weights (Kull et al. 2019, NeurIPS, arXiv 1910.12656, section 3:
Dirichlet calibration in its linear form). It is fitted on labelled messages, those of ``dev`` and the teaching traces that
carry a reference, and centred on their mean, which alone is batch calibration (Zhou et al. 2024, ICLR, arXiv 2309.17249).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill_gov.records.errors import BadInputError

__all__ = ["Alignment", "cross_fitted", "fit_alignment"]

Array = NDArray[np.float64]
PENALTIES = (0.01, 0.03, 0.1, 0.3)
"""Inverse L2 penalties tried; the one with the best cross-fitted log-likelihood is kept."""

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

    if len(np.unique(truth)) < 2:
        raise BadInputError(
            "dev and the references hold too few labels to align the teacher on", fix="Label dev cases of others."
        )
    model = LogisticRegression(C=penalty, max_iter=5000).fit(features - centre, truth)
    weights = np.zeros((len(labels), features.shape[1]))
    bias = np.zeros(len(labels))
    if len(model.classes_) == 2:
        weights[model.classes_[1]], bias[model.classes_[1]] = model.coef_[0], model.intercept_[0]
    else:
        weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    # A label that no message has keeps some mass but never wins: the scores of those it holds reach 0 on every row.
    bias[np.setdiff1d(np.arange(len(labels)), model.classes_)] = min(0.0, bias[model.classes_].min()) - 1.0
    return Alignment(
        tuple(labels),
        tuple(map(float, centre)),
        tuple(tuple(map(float, row)) for row in weights),
        tuple(map(float, bias)),
        penalty,
    )


def _indices(truth: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    places = {label: i for i, label in enumerate(labels)}
    if not set(truth) <= set(labels):
        raise BadInputError(
            "a label to align on is not among the schema's", fix="Mend the dev file, the references or the schema."
        )
    return np.array([places[t] for t in truth], dtype=np.int64)


def cross_fitted(features: Array, truth: Sequence[str], labels: Sequence[str], penalty: float) -> Array:
    """Corrected log-probabilities of each row by an alignment that did not see the row, shape (rows, labels)."""
    index = _indices(truth, labels)
    folds = np.arange(len(index)) % FOLDS
    result = np.zeros((len(index), len(labels)))
    for fold in range(FOLDS):
        seen = folds != fold
        result[~seen] = _fit(features[seen], index[seen], labels, penalty, features.mean(0))(features[~seen])
    return result


def fit_alignment(features: Array, truth: Sequence[str], labels: Sequence[str]) -> tuple[Alignment, Array]:
    """Fit an alignment and return it with the rows' cross-fitted log-probabilities: what it says of rows it did not see.

    Args:
        features: raw label log-probabilities, shape (rows, orders x labels).
        truth: the rows' labels.
        labels: the field's labels, in the schema's order.

    Raises:
        BadInputError: a label that the schema does not have, or (without one fold) fewer than two labels.
    """
    index = _indices(truth, labels)
    tried = {penalty: cross_fitted(features, truth, labels, penalty) for penalty in PENALTIES}
    best = max(PENALTIES, key=lambda p: float(tried[p][np.arange(len(index)), index].mean()))
    return _fit(features, index, labels, best, features.mean(0)), tried[best]
