"""Soft targets on disk: shards of packed arrays, mapped and not read, found by example and never by training step.

A shard is a safetensors file of one record an example, sorted by id. Its arrays hold numbers one behind the other: of the
examples (how many tokens, which setting, digests of prompt and text), of the positions (token, field, forced, size of the
support, whether anything was forbidden), of the positions with a support (span, tail) and of the supports' entries (id, code).
Integers take as many bits as the shard's largest. See :mod:`distill_gov.teachers.quantisation` for what is lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from distill_gov.records.errors import (
    HashMismatchError,
    IntegrityError,
    MalformedFileError,
    MissingFileError,
    UnknownFormatError,
)
from distill_gov.records.files import write_bytes
from distill_gov.records.tensors import Tensors, read_tensors, tensor_bytes
from distill_gov.teachers.quantisation import BITS, dequantised, gathered, packed, quantised, width
from distill_gov.teachers.soft_targets import Capture, SoftTargets, at_temperature

__all__ = ["FORMAT", "SoftTargetStore", "read_soft_targets", "without_examples", "write_soft_targets"]

FORMAT = "soft_targets"
SHARD = 256
"""Examples a file."""
KINDS = ("top_k", "sampled")

Array = np.ndarray[Any, np.dtype[Any]]

_PACKED = {
    "length": "example", "group": "example",
    "token_ids": "position", "field": "position", "forced": "position", "count": "position", "bounded": "position",
    "ids": "entry", "codes": "entry",
}  # fmt: skip
"""Packed arrays, and what one number of each is about."""
_WHOLE = {"prompt": "example", "text": "example", "span": "filled", "tail": "filled", "allowed": "bounded"}
"""Arrays that are stored as they are. ``filled`` positions have a support; at ``bounded`` ones something was forbidden."""
_MOST_DRAWS = 4096
"""Draws a position up to which the counts behind sampled weights are found again."""
_UNLIKE_ONE = 1e-3
"""By how much the masses of a position may miss one before it is no distribution."""


# -- writing --------------------------------------------------------------------------------------------------------------


def write_soft_targets(directory: Path, targets: Sequence[SoftTargets], captures: Mapping[str, Capture]) -> None:
    """Make a directory hold these soft targets, in shards of :data:`SHARD` examples. A shard that is there already, whole and
    of the same content, is left as it is.

    Args:
        captures: what shaped the targets, by example.

    Raises:
        MalformedFileError: a position is no distribution, an example comes twice, or kinds are mixed.
        IntegrityError: targets are not of the capture that is said to have shaped them.
    """
    ordered = sorted(targets, key=lambda t: t.example)
    for one, following in pairwise(ordered):
        if one.example == following.example:
            raise MalformedFileError(f"soft targets of `{one.example}` come twice", where=str(directory))
    for t in ordered:
        _check(t, captures.get(t.example), directory)
    parts = [ordered[start : start + SHARD] for start in range(0, len(ordered), SHARD)]
    paths = [directory / f"shard-{number:05d}.safetensors" for number in range(len(parts))]
    for number, (path, part) in enumerate(zip(paths, parts, strict=True)):
        content = _content(part, number, len(parts))
        if not _stands(path, content):
            facts = {"content": content, "shard": number, "of": len(parts)}
            write_bytes(path, _encoded(_columns(part, captures), facts))
    for stale in set(directory.glob("shard-*")) - set(paths):
        stale.unlink()


def _check(t: SoftTargets, capture: Capture | None, directory: Path) -> None:
    where = f"{directory}: example `{t.example}`"
    same = capture and (t.identity, t.support, t.temperature) == (capture.identity, capture.support, capture.temperature)
    if not same:
        raise IntegrityError("soft targets are not of the capture they are stored under", where=where)
    if t.kind not in KINDS:
        raise MalformedFileError("soft targets of no known kind", where=where)
    counts = np.diff(t.starts)
    tail = t.log_tail.astype(np.float64)
    ok = bool(not np.isnan(t.logp).any() and not np.isnan(tail).any() and np.isfinite(t.log_allowed).all())
    ok = bool(ok and (t.ids >= 0).all() and (t.token_ids >= 0).all() and not counts[t.forced].any())
    if ok:
        mass = np.zeros(t.n)
        np.add.at(mass, np.repeat(np.arange(t.n), counts), np.exp(t.logp.astype(np.float64)))
        sums = mass + np.exp(tail)
        ok = bool((np.abs(sums - 1.0)[counts > 0] < _UNLIKE_ONE).all() and (tail[counts == 0] == -np.inf).all())
    if not ok:
        raise MalformedFileError("soft targets that are no distribution (NaN, or masses that do not sum to 1)", where=where)


def _content(part: Sequence[SoftTargets], number: int, of: int) -> str:
    """Digest of what goes into a shard, before anything is lost."""
    whole = hashlib.sha256(f"{FORMAT} {BITS} {number} {of}".encode())
    for t in part:
        values = [getattr(t, f.name) for f in fields(t)]
        plain = [v for v in values if not isinstance(v, np.ndarray)]
        whole.update(json.dumps([plain, t.n, len(t.ids)]).encode())
        for value in values:
            if isinstance(value, np.ndarray):
                whole.update(value.tobytes())
    return whole.hexdigest()


def _stands(path: Path, content: str) -> bool:
    try:
        return path.exists() and bool(read_tensors(path, format=FORMAT).facts["content"] == content)
    except (MissingFileError, UnknownFormatError, IntegrityError, KeyError, TypeError):
        return False  # damaged or another's: made anew


@dataclass(frozen=True, slots=True)
class _Columns:
    """A shard, unpacked."""

    examples: list[str]
    groups: list[dict[str, Any]]
    """What many examples share: the parts of their captures but for prompt and text, and the kind."""
    fields: list[str]
    """Names of decision fields; a position's code 0 is none."""
    arrays: dict[str, Array]

    def taken(self, keep: Array) -> _Columns:
        """Some of the examples, all their numbers untouched."""
        of_position = np.repeat(keep, self.arrays["length"])
        masks = {
            "example": keep,
            "position": of_position,
            "entry": np.repeat(of_position, self.arrays["count"]),
            "filled": of_position[self.arrays["count"] > 0],
            "bounded": of_position[self.arrays["bounded"] > 0],
        }
        levels = _PACKED | _WHOLE
        # A sample has neither span nor tail.
        arrays = {name: values[masks[levels[name]]] if len(values) else values for name, values in self.arrays.items()}
        return _Columns([e for e, kept in zip(self.examples, keep, strict=True) if kept], self.groups, self.fields, arrays)


def _columns(part: Sequence[SoftTargets], captures: Mapping[str, Capture]) -> _Columns:
    kinds = {t.kind for t in part}
    if len(kinds) > 1:
        raise MalformedFileError("soft targets of several kinds are mixed", fix="Build the teaching set anew.")
    names = ["", *sorted({name for t in part for name in t.field} - {""})]
    shared = [json.dumps(_shared(captures[t.example], t.kind), sort_keys=True) for t in part]
    groups = sorted(set(shared))
    counts = np.concatenate([np.diff(t.starts) for t in part])
    filled = counts > 0
    logp, tail = (np.concatenate([getattr(t, name) for t in part]) for name in ("logp", "log_tail"))
    allowed = np.maximum(np.concatenate([t.log_allowed for t in part]), np.finfo("<f2").min).astype("<f2")
    if kinds == {"sampled"}:
        codes = _draws(counts[filled], logp)
        span = rest = np.zeros(0, "<f2")
    else:
        codes, span, rest = quantised(counts[filled], logp, tail[filled])
    arrays: dict[str, Array] = {
        "length": np.array([t.n for t in part]),
        "group": np.array([groups.index(text) for text in shared]),
        "prompt": _digests([captures[t.example].prompt for t in part]),
        "text": _digests([captures[t.example].text for t in part]),
        "token_ids": np.concatenate([t.token_ids for t in part]),
        "field": np.array([names.index(name) for t in part for name in t.field]),
        "forced": np.concatenate([t.forced for t in part]).astype(np.int64),
        "count": counts,
        "bounded": (allowed != 0).astype(np.int64),
        "allowed": allowed[allowed != 0],
        "span": span,
        "tail": rest,
        "ids": np.concatenate([t.ids for t in part]),
        "codes": codes,
    }
    return _Columns([t.example for t in part], [json.loads(text) for text in groups], names, arrays)


def _shared(capture: Capture, kind: str) -> dict[str, Any]:
    parts = {f.name: getattr(capture, f.name) for f in fields(capture) if f.name not in ("prompt", "text")}
    return {**parts, "kind": kind}


def _digests(values: Sequence[str]) -> Array:
    raw = [bytes.fromhex(value.removeprefix("sha256:")) for value in values]
    return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, 32)


def _draws(counts: Array, logp: Array) -> Array:
    """How often each token was drawn: weights are counts by draws, and the fewest draws that give them are taken."""
    found, start = [], 0
    draws = np.arange(1, _MOST_DRAWS + 1)
    for count in counts.tolist():
        weights = np.exp(logp[start : start + count].astype(np.float64))
        times = np.outer(draws, weights)
        whole = np.rint(times)
        fits = (np.abs(times - whole) <= 1e-5 * times).all(1) & (whole.sum(1) == draws)
        if not fits.any():
            raise MalformedFileError(f"sampled weights that are no counts of at most {_MOST_DRAWS} draws")
        found.append(whole[int(fits.argmax())].astype(np.int64))
        start += count
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _encoded(columns: _Columns, facts: Mapping[str, Any]) -> bytes:
    bits = {name: width(columns.arrays[name]) for name in _PACKED}
    arrays = {name: packed(columns.arrays[name], bits[name]) for name in _PACKED}
    arrays |= {name: columns.arrays[name] for name in _WHOLE}
    arrays["examples"] = np.frombuffer(json.dumps(columns.examples, ensure_ascii=False).encode(), np.uint8)
    return tensor_bytes(arrays, {**facts, "bits": bits, "groups": columns.groups, "fields": columns.fields}, format=FORMAT)


# -- reading --------------------------------------------------------------------------------------------------------------


class _Shard:
    """A mapped file, and where each example's numbers lie in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        tensors = read_tensors(path, format=FORMAT)
        try:
            self._open(tensors)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            # Its digest is right, so that whoever wrote it wrote nonsense.
            raise IntegrityError("a shard whose parts contradict one another", where=str(path), fix="Build again.") from error

    def _open(self, tensors: Tensors) -> None:
        self.facts, self.arrays, self.bits = tensors.facts, tensors.arrays, tensors.facts["bits"]
        self.number, self.of = int(self.facts["shard"]), int(self.facts["of"])
        self.examples: list[str] = json.loads(self.arrays["examples"].tobytes())
        self.groups: list[dict[str, Any]] = list(self.facts["groups"])
        self.fields: list[str] = list(self.facts["fields"])
        self.positions = _ends(self._packed("length", 0, len(self.examples)))
        counts = self._packed("count", 0, self.tokens)
        bounded = self._packed("bounded", 0, self.tokens)
        self.entries, self.filled, self.bounded = _ends(counts), _ends(counts > 0), _ends(bounded)
        if not all(one < other for one, other in pairwise(self.examples)):
            raise ValueError("examples are not in order, or come twice")
        self.kinds = {group["kind"] for group in self.groups}
        spans = 0 if self.kinds == {"sampled"} else int(self.filled[-1])
        sizes = {"prompt": len(self.examples), "text": len(self.examples), "span": spans, "tail": spans}
        if any(len(self.arrays[name]) != size for name, size in (sizes | {"allowed": int(self.bounded[-1])}).items()):
            raise ValueError("arrays of other lengths")
        if not np.isfinite(self.arrays["span"]).all() or np.isnan(self.arrays["tail"]).any() or not self.kinds <= set(KINDS):
            raise ValueError("NaN, or an unknown kind")

    @property
    def tokens(self) -> int:
        return int(self.positions[-1])

    def _packed(self, name: str, start: int, stop: int) -> Array:
        return gathered(self.arrays[name], self.bits[name], start, stop)

    def _group(self, row: int) -> dict[str, Any]:
        return self.groups[int(self._packed("group", row, row + 1)[0])]

    def capture(self, row: int) -> Capture:
        parts: dict[str, Any] = {name: value for name, value in self._group(row).items() if name != "kind"}
        parts |= {name: f"sha256:{self.arrays[name][row].tobytes().hex()}" for name in ("prompt", "text")}
        return Capture(**parts)

    def targets(self, row: int) -> SoftTargets:
        capture, kind = self.capture(row), str(self._group(row)["kind"])
        start, stop = int(self.positions[row]), int(self.positions[row + 1])
        first, last = int(self.entries[start]), int(self.entries[stop])
        spans = slice(int(self.filled[start]), int(self.filled[stop]))
        starts = self.entries[start : stop + 1] - first
        counts = np.diff(starts)
        filled = counts > 0
        codes = self._packed("codes", first, last)
        log_tail = np.full(stop - start, -np.inf, np.float32)
        if kind == "sampled":
            draws = np.add.reduceat(codes, starts[:-1][filled]) if len(codes) else codes
            logp = np.log(codes / np.repeat(draws, counts[filled])).astype(np.float32)
        else:
            span, tail = self.arrays["span"][spans], self.arrays["tail"][spans]
            logp, log_tail[filled] = dequantised(counts[filled], codes, span, tail)
        bounded = np.diff(self.bounded[start : stop + 1]) > 0
        allowed = np.zeros(stop - start, np.float32)
        allowed[bounded] = self.arrays["allowed"][int(self.bounded[start]) : int(self.bounded[stop])]
        return SoftTargets(
            example=self.examples[row],
            identity=capture.identity,
            support=capture.support,
            temperature=capture.temperature,
            token_ids=self._packed("token_ids", start, stop).astype(np.int32),
            field=tuple(self.fields[code] for code in self._packed("field", start, stop).tolist()),
            forced=self._packed("forced", start, stop).astype(np.bool_),
            starts=starts,
            ids=self._packed("ids", first, last).astype(np.int32),
            logp=logp,
            log_tail=log_tail,
            log_allowed=allowed,
            kind=kind,
        )

    def columns(self) -> _Columns:
        sizes = {"example": len(self.examples), "position": self.tokens, "entry": int(self.entries[-1])}
        arrays = {name: self._packed(name, 0, sizes[level]) for name, level in _PACKED.items()}
        return _Columns(self.examples, self.groups, self.fields, arrays | {name: self.arrays[name] for name in _WHOLE})


def _ends(sizes: Array) -> Array:
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    return ends


class SoftTargetStore(Mapping[str, SoftTargets]):
    """Soft targets by example; the numbers stay on disk until they are asked for."""

    def __init__(self, directory: Path) -> None:
        """Raises:
        UnknownFormatError: shards of another release.
        IntegrityError: a shard is missing, damaged, or repeats an example of another.
        """
        self.directory = directory
        if any(directory.glob("*.parquet")):
            raise UnknownFormatError(
                "soft targets in the Parquet form of an earlier release",
                where=str(directory),
                fix="Build again under a new run name.",
            )
        shards = [_Shard(path) for path in sorted(directory.glob("shard-*.safetensors"))]
        if [(shard.number, shard.of) for shard in shards] != [(number, len(shards)) for number in range(len(shards))]:
            raise IntegrityError(
                "a shard of the soft targets is missing", where=str(directory), fix="Restore it, or build again."
            )
        self._rows: dict[str, tuple[_Shard, int]] = {}
        for shard in shards:
            for row, example in enumerate(shard.examples):
                if example in self._rows:
                    raise IntegrityError(f"soft targets of `{example}` are there twice", where=str(shard.path))
                self._rows[example] = (shard, row)
        if len(kinds := {kind for shard in shards for kind in shard.kinds}) > 1:
            raise IntegrityError(f"soft targets of several kinds are mixed ({', '.join(sorted(kinds))})", where=str(directory))
        self._heated: dict[str, Capture] = {}
        self.tokens = sum(shard.tokens for shard in shards)
        """Tokens of all answers."""

    def __getitem__(self, example: str) -> SoftTargets:
        shard, row = self._rows[example]
        targets = shard.targets(row)
        other = self._heated.get(example)
        return targets if other is None else _heated(targets, other)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def capture(self, example: str) -> Capture:
        """What shaped an example's targets on disk."""
        shard, row = self._rows[example]
        return shard.capture(row)

    def require(self, example: str, wanted: Capture) -> None:
        """Hold an example's targets against what they have to be of. Another temperature is allowed where
        :func:`~distill_gov.teachers.soft_targets.at_temperature` can reckon it; it is what the store gives from then on.

        Raises:
            HashMismatchError: they are missing, or of something else, which is named.
        """
        if example not in self._rows:
            raise HashMismatchError(f"soft targets of `{example}` are missing", where=str(self.directory), fix=_RESTORE)
        differ = self.capture(example).differences(wanted)
        if differ == ["temperature"]:
            _heated(self[example], wanted)
            self._heated[example] = wanted
        elif differ:
            raise HashMismatchError(
                f"soft targets of `{example}` are of another {' and another '.join(differ)}",
                where=str(self.directory),
                fix=_RESTORE,
            )


_RESTORE = "Restore distill.yaml and the teaching set, or build again under a new run name."


def _heated(targets: SoftTargets, wanted: Capture) -> SoftTargets:
    return replace(at_temperature(targets, wanted.temperature), identity=wanted.identity)


def read_soft_targets(directory: Path, wanted: Mapping[str, Capture]) -> SoftTargetStore:
    """Soft targets by example.

    Args:
        wanted: what each example's must be of.

    Raises:
        HashMismatchError: an example is missing, or was captured from another teacher, tokenizer, template, prompt, text or
            setting.
        IntegrityError, UnknownFormatError: as :class:`SoftTargetStore`.
    """
    store = SoftTargetStore(directory)
    for example, capture in wanted.items():
        store.require(example, capture)
    return store


def without_examples(path: Path, gone: Callable[[str], bool]) -> tuple[int, bytes] | None:
    """How many examples of a shard are to go, and its bytes without them; None where none is. What stays, stays to the bit.

    Args:
        gone: whether an example, by its id, is to go.
    """
    shard = _Shard(path)
    keep = np.array([not gone(example) for example in shard.examples], np.bool_)
    if keep.all():
        return None
    # The digest of the whole content would tell whether a guess at what went is right.
    facts = {"content": "purged", "shard": shard.number, "of": shard.of}
    return int((~keep).sum()), _encoded(shard.columns().taken(keep), facts)
