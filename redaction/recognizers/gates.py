"""Cheap conditions that a text meets wherever a pattern matches it, so that the pattern is not tried where it cannot match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

__all__ = ["Gates", "Needs", "TextFacts"]

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a text must have for a match; all that is given must hold.

    It must hold for *every* text that has a match: too little asked costs time, too much asked misses values.
    ``tests/redaction/test_gates.py`` looks for a match that a gate keeps out.

    Args:
        digits: so many digits at least, of any script (what ``\\d`` matches).
        marks: one of these characters at least. No letters: a letter has other cases.
        words: one of these at least, anywhere in the text, also inside a longer word; ASCII, lower case.
        like: a regular expression, cheaper than the pattern, that must be found; capitals do not matter.
    """

    digits: int = 0
    marks: str = ""
    words: tuple[str, ...] = ()
    like: str = ""

    def __post_init__(self) -> None:
        if any(c.isalpha() for c in self.marks):
            raise ValueError("`marks` holds no letters")
        if any(not w.isascii() or w != w.lower() or not w for w in self.words):
            raise ValueError("`words` are ASCII and lower case")


class TextFacts:
    """What is asked about a text again and again, found once."""

    __slots__ = ("_lower", "digits", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digits = len(_DIGIT.findall(text))
        # None where letters may have a case that is not ASCII (the Kelvin sign is a k): words are then not looked for.
        self._lower = text.lower() if text.isascii() else None

    def meet(self, needs: Needs) -> bool:
        """False only if a pattern with these needs cannot match the text."""
        if self.digits < needs.digits:
            return False
        if needs.marks and not any(mark in self.text for mark in needs.marks):
            return False
        if needs.words and self._lower is not None and not any(word in self._lower for word in needs.words):
            return False
        return not needs.like or _cheap(needs.like).search(self.text) is not None


@lru_cache(maxsize=1000)
def _cheap(source: str) -> re.Pattern[str]:
    return re.compile(source, re.IGNORECASE)


@dataclass(slots=True)
class Gates:
    """Which of many conditions a text meets, each different condition tried once."""

    conditions: Sequence[Needs | None]
    _always: list[int] = field(init=False)
    _groups: list[tuple[Needs, list[int]]] = field(init=False)

    def __post_init__(self) -> None:
        groups: dict[Needs, list[int]] = {}
        for index, needs in enumerate(self.conditions):
            if needs is not None and needs != Needs():
                groups.setdefault(needs, []).append(index)
        shut = {index for indices in groups.values() for index in indices}
        self._groups = list(groups.items())
        self._always = [index for index in range(len(self.conditions)) if index not in shut]

    def open(self, facts: TextFacts) -> list[int]:
        """Indices of the conditions that the text meets, in order."""
        found = self._always.copy()
        for needs, indices in self._groups:
            if facts.meet(needs):
                found += indices
        return sorted(found)
