"""What a rater sends back: the page's JSON or the filled-in table. Reading checks form, not whether it fits.

Errors name file and row and never show what stands there.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_bytes
from distill_gov.records.errors import BadInputError, MalformedFileError, MissingFileError, UnknownFormatError
from distill_gov.records.files import format_name, loads_strict
from evals.ratings.packets import CANNOT_JUDGE, PERSONAL_DATA

__all__ = ["HUMAN_FORMAT", "SIMULATED_FORMAT", "Response", "Responses", "read_responses"]

HUMAN_FORMAT = "rating-responses"
SIMULATED_FORMAT = "simulated-rating-responses"
"""A format of its own, so that clearing one flag does not make a human of a script."""

_NEEDED = ("packet", "rater", "item", "rating")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True, slots=True)
class Response:
    """One rating."""

    item: str
    value: int | str
    """A point of the scale, not yet checked against it, or ``cannot_judge`` or ``personal_data``."""
    at: str | None
    """UTC; None in a table, which has no times."""
    where: str
    """File and row, for errors."""


@dataclass(frozen=True, slots=True)
class Responses:
    """One file of a rater."""

    path: Path
    digest: str
    packet: str
    rater: str
    simulated: bool
    saved_at: str | None
    rows: tuple[Response, ...]


def read_responses(path: Path) -> Responses:
    """Read one file, JSON or CSV by its suffix.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError, BadInputError
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError("responses cannot be read", where=str(path)) from error
    match path.suffix.lower():
        case ".json":
            return _from_json(path, data)
        case ".csv":
            return _from_csv(path, data)
    raise BadInputError("responses must be a .json or .csv file", where=str(path))


def _from_json(path: Path, data: bytes) -> Responses:
    value = loads_strict(data, where=str(path))
    if not isinstance(value, dict):
        raise MalformedFileError("not a JSON object", where=str(path))
    tag, simulated = value.get("format"), value.get("simulated")
    if tag not in (format_name(HUMAN_FORMAT), format_name(SIMULATED_FORMAT)):
        raise UnknownFormatError("not a responses file of this release", where=str(path), fix="Save it again from the page.")
    if simulated is not (tag == format_name(SIMULATED_FORMAT)):
        raise MalformedFileError("the file contradicts itself on whether it is simulated", where=str(path))
    if set(value) != {"format", "packet", "rater", "simulated", "saved_at", "answers"} or not isinstance(
        value["answers"], list
    ):
        raise MalformedFileError("keys are not those of a responses file", where=str(path), fix="Save it again from the page.")
    for name in ("packet", "rater"):
        if not isinstance(value[name], str):
            raise MalformedFileError(f"`{name}` is not text", where=str(path))
    rows = tuple(_json_row(row, f"{path}: answer {number}") for number, row in enumerate(value["answers"], start=1))
    saved = _time(value["saved_at"], str(path))
    return Responses(path, digest_bytes(data), value["packet"], value["rater"], simulated, saved, rows)


def _json_row(row: Any, where: str) -> Response:
    if not isinstance(row, dict) or set(row) != {"item", "value", "at"} or not isinstance(row["item"], str):
        raise MalformedFileError("not an answer with `item`, `value` and `at`", where=where)
    value = row["value"]
    if (isinstance(value, int) and not isinstance(value, bool)) or value in (CANNOT_JUDGE, PERSONAL_DATA):
        return Response(row["item"], value, _time(row["at"], where), where)
    raise MalformedFileError("rating is neither a point of the scale nor one of the two other choices", where=where)


def _time(value: Any, where: str) -> str:
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")
            return value
    except ValueError:
        pass
    raise MalformedFileError("time is not UTC in the form 2026-01-31T12:00:00Z", where=where)


def _from_csv(path: Path, data: bytes) -> Responses:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedFileError("not UTF-8", where=str(path), fix="Save it as `CSV UTF-8` in the spreadsheet.") from error
    first = text.split("\n", 1)[0]
    # Spreadsheets in many languages write semicolons.
    delimiter = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise MalformedFileError("not a CSV table", where=str(path)) from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if any(header.count(name) != 1 for name in _NEEDED):
        raise MalformedFileError(f"needs the columns {', '.join(_NEEDED)}, each once", where=str(path))
    column = [header.index(name) for name in _NEEDED]
    whose: set[tuple[str, str]] = set()
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}: row {number}"
        if len(row) != len(header):
            raise MalformedFileError(f"has {len(row)} cells, the header {len(header)}", where=where)
        packet, rater, item, rating = (row[i].strip() for i in column)
        whose.add((packet, rater))
        if len(whose) > 1:
            raise MalformedFileError("is of another packet or rater than the rows above", where=where)
        if rating:
            found.append(Response(item, _csv_value(rating, where), None, where))
    if not whose:
        raise MalformedFileError("has no rows", where=str(path))
    ((packet, rater),) = whose
    return Responses(path, digest_bytes(data), packet, rater, False, None, tuple(found))


def _csv_value(text: str, where: str) -> int | str:
    word = text.lower().replace("_", " ")
    if re.fullmatch(r"\d{1,3}", word, re.ASCII):
        return int(word)
    if word in ("cannot judge", "personal data"):
        return word.replace(" ", "_")
    raise MalformedFileError("rating is none of: a point of the scale, cannot judge, personal data", where=where)
