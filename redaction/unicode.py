"""Normalised text for detection, with a map back to the characters that were really written."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from redaction.findings import Span

__all__ = ["MASK", "DetectionText", "detection_text"]

MASK = "\ufffc"
"""Stands for one masked span. No rule matches it, and it never comes from the text: see `_fold`."""

_SAME = {"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "−": "-"}


@dataclass(frozen=True, slots=True)
class DetectionText:
    """What detectors see. Character ``i`` of ``text`` came from ``original[starts[i]:ends[i]]``."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def original(self, start: int, end: int) -> Span:
        """The span of the original text that a non-empty span of the normalised text came from."""
        return Span(self.starts[start], self.ends[end - 1])


def _fold(cluster: str) -> str:
    """NFKC of one base character with its combining marks; invisible format characters vanish."""
    if cluster in _SAME:
        return _SAME[cluster]
    if cluster == MASK or unicodedata.category(cluster[0]) == "Cf":
        # Zero-width, BiDi, soft hyphen and tag characters serve to split a value so that no pattern matches it.
        return cluster[1:]
    return unicodedata.normalize("NFKC", cluster)


def detection_text(text: str, masked: Sequence[Span], lead: str = "") -> DetectionText:
    """Normalise for detection, with each masked span as one `MASK`.

    Each stretch between masked spans is normalised on its own: so a text with its values masked, and the same text with
    placeholders in their stead, look alike to every detector. Idempotence rests on this.

    Args:
        text: the text as written.
        masked: spans in order, not overlapping.
        lead: plain words that the detectors read first; nothing in it is a value, and it maps to nowhere.
    """
    out: list[str] = [lead]
    starts: list[int] = [0] * len(lead)
    ends: list[int] = [0] * len(lead)
    position = 0
    for span in (*masked, Span(len(text), len(text))):
        piece = text[position : span.start]
        if piece.isascii():
            out.append(piece)
            starts.extend(range(position, span.start))
            ends.extend(range(position + 1, span.start + 1))
        else:
            _append_folded(piece, position, out, starts, ends)
        if span.end > span.start:
            out.append(MASK)
            starts.append(span.start)
            ends.append(span.end)
        position = span.end
    return DetectionText("".join(out), starts, ends)


def _append_folded(piece: str, offset: int, out: list[str], starts: list[int], ends: list[int]) -> None:
    index = 0
    while index < len(piece):
        stop = index + 1
        while stop < len(piece) and unicodedata.combining(piece[stop]):
            stop += 1
        folded = _fold(piece[index:stop])
        out.append(folded)
        starts.extend([offset + index] * len(folded))
        ends.extend([offset + stop] * len(folded))
        index = stop
