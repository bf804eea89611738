"""Named arrays in one file that is mapped, not read: the safetensors form, strict in, with a digest of its own.

A file is 8 bytes of length (little-endian), a JSON header (name -> dtype, shape, data_offsets; ``__metadata__`` of strings),
and the data (https://huggingface.co/docs/safetensors: "Format"). The library reads what is written here. It does not write it:
it gives metadata no fixed order, and the same content must be the same bytes. Nor is it needed to read, so that a purge works
without the training extra.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill_gov.records.errors import HashMismatchError, IntegrityError, MalformedFileError, MissingFileError
from distill_gov.records.files import check_format, format_name, loads_strict

__all__ = ["Tensors", "read_tensors", "tensor_bytes"]

Array = np.ndarray[Any, np.dtype[Any]]

_TYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "U8": np.dtype("u1")}
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_BLANK = b"0" * 64
_LONGEST_HEADER = 100_000_000
"""The limit of the safetensors library."""


@dataclass(frozen=True, slots=True)
class Tensors:
    """A file's arrays (views of the mapped file) and the facts beside them."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array]


def tensor_bytes(arrays: Mapping[str, Array], facts: Mapping[str, Any], *, format: str) -> bytes:
    """The file's bytes; the same content gives the same ones.

    Args:
        arrays: of 8-bit integers or 16-bit floats.
        facts: a JSON object.
    """
    names = {dtype: name for name, dtype in _TYPES.items()}
    # Wide types first, so that each lies at a multiple of its size.
    ordered = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {
        "__metadata__": {
            "format": format_name(format),
            "facts": json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False),
            "sha256": _BLANK.decode(),
        }
    }
    blocks, end = [], 0
    for name in ordered:
        block = np.ascontiguousarray(arrays[name])
        header[name] = {"dtype": names[block.dtype], "shape": list(block.shape), "data_offsets": [end, end + block.nbytes]}
        blocks.append(block.tobytes())
        end += block.nbytes
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    whole = len(text).to_bytes(8, "little") + text + b"".join(blocks)
    # Quotes inside `facts` are escaped, so that only the header's own key matches.
    place = whole.index(b'"sha256":"' + _BLANK) + len(b'"sha256":"')
    digest = hashlib.sha256(whole).hexdigest().encode()
    return whole[:place] + digest + whole[place + len(digest) :]


def read_tensors(path: Path, *, format: str) -> Tensors:
    """Map a file after its digest was checked.

    Raises:
        MissingFileError: no such file.
        UnknownFormatError: it is of another format or version.
        HashMismatchError: its bytes are not those that were written.
        IntegrityError: it is no such file, or cut short.
    """
    if not path.is_file():
        raise MissingFileError("no such file", where=str(path))
    try:
        data = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    length = int.from_bytes(data[:8].tobytes(), "little")
    if not 2 <= length <= min(_LONGEST_HEADER, len(data) - 8):
        raise _damaged(path)
    text = data[8 : 8 + length].tobytes()
    header = _header(path, text)
    check_format(header["__metadata__"].get("format"), format, path)
    found = list(_DIGEST.finditer(text))
    if len(found) != 1:
        raise _damaged(path)
    start, end = (8 + place for place in found[0].span(1))
    digest = hashlib.sha256(data[:start].tobytes() + _BLANK)
    digest.update(data[end:].data)
    if digest.hexdigest().encode() != found[0].group(1):
        raise HashMismatchError(
            "damaged: its content is not that of its own SHA-256", where=str(path), fix="Restore the file, or build again."
        )
    try:
        facts = loads_strict(header.pop("__metadata__")["facts"], where=str(path))
        return Tensors(facts, _views(data[8 + length :], header))
    except (KeyError, TypeError, ValueError, MalformedFileError) as error:
        raise _damaged(path) from error


def _header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = loads_strict(text, where=str(path))
    except MalformedFileError as error:
        raise _damaged(path) from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise _damaged(path)
    return header


def _views(data: Array, header: Mapping[str, Any]) -> dict[str, Array]:
    views, end = {}, 0
    for name, entry in header.items():
        (start, stop), dtype = entry["data_offsets"], _TYPES[entry["dtype"]]
        if start != end:
            raise ValueError("arrays overlap or leave a hole")
        views[name] = np.asarray(data[start:stop]).view(dtype).reshape(entry["shape"])
        end = stop
    if end != len(data):
        raise ValueError("bytes that belong to nothing")
    return views


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError("damaged or cut short, or no safetensors file", where=str(path), fix="Restore it, or build again.")
