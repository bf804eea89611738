"""A search over all slices of a suite for one in which the student is worse: many tests, so their p-values are adjusted.

A gate on one slice, named before the run, needs no adjustment, and a policy whose gates must all pass needs none either (an
intersection-union test: Berger 1982). A search needs it: of twenty slices without harm, one is "worse at 5 %" by chance.
A slice without a finding is not shown to be without harm; a gate on it would show that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from distill_gov.records.errors import BadInputError
from evals.catalogue import Metric, lookup
from evals.evidence import CaseResult, MeasurementRequest
from evals.intervals import UndefinedEstimateError, binomial_p_value, checked_numbers, holm, mcnemar_exact
from evals.measuring import Planned, case_values
from evals.resampling import permutation_p_value

__all__ = ["MIN_CELL", "SliceRow", "SliceSearch", "search_slices"]

MIN_CELL = 20
"""Fewest cases of a slice to be searched. Under it a test finds only disaster, and a number can point at one person's case."""

Finding = Literal["worse", "none", "too_small", "unusable"]


@dataclass(frozen=True, slots=True)
class SliceRow:
    """What the search says of one slice."""

    slice: str
    n: int
    """Cases that count for the metric."""
    value: float | None
    """The slice's level, or mean difference to the reference; None where it was not searched."""
    p: float | None
    """One-sided: how likely so bad a slice is without harm."""
    adjusted: float | None
    """The same, adjusted by Holm for all slices searched."""
    finding: Finding
    note: str = ""
    """Of ``unusable``: reason code of ``evals.catalogue.NOTES``."""


@dataclass(frozen=True, slots=True)
class SliceSearch:
    """A search and what it could not see."""

    rows: tuple[SliceRow, ...]
    """Slices searched, the least adjusted p-value first, then those that were not, by name."""
    note: str = ""
    """Reason code where nothing could be searched at all."""

    @property
    def searched(self) -> tuple[str, ...]:
        return tuple(row.slice for row in self.rows if row.p is not None)

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(row.slice for row in self.rows if row.finding == "worse")

    @property
    def too_small(self) -> tuple[str, ...]:
        """Slices that were not searched since they have under the least number of cases: nothing is known of them."""
        return tuple(row.slice for row in self.rows if row.finding == "too_small")


def search_slices(
    results: Mapping[str, Sequence[CaseResult]],
    request: MeasurementRequest,
    planned: Planned,
    *,
    limit: float | None = None,
    min_cell: int = MIN_CELL,
    seed: int = 0,
) -> SliceSearch:
    """Look in every slice for harm, at a family-wise error of 1 - ``request.confidence``.

    A proportion's difference is tested by McNemar's exact one-sided test, a mean's by paired permutation, a proportion's level
    against ``limit`` by the exact binomial test.

    Args:
        results: subject name to its case results, as for ``measure``.
        request: the metric, suite, subject, reference and whether clusters hold cases together; its slice must be None.
        planned: suite to its planned cases.
        limit: for a level, the worst that is accepted.
        min_cell: fewest cases of a slice to be searched.
        seed: of the permutation test.

    Raises:
        BadInputError: a slice in the request, a limit with a difference or a level without one, or a level of a mean.
        UnknownKeyError: the catalogue does not have the metric.
    """
    metric = lookup(request.metric)
    _check(request, metric, limit, min_cell)
    try:
        cases, values = case_values(results, request, planned)
    except UndefinedEstimateError as error:
        return SliceSearch((), error.code)
    members: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        for name in case.slices:
            members.setdefault(name, []).append(place)
    rows = []
    for name, places in sorted(members.items()):
        if len(places) < min_cell:
            rows.append(SliceRow(name, len(places), None, None, None, "too_small"))
            continue
        inside = np.array([values[place] for place in places])
        clusters = [cases[place].cluster for place in places]
        try:
            p = _p_value(inside, clusters if request.cluster else None, metric, limit, seed)
        except UndefinedEstimateError as error:
            rows.append(SliceRow(name, len(places), None, None, None, "unusable", error.code))
            continue
        rows.append(SliceRow(name, len(places), float(inside.mean()), p, p, "none"))
    return SliceSearch(_adjusted(rows, 1 - request.confidence), "" if rows else "empty")


def _check(request: MeasurementRequest, metric: Metric, limit: float | None, min_cell: int) -> None:
    if request.slice is not None:
        raise BadInputError("a search over slices takes a request without a slice")
    if (limit is None) != (request.statistic == "difference"):
        raise BadInputError("a search for a level takes a limit, one for a difference takes none")
    if limit is not None and (metric.kind != "proportion" or not 0 < float(checked_numbers([limit])[0]) < 1):
        raise BadInputError("a search for a level takes a proportion and a limit between 0 and 1")
    if isinstance(min_cell, bool) or min_cell < 2:
        raise BadInputError("the least cell size is a whole number of at least 2")


def _p_value(values: np.ndarray, clusters: list[str] | None, metric: Metric, limit: float | None, seed: int) -> float:
    """One-sided, against "no worse": a worse student has lower values of a metric whose direction is higher."""
    worse: Literal["less", "greater"] = "less" if metric.direction == "higher" else "greater"
    if metric.kind == "mean":
        return permutation_p_value(values, alternative=worse, clusters=clusters, seed=seed)
    if clusters is not None and len(set(clusters)) < len(clusters):
        # The exact tests take cases as independent. Flipping the signs of whole clusters does not; a level has no such test.
        if limit is not None:
            raise UndefinedEstimateError("clustered")
        return permutation_p_value(values, alternative=worse, clusters=clusters, seed=seed)
    if limit is not None:
        return binomial_p_value(int(values.sum()), len(values), limit, alternative=worse)
    return mcnemar_exact(int((values > 0).sum()), int((values < 0).sum()), alternative=worse)


def _adjusted(rows: Sequence[SliceRow], level: float) -> tuple[SliceRow, ...]:
    searched = [row for row in rows if row.p is not None]
    adjusted = holm([row.p for row in searched if row.p is not None])
    found = [
        SliceRow(row.slice, row.n, row.value, row.p, new, "worse" if new <= level else "none")
        for row, new in zip(searched, adjusted, strict=True)
    ]
    return (*sorted(found, key=lambda row: (row.adjusted, row.p, row.slice)), *(row for row in rows if row.p is None))
