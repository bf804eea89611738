"""Soft targets: what the teacher would have said at each token of a supervised answer.

Positions are indexed from the first answer token; the final EOS is part of the answer. Forced positions (the grammar leaves one
token) carry nothing. A decision position carries the teacher's corrected distribution over the label trie's branches; a free
position the top k under the grammar with the mass of the rest. Stored by example, never by training step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import HashMismatchError, IntegrityError, MalformedFileError
from distill_gov.records.files import read_parquet, write_parquet

__all__ = ["FORMAT", "SoftTargets", "identity", "one_support", "read_soft_targets", "write_soft_targets"]

FORMAT = "soft_targets"
SHARD = 256
"""Examples a file."""


Ids = np.ndarray[Any, np.dtype[np.int32]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Offsets = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class SoftTargets:
    """The teacher's distributions along one answer of n tokens; the supports of all positions stand behind one another.

    Position j has ``ids[starts[j]:starts[j + 1]]``, see :meth:`support_at`. Arrays are read-only, equality is by content.
    """

    example: str
    identity: str
    """Digest of everything that shaped it; the trainer refuses another one."""
    support: str
    """``grammar`` or ``full``."""
    temperature: float
    token_ids: Ids
    """The answer's tokens, EOS included, length n."""
    field: tuple[str, ...]
    """Decision field that is decided at the position, else empty; length n."""
    forced: Bools
    """Whether the grammar leaves one token; length n."""
    starts: Offsets
    """Where each position's support starts in ``ids``; length n + 1."""
    ids: Ids
    """Tokens of the supports; none where a position is forced."""
    logp: Floats
    """Log-probabilities of ``ids`` at ``temperature``; where ``kind`` is ``sampled``, logs of the weights."""
    log_tail: Floats
    """Log of the mass outside a position's support, -inf where there is none; length n."""
    log_allowed: Floats
    """Log of the teacher's mass on what the grammar allows, at temperature 1; length n."""
    kind: str = "top_k"
    """``top_k``, or ``sampled``: tokens drawn from the distribution, weighted by how often (RS-KD)."""

    def __post_init__(self) -> None:
        n, m = len(self.token_ids), len(self.ids)
        fits = (len(self.field), len(self.forced), len(self.log_tail), len(self.log_allowed), len(self.starts) - 1) == (n,) * 5
        if not fits or len(self.logp) != m or self.starts[0] != 0 or self.starts[-1] != m or (np.diff(self.starts) < 0).any():
            raise MalformedFileError("soft targets whose parts do not fit one another", where=f"example `{self.example}`")
        for name in _ARRAYS:
            getattr(self, name).flags.writeable = False

    @classmethod
    def ragged(
        cls,
        example: str,
        identity: str,
        support: str,
        temperature: float,
        *,
        token_ids: Sequence[int],
        field: Sequence[str],
        forced: Sequence[bool],
        ids: Sequence[Sequence[int]],
        logp: Sequence[Sequence[float]],
        log_tail: Sequence[float | None],
        log_allowed: Sequence[float],
        kind: str = "top_k",
    ) -> SoftTargets:
        """From a list a position; a tail of None is no tail."""
        starts = np.zeros(len(ids) + 1, np.int64)
        starts[1:] = np.cumsum([len(row) for row in ids])
        return cls(
            example, identity, support, temperature,
            token_ids=np.array(token_ids, np.int32),
            field=tuple(field),
            forced=np.array(forced, np.bool_),
            starts=starts,
            ids=np.array([i for row in ids for i in row], np.int32),
            logp=np.array([x for row in logp for x in row], np.float32),
            log_tail=np.array([-np.inf if x is None else x for x in log_tail], np.float32),
            log_allowed=np.array(log_allowed, np.float32),
            kind=kind,
        )  # fmt: skip

    @property
    def n(self) -> int:
        """Tokens of the answer."""
        return len(self.token_ids)

    def support_at(self, position: int) -> tuple[Ids, Floats]:
        """Tokens of a position's support and their log-probabilities."""
        part = slice(self.starts[position], self.starts[position + 1])
        return self.ids[part], self.logp[part]

    def with_support(self, changes: Mapping[int, tuple[Ids, Floats, float]]) -> SoftTargets:
        """The same answer with other supports (ids, log-probabilities, log of the tail) at some positions."""
        rows = [changes[j][:2] if j in changes else self.support_at(j) for j in range(self.n)]
        tail = self.log_tail.copy()
        for j, (_, _, rest) in changes.items():
            tail[j] = rest
        starts = np.zeros(self.n + 1, np.int64)
        starts[1:] = np.cumsum([len(ids) for ids, _ in rows])
        return replace(
            self,
            starts=starts,
            ids=np.concatenate([ids for ids, _ in rows], dtype=np.int32),
            logp=np.concatenate([logp for _, logp in rows], dtype=np.float32),
            log_tail=tail,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SoftTargets):
            return NotImplemented
        return all(
            np.array_equal(mine, its) if name in _ARRAYS else mine == its
            for name, mine, its in ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        )

    def __hash__(self) -> int:
        return hash((self.example, self.identity, self.n))


_ARRAYS = ("token_ids", "forced", "starts", "ids", "logp", "log_tail", "log_allowed")


def identity(
    teacher: str, tokenizer: str, template: str, prompt: str, text: str, temperature: float, k: int, support: str
) -> str:
    return digest_json([teacher, tokenizer, template, prompt, text, temperature, k, support])


def one_support(targets: Iterable[SoftTargets]) -> None:
    """Distributions over what a grammar allows and over the whole vocabulary teach no student together.

    Raises:
        IntegrityError: both are there.
    """
    kinds = sorted({t.support for t in targets})
    if len(kinds) > 1:
        raise IntegrityError(
            f"soft targets of several supports are mixed ({', '.join(kinds)})", fix="Build the teaching set anew."
        )


_SCHEMA = pa.schema(
    [
        pa.field("example", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("support", pa.string(), nullable=False),
        pa.field("temperature", pa.float64(), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("field", pa.list_(pa.string()), nullable=False),
        pa.field("forced", pa.list_(pa.bool_()), nullable=False),
        pa.field("ids", pa.list_(pa.list_(pa.int32())), nullable=False),
        pa.field("logp", pa.list_(pa.list_(pa.float32())), nullable=False),
        pa.field("log_tail", pa.list_(pa.float32()), nullable=False),
        pa.field("log_allowed", pa.list_(pa.float32()), nullable=False),
    ]
)


def write_soft_targets(directory: Path, targets: Sequence[SoftTargets]) -> None:
    """Write shards of :data:`SHARD` examples, sorted by example."""
    ordered = sorted(targets, key=lambda t: t.example)
    for number, start in enumerate(range(0, len(ordered), SHARD)):
        rows = [_as_row(t) for t in ordered[start : start + SHARD]]
        write_parquet(directory / f"shard-{number:05d}.parquet", rows, _SCHEMA, format=FORMAT)


def read_soft_targets(directory: Path, wanted: Mapping[str, str]) -> dict[str, SoftTargets]:
    """Soft targets by example.

    Args:
        wanted: identity each example must have.

    Raises:
        HashMismatchError: an example is missing, or was captured from another teacher, prompt, text or setting.
    """
    found = {t.example: t for t in _read(sorted(directory.glob("shard-*.parquet")))}
    for example, digest in wanted.items():
        if example not in found or found[example].identity != digest:
            raise HashMismatchError(
                f"soft targets of `{example}` are missing or of another teacher, prompt, text or setting",
                where=str(directory),
                fix="Restore distill.yaml and the teaching set, or build again under a new run name.",
            )
    return found


def _read(paths: Iterable[Path]) -> Iterable[SoftTargets]:
    for path in paths:
        for row in read_parquet(path, format=FORMAT):
            yield SoftTargets.ragged(**row)


def _as_row(t: SoftTargets) -> dict[str, Any]:
    supports = [t.support_at(j) for j in range(t.n)]
    return {
        "example": t.example, "identity": t.identity, "support": t.support, "temperature": t.temperature,
        "token_ids": t.token_ids.tolist(), "field": list(t.field), "forced": t.forced.tolist(),
        "ids": [ids.tolist() for ids, _ in supports], "logp": [logp.tolist() for _, logp in supports],
        "log_tail": [None if x == -np.inf else x for x in t.log_tail.tolist()], "log_allowed": t.log_allowed.tolist(),
    }  # fmt: skip
