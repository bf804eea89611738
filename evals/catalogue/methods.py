"""The interval methods: what each takes for granted, where it is from, and how often it holds the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evals.catalogue.safety import JUDGE_ADJUSTED

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True, slots=True)
class Method:
    """One way to an interval."""

    name: str
    words: str
    independent: bool
    """Whether it takes every case as independent of the others; if not, it draws or counts whole clusters."""
    source: str
    short_by: float
    """By how much a one-sided 95 % bound that decides a gate held the truth less often than nominal, at worst, in
    ``benchmarks/coverage.py``: at the numbers of cases and the rates that gates use, for the metrics that allow the method. For
    one that no metric allows: for what it would have been used."""
    coverage: str
    """Where that was, and what else was seen."""


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="clopper_pearson",
            words="exact binomial",
            independent=True,
            source="Clopper & Pearson (1934), Biometrika 26, 404-413",
            short_by=0.0,
            coverage="Never under nominal; over it where few failures are expected (all of the time at 1 % and 100 cases).",
        ),
        Method(
            name="korn_graubard",
            words="exact binomial at the effective number of cases",
            independent=False,
            source="Korn & Graubard (1998), Survey Methodology 24, 193-201",
            short_by=0.015,
            coverage="93.6 % at worst from 20 clusters on, where percentiles of resampled clusters fell to 78 % (20 clusters, "
            "rate 97 %). Careful where fewer than 8 clusters hold a failure.",
        ),
        Method(
            name="wilson",
            words="score interval, for display",
            independent=True,
            source="Wilson (1927), JASA 22, 209-212",
            short_by=0.01,
            coverage="No metric allows it: the other bound falls to 90 % at 59 cases and a rate of 3 %, and to 93 % at 300.",
        ),
        Method(
            name="tango",
            words="score interval of a paired difference of proportions",
            independent=True,
            source="Tango (1998), Statistics in Medicine 17, 891-908",
            short_by=0.01,
            coverage="The bound towards zero, which decides non-inferiority, is within a point. The other one falls to 91 % "
            "where nearly all discordant pairs point one way and fewer than ten are expected.",
        ),
        Method(
            name="bootstrap",
            words="bootstrap, percentiles widened for few units",
            independent=False,
            source="Efron & Tibshirani (1993), chapter 13; Hesterberg (2015), The American Statistician 69, 371-386",
            short_by=0.02,
            coverage="Calibration errors are over nominal, differences of ratings within a point; differences of text scores "
            "fell to 93 %. Levels near the end of their range fell to 89 % (mean 0.96, 100 cases), the confidence gap to "
            "94.3 %: no mean of cases allows it for a level.",
        ),
        Method(
            name="pivotal",
            words="bootstrap, percentiles turned round the estimate",
            independent=False,
            source="Davison & Hinkley (1997), equation 5.6",
            short_by=0.12,
            coverage="No metric allows it: for means near the end of their range the bound that decides fell to 83 %.",
        ),
        Method(
            name="bca",
            words="bootstrap, percentiles corrected for bias and skewness, widened for few units",
            independent=False,
            source="Efron (1987), JASA 82, 171-185",
            short_by=0.02,
            coverage="Means of cases, their differences, the confidence gap: 93.0 % to 98.7 %, near the end of the range "
            "too. No calibration error allows it: the bound fell to 74 %.",
        ),
        Method(
            name="permutation",
            words="inverted paired permutation test",
            independent=False,
            source="Hartigan (1969), JASA 64, 1303-1317; Phipson & Smyth (2010)",
            short_by=0.02,
            coverage="Differences of ratings, and in clusters, within a point. It takes differences as symmetric, and for "
            "skewed ones of text scores it fell to 93 %.",
        ),
        Method(
            name=JUDGE_ADJUSTED,
            words="exact binomial bounds, corrected for the judge's own errors",
            independent=True,
            source="Rogan & Gladen (1978), American Journal of Epidemiology 107, 71-76; exact bounds share the error",
            short_by=0.0,
            coverage="Never under nominal: 99.7 % and more, since three bounds are taken at their worst at once.",
        ),
        Method(
            name="order_statistics",
            words="two order statistics, free of any distribution",
            independent=True,
            source="Hahn & Meeker (1991), Statistical Intervals, 5.2",
            short_by=0.0,
            coverage="Never under nominal.",
        ),
        Method(
            name="alpha_bootstrap",
            words="bootstrap of rated units, percentiles",
            independent=False,
            source="Efron & Tibshirani (1993), chapter 13",
            short_by=0.01,
            coverage="94 %, 94 % and 96 % with two raters, a true alpha of 0.65 and 30, 100 and 200 units, over 1,500 samples "
            "each; resampling pairs of ratings instead gave 86 %, 89 % and 91 %. Not in the benchmark: it takes hours.",
        ),
    )
}
"""By name."""
