"""How long a user waits, and what it costs."""

from __future__ import annotations

import math
from dataclasses import replace

from evals.catalogue.metric import BOOTSTRAP, Metric, latency

__all__ = ["COST", "FIRST_TOKEN", "LAST_TOKEN", "METRICS", "PROMPT_TOKENS", "TIMINGS", "TOKENS", "TOKEN_TIME"]

FIRST_TOKEN = "first_token_s"
LAST_TOKEN = "last_token_s"
TOKENS = "tokens"
"""Tokens of the answer, those that a grammar forces included."""
PROMPT_TOKENS = "prompt_tokens"
"""Tokens of everything before the answer."""
TOKEN_TIME = "token_s"
"""Seconds of the whole request by token of its answer."""
COST = "cost"
"""Of one request, in the currency of the price file."""

TIMINGS = frozenset({FIRST_TOKEN, LAST_TOKEN, TOKENS, PROMPT_TOKENS, TOKEN_TIME, COST})
"""What stands in a case result's ``timings``, and not in its ``scores``: another run gives other numbers."""

METRICS: tuple[Metric, ...] = (
    latency("first_token_p50", FIRST_TOKEN, "first", 0.5, 20),
    latency("first_token_p95", FIRST_TOKEN, "first", 0.95, 59),
    latency("last_token_p50", LAST_TOKEN, "last", 0.5, 20),
    latency("last_token_p95", LAST_TOKEN, "last", 0.95, 59),
    replace(
        latency("token_time_p50", TOKEN_TIME, "last", 0.5, 20),
        estimand="median over requests of their time divided by the tokens of their answer; its inverse is tokens per second",
        why="Answers of different length can be compared; a limit on it is a floor on tokens per second.",
    ),
    Metric(
        name="cost_per_request",
        kind="mean",
        direction="lower",
        range=(0.0, math.inf),
        estimand="mean cost of a request that is answered alone, by the price file",
        unit="currency of the price file",
        min_n=30,
        methods=BOOTSTRAP,
        why="A student is there to be cheaper; a mean is what the bill adds up to.",
        score=COST,
    ),
)
