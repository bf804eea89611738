"""Share of answers that are right, field by field, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from evals.metrics.values import same_value
from evals.structured import parse_answer


class FieldAccuracy(evaluate.Metric):  # type: ignore[misc]
    """Predictions and references are JSON texts; an answer that is no strict JSON object is wrong in every field."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Of each field, the share of answers whose value equals that of the reference.",
            citation="",
            inputs_description=(
                "predictions, references: JSON objects as text; fields: names, by default all of the references. A field "
                "counts on the answers whose reference has it."
            ),
            features=datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")}),
        )

    def _compute(
        self, predictions: Sequence[str], references: Sequence[str], fields: Sequence[str] | None = None
    ) -> dict[str, float]:
        wanted = [parse_answer(reference).value for reference in references]
        if not all(isinstance(value, dict) for value in wanted):
            raise ValueError("a reference must be a JSON object")
        given = [parse_answer(answer).value for answer in predictions]
        pairs = [(g if isinstance(g, dict) else {}, w) for g, w in zip(given, wanted, strict=True)]
        names = fields if fields is not None else sorted({name for value in wanted for name in value})
        if not names:
            raise ValueError("accuracy of no fields is undefined")
        return {f"accuracy.{name}": _accuracy(name, pairs) for name in names}


def _accuracy(name: str, pairs: Sequence[tuple[dict[str, object], dict[str, object]]]) -> float:
    right = [name in given and same_value(given[name], wanted[name]) for given, wanted in pairs if name in wanted]
    if not right:
        raise ValueError("accuracy of a field that no reference has is undefined")
    return sum(right) / len(right)
