"""The key table of a set of packets: which opaque id stands for which answer. It never lies below the run.

Its SHA-256 is in the ledger before the first packet exists, so nobody can exchange it once ratings are known.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from distill_gov.records.digest import canonical_json, digest_bytes
from distill_gov.records.errors import (
    BadInputError,
    HashMismatchError,
    MalformedFileError,
    MissingFileError,
    UnknownFormatError,
)
from distill_gov.records.files import format_name, loads_strict

__all__ = ["KeyRow", "KeyTable", "open_key", "sealed_key", "write_key"]

_FORMAT = "rating-key"


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What one opaque id stands for."""

    item: str
    rater: str
    """Alias of the rater whose packet holds the item."""
    case: str
    subject: str
    """Name of the subject that answered."""
    cluster: str
    slices: tuple[str, ...]
    repeat: bool
    """True where the same rater sees the same answer a second time."""


@dataclass(frozen=True, slots=True)
class KeyTable:
    """All rows, and the digest of every rater's packet."""

    salt: str
    """Keeps the published digest from confirming a guessed table: a few cases have few possible tables."""
    created: str
    packets: Mapping[str, str]
    """Rater's alias to the packet's digest: its keys are the raters invited."""
    rows: tuple[KeyRow, ...]


def sealed_key(table: KeyTable) -> bytes:
    """The bytes whose SHA-256 is sealed, the same for the same table."""
    rows = [{**asdict(row), "slices": list(row.slices)} for row in sorted(table.rows, key=lambda row: row.item)]
    value = {"format": format_name(_FORMAT), "salt": table.salt, "created": table.created}
    return canonical_json({**value, "packets": dict(table.packets), "rows": rows}) + b"\n"


def write_key(path: Path, data: bytes) -> None:
    """Write the key table, mode 0600, whole or not at all, and never over another.

    Raises:
        BadInputError: there is a file already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp gives 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)
    except FileExistsError:
        raise BadInputError("a rating key is already there", where=str(path), fix="Keep it: packets depend on it.") from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def open_key(path: Path, expected: str) -> KeyTable:
    """Read a key table whose digest must be the sealed one.

    Raises:
        MissingFileError, HashMismatchError, MalformedFileError, UnknownFormatError
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError("the rating key cannot be read", where=str(path)) from error
    if digest_bytes(data) != expected:
        raise HashMismatchError(
            "the rating key is not the one that was sealed", where=str(path), fix="Use the key of these packets."
        )
    return parse_key(data, where=str(path))


def parse_key(data: bytes, *, where: str) -> KeyTable:
    """The table in the bytes of :func:`sealed_key`."""
    value = loads_strict(data, where=where)
    if not isinstance(value, dict) or value.pop("format", None) != format_name(_FORMAT):
        raise UnknownFormatError("not a rating key of this release", where=where)
    try:
        rows = tuple(KeyRow(**{**row, "slices": tuple(row["slices"])}) for row in value.pop("rows"))
        table = KeyTable(rows=rows, **value)
    except (TypeError, KeyError) as error:
        raise MalformedFileError("not a rating key", where=where) from error
    return table
