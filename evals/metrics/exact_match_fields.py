"""Share of answers whose named fields all equal the reference, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from evals.metrics.values import same_value
from evals.structured import parse_answer


class ExactMatchFields(evaluate.Metric):  # type: ignore[misc]
    """Predictions and references are JSON texts; an answer that is no strict JSON object matches nothing."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of answers whose named fields all equal those of the reference.",
            citation="",
            inputs_description="predictions, references: JSON objects as text; fields: names, by default all of the reference.",
            features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[str], fields: Sequence[str] | None = None
    ) -> dict[str, float]:
        if not predictions:
            raise ValueError("exact match of no answers is undefined")
        matches = [_matches(answer, reference, fields) for answer, reference in zip(predictions, references, strict=True)]
        return {"exact_match_fields": sum(matches) / len(matches)}


def _matches(answer: str, reference: str, fields: Sequence[str] | None) -> bool:
    wanted, given = parse_answer(reference).value, parse_answer(answer).value
    if not isinstance(wanted, dict) or not all(name in wanted for name in fields or wanted) or not (fields or wanted):
        raise ValueError("a reference must be a JSON object that has the fields")
    return isinstance(given, dict) and all(name in given and same_value(given[name], wanted[name]) for name in fields or wanted)
