"""The spaCy model's own entities, taken as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.overlap import trim
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.rule import Hit

__all__ = ["ModelEntities"]

LABELS = {
    "PERSON": frozenset({"PERSON", "PER"}),
    "LOCATION": frozenset({"GPE", "LOC", "FAC"}),
    "ORGANIZATION": frozenset({"ORG"}),
    "NRP": frozenset({"NORP"}),
}
"""spaCy's labels of an entity (OntoNotes 5, and the shorter set of other languages' models)."""


class ModelEntities:
    """What the model calls a person, a place, an organisation or a group, unless it is nothing but technical words.

    For policies that look for places and organisations too: these do not mind which of the kinds a name is, so the model
    is believed where a policy of persons alone asks the lexicon.
    """

    version = "1"

    def __init__(self, entity: str, lexicon: Lexicon) -> None:
        self.id = f"{entity.lower()}/model"
        self.entity = entity
        self._lexicon = lexicon
        self._labels = LABELS[entity]

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for entity in doc.ents:
            if entity.label_ not in self._labels:
                continue
            position = entity.start_char
            for line in text[entity.start_char : entity.end_char].split("\n"):
                start, end = trim(text, position, position + len(line))
                if end > start and self._believed(text[start:end]):
                    yield Hit(self.entity, start, end, 0.85, self.id, self.version)
                position += len(line) + 1

    def _believed(self, value: str) -> bool:
        tokens = [token.strip(".,:;()'\"") for token in value.split()]
        return any(self._may_be_name(token) for token in tokens if token)

    def _may_be_name(self, token: str) -> bool:
        return any(c.isalpha() for c in token) and not self._lexicon.is_common(token)
