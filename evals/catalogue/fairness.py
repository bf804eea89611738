"""Whether who asks changes the answer."""

from __future__ import annotations

from evals.catalogue.metric import Metric

__all__ = ["METRICS"]

METRICS: tuple[Metric, ...] = ()
