"""Invented names of people and places.

Own short lists and not Faker's: a surrogate must be the same next year, and Faker's output for a seed changes with its
version and with every name added to a locale. Given names are in use for every gender, so a surrogate does not tell more than
the value did. Family and place names are put together from two parts: few letters to read, many names, nobody's in particular.
"""

from __future__ import annotations

from importlib import resources

from redaction.operators.draws import Draws

__all__ = ["LANGUAGES", "family_name", "given_name", "invented_word", "place_name"]


def _lists() -> dict[tuple[str, str], list[str]]:
    text = resources.files("redaction.operators").joinpath("invented_names.txt").read_text("utf-8")
    lists = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            kind, _, words = line.partition(": ")
            language, _, part = kind.partition(" ")
            lists[language, part] = words.split()
    return lists


_LISTS = _lists()
LANGUAGES = tuple(language for language, part in _LISTS if part == "given")
"""Languages with names of their own; any other gets English ones."""

_ONSETS, _VOWELS = "bdfghjklmnprstvw", "aeiou"
_SYLLABLES = 4


def _listed(language: str, part: str) -> list[str]:
    return _LISTS.get((language, part)) or _LISTS["en", part]


def given_name(draws: Draws, language: str) -> str:
    return draws.of(_listed(language, "given"))


def family_name(draws: Draws, language: str) -> str:
    return draws.of(_listed(language, "family")) + draws.of(_listed(language, "ending"))


def place_name(draws: Draws, language: str) -> str:
    """Family names come from places; the same parts make one."""
    return family_name(draws, language)


def invented_word(draws: Draws) -> str:
    """Four syllables, one of 41 million: where a list would be too short to keep a data set's people apart."""
    return "".join(draws.of(_ONSETS) + draws.of(_VOWELS) for _ in range(_SYLLABLES)).capitalize()
