"""Words near a value that make a doubtful hit a likely one, as the policy lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from redaction.recognizers.rule import Hit

__all__ = ["BOOST", "NEAR", "ContextWords"]

BOOST = 0.35
"""What a word of context adds to a score; Presidio's ``context_similarity_factor``."""
NEAR = 5
"""Words on either side of a value among which one is looked for; Presidio's ``context_prefix_count``."""

_WORD = re.compile(r"\w+")
_REACH = 200
"""Characters on either side in which those words stand."""


class ContextWords:
    """The words, or short phrases, of one entity; they count whole and in any case."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(f" {' '.join(_WORD.findall(word.casefold()))} " for word in words)

    def lifted(self, hit: Hit, text: str, threshold: float) -> Hit:
        """The hit with a higher score if it is under the threshold and one of the words is near."""
        if hit.score >= threshold or not self._words:
            return hit
        before = _WORD.findall(text[max(0, hit.start - _REACH) : hit.start].casefold())[-NEAR:]
        behind = _WORD.findall(text[hit.end : hit.end + _REACH].casefold())[:NEAR]
        sides = [f" {' '.join(side)} " for side in (before, behind)]
        near = any(word in side for word in self._words for side in sides)
        return replace(hit, score=min(1.0, hit.score + BOOST)) if near else hit
