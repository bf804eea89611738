"""What stands in a value's place, for one conversation at a time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from distill_gov.records.keys import KeyRing, Subkey
from redaction.operators import numbers
from redaction.operators.dates import shifted
from redaction.operators.draws import Draws
from redaction.operators.masks import masked
from redaction.operators.names import family_name, given_name, invented_word, place_name
from redaction.operators.people import name_roles, rewritten_address, rewritten_name
from redaction.operators.sealed import seal_value
from redaction.policy import MaskPolicy, RedactionPolicy
from redaction.surrogates import Numbering, canonical

__all__ = ["DATASET", "OPERATORS_VERSION", "Operators", "StandIns", "Value", "item_scope"]

OPERATORS_VERSION = "1"
"""Changes whenever a value would get another stand-in than before."""

DATASET = "dataset"
"""The scope of what is the same in every conversation."""
_TRIES = 40
_HASH_DIGITS = 16
_DATES = frozenset({"BIRTH_DATE", "DATE_TIME"})
_SHIFT_DAYS = 30, 400
"""Dates move by this many days, earlier or later: far enough that the day is lost, near enough that an age stays likely."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value that was found: its entity, as detection normalised it, and as it stands in the text."""

    entity: str
    value: str
    written: str


def item_scope(item: str) -> str:
    """The scope of a conversation."""
    return f"item {item}"


class Operators:
    """The operators of one policy under one key. Holds no state of the texts."""

    def __init__(self, policy: RedactionPolicy, keyring: KeyRing) -> None:
        self.policy = policy
        self.hash_key = keyring.subkey("redaction/hash operator")
        self.surrogate_key = keyring.subkey("redaction/surrogate operator")
        self.encrypt_key = keyring.subkey("redaction/encrypt operator")

    def conversation(self, item: str, texts: Sequence[str], unseen: Sequence[str], values: Iterable[Value]) -> StandIns:
        """Stand-ins for the values found in the texts of one conversation.

        Args:
            item: names the conversation; without one the texts are a conversation of their own.
            texts: as written: placeholders go on after the numbers that they hold.
            unseen: the texts without the stand-ins that they came with.
            values: in the order in which they stand in the texts.
        """
        scope = item_scope(item) if item else "texts " + self.surrogate_key.mac(*texts)
        return StandIns(self, scope, texts, unseen, list(values))

    def hashed(self, entity: str, value: str, scope: str) -> str:
        """`<PERSON:3f2a9c0d1e2f3a4b>`: under a key of its own, so that it tells nothing about the findings' hashes."""
        return f"<{entity}:{self.hash_key.mac(entity, canonical(entity, value), scope)[:_HASH_DIGITS]}>"


class StandIns:
    """Gives each value of a conversation its stand-in.

    Surrogates are drawn by a keyed hash of entity, canonical value and scope, so they depend on no order and hold across
    processes. Within a conversation no two values share one, and none stands in the texts already: what collides is drawn
    again, in the order of the hashes. Where forty draws do not help (a PIN of one digit), and for values that nothing sensible
    can stand for (a weekday, a nationality), the keyed hash is taken instead. Over a whole data set only the width of the draw
    keeps values apart: names and e-mail addresses have many millions, but there are 800 fictional phone numbers in an area
    and 762 addresses for documentation. Where records are joined on a value, `hash` is the operator.
    """

    def __init__(
        self, operators: Operators, scope: str, texts: Sequence[str], unseen: Sequence[str], values: list[Value]
    ) -> None:
        self._operators, self.scope = operators, scope
        self._numbering = Numbering(texts)
        self._real = "\n".join(unseen).casefold()
        self._taken: set[str] = set()
        self._taken_words: set[str] = set()
        self._words: dict[tuple[str, str], str | None] = {}
        self._made: dict[tuple[str, str], str] = {}
        policy = operators.policy
        faked = {v for v in values if policy.entities[v.entity].operator == "surrogate"}
        if faked:
            self._choose(faked, values)

    def of(self, value: Value) -> str:
        """The stand-in of a value."""
        operators = self._operators
        own = operators.policy.entities[value.entity]
        if own.operator == "surrogate":
            return self._made[value.entity, value.value]
        if own.operator == "mask":
            return masked(value.value, own.mask or MaskPolicy())
        if own.operator == "hash":
            return operators.hashed(value.entity, value.value, self.scope_of(value.entity))
        if own.operator == "encrypt":
            return seal_value(operators.encrypt_key, value.entity, value.written, self.scope_of(value.entity))
        return self._numbering.placeholder(value.entity, value.value)

    def scope_of(self, entity: str) -> str:
        return DATASET if self._operators.policy.scope_of(entity) == DATASET else self.scope

    # -- surrogates -------------------------------------------------------------------------------------------------------

    def _choose(self, faked: set[Value], values: Sequence[Value]) -> None:
        self._roles = name_roles({v.value for v in values if v.entity == "PERSON"})
        writings: dict[tuple[str, str], set[str]] = {}
        for v in faked:
            writings.setdefault((v.entity, canonical(v.entity, v.value)), set()).add(v.value)
        self._days = {scope: self._shift(scope, faked) for scope in {self.scope_of(v.entity) for v in faked}}
        for entity, folded in sorted(writings, key=lambda k: self._key.mac("order", *k)):
            group = sorted(writings[entity, folded])
            found = self._unique(entity, folded, group)
            for value in group:
                self._made[entity, value] = found[value]

    def _unique(self, entity: str, folded: str, group: Sequence[str]) -> dict[str, str]:
        """A stand-in for each writing of one value, none of which stands for another value or in the texts."""
        for attempt in range(_TRIES):
            made = [self._surrogate(entity, folded, value, attempt) for value in group]
            fit = [m for m in made if m is not None]
            # Dates move all by as many days, so two of them can only meet if they were one day.
            keys = set() if entity in _DATES else {_folded(m) for m in fit}
            if len(fit) == len(group) and keys.isdisjoint(self._taken) and not any(map(self._is_real, fit)):
                self._taken |= keys
                return dict(zip(group, fit, strict=True))
            if None in made or entity in ("PERSON", *_DATES):
                break  # another attempt would give the same
        return {value: self._operators.hashed(entity, value, self.scope_of(entity)) for value in group}

    def _is_real(self, made: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(made.casefold())}(?!\w)", self._real) is not None

    @property
    def _key(self) -> Subkey:
        return self._operators.surrogate_key

    def _surrogate(self, entity: str, folded: str, value: str, attempt: int) -> str | None:
        scope = self.scope_of(entity)
        draws = Draws(self._key, entity, folded, scope, str(attempt))
        if entity == "PERSON":
            made = rewritten_name(value, self._roles, lambda word, role: self._word(word, role, scope))
            return None if "\0" in made else made
        if entity == "ADDRESS":
            made = rewritten_address(
                value, lambda part: numbers.same_shape(part, draws), lambda word, role: self._word(word, role, scope)
            )
            return None if "\0" in made else made
        if entity in _DATES:
            return shifted(value, self._days[scope])
        language = self._operators.policy.language
        return _SURROGATES.get(entity, _like_it)(value, draws, language if scope != DATASET else "")

    def _word(self, word: str, role: str, scope: str) -> str:
        """Surrogate of one word of a name or address; NUL where there is none that is free."""
        whole = [w for w, r in self._roles.items() if r == "given" and len(w) > 1 and w[0] == word] if role == "given" else []
        if len(word) == 1 and len(whole) == 1:
            word = whole[0]  # "D. Whitfield" of a conversation with one Dana
        key = (word, role)
        if key not in self._words:
            self._words[key] = next((w for w in self._word_draws(word, role, scope) if self._is_free(w)), None)
            self._taken_words.add(_folded(self._words[key] or ""))
        return self._words[key] or "\0"

    def _is_free(self, word: str) -> bool:
        return _folded(word) not in self._taken_words and not self._is_real(word)

    def _word_draws(self, word: str, role: str, scope: str) -> Iterable[str]:
        make = {"given": given_name, "family": family_name, "place": place_name}[role]
        for attempt in range(_TRIES):
            draws = Draws(self._key, "word", role, word, scope, str(attempt))
            # A list of given names is too short to keep the people of a data set apart.
            yield invented_word(draws) if scope == DATASET else make(draws, self._operators.policy.language)

    def _shift(self, scope: str, values: Iterable[Value]) -> int:
        """Days by which the dates of a scope move: all by as many, so that the time between two of them stays."""
        dates = [v.value for v in values if v.entity in _DATES and self.scope_of(v.entity) == scope]
        days = 0
        for attempt in range(_TRIES):
            draws = Draws(self._key, "days", scope, str(attempt))
            days = draws.of((-1, 1)) * (_SHIFT_DAYS[0] + draws.below(_SHIFT_DAYS[1] - _SHIFT_DAYS[0]))
            if not any(moved and self._is_real(moved) for moved in (shifted(value, days) for value in dates)):
                break
        return days


def _folded(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


# -- one value --------------------------------------------------------------------------------------------------------------

_Make = Callable[[str, Draws, str], str | None]
"""A surrogate of a value from draws; the language is empty where names of a list would be too few."""


def _like_it(value: str, draws: Draws, _: str) -> str:
    return numbers.same_shape(value, draws)


def _with(make: Callable[[str, Draws], str]) -> _Make:
    return lambda value, draws, _: make(value, draws)


def _email(_: str, draws: Draws, language: str) -> str:
    """At a domain that RFC 2606 keeps for examples."""
    if language:
        local = f"{given_name(draws, language)}.{family_name(draws, language)}{draws.digits(2)}"
    else:
        local = f"{invented_word(draws)}.{invented_word(draws)}"
    return f"{_ascii(local).lower()}@example.{draws.of(('com', 'net', 'org'))}"


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.translate(_NO_DECOMPOSITION))
    return "".join(c for c in plain if c.isascii())


_NO_DECOMPOSITION = str.maketrans({"ß": "ss", "ł": "l", "Ł": "L"})


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def _url(value: str, draws: Draws, _: str) -> str:
    scheme = _SCHEME.match(value)
    page = "/" if "/" in value[scheme.end() if scheme else 0 :] else ""
    path = page and page + "".join(draws.of("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(12))
    return f"{scheme[0] if scheme else ''}{invented_word(draws).lower()}.example.{draws.of(('com', 'net', 'org'))}{path}"


def _organization(_: str, draws: Draws, language: str) -> str:
    name = family_name(draws, language) if language else invented_word(draws)
    return f"{name} {draws.of(('Group', 'Partners', 'Trading', 'Works'))}"


def _location(_: str, draws: Draws, language: str) -> str:
    return place_name(draws, language) if language else invented_word(draws)


_DECIMAL = re.compile(r"\d+(\.\d+)?")


def _coordinates(value: str, draws: Draws, _: str) -> str:
    """Other decimals, and other degrees below 80, which are on the map as latitude and as longitude."""

    def moved(match: re.Match[str]) -> str:
        whole = f"{draws.below(80):0{min(2, len(match[0].split('.')[0]))}d}"
        return whole + (f".{draws.digits(len(match[1]) - 1)}" if match[1] else "")

    return _DECIMAL.sub(moved, value)


def _none(_: str, __: Draws, ___: str) -> None:
    return None


_SURROGATES: dict[str, _Make] = {
    "EMAIL": _email,
    "PHONE": _with(numbers.phone),
    "CARD": _with(numbers.card),
    "IBAN": _with(numbers.iban),
    "IMEI": _with(numbers.imei),
    "NATIONAL_ID": _with(numbers.national_id),
    "IP_ADDRESS": _with(numbers.ip_address),
    "MAC_ADDRESS": _with(numbers.mac_address),
    "URL": _url,
    "SECRET_URL": _url,
    "ORGANIZATION": _organization,
    "LOCATION": _location,
    "COORDINATES": _coordinates,
    "NRP": _none,
    "TITLE": _none,
}
"""Entities with a surrogate of their own; any other value gets one of the same shape."""
