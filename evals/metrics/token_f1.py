"""Mean F1 of normalised words, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from evals.texts import token_f1


class TokenF1(evaluate.Metric):  # type: ignore[misc]
    """Predictions and references are texts; see ``evals.texts.token_f1``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over texts of the F1 of normalised words, in [0, 1], as SQuAD counts it.",
            citation="Rajpurkar et al. (2016), SQuAD",
            inputs_description="predictions: texts; references: the right text of each.",
            features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        if not predictions:
            raise ValueError("token F1 of no texts is undefined")
        scores = [token_f1(given, wanted) for given, wanted in zip(predictions, references, strict=True)]
        return {"token_f1": sum(scores) / len(scores)}
