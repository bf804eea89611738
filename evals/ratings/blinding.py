"""Who rates which answer, and in which order. Everything is drawn by HMAC with a key that no packet holds.

What could tell a rater whose answer it is, and what is done about it: ids and order are HMACs, other ones for each rater; a
subject's answer comes first in half of a rater's cases, and the other way round for the next rater of the same case; repeats
come last. The order cannot be rebuilt from the texts, as it can where they seed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill_gov.records.errors import BadInputError, DuplicateIdError, NothingLeftError
from distill_gov.records.keys import Subkey
from evals.ratings.keytable import KeyRow

__all__ = ["RatingItem", "assign", "rater_alias"]

RATERS_PER_CASE = 2
"""One rater alone can neither agree nor disagree."""


@dataclass(frozen=True, slots=True)
class RatingItem:
    """A case with the answers to be rated."""

    case: str
    prompt: str
    """What the customer wrote, redacted."""
    answers: Mapping[str, str]
    """Subject's name to its answer, redacted and in words."""
    cluster: str = ""
    """Unit of independence; the case's id where empty."""
    slices: tuple[str, ...] = ()


def rater_alias(rater: str, key: Subkey) -> str:
    """The name under which files know a rater. It starts with a letter, so that no spreadsheet takes it for a number."""
    return "r" + key.mac("rater", rater)[:11]


def assign(
    items: Sequence[RatingItem], *, raters: Sequence[str], key: Subkey, items_per_rater: int | None, repeats: float
) -> dict[str, list[KeyRow]]:
    """What each rater rates, in order, by the rater's alias.

    Raises:
        NothingLeftError, DuplicateIdError, BadInputError: items or raters cannot be used.
    """
    _check(items, raters, items_per_rater, repeats)
    aliases = sorted(rater_alias(rater, key) for rater in raters)
    each = min(items_per_rater or len(items), len(items))
    n_cases = min(len(items), len(aliases) * each // RATERS_PER_CASE)
    cases = sorted(items, key=lambda item: key.mac("sample", item.case))[:n_cases]
    each = min(each, n_cases)
    subjects = sorted(items[0].answers, key=lambda name: key.mac("subject", name))
    plan = {}
    for number, alias in enumerate(aliases):
        # Raters take consecutive stretches of a circle of cases, so every case gets the same number of raters, or one more.
        stretch = range(number * each, (number + 1) * each)
        turns = {cases[at % n_cases].case: at % n_cases + at // n_cases for at in stretch}
        mine = [cases[at % n_cases] for at in stretch]
        rows = _order(mine, turns, subjects, alias, key)
        plan[alias] = rows + _repeat(rows, repeats, alias, key)
    return plan


def _check(items: Sequence[RatingItem], raters: Sequence[str], items_per_rater: int | None, repeats: float) -> None:
    if not items:
        raise NothingLeftError("nothing to rate")
    if len({item.case for item in items}) != len(items):
        raise DuplicateIdError("two items to rate carry one case id")
    if not items[0].answers or any(set(item.answers) != set(items[0].answers) for item in items):
        raise BadInputError("every case to rate needs an answer of the same subjects")
    # One person under two names would agree with themselves.
    if len({rater.strip().casefold() for rater in raters}) != len(raters):
        raise DuplicateIdError("a rater is named twice")
    if len(raters) < RATERS_PER_CASE:
        raise BadInputError(f"ratings need at least {RATERS_PER_CASE} raters, {len(raters)} named", fix="Name more raters.")
    if items_per_rater is not None and items_per_rater < 1:
        raise BadInputError("items per rater must be at least 1")
    if not 0 <= repeats <= 0.5:
        raise BadInputError("share of repeats must lie between 0 and 0.5")


def _order(
    mine: Sequence[RatingItem], turns: Mapping[str, int], subjects: Sequence[str], alias: str, key: Subkey
) -> list[KeyRow]:
    slots = [(item, number) for item in mine for number in range(len(subjects))]
    slots.sort(key=lambda slot: key.mac("order", alias, slot[0].case, str(slot[1])))
    seen: dict[str, int] = {}
    rows = []
    for item, _ in slots:
        place = seen[item.case] = seen.get(item.case, -1) + 1
        rows.append(_row(item, subjects[(turns[item.case] + place) % len(subjects)], alias, key))
    return rows


def _row(item: RatingItem, subject: str, alias: str, key: Subkey) -> KeyRow:
    opaque = "i" + key.mac("item", alias, item.case, subject)[:15]
    return KeyRow(opaque, alias, item.case, subject, item.cluster or item.case, item.slices, repeat=False)


def _repeat(rows: Sequence[KeyRow], share: float, alias: str, key: Subkey) -> list[KeyRow]:
    drawn = sorted(rows, key=lambda row: key.mac("repeat", row.item))[: round(share * len(rows))]
    again = [("i" + key.mac("repeated item", row.item)[:15], row) for row in drawn]
    return [KeyRow(item, alias, row.case, row.subject, row.cluster, row.slices, repeat=True) for item, row in again]
