"""Texts that are searched together, and what is known of them so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill_gov.records.errors import DistillGovError
from redaction.analyzer import Detection
from redaction.fields import Part
from redaction.findings import Redacted, Span
from redaction.limits import refusal
from redaction.surrogates import issued_spans
from redaction.unicode import DetectionText, detection_text

__all__ = ["Search", "part_of", "replaced"]


def part_of(text: str | Redacted, field: str = "") -> Part:
    """A text by itself, with what is known of it where it was redacted before."""
    if isinstance(text, Redacted):
        return Part(text.text, field, issued=text.issued, findings=text.findings)
    return Part(text, field)


def replaced(text: str, places: Sequence[tuple[int, int, str]]) -> tuple[str, tuple[Span, ...]]:
    """The text with other text at some places, and where that lies in it."""
    parts: list[str] = []
    issued: list[Span] = []
    position = length = 0
    for start, end, stand_in in places:
        parts += (text[position:start], stand_in)
        length += start - position
        issued.append(Span(length, length + len(stand_in)))
        length, position = length + len(stand_in), end
    return "".join([*parts, text[position:]]), tuple(issued)


@dataclass(slots=True, repr=False)
class Search:
    """Texts that share one numbering, and what was found in them so far."""

    parts: Sequence[Part]
    issued: list[list[Span]]
    """Stand-ins that each text came with."""
    found: list[list[Detection]]
    pending: list[int]
    """Texts in which there may be more."""
    error: DistillGovError | None = None

    @classmethod
    def of(cls, parts: Sequence[Part], max_chars: int) -> Search:
        refused = next((error for part in parts if (error := refusal(part.text, max_chars)) is not None), None)
        if refused is not None:
            return cls(parts, [], [], [], refused)
        issued = [issued_spans(Redacted(part.text, (), part.issued)) for part in parts]
        return cls(parts, issued, [[] for _ in parts], [*range(len(parts))])

    @property
    def unseen(self) -> list[str]:
        """The texts with a space for each stand-in that they came with."""
        return [
            replaced(part.text, [(s.start, s.end, " ") for s in spans])[0]
            for part, spans in zip(self.parts, self.issued, strict=True)
        ]

    def seen(self, i: int) -> DetectionText:
        """A text with all that is known of it masked."""
        spans = [*self.issued[i], *(Span(d.start, d.end) for d in self.found[i])]
        return detection_text(self.parts[i].text, sorted(spans, key=lambda s: s.start), self.parts[i].lead)

    def fail(self, error: DistillGovError) -> None:
        self.error, self.pending = error, []
