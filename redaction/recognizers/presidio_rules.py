"""Which of Presidio's recognisers a policy asks for, and their findings as hits of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from redaction.presidio.recognizers import PresidioRecognizers
from redaction.recognizers.countries import COUNTRIES
from redaction.recognizers.rule import Hit

if TYPE_CHECKING:
    from redaction.policy import RedactionPolicy

__all__ = ["PresidioRules"]


class PresidioRules:
    """Presidio's recognisers of the countries that a policy names. Ids of their hits are ``presidio/<recogniser>``.

    For what belongs to no country there are rules of ours that find more, or that find it with fewer false alarms: the model's
    entities too go through `recognizers.model_entities`.

    Raises:
        BadInputError: the policy names a country that Presidio has no recognisers for.
    """

    id = "presidio"

    def __init__(self, policy: RedactionPolicy, nlp: Any) -> None:
        wanted = set(policy.entities)
        self._of_country = {
            name: entity for code in policy.countries for name, entity in COUNTRIES[code].items() if entity in wanted
        }
        self._presidio = PresidioRecognizers([*self._of_country], nlp)
        self._versions = {r.name: str(r.version) for r in self._presidio.recognizers}

    @property
    def entities(self) -> frozenset[str]:
        """Entities that one of the recognisers can find with this model."""
        return frozenset(self._of_country.values())

    def identity(self) -> list[list[str]]:
        return [[f"presidio/{name}", version] for name, version in self._versions.items()]

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        """Hits in a text; ``doc`` is the spaCy document of it."""
        if not self._versions:
            return
        for _, start, end, score, name in self._presidio.find(text, doc):
            yield Hit(self._of_country[name], start, end, score, f"presidio/{name}", self._versions[name])
