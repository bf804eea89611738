"""How often an interval holds the truth: every method of the catalogue, at the cases and rates that gates use.

    python benchmarks/coverage.py [--json] [--trials N] [--only METHOD]

One-sided coverage is what a gate needs, since one bound decides it; both bounds are one-sided 95 % ones, so between them the
nominal coverage is 90 %. Proportions, paired proportions and quantiles are enumerated, hence exact; the rest is simulated, with
its Monte-Carlo error (one standard error at 95 %). A trial that gives no interval passes no gate: it counts as covered, and its
share is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import beta, binom, norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evals import resampling
from evals.catalogue import METHODS
from evals.catalogue.metric import BOOTSTRAP, EXACT, MEAN
from evals.intervals import (
    Estimate,
    UndefinedEstimateError,
    clopper_pearson,
    korn_graubard,
    quantile_interval,
    tango_statistic,
    wilson,
)
from evals.resampling import (
    calibration_error_interval,
    confidence_gap_interval,
    mean_interval,
    permutation_interval,
)

NS = (59, 100, 150, 300, 600, 1000)
SIMULATED_NS = (59, 100, 150, 300, 600)
CONFIDENCE = 0.95
RESAMPLES = 1000

Rng = np.random.Generator
Array = np.ndarray[Any, Any]
Bound = Literal["lower", "upper"]


@dataclass(frozen=True, slots=True)
class Cell:
    """The coverage of one method at one number of cases and one truth."""

    method: str
    what: str
    n: int
    truth: float
    deciding: Bound
    """The bound that a gate on it is decided by."""
    lower: float
    """How often the lower bound is at or under the truth."""
    upper: float
    both: float
    error: float
    """Monte-Carlo standard error of a coverage of 95 %; 0 where enumerated."""
    undefined: float = 0.0
    """Share of trials that gave no interval."""
    allowed: bool = True
    """Whether the catalogue lets a gate of this kind use the method; the others stand beside it for comparison."""

    @property
    def holds(self) -> bool:
        """Whether the deciding bound is as often right as the catalogue says, within three standard errors."""
        found = self.lower if self.deciding == "lower" else self.upper
        return found >= CONFIDENCE - METHODS[self.method].short_by - 3 * self.error - 1e-9


# --- enumerated


def binomial(method: str, interval: Callable[..., Estimate], n: int, rate: float, deciding: Bound) -> Cell:
    """A proportion, over every number of successes."""
    weight = binom.pmf(np.arange(n + 1), n, rate)
    found = [interval(k, n, confidence=CONFIDENCE, side="lower") for k in range(n + 1)]
    low = np.array([one.low for one in found]) <= rate + 1e-12
    high = np.array([one.high for one in found]) >= rate - 1e-12
    lower, upper, both = (float((weight * held).sum()) for held in (low, high, low & high))
    return Cell(method, "proportion", n, rate, deciding, lower, upper, both, 0.0, allowed=method in EXACT["level"])


def paired(n: int, difference: float, discordant: float, deciding: Bound) -> Cell:
    """Tango's interval, over every number of discordant pairs and every way in which they fall."""
    least, most = int(binom.ppf(1e-12, n, discordant)), int(binom.isf(1e-12, n, discordant))
    pairs, b = np.arange(least, most + 1)[:, None], np.arange(most + 1)[None, :]
    weight = binom.pmf(pairs, n, discordant) * binom.pmf(b, pairs, (discordant + difference) / 2 / discordant)
    # The bound is beyond the truth exactly when the truth is rejected.
    statistic = tango_statistic(b, np.maximum(pairs - b, 0), n, difference)
    z = norm.ppf(CONFIDENCE)
    low, high = statistic <= z, statistic >= -z
    lower, upper, both = (float((weight * held * (b <= pairs)).sum()) for held in (low, high, low & high))
    return Cell("tango", f"paired difference, {discordant:.0%} discordant", n, difference, deciding, lower, upper, both, 0.0)


def quantile(n: int, q: float) -> Cell:
    """Order statistics: the bound holds when enough of n cases lie under the quantile, whatever the distribution."""
    found = quantile_interval(list(range(1, n + 1)), q, confidence=CONFIDENCE, side="upper")
    under = np.arange(n + 1)
    weight = binom.pmf(under, n, q)
    low = under >= (found.low or 0)
    high = np.ones(n + 1, dtype=bool) if found.high is None else under <= found.high - 1
    lower, upper, both = (float((weight * held).sum()) for held in (low, high, low & high))
    return Cell("order_statistics", f"quantile {q:g}", n, q, "upper", lower, upper, both, 0.0)


# --- simulated


@contextmanager
def shared_draws() -> Iterator[None]:
    """Lets all trials of a size use the same resamples, which do not depend on the data: a tenth of the time."""
    drawn = resampling._drawn

    @lru_cache(maxsize=2)
    def counts(rows: int, units: int) -> Array:
        return drawn(np.random.default_rng([rows, units]), rows, units, None)

    def shared(_: Rng, rows: int, units: int, member: Array | None) -> Array:
        found = counts(rows, units)
        return found if member is None else found[:, member]

    resampling._drawn = shared
    try:
        yield
    finally:
        resampling._drawn = drawn


@dataclass(frozen=True, slots=True)
class World:
    """Where samples come from, and the truth about it."""

    what: str
    truth: float
    deciding: Bound
    draw: Callable[[Rng, int], Any]
    """From a generator and n to the sample that the interval takes."""
    allowed: tuple[str, ...]
    """What the catalogue allows there."""
    methods: tuple[str, ...] = ("bootstrap", "pivotal", "bca")
    ns: tuple[int, ...] = SIMULATED_NS
    interval: Callable[..., Estimate] = mean_interval


def simulated(world: World, method: str, n: int, trials: int, *, seed: int = 0, resamples: int = RESAMPLES) -> Cell:
    """Coverage over ``trials`` samples."""
    rng = np.random.default_rng([seed, n])
    held = np.ones((trials, 2), dtype=bool)
    undefined = 0
    with shared_draws():
        for trial in range(trials):
            try:
                found = _interval(world, method, world.draw(rng, n), trial, resamples)
            except UndefinedEstimateError:
                undefined += 1
                continue
            held[trial] = (
                found.low is None or found.low <= world.truth + 1e-12,
                found.high is None or found.high >= world.truth - 1e-12,
            )
    error = math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / trials)
    lower, upper, both = float(held[:, 0].mean()), float(held[:, 1].mean()), float(held.all(axis=1).mean())
    allowed = method in world.allowed
    return Cell(method, world.what, n, world.truth, world.deciding, lower, upper, both, error, undefined / trials, allowed)


def _interval(world: World, method: str, sample: Any, trial: int, resamples: int) -> Estimate:
    values, clusters = sample if isinstance(sample, tuple) and world.interval is mean_interval else (sample, None)
    if method == "korn_graubard":
        return korn_graubard(values, clusters, side="lower", confidence=CONFIDENCE)
    if method == "permutation":
        return permutation_interval(
            values, clusters=clusters, side="lower", confidence=CONFIDENCE, seed=trial, flips=resamples - 1
        )
    return world.interval(
        values, clusters=clusters, side="lower", confidence=CONFIDENCE, seed=trial, method=method, resamples=resamples
    )


def text_scores(rng: Rng, n: int) -> Array:
    """Four in ten are exactly right, the rest spread: mean 0.7."""
    return np.where(rng.random(n) < 0.4, 1.0, rng.beta(2.0, 2.0, n))


def high_scores(rng: Rng, n: int) -> Array:
    """Nineteen in twenty are right, the rest are poor: mean 0.96, strongly skewed."""
    return np.where(rng.random(n) < 0.95, 1.0, rng.beta(1.0, 4.0, n))


def rating_differences(rng: Rng, n: int) -> Array:
    """Of mean ratings by two raters, in half points, worse by 0.25 on average, spread by 0.8."""
    latent = rng.normal(-0.25, 0.78, n) * 2
    # Rounded up or down at random, so that the mean stays what it is.
    return np.floor(latent + rng.random(n)) / 2


def score_differences(rng: Rng, n: int) -> Array:
    """Seven in ten texts score the same, most others are worse: mean -0.05, skewed."""
    kind = rng.random(n)
    return np.where(kind < 0.7, 0.0, np.where(kind < 0.9, -rng.beta(2.0, 4.0, n), rng.beta(1.0, 5.0, n)))


def clustered(rate: float, count: int, correlation: float) -> Callable[[Rng, int], tuple[Array, Array]]:
    """Right or wrong in ``count`` groups of unequal size that share a rate of their own."""
    strength = (1 - correlation) / correlation

    def draw(rng: Rng, n: int) -> tuple[Array, Array]:
        groups = np.concatenate([np.arange(count), rng.integers(0, count, n - count)])
        rates = rng.beta(rate * strength, (1 - rate) * strength, count)
        return (rng.random(n) < rates[groups]).astype(float), groups

    return draw


def clustered_differences(count: int) -> Callable[[Rng, int], tuple[Array, Array]]:
    """Paired 0/1 differences in ``count`` groups: 15 in 100 discordant, worse by 0.05, more or less so by group."""

    def draw(rng: Rng, n: int) -> tuple[Array, Array]:
        groups = np.concatenate([np.arange(count), rng.integers(0, count, n - count)])
        better = rng.beta(1.0, 2.0, count)[groups]  # mean 1/3 of 0.15: 0.05 better, 0.10 worse
        kind = rng.random(n)
        return np.where(kind < 0.85, 0.0, np.where(rng.random(n) < better, 1.0, -1.0)), groups

    return draw


def predictions(error: float) -> Callable[[Rng, int], tuple[Array, Array]]:
    """Confidences from Beta(4, 1), right with probability confidence minus ``error``."""

    def draw(rng: Rng, n: int) -> tuple[Array, Array]:
        confidence = rng.beta(4.0, 1.0, n)
        return confidence, (rng.random(n) < confidence - error).astype(float)

    return draw


def true_calibration_error(error: float) -> float:
    """E|confidence - accuracy| by equal-mass bins of that world, whose accuracy cannot fall under 0."""
    grid = (np.arange(1_000_000) + 0.5) / 1_000_000
    confidence = beta.ppf(grid, 4.0, 1.0)
    gap = (confidence - np.maximum(confidence - error, 0.0)).reshape(5, -1).mean(axis=1)
    return float(np.abs(gap).mean())


def worlds() -> tuple[World, ...]:
    three, four = ("bootstrap", "bca", "permutation"), ("bootstrap", "pivotal", "bca", "permutation")
    level, difference, pooled = MEAN["level"], MEAN["difference"], BOOTSTRAP["level"]
    score_mean = -0.2 * (2 / 6) + 0.1 * (1 / 6)
    found = [
        World("mean of text scores", 0.4 + 0.6 * 0.5, "lower", text_scores, level),
        World("mean of high scores", 0.95 + 0.05 * 0.2, "lower", high_scores, level),
        World("difference of ratings", -0.25, "lower", rating_differences, difference, four),
        World("difference of text scores", score_mean, "lower", score_differences, difference, four),
    ]
    rates: tuple[tuple[float, Bound], ...] = ((0.75, "lower"), (0.97, "lower"), (0.10, "upper"))
    some, two = (150, 300, 600), ("korn_graubard", "bootstrap")
    for count in (20, 50, 100):
        for rate, side in rates:
            draw = clustered(rate, count, 0.2)
            found.append(World(f"proportion in {count} clusters", rate, side, draw, EXACT["level"], two, some))
        draw, what = clustered_differences(count), f"paired difference in {count} clusters"
        found.append(World(what, -0.05, "lower", draw, EXACT["difference"], three, some))
    for error in (0.05, 0.10):
        truth, drawn, large = true_calibration_error(error), predictions(error), (200, 300, 600)
        methods, interval = ("bootstrap", "bca"), calibration_error_interval
        found.append(World("calibration error", truth, "upper", drawn, pooled, methods, large, interval))
    gap, interval = true_calibration_error(0.08), confidence_gap_interval
    found.append(World("confidence gap", gap, "upper", predictions(0.08), pooled, ("bca", "bootstrap"), SIMULATED_NS, interval))
    return tuple(found)


# --- the table

DISCORDANT = {-0.05: (0.10, 0.15), -0.08: (0.15, 0.20), 0.05: (0.05, 0.10)}
"""Margins of the demo's paired gates, with the shares of discordant pairs that their rationales name."""

RATES: Mapping[float, Bound] = {0.75: "lower", 0.97: "lower", 0.5: "lower", 0.10: "upper", 0.03: "upper", 0.01: "upper"}
"""Limits of the demo's level gates, with the bound that decides."""


def exact(ns: Sequence[int] = NS) -> Iterator[Cell]:
    for n in ns:
        for rate, side in RATES.items():
            yield binomial("clopper_pearson", clopper_pearson, n, rate, side)
            yield binomial("wilson", wilson, n, rate, side)
        for difference, shares in DISCORDANT.items():
            for share in shares:
                yield paired(n, difference, share, "lower" if difference < 0 else "upper")
        for q in (0.5, 0.95):
            yield quantile(n, q)


def simulations(trials: int, only: str = "") -> Iterator[Cell]:
    for world in worlds():
        for method in world.methods:
            for n in world.ns:
                if not only or method == only:
                    yield simulated(world, method, n, trials)


def measure(trials: int, only: str = "") -> dict[str, Any]:
    cells = [cell for cell in exact() if not only or cell.method == only]
    for cell in simulations(trials, only):
        cells.append(cell)
        print(f"{cell.method} {cell.what} {cell.n}", file=sys.stderr, flush=True)
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "trials": trials,
        "resamples": RESAMPLES,
        "cells": [asdict(cell) | {"holds": cell.holds} for cell in cells],
    }


def show(found: Mapping[str, Any]) -> str:
    """The same for a person: ``>`` marks the bound that decides a gate, ``-`` a method that no such gate may use."""
    lines = [
        f"{found['machine']}, {found['date']}, {found['trials']} trials, {found['resamples']} resamples",
        "",
        f"{'method':17s} {'of':38s} {'n':>5s} {'truth':>7s} {'lower':>7s} {'upper':>7s} {'both':>6s} {'+-':>5s} {'none':>5s}",
    ]
    for c in found["cells"]:
        lower, upper = (f"{'>' if c['deciding'] == side else ''}{100 * c[side]:.1f}" for side in ("lower", "upper"))
        name = c["method"] if c["allowed"] else f"-{c['method']}"
        lines.append(
            f"{name:17s} {c['what']:38s} {c['n']:5d} {c['truth']:7.3f} {lower:>7s} {upper:>7s} "
            f"{100 * c['both']:6.1f} {100 * c['error']:5.2f} {100 * c['undefined']:5.1f}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", default="", help="one method")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(max(1, given.trials), given.only)
    print(json.dumps(found, indent=2) if given.json else show(found))
    return int(not all(cell["holds"] for cell in found["cells"] if cell["allowed"]))


if __name__ == "__main__":
    sys.exit(main())
