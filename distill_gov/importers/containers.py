"""Which container a file is, told by its first bytes, and the rows in it: JSON Lines, JSON arrays and CSV are read here."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distill_gov.importers.arrow import ARROW_FILE, ARROW_STREAM, PARQUET, arrow_rows, dataset_rows, parquet_rows
from distill_gov.importers.rows import Row, json_object
from distill_gov.importers.workbook import OLD_WORKBOOK, WORKBOOK, refuse_old_workbook, workbook_rows
from distill_gov.records.errors import MalformedFileError, MissingFileError, NothingLeftError
from distill_gov.records.files import loads_strict

__all__ = ["read_rows"]

Rows = Iterator[tuple[str, Any]]
"""Where each row stands, and the row, which nobody has checked."""


def read_rows(path: Path) -> tuple[str, list[Row], frozenset[str]]:
    """What container a file or directory is, its rows, and all its columns, also those that hold nothing but nulls.

    Raises:
        MissingFileError, MalformedFileError: it cannot be read.
        NothingLeftError: no rows in it.
    """
    container, found = ("a datasets directory", dataset_rows(path)) if path.is_dir() else _of_file(path)
    rows: list[Row] = []
    columns: set[str] = set()
    for where, value in found:
        rows.append(Row(where, json_object(value, where)))
        columns.update(value)
    if not rows:
        raise NothingLeftError("no rows in it", where=str(path), fix="Name a file that has some.")
    return container, rows, frozenset(columns)


def _of_file(path: Path) -> tuple[str, Rows]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError(f"cannot be read ({error.strerror})", where=str(path)) from None
    for mark, (container, reader) in _BINARY.items():
        if data.startswith(mark):
            return container, reader(data, path)
    data = data.removeprefix(b"\xef\xbb\xbf")
    container, reader = _TEXT.get(data.lstrip()[:1], ("CSV", _csv_rows))
    return container, reader(data, path)


def _line_rows(data: bytes, path: Path) -> Rows:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, loads_strict(line, where=where)


def _array_rows(data: bytes, path: Path) -> Rows:
    for number, value in enumerate(loads_strict(data, where=str(path)), start=1):
        yield f"{path}: row {number}", value


def _csv_rows(data: bytes, path: Path) -> Rows:
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError:
        fix = "Save it as UTF-8 (in Excel: CSV UTF-8)."
        raise MalformedFileError("neither JSON, Parquet nor UTF-8 text", where=str(path), fix=fix) from None
    if not content.strip():
        return
    records = _csv_records(content, _delimiter(content, path), path, strict=True)
    where, header = next(records)
    header = [name.strip() for name in header]
    if not all(header) or len(set(header)) < len(header):
        raise MalformedFileError("a column of the header has no name, or two have one", where=where, fix="Name each column.")
    for where, cells in records:
        if len(cells) != len(header):
            raise MalformedFileError(
                f"{len(cells)} cells where the header has {len(header)}", where=where, fix="Quote cells that hold delimiters."
            )
        yield where, dict(zip(header, cells, strict=True))


def _delimiter(content: str, path: Path) -> str:
    # csv.Sniffer guesses from letter counts of the whole text, and prose misleads it; column names seldom hold a delimiter.
    # Not strict: quoted names followed by the right delimiter are an error to the wrong one.
    header = {mark: next(_csv_records(content, mark, path, strict=False))[1] for mark in (",", ";", "\t")}
    splitting = [mark for mark, names in header.items() if len(names) > 1]
    if len(splitting) > 1:
        raise MalformedFileError(
            "the header can be split by more than one of comma, semicolon and tab",
            where=f"{path}:1",
            fix="Use one of them, and quote column names that hold another.",
        )
    return splitting[0] if splitting else ","


def _csv_records(content: str, delimiter: str, path: Path, *, strict: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield (file and first line, cells) of each record; blank lines are skipped."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=strict)
    while True:
        where = f"{path}:{reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise MalformedFileError(f"not valid CSV ({error})", where=where, fix="Mend the quotes.") from None
        if cells:
            yield where, cells


_Reader = Callable[[bytes, Path], Rows]
_BINARY: dict[bytes, tuple[str, _Reader]] = {
    PARQUET: ("Parquet", parquet_rows),
    ARROW_FILE: ("Arrow", arrow_rows),
    ARROW_STREAM: ("Arrow", arrow_rows),
    WORKBOOK: ("XLSX", workbook_rows),
    OLD_WORKBOOK: ("XLS", refuse_old_workbook),
}
_TEXT: dict[bytes, tuple[str, _Reader]] = {b"[": ("a JSON array", _array_rows), b"{": ("JSON Lines", _line_rows)}
