"""Repetition: loops of a degenerate generation, and the shares of repeated text by which Gopher's corpus was filtered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from redaction.filters.hits import Tag

__all__ = ["gopher_repetition", "loops"]

_WORD = re.compile(r"\w+")
_CHARACTER_RUN = re.compile(r"(\S)\1{14,}")

# Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", table A1.
_LINES, _PARAGRAPHS = 0.30, 0.30
_LINE_CHARACTERS, _PARAGRAPH_CHARACTERS = 0.20, 0.20
_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

_SHORT_WORDS = 20
"""The paper's pages have at least 50 words. In an answer under 20 any phrase is a large share: `loops` looks at those."""
_SHORT_LINES = 4
"""Of two or three lines one repeated is a third or half already."""
_SHORT_TIMES = 3
"""A phrase said twice makes a tenth of a short answer and is ordinary."""


def loops(text: str) -> Iterator[Tag]:
    """Loops of a degenerate generation, fit for short answers: the first kind that is found.

    A run of the same word four times, a two- to four-word phrase three times in a row, or one phrase of three words that
    makes up half of a text of at least twelve words.
    """
    words = [w.casefold() for w in _WORD.findall(text)]
    if _CHARACTER_RUN.search(text):
        yield Tag("character_run")
    elif any(_in_a_row(words, size, times) for size, times in ((1, 4), (2, 3), (3, 3), (4, 3))):
        yield Tag("loop")
    elif len(words) >= 12:
        grams = Counter(zip(words, words[1:], words[2:], strict=False))
        _, count = grams.most_common(1)[0]
        if count > 2 and count * 3 >= len(words) / 2:
            yield Tag("repeated_phrase", count)


def _in_a_row(words: Sequence[str], size: int, times: int) -> bool:
    """Whether a phrase of ``size`` words stands ``times`` times in a row: then so many words equal the one ``size`` before."""
    wanted, run = size * (times - 1), 0
    for place in range(size, len(words)):
        run = run + 1 if words[place] == words[place - size] else 0
        if run >= wanted:
            return True
    return False


def gopher_repetition(text: str, profile: Literal["short", "web"] = "short") -> Iterator[Tag]:
    """Shares of repeated text over Gopher's thresholds, each as a tag with its share.

    Duplicates are what stood before already. Characters of words count, so that spacing does not move a share; those of
    repeated n-grams that overlap count once. ``short`` asks for 20 words, for 4 lines or paragraphs, and for a top n-gram
    said 3 times.
    """
    short = profile == "short"
    if "\n" in text:
        lines, paragraphs = text.splitlines(), re.split(r"\n\s*\n", text)
        least = _SHORT_LINES if short else 1
        yield from _duplicates("line", lines, _LINES, _LINE_CHARACTERS, least)
        yield from _duplicates("paragraph", paragraphs, _PARAGRAPHS, _PARAGRAPH_CHARACTERS, least)
    words = [w.casefold() for w in _WORD.findall(text)]
    total = sum(map(len, words))
    if not total or (short and len(words) < _SHORT_WORDS):
        return
    for n, limit in _TOP.items():
        grams = Counter(_grams(words, n))
        # Of phrases said equally often the longest, then the first in the alphabet: one answer whatever the order.
        gram, count = max(grams.items(), key=lambda g: (g[1], sum(map(len, g[0])), g[0]), default=((), 0))
        found = count * sum(map(len, gram)) / total
        if found > limit and count >= (_SHORT_TIMES if short else 2):
            yield Tag(f"top_{n}gram", round(found, 4))
    for n, limit in _DUPLICATE.items():
        if (found := _repeated(words, n) / total) > limit:
            yield Tag(f"duplicate_{n}gram", round(found, 4))


def _grams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(n)), strict=False)


def _duplicates(name: str, parts: Sequence[str], share: float, characters: float, least: int) -> Iterator[Tag]:
    stripped = [bare for part in parts if (bare := part.strip())]
    if len(stripped) < least:
        return
    seen: set[str] = set()
    again = []
    for part in stripped:
        if part in seen:
            again.append(part)
        seen.add(part)
    if not again:
        return
    if (found := len(again) / len(stripped)) > share:
        yield Tag(f"duplicate_{name}s", round(found, 4))
    if (found := sum(map(len, again)) / sum(map(len, stripped))) > characters:
        yield Tag(f"duplicate_{name}_characters", round(found, 4))


def _repeated(words: Sequence[str], n: int) -> int:
    """Characters of words that lie in an n-gram which stood before."""
    seen: set[tuple[str, ...]] = set()
    total = covered = 0
    for place, gram in enumerate(_grams(words, n)):
        if gram in seen:
            start = max(covered, place)
            total += sum(map(len, words[start : place + n]))
            covered = place + n
        seen.add(gram)
    return total
