"""Whether an answer can be read by the software that waits for it."""

from __future__ import annotations

from evals.catalogue.metric import Metric, proportion

__all__ = ["METRICS", "SCHEMA_VALID"]

SCHEMA_VALID = "schema_valid"

METRICS: tuple[Metric, ...] = (
    proportion(
        "schema_validity",
        "higher",
        "probability that the answer is strict JSON and valid under the schema, formats asserted",
        "What does not parse cannot be used, and often fails silently downstream.",
        score=SCHEMA_VALID,
        min_n=59,
    ),
)
