"""The residual scan: is anything left in text that was redacted?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from distill_gov.records.errors import IncomparableKeysError
from redaction.findings import Finding, Redacted
from redaction.redactor import Redactor
from redaction.surrogates import Form, canonical_form, form_of, issued_spans
from redaction.unicode import MASK, detection_text

__all__ = ["KnownValues", "ResidualHit", "residual", "residual_many"]

_MIN_CHARS, _MIN_CHARS_OF_A_WORD = 3, 6
"""Shorter values are not looked up, nor ordinary words of less than six letters: they come back without being the value."""
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


@dataclass(frozen=True, slots=True)
class KnownValues:
    """Keyed hashes of values that must not come back, by entity, and the id of the key that all of them were made under."""

    key_id: str
    hashes: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> KnownValues | None:
        """Those of findings; None where there are none.

        Raises:
            IncomparableKeysError: they were made under more than one key.
        """
        hashes: dict[str, set[str]] = {}
        keys = set()
        for finding in findings:
            keys.add(finding.key_id)
            hashes.setdefault(finding.entity, set()).add(finding.value_hash)
        if len(keys) > 1:
            raise IncomparableKeysError(
                f"findings of different keys ({', '.join(sorted(keys))}) do not compare", fix="Redact everything under one key."
            )
        return cls(keys.pop(), {entity: frozenset(found) for entity, found in hashes.items()}) if keys else None


def residual(redacted: Redacted, redactor: Redactor, known: KnownValues | None = None) -> list[ResidualHit]:
    """Scan clean text again, the issued stand-ins excepted: with a lower threshold, and for values that are known.

    Args:
        redacted: what `Redactor.redact` returned; its findings' own values count as known.
        redactor: the redactor whose key made the hashes.
        known: values that must not reappear.

    Returns:
        Hits in order; any hit means that the record must be dropped.

    Raises:
        IncomparableKeysError: hashes were made under another key, so whether a value came back cannot be told.
        RecognizerFailedError, BadInputError: the text could not be scanned, so it is not known to be clean.
    """
    [hits] = residual_many([redacted], redactor, known)
    return hits


def residual_many(
    redacted: Sequence[Redacted], redactor: Redactor, known: KnownValues | None = None
) -> list[list[ResidualHit]]:
    """As `residual`, of many texts; cheaper than one by one."""
    lookup = _Lookup(redactor)
    wanted = [_wanted(one, redactor, known) for one in redacted]
    found = redactor.detect_many(redacted, strict=True)
    return [
        sorted(
            [*(ResidualHit(e, start, end, rule) for e, start, end, _, rule in detected), *lookup.hits(one, hashes)],
            key=lambda h: (h.start, h.end, h.entity, h.rule),
        )
        for one, detected, hashes in zip(redacted, found, wanted, strict=True)
    ]


def _wanted(redacted: Redacted, redactor: Redactor, known: KnownValues | None) -> Mapping[str, frozenset[str]]:
    """Hashes to look for, by entity."""
    both = [k for k in (known, KnownValues.of(redacted.findings)) if k is not None]
    for one in both:
        if one.key_id != redactor.key_id:
            raise IncomparableKeysError(
                f"hashes made under key {one.key_id} do not compare with those of {redactor.key_id}",
                fix="Use the key that the text was redacted with.",
            )
    entities = dict.fromkeys(entity for one in both for entity in one.hashes)
    return {entity: frozenset().union(*(one.hashes.get(entity, ()) for one in both)) for entity in entities}


class _Lookup:
    """Hashes tokens and runs of tokens. Remembers within one scan: texts share most of their words."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._forms: dict[tuple[Form, str], str] = {}
        self._hashes: dict[tuple[str, str], str] = {}

    def hits(self, redacted: Redacted, wanted: Mapping[str, frozenset[str]]) -> Iterator[ResidualHit]:
        if not wanted:
            return
        seen = detection_text(redacted.text, issued_spans(redacted))
        longest = max(_LONGEST.get(entity, 1) for entity in wanted)
        for start, end, tokens in _runs(seen.text, longest):
            value = seen.text[start:end]
            bare = value.strip(_EDGES)
            for entity, hashes in wanted.items():
                if tokens > _LONGEST.get(entity, 1) or not self._worth_looking(entity, bare):
                    continue
                if not hashes.isdisjoint({self._hash(entity, value), self._hash(entity, bare)}):
                    span = seen.original(start, end)
                    yield ResidualHit(entity, span.start, span.end, "known_value")

    def _hash(self, entity: str, value: str) -> str:
        key = (entity, self._form(form_of(entity), value))
        if key not in self._hashes:
            self._hashes[key] = self._redactor.canonical_hash(*key)
        return self._hashes[key]

    def _form(self, form: Form, value: str) -> str:
        if (form, value) not in self._forms:
            self._forms[form, value] = canonical_form(form, value)
        return self._forms[form, value]

    def _worth_looking(self, entity: str, value: str) -> bool:
        digit = any(c.isdigit() for c in value)
        if (entity in _WITH_DIGIT and not digit) or (entity == "EMAIL" and "@" not in value):
            return False
        length = len(self._form(form_of(entity), value))
        return length >= _MIN_CHARS and (length >= _MIN_CHARS_OF_A_WORD or digit or not self._redactor.is_word(value))


def _runs(text: str, longest: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, number of tokens) of the runs of up to so many tokens without a stand-in between."""
    tokens = [(m.start(), m.end()) for m in _TOKEN.finditer(text)]
    for first, (start, _) in enumerate(tokens):
        for last in range(first, min(len(tokens), first + longest)):
            end = tokens[last][1]
            if MASK in text[tokens[last - 1][1] if last > first else start : end]:
                break
            yield start, end, last - first + 1
