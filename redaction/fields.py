"""How each field of a document is looked at: for which entities, with the language model or without, and after what key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from redaction.documents import JsonLeaf, Path, pointer
from redaction.entities import ENTITIES
from redaction.findings import Finding, Span
from redaction.policy import FieldPolicy, RedactionPolicy

__all__ = ["MESSAGE_FIELDS", "NAME_ENTITIES", "FieldRules", "Part"]

NAME_ENTITIES = frozenset({"PERSON", "LOCATION", "ORGANIZATION", "NRP", "TITLE"})
"""What ``names: false`` does without: all that only a language model or a list of names can tell."""
_BEYOND_DOUBT = frozenset({"EMAIL", "SECRET_URL", "IBAN", "CARD"})
"""What may be found in an id or in the name of a tool. A random id looks like a key and a long one like a telephone number."""
_SHAPED = _BEYOND_DOUBT | {"API_KEY", "CRYPTO", "IP_ADDRESS", "MAC_ADDRESS", "NATIONAL_ID", "PHONE"}
"""What may be found in a key of one word: most are words of the programmer's."""
_LIKELY = 0.6
"""Least score of what is found in keys and numbers, since a finding there costs the record."""
_DIGITS = 7
"""Least digits of a number that may be somebody's."""

_KEPT, _SPARED = (
    FieldPolicy(pointer="/*", action="keep"),
    FieldPolicy(pointer="/*", entities=sorted(_BEYOND_DOUBT), names=False),
)
MESSAGE_FIELDS: Sequence[tuple[str, FieldPolicy]] = (
    ("/messages/*/role", _KEPT),
    ("/messages/*/tool_call_id", _SPARED),
    ("/messages/*/name", _SPARED),
    ("/messages/*/tool_calls/*/id", _SPARED),
    ("/messages/*/tool_calls/*/type", _KEPT),
    ("/messages/*/tool_calls/*/function/name", _SPARED),
)
"""What holds for chats where the policy says nothing else."""

_LEAD_KEY = re.compile(r"[A-Za-z][A-Za-z0-9 _.-]{1,40}")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_.\s-]+")
_LEAD_VALUE = 120
_NO_LEAD = frozenset({"content", "text", "reply", "reasoning", "arguments", "value", "title"})
"""Keys that say nothing of their value."""


@dataclass(frozen=True, slots=True)
class Part:
    """A text to look at, and how."""

    text: str
    field: str = ""
    """JSON pointer; personal keys in it are replaced before it is told to anybody."""
    path: Path = ()
    kind: str = "string"
    lead: str = ""
    """What the detectors read before the text: its key, since ``password`` says what ``hunter2`` does not."""
    model: bool = True
    """Whether the language model looks at it."""
    entities: frozenset[str] | None = None
    """The only entities to look for; all where there is none."""
    least: float = 0.0
    """Least score of a finding, beside the policy's thresholds."""
    language: str | None = None
    """Language tag that the text came with."""
    issued: tuple[Span, ...] = ()
    """Stand-ins that it is known to hold, beside those told by their shape."""
    findings: tuple[Finding, ...] = ()
    """What was found in it before."""

    @property
    def how(self) -> tuple[object, ...]:
        """All but the text that decides what is found in it."""
        return (self.kind, self.lead, self.model, self.entities, self.least, self.language)

    def looks_for(self, entity: str) -> bool:
        return self.entities is None or entity in self.entities


class FieldRules:
    """The policy's ``fields`` in order, then those of chats; the first that fits a path holds."""

    def __init__(self, policy: RedactionPolicy) -> None:
        own = [(rule.pointer, rule) for rule in policy.fields]
        self._numbers = policy.numbers
        self._rules = [(_segments(where), rule) for where, rule in (*own, *MESSAGE_FIELDS)]
        self._found = lru_cache(maxsize=4096)(self._search)

    def rule(self, path: Path) -> FieldPolicy | None:
        # Indices do not matter to any rule but one that names them; keys of strangers do not fill the cache for ever.
        return self._found(path)

    def _search(self, path: Path) -> FieldPolicy | None:
        for segments, rule in self._rules:
            if len(segments) <= len(path) and all(s in ("*", str(p)) for s, p in zip(segments, path, strict=False)):
                return rule
        return None

    def part(self, leaf: JsonLeaf, *, root: Path = (), language: str | None = None) -> Part | None:
        """How to look at a leaf; None where nobody has to.

        Args:
            root: where the document stands in what the policy's pointers speak of.
        """
        rule = self.rule((*root, *leaf.path))
        if rule is not None and rule.action != "redact":
            return None
        if leaf.kind == "number" and (self._numbers == "keep" or sum(c.isdigit() for c in leaf.text) < _DIGITS):
            return None
        entities, model = _asked(rule)
        if leaf.kind == "key":
            word = not any(c.isspace() for c in leaf.text)
            entities, model = _both(entities, _SHAPED) if word else entities, False
        return Part(
            text=leaf.text,
            field=pointer(leaf.path),
            path=leaf.path,
            kind=leaf.kind,
            lead=_lead(leaf) if rule is None or rule.names else "",
            model=model and leaf.kind == "string",
            entities=entities,
            least=0.0 if leaf.kind == "string" else _LIKELY,
            language=language,
        )

    def drops(self, path: Path, root: Path = ()) -> bool:
        """Whether the policy takes the whole field out."""
        rule = self.rule((*root, *path))
        return rule is not None and rule.action == "drop"


def _segments(where: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in where.split("/")[1:])


def _asked(rule: FieldPolicy | None) -> tuple[frozenset[str] | None, bool]:
    if rule is None:
        return None, True
    named = frozenset(rule.entities) if rule.entities else None
    if rule.names:
        return named, named is None or not named.isdisjoint(NAME_ENTITIES)
    return _both(named, frozenset(ENTITIES) - NAME_ENTITIES), False


def _both(one: frozenset[str] | None, other: frozenset[str]) -> frozenset[str]:
    return other if one is None else one & other


def _lead(leaf: JsonLeaf) -> str:
    """The last key of a path as words before a short value: ``phoneNumber`` reads ``phone Number: ``."""
    keys = [part for part in leaf.path if isinstance(part, str)]
    if leaf.kind == "key" or not keys or len(leaf.text) > _LEAD_VALUE or keys[-1] in _NO_LEAD:
        return ""
    return f"{_CAMEL.sub(' ', keys[-1]).strip()}: " if _LEAD_KEY.fullmatch(keys[-1]) else ""
