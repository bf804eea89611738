"""The residual scan: is anything left in text that was redacted?"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from redaction.entities import ENTITIES
from redaction.findings import Redacted
from redaction.redactor import Redactor
from redaction.surrogates import canonical, placeholders
from redaction.unicode import MASK, detection_text

__all__ = ["ResidualHit", "residual", "residual_many"]

_MIN_CHARS = 6
"""Shorter values without a digit are not looked up: they would be ordinary words more often than names."""
_LONGEST = {"ADDRESS": 10, "BIRTH_DATE": 3, "PERSON": 4, "PHONE": 8, "CARD": 5, "IBAN": 9, "NATIONAL_ID": 7}
"""Tokens that a value of an entity may have; one where nothing stands."""
_WITH_DIGIT = frozenset(
    {
        "ADDRESS",
        "API_KEY",
        "BIRTH_DATE",
        "CARD",
        "CRYPTO",
        "IBAN",
        "IP_ADDRESS",
        "MAC_ADDRESS",
        "NATIONAL_ID",
        "ORDER_NUMBER",
        "PASSPORT",
        "PHONE",
    }
)
_TOKEN = re.compile(rf"[^\s{MASK}]+")
_EDGES = ".,;:!?()[]{}\"'<>"


@dataclass(frozen=True, slots=True)
class ResidualHit:
    """Something personal in the output: span of characters in the clean text, never the value."""

    entity: str
    start: int
    end: int
    rule: str
    """The rule that found it, or ``known_value`` when a known value's keyed hash came back."""


def residual(redacted: Redacted, redactor: Redactor, known: Collection[str] = frozenset()) -> list[ResidualHit]:
    """Scan clean text again, the issued placeholders excepted.

    Args:
        redacted: what `Redactor.redact` returned; its findings' own values count as known.
        redactor: the redactor whose key made the hashes.
        known: keyed hashes of values that must not reappear.

    Returns:
        Hits in order; any hit means that the record must be dropped.

    Raises:
        RecognizerFailedError, BadInputError: the text could not be scanned, so it is not known to be clean.
    """
    [hits] = residual_many([redacted], redactor, known)
    return hits


def residual_many(
    redacted: Sequence[Redacted], redactor: Redactor, known: Collection[str] = frozenset()
) -> list[list[ResidualHit]]:
    """As `residual`, of many texts; cheaper than one by one."""
    found = redactor.detect_many([one.text for one in redacted])
    return [_hits(one, detected, redactor, known) for one, detected in zip(redacted, found, strict=True)]


def _hits(
    redacted: Redacted, detected: Sequence[tuple[str, int, int, float, str]], redactor: Redactor, known: Collection[str]
) -> list[ResidualHit]:
    issued = {(span.start, span.end) for span in redacted.issued}
    hits = [ResidualHit(e, start, end, rule) for e, start, end, _, rule in detected if (start, end) not in issued]
    own = {f.value_hash: f.entity for f in redacted.findings if f.key_id == redactor.key_id}
    if known or own:
        # A hash covers the entity, but does not tell it: only of the text's own values is it known.
        entities = [e for e in ENTITIES if known or e in own.values()]
        hits += _known_values(redacted.text, redactor, frozenset(known).union(own), entities)
    return sorted(hits, key=lambda h: (h.start, h.end, h.entity, h.rule))


def _known_values(text: str, redactor: Redactor, known: frozenset[str], entities: Sequence[str]) -> Iterator[ResidualHit]:
    seen = detection_text(text, placeholders(text))
    tokens = [(m.start(), m.end()) for m in _TOKEN.finditer(seen.text)]
    for entity in entities:
        for first in range(len(tokens)):
            for last in range(first, min(len(tokens), first + _LONGEST.get(entity, 1))):
                start, end = tokens[first][0], tokens[last][1]
                value = seen.text[start:end]
                if MASK in value:
                    break
                bare = value.strip(_EDGES)
                if _worth_looking(entity, bare) and not known.isdisjoint(
                    {redactor.value_hash(entity, v) for v in {value, bare}}
                ):
                    span = seen.original(start, end)
                    yield ResidualHit(entity, span.start, span.end, "known_value")


def _worth_looking(entity: str, value: str) -> bool:
    digit = any(c.isdigit() for c in value)
    if entity in _WITH_DIGIT and not digit:
        return False
    if entity == "EMAIL" and "@" not in value:
        return False
    return digit or len(canonical(entity, value)) >= _MIN_CHARS
