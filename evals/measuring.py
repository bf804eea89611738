"""From case results and requests to measurements: no model, no policy, and no exception over what the evidence holds.

What cannot be measured comes out with ``value`` None and a reason code of ``evals.catalogue.NOTES``. Nothing is left out
quietly: an errored case stays in the denominator as the worst possible case, an invalid answer is wrong with confidence 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from evals.calibration import FloatArray
from evals.catalogue import (
    CONTAMINATED,
    JUDGE,
    JUDGE_ADJUSTED,
    JUDGE_LABELS,
    METHODS,
    PII_ECHO,
    PII_LEAK,
    RATING_PREFIX,
    TIMINGS,
    Metric,
    lookup,
)
from evals.evidence import CaseResult, Measurement, MeasurementRequest
from evals.intervals import (
    MIN_CLUSTERS,
    Estimate,
    UndefinedEstimateError,
    clopper_pearson,
    korn_graubard,
    quantile_interval,
    tango,
)
from evals.judges import judge_adjusted, judge_errors
from evals.pooled import RIGHT, STATISTICS, Decided, case_value, pooled, read_decision, same_references
from evals.ratings.agreement import alpha
from evals.resampling import (
    BootstrapMethod,
    bootstrap,
    calibration_error_interval,
    confidence_gap_interval,
    mean_interval,
    permutation_interval,
)

__all__ = ["TOOL", "Planned", "case_values", "measure", "oldest"]

T = TypeVar("T")

Planned = Mapping[str, int | Collection[str]]
"""Suite to the number, or better the ids, of the cases that were to be run."""

_NEVER: Mapping[tuple[str, str], str] = {}


Results = Mapping[str, "Sequence[CaseResult] | Mapping[str, Sequence[CaseResult]]"]
"""Subject name to its case results, in one row or by suite, as :func:`evals.run` gives them."""


def measure(
    results: Results,
    requests: Sequence[MeasurementRequest],
    planned: Planned | None = None,
    *,
    made: Mapping[tuple[str, str], str] = _NEVER,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Measurement]:
    """One measurement per request, in order.

    A difference is subject minus reference, paired by case id. Resampling is seeded by the request, so the same evidence
    and request give the same numbers.

    Args:
        results: subject name to its case results, of any number of suites.
        requests: what to measure; the metrics must be in the catalogue.
        planned: suite to its planned cases. A suite that is not named counts as not planned, hence incomplete. None takes the
            cases that any of the subjects was run on: one that nobody was run on cannot be missed then.
        made: (subject name, suite) to the time at which its case results were made, RFC 3339. A measurement is as old as the
            oldest that it rests on, and of unknown age where one is not named.
        advance: told of each request that is done.

    Raises:
        UnknownKeyError: a request names a metric that the catalogue does not have.
    """
    index = _by_suite(results)
    plan = _every_case(index) if planned is None else planned
    found = []
    for request in requests:
        found.append(_measured(index, request, lookup(request.metric), plan, oldest(request, made)))
        advance(1)
    return found


def oldest(request: MeasurementRequest, made: Mapping[tuple[str, str], str]) -> str:
    """When the oldest evidence was made that the request rests on; empty where that is not known."""
    # All in one zone and one form, so that text sorts as time does; the empty one, of unknown age, comes first.
    used = [(name, request.suite) for name in (request.subject, request.reference) if name]
    if request.method == JUDGE_ADJUSTED:
        used.append((JUDGE, JUDGE_LABELS))
    return min(made.get(one, "") for one in used)


@dataclass(frozen=True, slots=True)
class _Sample:
    """The case results of one subject that a request is about."""

    cases: Mapping[str, CaseResult]
    """By case id, in order of id."""
    n_missing: int
    """Planned cases of the suite that were not run."""
    problem: str
    """Reason code, empty where the sample may be used."""

    @property
    def n_errored(self) -> int:
        return sum(result.status == "errored" for result in self.cases.values())

    def only(self, name: str) -> str:
        """The one value that all results have in this attribute; empty if there is none."""
        values = {getattr(result, name) for result in self.cases.values()}
        return str(values.pop()) if len(values) == 1 else ""


@dataclass(frozen=True, slots=True)
class _Found:
    """An estimate and what it was computed from."""

    estimate: Estimate
    scored: tuple[CaseResult, ...]


def _by_suite(results: Results) -> dict[tuple[str, str], list[CaseResult]]:
    index: dict[tuple[str, str], list[CaseResult]] = {}
    for name, rows in results.items():
        for row in chain.from_iterable(rows.values()) if isinstance(rows, Mapping) else rows:
            index.setdefault((name, row.suite), []).append(row)
    return {key: sorted(rows, key=lambda r: r.case) for key, rows in index.items()}


def _every_case(index: Mapping[tuple[str, str], Sequence[CaseResult]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for (_, suite), rows in index.items():
        found.setdefault(suite, set()).update(row.case for row in rows)
    return found


def _measured(
    index: Mapping[tuple[str, str], Sequence[CaseResult]],
    request: MeasurementRequest,
    metric: Metric,
    planned: Planned,
    at: str,
) -> Measurement:
    subject = _sample(index.get((request.subject, request.suite), ()), request, planned)
    reference = _sample(index.get((request.reference or "", request.suite), ()), request, planned)
    labelled = _labelled(index, request, planned)
    found, note = None, ""
    try:
        found = _estimate(subject, reference, labelled, request, metric)
    except UndefinedEstimateError as error:
        note = error.code
    scored = found.scored if found else ()
    used = (*subject.cases.values(), *(reference.cases.values() if request.reference else ()), *labelled.cases.values())
    return Measurement(
        request=request,
        subject=subject.only("subject"),
        reference=reference.only("subject") if request.reference else None,
        dataset=subject.only("dataset"),
        value=found.estimate.value if found else None,
        low=found.estimate.low if found else None,
        high=found.estimate.high if found else None,
        n_planned=len(subject.cases) + subject.n_missing,
        n_run=len(subject.cases),
        n_errored=subject.n_errored,
        n_scored=len(scored),
        n_clusters=len({result.cluster for result in scored}),
        provenance=tuple(sorted({result.provenance for result in used})),
        note=note,
        tool=TOOL,
        at=at,
    )


def _sample(rows: Sequence[CaseResult], request: MeasurementRequest, planned: Planned) -> _Sample:
    cases = {row.case: row for row in rows}
    plan = planned.get(request.suite, 0)
    ids = None if isinstance(plan, int) else frozenset(plan)
    expected = plan if isinstance(plan, int) else len(plan)
    missing = max(0, expected - len(cases)) if ids is None else len(ids - cases.keys())
    problem = ""
    if not rows:
        problem = "absent"
    elif len(cases) != len(rows):
        problem = "duplicate_cases"
    elif len({row.subject for row in rows}) > 1 or len({row.dataset for row in rows}) > 1:
        problem = "mixed_evidence"
    elif len(cases) > expected or (ids is not None and cases.keys() - ids):
        problem = "case_mismatch"
    elif any(row.scores.get(CONTAMINATED) == 1 for row in rows):
        problem = "contaminated"
    elif missing:
        problem = "incomplete"
    if request.slice is not None:
        cases = {case: row for case, row in cases.items() if request.slice in row.slices}
    return _Sample(cases, missing, problem)


def _labelled(index: Mapping[tuple[str, str], Sequence[CaseResult]], request: MeasurementRequest, planned: Planned) -> _Sample:
    """What the judge said of the cases that people labelled; nothing where the method does not ask for it."""
    if request.method != JUDGE_ADJUSTED:
        return _Sample({}, 0, "")
    return _sample(index.get((JUDGE, JUDGE_LABELS), ()), replace(request, suite=JUDGE_LABELS, slice=None), planned)


def case_values(
    results: Results, request: MeasurementRequest, planned: Planned
) -> tuple[tuple[CaseResult, ...], tuple[float, ...]]:
    """The cases that count for a proportion or a mean, each with its value, or with its difference to the reference.

    Raises:
        UndefinedEstimateError: by the same rules as :func:`measure`; ``method_not_allowed`` where the metric is not a number
            per case.
    """
    metric, index = lookup(request.metric), _by_suite(results)
    if metric.kind not in ("proportion", "mean"):
        raise UndefinedEstimateError("method_not_allowed")
    subject = _sample(index.get((request.subject, request.suite), ()), request, planned)
    reference = _sample(index.get((request.reference or "", request.suite), ()), request, planned)
    _usable(subject)
    if request.statistic == "level":
        scored, values = _level_values(subject, metric)
        return scored, tuple(values)
    _comparable(subject, reference)
    scored, changes = _changes(subject, reference, metric)
    return scored, tuple(float(change) for change in changes)


def _usable(sample: _Sample) -> None:
    if sample.problem:
        raise UndefinedEstimateError(sample.problem)


def _comparable(subject: _Sample, reference: _Sample) -> None:
    _usable(reference)
    if subject.cases.keys() != reference.cases.keys() or subject.only("dataset") != reference.only("dataset"):
        raise UndefinedEstimateError("case_mismatch")


def _estimate(subject: _Sample, reference: _Sample, labelled: _Sample, request: MeasurementRequest, metric: Metric) -> _Found:
    if request.method not in metric.methods[request.statistic]:
        raise UndefinedEstimateError("method_not_allowed")
    _usable(subject)
    if metric.kind == "agreement":
        return _agreement(subject, reference, request)
    if request.method == JUDGE_ADJUSTED:
        return _judge_adjusted(subject, labelled, request, metric)
    if request.statistic == "level":
        return _level(subject, request, metric)
    _comparable(subject, reference)
    return _difference(subject, reference, request, metric)


# --- one number per case


def _applies_to_errored(metric: Metric, result: CaseResult) -> bool:
    """Whether an errored case counts. Where its scores say nothing, it does."""
    if not result.scores or metric.field:
        return True
    if metric.among:
        return result.scores.get(metric.among) != 0
    return metric.kind != "proportion" or metric.score in result.scores


def _value(metric: Metric, result: CaseResult) -> float | None:
    """The case's value of a proportion or a mean; None where the metric does not apply to the case."""
    if result.status == "errored":
        return _imputed(metric) if _applies_to_errored(metric, result) else None
    if metric.field:
        return case_value(metric.statistic, result, metric.field, raw=metric.raw)
    if metric.among:
        counts = result.scores.get(metric.among)
        if counts is None or _checked(counts, metric) == 0:
            return None
        # The case counts, so a score that nobody made is not one that does not apply.
        names = (metric.score,) if metric.score else (PII_ECHO, PII_LEAK)
        if any(name not in result.scores for name in names):
            raise UndefinedEstimateError("absent")
        return max(_checked(result.scores[name], metric) for name in names)
    found = result.timings if metric.score in TIMINGS else result.scores
    if metric.score not in found:
        return None
    return _checked(found[metric.score], metric)


def _imputed(metric: Metric) -> float:
    if not math.isfinite(metric.worst):
        # A mean has no worst case where the range is open: nobody knows what an answer would have cost that never came.
        raise UndefinedEstimateError("undefined")
    return metric.worst


def _checked(score: object, metric: Metric) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise UndefinedEstimateError("non_finite")
    low, high = metric.range
    if not low <= score <= high or (metric.kind == "proportion" and score not in (0, 1)):
        raise UndefinedEstimateError("out_of_range")
    return float(score)


# --- levels


def _seed(request: MeasurementRequest) -> int:
    return request.seed


def _clusters(scored: Sequence[CaseResult], request: MeasurementRequest) -> list[str] | None:
    """Clusters to draw from, None where cases are independent."""
    if not request.cluster:
        return None
    clusters = [result.cluster for result in scored]
    if not METHODS[request.method].independent:
        return clusters
    if len(set(clusters)) != len(clusters):
        raise UndefinedEstimateError("clustered")
    return None


def _applicable(sample: _Sample, of: Callable[[CaseResult], T | None]) -> tuple[tuple[CaseResult, ...], list[T]]:
    pairs = [(result, value) for result in sample.cases.values() if (value := of(result)) is not None]
    if not pairs:
        raise UndefinedEstimateError("empty")
    return tuple(result for result, _ in pairs), [value for _, value in pairs]


def _level(sample: _Sample, request: MeasurementRequest, metric: Metric) -> _Found:
    if metric.kind == "quantile":
        return _quantile(sample, request, metric)
    if metric.kind in _OF_DECISIONS:
        scored, decided = _applicable(sample, lambda r: _decided(metric, r))
        return _Found(_of_decisions(metric, decided, None, scored, request), scored)
    scored, values = _level_values(sample, metric)
    clusters = _clusters(scored, request)
    if request.method == "clopper_pearson":
        estimate = clopper_pearson(int(sum(values)), len(values), confidence=request.confidence, side=request.side)
    elif request.method == "korn_graubard":
        estimate = korn_graubard(values, clusters, confidence=request.confidence, side=request.side)
    else:
        estimate = _resampled_mean(values, clusters, request)
    return _Found(estimate, scored)


def _resampled_mean(
    values: Sequence[float] | npt.NDArray[np.float64], clusters: list[str] | None, request: MeasurementRequest
) -> Estimate:
    if request.method == "permutation":
        return permutation_interval(
            values, clusters=clusters, confidence=request.confidence, side=request.side, seed=_seed(request)
        )
    return mean_interval(
        values,
        clusters=clusters,
        confidence=request.confidence,
        side=request.side,
        seed=_seed(request),
        method=_bootstrap_method(request),
    )


def _bootstrap_method(request: MeasurementRequest) -> BootstrapMethod:
    return "bca" if request.method == "bca" else "bootstrap"


def _level_values(sample: _Sample, metric: Metric) -> tuple[tuple[CaseResult, ...], list[float]]:
    return _applicable(sample, lambda r: _value(metric, r))


def _judge_adjusted(sample: _Sample, labelled: _Sample, request: MeasurementRequest, metric: Metric) -> _Found:
    scored, values = _applicable(sample, lambda r: _value(metric, r))
    if labelled.problem:
        raise UndefinedEstimateError(labelled.problem)
    for results in (scored, tuple(labelled.cases.values())):
        _clusters(results, request)
    errors = judge_errors(tuple(labelled.cases.values()))
    return _Found(
        judge_adjusted(int(sum(values)), len(values), errors, confidence=request.confidence, side=request.side), scored
    )


def _quantile(sample: _Sample, request: MeasurementRequest, metric: Metric) -> _Found:
    def timing(result: CaseResult) -> float | None:
        if result.status == "errored":
            return math.inf
        return _checked(result.timings[metric.score], metric) if metric.score in result.timings else None

    scored, times = _applicable(sample, timing)
    _clusters(scored, request)
    finite = [t for t in times if math.isfinite(t)]
    estimate = quantile_interval(
        finite, metric.quantile or 0.5, beyond=len(times) - len(finite), confidence=request.confidence, side=request.side
    )
    return _Found(estimate, scored)


def _agreement(subject: _Sample, reference: _Sample, request: MeasurementRequest) -> _Found:
    """Agreement on the subject's answers, and on the reference's where one is named."""
    if request.reference:
        _usable(reference)
    samples = (subject, reference) if request.reference else (subject,)
    rated = [_applicable(sample, _ratings) for sample in samples]
    clusters = [cluster for scored, _ in rated for cluster in _clusters(scored, request) or ()] or None
    if clusters is not None and len(set(clusters)) < MIN_CLUSTERS:
        raise UndefinedEstimateError("too_few_clusters")
    units = [ratings for _, found in rated for ratings in found]
    raters = sorted({rater for unit in units for rater in unit})
    found = alpha(
        [[unit.get(rater, math.nan) for unit in units] for rater in raters],
        confidence=request.confidence if request.side == "two" else 2 * request.confidence - 1,
        seed=_seed(request),
        clusters=clusters,
    )
    if found.value is None:
        raise UndefinedEstimateError(found.note)
    return _Found(Estimate(found.value, found.low, found.high), rated[0][0])


def _ratings(result: CaseResult) -> dict[str, float] | None:
    """Rater to rating; None where fewer than two raters could judge."""
    scale = lookup("helpfulness")
    found = {
        name.removeprefix(RATING_PREFIX): _checked(score, scale)
        for name, score in result.scores.items()
        if name.startswith(RATING_PREFIX)
    }
    return found if len(found) >= 2 else None


# --- all decisions of a field together

_OF_DECISIONS = frozenset({"calibration_error", "confidence_gap", "pooled"})
"""Kinds of metrics that are no mean over cases."""


def _decided(metric: Metric, result: CaseResult) -> Decided | None:
    needs = STATISTICS[metric.statistic][1] if metric.kind == "pooled" else "confidence"
    return read_decision(result, metric.field, raw=metric.raw, needs=needs)


def _of_decisions(
    metric: Metric,
    ours: Sequence[Decided],
    theirs: Sequence[Decided] | None,
    scored: Sequence[CaseResult],
    request: MeasurementRequest,
) -> Estimate:
    """A level, or the difference to a reference's decisions on the same cases."""
    clusters, seed = _clusters(scored, request), _seed(request)
    if metric.kind != "pooled":
        interval = calibration_error_interval if metric.kind == "calibration_error" else confidence_gap_interval
        return interval(
            _columns(ours),
            reference=None if theirs is None else _columns(theirs),
            clusters=clusters,
            confidence=request.confidence,
            side=request.side,
            seed=seed,
            method=_bootstrap_method(request),
        )
    if theirs is None:
        found = _drawn_again(pooled(metric.statistic, ours), len(ours), clusters, request)
        # What debiasing takes under the least possible value is noise.
        return _within(found, *metric.range)
    one, other = (pooled(metric.statistic, decided) for decided in same_references(ours, theirs))
    return _drawn_again(lambda weights: one(weights) - other(weights), len(ours), clusters, request)


def _within(found: Estimate, least: float, most: float) -> Estimate:
    def kept(x: float) -> float:
        return min(most, max(least, x))

    return Estimate(kept(found.value), *(None if x is None else kept(x) for x in (found.low, found.high)))


def _drawn_again(
    statistic: Callable[[FloatArray], FloatArray], n: int, clusters: Sequence[str] | None, request: MeasurementRequest
) -> Estimate:
    return bootstrap(statistic, n, clusters=clusters, confidence=request.confidence, side=request.side, seed=_seed(request))


def _columns(decided: Sequence[Decided]) -> tuple[list[float], list[float]]:
    return [d.confidence for d in decided], [float(d.correct) for d in decided]


# --- differences


def _difference(subject: _Sample, reference: _Sample, request: MeasurementRequest, metric: Metric) -> _Found:
    if metric.kind in _OF_DECISIONS:
        scored, ours, theirs = _pairs(
            subject,
            reference,
            lambda r: _decided(metric, r),
            lambda r: RIGHT if r.status == "errored" else _decided(metric, r),
        )
        return _Found(_of_decisions(metric, ours, theirs, scored, request), scored)
    scored, change = _changes(subject, reference, metric)
    clusters = _clusters(scored, request)
    if request.method == "tango":
        estimate = tango(
            int((change > 0).sum()), int((change < 0).sum()), len(change), confidence=request.confidence, side=request.side
        )
    else:
        estimate = _resampled_mean(change, clusters, request)
    return _Found(estimate, scored)


def _changes(subject: _Sample, reference: _Sample, metric: Metric) -> tuple[tuple[CaseResult, ...], npt.NDArray[np.float64]]:
    """Subject minus reference, case by case."""
    scored, one, other = _pairs(
        subject,
        reference,
        lambda r: _value(metric, r),
        lambda r: metric.best if r.status == "errored" and _applies_to_errored(metric, r) else _value(metric, r),
    )
    return scored, np.asarray(one) - np.asarray(other)


def _pairs(
    subject: _Sample,
    reference: _Sample,
    of_subject: Callable[[CaseResult], T | None],
    of_reference: Callable[[CaseResult], T | None],
) -> tuple[tuple[CaseResult, ...], list[T], list[T]]:
    """Values of both on the cases that the metric applies to.

    Where one side errored and cannot say whether the metric applies, the other side's word holds.
    """
    rows: list[tuple[CaseResult, T, T]] = []
    for case, ours in subject.cases.items():
        theirs = reference.cases[case]
        one, other = of_subject(ours), of_reference(theirs)
        if one is not None and other is not None:
            rows.append((ours, one, other))
        elif (one is None) != (other is None) and "errored" not in (ours.status, theirs.status):
            raise UndefinedEstimateError("case_mismatch")
    if not rows:
        raise UndefinedEstimateError("empty")
    return tuple(r for r, _, _ in rows), [a for _, a, _ in rows], [b for _, _, b in rows]


def _tool() -> str:
    try:
        return f"distill-gov {version('distill-gov')}"
    except PackageNotFoundError:
        return "distill-gov (not installed)"


TOOL = _tool()
