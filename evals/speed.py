"""Speed: quantiles of the time to the first and to the last token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.catalogue import FIRST_TOKEN, LAST_TOKEN
from evals.evidence import CaseResult
from evals.intervals import UndefinedEstimateError, quantile_interval

__all__ = ["Latency", "latency"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds; None where the quantile falls on a case that gave no answer, or nothing was timed."""

    n: int
    """Cases, errored ones included: they count as slower than all others."""
    first_token_p50: float | None
    first_token_p95: float | None
    last_token_p50: float | None
    last_token_p95: float | None


def latency(results: Sequence[CaseResult]) -> Latency:
    """Quantiles over the cases of one subject and suite, for display; ``evals.measure`` gives them with intervals."""
    return Latency(
        len(results),
        _quantile(results, FIRST_TOKEN, 0.5),
        _quantile(results, FIRST_TOKEN, 0.95),
        _quantile(results, LAST_TOKEN, 0.5),
        _quantile(results, LAST_TOKEN, 0.95),
    )


def _quantile(results: Sequence[CaseResult], timing: str, q: float) -> float | None:
    times = [r.timings[timing] for r in results if r.status == "ok" and timing in r.timings]
    errored = sum(r.status == "errored" for r in results)
    try:
        return quantile_interval(times, q, beyond=errored).value
    except UndefinedEstimateError:
        return None
