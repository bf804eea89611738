"""How well found spans of text match the true ones: recall by coverage, precision by overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["SpanScores", "TypedSpan", "score_spans"]


class TypedSpan(NamedTuple):
    """Characters ``text[start:end]`` and what they are."""

    type: str
    start: int
    end: int


@dataclass
class SpanScores:
    """Counts by type. A true span is covered when each of its letters and digits lies in some found span."""

    gold: Counter[str] = field(default_factory=Counter)
    """True spans, by their type."""
    covered: Counter[str] = field(default_factory=Counter)
    """Those that spans of any type cover."""
    covered_typed: Counter[str] = field(default_factory=Counter)
    """Those that spans of a type that fits cover."""
    found: Counter[str] = field(default_factory=Counter)
    """Found spans, by their type."""
    right: Counter[str] = field(default_factory=Counter)
    """Those that overlap a true span of any type."""
    right_typed: Counter[str] = field(default_factory=Counter)
    """Those that overlap a true span of a type that fits."""


def score_spans(
    rows: Iterable[tuple[str, Sequence[TypedSpan], Sequence[TypedSpan]]], fits: Mapping[str, frozenset[str]] | None = None
) -> SpanScores:
    """Score (text, true spans, found spans) of many texts.

    Args:
        fits: for each type of a true span, the types of found spans that are right for it; without it, only the same name.
    """
    scores = SpanScores()
    for text, gold, found in rows:
        for span in gold:
            right = (fits or {}).get(span.type, frozenset({span.type}))
            scores.gold[span.type] += 1
            scores.covered[span.type] += _covers(text, span, found)
            scores.covered_typed[span.type] += _covers(text, span, [f for f in found if f.type in right])
        for one in found:
            touched = [g.type for g in gold if g.start < one.end and one.start < g.end]
            scores.found[one.type] += 1
            scores.right[one.type] += bool(touched)
            scores.right_typed[one.type] += any(one.type in (fits or {}).get(t, frozenset({t})) for t in touched)
    return scores


def _covers(text: str, span: TypedSpan, found: Sequence[TypedSpan]) -> bool:
    near = [f for f in found if f.start < span.end and span.start < f.end]
    return all(any(f.start <= i < f.end for f in near) for i in range(span.start, span.end) if text[i].isalnum())
