"""What is to be measured, with the catalogue's word for whatever is not said."""

from __future__ import annotations

from typing import Literal

from evals.catalogue import default_method
from evals.evidence import MeasurementRequest

__all__ = ["request"]


def request(
    metric: str,
    suite: str,
    subject: str = "student",
    *,
    reference: str | None = None,
    slice: str | None = None,
    method: str = "",
    confidence: float = 0.95,
    side: Literal["lower", "upper", "two"] = "two",
    cluster: bool = False,
) -> MeasurementRequest:
    """A request: of a level, or of the difference to a reference where one is named.

    Args:
        method: empty takes the catalogue's first; where cases hang together in clusters, the first that allows for it.

    Raises:
        UnknownKeyError: there is no such metric.
    """
    statistic: Literal["level", "difference"] = "difference" if reference else "level"
    return MeasurementRequest(
        metric=metric,
        suite=suite,
        slice=slice,
        subject=subject,
        reference=reference,
        statistic=statistic,
        method=method or default_method(metric, statistic, cluster=cluster),
        confidence=confidence,
        side=side,
        cluster=cluster,
    )
