"""Files one can trust: strict in, atomic out.

JSON objects and Parquet files carry ``format: distill-gov/<name>/<version>``; a file of another format is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distill_gov.records.errors import MalformedFileError, MissingFileError, UnknownFormatError

__all__ = [
    "check_format",
    "format_name",
    "loads_strict",
    "read_json",
    "read_jsonl",
    "read_parquet",
    "read_parquet_schema",
    "replacing_directory",
    "write_bytes",
    "write_json",
    "write_jsonl",
    "write_parquet",
    "write_text",
]

FORMAT_VERSIONS: Mapping[str, int] = {"cases": 2, "soft_targets": 2}
"""The version that this release writes, of every format that is not in its first."""

# Not every error of Arrow has ArrowException as its base, and text that is no UTF-8 shows only when rows are made.
_ARROW_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError)


_TAG = re.compile(r"distill-gov/[a-z_-]{1,40}/[0-9]{1,6}")


def format_name(name: str) -> str:
    """The format tag that this release writes for files of one kind."""
    return f"distill-gov/{name}/{FORMAT_VERSIONS.get(name, 1)}"


class _RefusedError(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise _RefusedError("duplicate key")
        seen[key] = value
    return seen


def _no_constant(name: str) -> Any:
    raise _RefusedError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _RefusedError("number out of range")
    return number


def loads_strict(text: str | bytes, *, where: str) -> Any:
    """Parse JSON, refusing duplicate keys, NaN, infinities, invalid UTF-8 and lone surrogates.

    Raises:
        MalformedFileError: with ``where`` and the position, never the text.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeError as error:
        raise MalformedFileError("not valid UTF-8 text", where=where, fix="Save it as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise MalformedFileError(
            f"not valid JSON ({error.msg} at column {error.colno})", where=where, fix="Mend or remove it."
        ) from None
    except _RefusedError as error:
        raise MalformedFileError(f"not valid JSON ({error})", where=where, fix="Mend or remove it.") from None
    except (RecursionError, ValueError):
        raise MalformedFileError("nested too deep or a number too long", where=where) from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError("no such file", where=str(path)) from error
    except OSError as error:
        raise MissingFileError(f"cannot be read ({error.strerror})", where=str(path)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file atomically: temporary file in the same directory, fsync, rename, fsync of the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Mapping[str, Any], *, format: str) -> None:
    """Write a JSON object with its format tag first; keys keep their order."""
    if "format" in value:
        raise MalformedFileError("key `format` is taken by the format tag", where=str(path))
    write_bytes(path, _encoded({"format": format_name(format), **value}, path, indent=2))


def read_json(path: Path, *, format: str) -> dict[str, Any]:
    """Read a JSON object and take its format tag off.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    value = loads_strict(_read_bytes(path), where=str(path))
    if not isinstance(value, dict):
        raise MalformedFileError("not a JSON object", where=str(path))
    check_format(value.pop("format", None), format, path)
    return value


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) of a JSON Lines file; blank lines are skipped."""
    for number, line in enumerate(_read_bytes(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        value = loads_strict(line, where=where)
        if not isinstance(value, dict):
            raise MalformedFileError("line is not a JSON object", where=where)
        yield number, value


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_bytes(path, b"".join(_encoded(row, path) for row in rows))


def _encoded(value: Mapping[str, Any], path: Path, *, indent: int | None = None) -> bytes:
    try:
        return (json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except (ValueError, TypeError, RecursionError) as error:
        raise MalformedFileError(f"value has no JSON form ({type(error).__name__})", where=str(path)) from error


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema, *, format: str) -> None:
    """Write rows under an explicit schema, with the format tag in the file's metadata.

    Raises:
        MalformedFileError: a row does not fit the schema; nothing is written.
    """
    tagged = schema.with_metadata({**(schema.metadata or {}), b"format": format_name(format).encode()})
    sink = pa.BufferOutputStream()
    try:
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=tagged)
        pq.write_table(table, sink, compression="zstd")
    except _ARROW_ERRORS as error:
        # Not chained: Arrow quotes the value that did not fit.
        raise MalformedFileError(f"a row does not fit the schema ({type(error).__name__})", where=str(path)) from None
    write_bytes(path, sink.getvalue().to_pybytes())


def read_parquet(path: Path, *, format: str) -> list[dict[str, Any]]:
    """Read all rows of a Parquet file after checking its format tag.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    data = _read_bytes(path)
    try:
        table = pq.read_table(pa.BufferReader(data))
        tag = (table.schema.metadata or {}).get(b"format", b"").decode("utf-8", "replace") or None
        check_format(tag, format, path)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows
    except _ARROW_ERRORS as error:
        raise MalformedFileError("not a Parquet file, or a damaged one", where=str(path)) from error


def read_parquet_schema(path: Path, *, format: str) -> pa.Schema:
    """The schema of a Parquet file after checking its format tag; no row is read.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    if not path.is_file():
        raise MissingFileError("no such file", where=str(path))
    try:
        schema = pq.read_schema(path)
    except _ARROW_ERRORS as error:
        raise MalformedFileError("not a Parquet file, or a damaged one", where=str(path)) from error
    tag = (schema.metadata or {}).get(b"format", b"").decode("utf-8", "replace") or None
    check_format(tag, format, path)
    return schema.remove_metadata()


def check_format(found: object, wanted: str, path: Path) -> None:
    """Hold a file's format tag against the one that this release writes.

    Raises:
        UnknownFormatError
    """
    if found != format_name(wanted):
        shown = found if isinstance(found, str) and _TAG.fullmatch(found) else "none of ours"
        raise UnknownFormatError(
            f"format is {shown}, expected {format_name(wanted)}",
            where=str(path),
            fix="Use the release that wrote it, or make it again.",
        )


@contextmanager
def replacing_directory(target: Path) -> Iterator[Path]:
    """A new directory that takes the target's place only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    os.chmod(unfinished, 0o755)
    try:
        yield unfinished
        if target.exists():
            shutil.rmtree(target)
        os.replace(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
