"""Mean ROUGE-L, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from evals.texts import rouge_l


class RougeL(evaluate.Metric):  # type: ignore[misc]
    """Predictions and references are texts; see ``evals.texts.rouge_l``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over texts of the ROUGE-L F-measure over words, unstemmed, in [0, 1].",
            citation="Lin (2004), ROUGE: A Package for Automatic Evaluation of Summaries",
            inputs_description="predictions: texts; references: the right text of each.",
            features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        if not predictions:
            raise ValueError("ROUGE-L of no texts is undefined")
        scores = [rouge_l(given, wanted) for given, wanted in zip(predictions, references, strict=True)]
        return {"rouge_l": sum(scores) / len(scores)}
