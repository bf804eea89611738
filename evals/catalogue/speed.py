"""How long a user waits, and what it costs."""

from __future__ import annotations

from evals.catalogue.metric import Metric, latency

__all__ = ["FIRST_TOKEN", "LAST_TOKEN", "METRICS"]

FIRST_TOKEN = "first_token_s"
LAST_TOKEN = "last_token_s"

METRICS: tuple[Metric, ...] = (
    latency("first_token_p50", FIRST_TOKEN, "first", 0.5, 20),
    latency("first_token_p95", FIRST_TOKEN, "first", 0.95, 59),
    latency("last_token_p50", LAST_TOKEN, "last", 0.5, 20),
    latency("last_token_p95", LAST_TOKEN, "last", 0.95, 59),
)
