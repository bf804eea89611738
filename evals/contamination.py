"""Is a case of a suite in the teaching set? Then the suite measures memory, and no metric of it has a value.

Two clauses, of which one is enough. They are about the user's words only: context documents and instructions are the same in
many chats, and an answer may be everybody's.

- *Shared*: at least 70 % of the case's runs of 8 words stand in the teaching set, wherever in it (Chowdhery et al. 2022, PaLM,
  section 8). A case of fewer words is one run, all its words in order, which a taught text must then be from end to end.
- *Near copy*: at least 60 % of the case's runs of 3 words stand in one and the same teaching example (containment, Broder
  1997); for cases of 8 words and more. On messages of a dozen words one changed word breaks most runs of 8, so that the first
  clause alone finds one such edit in five (docs/evidence.md has the figures). It is asked of single examples, since a desk's
  messages share short phrases with the teaching set as a whole.

Texts are compared by keyed hashes of their folded words (:mod:`redaction.filters.ngrams`), after redaction and before it: raw
teaching texts are hashed when the teaching set is built, so that no raw text is needed or kept. Of two different runs of words
two hashes of 64 bits are equal once in 2**64 pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill_gov.records.errors import BadInputError, DuplicateIdError, MalformedFileError, NothingLeftError
from distill_gov.records.files import read_parquet, write_parquet
from distill_gov.records.keys import Subkey
from evals.cases import Case
from redaction.filters.ngrams import folded, hashed_runs

__all__ = [
    "FORMAT",
    "NEAR",
    "NGRAM",
    "SHARED",
    "SHINGLE",
    "ContaminationIndex",
    "Overlap",
    "asked_text",
    "contaminated_cases",
    "write_hashes",
]

NGRAM, SHARED = 8, 0.7
SHINGLE, NEAR = 3, 0.6

FORMAT = "text-hashes"
_SCHEMA = pa.schema(
    [
        pa.field("trace", pa.string(), nullable=False),
        pa.field("key_id", pa.string(), nullable=False),
        pa.field("ngram", pa.int32(), nullable=False),
        pa.field("hashes", pa.list_(pa.field("item", pa.uint64(), nullable=False)), nullable=False),
    ]
)

Texts = Iterable[tuple[str, Sequence[str]]]
"""(id of a teaching example or trace, its texts: what the user wrote, and the answer)."""

_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of a case is in the teaching set."""

    shared: float
    """Share of its runs of 8 words that stand anywhere in the teaching set."""
    nearest: float
    """The largest share of its runs of 3 words that stand in one teaching example; 0 for a case of fewer than 8 words."""

    @property
    def contaminated(self) -> bool:
        return self.shared >= SHARED or self.nearest >= NEAR


def asked_text(case: Case) -> str:
    """What is compared of a case: the user's words."""
    return "\n".join(m["content"] for m in case.messages if m["role"] == "user")


@dataclass(frozen=True, slots=True)
class _Row:
    """The hashes of one teaching example at one length of run."""

    trace: str
    ngram: int
    hashes: Collection[int]


def _rows(texts: Texts, key: Subkey) -> list[_Row]:
    rows = []
    for name, parts in texts:
        for n in (NGRAM, SHINGLE):
            hashes = set[int]().union(*(hashed_runs(part, n, key) for part in parts))
            rows.append(_Row(name, n, sorted(hashes)))
    _check_ids(rows)
    return rows


def _check_ids(rows: Sequence[_Row]) -> None:
    if len({(row.trace, row.ngram) for row in rows}) != len(rows):
        raise DuplicateIdError("two teaching examples carry one id")


class ContaminationIndex:
    """The hashes of a teaching set."""

    def __init__(self, rows: Sequence[_Row], key: Subkey) -> None:
        self._key = key
        self._runs = np.unique(_flat([row.hashes for row in rows if row.ngram == NGRAM]))
        shingled = [row.hashes for row in rows if row.ngram == SHINGLE]
        hashes = _flat(shingled)
        order = np.argsort(hashes, kind="stable")
        self._shingles = hashes[order]
        self._owners = np.repeat(np.arange(len(shingled)), [len(one) for one in shingled])[order]

    @classmethod
    def of(cls, texts: Texts, key: Subkey) -> ContaminationIndex:
        """An index of texts.

        Args:
            texts: of each teaching example, its id and its texts.
            key: subkey of purpose :data:`redaction.filters.ngrams.PURPOSE`.

        Raises:
            DuplicateIdError: two examples carry one id.
            NothingLeftError: there is no word in them, so that nothing could ever be found.
        """
        rows = _rows(texts, key)
        _check_words(rows)
        return cls(rows, key)

    @classmethod
    def read(cls, path: Path, key: Subkey) -> ContaminationIndex:
        """The index that :func:`write_hashes` stored.

        Raises:
            MissingFileError, MalformedFileError, UnknownFormatError: it is not there or none.
            BadInputError: it was made under another key, so that nothing could ever be found in it.
        """
        found = read_parquet(path, format=FORMAT)
        try:
            rows = [_Row(row["trace"], row["ngram"], row["hashes"]) for row in found]
            keys = {row["key_id"] for row in found}
            if {row.ngram for row in rows} != {NGRAM, SHINGLE} or len(keys) != 1:
                raise ValueError
            _check_ids(rows)
            _check_words(rows)
            index = cls(rows, key)
        except (KeyError, TypeError, ValueError, OverflowError, DuplicateIdError, NothingLeftError):
            raise MalformedFileError(
                "holds no hashes of a teaching set", where=str(path), fix="Build under a new run name."
            ) from None
        if keys != {key.key_id}:
            raise BadInputError(
                "the hashes of the teaching set were made under another key",
                where=str(path),
                fix="Restore the key, or build under a new run name.",
            )
        return index

    def overlap(self, text: str) -> Overlap:
        """How much of a text is in the teaching set; nothing of one without a word."""
        own = _flat([hashed_runs(text, NGRAM, self._key)])
        if not len(own):
            return Overlap(0.0, 0.0)
        places = np.minimum(np.searchsorted(self._runs, own), len(self._runs) - 1)
        shared = float((self._runs[places] == own).mean())
        return Overlap(shared, self._nearest(text) if len(folded(text).split()) >= NGRAM else 0.0)

    def _nearest(self, text: str) -> float:
        own = np.sort(_flat([hashed_runs(text, SHINGLE, self._key)]))
        starts, ends = (np.searchsorted(self._shingles, own, side) for side in ("left", "right"))
        # An example holds a hash once, so that it owns as many of these places as it has runs of the text.
        owners = [self._owners[a:b] for a, b in zip(starts, ends, strict=True) if b > a]
        return float(np.unique(np.concatenate(owners), return_counts=True)[1].max()) / len(own) if owners else 0.0


def _flat(hashes: Sequence[Collection[int]]) -> _Hashes:
    return np.array([value for one in hashes for value in one], dtype=np.uint64)


def _check_words(rows: Sequence[_Row]) -> None:
    if not any(row.hashes for row in rows):
        raise NothingLeftError("the teaching set holds no word")


def contaminated_cases(cases: Iterable[tuple[str, str]], index: ContaminationIndex) -> Mapping[str, Overlap]:
    """The cases that are in a teaching set, by id.

    Args:
        cases: (case id, text), redacted or raw as the index is. Probes that are made from the teaching set (extraction,
            canaries) do not belong here: they are in it by design.
    """
    found = ((name, index.overlap(text)) for name, text in cases)
    return {name: overlap for name, overlap in found if overlap.contaminated}


def write_hashes(path: Path, texts: Texts, key: Subkey) -> Mapping[str, int]:
    """Store the hashes of a teaching set's texts, before redaction, and nothing else of them; one row a trace and length.

    Under the key somebody who has it can try whether a text that he knows is in the set; without it the hashes say nothing but
    which traces share words. A purge removes a trace's rows.

    Returns:
        The counts of ``traces`` and ``hashes``.

    Raises:
        DuplicateIdError, NothingLeftError: as :meth:`ContaminationIndex.of`.
    """
    rows = sorted(_rows(texts, key), key=lambda row: (row.trace, row.ngram))
    _check_words(rows)
    stored: list[Mapping[str, Any]] = [
        {"trace": row.trace, "key_id": key.key_id, "ngram": row.ngram, "hashes": list(row.hashes)} for row in rows
    ]
    write_parquet(path, stored, _SCHEMA, format=FORMAT)
    return {"traces": len({row.trace for row in rows}), "hashes": sum(len(row.hashes) for row in rows)}
