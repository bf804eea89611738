"""Lists of names and words beside the rules, and how phrases of them are found in a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from redaction.recognizers.rule import CASE, compiled, matches

__all__ = ["Gazetteer", "fold", "listed_words", "sections", "words_of"]

_WORD = compiled(r"(?<!\w)\p{L}[\p{L}\p{M}]*+(?:['’.-]\p{L}[\p{L}\p{M}]*+)*+(?!\w)", CASE)


def words_of(text: str) -> list[Any]:
    """Words of a text as matches; hyphens, apostrophes and single points within a word belong to it."""
    return matches(_WORD, text)


@cache
def fold(text: str) -> str:
    """Lower case without accents, so that `Sao Paulo` and `SÃO PAULO` are one name."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))


@cache
def sections(name: str) -> Mapping[str, tuple[str, ...]]:
    """Lines of a list beside this file by the `[section]` they stand under; those before the first under an empty name."""
    text = resources.files("redaction.recognizers").joinpath(name).read_text("utf-8")
    found: dict[str, list[str]] = {"": []}
    current = ""
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
            found.setdefault(current, [])
        elif line and not line.startswith("#"):
            found[current].append(line)
    return {section: tuple(lines) for section, lines in found.items()}


def listed_words(name: str, section: str) -> frozenset[str]:
    """Words of a section of a list beside this file."""
    return frozenset(word for line in sections(name)[section] for word in line.split())


class Gazetteer:
    """A set of phrases, each of one or more words, compared without case and accents."""

    def __init__(self, phrases: Iterable[str]) -> None:
        by_first: dict[str, list[tuple[str, ...]]] = {}
        for phrase in phrases:
            words = tuple(m[0] for m in words_of(fold(phrase)))
            if words:
                by_first.setdefault(words[0], []).append(words)
        self._by_first = {first: sorted(set(them), key=len, reverse=True) for first, them in by_first.items()}

    def __contains__(self, word: str) -> bool:
        return (fold(word),) in self._by_first.get(fold(word), ())

    def find(self, text: str, words: list[Any]) -> Iterator[tuple[int, int]]:
        """Index of the first word and the one after the last, of the longest phrase at each place; none overlap."""
        index = 0
        while index < len(words):
            length = self._length_at(text, words, index)
            if length:
                yield index, index + length
            index += max(1, length)

    def _length_at(self, text: str, words: list[Any], index: int) -> int:
        for phrase in self._by_first.get(fold(_bare(words[index][0])), ()):
            end = index + len(phrase)
            if end > len(words):
                continue
            if any(fold(_bare(words[index + i][0])) != word for i, word in enumerate(phrase) if i):
                continue
            if all(text[words[i].end() : words[i + 1].start()] in (" ", "-", "\u00a0") for i in range(index, end - 1)):
                return len(phrase)
        return 0


def _bare(word: str) -> str:
    """Without the ending of the genitive."""
    return word[:-2] if word[-2:] in ("'s", "’s", "'S", "’S") else word
