"""Characters that a reader does not see and a model does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from redaction.filters.hits import Tag

__all__ = ["hidden_tags", "invisible"]

_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")
"""Flags of England, Scotland and others are spelled with tag characters (UTS 51, emoji tag sequences)."""
_TAG = re.compile("[\U000e0000-\U000e007f]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Embeddings, overrides and isolates, which can show text in another order than it is read ("Trojan Source", Boucher and
Anderson 2023). The marks LRM, RLM and ALM are ordinary in right-to-left text."""
_ZERO_WIDTH = re.compile("[\u200b\u200c\u200d\u2060-\u2064\ufeff\u00ad\u034f\u180e\u115f\u1160\u3164\uffa0]")
_JOINERS = "\u200c\u200d"
# Scripts that are spelled with joiners: Arabic and its kin, the scripts of India and Ceylon, Myanmar, Khmer, Mongolian.
_JOINED_SCRIPT = re.compile(
    "[\u0600-\u07bf\u08a0-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18af\ufb50-\ufdff\ufe70-\ufefc]"
)
_VARIATION = "\ufe0f\ufe0e"


def hidden_tags(text: str) -> int:
    """Tag characters outside a flag: they spell text that nobody sees."""
    return 0 if text.isascii() else len(_TAG.findall(_FLAG.sub("", text)))


def invisible(text: str) -> Iterator[Tag]:
    """``tag_characters``, ``bidi_controls`` and ``zero_width``, with counts; joiners within words and emoji are ordinary."""
    if text.isascii():
        return
    bare = _FLAG.sub("", text)
    counts = Counter(
        {
            "tag_characters": len(_TAG.findall(bare)),
            "bidi_controls": len(_BIDI.findall(bare)),
            "zero_width": sum(not _ordinary_joiner(bare, m.start()) for m in _ZERO_WIDTH.finditer(bare)),
        }
    )
    yield from (Tag(code, count) for code, count in counts.items() if count)


def _ordinary_joiner(text: str, place: int) -> bool:
    if text[place] == "\ufeff":
        return place == 0  # a byte order mark
    if text[place] not in _JOINERS or place == 0:
        return False
    before, after = text[place - 1], text[place + 1 : place + 2]
    if _JOINED_SCRIPT.match(before):
        return True
    return text[place] == "\u200d" and (_emoji(before) or before in _VARIATION) and bool(after) and _emoji(after)


def _emoji(char: str) -> bool:
    code = ord(char)
    return 0x1F000 <= code <= 0x1FAFF or 0x2190 <= code <= 0x2BFF
