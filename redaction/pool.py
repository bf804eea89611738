"""Work on chunks of items in several one-thread processes: results in order, as they come, with few chunks on their way.

spaCy works on one core, and two of its processes do twice the work of one. Results go back as plain values: spaCy's own
``n_process`` pickles whole documents and is slower for it.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol, TypeVar

from distill_gov.records.errors import DistillGovError

__all__ = ["ChunkPool", "ChunkWorker", "WorkerLostError", "chunked", "die_with_parent"]

_T = TypeVar("_T")
_IN_FLIGHT = 2
"""Chunks given out for each worker: one in work, one waiting for it."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerLostError(DistillGovError):
    """A worker process ended while it worked, so what it worked on is not done."""


class ChunkWorker(Protocol):
    """What a worker process holds. It returns one result for each item of a chunk."""

    def work(self, chunk: list[Any]) -> Sequence[Any]: ...


class ChunkPool:
    """Workers that are alike, started at the first chunk. Use it in a ``with``.

    Args:
        make: makes a worker; a function or class of a module, since workers are started afresh ("spawn").
        arguments: what it is called with; sent over a pipe, never on a command line.
        workers: processes.
    """

    def __init__(self, make: Callable[..., ChunkWorker], arguments: Mapping[str, Any], workers: int) -> None:
        self._make, self._arguments, self.workers = make, dict(arguments), workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> ChunkPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def run(self, chunks: Iterable[list[Any]]) -> Iterator[Any]:
        """Results of the items of all chunks, in order; chunks are taken from the source as workers get free.

        Raises:
            DistillGovError: what a worker raised, at its chunk.
            WorkerLostError: a worker was killed.
        """
        source = iter(chunks)
        waiting: deque[Future[Sequence[Any]]] = deque()
        try:
            for chunk in islice(source, self.workers * _IN_FLIGHT):
                waiting.append(self._submit(chunk))
            while waiting:
                yield from _result(waiting.popleft())
                for chunk in islice(source, 1):
                    waiting.append(self._submit(chunk))
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, chunk: list[Any]) -> Future[Sequence[Any]]:
        try:
            return self._running().submit(_work, chunk)
        except BrokenExecutor:
            raise _lost() from None

    def _running(self) -> ProcessPoolExecutor:
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            executor = ProcessPoolExecutor(self.workers, context, _start, (self._make, self._arguments))
            with _one_thread_each():
                # The executor starts a process for each task that finds none free.
                for _ in range(self.workers):
                    executor.submit(_nothing)
            self._executor = executor
        return self._executor


def chunked(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Items in lists of a size, the last one shorter."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def die_with_parent() -> None:
    """End this process when the one that started it does: a worker whose parent was killed would go on for nobody."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _lost() -> WorkerLostError:
    return WorkerLostError("a worker process ended while it worked", fix="Is there enough memory? Try fewer workers.")


def _result(future: Future[_T]) -> _T:
    try:
        return future.result()
    except BrokenExecutor:
        raise _lost() from None


@contextmanager
def _one_thread_each() -> Iterator[None]:
    # Processes take over the environment at their start, and libraries read it when they are loaded.
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_worker: ChunkWorker | None = None
_failure: DistillGovError | None = None


def _start(make: Callable[..., ChunkWorker], arguments: dict[str, Any]) -> None:
    global _worker, _failure
    die_with_parent()
    try:
        _worker = make(**arguments)
    except DistillGovError as error:
        # An exception in an initialiser would only say that the pool is broken.
        _failure = error


def _nothing() -> None: ...


def _work(chunk: list[Any]) -> Sequence[Any]:
    if _failure is not None:
        raise _failure
    assert _worker is not None
    return _worker.work(chunk)
