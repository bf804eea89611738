"""XLSX workbooks: one sheet, a row of names, and cells that say what they hold.

Merged cells and formulas that were never calculated have no one value, so they are refused by their place.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from distill_gov.records.errors import BadInputError, MalformedFileError, MissingExtraError

__all__ = ["OLD_WORKBOOK", "WORKBOOK", "refuse_old_workbook", "workbook_rows"]

WORKBOOK, OLD_WORKBOOK = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The first bytes of a ZIP archive, which an XLSX file is, and of an OLE file, which an XLS or encrypted XLSX file is."""

_MOST_BYTES = 1 << 30
"""Unpacked. A few kilobytes of ZIP can unpack to more than fits into memory."""
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")

Rows = Iterator[tuple[str, Any]]


def refuse_old_workbook(data: bytes, path: Path) -> Rows:
    """Refuse what only Excel can read.

    Raises:
        MalformedFileError: always.
    """
    fix = "Save it as .xlsx without a password."
    raise MalformedFileError("an old or an encrypted Excel file", where=str(path), fix=fix)


def workbook_rows(data: bytes, path: Path) -> Rows:
    """The rows of the only sheet that holds any, each with its number in the sheet; blank rows are skipped.

    Raises:
        MissingExtraError: openpyxl is not installed.
        BadInputError: several sheets hold something.
        MalformedFileError: not a workbook, or a cell that has no one value.
    """
    values, formulas = _sheets(data, path)
    if values is None:
        return
    _refuse_merged(formulas, path)
    header: list[str] = []
    for number, row in enumerate(values.iter_rows(), start=1):
        where = f"{path}: row {number}"
        cells = [_value(cell, formulas, where) for cell in row]
        while cells and cells[-1] is None:
            cells.pop()
        if not cells:
            continue
        if not header:
            header = _header(cells, where)
        elif len(cells) > len(header):
            raise MalformedFileError("a cell stands in a column without a name", where=where, fix="Name each column.")
        else:
            yield where, dict(zip(header, [*cells, *[None] * (len(header) - len(cells))], strict=True))


def _sheets(data: bytes, path: Path) -> tuple[Any, Any]:
    """The only sheet with anything in it, once with values and once with formulas; twice None where there is none."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise MissingExtraError(
            "an XLSX file needs openpyxl", where=str(path), fix="pip install 'distill-gov[xlsx]'"
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise MalformedFileError("unpacks to more than 1 GiB", where=str(path), fix="Export it as CSV.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and charts, which nobody reads here
            both = [load_workbook(io.BytesIO(data), data_only=only, keep_links=False) for only in (True, False)]
        held = [sheet.title for sheet in both[1].worksheets if any(c.value is not None for r in sheet.iter_rows() for c in r)]
    except MalformedFileError:
        raise
    except Exception:
        # openpyxl and zipfile raise many types on damaged bytes, and their messages may quote values.
        raise MalformedFileError("not an XLSX file, or a damaged one", where=str(path)) from None
    if len(held) > 1:
        raise BadInputError(f"{len(held)} sheets hold something", where=str(path), fix="Keep one sheet with rows in it.")
    return (both[0][held[0]], both[1][held[0]]) if held else (None, None)


def _refuse_merged(sheet: Any, path: Path) -> None:
    for merged in sheet.merged_cells.ranges:
        raise MalformedFileError(f"merged cells {merged}", where=str(path), fix="Split them and fill in each cell.")


def _header(cells: list[Any], where: str) -> list[str]:
    names = [cell.strip() if isinstance(cell, str) else "" for cell in cells]
    if not all(names) or len(set(names)) < len(names):
        raise MalformedFileError(
            "a column of the header has no name in words, or two have one", where=where, fix="Name each column."
        )
    return names


def _value(cell: Any, formulas: Any, where: str) -> Any:
    """What a cell holds: text, a number, a truth value; a date as a date, a time of day or an instant as ISO 8601; or None."""
    value = cell.value
    if value is None:
        if formulas[cell.coordinate].data_type == "f":
            fix = "Open and save it in a program that calculates, or paste the values."
            raise MalformedFileError(f"cell {cell.coordinate} is a formula that was never calculated", where=where, fix=fix)
        return None
    if cell.data_type == "e":
        raise MalformedFileError(f"cell {cell.coordinate} holds an error", where=where, fix="Mend its formula.")
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
    if isinstance(value, datetime):
        return value.date() if value.time() == time() else value.isoformat()
    if isinstance(value, date):
        return value
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    raise MalformedFileError(f"cell {cell.coordinate} holds no text, number or date", where=where, fix="Write it as text.")
