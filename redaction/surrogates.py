"""Typed placeholders: `<PERSON_1>`, numbered in order of first appearance; and the canonical form of a value."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from redaction.entities import ENTITIES
from redaction.findings import Span

__all__ = ["Numbering", "canonical", "placeholders"]

_LARGEST = 999_999
_PLACEHOLDER = re.compile(rf"<({'|'.join(ENTITIES)})_([1-9][0-9]{{0,5}})>")
_TITLES = frozenset(
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
    """Spans of all placeholders in a text, in order. Two of them never overlap: none holds an angle bracket inside."""
    return [Span(*match.span()) for match in _PLACEHOLDER.finditer(text)]


def canonical(entity: str, value: str) -> str:
    """The form under which two spellings count as one value: case, spacing, separators and invisible characters go.

    Secrets are compared to the letter, apart from invisible characters.
    """
    folded = "".join(c for c in unicodedata.normalize("NFKC", value) if unicodedata.category(c) != "Cf")
    if entity in _VERBATIM:
        return folded
    if entity in _WORDS:
        words = re.findall(r"[\w@.+'-]+", folded.casefold())
        while entity == "PERSON" and len(words) > 1 and words[0].rstrip(".") in _TITLES:
            del words[0]
        return " ".join(words) or folded
    return "".join(c for c in folded.casefold() if c.isalnum() or c == "+") or folded


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
