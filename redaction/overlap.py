"""Which of several overlapping hits stands: the one rule for all entities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from redaction.entities import PRIORITY
from redaction.recognizers.rule import Hit

__all__ = ["resolve"]

_NAMES = frozenset({"PERSON", "LOCATION", "ORGANIZATION", "TITLE"})
"""Which of these a run of words is, is a guess: among them the longest decides."""
_WORDS = _NAMES | {"ADDRESS", "API_KEY", "NRP", "PASSWORD", "SECRET_URL", "URL"}
"""Entities of which no word may stay behind: a street without its postcode, the half of a key."""
_LINKS = frozenset(["a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"])
_RANK = {entity: PRIORITY.index("PERSON") if entity in _NAMES else rank for rank, entity in enumerate(PRIORITY)}


def resolve(hits: Iterable[Hit], text: str) -> list[Hit]:
    """Non-overlapping hits in order of their start.

    Priority of the entity decides, then the longer span, then the higher score, then the earlier start and the rule's id.
    What a beaten hit covers beyond the winner is kept as a hit of its own when it holds a digit, so that no part of
    a number stays behind; of a name, an address or a secret, when it holds a word that is no mere link.
    """
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (_RANK[h.entity], h.start - h.end, -h.score, h.start, h.rule)):
        clash = [k for k in kept if k.start < hit.end and hit.start < k.end]
        if not clash:
            kept.append(hit)
            continue
        kept.extend(replace(hit, start=a, end=b) for a, b in _rest(hit, clash, text))
    return sorted(kept, key=lambda h: h.start)


def _rest(hit: Hit, clash: list[Hit], text: str) -> list[tuple[int, int]]:
    pieces: list[tuple[int, int]] = []
    position = hit.start
    for other in sorted(clash, key=lambda h: h.start):
        pieces.append((position, other.start))
        position = other.end
    pieces.append((position, hit.end))
    trimmed = (trim(text, a, b) for a, b in pieces)
    return [(a, b) for a, b in trimmed if _matters(hit.entity, text[a:b])]


def _matters(entity: str, piece: str) -> bool:
    if any(c.isdigit() for c in piece):
        return True
    words = (word.strip(".,;:()'\"").casefold() for word in piece.split())
    return entity in _WORDS and any(len(word) > 1 and word not in _LINKS for word in words)


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without characters at its edges that are neither letter nor digit; empty when none is left."""
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return start, end
