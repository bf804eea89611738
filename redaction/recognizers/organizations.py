"""Companies, authorities and institutions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.casing import seen_by_model
from redaction.recognizers.gazetteer import fold, listed_words, words_of
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.model_entities import ModelEntities
from redaction.recognizers.rule import CASE, TIMEOUT_S, Hit, Rule, compiled, matches

__all__ = ["organization_rules"]

_LISTS = "organization_words.txt"
_OF = frozenset(("of", "for", "at"))
_LINKS = frozenset(("of", "the", "and", "for", "de", "du", "des", "der", "di", "y", "et", "und", "del", "della", "da", "do"))
_GAPS = frozenset((" ", " & ", ", ", "-", "\u00a0", " | "))
_MAX_WORDS = 6
_NAME = r"(?:\p{Lu}[\p{L}\p{M}\d.'’&-]*)"
_EMPLOYED = compiled(
    r"\b(?: work(?:s|ed|ing)?[ ](?:for|at) | employed[ ](?:by|at) | employees?[ ](?:of|at) | acquired[ ]by | hired[ ]by"
    r" | joined | joining"
    r" | (?:ceo|cfo|cto|coo|chairman|chairwoman|president|founder|co-founder|director|manager|head)[ ](?:of|at) | founded"
    r" | (?:company|organi[sz]ation|employer|vendor|firm|startup|start-up)[ ](?:is|called|named)"
    r" | (?:company|organi[sz]ation|employer|vendor|firm|manufacturer|service_name|org)[ ]?[:=] | invest(?:ed|s|ing)?[ ]in"
    r" | shares[ ](?:of|in) | subsidiary[ ]of | offices?[ ]of | customer[ ]of | intern(?:ed|ing|ship)?[ ]at"
    r" | (?:account|contract)[ ]with"
    r" ) [ ]{1,2} (?:the[ ])? [\"']? $"
)
_ANCHORED = compiled(rf"(?<= [ ][\"'] | [ ]) (?P<value> {_NAME} (?:[ ](?:(?:and|&|of|de)[ ])?{_NAME}){{0,3}} ) (?![\w@])", CASE)
_COPYRIGHT = compiled(r"(?:©|\(c\)|copyright)[ ](?:\d{4}(?:-\d{4})?[ ])?(?:by[ ])?$")
_AFTER_JOB = compiled(r"(?P<head>\p{L}+)(?:[ ](?:of|for)[ ]\p{Lu}[\p{L}-]+)?[ ](?:at|@|with|—|–|-|\|)[ ]$", CASE)
_NUMBER_BEFORE = compiled(r"(?<![\w.,])\d{1,4}[ ]$")
_SURNAMES = compiled(
    r"(?<![\w@./]) (?P<value> \p{Lu}[\p{L}'-]+ (?:,[ ]\p{Lu}[\p{L}'-]+){1,3} ,?[ ](?:and|&)[ ] \p{Lu}[\p{L}'-]+ ) (?![\w@])",
    CASE,
)


class NamedCompanies:
    """A run of capitals that ends in a legal form (`GmbH`) or a kind of institution, or begins with the latter and `of`."""

    id = "organization/named"
    version = "1"
    entity = "ORGANIZATION"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._legal, self._kinds = (listed_words(_LISTS, section) for section in ("legal", "kinds"))

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        text = seen_by_model(text, doc)
        words = words_of(text)
        for index, match in enumerate(words):
            word = match[0]
            if not word[0].isupper() and word not in ("plc", "llc"):
                continue
            lower = fold(word)
            legal = lower in self._legal
            if not legal and lower not in self._kinds:
                continue
            first = self._first(text, words, index)
            if first < index:
                end = match.end() + (1 if legal and text[match.end() : match.end() + 1] == "." else 0)
                start = self._start(text, words[first].start())
                yield Hit(self.entity, start, end, 0.9 if legal else 0.8, self.id, self.version)
            elif not legal and (end := self._after_of(text, words, index)):
                yield Hit(self.entity, match.start(), end, 0.6, self.id, self.version)

    def _start(self, text: str, start: int) -> int:
        """With the number before it that begins the name (`3 Round Stones Inc`)."""
        number = _NUMBER_BEFORE.search(text[max(0, start - 8) : start], timeout=TIMEOUT_S)
        return start - len(number[0]) if number else start

    def _first(self, text: str, words: list[Any], index: int) -> int:
        """Index of the first capital of the run before an index, without the words that open a sentence."""
        first = best = index
        while first and index - first < _MAX_WORDS and text[words[first - 1].end() : words[first].start()] in _GAPS:
            first -= 1
            word = words[first][0]
            if word[0].isupper():
                best = first
            elif word not in _LINKS:
                break
        while best < index and self._lexicon.is_common(words[best][0]):
            best += 1
        return best

    @staticmethod
    def _after_of(text: str, words: list[Any], index: int) -> int:
        """End of `of Somewhere` behind a kind of institution, or 0."""
        end = 0
        for i in range(index + 1, min(index + 1 + _MAX_WORDS, len(words))):
            if text[words[i - 1].end() : words[i].start()] not in _GAPS:
                break
            word = words[i][0]
            if i == index + 1 and word not in _OF:
                break
            if word[0].isupper():
                end = words[i].end()
            elif word not in _LINKS and word not in _OF:
                break
        return end


class Employers:
    """A capitalised name where somebody is employed, invests or is a customer; and a firm called by its partners' surnames."""

    id = "organization/placed"
    version = "1"
    entity = "ORGANIZATION"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._occupations = listed_words("occupations.txt", "heads")

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        text = seen_by_model(text, doc)
        for match in matches(_ANCHORED, text):
            start, end = match.span("value")
            if self._is_employer(text[max(0, start - 50) : start]) and not self._lexicon.is_common(text[start:end]):
                yield Hit(self.entity, start, end, 0.9, self.id, self.version)
        if "," not in text:
            return
        for match in matches(_SURNAMES, text):
            tokens = [word[0] for word in words_of(match["value"]) if word[0] != "and"]
            known = [self._lexicon.may_be_given_name(t) or self._lexicon.is_technical(t) for t in tokens]
            if not any(known) and not all(self._lexicon.is_word(t) for t in tokens):
                yield Hit(self.entity, match.start("value"), match.end("value"), 0.5, self.id, self.version)

    def _is_employer(self, before: str) -> bool:
        if _EMPLOYED.search(before, timeout=TIMEOUT_S) or _COPYRIGHT.search(before, timeout=TIMEOUT_S):
            return True
        job = _AFTER_JOB.search(before, timeout=TIMEOUT_S)
        return job is not None and fold(job["head"]) in self._occupations


def organization_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    return (ModelEntities("ORGANIZATION", lexicon), NamedCompanies(lexicon), Employers(lexicon))
