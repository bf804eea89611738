"""Time of single requests, one after the other and with nothing else running: what a user waits for.

The *first token* is the first of the answer that tells its reader something: where it is structured, the label of its first
decision. What stands before that is the same in every answer, and could be sent without asking any model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.catalogue import FIRST_TOKEN, LAST_TOKEN

if TYPE_CHECKING:
    from distill_gov.teachers.alignment import Alignment, Array
    from distill_gov.workers import WorkerSpec

__all__ = ["Timed", "size_of", "time_student", "time_teacher"]

Seconds = dict[str, float]
"""``first_token_s`` and ``last_token_s`` of one request."""

Advance = Callable[[int], None]


class Timed:
    """What was measured of one model."""

    def __init__(self, requests: Sequence[Seconds], size: Mapping[str, int]) -> None:
        self.requests, self.size = list(requests), dict(size)


def size_of(model: Any, directory: Path) -> dict[str, int]:
    """Parameters, and bytes of the weights' files."""
    from distill_gov.trainer.students import parameters

    return {"parameters": parameters(model), "bytes": sum(p.stat().st_size for p in directory.rglob("*.safetensors"))}


def time_student(spec: WorkerSpec, chats: Sequence[Sequence[Mapping[str, str]]], decoding: str, advance: Advance) -> Timed:
    """Times of a local model, after one request to warm up.

    Args:
        chats: one a request, redacted.
        decoding: ``grammar`` or ``free``.
    """
    worker: Any = spec.make(**spec.arguments)
    local = worker.local
    local.time_one(chats[0], decoding=decoding)
    found = []
    for chat in chats:
        found.append(local.time_one(chat, decoding=decoding))
        advance(1)
    return Timed(found, size_of(local.model, Path(str(spec.arguments["path"]))))


class _Stopwatch:
    """An alignment that notes when it decided."""

    def __init__(self, alignment: Alignment) -> None:
        self.alignment, self.at = alignment, 0.0

    def __call__(self, features: Array) -> Array:
        found = self.alignment(features)
        self.at = time.perf_counter()
        return found


def time_teacher(spec: WorkerSpec, texts: Sequence[str], advance: Advance) -> tuple[Timed, Timed]:
    """Times of the prompted teacher: with its prefixes in the cache, and, for the same requests, encoding them anew.

    Args:
        texts: one a request, redacted. ``advance`` is called for twice as many.
    """
    worker: Any = spec.make(**spec.arguments)
    first = worker.format.fields[0].name
    watch = worker.alignments[first] = _Stopwatch(worker.alignments[first])

    def seconds(text: str) -> Seconds:
        started = time.perf_counter()
        worker.answer([text])
        advance(1)
        return {FIRST_TOKEN: watch.at - started, LAST_TOKEN: time.perf_counter() - started}

    worker.answer(texts[:1])
    cached = [seconds(text) for text in texts]
    anew = []
    for text in texts:
        worker._prefixes.clear()
        anew.append(seconds(text))
    size = size_of(worker.local.model, Path(str(spec.arguments["path"])))
    return Timed(cached, size), Timed(anew, size)
