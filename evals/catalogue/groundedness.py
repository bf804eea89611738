"""Whether an answer holds only what its input and context hold."""

from __future__ import annotations

from evals.catalogue.metric import Metric

__all__ = ["METRICS"]

METRICS: tuple[Metric, ...] = ()
