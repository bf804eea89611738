"""What follows a street in an address: flat, town, region, postcode and country, on the same line or the next ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redaction.recognizers.named_entities import named_entities
from redaction.recognizers.rule import CASE, TIMEOUT_S, compiled

__all__ = ["POSTCODE", "UNIT", "US_STATE", "Tail", "places_of", "read_tail"]

_PARTS = 14
_LINES = 4
_TOWN_WORDS = 4

US_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|GU|HI|I[ADLN]|K[SY]|LA|M[ADEINOPST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT"
    r"|V[AIT]|W[AIVY])"
)
"""Postal abbreviations of states and territories (USPS Publication 28, appendix B)."""
UNIT = (
    r"(?: (?i:apartments?|apt|appt?|suite|ste|unit|flat|room|rm|floor|fl|building|bldg|block|lot|trlr|space|spc"
    r"|penthouse|ph|pmb"
    r"|box|dept|piso|apto|ap|depto|dpto|puerta|pta|local|oficina|of|bloco|sala|andar|stiege|top|tür|etage|whg|wohnung|bus|lokal"
    r"|lok|kv|bâtiment|bât|escalier|esc|scala|interno|int|daire|kat|кв|bte|boîte|no|nr|n[º°])"
    # A number may follow at once; a letter needs a mark or a space before it, or "now" would be number w.
    r" (?: \.?\s?\#?\s? \d{1,5}(?:\s?[-/]?\s?[A-Za-z](?!\p{L}))? | (?:\.\s?|\s)\#? [A-HJ-Z](?:-?\d{1,4})?(?!\p{L}) )"
    r" | \#\s?(?:\d{1,5}[A-Za-z]?|[A-Z]-?\d{0,4}) ) (?![\w])"
)
"""Verbose-mode source, capitals matter: a flat, suite, floor and the like with its number."""
POSTCODE = (
    r"(?: [A-Z]{1,2}\d[A-Z\d]?\s?\d[ABD-HJLNP-UW-Z]{2} | [ABCEGHJ-NPRSTVXY]\d[A-Z][ -]?\d[A-Z]\d"
    r" | [AC-FHKNPRTV-Y]\d[\dW]\s?[AC-FHKNPRTV-Y\d]{4} | \d{4}\s?(?!AM|PM|AD|BC)[A-Z]{2} | \d{5}-\d{3,4} | \d{4}-\d{3} "
    r"| \d{2}-\d{3}"
    r" | \d{3}\s\d{2,3} | (?:[A-Z]{1,3}-)?\d{4,6} ) (?![\w]|[ -]\d|[.,]\d)"
)
"""Verbose-mode source, capitals matter: British, Canadian, Irish, Dutch, American, Brazilian, Portuguese, Polish, Swedish or
Czech, and plain ones of four to six digits (Universal Postal Union, postal addressing systems)."""

_SEPARATOR = compiled(
    r"(?: [ \t]*(?:[,;/|·•]|-(?=\s))[ \t]* | [ \t]+ | [ \t]*,?[ \t]*(?:\r?\n[ \t]*){1,2}(?:[?>|*][?>|*]{0,3}[ \t]*|,[ \t]*)? )"
)
_UNIT = compiled(UNIT, CASE)
_POSTCODE = compiled(POSTCODE, CASE)
_REGION = compiled(r"[A-Z]{2,3}\b(?![.'’]\w)", CASE)
_FLOOR = compiled(r"\d{1,2}\s?(?:[º°ª]|er|st|nd|rd|th)\.?\s?(?i:floor|piso|étage|etage|[a-z]{1,4}\b)?", CASE)
_WORD_SOURCE = (
    r"(?:(?:am|an\sder|a\sd\.|im|in|de|del|della|do|da|dos|di|la|le|les|el|los|sur|sous|upon|on|under|by|the|of|bei|den"
    r"|der|nad|pod)[\s-]){0,2}"
    r"\p{Lu}[\p{L}'’.-]{0,40}(?<![.-])(?:-(?:[\p{L}]+-){0,3}\p{L}+)?\.?(?=[\s,;)?!]|\.?$|\.\s)(?!\s?:)"
)
_WORD = compiled(_WORD_SOURCE, CASE)
_TOWN = compiled(rf"(?:{_WORD_SOURCE})(?:[ ](?:{_WORD_SOURCE})){{0,3}}(?=\s*(?:[.,;?!)\n]|$))", CASE)


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the address ends, and whether anything in it is sure to belong to one (a flat's number or a postcode)."""

    end: int
    sure: bool


def places_of(doc: Any) -> list[tuple[int, int]]:
    """Spans of spaCy's places, which a tail may end with."""
    return [(e.start_char, e.end_char) for e in named_entities(doc) if e.label_ in {"GPE", "LOC", "FAC"}]


class _Reader:
    def __init__(self, text: str, position: int, places: Sequence[tuple[int, int]]) -> None:
        self.text, self.position, self.places = text, position, places
        self.end = position
        self.words = self.lines = 0
        self.sure = self.coded = False

    def match(self, pattern: Any) -> Any:
        return pattern.match(self.text, self.position, timeout=TIMEOUT_S)

    def take(self, end: int, *, sure: bool = True) -> None:
        self.position = self.end = end
        self.words = 0
        self.sure = self.sure or sure

    def part(self) -> bool:
        """Read one separator and the part behind it; False when the address is over."""
        separator = self.match(_SEPARATOR)
        if separator is None:
            return False
        self.lines += "\n" in separator[0]
        if self.lines > _LINES:
            return False
        self.position = separator.end()
        return self.sure_part(separator[0]) or self.region(separator[0]) or self.word(separator[0])

    def sure_part(self, separator: str) -> bool:
        for pattern in (_UNIT, _FLOOR, _POSTCODE):
            found = self.match(pattern)
            if found is not None:
                # A bare number on a line of its own, with no town before it, may be anything.
                if pattern is _POSTCODE and found[0].isdigit() and self.words == 0 and "\n" in separator and not self.sure:
                    return False
                self.coded = pattern is _POSTCODE
                self.take(found.end())
                return True
        return False

    def region(self, separator: str) -> bool:
        found = self.match(_REGION)
        if found is None or not (self.words or "," in separator):
            return False
        self.position = found.end()
        if (self.words and ("," in separator or self.sure)) or (self.coded and "," in separator):
            self.take(found.end(), sure=False)
        return True

    def word(self, separator: str) -> bool:
        found = self.match(_WORD)
        if found is None or self.words >= _TOWN_WORDS:
            return False
        coded, self.coded = self.coded, False
        if self.end == self.position - len(separator) and self.sure and "\n" not in separator:
            # Right behind a postcode or a flat: the town, whole where the clause ends with it.
            whole = self.match(_TOWN)
            if whole is not None:
                self.take(whole.end(), sure=False)
                return True
        self.position = found.end()
        self.words += 1
        placed = any(a <= found.start() and found.end() <= b for a, b in self.places)
        if placed or ("\n" not in separator and (coded or "," in separator)):
            words = self.words
            self.take(found.end(), sure=False)
            self.words = words
        return True


def read_tail(text: str, end: int, places: Sequence[tuple[int, int]]) -> Tail:
    """Read on from the end of a street.

    Args:
        text: the text.
        end: where the street and its number end.
        places: spans that are known to be places: see `places_of`.
    """
    reader = _Reader(text, end, places)
    for _ in range(_PARTS):
        if not reader.part():
            break
    while reader.end > end and text[reader.end - 1] in ".'’-":
        reader.end -= 1
    return Tail(reader.end, reader.sure)
