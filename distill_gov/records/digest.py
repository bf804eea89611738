"""Digests of values, files and directories. Canonical JSON is RFC 8785; every digest is written ``sha256:<hex>``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rfc8785

from distill_gov.records.errors import MalformedFileError, MissingFileError

__all__ = ["canonical_json", "digest_bytes", "digest_file", "digest_json", "digest_rows", "digest_tree"]


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value. NaN, infinities, lone surrogates and integers beyond 2**53 are refused.

    Raises:
        MalformedFileError
    """
    try:
        return rfc8785.dumps(value)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedFileError(f"value has no canonical JSON form ({type(error).__name__})") from error


def digest_bytes(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    return digest_bytes(canonical_json(value))


def digest_rows(rows: Iterable[Any]) -> str:
    """Digest of a sequence of JSON values, in the order given."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update(hashlib.sha256(canonical_json(row)).digest())
    return "sha256:" + whole.hexdigest()


def digest_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingFileError("no such file", where=str(path)) from error
    except OSError as error:
        raise MissingFileError(f"cannot be read ({error.strerror})", where=str(path)) from error


def digest_tree(root: Path) -> str:
    """Digest of every regular file below a directory: relative POSIX paths and contents, sorted by path."""
    if not root.is_dir():
        raise MissingFileError("no such directory", where=str(root))
    files = sorted((p.relative_to(root).as_posix(), p) for p in root.rglob("*") if p.is_file())
    return digest_rows([name, digest_file(path)] for name, path in files)
