"""Text as the language model wants it: shouted text in lower case but for its names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redaction.recognizers.gazetteer import words_of
from redaction.recognizers.lexicon import Lexicon

__all__ = ["is_shouted", "recased", "seen_by_model"]

_KEPT = "distill-gov shown text"
_LETTERS = 12
"""Fewer letters than this are an abbreviation or a heading, and stay as they are."""


def is_shouted(text: str) -> bool:
    """True if nearly all letters that have a case are capitals."""
    if not any(c.isupper() for c in text):
        return False
    capitals = sum(c.isupper() for c in text)
    return capitals >= _LETTERS and capitals >= 4 * sum(c.islower() for c in text)


def recased(text: str, lexicon: Lexicon) -> str:
    """The text, character for character, with the capitals that an edited one would have.

    In shouted text the words of the dictionary become lower case, and all others names. Other text is returned as it is:
    capitals for the listed names of text that has none were tried, and the model found nothing more.
    """
    if not is_shouted(text):
        return text
    return _rewritten(text, lambda word: word.lower() if lexicon.is_ordinary(word) else _titled(word))


def seen_by_model(text: str, doc: Any) -> str:
    """The text of a document, in the capitals that the model was shown; for rules that go by capitals."""
    kept = doc.user_data.get(_KEPT)
    if kept is None:
        kept = doc.user_data[_KEPT] = doc.text
    shown: str = kept
    return shown if len(shown) == len(text) else text


def _rewritten(text: str, change: Callable[[str], str]) -> str:
    parts: list[str] = []
    position = 0
    for match in words_of(text):
        parts += (text[position : match.start()], _same_length(match[0], change(match[0])))
        position = match.end()
    return "".join([*parts, text[position:]])


def _titled(word: str) -> str:
    """`Hauta-Aho`: a capital at the start of each part."""
    return "".join(c.upper() if not i or word[i - 1] in "-'’." else c.lower() for i, c in enumerate(word))


def _same_length(word: str, changed: str) -> str:
    # A few letters become two in the other case; offsets must stay.
    return changed if len(changed) == len(word) else word
