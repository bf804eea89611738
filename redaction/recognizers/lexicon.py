"""Which lower-case words are ordinary ones, and which tokens are given names: tells `dana` from `kettle`."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from runpy import run_path
from typing import Any

from redaction.recognizers.gazetteer import Gazetteer, sections

__all__ = ["FOREIGN", "PLACE_LISTS", "Lexicon"]

PLACE_LISTS = ("countries.txt", "regions.txt", "cities.txt")

FOREIGN = ("de", "es", "fr", "it", "nl", "pl", "pt")
"""Languages whose function words are known, so that English entity recognition is not trusted on their texts."""

_ENDINGS = ("ies", "es", "s", "ied", "ed", "d", "ing", "er", "ers", "est", "ly", "n't", "'s", "'", "y")


_CONTRACTED = frozenset({"m", "ve", "ll", "d", "re", "t", "s"})
_PARTICLES = frozenset(
    [
        "van",
        "von",
        "de",
        "den",
        "der",
        "da",
        "di",
        "del",
        "della",
        "dos",
        "du",
        "la",
        "le",
        "el",
        "al",
        "bin",
        "ibn",
        "ter",
        "ten",
        "zu",
    ]
)


class Lexicon:
    """Words of a spaCy model's own lemmatizer index (WordNet) and stop words, and a list of given names.

    Args:
        nlp: a loaded spaCy pipeline; without a lemmatizer only stop words and the list beside this file are known.
        allowed: lower-case words of the policy's allow list, which are never names.
    """

    def __init__(self, nlp: Any, allowed: frozenset[str]) -> None:
        self._english: frozenset[str] = frozenset(nlp.Defaults.stop_words)
        self._words = _lemma_words(nlp) | self._english
        self.given_names = _listed("given_names.txt") | _listed("census_names.txt")
        self._ambiguous = _listed("ambiguous_names.txt")
        self._surnames = _listed("surnames.txt")
        self._extra = _listed("ordinary_words.txt")
        self._technical = _listed("technical_words.txt")
        self._places = Gazetteer(place for name in PLACE_LISTS for lines in sections(name).values() for place in lines)
        self.allowed = allowed
        self._foreign = {code: _stop_words(code) - self._english for code in FOREIGN}
        self._any_foreign: frozenset[str] = frozenset().union(*self._foreign.values())
        self._spoken = lru_cache(maxsize=4)(self._languages)

    def is_given_name(self, token: str) -> bool:
        """True for a listed name that is no ordinary word as well (`Rose`, `Mark`)."""
        return token.casefold() in self.given_names

    def may_be_given_name(self, token: str) -> bool:
        """True for every listed name, ordinary words included."""
        return token.casefold() in self.given_names or token.casefold() in self._ambiguous

    def is_surname(self, token: str) -> bool:
        """True for common surnames that are dictionary words as well (`Mercer`)."""
        return token.casefold() in self._surnames

    def is_word(self, token: str) -> bool:
        """True for an ordinary word in any form; unambiguous given names are none."""
        lower = token.casefold()
        if lower in self.given_names:
            return False
        if lower in self.allowed or lower in self._extra or lower in self._any_foreign:
            return True
        if "-" in lower:
            return all(not part or self._in_dictionary(part) for part in lower.split("-"))
        return self._in_dictionary(lower)

    def is_common(self, token: str) -> bool:
        """True for words that end no name: function words, courtesies, days, places of the list beside this file."""
        lower = token.casefold()
        return lower in self._english or lower in self._extra or lower in self.allowed or lower in self._any_foreign

    def is_technical(self, token: str) -> bool:
        """True for words that are no name of anybody or anything personal: function words, software, abbreviations."""
        return token.casefold() in self._technical or self.is_common(token)

    def is_ordinary(self, token: str) -> bool:
        """True for words that need more than a capital to be a name: the dictionary's, without places and given names."""
        if self.is_technical(token):
            return True
        return self.is_word(token) and token not in self._places and not self.may_be_given_name(token)

    @staticmethod
    def is_particle(token: str) -> bool:
        return token.casefold() in _PARTICLES

    def _in_dictionary(self, lower: str) -> bool:
        if lower in self._words or lower in self._extra:
            return True
        stem, mark, rest = lower.partition("'")
        if mark and rest in _CONTRACTED and (stem in self._english or stem in self._extra):
            return True
        for ending in _ENDINGS:
            stem = lower.removesuffix(ending)
            if (
                stem != lower
                and len(stem) > 1
                and any(form in self._words for form in (stem, stem + "e", stem + "y", _undoubled(stem)))
            ):
                return True
        return False

    def language(self, text: str) -> str:
        """``en``, or the code of the language whose function words are more; short and mixed texts count as English."""
        return self._spoken(text)[0]

    def is_foreign(self, text: str) -> bool:
        """True for text of another language than English, even without the particles that are part of names."""
        return self._spoken(text)[1] != "en"

    def _languages(self, text: str) -> tuple[str, str]:
        """The language of a text, and what it is without particles. Several rules ask it of the same text."""
        words = [word.strip(".,!?;:()\"'¿¡").casefold() for word in text.split()]
        return self._language_of(words), self._language_of([word for word in words if word not in _PARTICLES])

    def _language_of(self, words: list[str]) -> str:
        english = sum(word in self._english for word in words)
        counts = {code: sum(word in stop for word in words) for code, stop in self._foreign.items()}
        best = max(counts, key=lambda code: counts[code])
        return best if counts[best] > max(1, english) else "en"


def _stop_words(language: str) -> frozenset[str]:
    """spaCy's stop words of a language, from their file: the package around it takes seconds to import, for its tokenizer."""
    import spacy.lang

    path = Path(spacy.lang.__path__[0]) / language / "stop_words.py"
    return frozenset(run_path(str(path))["STOP_WORDS"])


def _lemma_words(nlp: Any) -> frozenset[str]:
    if "lemmatizer" not in nlp.component_names:
        return frozenset()
    lookups = nlp.get_pipe("lemmatizer").lookups
    index, irregular = (lookups.get_table(table, {}) for table in ("lemma_index", "lemma_exc"))
    return frozenset(word for table in (index, irregular) for words in table.values() for word in words)


def _undoubled(stem: str) -> str:
    """`run` of `runn`, which is left of `running`."""
    return stem[:-1] if stem[-1:] == stem[-2:-1] else stem


def _listed(name: str) -> frozenset[str]:
    text = resources.files("redaction.recognizers").joinpath(name).read_text("utf-8")
    lines = (line.split("#")[0] for line in text.splitlines())
    return frozenset(word.casefold() for line in lines for word in line.split())
