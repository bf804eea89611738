"""Words with a capital that no dictionary has: somebody's or something's name, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from redaction.casing import seen_by_model
from redaction.recognizers.gazetteer import words_of
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.rule import CASE, TIMEOUT_S, Hit, compiled

__all__ = ["UnknownCapitals"]

_CODE_BEFORE = frozenset("@/\\_=#$%&+~^`<{|-.'’0123456789")
_CODE_AFTER = frozenset("@/\\_=#$%&+~^`>}(0123456789")
_GAPS = frozenset((" ", "\u00a0", ". ", "."))
_PLACE_BEFORE = compiled(
    r"\b(?:in|near|at|to|from|around|outside|via|toward|towards|between|visit(?:ed|ing)?|leaving|city|town|village|region|county"
    r"|district|province)[ ](?:the[ ]|of[ ])?$"
)
_VERB_AFTER = compiled(
    r"(?:['’]s\b)?[ ](?:is|was|has|had|will|would|can|could|should|did|does|says?|said|asked|told|and|or|from|at|of|who|which"
    r"|whose|to)\b | ['’]s\b | [ ]?[,)\"”] | [ ]\p{Ll}+(?:ed|s)\b",
    CASE,
)


class UnknownCapitals:
    """A run of capitalised words of which one is in no dictionary, in English text.

    At the start of a sentence a single one needs a verb, a comma or a genitive behind it: it may be a misspelt word.
    """

    version = "1"

    def __init__(self, entity: str, lexicon: Lexicon) -> None:
        self.id = f"{entity.lower()}/unknown"
        self.entity = entity
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for start, end, placed in _runs(self._lexicon, seen_by_model(text, doc)):
            if (self.entity == "LOCATION") == placed:
                yield Hit(self.entity, start, end, 0.5, self.id, self.version)


@lru_cache(maxsize=2)
def _runs(lexicon: Lexicon, text: str) -> tuple[tuple[int, int, bool], ...]:
    """The names of a text, each with whether a place is meant: looked for once for all the kinds of name that they may be."""
    return tuple(_Runs(lexicon).find(text))


class _Runs:
    """Runs of capitals with an unknown word in one text."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, text: str) -> Iterator[tuple[int, int, bool]]:
        if not self._readable(text):
            return
        words = words_of(text)
        index = 0
        while index < len(words):
            after = self._run(text, words, index)
            if after > index:
                yield from self._hits(text, words, index, after)
            index = max(after, index + 1)

    def _readable(self, text: str) -> bool:
        """English, and neither shouted nor without any capital."""
        letters = [c for c in text if c.isalpha()]
        capitals = sum(c.isupper() for c in letters)
        return 0 < capitals < len(letters) / 2 and not self._lexicon.is_foreign(text)

    def _run(self, text: str, words: list[Any], first: int) -> int:
        """Index after the last word of the run of capitals that begins at an index; the index itself if none does."""
        after, index = first, first
        while index < len(words):
            word = words[index][0]
            if index > first and text[words[index - 1].end() : words[index].start()] not in _GAPS:
                break
            if index > first and "." in text[words[index - 1].end() : words[index].start()] and len(words[index - 1][0]) > 2:
                break
            if word[0].isupper():
                after = index + 1
            elif index == first or not self._lexicon.is_particle(word):
                break
            index += 1
        return after

    def _hits(self, text: str, words: list[Any], first: int, after: int) -> Iterator[tuple[int, int, bool]]:
        while first < after and self._lexicon.is_technical(words[first][0]):
            first += 1
        while after > first and self._lexicon.is_technical(words[after - 1][0]):
            after -= 1
        if first == after or self._is_code(text, words, first, after):
            return
        placed = self._place_before(text, words[first].start())
        shown = placed or self._is_alone(text, words[first].start(), words[after - 1].end())
        run = [words[i][0] for i in range(first, after)]
        if any(w.casefold() in self._lexicon.allowed for w in run) or not any(self._is_unknown(w, shown) for w in run):
            return
        start, end = words[first].start(), words[after - 1].end()
        alone = self._is_alone(text, start, end)
        if len(run) == 1 and self._opens(text, start) and not (alone or _VERB_AFTER.match(text, end, timeout=TIMEOUT_S)):
            return
        if run[-1][-2:] in ("'s", "’s"):
            end -= 2
        yield start, end, placed

    def _is_unknown(self, word: str, shown: bool) -> bool:
        bare = word[:-2] if word[-2:] in ("'s", "’s") else word
        if len(bare) < 3 or self._lexicon.is_technical(bare) or self._lexicon.is_word(bare):
            return False
        inner = [c for c in bare[1:] if c.isalpha()]
        if all(c.isupper() for c in inner):
            return shown and len(bare) > 4
        return not any(c.isupper() for c in inner) or "-" in bare or "'" in bare or "’" in bare or bare[:2] in ("Mc", "Ma")

    @staticmethod
    def _is_code(text: str, words: list[Any], first: int, after: int) -> bool:
        start, end = words[first].start(), words[after - 1].end()
        behind = text[end : end + 2]
        return (
            (start > 0 and text[start - 1] in _CODE_BEFORE)
            or behind[:1] in _CODE_AFTER
            or (behind[:1] in (":", ".") and behind[1:].isalnum())
        )

    @staticmethod
    def _opens(text: str, start: int) -> bool:
        before = text[:start].rstrip(" \t\"'*([>-")
        return not before or before[-1] in ".!?\n:\u2022"

    @staticmethod
    def _is_alone(text: str, start: int, end: int) -> bool:
        """The only thing in its line, in a text of several lines: an address, a signature, a list."""
        before, behind = text[:start].rstrip(" \t*>"), text[end:].lstrip(" \t,")
        return before[-1:] in ("", "\n") and behind[:1] in ("", "\n") and text.count("\n") > 1

    @staticmethod
    def _place_before(text: str, start: int) -> bool:
        return _PLACE_BEFORE.search(text[max(0, start - 16) : start], timeout=TIMEOUT_S) is not None
