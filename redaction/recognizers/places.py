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


_COUNTRY_WORDS = frozenset({"china", "chile", "panama", "japan", "niger", "holland", "antigua"})
"""Countries that are also an ordinary word or a surname in lower case."""


class ListedPlaces:
    """A listed place that is written with a capital; the ambiguous ones, and those in lower case, after a preposition.

    A country needs none in text without any capital.
    """

    id = "location/listed"
    version = "1"
    entity = "LOCATION"

    def __init__(self, lexicon: Lexicon) -> None:
        lists = [sections(name) for name in PLACE_LISTS]
        self._clear = Gazetteer(phrase for found in lists for phrase in found[""])
        self._ambiguous = Gazetteer(phrase for found in lists for phrase in found["ambiguous"])
        self._countries = frozenset(sections("countries.txt")[""]) - _COUNTRY_WORDS
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        words = words_of(text)
        lower = text.islower()
        for listed, sure in ((self._clear, True), (self._ambiguous, False)):
            for first, after in listed.find(text, words):
                start, end = words[first].start(), words[after - 1].end()
                value = text[start:end]
                if value.casefold() in self._lexicon.allowed:
                    continue
                capital = all(words[i][0][0].isupper() for i in (first, after - 1))
                country = lower and words[first][0] in self._countries
                placed = self._placed(text, start)
                if (sure and (capital or country)) or placed:
                    score = (0.9 if placed else 0.7) if sure else 0.5
                    yield Hit(self.entity, start, end, score, self.id, self.version)

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
                yield Hit(self.entity, match.start("value"), match.end("value"), 0.9, self.id, self.version)


class UncapitalizedPlaces:
    """In text without any capital: what no dictionary has, after a preposition of place."""

    id = "location/uncapitalized"
    version = "1"
    entity = "LOCATION"
    pattern = compiled(
        r"\b(?: in | from | near | at | (?:city|town|village) [ ] of"
        r" | (?:go|going|went|fly|flying|flew|flight|trip|moved?|moving|drive|driving|travel(?:l?(?:ing|ed))?|train|bus|back"
        r"|relocat(?:e|ed|ing)) [ ] to ) [ ]"
        r"(?P<value> [\p{Ll}\p{M}'-]{4,} (?:[ ][\p{Ll}\p{M}'-]{4,}){0,2} ) (?![\w@.:/_-]*[\w@/_])",
        CASE,
    )

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        if any(c.isupper() for c in text) or self._lexicon.is_foreign(text):
            return
        for match in matches(self.pattern, text):
            start = end = match.start("value")
            for word in words_of(match["value"]):
                if not self._may_be_place(word[0]):
                    break
                end = start + word.end()
            if end > start:
                yield Hit(self.entity, start, end, 0.5, self.id, self.version)

    def _may_be_place(self, word: str) -> bool:
        known = self._lexicon.is_word(word) or self._lexicon.is_technical(word)
        return not known and not self._lexicon.is_given_name(word)


def place_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    """Rules of places."""
    unknown = UnknownCapitals("LOCATION", lexicon)
    listed = (ListedPlaces(lexicon), AbbreviatedPlaces())
    return (ModelEntities("LOCATION", lexicon), *listed, unknown, UncapitalizedPlaces(lexicon))
