"""Text that speaks to the model in place of the person: injected instructions and marks of a chat template."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from redaction.filters.hits import Tag
from redaction.filters.invisible import hidden_tags
from redaction.filters.ngrams import folded, visible

__all__ = ["VERSION", "injection", "turn_markers"]

VERSION = "2"

_TEMPLATE = r"<\|(?:im_start|im_end|system|endoftext|assistant|user)\|>|\[/?INST\]|<</?SYS>>"
_INJECTION = re.compile(
    r"""\b(?:
        (?:ignore|disregard|forget|override|bypass)\s+(?:\w+\s+){0,3}(?:previous|prior|above|earlier
          |preceding|system|your)\s+(?:\w+\s+){0,2}
            (?:instructions?|prompts?|rules?|directions?|guidelines?|messages?)
      | (?:reveal|print|show|repeat|output|leak|tell\s+me)\s+(?:me\s+)?(?:your
        |the)\s+(?:\w+\s+){0,2}(?:system\s+prompt|hidden\s+prompt|initial\s+(?:prompt|instructions)
        |instructions\s+above)
      | you\s+are\s+now\s+(?:dan|in\s+developer\s+mode|an?\s+(?:unrestricted|unfiltered|jailbroken))
      | (?:enable|enter|activate)\s+(?:developer|dan|jailbreak|god)\s+mode
      | pretend\s+(?:that\s+)?you\s+(?:have\s+no|are\s+not\s+bound\s+by)\s+(?:\w+\s+)?(?:rules
        |restrictions|limits|guidelines|filters)
      | do\s+anything\s+now
      | new\s+(?:system\s+)?instructions?\s*:
    )"""
    rf"|{_TEMPLATE}|^\s*\#{{2,}}\s*(?:system|instruction)s?\b",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_MARKS = re.compile(_TEMPLATE, re.IGNORECASE)
_TURN = re.compile(r"^\s*(?:\#{2,}\s*)?(?:user|human|customer|assistant|system)\s*:\s*\S", re.IGNORECASE | re.MULTILINE)


def injection(phrases: Collection[str] = ()) -> Callable[[str], Iterator[Tag]]:
    """What finds injected instructions; ``phrases`` beyond the built-in ones count in any case and punctuation."""
    wanted = tuple(plain for plain in map(folded, phrases) if plain)

    def tags(text: str) -> Iterator[Tag]:
        if count := hidden_tags(text):
            yield Tag("invisible_tags", count)
        if _INJECTION.search(visible(text)) or (wanted and any(phrase in folded(text) for phrase in wanted)):
            yield Tag("injection_phrase")

    return tags


def turn_markers(text: str) -> Iterator[Tag]:
    """An answer that plays another turn of the chat, or repeats the template's marks."""
    if _MARKS.search(text):
        yield Tag("template_mark")
    if _TURN.search(text):
        yield Tag("other_turn")
