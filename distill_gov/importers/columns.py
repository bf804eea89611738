"""Which columns of a file the parts of a trace are read from."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill_gov.importers.containers import read_rows
from distill_gov.importers.exports import Dialect, Export, exported
from distill_gov.importers.langfuse import LANGFUSE, is_langfuse
from distill_gov.importers.langsmith import LANGSMITH, is_langsmith
from distill_gov.importers.mapping import ImportMap, Kind
from distill_gov.importers.rows import Row, filled, first_filled, pick, pointer_tokens
from distill_gov.records.errors import BadInputError, MalformedFileError, UnknownKeyError
from distill_gov.records.keys import Subkey
from distill_gov.traces import shown_key

__all__ = ["ASSERTABLE", "OPTIONAL_PAPERS", "PAPERS", "SHAPES", "File", "merged", "open_file"]

SHAPES: Mapping[str, Kind] = {
    "messages": "OpenAI chat",
    "prompt": "prompt/completion",
    "conversations": "ShareGPT",
    "text": "text",
}
PAPERS = ("consent", "licence", "retention_until")
OPTIONAL_PAPERS = ("purpose", "region", "tenant")
ASSERTABLE = (*PAPERS, "language", *OPTIONAL_PAPERS)
_EXPLICIT_SHAPES = ("messages", "prompt", "text")
_USUAL_COLUMNS = {"group": ("group", "conversation_id")}
# Where a file has a column for one of these, every row must fill it: defaults stand in only for a column that was never there.
# Above all, an empty consent must not become consent by default.
_ALL_OR_NONE = (*PAPERS, "completion")
_MAPPED_ONLY = ("label", "slice")


@dataclass(frozen=True, slots=True)
class File:
    """A file's rows and what each part of a trace is read from."""

    path: Path
    container: str
    rows: tuple[Row, ...]
    shape: str
    columns: Mapping[str, tuple[str, ...]]
    """Part of a trace to the columns it may come from, the first one held wins; a part that no row holds is not in it."""
    left_out: tuple[str, ...]
    kind: Kind
    read: tuple[str, ...]
    """The columns of the conversation."""
    passed_over: Counter[str] = field(default_factory=Counter)
    turns_left_out: Counter[str] = field(default_factory=Counter)


def merged(mapping: ImportMap, *, text: str | None, label: str | None) -> ImportMap:
    """A map with the columns that the command line names.

    Raises:
        BadInputError: they contradict each other.
    """
    for key, asked in (("text", text), ("label", label)):
        named = getattr(mapping, key)
        if asked is not None and named not in (None, asked):
            raise BadInputError(f"--{key} and the map file name different columns", fix="Keep one.")
    names = mapping.model_copy(update={"text": text or mapping.text, "label": label or mapping.label})
    explicit = [key for key in _EXPLICIT_SHAPES if getattr(names, key) is not None]
    if len(explicit) > 1:
        raise BadInputError(f"both `{explicit[0]}` and `{explicit[1]}` are mapped to a column", fix="Keep the one to read.")
    return names


def open_file(path: Path, names: ImportMap, key: Subkey | None) -> File:
    """Read a file and find its columns.

    Raises:
        BadInputError and its kinds: no reading of it, or more than one.
    """
    container, rows, held_columns = read_rows(path)
    dialect = _dialect(held_columns) if _explicit(names) is None else None
    export = _exported(dialect, rows, names, key, path) if dialect else None
    rows = export.rows if export else rows
    shape = "messages" if export else _shape(rows, names)
    if names.completion is not None and shape != "prompt":
        raise BadInputError(
            "`completion` is mapped, but there is no prompt to go with it", where=str(path), fix="Map `prompt` too."
        )
    columns = {part: held for part in _parts(shape) if (held := _held_columns(part, rows, names, path))}
    for part in columns:
        if part in (shape, *_ALL_OR_NONE):
            _refuse_holes(part, rows, columns[part])
    used = {_top(name) for held in columns.values() for name in held} | set((*export.read, *export.used) if export else ())
    left_out = dict.fromkeys(name for row in rows for name in row.held if name not in used and filled(row.held[name]))
    left_out.update(dict.fromkeys(export.columns_left_out if export else ()))
    kind = export.kind if export else _kind(shape, rows, columns)
    read = export.read if export else columns[shape]
    file = File(path, container, tuple(rows), shape, columns, tuple(left_out), kind, read)
    if export:
        file.passed_over.update(export.passed_over)
        file.turns_left_out.update(export.left_out)
    return file


def _dialect(columns: Collection[str]) -> Dialect | None:
    if set(SHAPES) & set(columns):
        return None
    return LANGSMITH if is_langsmith(columns) else LANGFUSE if is_langfuse(columns) else None


def _exported(dialect: Dialect, rows: Sequence[Row], names: ImportMap, key: Subkey | None, path: Path) -> Export:
    own = [part for part in ("id", "group") if getattr(names, part) is not None]
    return exported(dialect, rows, key, own=own, source=str(path))


def _parts(shape: str) -> list[str]:
    parts = [shape, *ASSERTABLE, "id", "group", "label", "slice", "context"]
    if shape == "prompt":
        parts += ["completion", "reasoning"]
    if shape != "text":
        parts.append("system")
    if shape == "messages":
        parts += ["reference", "tags"]
    return parts


def _explicit(names: ImportMap) -> str | None:
    return next((key for key in _EXPLICIT_SHAPES if getattr(names, key) is not None), None)


def _shape(rows: Sequence[Row], names: ImportMap) -> str:
    explicit = _explicit(names)
    if explicit is not None:
        return explicit
    found: str | None = None
    for row in rows:
        here = [f"`{shape}`" for shape in SHAPES if filled(row.held.get(shape))]
        fix = "Name the one to read in a map file (--map), or use --text."
        if not here:
            raise BadInputError(f"no {', '.join(f'`{shape}`' for shape in SHAPES)} in this row", where=row.where, fix=fix)
        if len(here) > 1:
            raise BadInputError(f"ambiguous: the row has {' and '.join(here)}", where=row.where, fix=fix)
        if found not in (None, here[0]):
            raise BadInputError(f"ambiguous: this row has {here[0]}, those before have {found}", where=row.where, fix=fix)
        found = here[0]
    assert found is not None  # read_rows refuses files without rows
    return found.strip("`")


def _kind(shape: str, rows: Sequence[Row], columns: Mapping[str, tuple[str, ...]]) -> Kind:
    if shape == "messages":
        turns = first_filled(rows[0], columns["messages"])
        first = turns[0] if isinstance(turns, list) else None
        return "ShareGPT" if isinstance(first, dict) and "from" in first else "OpenAI chat"
    return SHAPES[shape]


def _held_columns(part: str, rows: Sequence[Row], names: ImportMap, path: Path) -> tuple[str, ...]:
    """The columns that a part is read from: the mapped one, which must exist, or the usual ones as far as some row has them."""
    mapped: str | None = getattr(names, part, None)
    if mapped is None and part in _MAPPED_ONLY:
        return ()
    wanted = (mapped,) if mapped is not None else _USUAL_COLUMNS.get(part, (part,))
    counts = _present if part in _ALL_OR_NONE else filled
    held = tuple(name for name in wanted if any(counts(pick(row.held, name)) for row in rows))
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


def _refuse_holes(part: str, rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    hole = next((row for row in rows if first_filled(row, columns) is None), None)
    if hole is not None:
        raise MalformedFileError(
            f"`{part}` is empty here, though the file has a column for it",
            where=hole.where,
            fix="Fill it in, or take the row out.",
        )


def _top(name: str) -> str:
    return pointer_tokens(name)[0] if name.startswith("/") else name
