"""Cheap conditions that a text meets wherever a pattern matches it, so that the pattern is not tried where it cannot match."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import regex  # type: ignore[import-untyped]

__all__ = ["Gates", "Needs", "TextFacts"]

_DIGIT = regex.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a text must have for a match; all that is given must hold.

    It must hold for *every* text that has a match: too little asked costs time, too much asked misses values.
    ``tests/redaction/test_gates.py`` looks for a match that a gate keeps out.

    Args:
        digits: so many digits at least, of any script (what ``\\d`` matches).
        words: one of these at least, anywhere in the text, also inside a longer word; ASCII, lower case. Marks count as words:
            ``("@",)``.
        like: a regular expression, cheaper than the pattern, that must be found; capitals do not matter.
    """

    digits: int = 0
    words: tuple[str, ...] = ()
    like: str = ""

    def __post_init__(self) -> None:
        if any(not w or not w.isascii() or w != w.lower() for w in self.words):
            raise ValueError("`words` are ASCII and lower case")

    @property
    def letters(self) -> bool:
        """Whether one of the words has a letter."""
        return any(c.isalpha() for w in self.words for c in w)


class TextFacts:
    """What is asked about a text again and again, found once."""

    __slots__ = ("_ascii", "_lower", "digits", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digits = len(_DIGIT.findall(text))
        self._ascii = text.isascii()
        self._lower = text.lower()

    def meet(self, needs: Needs) -> bool:
        """False only if nothing with these needs can match the text."""
        if self.digits < needs.digits:
            return False
        # Elsewhere letters may have a case that is not ASCII: the Kelvin sign is a k. Words are then not asked for.
        asked = needs.words and (self._ascii or not needs.letters)
        if asked and not any(word in self._lower for word in needs.words):
            return False
        return not needs.like or _cheap(needs.like).search(self.text) is not None


@lru_cache(maxsize=1000)
def _cheap(source: str) -> Any:
    return regex.compile(source, regex.IGNORECASE)


@dataclass(slots=True)
class Gates:
    """Which of many conditions a text meets; each different part of them is tried once.

    Args:
        conditions: what must hold for each; all of its parts must.
    """

    conditions: Sequence[Collection[Needs]]
    _parts: list[Needs] = field(init=False)
    _users: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        users: dict[Needs, list[int]] = {}
        for index, condition in enumerate(self.conditions):
            for needs in condition:
                users.setdefault(needs, []).append(index)
        self._parts, self._users = list(users), list(users.values())

    def open(self, facts: TextFacts) -> list[bool]:
        """For each condition, whether the text meets it."""
        found = [True] * len(self.conditions)
        for needs, users in zip(self._parts, self._users, strict=True):
            if not facts.meet(needs):
                for index in users:
                    found[index] = False
        return found
