"""Soft targets: what the teacher would have said at each token of a supervised answer.

Positions are indexed from the first answer token; the final EOS is part of the answer. Forced positions (the grammar leaves one
token) carry nothing. A decision position carries the teacher's corrected distribution over the label trie's branches; a free
position the top k under the grammar with the mass of the rest. Stored by example, never by training step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from distill_gov.records.digest import digest_bytes, digest_json
from distill_gov.records.errors import HashMismatchError, IntegrityError, MalformedFileError

__all__ = ["Capture", "SoftTargets", "at_temperature", "one_support"]

Array = np.ndarray[Any, np.dtype[Any]]
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
        token_ids: Sequence[int] | Array,
        field: Sequence[str],
        forced: Sequence[bool] | Array,
        ids: Sequence[Sequence[int] | Array] | Array,
        logp: Sequence[Sequence[float] | Array] | Array,
        log_tail: Sequence[float | None] | Array,
        log_allowed: Sequence[float] | Array,
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

    @classmethod
    def unscored(cls, example: str, tokens: Sequence[int] | Array, temperature: float = 1.0) -> SoftTargets:
        """An answer's tokens and nothing else: nobody scored them, and no grammar is known to have chosen any."""
        n = len(tokens)
        return cls.ragged(
            example, "", "full", temperature, token_ids=tokens, field=[""] * n, forced=[False] * n, ids=[()] * n,
            logp=[()] * n, log_tail=[None] * n, log_allowed=[0.0] * n,
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


@dataclass(frozen=True, slots=True)
class Capture:
    """Everything that shaped an example's soft targets, each part by itself so that a difference has a name."""

    teacher: str
    """:attr:`distill_gov.workers.WorkerSpec.identity` of who scored it."""
    tokenizer: str
    template: str
    prompt: str
    """Digest of what was asked."""
    text: str
    """Digest of the answer that was scored."""
    temperature: float
    k: int
    support: str

    @classmethod
    def of(
        cls, *, teacher: str, tokenizer: str, template: str, prompt: str, text: str, temperature: float, k: int, support: str
    ) -> Capture:
        """Of a prompt and a text as they are."""
        asked, scored = digest_bytes(prompt.encode()), digest_bytes(text.encode())
        return cls(teacher, tokenizer, template, asked, scored, float(temperature), k, support)

    @property
    def identity(self) -> str:
        """Digest of all parts."""
        return digest_json([getattr(self, f.name) for f in fields(self)])

    def differences(self, other: Capture) -> list[str]:
        """Names of the parts that differ."""
        return [f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]


def at_temperature(targets: SoftTargets, temperature: float) -> SoftTargets:
    """The targets that the teacher gives at another temperature: its probabilities to the power of the two temperatures' ratio,
    renormalised. That is exact where every token's probability is known, and cannot be told where some are only a tail.

    Args:
        temperature: over 0.

    Raises:
        HashMismatchError: the tail's tokens are not known, or the targets are a sample.
    """
    if temperature == targets.temperature:
        return targets
    if targets.kind != "top_k" or (targets.log_tail > -np.inf).any():
        held = "a sample of tokens" if targets.kind != "top_k" else "the likeliest tokens"
        raise HashMismatchError(
            f"soft targets of `{targets.example}` were captured at another temperature ({targets.temperature:g}, asked for is "
            f"{temperature:g}), and hold only {held}, from which others cannot be reckoned",
            fix="Capture again: build under a new run name; or restore teacher.temperature.",
        )
    counts = np.diff(targets.starts)
    logp = targets.logp.astype(np.float64) * (targets.temperature / temperature)
    if len(logp):
        filled = counts[counts > 0]
        starts = np.cumsum(filled) - filled
        logp -= np.repeat(np.maximum.reduceat(logp, starts), filled)
        logp -= np.repeat(np.log(np.add.reduceat(np.exp(logp), starts)), filled)
    return replace(targets, temperature=temperature, logp=logp.astype(np.float32))


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
