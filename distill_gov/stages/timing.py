"""Time of single requests, one after the other and with nothing else running: what a user waits for.

The *first token* is the first of the answer that tells its reader something: where it is structured, the label of its first
decision. What stands before that is the same in every answer, and could be sent without asking any model.

Every subject has a process of its own, so that its memory is its own, and they take turns: what disturbs the machine disturbs
all of them alike.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evals.catalogue import FIRST_TOKEN, LAST_TOKEN, PROMPT_TOKENS, TOKENS
from evals.speed import Footprint
from redaction.pool import die_with_parent

if TYPE_CHECKING:
    from distill_gov.teachers.alignment import Alignment, Array
    from distill_gov.workers import WorkerSpec

__all__ = ["Timed", "ToTime", "time_side_by_side"]

Timings = dict[str, float]
"""``first_token_s`` and ``last_token_s`` of one request, ``tokens`` of its answer and, where they are known, of its prompt."""

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ToTime:
    """A subject and the requests to time it on."""

    spec: WorkerSpec
    kind: Literal["student", "teacher"]
    requests: Sequence[Any]
    """Of a student chats, of the prompted teacher texts; redacted."""
    decoding: str = "grammar"
    """``grammar`` or ``free``; of a student only."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What was measured of one subject, a row a request."""

    requests: Sequence[Timings]
    footprint: Footprint
    anew: Sequence[Timings] = ()
    """Of the prompted teacher: the same requests, its prefixes not in the cache."""


def time_side_by_side(subjects: Mapping[str, ToTime], advance: Advance, *, processes: bool) -> dict[str, Timed]:
    """Time subjects in turns, after a request each to warm up.

    Args:
        subjects: by name. ``advance`` is told of each request; the prompted teacher's count twice.
        processes: whether each gets a process of its own; in this one, memory cannot be told apart and is not measured.
    """
    with ExitStack() as stack:
        seats = {name: stack.enter_context(_Seat(subject, processes)) for name, subject in subjects.items()}
        for seat in seats.values():
            seat.ask(0)
        found: dict[str, list[Timings]] = {name: [] for name in seats}
        for i in range(max((len(s.requests) for s in subjects.values()), default=0)):
            # Each goes first every other time.
            for name in list(seats)[:: -1 if i % 2 else 1]:
                if i < len(subjects[name].requests):
                    found[name].append(seats[name].ask(i))
                    advance(1)
        footprints = {name: seat.footprint() for name, seat in seats.items()}
        anew: dict[str, list[Timings]] = {name: [] for name in seats}
        for name, subject in subjects.items():
            if subject.kind == "teacher":
                for i in range(len(subject.requests)):
                    anew[name].append(seats[name].ask(i, anew=True))
                    advance(1)
    return {name: Timed(found[name], footprints[name], anew[name]) for name in seats}


class _Seat:
    """Where a subject is asked: a process of its own, or this one."""

    def __init__(self, subject: ToTime, process: bool) -> None:
        self.subject = subject
        self._executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), die_with_parent) if process else None
        self._clock: _Clock | None = None

    def __enter__(self) -> _Seat:
        if self._executor is None:
            self._clock = _clock(self.subject)
        else:
            # Not in the initialiser: an exception there would only say that the pool is broken.
            self._executor.submit(_sit, replace(self.subject, requests=())).result()
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._clock = None

    def ask(self, place: int, *, anew: bool = False) -> Timings:
        request = self.subject.requests[place]
        if self._executor is None:
            assert self._clock is not None
            return self._clock.seconds(request, anew)
        return self._executor.submit(_ask, request, anew).result()

    def footprint(self) -> Footprint:
        if self._executor is None:
            assert self._clock is not None
            return self._clock.size()
        return self._executor.submit(_footprint).result()


_seated: _Clock | None = None


def _sit(subject: ToTime) -> None:
    global _seated
    _seated = _clock(subject)


def _ask(request: Any, anew: bool) -> Timings:
    assert _seated is not None
    return _seated.seconds(request, anew)


def _footprint() -> Footprint:
    assert _seated is not None
    return replace(_seated.size(), peak_rss_bytes=_peak_rss(), peak_accelerator_bytes=_peak_accelerator())


def _peak_rss() -> int:
    try:
        # Not `getrusage`: on Linux its maximum is kept through exec, and so is at least what the parent had when it forked.
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return 1024 * int(found[1])
    import resource

    # In bytes on macOS, in kilobytes elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _peak_accelerator() -> int | None:
    import torch

    peak = getattr(torch.accelerator, "max_memory_allocated", None)
    return int(peak()) if torch.accelerator.is_available() and peak is not None else None


# --- asking one


class _Clock:
    """A loaded subject."""

    def __init__(self, subject: ToTime) -> None:
        self.worker: Any = subject.spec.make(**subject.spec.arguments)
        self.directory = Path(str(subject.spec.arguments["path"]))
        self.decoding = subject.decoding

    def seconds(self, request: Any, anew: bool) -> Timings:
        """Times of one request; ``anew``: with no prefix in the cache."""
        local = self.worker.local
        times = local.time_one(request, decoding=self.decoding, cached_prefix=not anew)
        shared = len(local.shared.tokens) if local.shared else 0
        return {**times, PROMPT_TOKENS: float(shared + len(local.prompt_ids(request)))}

    def size(self) -> Footprint:
        from distill_gov.trainer.students import parameters

        files = self.directory.rglob("*.safetensors")
        return Footprint(parameters=parameters(self.worker.local.model), bytes=sum(path.stat().st_size for path in files))


class _TeacherClock(_Clock):
    """The prompted teacher, whose first token is the label of its first decision."""

    def __init__(self, subject: ToTime) -> None:
        super().__init__(subject)
        first = self.worker.format.fields[0].name
        self.watch = self.worker.alignments[first] = _Stopwatch(self.worker.alignments[first])

    def seconds(self, request: Any, anew: bool) -> Timings:
        if anew:
            self.worker._prefixes.clear()
        started = time.perf_counter()
        [answer] = self.worker.answer([request])
        ended = time.perf_counter()
        return {FIRST_TOKEN: self.watch.at - started, LAST_TOKEN: ended - started, TOKENS: float(len(answer["tokens"]))}


class _Stopwatch:
    """An alignment that notes when it decided."""

    def __init__(self, alignment: Alignment) -> None:
        self.alignment, self.at = alignment, 0.0

    def __call__(self, features: Array) -> Array:
        found = self.alignment(features)
        self.at = time.perf_counter()
        return found


def _clock(subject: ToTime) -> _Clock:
    return _TeacherClock(subject) if subject.kind == "teacher" else _Clock(subject)
