"""Share of answers that are strict JSON and valid under a schema, as a metric of Hugging Face ``evaluate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import evaluate

from evals.structured import judge, load_schema


class SchemaValidity(evaluate.Metric):  # type: ignore[misc]
    """Predictions are answers as text; ``compute(predictions=..., schema=path)``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of answers that are strict JSON and valid under a JSON Schema; the count of each first error.",
            citation="",
            inputs_description="predictions: answers as text; schema: path of a JSON Schema.",
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions: Sequence[str], schema: str) -> dict[str, Any]:
        if not predictions:
            raise ValueError("validity of no answers is undefined")
        loaded = load_schema(Path(schema))
        errors = Counter(judged.error for judged in (judge(answer, loaded) for answer in predictions))
        return {"schema_validity": errors.pop(None, 0) / len(predictions), "errors": dict(errors)}
