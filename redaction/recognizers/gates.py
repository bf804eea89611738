"""Cheap conditions that a text meets wherever a pattern matches it, so that the pattern is not tried where it cannot match."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
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
        token: so many characters without white space in a row at least.
        like: a regular expression, cheaper than the pattern, that must be found; capitals do not matter.
    """

    digits: int = 0
    words: tuple[str, ...] = ()
    token: int = 0
    like: str = ""
    letters: bool = field(init=False, repr=False, compare=False)
    """Whether one of the words has a letter."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "letters", any(c.isalpha() for w in self.words for c in w))
        if any(not w or not w.isascii() or w != w.lower() for w in self.words):
            raise ValueError("`words` are ASCII and lower case")


class TextFacts:
    """What is asked about a text again and again, found once."""

    __slots__ = ("_ascii", "_lower", "digits", "longest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digits = len(_DIGIT.findall(text))
        self.longest = max(map(len, text.split()), default=0)
        self._ascii = text.isascii()
        self._lower = text.lower()

    def meet(self, needs: Needs) -> bool:
        """False only if nothing with these needs can match the text."""
        if self.digits < needs.digits or self.longest < needs.token:
            return False
        if not needs.like:
            return self._has_one_of(needs)
        return self._has_one_of(needs) and _cheap(needs.like).search(self.text) is not None

    def _has_one_of(self, needs: Needs) -> bool:
        # Elsewhere letters may have a case that is not ASCII: the Kelvin sign is a k. Words are then not asked for.
        if not needs.words or (not self._ascii and needs.letters):
            return True
        lower = self._lower
        for word in needs.words:  # noqa: SIM110 - any() with a generator takes three times as long
            if word in lower:
                return True
        return False


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
    _digits: list[tuple[int, list[int]]] = field(init=False)
    _tokens: list[tuple[int, list[int]]] = field(init=False)
    _others: list[tuple[Needs, list[int]]] = field(init=False)

    def __post_init__(self) -> None:
        digits: dict[int, list[int]] = {}
        tokens: dict[int, list[int]] = {}
        others: dict[Needs, list[int]] = {}
        for index, condition in enumerate(self.conditions):
            for needs in condition:
                if needs.digits:
                    digits.setdefault(needs.digits, []).append(index)
                if needs.token:
                    tokens.setdefault(needs.token, []).append(index)
                if needs.words or needs.like:
                    others.setdefault(replace(needs, digits=0, token=0), []).append(index)
        self._digits, self._tokens = sorted(digits.items(), reverse=True), sorted(tokens.items(), reverse=True)
        self._others = list(others.items())

    def open(self, facts: TextFacts) -> list[bool]:
        """For each condition, whether the text meets it."""
        found = [True] * len(self.conditions)
        for digits, users in self._digits:
            if facts.digits >= digits:
                break
            for index in users:
                found[index] = False
        for token, users in self._tokens:
            if facts.longest >= token:
                break
            for index in users:
                found[index] = False
        for needs, users in self._others:
            # Most texts have few digits, and the rest of what a rule needs is then not asked.
            for index in users:
                if found[index]:
                    if not facts.meet(needs):
                        for each in users:
                            found[each] = False
                    break
        return found
