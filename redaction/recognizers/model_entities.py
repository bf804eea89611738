"""The spaCy model's own entities, taken as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from redaction.overlap import trim
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.named_entities import named_entities
from redaction.recognizers.rule import Hit

__all__ = ["MODEL_SCORE", "ModelEntities"]

LABELS = {
    "PERSON": frozenset({"PERSON", "PER"}),
    "LOCATION": frozenset({"GPE", "LOC", "FAC"}),
    "ORGANIZATION": frozenset({"ORG"}),
    "NRP": frozenset({"NORP"}),
}
"""spaCy's labels of an entity (OntoNotes 5, and the shorter set of other languages' models)."""


MODEL_SCORE = 0.85
"""As Presidio's; rules that go by what stands around a name have a higher one, those that go by the name alone a lower."""
_BREAK = re.compile(r"\n| [\u2013\u2014|] ")
_ARTICLE = re.compile(r"(?:the|a|an) (?=\S)", re.IGNORECASE)
_CODE = frozenset("_={}<>\\\\|#@\u2022")
"""Marks of source code and tables, which no name holds."""


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
        for entity in named_entities(doc):
            if entity.label_ not in self._labels:
                continue
            for part in _parts(text, entity.start_char, entity.end_char):
                start, end = trim(text, *part)
                if end > start and self._believed(text, start, end):
                    yield Hit(self.entity, start, end, MODEL_SCORE, self.id, self.version)

    def _believed(self, text: str, start: int, end: int) -> bool:
        value = text[start:end]
        tokens = [token.strip(".,:;()[]'\"") for token in value.split()]
        tokens = [token for token in tokens if any(c.isalpha() for c in token)]
        if not tokens or any(c in _CODE for c in value) or all(self._lexicon.is_technical(t) for t in tokens):
            return False
        label = value.isupper() and text[end : end + 1] == ":"
        if len(tokens) == 1 and tokens[0].isascii() and (len(tokens[0]) < 3 or label):
            return False
        if not all(self._lexicon.is_ordinary(t) for t in tokens):
            return True
        if len(tokens) == 1 and value.isupper() and not text.isupper():
            return False
        return any(t[0].isupper() for t in tokens) and not self._is_heading(text, start, end, len(tokens))

    @staticmethod
    def _is_heading(text: str, start: int, end: int, words: int) -> bool:
        """Ordinary words with a colon behind them, alone on their line, or a single one that opens a sentence."""
        before, behind = text[:start].rstrip(" \t*#>-\"'([)]"), text[end:].lstrip(" \t*\"')]")
        opens = not before or before[-1] in ".!?:;\n\u2022|"
        return behind[:1] in (":", "=") or (opens and (words == 1 or not behind or behind[0] == "\n"))


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without an article, and cut where a line or a dash between two things divides it."""
    article = _ARTICLE.match(text, start, end)
    position = article.end() if article else start
    for gap in _BREAK.finditer(text, position, end):
        yield position, gap.start()
        position = gap.end()
    yield position, end
