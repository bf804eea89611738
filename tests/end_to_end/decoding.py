"""Every piece of text in a file, whatever its format: what a search for personal values has to look through."""

from __future__ import annotations

import html
import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import yaml


class UndecodableError(Exception):
    """A file of a type that nobody looks into, which must not be: it could hold anything."""


def strings(value: Any) -> Iterator[str]:
    """Keys and values of a JSON value, as text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)
    elif value is not None:
        yield str(value)


def _embedded(text: str) -> Iterator[str]:
    """A text, and what it holds if it is itself JSON (the request of a measurement, a reply in an answer)."""
    yield text
    if text[:1] in ("{", "["):
        with suppress(ValueError):
            yield from strings(json.loads(text))


def _json(data: bytes) -> Iterator[str]:
    for text in strings(json.loads(data)):
        yield from _embedded(text)


def _lines(data: bytes) -> Iterator[str]:
    for line in data.splitlines():
        yield from _json(line)


def _yaml(data: bytes) -> Iterator[str]:
    yield data.decode("utf-8")  # comments too
    yield from strings(yaml.safe_load(data))


def _text(data: bytes) -> Iterator[str]:
    yield data.decode("utf-8-sig")


def _markup(data: bytes) -> Iterator[str]:
    """The source, the source without its escapes, what a reader sees, and what scripts carry."""
    text = data.decode("utf-8-sig")
    yield text
    yield html.unescape(text)
    yield html.unescape(re.sub(r"<[^>]*>", "", text))
    for body in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL):
        yield from _embedded(body.strip())
        yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), body)


def _safetensors(data: bytes) -> Iterator[str]:
    """Numbers hold no text; the header names them and may say more."""
    (length,) = struct.unpack("<Q", data[:8])
    yield from _json(data[8 : 8 + length])


def _empty(data: bytes) -> Iterator[str]:
    if data:
        raise UndecodableError("holds something")
    yield ""


_BY_SUFFIX: Mapping[str, Callable[[bytes], Iterable[str]]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".yaml": _yaml,
    ".md": _markup,
    ".html": _markup,
    ".csv": _text,
    ".jinja": _text,
    ".safetensors": _safetensors,
    ".lock": _empty,
}


def _parquet(path: Path) -> Iterator[str]:
    """Every column cast to text by DuckDB, nested ones and the file's own metadata included."""
    with duckdb.connect() as connection:
        name = str(path).replace("'", "''")
        for row in connection.execute(f"SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{name}')").fetchall():
            for value in row:
                yield from _embedded(value or "")
        for key, value in connection.execute(f"SELECT key, value FROM parquet_kv_metadata('{name}')").fetchall():
            yield from (bytes(key).decode("utf-8", "replace"), bytes(value).decode("utf-8", "replace"))


def decoded(path: Path) -> Iterator[str]:
    """The texts of a file, its name first.

    Raises:
        UndecodableError: nobody said how to look into files of this type.
    """
    yield path.name
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    if path.suffix not in _BY_SUFFIX:
        raise UndecodableError(f"no way to look into {path.name}")
    yield from _BY_SUFFIX[path.suffix](path.read_bytes())


def _squeezed(text: str) -> str:
    return re.sub(r"[\s./()-]+", "", text).casefold()


def holds(text: str, needle: str) -> bool:
    """Whether a text holds a value, in any case, and with other spaces, dots and dashes between its parts."""
    return needle.casefold() in text.casefold() or _squeezed(needle) in _squeezed(text)
