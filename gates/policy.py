"""The gate policy, ``gates.yaml``: what compliance asks of a student before it may be used.

A policy that could pass something by accident is refused when it is read: no gates, an unknown metric, a rule whose sense
contradicts the metric's direction, a limit that every value meets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from distill_gov.records.digest import digest_bytes, digest_json
from distill_gov.records.errors import BadInputError, MalformedFileError, MissingFileError
from distill_gov.records.settings import Settings, parse_settings
from evals.catalogue import Metric, Statistic, default_method, lookup
from evals.evidence import MeasurementRequest, Provenance

__all__ = ["HEADERS", "GateRule", "Policy", "RatingsPlan", "load_policy"]

HEADERS = ("intended_use", "not_for", "risk_tier", "owner", "validated_by", "approved_by", "approved_on", "review_by")
"""Keys that every policy must have; an empty value is allowed and shown as "not approved"."""

NOT_APPROVED = "not approved"


def shown(header: str) -> str:
    """A header or a teacher's terms as everybody gets to see them: nothing that was left empty looks settled."""
    return header.strip() or NOT_APPROVED


RATINGS_SUITE = "ratings"
"""The suite of blinded ratings. Its gates accept human provenance only, unless the policy says otherwise."""

Rule = Literal["at_least", "at_most", "not_inferior_by", "not_worse_by"]
_WANTS_HIGH: Mapping[str, bool] = {"at_least": True, "not_inferior_by": True, "at_most": False, "not_worse_by": False}
_STATISTIC: Mapping[str, Statistic] = {
    "at_least": "level",
    "at_most": "level",
    "not_inferior_by": "difference",
    "not_worse_by": "difference",
}

T = TypeVar("T")
# Strict settings refuse a YAML list where a tuple is declared; only the container is let through, its items stay strict.
Listed = Annotated[tuple[T, ...], Field(strict=False)]


def _refuse(message: str) -> PydanticCustomError:
    # A plain ValueError would come out with pydantic's own "Value error, " before it.
    return PydanticCustomError("gate_policy", "{message}", {"message": message})


def _iso(value: object) -> object:
    """YAML reads an unquoted 2026-11-22 as a date; both spellings mean the same."""
    return value.isoformat() if type(value) is date else value


class GateRule(Settings):
    """One gate: what is measured, and what its bound must hold."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    metric: str
    suite: str
    slice: str | None = None
    statistic: Literal["level", "difference"]
    reference: str | None = None
    """Name of the subject compared with. On a level gate it is only shown beside the student."""
    rule: Rule
    limit: float | None = None
    """Of a level gate, in the metric's unit."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Of a difference gate: how much worse than the reference is still accepted, in the metric's unit."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """One-sided."""
    method: str = ""
    """One of the catalogue's methods; empty takes the catalogue's first for the statistic."""
    cluster: bool = False
    assumed_discordant: Annotated[float, Field(gt=0, lt=1)] = 0.10
    """For planning only: share of cases that student and reference are thought to decide differently."""
    assumed_value: float | None = None
    """For planning only: true value, or true difference to the reference, of a good student, one that should pass. Without it
    the plan takes one that is equal to the reference, or without fault, which no real one is."""
    min_n: Annotated[int, Field(ge=1)]
    max_age_days: Annotated[int, Field(ge=1)] | None = None
    provenance: Listed[Provenance] = ()
    """Provenances allowed; empty takes ``human`` for ratings and ``measured`` for everything else."""
    required: bool = True
    """A gate that is not required is shown and blocks nothing, except by an integrity error."""
    waivable: bool = False
    owner: str
    risk: str
    """What goes wrong for people if this gate is wrongly passed."""
    rationale: str
    """Why this limit, with what the planned number of cases can show."""

    @model_validator(mode="after")
    def _check(self) -> GateRule:
        metric = _metric(self.metric)
        if self.statistic != _STATISTIC[self.rule]:
            raise _refuse(f"gate `{self.id}`: rule `{self.rule}` is for a {_STATISTIC[self.rule]}, not a {self.statistic}")
        if _WANTS_HIGH[self.rule] != (metric.direction == "higher"):
            raise _refuse(
                f"gate `{self.id}`: rule `{self.rule}` contradicts metric `{self.metric}`, where {metric.direction} is better"
            )
        self._check_threshold(metric)
        self._check_assumed(metric)
        allowed = metric.methods[self.statistic]
        if not allowed:
            raise _refuse(f"gate `{self.id}`: metric `{self.metric}` has no method for a {self.statistic}")
        if self.method and self.method not in allowed:
            raise _refuse(
                f"gate `{self.id}`: method `{self.method}` is not one of {', '.join(allowed)} for metric `{self.metric}`"
            )
        if self.min_n < metric.min_n:
            raise _refuse(f"gate `{self.id}`: min_n {self.min_n} is under the {metric.min_n} that metric `{self.metric}` needs")
        for key in ("owner", "risk", "rationale"):
            if not getattr(self, key).strip():
                raise _refuse(f"gate `{self.id}`: `{key}` is empty")
        return self

    def _check_threshold(self, metric: Metric) -> None:
        lowest, highest = metric.range
        if self.statistic == "difference":
            if self.margin is None or self.limit is not None or not self.reference:
                raise _refuse(f"gate `{self.id}`: a difference takes `margin` and `reference`, and no `limit`")
            if not (self.margin < highest - lowest):
                raise _refuse(f"gate `{self.id}`: every possible value is within the margin")
            return
        if self.limit is None or self.margin is not None:
            raise _refuse(f"gate `{self.id}`: a level takes `limit`, and no `margin`")
        vacuous = self.limit <= lowest if self.rule == "at_least" else self.limit >= highest
        if vacuous:
            raise _refuse(f"gate `{self.id}`: every possible value meets the limit")

    def _check_assumed(self, metric: Metric) -> None:
        if self.assumed_value is None:
            return
        lowest, highest = metric.range
        if self.statistic == "difference":
            lowest, highest = lowest - highest, highest - lowest
        if not lowest <= self.assumed_value <= highest:
            raise _refuse(f"gate `{self.id}`: assumed_value is outside the range of metric `{self.metric}`")
        beyond = self.assumed_value - self.threshold
        if not (beyond > 0 if self.side == "lower" else beyond < 0):
            raise _refuse(f"gate `{self.id}`: a student at assumed_value should not pass, so nothing can be planned for it")

    @property
    def side(self) -> Literal["lower", "upper"]:
        """Which bound decides."""
        return "lower" if _WANTS_HIGH[self.rule] else "upper"

    @property
    def threshold(self) -> float:
        """What the bound is held against: the limit, or the signed margin."""
        if self.limit is not None:
            return self.limit
        margin = self.margin or 0.0
        return -margin if self.side == "lower" else margin

    @property
    def must_be(self) -> str:
        """The rule in symbols: ``>= 0.75``, ``<= teacher + 0.05``."""
        sign = ">=" if self.side == "lower" else "<="
        if self.statistic == "level":
            return f"{sign} {self.limit:g}"
        return f"{sign} {self.reference} {'-' if self.side == 'lower' else '+'} {self.margin:g}"

    @property
    def accepted(self) -> tuple[Provenance, ...]:
        """Provenances this gate accepts."""
        return self.provenance or (("human",) if self.suite == RATINGS_SUITE else ("measured",))

    def request(self, subject: str) -> MeasurementRequest:
        """The measurement this gate needs of a subject."""
        return MeasurementRequest(
            metric=self.metric,
            suite=self.suite,
            slice=self.slice,
            subject=subject,
            reference=self.reference if self.statistic == "difference" else None,
            statistic=self.statistic,
            method=self.method or default_method(self.metric, self.statistic, cluster=self.cluster),
            confidence=self.confidence,
            side=self.side,
            cluster=self.cluster,
        )

    def reference_request(self) -> MeasurementRequest | None:
        """The reference's own level, to be shown beside the gate; None where no reference is named or it has no level."""
        method = default_method(self.metric, "level", cluster=self.cluster)
        if self.reference is None or not method:
            return None
        return MeasurementRequest(
            metric=self.metric,
            suite=self.suite,
            slice=self.slice,
            subject=self.reference,
            reference=None,
            statistic="level",
            method=method,
            confidence=self.confidence,
            side=self.side,
            cluster=self.cluster,
        )


class RatingsPlan(Settings):
    """What blinded ratings the policy asks for."""

    items: Annotated[int, Field(ge=1)]
    raters: Annotated[int, Field(ge=2)]
    scale: Annotated[tuple[int, int], Field(strict=False)]
    """Lowest and highest score."""
    min_raters: Annotated[int, Field(ge=2)]
    """Raters an item must have to count."""

    @model_validator(mode="after")
    def _check(self) -> RatingsPlan:
        if not self.scale[0] < self.scale[1]:
            raise _refuse("`scale` must be [lowest, highest]")
        if self.min_raters > self.raters:
            raise _refuse("`min_raters` is more than `raters`")
        return self


class _PolicyFile(Settings):
    """``gates.yaml`` as a person wrote it."""

    intended_use: str
    not_for: str
    risk_tier: str
    owner: str
    validated_by: str
    approved_by: str
    approved_on: Annotated[str, BeforeValidator(_iso)]
    review_by: Annotated[str, BeforeValidator(_iso)]
    max_attempts: Annotated[int, Field(ge=1)]
    max_openings: Annotated[int, Field(ge=1)] | None = None
    requires: Listed[Literal["build", "train", "evaluate", "ratings"]] = ()
    model_input: Literal["redacted", "raw"] = "redacted"
    gates: Listed[GateRule]
    ratings: RatingsPlan | None = None

    @field_validator("approved_on", "review_by")
    @classmethod
    def _dates(cls, value: str) -> str:
        try:
            return value and date.fromisoformat(value).isoformat()
        except ValueError:
            raise _refuse("must be empty or a date like 2026-11-22") from None

    @model_validator(mode="after")
    def _openings_enough(self) -> _PolicyFile:
        if self.max_openings is not None and self.max_openings < self.max_attempts:
            raise _refuse("`max_openings` is under `max_attempts`, and every attempt opens the holdout")
        return self

    @field_validator("gates")
    @classmethod
    def _some_gates(cls, gates: tuple[GateRule, ...]) -> tuple[GateRule, ...]:
        if not any(gate.required for gate in gates):
            raise _refuse("no required gate, so nothing could block")
        ids = [gate.id for gate in gates]
        if twice := next((i for i in ids if ids.count(i) > 1), None):
            raise _refuse(f"two gates have the id `{twice}`")
        return gates

    @model_validator(mode="after")
    def _ratings_planned(self) -> _PolicyFile:
        if self.ratings is None and any(gate.suite == RATINGS_SUITE for gate in self.gates):
            raise _refuse("a gate uses ratings, but there is no `ratings:` section")
        return self


def default_openings(max_attempts: int) -> int:
    """Openings allowed where the policy does not say: each student once, and once more where its evaluation was cut short."""
    return 2 * max_attempts


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read and holds together."""

    name: str
    """The file's stem: ``gates``, ``gates.bank``."""
    digest: str
    """SHA-256 of the file's bytes."""
    headers: Mapping[str, str]
    """The header keys and ``model_input``, in the order of the file's format."""
    max_attempts: int
    max_openings: int
    """How often the sealed holdout may have been opened for an evaluation, this one included."""
    requires: tuple[str, ...]
    """Stages whose manifest must be among the evidence."""
    gates: tuple[GateRule, ...]
    ratings: RatingsPlan | None

    @property
    def required(self) -> frozenset[str]:
        """Ids of the gates that must pass."""
        return frozenset(gate.id for gate in self.gates if gate.required)

    @property
    def accepts_simulated(self) -> bool:
        """Whether any gate accepts simulated ratings; a verdict under such a policy is never promotable."""
        return any("simulated" in gate.accepted for gate in self.gates)

    def requests(self, subject: str = "student") -> tuple[MeasurementRequest, ...]:
        """Everything that must be measured to judge a subject, the references' own levels included, without repeats.

        Raises:
            BadInputError: a gate would compare the subject with itself.
        """
        found: dict[MeasurementRequest, None] = {}
        for gate in self.gates:
            if gate.statistic == "difference" and subject == gate.reference:
                raise BadInputError(
                    f"gate `{gate.id}` would compare `{subject}` with itself", where=self.name, fix="Judge another subject."
                )
            found[gate.request(subject)] = None
            if (shown := gate.reference_request()) is not None:
                found[shown] = None
        return tuple(found)

    @property
    def rules_digest(self) -> str:
        """Digest of everything that decides, whoever is judged: it enters the ledger before the holdout is opened.

        Prose and headers (but what models read) are left out: an approval or a better rationale changes nothing, and neither
        does the order of the gates, or a default that is written out.
        """
        gates = [
            {
                "id": gate.id,
                "request": asdict(gate.request("student")),
                "rule": gate.rule,
                "limit": gate.limit,
                "margin": gate.margin,
                "min_n": gate.min_n,
                "max_age_days": gate.max_age_days,
                "provenance": sorted(gate.accepted),
                "required": gate.required,
                "waivable": gate.waivable,
            }
            for gate in sorted(self.gates, key=lambda gate: gate.id)
        ]
        rest: dict[str, object] = {"max_attempts": self.max_attempts, "model_input": self.headers["model_input"]}
        if self.max_openings != default_openings(self.max_attempts):
            rest["max_openings"] = self.max_openings  # left out at its default, as before there was one
        return digest_json({"gates": gates, "requires": sorted(set(self.requires)), **rest})


def load_policy(path: Path) -> Policy:
    """Read and check a policy.

    Raises:
        MissingFileError, MalformedFileError, UnknownKeyError: one line with file, line and key; exit code 2.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedFileError("not valid UTF-8 text", where=str(path)) from error
    except OSError as error:
        raise MissingFileError("no such policy", where=str(path), fix="Name a gate policy that exists.") from error
    # One read for the digest and for the content: a file that changes in between cannot carry another's digest.
    written = parse_settings(text, _PolicyFile, where=str(path))
    name = path.stem
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise MalformedFileError("the policy's file name must be of a-z, 0-9, dot, dash, underscore", where=str(path))
    return Policy(
        name=name,
        digest=digest_bytes(data),
        headers={**{key: getattr(written, key) for key in HEADERS}, "model_input": written.model_input},
        max_attempts=written.max_attempts,
        max_openings=written.max_openings or default_openings(written.max_attempts),
        requires=written.requires,
        gates=written.gates,
        ratings=written.ratings,
    )


def _metric(name: str) -> Metric:
    try:
        return lookup(name)
    except BadInputError as error:
        raise _refuse(error.what) from error
