"""The decisions of one field, as measurements read them, and the statistics of all of them together.

An invalid or errored answer puts all probability on a label that is never right: it is wrong with confidence 1, its Brier score
is 2, its likelihood 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evals.calibration import (
    BrierDecomposition,
    FloatArray,
    IntArray,
    ReliabilityBin,
    WeightedCalibration,
    WeightedStatistic,
    brier_decomposition,
    classwise_error,
    reliability_table,
)
from evals.catalogue import ACCEPTED_PREFIX, NLL_CAP, SCHEMA_VALID
from evals.evidence import CaseResult, FieldDecision
from evals.intervals import UndefinedEstimateError
from evals.selective import CoveragePoint, area_under_risk_coverage, auroc, risk_coverage

__all__ = [
    "RIGHT",
    "STATISTICS",
    "CalibrationFigures",
    "Decided",
    "calibration_figures",
    "case_value",
    "pooled",
    "read_decision",
    "same_references",
]

Needs = Literal["correctness", "label", "confidence", "distribution"]

_SLACK = 1e-3
"""How far the probabilities of a distribution may be from 1 in sum: they are stored in float32's precision or better."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What one answer decided on one field."""

    confidence: float
    """Probability of the predicted label; 1 where the answer is invalid, and where nobody needs to know."""
    correct: bool
    predicted: str | None
    """None where the answer is invalid."""
    reference: str | None
    """None where it is not known, as for a case that errored."""
    probability: Mapping[str, float]
    """Label to probability; empty where the answer is invalid or nobody needs to know."""


RIGHT = Decided(1.0, True, None, None, {})
"""What a reference counts as where it errored: right, and as sure as it should be. The worst case for the subject's claim."""


def read_decision(result: CaseResult, field: str, *, raw: bool = False, needs: Needs = "confidence") -> Decided | None:
    """The case's decision on a field; None where the case has no reference for it.

    Args:
        raw: read the distribution at temperature 1.
        needs: what must be known of a valid answer.

    Raises:
        UndefinedEstimateError: ``absent`` where that is not known, ``non_finite`` or ``out_of_range`` where it cannot be.
    """
    decision = next((d for d in result.decisions if d.field == field), None)
    invalid = result.status == "errored" or result.scores.get(SCHEMA_VALID) == 0
    if not invalid and decision is not None and decision.predicted is not None and decision.correct is None:
        return None
    if invalid or (decision is not None and decision.predicted is None):
        return Decided(1.0, False, None, decision.reference if decision else None, {})
    if decision is None or decision.predicted is None:
        # A readable answer whose decision nobody recorded: nothing can be said, and leaving it out would flatter.
        raise UndefinedEstimateError("absent")
    right = decision.correct is True
    reference = decision.reference if decision.reference is not None or not right else decision.predicted
    found = Decided(1.0, right, decision.predicted, reference, {})
    if decision.confidence is not None:
        _checked(decision.confidence)
    if needs == "correctness":
        return found
    if needs != "confidence" and reference is None:
        raise UndefinedEstimateError("absent")
    if needs == "label":
        return found
    probability = _distribution(decision, raw) if raw or needs == "distribution" else {}
    return replace(found, confidence=_confidence(decision, probability, raw), probability=probability)


def _confidence(decision: FieldDecision, probability: Mapping[str, float], raw: bool) -> float:
    stated = probability.get(str(decision.predicted)) if raw else decision.confidence
    if stated is None:
        raise UndefinedEstimateError("absent")
    return _checked(stated)


def _checked(stated: object) -> float:
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not math.isfinite(stated):
        raise UndefinedEstimateError("non_finite")
    if not 0 <= stated <= 1:
        raise UndefinedEstimateError("out_of_range")
    return float(stated)


def _distribution(decision: FieldDecision, raw: bool) -> dict[str, float]:
    logp = decision.raw_logp if raw else decision.logp
    if not logp:
        raise UndefinedEstimateError("absent")
    if any(isinstance(x, bool) or not isinstance(x, int | float) or math.isnan(x) or x == math.inf for x in logp.values()):
        raise UndefinedEstimateError("non_finite")
    found = {label: min(1.0, math.exp(min(x, 1.0))) for label, x in logp.items()}
    if decision.predicted not in found or max(logp.values()) > _SLACK or abs(math.fsum(found.values()) - 1) > _SLACK:
        raise UndefinedEstimateError("out_of_range")
    return found


# --- statistics of one case


def case_value(statistic: str, result: CaseResult, field: str, *, raw: bool) -> float | None:
    """The case's value of a mean or a share; None where it does not count."""
    if statistic in _OF_DISTRIBUTION:
        decided = read_decision(result, field, raw=raw, needs="distribution")
        return None if decided is None else _OF_DISTRIBUTION[statistic](decided)
    decided = read_decision(result, field, needs="correctness")
    if decided is None:
        return None
    if not statistic:
        return float(decided.correct)
    accepted = decided.predicted is not None and _accepted(result, field)
    if statistic == "coverage":
        return float(accepted)
    return float(not decided.correct) if accepted or decided.predicted is None else None


def _accepted(result: CaseResult, field: str) -> bool:
    mark = result.scores.get(ACCEPTED_PREFIX + field)
    if mark is None:
        raise UndefinedEstimateError("absent")
    if isinstance(mark, bool) or mark not in (0, 1):
        raise UndefinedEstimateError("out_of_range")
    return mark == 1


def _brier(decided: Decided) -> float:
    """sum over labels of (p - y)^2: Brier (1950). A reference that is no label of the field has probability 0."""
    if decided.predicted is None:
        return 2.0
    own = decided.probability.get(str(decided.reference), 0.0)
    rest = math.fsum(p * p for p in decided.probability.values()) - own * own
    return min(2.0, max(0.0, rest + (1 - own) ** 2))


def _nll(decided: Decided) -> float:
    own = decided.probability.get(str(decided.reference), 0.0)
    return NLL_CAP if own <= math.exp(-NLL_CAP) else max(0.0, -math.log(own))


_OF_DISTRIBUTION: Mapping[str, Callable[[Decided], float]] = {"brier": _brier, "nll": _nll}


# --- statistics of all


def _columns(decided: Sequence[Decided]) -> tuple[FloatArray, FloatArray]:
    """Confidence and correctness.

    Raises:
        UndefinedEstimateError: ``no_variation`` where all are right or all wrong; drawing them again would show no noise.
    """
    correct = np.array([float(d.correct) for d in decided])
    if correct.min() == correct.max():
        raise UndefinedEstimateError("no_variation")
    return np.array([d.confidence for d in decided]), correct


def _squared(decided: Sequence[Decided]) -> WeightedStatistic:
    return WeightedCalibration(*_columns(decided)).squared_errors


def _auroc(decided: Sequence[Decided]) -> WeightedStatistic:
    return auroc(*_columns(decided))


def _aurc(decided: Sequence[Decided]) -> WeightedStatistic:
    return area_under_risk_coverage(*_columns(decided))


def _matrix(decided: Sequence[Decided]) -> tuple[FloatArray, IntArray]:
    """Probabilities, shape (n, k + 2), and each case's right column.

    The last two columns are the label that is never right, on which an invalid answer puts everything, and the label that is
    never foreseen: a reference that is not known or no label of the field.

    Raises:
        UndefinedEstimateError: ``undefined`` where cases differ in their labels, or none has any.
    """
    sets = {frozenset(d.probability) for d in decided if d.probability}
    if len(sets) != 1:
        raise UndefinedEstimateError("undefined")
    column = {label: number for number, label in enumerate(sorted(*sets))}
    never_right, unforeseen = len(column), len(column) + 1
    probability = np.zeros((len(decided), len(column) + 2))
    reference = np.full(len(decided), unforeseen, dtype=np.int64)
    for row, d in enumerate(decided):
        reference[row] = column.get(str(d.reference), unforeseen)
        if d.probability:
            probability[row, [column[label] for label in d.probability]] = list(d.probability.values())
        else:
            probability[row, reference[row] if d.correct else never_right] = 1.0
    return probability, reference


def _classwise(decided: Sequence[Decided]) -> WeightedStatistic:
    probability, reference = _matrix(decided)
    total, labels = classwise_error(probability, reference), probability.shape[1] - 2
    return lambda weights: total(weights) / labels


def _macro_f1(decided: Sequence[Decided]) -> WeightedStatistic:
    """Mean over labels of 2 TP / (2 TP + FP + FN); labels that do not occur in a resample are left out of its mean.

    van Rijsbergen (1979); averaged over labels as scikit-learn's ``f1_score(average="macro")`` does.
    """
    labels = sorted({label for d in decided for label in (d.reference, d.predicted) if label is not None})
    if not labels:
        raise UndefinedEstimateError("undefined")

    hit, missed, false = (np.zeros((len(decided), len(labels))) for _ in range(3))
    column = {label: number for number, label in enumerate(labels)}
    for row, d in enumerate(decided):
        # A case without a known reference counts for every label: as a miss, or (the reference's worst case) as a hit.
        own = slice(None) if d.reference is None else column[d.reference]
        (hit if d.correct else missed)[row, own] = 1.0
        if not d.correct and d.predicted is not None:
            false[row, column[d.predicted]] = 1.0

    def mean(weights: FloatArray) -> FloatArray:
        twice, rest = 2 * (weights @ hit), weights @ (missed + false)
        occurs = twice + rest > 0
        found: FloatArray = (twice / np.where(occurs, twice + rest, 1.0)).sum(axis=1) / occurs.sum(axis=1)
        return found

    return mean


STATISTICS: Mapping[str, tuple[Callable[[Sequence[Decided]], WeightedStatistic], Needs]] = {
    "calibration_l2": (_squared, "confidence"),
    "classwise_calibration": (_classwise, "distribution"),
    "auroc": (_auroc, "confidence"),
    "aurc": (_aurc, "confidence"),
    "macro_f1": (_macro_f1, "label"),
}
"""Name of a pooled statistic to what makes it, and what it must know of each decision."""


def pooled(statistic: str, decided: Sequence[Decided]) -> WeightedStatistic:
    """A pooled statistic, as a function of how often each case counts: from weights of shape (r, n) to r values.

    Raises:
        UndefinedEstimateError: ``no_variation`` or ``undefined``, see the statistic.
    """
    make, _ = STATISTICS[statistic]
    return make(decided)


def same_references(ours: Sequence[Decided], theirs: Sequence[Decided]) -> tuple[list[Decided], list[Decided]]:
    """Pairs of decisions on the same cases, each with the right label that either side knows."""
    known = [a.reference if a.reference is not None else b.reference for a, b in zip(ours, theirs, strict=True)]
    return (
        [replace(d, reference=r) for d, r in zip(ours, known, strict=True)],
        [replace(d, reference=r) for d, r in zip(theirs, known, strict=True)],
    )


# --- what plots show


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """What a page shows of one field's confidences, at the fitted temperature or before."""

    n: int
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[CoveragePoint, ...]
    brier: BrierDecomposition | None
    """None where nobody knows the distributions, or cases differ in their labels."""


def calibration_figures(results: Sequence[CaseResult], field: str, *, raw: bool = False) -> CalibrationFigures:
    """Reliability bins, risk-coverage curve and Brier decomposition of one subject's decisions on a field.

    Raises:
        UndefinedEstimateError: ``empty`` without a case that counts; else as :func:`read_decision`.
    """
    decided = [d for r in results if (d := read_decision(r, field, raw=raw)) is not None]
    if not decided:
        raise UndefinedEstimateError("empty")
    confidence, correct = np.array([d.confidence for d in decided]), np.array([float(d.correct) for d in decided])
    return CalibrationFigures(
        n=len(decided),
        reliability=reliability_table(confidence, correct),
        risk_coverage=risk_coverage(confidence, correct),
        brier=_decomposed(results, field, raw),
    )


def _decomposed(results: Sequence[CaseResult], field: str, raw: bool) -> BrierDecomposition | None:
    try:
        whole = [d for r in results if (d := read_decision(r, field, raw=raw, needs="distribution")) is not None]
        return brier_decomposition(*_matrix(whole))
    except UndefinedEstimateError as error:
        if error.code in ("absent", "undefined"):
            return None
        raise
