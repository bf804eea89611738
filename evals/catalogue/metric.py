"""What the catalogue says of one metric, and how its usual kinds are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BOOTSTRAP",
    "EXACT",
    "MEAN",
    "Direction",
    "Kind",
    "Metric",
    "Statistic",
    "latency",
    "mean_of",
    "pooled_over",
    "proportion",
]

Kind = Literal["proportion", "mean", "pooled", "calibration_error", "confidence_gap", "agreement", "quantile"]
Statistic = Literal["level", "difference"]
Direction = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue."""

    name: str
    kind: Kind
    """How it is computed: a mean of per-case scores, a quantile of them, or a statistic of all decisions together."""
    direction: Direction
    """Which way is better."""
    range: tuple[float, float]
    """Least and greatest value of a level; a difference lies between plus and minus the span."""
    estimand: str
    """What is estimated, over which cases."""
    unit: str
    min_n: int
    """Fewest scored cases at which the metric means anything. What a limit needs is a question of power."""
    methods: Mapping[Statistic, tuple[str, ...]]
    """Interval methods allowed for a level and for a difference; the first is the default."""
    why: str
    """The reason it is in the catalogue."""
    score: str = ""
    """Name of the per-case score or timing it is computed from; empty where it uses decisions or several scores."""
    among: str = ""
    """Name of the 0/1 score that a case must have at 1 to count; empty: every case to which ``score`` applies."""
    field: str = ""
    """The decision field of a parametrised metric."""
    quantile: float | None = None
    """Which quantile, for kind ``quantile``."""
    statistic: str = ""
    """For kind ``pooled``, and ``mean`` or ``proportion`` of a field: which statistic of the decisions, by its name in
    ``evals.pooled``."""
    raw: bool = False
    """Whether it reads the distribution at temperature 1, not that at the fitted one."""

    @property
    def worst(self) -> float:
        """The worst value of one case: what an errored case counts as."""
        return self.range[0] if self.direction == "higher" else self.range[1]

    @property
    def best(self) -> float:
        return self.range[1] if self.direction == "higher" else self.range[0]


EXACT: Mapping[Statistic, tuple[str, ...]] = {
    "level": ("clopper_pearson", "korn_graubard"),
    "difference": ("tango", "bootstrap", "permutation"),
}
"""Of a share of cases: the second ones where cases come in clusters."""

MEAN: Mapping[Statistic, tuple[str, ...]] = {"level": ("bca",), "difference": ("bca", "bootstrap", "permutation")}
"""Of a mean of scores within a range. Near the end of the range plain percentiles of a level fall short by six points."""

BOOTSTRAP: Mapping[Statistic, tuple[str, ...]] = {"level": ("bootstrap",), "difference": ("bootstrap",)}


def proportion(
    name: str, direction: Direction, estimand: str, why: str, *, score: str = "", among: str = "", min_n: int = 30
) -> Metric:
    """A share of cases: a mean of scores that are 0 or 1."""
    return Metric(
        name=name,
        kind="proportion",
        direction=direction,
        range=(0.0, 1.0),
        estimand=estimand,
        unit="share",
        min_n=min_n,
        methods=EXACT,
        why=why,
        score=score,
        among=among,
    )


def mean_of(
    name: str,
    direction: Direction,
    estimand: str,
    why: str,
    *,
    score: str = "",
    statistic: str = "",
    range: tuple[float, float] = (0.0, 1.0),
    unit: str = "share",
    among: str = "",
    min_n: int = 30,
) -> Metric:
    """A mean of per-case scores within a bounded range."""
    return Metric(
        name=name,
        kind="mean",
        direction=direction,
        range=range,
        estimand=estimand,
        unit=unit,
        min_n=min_n,
        methods=MEAN,
        why=why,
        score=score,
        among=among,
        statistic=statistic,
    )


def pooled_over(
    name: str,
    direction: Direction,
    estimand: str,
    why: str,
    *,
    statistic: str,
    range: tuple[float, float] = (0.0, 1.0),
    unit: str = "share",
    min_n: int = 100,
) -> Metric:
    """A statistic of all decisions of a field together, which is no mean over cases."""
    return Metric(
        name=name,
        kind="pooled",
        direction=direction,
        range=range,
        estimand=estimand,
        unit=unit,
        min_n=min_n,
        methods=BOOTSTRAP,
        why=why,
        statistic=statistic,
    )


def latency(name: str, timing: str, what: str, quantile: float, min_n: int) -> Metric:
    """A quantile of the time to the ``what`` token."""
    return Metric(
        name=name,
        kind="quantile",
        direction="lower",
        range=(0.0, math.inf),
        estimand=f"{quantile:.0%} quantile of the time from the request to the {what} token of the answer",
        unit="s",
        min_n=min_n,
        methods={"level": ("order_statistics",), "difference": ()},
        why="A user waits for it; a mean hides the slow tail.",
        score=timing,
        quantile=quantile,
    )
