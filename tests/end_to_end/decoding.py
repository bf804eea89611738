"""Every piece of text in a file, whatever its format: what a search for personal values has to look through."""

from __future__ import annotations

import gzip
import html
import io
import json
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
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


def _parquet(data: bytes) -> Iterator[str]:
    """Every column cast to text by DuckDB, nested ones and the file's own metadata included."""
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file, duckdb.connect() as connection:
        file.write(data)
        file.flush()
        for row in connection.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [file.name]).fetchall():
            for value in row:
                yield from _embedded(value or "")
        for key, value in connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [file.name]).fetchall():
            yield from (bytes(key).decode("utf-8", "replace"), bytes(value).decode("utf-8", "replace"))


def _zip(data: bytes) -> Iterator[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        yield archive.comment.decode("utf-8", "replace")
        for member in archive.infolist():
            yield member.comment.decode("utf-8", "replace")
            yield from _member(member.filename, None if member.is_dir() else archive.read(member))


def _tar(data: bytes) -> Iterator[str]:
    """A tar file, compressed or not, with what its headers say of who made it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            yield from (member.uname, member.gname, member.linkname, *strings(member.pax_headers))
            file = archive.extractfile(member) if member.isfile() else None
            yield from _member(member.name, file.read() if file else None)


def _member(name: str, data: bytes | None) -> Iterator[str]:
    yield name
    if data is not None:
        yield from _content(PurePosixPath(name).name, data)


_PACKED: Mapping[str, Callable[[bytes], Iterable[str]]] = {".zip": _zip, ".tar": _tar, ".tgz": _tar, ".tar.gz": _tar}
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error)


def _content(name: str, data: bytes) -> Iterator[str]:
    """The texts of a file's content, by its name's ending."""
    packed = next((read for ending, read in _PACKED.items() if name.endswith(ending)), None)
    suffix = PurePosixPath(name).suffix
    try:
        if packed is not None:
            yield from packed(data)
        elif suffix == ".gz":
            yield from _content(name.removesuffix(".gz"), gzip.decompress(data))
        elif suffix == ".parquet":
            yield from _parquet(data)
        elif suffix in _BY_SUFFIX:
            yield from _BY_SUFFIX[suffix](data)
        else:
            raise UndecodableError(f"no way to look into {name}")
    except _DAMAGED as error:
        # Encrypted, damaged, or not what it is called: nobody could look into it.
        raise UndecodableError(f"{name} cannot be opened ({type(error).__name__})") from None


def decoded(path: Path) -> Iterator[str]:
    """The texts of a file, its name first; archives are opened, and what is in them likewise.

    Raises:
        UndecodableError: nobody said how to look into files of this type, or it cannot be opened.
    """
    yield path.name
    yield from _content(path.name, path.read_bytes())


def _squeezed(text: str) -> str:
    return re.sub(r"[\s./()-]+", "", text).casefold()


def holds(text: str, needle: str) -> bool:
    """Whether a text holds a value, in any case, and with other spaces, dots and dashes between its parts."""
    if needle.isdigit() and len(needle) < 8:
        # Some of the many figures in a run have these digits in their middle.
        return re.search(rf"(?<![0-9.]){needle}(?![0-9])", text) is not None
    return needle.casefold() in text.casefold() or _squeezed(needle) in _squeezed(text)
