"""Mean chrF2 of single texts, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from evals.texts import chrf


class Chrf(evaluate.Metric):  # type: ignore[misc]
    """Predictions and references are texts; see ``evals.texts.chrf``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over texts of chrF2 (characters, n = 1 to 6, beta = 2), in [0, 1]; not the corpus score.",
            citation="Popovic (2015), chrF; Popovic (2017), chrF++",
            inputs_description="predictions: texts; references: the right text of each.",
            features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        if not predictions:
            raise ValueError("chrF of no texts is undefined")
        scores = [chrf(given, wanted) for given, wanted in zip(predictions, references, strict=True)]
        return {"chrf": sum(scores) / len(scores)}
