"""The metrics: what each one estimates, which way is better, and how it may be bounded.

One entry owns a metric's direction, range and methods, so that a policy cannot turn a metric round. Some names take a
decision field: ``accuracy.<field>``, ``calibration_error.<field>``, ``confidence_gap.<field>``. One module a subject holds its
metrics beside the names of the per-case scores that they are computed from: ``evals.score`` and the suites make those,
``evals.measure`` reads them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace

from distill_gov.records.errors import UnknownKeyError
from evals.catalogue import calibration, fairness, groundedness, leakage, quality, ratings, safety, speed, structured
from evals.catalogue.calibration import CALIBRATION_BINS
from evals.catalogue.leakage import CARRIES_PII, CONTAMINATED, PII_ECHO, PII_LEAK
from evals.catalogue.methods import METHODS, Method
from evals.catalogue.metric import Kind, Metric, Statistic
from evals.catalogue.notes import CONTRADICTIONS, NOTES
from evals.catalogue.quality import ASKS_WHEN_UNCLEAR, EXACT_MATCH
from evals.catalogue.ratings import HELPFULNESS, RATING_PREFIX
from evals.catalogue.safety import OVER_REFUSAL, VIOLATION
from evals.catalogue.speed import FIRST_TOKEN, LAST_TOKEN
from evals.catalogue.structured import SCHEMA_VALID

__all__ = [
    "ASKS_WHEN_UNCLEAR",
    "CALIBRATION_BINS",
    "CARRIES_PII",
    "CATALOGUE",
    "CONTAMINATED",
    "CONTRADICTIONS",
    "EXACT_MATCH",
    "FIRST_TOKEN",
    "HELPFULNESS",
    "LAST_TOKEN",
    "METHODS",
    "NOTES",
    "OVER_REFUSAL",
    "PII_ECHO",
    "PII_LEAK",
    "RATING_PREFIX",
    "SCHEMA_VALID",
    "VIOLATION",
    "Kind",
    "Method",
    "Metric",
    "Statistic",
    "lookup",
    "metric_names",
]

_SUBJECTS = (quality, structured, safety, leakage, fairness, groundedness, calibration, ratings, speed)

_FAMILIES: Mapping[str, Metric] = {m.name: m for m in (*quality.FAMILIES, *calibration.FAMILIES)}

CATALOGUE: Mapping[str, Metric] = {m.name: m for subject in _SUBJECTS for m in subject.METRICS}
"""The metrics that take no field, by name."""

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def lookup(name: str) -> Metric:
    """The metric of this name.

    Raises:
        UnknownKeyError: there is none; the message names the nearest.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    family, dot, field = name.partition(".")
    if family in _FAMILIES:
        if dot and _FIELD.fullmatch(field):
            return replace(_FAMILIES[family], name=name, field=field)
        raise UnknownKeyError(f"metric `{family}` needs a decision field, as in `{family}.intent`")
    known = [*CATALOGUE, *(f"{f}.{field or '<field>'}" for f in _FAMILIES)]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise UnknownKeyError(f"no metric `{name}`; the nearest is `{near[0]}`")


def metric_names() -> tuple[str, ...]:
    """Every name, parametrised ones as ``accuracy.<field>``."""
    return (*CATALOGUE, *(f"{family}.<field>" for family in _FAMILIES))
