"""The part of `redaction.yaml` under `filters`: which filters run, and whether what they notice flags an item or drops it."""

from __future__ import annotations

import difflib
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema, field_validator, model_validator

from distill_gov.records.settings import Settings
from redaction.filters.plugins import FILTERS, SCORERS, installed

__all__ = [
    "HAZARDS",
    "AnswerFilterPolicy",
    "DiversityPolicy",
    "FilterPolicy",
    "GopherRule",
    "HardRule",
    "HazardRule",
    "LanguageRule",
    "LengthRule",
    "MetadataRule",
    "NearDuplicatePolicy",
    "NearHoldoutRule",
    "PromptFilterPolicy",
    "ProtectedRule",
    "Rule",
    "VoiceRule",
]

Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]
Shingle = Annotated[int, Field(ge=2, le=20)]
Count = Annotated[int, Field(ge=1)]
_METADATA = (
    r"^(consent|licence|language|retention_until|purpose|region|tenant|tags\.\S+"
    r"|teacher\.(kind|licence|revision|terms_accepted_by))$"
)
Phrases = list[Annotated[str, Field(min_length=1, pattern=r"\S")]]

HAZARDS = (
    "vcr", "ncr", "src", "cse", "dfm", "spc_fin", "spc_hlt", "spc_ele", "spc_lgl", "prv", "ipv", "iwp", "hte", "ssh", "sxc_prn",
)  # fmt: skip
"""Codes of MLCommons' AILuminate hazard taxonomy 1.0 (Ghosh et al. 2025): violent crimes, non-violent crimes, sex-related
crimes, child sexual exploitation, defamation, specialised advice (financial, health, electoral, legal), privacy,
intellectual property, indiscriminate weapons (CBRNE), hate, suicide and self-harm, sexual content (pornography)."""


def _action(value: Any) -> Any:
    # YAML reads a bare `off` as false.
    return {True: "drop", False: "off"}[value] if isinstance(value, bool) else value


_SHORT: dict[str, Any] = {"enum": ["off", "flag", "drop", True, False]}

Action = Annotated[Literal["off", "flag", "drop"], BeforeValidator(_action), WithJsonSchema(_SHORT)]
Kept = Annotated[Literal["off", "drop"], BeforeValidator(_action), WithJsonSchema({"enum": ["off", "drop", True, False]})]


class Rule(Settings):
    """A filter: ``off``, ``flag`` (on record, the item stays) or ``drop``. ``true`` is ``drop``; ``false``, absent: ``off``.

    ``name: drop`` is short for ``name: {action: drop}``.
    """

    action: Action = "drop"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value is None:
            return {"action": "off"}
        return {"action": value} if isinstance(value, bool | str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> Any:
        return {"anyOf": [_SHORT, handler(core)]}

    @property
    def on(self) -> bool:
        return self.action != "off"


class HardRule(Rule):
    """A filter that drops or is off: what it finds must not be taught."""

    action: Kept = "drop"


OFF = Rule(action="off")
HARD_OFF = HardRule(action="off")


class LengthRule(Rule):
    """Limits of a text's length; 0 is no limit."""

    min_chars: int = Field(default=0, ge=0)
    max_chars: int = Field(default=0, ge=0)
    min_words: int = Field(default=0, ge=0)
    max_words: int = Field(default=0, ge=0)


class LanguageRule(Rule):
    """Languages that a text may be in; a text too short or too doubtful to tell is let by."""

    allowed: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]] = Field(default_factory=lambda: ["en"], min_length=1)
    """ISO 639-1 codes."""
    min_letters: int = Field(default=40, ge=1)
    """Shorter texts are not judged: placeholders, digits and punctuation do not count."""
    min_confidence: Threshold = 0.5
    """Less sure guesses are not counted."""


class GopherRule(Rule):
    """Repetition by the thresholds of Gopher."""

    profile: Literal["short", "web"] = "short"
    """``web`` is the paper's, made for pages; ``short`` looks only where the shares mean something in an answer."""


class HazardRule(Rule):
    """Hazards in MLCommons' codes. The built-in lexicon only flags; a scorer's word may drop."""

    codes: list[str] = Field(default_factory=lambda: list(HAZARDS), min_length=1)
    scorer: str = ""
    """Name of an installed scorer (entry point group ``distill_gov.hazard_scorers``)."""
    threshold: Threshold = 0.5
    """Scores from here on count."""

    @field_validator("codes")
    @classmethod
    def _known_codes(cls, value: list[str]) -> list[str]:
        for code in value:
            if code not in HAZARDS:
                raise ValueError(f"no such hazard: {code[:40]!r}; {_nearest(code, HAZARDS)}")
        return value

    @field_validator("scorer")
    @classmethod
    def _known_scorer(cls, value: str) -> str:
        return _installed(value, SCORERS, "scorer") if value else value

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        if self.action == "drop" and not self.scorer:
            raise ValueError("a lexicon is too coarse to drop by: use `flag`, or name a `scorer`")
        return self


class NearHoldoutRule(HardRule):
    """A prompt is near the holdout when it shares a run of words with one of its prompts, or is a near-duplicate of one."""

    ngram: Annotated[int, Field(ge=3, le=50)] = 8
    threshold: Threshold = 0.7
    shingle: Shingle = 5
    raw: bool = True
    """Runs of words are compared before redaction too, as keyed hashes in memory: placeholders must not hide a copy."""


class MetadataRule(Rule):
    """A condition on what is known about a trace beside its text. Where the value is absent, the rule fires."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]
    """The reason code."""
    field: Annotated[str, Field(pattern=_METADATA)]
    one_of: list[str] = Field(default_factory=list)
    none_of: list[str] = Field(default_factory=list)
    not_before: date | None = Field(default=None, strict=False)
    """The value must be a date, this one or later."""
    optional: bool = False
    """An absent value is allowed."""


class ProtectedRule(Rule):
    """Runs of words that stand in protected texts, by an index of their keyed hashes."""

    path: str = ""
    """The index, relative to `redaction.yaml`; made by `distill-gov protect`."""
    min_shared: Count = 1
    """So many runs must be shared."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("off", "flag", "drop"):
            return {"path": value}
        return super()._short(value)  # type: ignore[operator]

    @model_validator(mode="after")
    def _has_path(self) -> Self:
        if self.on and not self.path:
            raise ValueError("the index's `path` is missing")
        return self


class VoiceRule(Rule):
    """Brand voice: what a reply must and must not say. Whole words, in any case."""

    forbidden: Phrases = Field(default_factory=list)
    required: Phrases = Field(default_factory=list)
    """Each of them."""
    required_any: Phrases = Field(default_factory=list)
    """At least one of them."""


class NearDuplicatePolicy(Settings):
    """Two prompts are near-duplicates when the Jaccard index of their shingle sets reaches the threshold."""

    threshold: Threshold = 0.8
    shingle: Shingle = 5
    """Characters of a shingle."""


class DiversityPolicy(Settings):
    """Of several answers to one prompt, those are kept that differ."""

    keep: Count = 1
    """At most so many."""
    threshold: Threshold = 0.7
    """An answer as similar as this to one that is kept (Jaccard index of shingles) is not."""
    shingle: Shingle = 5


class PromptFilterPolicy(Settings):
    """Filters of prompts, before the teacher is paid. A filter that is left out does not run."""

    empty: Rule = OFF
    role: Rule = OFF
    """The last turn must be the user's."""
    metadata: list[MetadataRule] = Field(default_factory=list)
    length: LengthRule = LengthRule(action="off")
    language: LanguageRule = LanguageRule(action="off")
    injection: Rule = OFF
    injection_phrases: Phrases = Field(default_factory=list)
    """Phrases beyond the built-in ones, in any case."""
    invisible: Rule = OFF
    hazards: HazardRule = HazardRule(action="off")
    near_holdout: NearHoldoutRule = NearHoldoutRule(action="off")
    exact_duplicates: Rule = OFF

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, value: Any) -> Any:
        if isinstance(value, dict) and "near_duplicates" in value:
            raise ValueError("`near_duplicates` stands in distill.yaml now: `teaching: {near_duplicates: {threshold: ...}}`")
        return value


class AnswerFilterPolicy(Settings):
    """Filters of the teacher's answers. A filter that is left out does not run; an answer's schema is always asked for."""

    empty: Rule = OFF
    truncated: Rule = OFF
    role: Rule = OFF
    """No turn of the user's, no mark of a chat template."""
    max_reply_chars: Count | None = None
    length: LengthRule = LengthRule(action="off")
    language: LanguageRule = LanguageRule(action="off")
    repetition: Rule = OFF
    gopher: GopherRule = GopherRule(action="off")
    boilerplate: Rule = OFF
    refusal: Rule = OFF
    """A refusal of a harmless prompt. That of a hazardous one is a good example, and only counted."""
    forbidden_phrases: Phrases = Field(default_factory=list)
    voice: VoiceRule = VoiceRule(action="off")
    harm: Rule = OFF
    hazards: HazardRule = HazardRule(action="off")
    injection: Rule = OFF
    invisible: Rule = OFF
    echo: Rule = OFF
    secrets: HardRule = HARD_OFF
    residual: HardRule = HARD_OFF
    protected_index: ProtectedRule = ProtectedRule(action="off")


class FilterPolicy(Settings):
    prompts: PromptFilterPolicy = Field(default_factory=PromptFilterPolicy)
    answers: AnswerFilterPolicy = Field(default_factory=AnswerFilterPolicy)
    plugins: dict[str, Literal["flag", "drop"]] = Field(default_factory=dict)
    """Installed filters of others (entry point group ``distill_gov.filters``), which look at answers."""
    plugin_seconds: float = Field(default=5.0, gt=0, le=600)
    """Time for one answer; beyond it the answer is dropped."""

    @field_validator("plugins")
    @classmethod
    def _known_plugins(cls, value: dict[str, Literal["flag", "drop"]]) -> dict[str, Literal["flag", "drop"]]:
        for name in value:
            _installed(name, FILTERS, "filter")
        return value


def _installed(name: str, group: str, what: str) -> str:
    names = installed(group)
    if name not in names:
        raise ValueError(f"no {what} {name[:40]!r} is installed; {_nearest(name, names) if names else 'none is at all'}")
    return name


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else "one of " + ", ".join(sorted(names))
