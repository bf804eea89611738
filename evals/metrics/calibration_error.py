"""Debiased calibration error over equal-mass bins, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from evals.calibration import calibration_error
from evals.catalogue import CALIBRATION_BINS


class CalibrationError(evaluate.Metric):  # type: ignore[misc]
    """Predictions are confidences in the predicted label, references whether it was right; see ``evals.calibration``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Debiased equal-mass expected calibration error (Kumar, Liang & Ma 2019), a point estimate.",
            citation="",
            inputs_description="predictions: confidence in [0, 1]; references: 1 where the predicted label was right, else 0.",
            features=datasets.Features({"predictions": datasets.Value("float64"), "references": datasets.Value("int32")}),
        )

    def _compute(
        self, predictions: Sequence[float], references: Sequence[int], bins: int = CALIBRATION_BINS
    ) -> dict[str, float]:
        confidence, correct = np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.float64)
        if confidence.size == 0 or not ((confidence >= 0) & (confidence <= 1)).all() or not np.isin(correct, (0, 1)).all():
            raise ValueError("needs at least one confidence in [0, 1], each with 0 or 1")
        return {"calibration_error": calibration_error(confidence, correct, bins)}
