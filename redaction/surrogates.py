"""Stand-ins told by their shape, the numbering of `<PERSON_1>` by first appearance, and the canonical form of a value."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Literal

from redaction.entities import ENTITIES
from redaction.findings import Redacted, Span

__all__ = [
    "TITLES",
    "Form",
    "Numbering",
    "canonical",
    "canonical_form",
    "form_of",
    "issued_in",
    "issued_spans",
    "placeholders",
    "stand_ins",
]

_LARGEST = 999_999
_PLACEHOLDER = re.compile(
    rf"<({'|'.join(ENTITIES)})(?:_([1-9][0-9]{{0,5}})|:[0-9a-f]{{16}}|:enc:[0-9a-f]{{12}}:[A-Za-z0-9_-]{{43,}})>"
)
"""`<PERSON_1>`, a keyed hash `<PERSON:3f2a9c0d1e2f3a4b>`, or an encrypted value `<PERSON:enc:KEYID:BASE64URL>`."""
TITLES = frozenset(
    (
        "dr",
        "prof",
        "mr",
        "mrs",
        "ms",
        "mx",
        "miss",
        "sir",
        "herr",
        "herrn",
        "frau",
        "sig",
        "signor",
        "signora",
        "sr",
        "sra",
        "señor",
        "señora",
        "mme",
        "madame",
        "monsieur",
        "pan",
        "pani",
        "dhr",
        "mevr",
    )
)
_VERBATIM = frozenset({"PASSWORD", "API_KEY", "CRYPTO", "SECRET_URL", "URL"})
_WORDS = frozenset(
    {
        "PERSON",
        "ADDRESS",
        "BIRTH_DATE",
        "EMAIL",
        "USERNAME",
        "DATE_TIME",
        "LOCATION",
        "ORGANIZATION",
        "NRP",
        "TITLE",
        "COORDINATES",
    }
)


def placeholders(text: str) -> list[Span]:
    """Spans of all stand-ins that are told by their shape, in order: placeholders, keyed hashes and encrypted values.

    Two of them never overlap: none holds an angle bracket inside. Surrogates and masked values look like any text; where they
    lie is known only to the `Redacted` that came with them.
    """
    return [Span(*match.span()) for match in _PLACEHOLDER.finditer(text)]


def issued_spans(redacted: Redacted) -> list[Span]:
    """The spans that detection skips: those that were issued, and every further stand-in told by its shape."""
    free = [s for s in placeholders(redacted.text) if not any(s.start < i.end and i.start < s.end for i in redacted.issued)]
    return sorted((*redacted.issued, *free), key=lambda s: s.start)


def stand_ins(redacted: Redacted) -> frozenset[str]:
    """What stands in the place of values, as text."""
    return frozenset(redacted.text[span.start : span.end] for span in redacted.issued)


def issued_in(text: str, known: Collection[str]) -> tuple[Span, ...]:
    """Spans of a text that somebody wrote after reading redacted text: every known stand-in that stands in it whole, and every
    one told by its shape. A model that repeats the surrogate of its prompt repeats no person's name.
    """
    shaped = placeholders(text)
    # Of two that begin at one place the longer is meant: a surrogate's given name may be one by itself.
    words = [re.escape(one) for one in sorted(known, key=lambda one: (-len(one), one)) if one]
    found = [Span(*m.span()) for m in re.finditer(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", text)] if words else []
    free = [s for s in found if not any(s.start < p.end and p.start < s.end for p in shaped)]
    return tuple(sorted((*shaped, *free), key=lambda s: s.start))


Form = Literal["verbatim", "words", "name", "compact"]
"""How much of a value counts: all of it, its words, its words without titles, or its letters and digits."""


def form_of(entity: str) -> Form:
    """The form under which values of an entity are compared."""
    if entity in _VERBATIM:
        return "verbatim"
    return "name" if entity == "PERSON" else "words" if entity in _WORDS else "compact"


def canonical(entity: str, value: str) -> str:
    """The form under which two spellings count as one value: case, spacing, separators and invisible characters go.

    Secrets are compared to the letter, apart from invisible characters.
    """
    return canonical_form(form_of(entity), value)


def canonical_form(form: Form, value: str) -> str:
    """As `canonical`, of the form itself: several entities have one."""
    folded = "".join(c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")
    if form == "verbatim":
        return folded
    if form == "compact":
        return "".join(c for c in folded.casefold() if c.isalnum() or c == "+") or folded
    words = re.findall(r"[\w@.+'-]+", folded.casefold())
    while form == "name" and len(words) > 1 and words[0].rstrip(".") in TITLES:
        del words[0]
    return " ".join(words) or folded


class Numbering:
    """Hands out placeholders for one conversation.

    Stateless between calls: it goes on after the highest number that the conversation's texts already hold, so a text
    redacted before keeps its placeholders.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._taken: dict[str, set[int]] = {entity: set() for entity in ENTITIES}
        self._given: dict[tuple[str, str], str] = {}
        for text in texts:
            for match in _PLACEHOLDER.finditer(text):
                if match[2]:
                    self._taken[match[1]].add(int(match[2]))

    def placeholder(self, entity: str, value: str) -> str:
        key = (entity, canonical(entity, value))
        if key not in self._given:
            number = self._next(self._taken[entity])
            self._taken[entity].add(number)
            self._given[key] = f"<{entity}_{number}>"
        return self._given[key]

    @staticmethod
    def _next(taken: set[int]) -> int:
        highest = max(taken, default=0)
        if highest < _LARGEST:
            return highest + 1
        # Somebody typed the largest number there is: fill the gaps, since a longer one would not be a placeholder.
        return next(number for number in range(1, _LARGEST + 1) if number not in taken)
