"""Soft targets: what the teacher would have said at each token of a supervised answer.

Positions are indexed from the first answer token; the final EOS is part of the answer. Forced positions (the grammar leaves one
token) carry nothing. A decision position carries the teacher's corrected distribution over the label trie's branches; a free
position the top k under the grammar with the mass of the rest. Stored by example, never by training step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, HashMismatchError, IntegrityError
from distill_gov.records.files import read_parquet, write_parquet

__all__ = ["FORMAT", "SoftTargets", "at_temperature", "identity", "one_support", "read_soft_targets", "write_soft_targets"]

FORMAT = "soft_targets"
SHARD = 256
"""Examples a file."""


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """The teacher's distributions along one answer of n tokens."""

    example: str
    identity: str
    """Digest of everything that shaped it; the trainer refuses another one."""
    support: str
    """``grammar`` or ``full``."""
    temperature: float
    token_ids: tuple[int, ...]
    """The answer's tokens, EOS included, length n."""
    field: tuple[str, ...]
    """Decision field that is decided at the position, else empty; length n."""
    forced: tuple[bool, ...]
    ids: tuple[tuple[int, ...], ...]
    """Tokens of the support, one tuple a position; empty where forced."""
    logp: tuple[tuple[float, ...], ...]
    """Log-probabilities at ``temperature``."""
    log_tail: tuple[float | None, ...]
    """Log of the mass outside ``ids``; None where there is none."""
    log_allowed: tuple[float, ...]
    """Log of the teacher's mass on what the grammar allows, at temperature 1."""


def identity(
    teacher: str, tokenizer: str, template: str, prompt: str, text: str, temperature: float, k: int, support: str
) -> str:
    return digest_json([teacher, tokenizer, template, prompt, text, temperature, k, support])


def at_temperature(targets: SoftTargets, temperature: float) -> SoftTargets:
    """The targets that the teacher gives at another temperature: its probabilities to the power of the two temperatures' ratio,
    normalised anew. Possible only where every position's whole support is held: a tail's mass at another temperature depends
    on how it is spread over tokens that nobody kept.

    Raises:
        BadInputError: a position has a tail.
    """
    if temperature == targets.temperature:
        return targets
    if any(tail is not None for tail in targets.log_tail):
        raise BadInputError(
            f"soft targets of `{targets.example}` were captured at temperature {targets.temperature:g} and hold only the top "
            f"of a distribution, from which {temperature:g} cannot be reckoned",
            fix="Build under a new run name.",
        )
    ratio = targets.temperature / temperature
    return replace(targets, temperature=temperature, logp=tuple(_normalised(ratio, row) for row in targets.logp))


def _normalised(ratio: float, logp: Sequence[float]) -> tuple[float, ...]:
    scaled = ratio * np.array(logp, dtype=np.float64)
    return tuple((scaled - np.logaddexp.reduce(scaled)).tolist()) if len(logp) else ()


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
        rows = [asdict(t) for t in ordered[start : start + SHARD]]
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
            yield SoftTargets(**{name: _frozen(value) for name, value in row.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
