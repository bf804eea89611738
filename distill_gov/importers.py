"""Import of other people's files into traces: chat, prompt/completion and ShareGPT records, and plain text with labels.

The container (JSON Lines, a JSON array, CSV, Parquet) is told by the first bytes, the shape of the records by their columns.
Where two readings are possible, none is chosen. A row that cannot be read is an error, never a row less.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
    UnknownKeyError,
)
from distill_gov.records.files import loads_strict
from distill_gov.records.settings import Settings
from distill_gov.traces import Trace, parse_trace, shown_key

__all__ = ["ImportMap", "Imported", "Kind", "import_traces"]

Kind = Literal["OpenAI chat", "prompt/completion", "ShareGPT", "text"]
"""OpenAI chat: ``messages`` with role and content. ShareGPT: ``conversations`` with from and value."""


class ImportMap(Settings):
    """``map.yaml``: which column each part of a trace is read from.

    A name that starts with a slash is a JSON pointer (RFC 6901) into the row: ``/meta/conversation``.
    """

    messages: str | None = None
    text: str | None = None
    prompt: str | None = None
    completion: str | None = None
    label: str | None = None
    id: str | None = None
    group: str | None = None
    consent: str | None = None
    licence: str | None = None
    retention_until: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made."""

    traces: tuple[Trace, ...]
    kind: Kind
    said: str
    """One line: what was detected, how many rows, what was asserted, which columns were left out."""


_SHAPES: Mapping[str, Kind] = {
    "messages": "OpenAI chat",
    "prompt": "prompt/completion",
    "conversations": "ShareGPT",
    "text": "text",
}
_EXPLICIT_SHAPES = ("messages", "prompt", "text")
_PAPERS = ("consent", "licence", "retention_until")
_ASSERTABLE = (*_PAPERS, "language")
_USUAL_COLUMNS = {"group": ("group", "conversation_id")}
# Where a file has a column for one of these, every row must fill it: defaults stand in only for a column that was never there.
# Above all, an empty consent must not become consent by default.
_ALL_OR_NONE = (*_PAPERS, "completion")
_ROLES = {"human": "user", "gpt": "assistant", "developer": "system"}


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    held: Mapping[str, Any]
    """Columns that are there; a null counts as absent, an empty text does not."""


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    container: str
    rows: tuple[_Row, ...]
    shape: str
    columns: Mapping[str, tuple[str, ...]]
    """Part of a trace to the columns it may come from, the first one held wins; a part that no row holds is not in it."""
    left_out: tuple[str, ...]


def import_traces(
    files: Sequence[Path],
    *,
    mapping: ImportMap | None = None,
    defaults: Mapping[str, str | date | None],
    text: str | None = None,
    label: str | None = None,
) -> Imported:
    """Read files of one kind into traces, in the order given.

    Args:
        files: JSON Lines, JSON arrays, CSV or Parquet files.
        mapping: the columns to read, where they do not have the usual names.
        defaults: consent, licence, retention_until and language for files without such a column; each use is marked in
            the trace's tag ``asserted``.
        text: the column that holds the customer's message, as ``mapping.text``.
        label: the column that holds the right answer, as ``mapping.label``; the reference's field gets the column's name.

    Raises:
        MissingFileError, NothingLeftError: no file, or no row in it.
        MalformedFileError, UnknownKeyError, DuplicateIdError: a bad row, with file and line (or row).
        BadInputError: more than one reading is possible, or a default is missing that is needed.
    """
    names = _merged(mapping or ImportMap(), text=text, label=label)
    given = _checked_defaults(defaults)
    if not files:
        raise NothingLeftError("no file to import", fix="Name at least one.")
    read = [_open(path, names) for path in files]
    kinds = {_kind(file): file for file in read}
    if len(kinds) > 1:
        raise BadInputError(
            f"files of several kinds: {', '.join(f'{kind} in {file.path}' for kind, file in kinds.items())}",
            fix="Import each kind apart.",
        )
    drafts = [(row.where, _draft(row, file, given)) for file in read for row in file.rows]
    _give_ids(drafts)
    traces = tuple(parse_trace(draft, where=where) for where, draft in drafts)
    kind = next(iter(kinds))
    return Imported(traces, kind, _said(kind, read, given, label=names.label))


def _merged(mapping: ImportMap, *, text: str | None, label: str | None) -> ImportMap:
    for key, asked in (("text", text), ("label", label)):
        named = getattr(mapping, key)
        if asked is not None and named not in (None, asked):
            raise BadInputError(f"--{key} and the map file name different columns", fix="Keep one.")
    names = mapping.model_copy(update={"text": text or mapping.text, "label": label or mapping.label})
    explicit = [key for key in _EXPLICIT_SHAPES if getattr(names, key) is not None]
    if len(explicit) > 1:
        raise BadInputError(f"both `{explicit[0]}` and `{explicit[1]}` are mapped to a column", fix="Keep the one to read.")
    return names


def _checked_defaults(defaults: Mapping[str, str | date | None]) -> dict[str, str]:
    for key in defaults:
        if key not in _ASSERTABLE:
            near = difflib.get_close_matches(key, _ASSERTABLE, n=1, cutoff=0.5)
            raise UnknownKeyError(
                f"unknown key `{key}`", where="defaults", fix=f"Did you mean `{near[0]}`?" if near else "Remove it."
            )
    given = {key: _as_text(value) for key, value in defaults.items() if _filled(value)}
    stand_in = {"id": "x", "group": "x", "messages": [{"role": "user", "content": "x"}], "tags": {}}
    papers = {"consent": "x", "licence": "x", "retention_until": "2000-01-01"}
    parse_trace(stand_in | papers | given, where="defaults")  # a bad default is not the fault of the row that needs it
    return given


# --- containers -------------------------------------------------------------------------------------------------------


def _read_rows(path: Path) -> tuple[str, list[_Row]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError(f"cannot be read ({error.strerror})", where=str(path)) from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    start = b"PAR1" if data.startswith(b"PAR1") else data.lstrip()[:1]
    container, reader = _CONTAINERS.get(start, ("CSV", _csv_rows))
    pairs = reader(data, path)
    rows = [_Row(where, _object(value, where)) for where, value in pairs]
    if not rows:
        raise NothingLeftError("no rows in it", where=str(path), fix="Name a file that has some.")
    return container, rows


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedFileError("not a JSON object", where=where)
    return {key: part for key, part in value.items() if part is not None}


def _filled(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value not in ([], {})


def _line_rows(data: bytes, path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, loads_strict(line, where=where)


def _array_rows(data: bytes, path: Path) -> Iterator[tuple[str, Any]]:
    for number, value in enumerate(loads_strict(data, where=str(path)), start=1):
        yield f"{path}: row {number}", value


def _parquet_rows(data: bytes, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(data))
        values = table.to_pylist()
    except Exception:
        # Arrow raises many types on damaged bytes, builtin ones included, and their messages may quote values.
        raise MalformedFileError("not a Parquet file, or a damaged one", where=str(path)) from None
    if len(set(table.column_names)) < table.num_columns:
        raise MalformedFileError("two columns have one name", where=str(path), fix="Rename one.")
    for number, value in enumerate(values, start=1):
        yield f"{path}: row {number}", value


def _csv_rows(data: bytes, path: Path) -> Iterator[tuple[str, Any]]:
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


_CONTAINERS = {
    b"PAR1": ("Parquet", _parquet_rows),
    b"[": ("a JSON array", _array_rows),
    b"{": ("JSON Lines", _line_rows),
}


# --- columns ----------------------------------------------------------------------------------------------------------


def _open(path: Path, names: ImportMap) -> _File:
    container, rows = _read_rows(path)
    shape = _shape(rows, names)
    if names.completion is not None and shape != "prompt":
        raise BadInputError(
            "`completion` is mapped, but there is no prompt to go with it", where=str(path), fix="Map `prompt` too."
        )
    parts = [shape, *_ASSERTABLE, "id", "group", "label"]
    if shape == "prompt":
        parts.append("completion")
    if shape != "text":
        parts.append("system")
    if shape == "messages":
        parts += ["reference", "tags"]
    columns = {part: held for part in parts if (held := _held_columns(part, rows, names, path))}
    for part in columns:
        if part in (shape, *_ALL_OR_NONE):
            _refuse_holes(part, rows, columns[part])
    used = {_top(name) for held in columns.values() for name in held}
    left_out = dict.fromkeys(key for row in rows for key in row.held if key not in used and _filled(row.held[key]))
    return _File(path, container, tuple(rows), shape, columns, tuple(left_out))


def _shape(rows: Sequence[_Row], names: ImportMap) -> str:
    explicit = next((key for key in _EXPLICIT_SHAPES if getattr(names, key) is not None), None)
    if explicit is not None:
        return explicit
    found: str | None = None
    for row in rows:
        here = [f"`{shape}`" for shape in _SHAPES if _filled(row.held.get(shape))]
        fix = "Name the one to read in a map file (--map), or use --text."
        if not here:
            raise BadInputError(f"no {', '.join(f'`{shape}`' for shape in _SHAPES)} in this row", where=row.where, fix=fix)
        if len(here) > 1:
            raise BadInputError(f"ambiguous: the row has {' and '.join(here)}", where=row.where, fix=fix)
        if found not in (None, here[0]):
            raise BadInputError(f"ambiguous: this row has {here[0]}, those before have {found}", where=row.where, fix=fix)
        found = here[0]
    assert found is not None  # _read_rows refuses files without rows
    return found.strip("`")


def _held_columns(part: str, rows: Sequence[_Row], names: ImportMap, path: Path) -> tuple[str, ...]:
    """The columns that a part is read from: the mapped one, which must exist, or the usual ones as far as some row has them."""
    mapped: str | None = getattr(names, part, None)
    if mapped is None and part == "label":
        return ()
    wanted = (mapped,) if mapped is not None else _USUAL_COLUMNS.get(part, (part,))
    counts = _present if part in _ALL_OR_NONE else _filled
    held = tuple(name for name in wanted if any(counts(_pick(row.held, name)) for row in rows))
    if mapped is not None and not held:
        near = difflib.get_close_matches(mapped, {key for row in rows for key in row.held}, n=1, cutoff=0.5)
        raise UnknownKeyError(
            f"no row has a column `{mapped}` for `{part}`",
            where=str(path),
            fix=f"Did you mean `{shown_key(near[0])}`?" if near else "Name one that is there.",
        )
    return held


def _present(value: Any) -> bool:
    return value is not None


def _refuse_holes(part: str, rows: Sequence[_Row], columns: tuple[str, ...]) -> None:
    hole = next((row for row in rows if _first(row, columns) is None), None)
    if hole is not None:
        raise MalformedFileError(
            f"`{part}` is empty here, though the file has a column for it",
            where=hole.where,
            fix="Fill it in, or take the row out.",
        )


def _first(row: _Row, columns: Sequence[str]) -> Any:
    """The first of the columns that is not empty in a row, or None."""
    return next((value for name in columns if _filled(value := _pick(row.held, name))), None)


def _pick(held: Mapping[str, Any], name: str) -> Any:
    if not name.startswith("/"):
        return held.get(name)
    value: Any = held
    for token in _tokens(name):
        if isinstance(value, Mapping):
            value = value.get(token)
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return None
    return value


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _top(name: str) -> str:
    return _tokens(name)[0] if name.startswith("/") else name


# --- rows -------------------------------------------------------------------------------------------------------------


def _draft(row: _Row, file: _File, given: Mapping[str, str]) -> dict[str, Any]:
    """The row of a trace, whose id may still be missing and which nobody has checked."""
    held = {part: value for part, columns in file.columns.items() if (value := _first(row, columns)) is not None}
    draft: dict[str, Any] = {part: _as_text(held[part]) for part in ("id", "group", *_ASSERTABLE) if part in held}
    asserted = {part: given[part] for part in _ASSERTABLE if part not in draft and part in given}
    draft.update(asserted)
    for part in _PAPERS:
        if part not in draft:
            raise BadInputError(
                f"no `{part}` in the file, and no default for it",
                where=str(file.path),
                fix=f"Set `{part}` under `defaults:` in distill.yaml, or map a column to it.",
            )
    draft["messages"] = _messages(file.shape, held, row.where)
    reference = _reference(held, file, row.where)
    if reference is not None:
        draft["reference"] = reference
    draft["tags"] = _tags(held.get("tags", {}), asserted)
    return draft


def _as_text(value: Any) -> Any:
    """Identifiers and dates as text, where JSON or Parquet holds numbers and dates; all else is left for the schema."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _messages(shape: str, held: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    turns = _turns(held[shape], "user", where)
    if shape == "prompt" and "completion" in held:
        turns += _turns(held["completion"], "assistant", where)
    if "system" in held:
        if any(turn["role"] == "system" for turn in turns):
            raise BadInputError("ambiguous: the row has `system` and a system turn", where=where, fix="Keep one of them.")
        turns.insert(0, {"role": "system", "content": held["system"]})
    return turns


def _turns(value: Any, role: str, where: str) -> list[dict[str, Any]]:
    """The turns of a list, or one turn by ``role`` of a text."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list):
        raise MalformedFileError("the conversation is neither text nor a list of turns", where=where)
    return [_turn(turn, f"{where}: turn {number}") for number, turn in enumerate(value, start=1)]


def _turn(turn: Any, where: str) -> dict[str, Any]:
    held = {key: value for key, value in _object(turn, where).items() if _filled(value)}
    role_key, content_key = ("from", "value") if "from" in held else ("role", "content")
    more = next((key for key in held if key not in (role_key, content_key)), None)
    if more is not None:
        fix = "Take it or the row out; nothing is dropped in silence."
        raise UnknownKeyError(f"a trace has no place for `{shown_key(more)}` of a turn", where=where, fix=fix)
    if role_key not in held or content_key not in held:
        raise MalformedFileError("a turn needs a role and a text (`role`, `content` or `from`, `value`)", where=where)
    role = held[role_key]
    return {"role": _ROLES.get(role, role) if isinstance(role, str) else role, "content": _content(held[content_key], where)}


def _content(value: Any, where: str) -> Any:
    """Text, also where it comes as OpenAI's list of text parts."""
    if not isinstance(value, list):
        return value
    parts = [_object(part, where) for part in value]
    if any(part.keys() != {"type", "text"} or part["type"] != "text" or not isinstance(part["text"], str) for part in parts):
        raise MalformedFileError("a turn holds something other than text", where=where, fix="Only text can be imported.")
    return "".join(part["text"] for part in parts)


def _reference(held: Mapping[str, Any], file: _File, where: str) -> Any:
    if "label" not in held:
        found = held.get("reference")
        return {"text": found} if isinstance(found, str) else found
    if "reference" in held:
        raise BadInputError("ambiguous: the row has a label and a `reference`", where=where, fix="Keep one of them.")
    if not isinstance(held["label"], str | int | float):
        raise MalformedFileError("the label is not one text, number or truth value", where=where)
    name = file.columns["label"][0]
    return {_tokens(name)[-1] if name.startswith("/") else name: held["label"]}


def _tags(own: Any, asserted: Mapping[str, str]) -> Any:
    if not isinstance(own, dict):
        return own
    tags = {name: value for name, value in own.items() if value is not None}
    if asserted:
        before = [tags["asserted"]] if isinstance(tags.get("asserted"), str) else []
        tags["asserted"] = ",".join([*before, *asserted])
    return tags


def _give_ids(drafts: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Complete ids and groups in place: an own id must be unique, a missing one comes from the content."""
    taken: dict[str, str] = {}
    for where, draft in drafts:
        own = draft.get("id")
        if not isinstance(own, str):
            continue
        if own in taken:
            fix = "Give each row an id of its own, or map `group` to this column if it names the conversation."
            raise DuplicateIdError(f"its id was taken by {taken[own]}", where=where, fix=fix)
        taken[own] = where
    counts: Counter[str] = Counter()
    for where, draft in drafts:
        if "id" not in draft:
            stem = _content_id(draft, where)
            counts[stem] += 1
            own = stem if counts[stem] == 1 else f"{stem}-{counts[stem]}"
            while own in taken:
                counts[stem] += 1
                own = f"{stem}-{counts[stem]}"
            taken[own] = where
            draft["id"] = own
        draft.setdefault("group", draft["id"])


# One digest in some thousands is all digits, and could be taken for a card or a telephone number.
_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def _content_id(draft: Mapping[str, Any], where: str) -> str:
    try:
        digest = digest_json([draft["messages"], draft.get("reference")]).removeprefix("sha256:")[:16]
    except (DistillGovError, RecursionError):
        raise MalformedFileError("nested too deep, or a value that is no JSON", where=where) from None
    return "t-" + digest.translate(_LETTERS)


# --- what is said -----------------------------------------------------------------------------------------------------


def _kind(file: _File) -> Kind:
    if file.shape == "messages":
        turns = _first(file.rows[0], file.columns["messages"])
        first = turns[0] if isinstance(turns, list) else None
        return "ShareGPT" if isinstance(first, dict) and "from" in first else "OpenAI chat"
    return _SHAPES[file.shape]


def _said(kind: Kind, files: Sequence[_File], given: Mapping[str, str], *, label: str | None) -> str:
    columns = dict.fromkeys(shown_key(name) for file in files for name in file.columns[file.shape])
    containers = dict.fromkeys(file.container for file in files)
    line = f"detected {kind} ({', '.join(f'`{name}`' for name in columns)}) in {' and '.join(containers)}: "
    line += _count(sum(len(file.rows) for file in files), "row") + (f" of {len(files)} files" if len(files) > 1 else "")
    if label is not None and (bare := _lacking("label", files)):
        line += f"; {bare} without a label"
    if asserted := [part for part in given if _lacking(part, files)]:
        line += f"; asserted from defaults: {', '.join(asserted)}"
    if left_out := list(dict.fromkeys(shown_key(name) for file in files for name in file.left_out)):
        more = f" and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        line += f"; columns left out: {', '.join(left_out[:8])}{more}"
    return line


def _lacking(part: str, files: Sequence[_File]) -> int:
    return sum(_first(row, file.columns.get(part, ())) is None for file in files for row in file.rows)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
