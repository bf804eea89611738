"""Speed: time to the first and to the last token, tokens a second, memory, size, and what a request costs."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from scipy.special import stdtrit

from distill_gov.records.errors import BadInputError
from distill_gov.records.settings import Settings, load_settings
from evals.catalogue import COST, FIRST_TOKEN, LAST_TOKEN, PROMPT_TOKENS, TOKEN_TIME, TOKENS
from evals.evidence import CaseResult
from evals.intervals import Estimate, UndefinedEstimateError, quantile_interval

__all__ = [
    "Footprint",
    "Price",
    "Prices",
    "Speed",
    "TokenPrice",
    "load_prices",
    "priced",
    "request_cost",
    "speed",
    "with_rates",
]

SECONDS_PER_HOUR = 3600


# --- prices


def _date(value: Any) -> Any:
    """YAML reads a date as one; JSON has only its text."""
    try:
        return datetime.date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


class TokenPrice(Settings):
    """Price of a million tokens, as hosted models are sold."""

    input: float = Field(gt=0)
    output: float = Field(gt=0)


class Price(Settings):
    """What one subject costs: the machine that runs it, or its tokens."""

    per_hour: float | None = Field(default=None, gt=0)
    """Of the whole machine. A request is charged with the time it takes alone: batching would make it cheaper."""
    per_million_tokens: TokenPrice | None = None

    @model_validator(mode="after")
    def _one(self) -> Price:
        if (self.per_hour is None) == (self.per_million_tokens is None):
            raise ValueError("needs either `per_hour` or `per_million_tokens`")
        return self


class Prices(Settings):
    """A price file. Nothing in it is looked up anywhere: whoever writes it says where the figures are from, and of when."""

    currency: str = Field(pattern="^[A-Z]{3}$")
    """ISO 4217."""
    source: str = Field(min_length=1)
    date: Annotated[datetime.date, BeforeValidator(_date)]
    invented: bool = False
    """Whether the figures are an example and nobody's prices."""
    subjects: dict[str, Price] = Field(min_length=1)
    """Subject name to its price."""


def load_prices(path: Path) -> Prices:
    """Read a price file, YAML or JSON.

    Raises:
        MissingFileError, MalformedFileError, UnknownKeyError: one line with file, line and key.
    """
    return load_settings(path, Prices)


def request_cost(price: Price, timings: Mapping[str, float]) -> float | None:
    """Cost of one request; None where what it is charged by was not measured."""
    if price.per_hour is not None:
        return timings[LAST_TOKEN] / SECONDS_PER_HOUR * price.per_hour if LAST_TOKEN in timings else None
    charged = price.per_million_tokens
    if charged is None or TOKENS not in timings or PROMPT_TOKENS not in timings:
        return None
    return (timings[PROMPT_TOKENS] * charged.input + timings[TOKENS] * charged.output) / 1e6


def with_rates(timings: Mapping[str, float], price: Price | None = None) -> dict[str, float]:
    """The timings of a request with what follows from them: seconds by token, and cost where there is a price."""
    found = dict(timings)
    if LAST_TOKEN in found and found.get(TOKENS, 0) > 0:
        found[TOKEN_TIME] = found[LAST_TOKEN] / found[TOKENS]
    cost = request_cost(price, found) if price is not None else None
    if cost is not None:
        found[COST] = cost
    return found


# --- what was measured of one subject


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a subject takes up; None where it was not measured."""

    parameters: int | None = None
    bytes: int | None = None
    """Of the files of its weights."""
    peak_rss_bytes: int | None = None
    """Most memory of a process that did nothing but load the model and answer single requests, libraries included."""
    peak_accelerator_bytes: int | None = None
    """Most memory that torch had allocated on an accelerator."""


@dataclass(frozen=True, slots=True)
class Speed:
    """One subject on single requests; an estimate is None where it cannot be made."""

    n: int
    """Cases, errored ones included: they count as slower than all others."""
    first_token_p50: Estimate | None
    """Seconds, with the interval between two order statistics, 95 % two-sided; so the next three."""
    first_token_p95: Estimate | None
    last_token_p50: Estimate | None
    last_token_p95: Estimate | None
    tokens_per_s: Estimate | None
    """Tokens of all answers by the time of all requests; 95 % two-sided, no bounds of a single request."""
    cost_per_request: float | None
    """Mean, in ``currency``; None where one request has no cost, or one errored."""
    currency: str
    footprint: Footprint

    def facts(self) -> dict[str, Any]:
        """The same as flat JSON values, without what is not known: a quantile, and its ``_low`` and ``_high``."""
        found: dict[str, Any] = {"n": self.n}
        for name in ("first_token_p50", "first_token_p95", "last_token_p50", "last_token_p95", "tokens_per_s"):
            one: Estimate | None = getattr(self, name)
            if one is not None:
                found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
        found |= {"cost_per_request": self.cost_per_request, **asdict(self.footprint)}
        if self.cost_per_request is not None:
            found["currency"] = self.currency
        return {name: value for name, value in found.items() if value is not None}


def speed(results: Sequence[CaseResult], footprint: Footprint | None = None, prices: Prices | None = None) -> Speed:
    """Figures over the timed cases of one subject and suite, for display; ``evals.measuring`` gives those that gates read.

    Args:
        results: the cases that were timed, and those that errored.
        prices: where the costs in the timings come from; names the currency.

    Raises:
        BadInputError: a time is no number, or results are of several subjects or suites.
    """
    if len({(r.subject, r.suite) for r in results}) > 1:
        raise BadInputError("times are of several subjects or suites", fix="Give those of one.")
    return Speed(
        n=len(results),
        first_token_p50=_quantile(results, FIRST_TOKEN, 0.5),
        first_token_p95=_quantile(results, FIRST_TOKEN, 0.95),
        last_token_p50=_quantile(results, LAST_TOKEN, 0.5),
        last_token_p95=_quantile(results, LAST_TOKEN, 0.95),
        tokens_per_s=_rate(results),
        cost_per_request=_mean_cost(results),
        currency=prices.currency if prices else "",
        footprint=footprint or Footprint(),
    )


def priced(results: Sequence[CaseResult], price: Price) -> list[CaseResult]:
    """The results with a cost in the timings of every case that was timed."""
    return [replace(result, timings=with_rates(result.timings, price)) for result in results]


def _times(results: Sequence[CaseResult], timing: str) -> list[float]:
    return [r.timings[timing] for r in results if r.status == "ok" and timing in r.timings]


def _quantile(results: Sequence[CaseResult], timing: str, q: float) -> Estimate | None:
    times = _times(results, timing)
    if any(isinstance(t, bool) or not 0 <= t < float("inf") for t in times):
        raise BadInputError(f"timing `{timing}` is no time in seconds")
    try:
        return quantile_interval(times, q, beyond=sum(r.status == "errored" for r in results))
    except UndefinedEstimateError:
        return None


def _rate(results: Sequence[CaseResult]) -> Estimate | None:
    """Ratio of two totals. Its variance is that of the residuals from it (W. G. Cochran 1977, "Sampling Techniques", 6.4: the
    ratio estimator), its interval Student's."""
    pairs = [(r.timings[TOKENS], r.timings[LAST_TOKEN]) for r in results if {TOKENS, LAST_TOKEN} <= r.timings.keys()]
    n, seconds = len(pairs), sum(time for _, time in pairs)
    if not seconds > 0:
        return None
    rate = sum(tokens for tokens, _ in pairs) / seconds
    if n < 2:
        return Estimate(rate, None, None)
    residuals = sum((tokens - rate * time) ** 2 for tokens, time in pairs)
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(n / (n - 1) * residuals) / seconds
    return Estimate(rate, max(0.0, rate - half), rate + half)


def _mean_cost(results: Sequence[CaseResult]) -> float | None:
    costs = _times(results, COST)
    return sum(costs) / len(costs) if costs and len(costs) == len(results) else None
