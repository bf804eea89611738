"""Nationalities, religions and political groups."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

from redaction.recognizers.gazetteer import fold, words_of
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.model_entities import ModelEntities
from redaction.recognizers.rule import Hit, Rule

__all__ = ["group_rules"]

_CAPITALS = "# capitals:"


class ListedGroups:
    """A listed people, faith or party, in singular or plural; words that mean something else too need a capital."""

    id = "nrp/listed"
    version = "1"
    entity = "NRP"

    def __init__(self) -> None:
        text = resources.files("redaction.recognizers").joinpath("demonyms.txt").read_text("utf-8")
        lines = text.splitlines()
        self._capital = frozenset(w for line in lines if line.startswith(_CAPITALS) for w in line[len(_CAPITALS) :].split())
        self._listed = frozenset(w for line in lines if not line.startswith("#") for w in line.split())

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for match in words_of(text):
            word = match[0]
            for base in _singulars(fold(word)):
                if base in self._listed and (word[0].isupper() or base not in self._capital):
                    end = match.end() - (2 if word[-2:] in ("'s", "’s") else 0)
                    yield Hit(self.entity, match.start(), end, 0.6, self.id, self.version)
                    break


def _singulars(word: str) -> tuple[str, ...]:
    """The word, and what it is a plural or a genitive of."""
    bare = word[:-2] if word[-2:] in ("'s", "’s") else word
    if bare.endswith("es"):
        return (bare, bare[:-1], bare[:-2])
    return (bare, bare[:-1]) if bare.endswith("s") else (bare,)


def group_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    return (ModelEntities("NRP", lexicon), ListedGroups())
