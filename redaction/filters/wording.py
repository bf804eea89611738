"""Length, and phrases that a text must and must not hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from redaction.filters.hits import Tag
from redaction.filters.policy import LengthRule, VoiceRule

__all__ = ["forbidden", "length", "voice"]

_WORD = re.compile(r"\w+")


def length(rule: LengthRule) -> Callable[[str], Iterator[Tag]]:
    """What finds a text outside the limits (``too_short``, ``too_many_words`` and so on), with its length."""

    def tags(text: str) -> Iterator[Tag]:
        chars = len(text)
        if chars < rule.min_chars:
            yield Tag("too_short", chars)
        if rule.max_chars and chars > rule.max_chars:
            yield Tag("too_long", chars)
        if rule.min_words or rule.max_words:
            words = len(_WORD.findall(text))
            if words < rule.min_words:
                yield Tag("too_few_words", words)
            if rule.max_words and words > rule.max_words:
                yield Tag("too_many_words", words)

    return tags


def _any_of(phrases: Collection[str]) -> re.Pattern[str]:
    """Whole words, in any case, whatever space lies between them."""
    each = sorted((r"\s+".join(map(re.escape, p.split())) for p in phrases), key=lambda p: (-len(p), p))
    return re.compile(rf"(?<!\w)(?:{'|'.join(each)})(?!\w)", re.IGNORECASE)


def forbidden(phrases: Collection[str]) -> Callable[[str], Iterator[Tag]]:
    """What finds a forbidden phrase, with the count of them."""
    pattern = _any_of(phrases)

    def tags(text: str) -> Iterator[Tag]:
        if count := sum(1 for _ in pattern.finditer(text)):
            yield Tag("forbidden_phrase", count)

    return tags


def voice(rule: VoiceRule) -> Callable[[str], Iterator[Tag]]:
    """What finds a reply off the brand's voice: ``forbidden_phrase``, ``required_phrase_missing``."""
    bans = forbidden(rule.forbidden) if rule.forbidden else None
    wanted = [_any_of([phrase]) for phrase in rule.required] + ([_any_of(rule.required_any)] if rule.required_any else [])

    def tags(text: str) -> Iterator[Tag]:
        if bans is not None:
            yield from bans(text)
        if missing := sum(pattern.search(text) is None for pattern in wanted):
            yield Tag("required_phrase_missing", missing)

    return tags
