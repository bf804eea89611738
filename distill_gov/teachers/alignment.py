"""Reading a prompted model's decisions rightly before it teaches.

A small model's label probabilities after a few examples say more about the labels and the examples' order than about the
message, while its last hidden state knows more than its own output head reads from it. A multinomial logistic regression from
both (label log-probabilities, under one or several orders of the examples, and hidden state) to the label mends this. On the
log-probabilities alone it is matrix scaling (Kull et al. 2019, NeurIPS, arXiv 1910.12656, section 3: Dirichlet calibration in
its linear form); on the hidden state it is a linear probe (Alain and Bengio 2016, arXiv 1610.01644), a new row of the output
head for each label. It is fitted on labelled messages, those of ``dev`` and the teaching traces that carry a reference,
weighted to dev's mix of labels; every figure about it is cross-fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill_gov.records.errors import BadInputError

__all__ = ["Alignment", "cross_fitted", "fit_alignment", "mix_weights"]

Array = NDArray[np.float64]
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Inverse L2 penalties tried; the one with the best cross-fitted log-likelihood is kept."""

FOLDS = 5
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True, slots=True)
class Alignment:
    """Maps what a model shows when a field is asked to log-probabilities of its labels."""

    labels: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    """Standard deviation of each feature."""
    weights: tuple[tuple[float, ...], ...]
    """Shape (labels, features)."""
    bias: tuple[float, ...]
    penalty: float

    def __call__(self, features: Array) -> Array:
        """Corrected log-probabilities, shape (rows, labels), from features of shape (rows, features)."""
        scores = (features - np.asarray(self.centre)) / np.asarray(self.scale) @ np.asarray(self.weights).T + np.asarray(
            self.bias
        )
        top = scores.max(1, keepdims=True)
        result: Array = scores - top - np.log(np.exp(scores - top).sum(1, keepdims=True))
        return result

    def as_json(self) -> dict[str, Any]:
        return {
            "labels": list(self.labels),
            "centre": list(self.centre),
            "scale": list(self.scale),
            "weights": [list(row) for row in self.weights],
            "bias": list(self.bias),
            "penalty": self.penalty,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Alignment:
        return cls(
            tuple(value["labels"]),
            tuple(value["centre"]),
            tuple(value["scale"]),
            tuple(tuple(row) for row in value["weights"]),
            tuple(value["bias"]),
            float(value["penalty"]),
        )


def _fit(features: Array, truth: NDArray[np.int64], labels: Sequence[str], penalty: float, weights: Array) -> Alignment:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(truth)) < 2:
        raise BadInputError(
            "dev and the references hold too few labels to align the teacher on", fix="Label dev cases of others."
        )
    centre = np.average(features, axis=0, weights=weights)
    # A feature that does not vary is left as it is: it says nothing either way.
    scale = np.sqrt(np.average((features - centre) ** 2, axis=0, weights=weights))
    scale[scale < SMALLEST_SCALE] = 1.0
    model = LogisticRegression(C=penalty, max_iter=5000).fit((features - centre) / scale, truth, sample_weight=weights)
    slopes = np.zeros((len(labels), features.shape[1]))
    bias = np.zeros(len(labels))
    if len(model.classes_) == 2:
        slopes[model.classes_[1]], bias[model.classes_[1]] = model.coef_[0], model.intercept_[0]
    else:
        slopes[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    # A label that no message has keeps some mass but never wins: the scores of those it holds reach 0 on every row.
    bias[np.setdiff1d(np.arange(len(labels)), model.classes_)] = min(0.0, bias[model.classes_].min()) - 1.0
    return Alignment(
        tuple(labels),
        _rounded(centre),
        _rounded(scale),
        tuple(map(_rounded, slopes)),
        _rounded(bias),
        penalty,
    )


def _rounded(values: Array) -> tuple[float, ...]:
    """Six significant digits: an alignment is stored as JSON."""
    return tuple(float(f"{value:.6g}") for value in values)


def _indices(truth: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    places = {label: i for i, label in enumerate(labels)}
    if not set(truth) <= set(labels):
        raise BadInputError(
            "a label to align on is not among the schema's", fix="Mend the dev file, the references or the schema."
        )
    return np.array([places[t] for t in truth], dtype=np.int64)


def mix_weights(truth: Sequence[str], labels: Sequence[str], dev: int) -> Array:
    """Weights of rows under which their labels are mixed as those of the first ``dev`` rows are, shape (rows,).

    References may be richer in some labels than the traffic is; fitted on them as they come, the alignment would see those
    labels everywhere. Counts are smoothed by one half, so that a label that dev does not hold keeps a little weight.
    """
    index = _indices(truth, labels)
    wanted, held = (np.bincount(part, minlength=len(labels)) + 0.5 for part in (index[:dev], index))
    share = (wanted / wanted.sum()) / (held / held.sum())
    weights: Array = share[index]
    return weights


def cross_fitted(
    features: Array, truth: Sequence[str], labels: Sequence[str], penalty: float, weights: Array | None = None
) -> Array:
    """Corrected log-probabilities of each row by an alignment that did not see the row, shape (rows, labels)."""
    index = _indices(truth, labels)
    weights = np.ones(len(index)) if weights is None else weights
    folds = np.arange(len(index)) % FOLDS
    result = np.zeros((len(index), len(labels)))
    for fold in range(FOLDS):
        seen = folds != fold
        result[~seen] = _fit(features[seen], index[seen], labels, penalty, weights[seen])(features[~seen])
    return result


def fit_alignment(
    features: Array, truth: Sequence[str], labels: Sequence[str], dev: int | None = None
) -> tuple[Alignment, Array]:
    """Fit an alignment and return it with the rows' cross-fitted log-probabilities: what it says of rows it did not see.

    Args:
        features: label log-probabilities and whatever else the model shows, shape (rows, features).
        truth: the rows' labels.
        labels: the field's labels, in the schema's order.
        dev: how many rows, the first ones, have the mix of labels that the traffic has (:func:`mix_weights`); default: all.

    Raises:
        BadInputError: a label that the schema does not have, or (without one fold) fewer than two labels.
    """
    index = _indices(truth, labels)
    weights = mix_weights(truth, labels, len(index) if dev is None else dev)
    tried = {penalty: cross_fitted(features, truth, labels, penalty, weights) for penalty in PENALTIES}
    best = max(PENALTIES, key=lambda p: float(np.average(tried[p][np.arange(len(index)), index], weights=weights)))
    return _fit(features, index, labels, best, weights), tried[best]
