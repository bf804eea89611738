"""The metrics: what each one estimates, which way is better, and how it may be bounded.

One entry owns a metric's direction, range and methods, so that a policy cannot turn a metric round. Some names take a
decision field: ``accuracy.<field>``, ``calibration_error.<field>``, ``raw_nll.<field>``. Of the reserved fields ``choice``,
``choice_per_byte`` and ``sequence`` they estimate something else, and their estimand says so. One module a subject holds its
metrics beside the names of the per-case scores that they are computed from: ``evals.score`` and the suites make those,
``evals.measuring`` reads them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from distill_gov.records.errors import UnknownKeyError
from evals.catalogue import calibration, fairness, groundedness, leakage, quality, ratings, safety, speed, structured
from evals.catalogue.calibration import ACCEPTED_PREFIX, CALIBRATION_BINS, NLL_CAP, RESERVED_FIELDS
from evals.catalogue.fairness import FLIP, FLIPPED_FIELDS
from evals.catalogue.groundedness import NEEDLESS_ASKING, UNGROUNDED, UNSUPPORTED_CLAIMS
from evals.catalogue.leakage import (
    CANARY_EXPOSURE,
    CANARY_SPACE,
    CARRIES_PII,
    CONTAMINATED,
    EXTRACTED,
    PII_ECHO,
    PII_LEAK,
    PROTECTED_OVERLAP,
    VERBATIM_OVERLAP,
)
from evals.catalogue.methods import METHODS, Method
from evals.catalogue.metric import Kind, Metric, Statistic
from evals.catalogue.notes import CONTRADICTIONS, NOTES
from evals.catalogue.quality import (
    ASKS_WHEN_UNCLEAR,
    CHRF,
    EXACT_MATCH,
    EXACT_TEXT,
    HAS_TARGET_TEXT,
    ROUGE_L,
    SAME_AS_TEACHER,
    TOKEN_F1,
)
from evals.catalogue.ratings import HELPFULNESS, RATING_PREFIX
from evals.catalogue.safety import (
    JUDGE,
    JUDGE_ADJUSTED,
    JUDGE_FLAGGED,
    JUDGE_LABELS,
    JUDGE_TRUTH,
    OVER_REFUSAL,
    VIOLATION,
)
from evals.catalogue.speed import COST, FIRST_TOKEN, LAST_TOKEN, PROMPT_TOKENS, TIMINGS, TOKEN_TIME, TOKENS
from evals.catalogue.structured import SCHEMA_VALID

__all__ = [
    "ACCEPTED_PREFIX",
    "ASKS_WHEN_UNCLEAR",
    "CALIBRATION_BINS",
    "CANARY_EXPOSURE",
    "CANARY_SPACE",
    "CARRIES_PII",
    "CATALOGUE",
    "CHRF",
    "CONTAMINATED",
    "CONTRADICTIONS",
    "COST",
    "EXACT_MATCH",
    "EXACT_TEXT",
    "EXTRACTED",
    "FIRST_TOKEN",
    "FLIP",
    "FLIPPED_FIELDS",
    "HAS_TARGET_TEXT",
    "HELPFULNESS",
    "JUDGE",
    "JUDGE_ADJUSTED",
    "JUDGE_FLAGGED",
    "JUDGE_LABELS",
    "JUDGE_TRUTH",
    "LAST_TOKEN",
    "METHODS",
    "NEEDLESS_ASKING",
    "NLL_CAP",
    "NOTES",
    "OVER_REFUSAL",
    "PII_ECHO",
    "PII_LEAK",
    "PROMPT_TOKENS",
    "PROTECTED_OVERLAP",
    "RATING_PREFIX",
    "RESERVED_FIELDS",
    "ROUGE_L",
    "SAME_AS_TEACHER",
    "SCHEMA_VALID",
    "SUBJECTS",
    "TIMINGS",
    "TOKENS",
    "TOKEN_F1",
    "TOKEN_TIME",
    "UNGROUNDED",
    "UNSUPPORTED_CLAIMS",
    "VERBATIM_OVERLAP",
    "VIOLATION",
    "Kind",
    "Method",
    "Metric",
    "Statistic",
    "default_method",
    "lookup",
    "metric_names",
    "names_of",
]

_SUBJECTS = (quality, structured, safety, leakage, fairness, groundedness, calibration, ratings, speed)

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    subject.__name__.rpartition(".")[2]: tuple(m.name for m in (*getattr(subject, "FAMILIES", ()), *subject.METRICS))
    for subject in _SUBJECTS
}
"""What a metric is about, to the names of its metrics and families, in the order in which they are shown."""

_FAMILIES: Mapping[str, Metric] = {m.name: m for m in (*quality.FAMILIES, *calibration.FAMILIES)}

CATALOGUE: Mapping[str, Metric] = {m.name: m for subject in _SUBJECTS for m in subject.METRICS}
"""The metrics that take no field, by name."""

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@lru_cache(maxsize=1024)
def lookup(name: str) -> Metric:
    """The metric of this name.

    Raises:
        UnknownKeyError: there is none, and the message names the nearest; or it cannot be asked of this field.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    family, dot, field = name.partition(".")
    if family in _FAMILIES:
        if dot and _FIELD.fullmatch(field):
            if problem := calibration.not_of(family, field):
                raise UnknownKeyError(problem)
            return calibration.of_field(_FAMILIES[family], field)
        raise UnknownKeyError(f"metric `{family}` needs a decision field, as in `{family}.intent`")
    known = [*CATALOGUE, *(f"{f}.{field or '<field>'}" for f in _FAMILIES)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise UnknownKeyError(f"no metric `{name}`; the nearest is `{near[0]}`")


def default_method(metric: str, statistic: Statistic, *, cluster: bool = False) -> str:
    """A metric's first method; of dependent cases the first that allows for them, where there is one. Empty without any."""
    allowed = lookup(metric).methods[statistic]
    fitting = [name for name in allowed if not (cluster and METHODS[name].independent)]
    return next(iter(fitting or allowed), "")


def names_of(subject: str, fields: Sequence[str]) -> tuple[str, ...]:
    """Every metric about a subject, a family once for each decision field that it can be asked of."""
    found = []
    for name in SUBJECTS[subject]:
        found += [f"{name}.{f}" for f in fields if not calibration.not_of(name, f)] if name in _FAMILIES else [name]
    return tuple(found)


def metric_names() -> tuple[str, ...]:
    """Every name, parametrised ones as ``accuracy.<field>``."""
    return (*CATALOGUE, *(f"{family}.<field>" for family in _FAMILIES))
