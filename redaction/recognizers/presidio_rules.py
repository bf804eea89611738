"""Which of Presidio's recognisers a policy asks for, and their findings as hits of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from redaction.entities import PRESIDIO_NAMES
from redaction.presidio.recognizers import PresidioRecognizers
from redaction.recognizers.countries import COUNTRIES
from redaction.recognizers.rule import Hit

if TYPE_CHECKING:
    from redaction.policy import RedactionPolicy

__all__ = ["PresidioRules"]

_EVERYWHERE = {
    "LOCATION": "SpacyRecognizer",
    "ORGANIZATION": "SpacyRecognizer",
    "NRP": "SpacyRecognizer",
}
"""Entities that Presidio's own recogniser is taken for wherever the policy applies. For the others, of no country, there are
rules of ours that find more, or that find it without false alarms (PERSON)."""


class PresidioRules:
    """Presidio's recognisers that a policy asks for. Ids of their hits are ``presidio/<recogniser>``.

    Raises:
        BadInputError: the policy names a country that Presidio has no recognisers for.
    """

    id = "presidio"

    def __init__(self, policy: RedactionPolicy, nlp: Any) -> None:
        wanted = set(policy.entities)
        self._of_country = {
            name: entity for code in policy.countries for name, entity in COUNTRIES[code].items() if entity in wanted
        }
        names = [*dict.fromkeys(_EVERYWHERE[e] for e in policy.entities if e in _EVERYWHERE), *self._of_country]
        self._entities = wanted.intersection(_EVERYWHERE)
        self._presidio = PresidioRecognizers(names, nlp, keep={"ORGANIZATION"})
        self._versions = {r.name: str(r.version) for r in self._presidio.recognizers}

    @property
    def entities(self) -> frozenset[str]:
        """Entities that one of the recognisers can find with this model."""
        general = (PRESIDIO_NAMES.get(name, "") for name in self._presidio.entities)
        return frozenset(self._entities.intersection(general)).union(self._of_country.values())

    def identity(self) -> list[list[str]]:
        return [[f"presidio/{name}", version] for name, version in self._versions.items()]

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        """Hits in a text; ``doc`` is the spaCy document of it."""
        if not self._versions:
            return
        for entity, start, end, score, name in self._presidio.find(text, doc):
            ours = self._of_country.get(name) or PRESIDIO_NAMES.get(entity, "")
            if name in self._of_country or ours in self._entities:
                yield Hit(ours, start, end, score, f"presidio/{name}", self._versions[name])
