"""What the language model named in a text, read once a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["KEPT", "NamedEntity", "named_entities"]

KEPT = "distill-gov named entities"
"""Where in a document's ``user_data`` its entities are kept."""
_INSIDE, _BEGIN = 1, 3
"""Codes of spaCy's ``ent_iob``."""


@dataclass(frozen=True, slots=True)
class NamedEntity:
    """A stretch of the text and the model's label for it. Characters ``text[start_char:end_char]``."""

    label_: str
    start_char: int
    end_char: int


def named_entities(doc: Any) -> tuple[NamedEntity, ...]:
    """The document's entities, in order: those of ``doc.ents``, which makes an object of every token each time it is asked."""
    kept = doc.user_data.get(KEPT)
    if kept is None:
        kept = doc.user_data[KEPT] = tuple(_read(doc))
    found: tuple[NamedEntity, ...] = kept
    return found


def _read(doc: Any) -> list[NamedEntity]:
    out: list[NamedEntity] = []
    if not len(doc):
        return out
    strings = doc.vocab.strings
    for iob, kind, start, length in doc.to_array(["ENT_IOB", "ENT_TYPE", "IDX", "LENGTH"]).tolist():
        if iob == _BEGIN and kind:
            out.append(NamedEntity(strings[kind], start, start + length))
        elif iob == _INSIDE and out:
            out[-1] = NamedEntity(out[-1].label_, out[-1].start_char, start + length)
    return out
