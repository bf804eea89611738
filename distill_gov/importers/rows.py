"""Rows of a stranger's file, and how their parts are named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from distill_gov.records.errors import MalformedFileError

__all__ = ["Row", "as_text", "count", "filled", "first_filled", "json_object", "pick", "pointer_tokens"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row and where it stands."""

    where: str
    held: Mapping[str, Any]
    """Columns that are there; a null counts as absent, an empty text does not."""


def json_object(value: Any, where: str) -> dict[str, Any]:
    """A JSON object without its nulls.

    Raises:
        MalformedFileError: it is none.
    """
    if not isinstance(value, dict):
        raise MalformedFileError("not a JSON object", where=where)
    return {key: part for key, part in value.items() if part is not None}


def filled(value: Any) -> bool:
    """Whether a value says anything: no null, blank text, empty list or object."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value not in ([], {})


def first_filled(row: Row, columns: Sequence[str]) -> Any:
    """The first of the columns that is not empty in a row, or None."""
    return next((value for name in columns if filled(value := pick(row.held, name))), None)


def pick(held: Mapping[str, Any], name: str) -> Any:
    """What a column or JSON pointer names in a row; None where there is nothing."""
    if not name.startswith("/"):
        return held.get(name)
    value: Any = held
    for token in pointer_tokens(name):
        if isinstance(value, Mapping):
            value = value.get(token)
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return None
    return value


def pointer_tokens(pointer: str) -> list[str]:
    """The steps of a JSON pointer (RFC 6901)."""
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def as_text(value: Any) -> Any:
    """Identifiers and dates as text, where a file holds numbers and dates; all else is left for the schema."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def count(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
