"""Macro-averaged F1 of labels, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import datasets
import evaluate


class MacroF1(evaluate.Metric):  # type: ignore[misc]
    """Predictions and references are labels; one that no reference has is wrong and gets no F1 of its own."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over labels of F1: 2 TP / (2 TP + FP + FN), 0 for a label that is never right; a point estimate.",
            citation="",
            inputs_description=(
                "predictions, references: labels; labels: which to average over, by default those of the references. A label "
                "that is in neither has no F1 and is an error."
            ),
            features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[str], labels: Sequence[str] | None = None
    ) -> dict[str, float]:
        if not predictions:
            raise ValueError("macro-F1 of no labels is undefined")
        if len(predictions) != len(references):
            raise ValueError("as many predictions as references are needed")
        right = Counter(given for given, wanted in zip(predictions, references, strict=True) if given == wanted)
        named = Counter(predictions) + Counter(references)
        over = sorted(set(references)) if labels is None else labels
        if not over or not all(named[label] for label in over):
            raise ValueError("a label to average over must occur, else it has no F1")
        return {"macro_f1": sum(2 * right[label] / named[label] for label in over) / len(over)}
