"""Places: countries, regions and cities of the lists, and names that stand where only a place does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.recognizers.capitals import UnknownCapitals
from redaction.recognizers.gazetteer import Gazetteer, sections, words_of
from redaction.recognizers.lexicon import PLACE_LISTS, Lexicon
from redaction.recognizers.model_entities import ModelEntities
from redaction.recognizers.rule import CASE, TIMEOUT_S, Hit, Rule, compiled, matches

__all__ = ["place_rules"]

_BEFORE = compiled(
    r"\b(?:in|from|near|at|around|to|via|outside|visit(?:ed|ing|s)?|leav(?:e|es|ing)|toward|towards|of|between|city|state|country"
    r"|province|region|town|location|origin|destination|birthplace|nationality|based|resident)\b\s*[:=]?\s*[\"']?$"
)
_STATES = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"
)
_PROVINCES = r"(?:AB|BC|MB|NB|NL|NS|NT|NU|ON|PE|QC|SK|YT)"
_CITY_STATE = compiled(
    r"(?<![\w@./-]) (?P<value> \p{Lu}[\p{L}\p{M}.'-]+ (?:[ ]\p{Lu}[\p{L}\p{M}.'-]+){0,2}"
    rf",[ ] (?:{_STATES}|{_PROVINCES}) ) (?![\w@-])",
    CASE,
)
_ABBREVIATED = compiled(r"(?<![\w.]) (?: U\.S\.A?\.? | U\.K\.? | U\.A\.E\. | USA | UK | UAE | USSR ) (?!\w)", CASE)


class ListedPlaces:
    """A listed place that is written with a capital; the ambiguous ones, and those in lower case, after a preposition."""

    id = "location/listed"
    version = "1"
    entity = "LOCATION"

    def __init__(self, lexicon: Lexicon) -> None:
        lists = [sections(name) for name in PLACE_LISTS]
        self._clear = Gazetteer(phrase for found in lists for phrase in found[""])
        self._ambiguous = Gazetteer(phrase for found in lists for phrase in found["ambiguous"])
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        words = words_of(text)
        for listed, sure in ((self._clear, True), (self._ambiguous, False)):
            for first, after in listed.find(text, words):
                start, end = words[first].start(), words[after - 1].end()
                value = text[start:end]
                if value.casefold() in self._lexicon.allowed:
                    continue
                capital = all(words[i][0][0].isupper() for i in (first, after - 1))
                if (sure and capital) or self._placed(text, start):
                    yield Hit(self.entity, start, end, 0.7 if sure else 0.5, self.id, self.version)

    @staticmethod
    def _placed(text: str, start: int) -> bool:
        return _BEFORE.search(text[max(0, start - 24) : start], timeout=TIMEOUT_S) is not None


class AbbreviatedPlaces:
    """`U.S.`, `UK`; a town with the two letters of its state or province."""

    id = "location/abbreviated"
    version = "1"
    entity = "LOCATION"

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for match in matches(_ABBREVIATED, text):
            yield Hit(self.entity, match.start(), match.end(), 0.6, self.id, self.version)
        if "," in text:
            for match in matches(_CITY_STATE, text):
                yield Hit(self.entity, match.start("value"), match.end("value"), 0.7, self.id, self.version)


def place_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    """Rules of places."""
    unknown = UnknownCapitals("LOCATION", lexicon)
    return (ModelEntities("LOCATION", lexicon), ListedPlaces(lexicon), AbbreviatedPlaces(), unknown)
