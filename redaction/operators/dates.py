"""Dates moved by some days and written as they were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta

__all__ = ["shifted"]

_MONTHS = tuple(
    line.split()
    for line in """
        january february march april may june july august september october november december
        jan feb mar apr may jun jul aug sep oct nov dec
        janvier février mars avril mai juin juillet août septembre octobre novembre décembre
        januar februar märz april mai juni juli august september oktober november dezember
        enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
        gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
        januari februari maart april mei juni juli augustus september oktober november december
        stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
    """.strip().splitlines()
)
_ALIASES = {"sept": "sep"}
_WORD = re.compile(r"[^\W\d_]+|\d+|[\W_]+")
_CENTURY = 100
_LATEST_SHORT_YEAR = 30
"""Two digits up to this one are read as 20.., above as 19..: people are born rather than about to be."""


def shifted(value: str, days: int) -> str | None:
    """The date moved by so many days, in the same order, with the same separators, widths and language of the month.

    `03/04/1990` may be the third of April or the fourth of March. It is read as written in America with slashes and day first
    otherwise; whichever it is, the order stays.

    Returns:
        None where the value is no date that has a day, a month and a year.
    """
    pieces = _WORD.findall(value)
    found = _fields(pieces)
    if found is None:
        return None
    year, month, day = (_number(pieces[i]) for i in found)
    if len(pieces[found[0]]) <= 2:
        year += 1900 if year > _LATEST_SHORT_YEAR else 2000
    try:
        moved = date(year, month, day) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    out = list(pieces)
    out[found[0]] = f"{moved.year % _CENTURY:02d}" if len(pieces[found[0]]) <= 2 else f"{moved.year:04d}"
    both = [pieces[i] for i in found[1:] if pieces[i].isdecimal()]
    padded = any(p[0] == "0" for p in both) or (len(both) == 2 and all(len(p) == 2 for p in both))
    for place, number in ((found[1], moved.month), (found[2], moved.day)):
        out[place] = f"{number:02d}" if padded else str(number)
        if not pieces[place].isdecimal():
            out[place] = _month_like(pieces[place], number)
    _mend_ordinal(out, found[2], moved.day)
    return "".join(out)


def _fields(pieces: Sequence[str]) -> tuple[int, int, int] | None:
    """Places of year, month and day."""
    numbers = [i for i, p in enumerate(pieces) if p.isdecimal() and p.isascii()]
    words = [i for i, p in enumerate(pieces) if _month(p)]
    if len(words) == 1 and len(numbers) == 2:
        day, year = sorted(numbers, key=lambda i: len(pieces[i]))
        if len(pieces[day]) == len(pieces[year]):
            day, year = numbers
        return (year, words[0], day) if len(pieces[day]) <= 2 else None
    if words or len(numbers) != 3:
        return None
    first, second, third = numbers
    if len(pieces[first]) == 4:
        return (first, second, third)
    american = "/" in pieces[first + 1] and int(pieces[first]) <= 12
    if int(pieces[second]) > 12:
        american = True
    return (third, first, second) if american else (third, second, first)


def _month(piece: str) -> int:
    word = _ALIASES.get(piece.casefold(), piece.casefold())
    return next((names.index(word) + 1 for names in _MONTHS if word in names), 0)


def _number(piece: str) -> int:
    return int(piece) if piece.isdecimal() else _month(piece)


def _month_like(like: str, number: int) -> str:
    word = _ALIASES.get(like.casefold(), like.casefold())
    lists = [names for names in _MONTHS if word in names]
    # "mai" is French and German, which writes it with a capital.
    name = lists[-1 if word == "mai" and like[0].isupper() else 0][number - 1]
    return name.upper() if like.isupper() else name.capitalize() if like[0].isupper() else name


_ORDINAL = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}


def _mend_ordinal(pieces: list[str], day: int, number: int) -> None:
    if day + 1 < len(pieces) and pieces[day + 1].casefold() in {"st", "nd", "rd", "th"}:
        pieces[day + 1] = _ORDINAL.get(number, "th")
