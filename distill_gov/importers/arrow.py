"""Arrow's tables: Parquet, Arrow files and streams, and directories that Hugging Face `datasets` saved (``save_to_disk``).

Such a directory holds ``state.json`` (the names of its Arrow streams, in order), ``dataset_info.json`` (the features) and the
streams; that of a ``DatasetDict`` holds ``dataset_dict.json`` and a directory for each split. Read with pyarrow alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distill_gov.records.errors import BadInputError, MalformedFileError, MissingFileError
from distill_gov.records.files import loads_strict

__all__ = ["ARROW_FILE", "ARROW_STREAM", "PARQUET", "arrow_rows", "dataset_rows", "parquet_rows"]

PARQUET, ARROW_FILE, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
"""The first bytes. A stream begins with the continuation marker of its first message."""

Rows = Iterator[tuple[str, Any]]


def parquet_rows(data: bytes, path: Path) -> Rows:
    """The rows of a Parquet file."""
    return _numbered(_values(lambda: pq.read_table(pa.BufferReader(data)), "Parquet", str(path)), str(path))


def arrow_rows(data: bytes, path: Path) -> Rows:
    """The rows of an Arrow file or stream."""
    return _numbered(_stream(data, str(path)), str(path))


def _stream(data: bytes, where: str) -> list[Any]:
    opened = pa.ipc.open_file if data.startswith(ARROW_FILE) else pa.ipc.open_stream
    return _values(lambda: opened(pa.BufferReader(data)).read_all(), "Arrow", where)


def _values(read: Callable[[], pa.Table], container: str, where: str) -> list[Any]:
    try:
        table = read()
        values: list[Any] = table.to_pylist()
    except Exception:
        # Arrow raises many types on damaged bytes, builtin ones included, and their messages may quote values.
        article = "an" if container == "Arrow" else "a"
        raise MalformedFileError(f"not {article} {container} file, or a damaged one", where=where) from None
    if len(set(table.column_names)) < table.num_columns:
        raise MalformedFileError("two columns have one name", where=where, fix="Rename one.")
    return values


def _numbered(values: list[Any], where: str) -> Rows:
    for number, value in enumerate(values, start=1):
        yield f"{where}: row {number}", value


def dataset_rows(path: Path) -> Rows:
    """The rows of a directory that `datasets` saved; labels that are numbers of names become the names.

    Raises:
        BadInputError: several splits; nobody chooses among them.
        MissingFileError, MalformedFileError: no such directory, or a damaged one.
    """
    if (path / "dataset_dict.json").is_file():
        path = _only_split(path)
    if not (path / "state.json").is_file():
        raise MissingFileError("cannot be read (a directory, and not one that `datasets` saved)", where=str(path))
    state, info = _json(path / "state.json"), _json(path / "dataset_info.json")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        fix = "Call `flatten_indices()` before `save_to_disk`."
        raise MalformedFileError("its rows are chosen by an index that is kept apart", where=str(path), fix=fix)
    features = info.get("features")
    columns = features if isinstance(features, dict) else {}
    values: list[Any] = []
    for name in _file_names(state, path):
        values += _stream(_bytes(path / name), str(path / name))
    yield from _numbered([_named(value, columns, f"{path}: row {n}") for n, value in enumerate(values, start=1)], str(path))


def _only_split(path: Path) -> Path:
    splits = _json(path / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not all(_is_plain(name) for name in splits) or not splits:
        raise MalformedFileError("names no splits", where=str(path / "dataset_dict.json"))
    if len(splits) > 1:
        raise BadInputError(
            f"several splits: {', '.join(splits)}", where=str(path), fix=f"Name the directory of one: {path / splits[0]}"
        )
    return path / str(splits[0])


def _file_names(state: Mapping[str, Any], path: Path) -> list[str]:
    files = state.get("_data_files")
    names = [f.get("filename") if isinstance(f, dict) else None for f in files] if isinstance(files, list) else [None]
    # A name with a slash could lead out of the directory.
    if not all(_is_plain(name) for name in names):
        raise MalformedFileError("names no Arrow files beside it", where=str(path / "state.json"))
    return [str(name) for name in names]


def _is_plain(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and name.isprintable() and not set(name) & set("/\\:")


def _json(path: Path) -> dict[str, Any]:
    value = loads_strict(_bytes(path), where=str(path))
    if not isinstance(value, dict):
        raise MalformedFileError("not a JSON object", where=str(path))
    return value


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingFileError(f"cannot be read ({error.strerror})", where=str(path)) from None


def _named(row: Any, features: Mapping[str, Any], where: str) -> Any:
    return {name: _value(value, features.get(name), where) for name, value in row.items()}


def _value(value: Any, feature: Any, where: str) -> Any:
    if not isinstance(feature, dict):
        return value
    if feature.get("_type") == "ClassLabel" and isinstance(value, int):
        names = feature.get("names")
        if value == -1:
            return None  # no label (`datasets` writes it for rows of a hidden test set)
        if not isinstance(names, list) or not 0 <= value < len(names):
            raise MalformedFileError("a label without a name", where=where)
        return names[value]
    # A `Sequence` of objects is kept as an object of lists (datasets < 4); it means a list of objects.
    if feature.get("_type") == "Sequence" and isinstance(value, dict) and all(isinstance(v, list) for v in value.values()):
        if len({len(part) for part in value.values()}) > 1:
            raise MalformedFileError("a sequence whose parts differ in length", where=where)
        return [dict(zip(value, parts, strict=True)) for parts in zip(*value.values(), strict=True)]
    return value
