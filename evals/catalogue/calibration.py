"""Whether a confidence means what it says.

Three confidences are kept apart, and the field's name says which one a metric is of: the decision on a field of a structured
answer, the reserved fields ``choice`` and ``choice_per_byte`` (a multiple-choice question) and the reserved field ``sequence``
(a free text).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from evals.catalogue.metric import BOOTSTRAP, EXACT, Direction, Metric, mean_of, pooled_over, proportion
from evals.catalogue.quality import FAMILIES as QUALITY

__all__ = [
    "ACCEPTED_PREFIX",
    "CALIBRATION_BINS",
    "CHOICE",
    "CHOICE_PER_BYTE",
    "FAMILIES",
    "METRICS",
    "NLL_CAP",
    "RESERVED_FIELDS",
    "SEQUENCE",
    "not_of",
    "of_field",
]

CALIBRATION_BINS = 5

NLL_CAP = 10.0
"""The greatest negative log-likelihood of one case, in nats: a label held less likely than exp(-10), 0.005 %, counts as that.

Without a cap one case of 300 can be the whole mean, and an errored case would have no finite worst value."""

ACCEPTED_PREFIX = "accepted."
"""``accepted.<field>``: 1 where the decision's confidence reaches the threshold that was fixed on dev, else 0."""

CHOICE, CHOICE_PER_BYTE, SEQUENCE = "choice", "choice_per_byte", "sequence"
RESERVED_FIELDS = (CHOICE, CHOICE_PER_BYTE, SEQUENCE)
"""Fields that no schema may use: they name what is not a decision along a label trie."""

_WRONG = "an invalid or errored answer is wrong with confidence 1"
_NEVER_RIGHT = "an invalid or errored answer puts all probability on a label that is never right"

_CONFIDENCE: Mapping[str, str] = {
    CHOICE: (
        "multiple choice: probabilities are the softmax, over the options offered, of each option's summed log-likelihood "
        "after the question, at temperature 1; the prediction is the likeliest option"
    ),
    CHOICE_PER_BYTE: (
        "multiple choice by length: probabilities are the softmax, over the options offered, of each option's summed "
        "log-likelihood after the question divided by its bytes in UTF-8, at temperature 1; the prediction is the greatest"
    ),
    SEQUENCE: (
        "sequence: confidence is exp of the summed log-probability of the answer's tokens, end included, at temperature 1, so "
        "it falls with length; right is an exact match with the target"
    ),
}
_TRIE = (
    "decision: probabilities are of the field's labels along their token trie, renormalised over its branches at each node, "
    "given the fields before it"
)
_SCALED, _RAW = "at the temperature fitted on dev", "at temperature 1"


def _calibration_error(raw: bool) -> Metric:
    return Metric(
        name="raw_calibration_error" if raw else "calibration_error",
        kind="calibration_error",
        direction="lower",
        range=(0.0, 1.0),
        estimand=f"mean over equal-mass bins of |mean confidence in the predicted label - accuracy|, debiased; {_WRONG}",
        unit="share",
        min_n=200,
        methods=BOOTSTRAP,
        why="Shows what temperature scaling did; the student is used with it."
        if raw
        else "A confidence that routes work to people must mean what it says.",
        raw=raw,
    )


def _confidence_gap(raw: bool) -> Metric:
    return Metric(
        name="raw_confidence_gap" if raw else "confidence_gap",
        kind="confidence_gap",
        direction="lower",
        range=(0.0, 1.0),
        estimand=f"|mean confidence in the predicted label - accuracy|; {_WRONG}",
        unit="share",
        min_n=30,
        methods={"level": ("bca",), "difference": ("bootstrap",)},
        why="Over- and underconfidence as a whole, which needs far fewer cases than the error by bins.",
        raw=raw,
    )


def _brier(raw: bool) -> Metric:
    made = mean_of(
        "raw_brier" if raw else "brier",
        "lower",
        f"mean over cases of sum over labels of (probability - [label is the reference])^2; {_NEVER_RIGHT}: 2",
        "A proper score: calibration and sharpness at once, of the whole distribution.",
        statistic="brier",
        range=(0.0, 2.0),
        unit="score",
        min_n=300,
    )
    return replace(made, raw=raw)


def _nll(raw: bool) -> Metric:
    made = mean_of(
        "raw_nll" if raw else "nll",
        "lower",
        f"mean over cases of -log of the reference's probability, at most {NLL_CAP:g} a case; an invalid or errored answer "
        f"counts {NLL_CAP:g}",
        "What temperature scaling minimises; it sees a label that was held impossible.",
        statistic="nll",
        range=(0.0, NLL_CAP),
        unit="nats",
        min_n=300,
    )
    return replace(made, raw=raw)


def _of_confidences(name: str, direction: Direction, estimand: str, why: str, *, min_n: int) -> Metric:
    return pooled_over(name, direction, f"{estimand}; {_WRONG}", why, statistic=name, min_n=min_n)


FAMILIES: tuple[Metric, ...] = (
    *(make(raw) for make in (_calibration_error, _confidence_gap, _brier, _nll) for raw in (False, True)),
    _of_confidences(
        "calibration_l2",
        "lower",
        "mean over equal-mass bins of (mean confidence in the predicted label - accuracy)^2, debiased (Kumar, Liang & "
        "Ma 2019); its estimate can fall under zero and is shown as 0 then, so only its upper bound says anything",
        "Unbiased where the absolute error is not, and harder on few bad bins; it is of squared shares: 0.01 is 10 points.",
        min_n=200,
    ),
    pooled_over(
        "classwise_calibration",
        "lower",
        "mean over the field's labels of the debiased equal-mass error between the label's probability and how often it is the "
        f"reference; {_NEVER_RIGHT}, which is counted as one more label",
        "A rare label can be miscalibrated where the predicted one is not. With many labels most probabilities are near 0 and "
        "so is the mean: compare it, and set no limit without looking at the level first.",
        statistic="classwise_calibration",
        min_n=300,
    ),
    _of_confidences(
        "auroc",
        "higher",
        "probability that a right answer has a greater confidence than a wrong one, ties counted half",
        "Whether the confidence tells right from wrong at all; a model can be calibrated and not do it.",
        min_n=300,
    ),
    _of_confidences(
        "aurc",
        "lower",
        "mean over coverages of the error rate among the most confident cases, ties in random order (Geifman & El-Yaniv 2017)",
        "What abstaining can win, over all thresholds; it is small where the error rate is.",
        min_n=300,
    ),
    replace(
        proportion(
            "coverage",
            "higher",
            "probability that the confidence reaches the threshold that was fixed on dev before the holdout was opened; an "
            "invalid or errored answer does not",
            "How much work the student takes off people once it abstains where it is unsure.",
            min_n=100,
        ),
        statistic="coverage",
    ),
    replace(
        proportion(
            "selective_risk",
            "lower",
            "among cases whose confidence reaches the threshold that was fixed on dev before the holdout was opened: "
            f"probability that the decision is wrong; {_WRONG}, so it is among them",
            "What still goes wrong unseen. Together with `coverage` it says at which risk how much is covered.",
        ),
        # Two subjects accept different cases, so there are no pairs.
        methods={"level": EXACT["level"], "difference": ()},
        statistic="selective_risk",
    ),
)

METRICS: tuple[Metric, ...] = ()

_RAW_FAMILIES = frozenset(m.name for m in FAMILIES if m.raw)
_OF_FIXED_LABELS = frozenset({"classwise_calibration", "macro_f1"})
_OF_DISTRIBUTIONS = frozenset({"brier", "nll"})
_SAYS_NOTHING_OF_CONFIDENCE = frozenset(m.name for m in QUALITY)


def not_of(family: str, field: str) -> str:
    """Why a metric cannot be asked of a field; empty where it can."""
    if field not in RESERVED_FIELDS:
        return ""
    if family in _RAW_FAMILIES:
        return f"`{family}` is for decision fields: no temperature is fitted for `{field}`, so what it has is raw"
    if family in _OF_FIXED_LABELS:
        return f"`{family}` needs labels that are the same in every case, which `{field}` has not"
    if field == SEQUENCE and family in _OF_DISTRIBUTIONS:
        return f"`{family}` needs a distribution over labels, which `{SEQUENCE}` has not"
    return ""


def of_field(family: Metric, field: str) -> Metric:
    """The family's metric of one field, with an estimand that says what its confidence is of."""
    estimand = family.estimand
    if field in RESERVED_FIELDS:
        estimand += f"; {_CONFIDENCE[field]}"
    elif family.name not in _SAYS_NOTHING_OF_CONFIDENCE:
        estimand += f"; {_TRIE}, {_RAW if family.raw else _SCALED}"
    return replace(family, name=f"{family.name}.{field}", field=field, estimand=estimand)
