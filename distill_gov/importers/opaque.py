"""Ids of sessions and users as groups that say nothing about a person."""

from __future__ import annotations

from typing import Any

from distill_gov.importers.rows import as_text
from distill_gov.records.errors import BadInputError, MalformedFileError
from distill_gov.records.keys import Subkey
from distill_gov.traces import made_by_a_machine

__all__ = ["LETTERS", "opaque"]

# One digest in some thousands is all digits, and could be taken for a card or a telephone number.
LETTERS = str.maketrans("0123456789", "ghijklmnop")


def opaque(value: Any, prefix: str, key: Subkey | None, where: str) -> str:
    """An id that a machine made as it is, any other as a keyed hash: the same under the same key, so that imports go together.

    Raises:
        BadInputError: it needs the key, and there is none.
        MalformedFileError: no id.
    """
    text = as_text(value)
    if not isinstance(text, str):
        raise MalformedFileError("an id is neither text nor a number", where=where)
    if made_by_a_machine(text):
        return text
    if key is None:
        raise BadInputError(
            "an id of a session or user that could name a person, and no project's key to hide it",
            where=where,
            fix="Import inside a project (`distill-gov init`).",
        )
    return f"{prefix}-{key.mac(prefix, text)[:16].translate(LETTERS)}"
