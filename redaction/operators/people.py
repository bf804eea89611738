"""People, places and addresses: surrogates that follow the parts of the value.

"Dana Whitfield", "Dana" and "Ms Whitfield" of one conversation share the surrogates of their words. Which word is a given and
which a family name is told by the longest names of the conversation, so it does not depend on the order in which they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from redaction.surrogates import TITLES

__all__ = ["KEPT_IN_ADDRESSES", "name_roles", "rewritten_address", "rewritten_name"]


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*\.?")
_PARTICLES = _listed("van von de den der da di del della dos du la le el al bin ibn ter ten zu y e of the jr sr ii iii iv")
_POSSESSIVE = re.compile(r"(['’]s?)$")

KEPT_IN_ADDRESSES = _listed("""
    street st road rd lane ln avenue ave drive dr close court ct way place pl crescent terrace gardens grove square sq hill park
    row walk mews boulevard blvd parkway highway hwy quay view rise green yard wharf circle trail parade path house farm cottage
    flat apt apartment unit suite floor room box po p.o. no north south east west the on upon of and rue chemin allée impasse
    quai cours route passage de la du des del della via viale piazza corso calle carrer avenida plaza paseo rua ul ul. ulica al
    aleja am an der den dem im auf zum zur bei straße strasse str str. weg platz allee gasse ring damm ufer postfach straat laan
    plein gracht kade
""")
_STREET_ENDS = (
    *("straße", "strasse", "str.", "str", "weg", "platz", "allee", "gasse", "ring", "damm", "ufer", "steig"),
    *("straat", "laan", "plein", "gracht", "kade", "dijk", "singel"),
)

Word = Callable[[str, str], str]
"""Gives the surrogate of a word (folded) in a role: ``given``, ``family`` or ``place``."""


def name_roles(values: Collection[str]) -> dict[str, str]:
    """Role of every word of the names of a conversation; a name of one word with a title before it is a family name."""
    roles: dict[str, str] = {}
    for value in sorted(values, key=lambda v: (-len(_name_words(v)), v.casefold())):
        words = _name_words(value)
        titled = any(_fold(m[0]) in TITLES for m in _WORD.finditer(value))
        for place, word in enumerate(words):
            last = place == len(words) - 1
            roles.setdefault(word, "family" if last and (len(words) > 1 or titled) else "given")
    return roles


def rewritten_name(value: str, roles: dict[str, str], word: Word) -> str:
    """The name with its words replaced; titles, particles, initials' dots and spacing stay."""
    return _rewritten(value, lambda w: word(w, roles.get(w, "given")), kept=TITLES | _PARTICLES)


def rewritten_address(value: str, shape: Callable[[str], str], word: Word) -> str:
    """The address with its names replaced and its numbers and codes redrawn; kinds of street and small words stay."""
    parts = re.split(r"([^\W_]+(?:['’.-][^\W_]+)*\.?)", value)
    return "".join(_address_word(part, shape, word) if i % 2 else part for i, part in enumerate(parts))


def _address_word(part: str, shape: Callable[[str], str], word: Word) -> str:
    folded = part.casefold()
    if folded in KEPT_IN_ADDRESSES:
        return part
    if any(c.isdigit() for c in part) or len(part) <= 3:
        return shape(part)
    end = next((e for e in _STREET_ENDS if folded.endswith(e) and len(folded) > len(e)), "")
    stem = part[: len(part) - len(end)]
    return _like_case(word(stem.casefold(), "place"), stem) + part[len(stem) :]


def _rewritten(value: str, replace: Callable[[str], str], kept: Collection[str]) -> str:
    return _WORD.sub(lambda m: m[0] if _fold(m[0]) in kept else _one_word(m[0], replace), value)


def _one_word(written: str, replace: Callable[[str], str]) -> str:
    ending = _POSSESSIVE.search(written)
    tail = ending[0] if ending else "." if written.endswith(".") else ""
    bare = written[: len(written) - len(tail)]
    made = replace(_fold(bare))
    return _like_case(made[:1] if len(bare) == 1 else made, bare) + tail


def _name_words(value: str) -> list[str]:
    return [w for w in _words(value) if w not in TITLES and w not in _PARTICLES]


def _words(value: str) -> Iterator[str]:
    for match in _WORD.finditer(value):
        yield _fold(_POSSESSIVE.sub("", match[0]))


def _fold(word: str) -> str:
    return word.casefold().rstrip(".")


def _like_case(made: str, like: str) -> str:
    letters = [c for c in like if c.isalpha()]
    if len(letters) > 1 and all(c.isupper() for c in letters):
        return made.upper()
    if letters and letters[0].islower() and all(c.islower() for c in letters):
        return made.lower()
    return made
