"""Verbatim overlap with protected texts, by an index that holds keyed hashes of their runs of words and nothing else.

A run of 12 words is what the GPT-3 and datatrove decontamination look for (13 and 12): short enough to find a quoted sentence,
long enough that ordinary phrases are no match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from distill_gov.records.errors import BadInputError, MalformedFileError, MissingFileError, NothingLeftError
from distill_gov.records.files import read_jsonl, read_parquet, write_parquet
from distill_gov.records.keys import Subkey
from redaction.filters.hits import Tag
from redaction.filters.ngrams import hashed_ngrams

__all__ = ["NGRAM", "PURPOSE", "ProtectedIndex", "build_index"]

NGRAM = 12
PURPOSE = "protected"
"""Of the subkey that the hashes are made with."""

_FORMAT = "protected-index"
_SCHEMA = pa.schema(
    [
        pa.field("key_id", pa.string(), nullable=False),
        pa.field("ngram", pa.int32(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),
    ]
)


class ProtectedIndex:
    """The hashes of an index file, sorted."""

    def __init__(self, hashes: Any, ngram: int, key: Subkey) -> None:
        self._hashes, self._ngram, self._key = hashes, ngram, key

    @classmethod
    def read(cls, path: Path, key: Subkey) -> ProtectedIndex:
        """Read an index.

        Raises:
            MissingFileError, MalformedFileError, UnknownFormatError: it is not there or none.
            BadInputError: it was made under another key, so that nothing could ever be found in it.
        """
        import numpy as np

        rows = read_parquet(path, format=_FORMAT)
        kinds = {(row["key_id"], row["ngram"]) for row in rows}
        if len(kinds) != 1:
            raise MalformedFileError("not an index of protected texts", where=str(path), fix="Make it again.")
        [(key_id, ngram)] = kinds
        if key_id != key.key_id:
            raise BadInputError("the index was made under another key", where=str(path), fix="Make it with this project's.")
        return cls(np.unique(np.array([row["hash"] for row in rows], dtype=np.uint64)), int(ngram), key)

    def shared(self, text: str) -> int:
        """How many runs of words of a text stand in a protected one."""
        import numpy as np

        own = np.array(sorted(hashed_ngrams(text, self._ngram, self._key)), dtype=np.uint64)
        places = np.minimum(np.searchsorted(self._hashes, own), len(self._hashes) - 1)
        return int((self._hashes[places] == own).sum())

    def tags(self, min_shared: int) -> Callable[[str], Iterator[Tag]]:
        """What finds an answer that shares at least so many runs, with their count."""

        def found(text: str) -> Iterator[Tag]:
            if (count := self.shared(text)) >= min_shared:
                yield Tag("verbatim", count)

        return found


def build_index(source: Path, target: Path, key: Subkey, ngram: int = NGRAM) -> dict[str, int]:
    """Make an index of protected texts; returns the counts of ``texts`` and ``hashes``.

    Args:
        source: a ``.jsonl`` file with ``text`` in each row, a ``.txt`` or ``.md`` file, or a directory of such files.
        target: the index file.

    Raises:
        MissingFileError, MalformedFileError: a source that is not there or cannot be read; or the target is another file.
        NothingLeftError: no text is as long as a run.
    """
    if target.exists():
        read_parquet(target, format=_FORMAT)  # A new index may take an old one's place, and no other file's.
    found: set[int] = set()
    count = 0
    for text in _texts(source):
        count += 1
        found |= hashed_ngrams(text, ngram, key)
    if not found:
        raise NothingLeftError(f"no text of at least {ngram} words", where=str(source))
    rows = [{"key_id": key.key_id, "ngram": ngram, "hash": value} for value in sorted(found)]
    write_parquet(target, rows, _SCHEMA, format=_FORMAT)
    return {"texts": count, "hashes": len(rows)}


def _texts(source: Path) -> Iterator[str]:
    if source.is_dir():
        for path in sorted(p for p in source.rglob("*") if p.suffix in (".txt", ".md", ".jsonl") and p.is_file()):
            yield from _texts(path)
    elif not source.is_file():
        raise MissingFileError("no such file or directory", where=str(source))
    elif source.suffix == ".jsonl":
        for number, row in read_jsonl(source):
            text = row.get("text")
            if not isinstance(text, str):
                raise MalformedFileError("key `text` must be text", where=f"{source}:{number}")
            yield text
    elif source.suffix in (".txt", ".md"):
        try:
            yield source.read_text("utf-8")
        except UnicodeDecodeError:
            raise MalformedFileError("not valid UTF-8 text", where=str(source)) from None
    else:
        raise BadInputError("only .txt, .md and .jsonl are read", where=str(source))
