"""Dear work in fixed shards, on several one-thread processes, each result kept by content.

Two one-thread workers decode faster than one two-thread process on a CPU, and a batch on one thread gives the same bits
whenever it runs. A shard's result is stored under the digest of who works and on what, so that killed work goes on where it
stopped and the same work is never paid twice. Shards are made from the whole list of items, never from what is left of it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import DistillGovError
from distill_gov.records.files import read_json, write_json
from redaction.pool import die_with_parent

__all__ = ["Failed", "Pool", "Worker", "WorkerSpec", "shards"]

FORMAT = "cache"


class Worker(Protocol):
    """What a worker process holds: a loaded model that does one kind of work on a shard. Results are JSON values."""

    def work(self, kind: str, shard: list[dict[str, Any]]) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """How to make a worker in another process."""

    make: Callable[..., Worker]
    """A module-level callable."""
    arguments: Mapping[str, Any]
    identity: str
    """Digest of everything that shapes the results."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Stands for an item's result where the worker raised on it, also when it was tried alone."""

    cause: str
    """Class of the exception. Its message is not kept: it could quote the item."""


_ENDS_THE_WORK = (DistillGovError, MemoryError, BrokenExecutor)
"""What is no item's fault: bad input that says what to do, a machine without memory, a worker that died."""


def shards(items: Sequence[Mapping[str, Any]], length: Callable[[Mapping[str, Any]], Any], size: int) -> list[list[int]]:
    """Indices of items cut into shards of like length; depends on the items only.

    Args:
        length: what items are sorted by, so that those of a shard are alike.
    """
    order = sorted(range(len(items)), key=lambda i: (length(items[i]), i))
    return [order[start : start + size] for start in range(0, len(order), size)]


class Pool:
    """Workers of one kind, started at the first shard that is not in the cache.

    Args:
        spec: how to make a worker.
        cache: directory of stored results; None keeps nothing.
        workers: processes; 0 works in this one (tests, an accelerator).
    """

    def __init__(self, spec: WorkerSpec, cache: Path | None, workers: int) -> None:
        self.spec, self.cache, self.workers = spec, cache, workers
        self._executor: ProcessPoolExecutor | None = None
        self._local: Worker | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor:
            self._executor.shutdown(cancel_futures=True)
        self._local = None

    def run(
        self,
        kind: str,
        items: Sequence[dict[str, Any]],
        *,
        length: Callable[[Mapping[str, Any]], Any],
        size: int,
        advance: Callable[[int], None] = lambda _: None,
        keep_failures: bool = False,
    ) -> list[Any]:
        """Results for the items, in their order.

        Args:
            advance: called with the number of items just done.
            keep_failures: where a worker raises on a shard, try the shard's items one by one, and let those that it cannot do
                come back as :class:`Failed`. They are tried again the next time.

        Raises:
            Exception: whatever a worker raised, without ``keep_failures``; else only what is no item's fault.
        """
        results: list[Any] = [None] * len(items)
        todo: list[tuple[list[int], Path | None]] = []
        for indices in shards(items, length, size):
            place = self._place(kind, [items[i] for i in indices])
            if place is not None and place.exists():
                self._put(results, indices, read_json(place, format=FORMAT)["results"])
                advance(len(indices))
            else:
                todo.append((indices, place))
        for indices, place, found in self._compute(kind, items, todo, keep_failures):
            if place is not None and not any(isinstance(result, Failed) for result in found):
                write_json(place, {"kind": kind, "results": found}, format=FORMAT)
            self._put(results, indices, found)
            advance(len(indices))
        return results

    def _put(self, results: list[Any], indices: Sequence[int], found: Sequence[Any]) -> None:
        for index, value in zip(indices, found, strict=True):
            results[index] = value

    def _place(self, kind: str, shard: list[dict[str, Any]]) -> Path | None:
        if self.cache is None:
            return None
        digest = digest_json([self.spec.identity, kind, shard]).removeprefix("sha256:")
        return self.cache / kind / digest[:2] / f"{digest}.json"

    def _compute(
        self, kind: str, items: Sequence[dict[str, Any]], todo: Sequence[tuple[list[int], Path | None]], keep_failures: bool
    ) -> Iterator[tuple[list[int], Path | None, list[Any]]]:
        if not todo:
            return
        if self.workers == 0:
            worker = self._local = self._local or self.spec.make(**self.spec.arguments)

            def work(shard: list[dict[str, Any]]) -> list[Any]:
                return worker.work(kind, shard)

            with _one_thread():
                for indices, place in todo:
                    shard = [items[i] for i in indices]
                    yield indices, place, _tried(work, work, shard) if keep_failures else work(shard)
            return
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), _start, (self.spec.make, dict(self.spec.arguments))
            )
        # Long shards first: the last one to finish is then a short one.
        futures = {
            self._executor.submit(_work, kind, [items[i] for i in indices]): (indices, place)
            for indices, place in reversed(todo)
        }
        executor = self._executor

        def alone(shard: list[dict[str, Any]]) -> list[Any]:
            found: list[Any] = executor.submit(_work, kind, shard).result()
            return found

        for future in as_completed(futures):
            indices, place = futures[future]
            if keep_failures:
                shard = [items[i] for i in indices]
                yield indices, place, _tried(lambda _, done=future: done.result(), alone, shard)  # type: ignore[misc]
            else:
                yield indices, place, future.result()


_Work = Callable[[list[dict[str, Any]]], list[Any]]


def _tried(whole: _Work, alone: _Work, shard: list[dict[str, Any]]) -> list[Any]:
    """The results of a shard; if the worker raised on the whole of it, those of its items one by one."""
    try:
        return whole(shard)
    except _ENDS_THE_WORK:
        raise
    except Exception:
        return [result for item in shard for result in _alone(alone, item)]


def _alone(work: _Work, item: dict[str, Any]) -> list[Any]:
    try:
        return work([item])
    except _ENDS_THE_WORK:
        raise
    except Exception as error:
        return [Failed(type(error).__name__)]


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_worker: Worker | None = None
_failure: BaseException | None = None


def _start(make: Callable[..., Worker], arguments: dict[str, Any]) -> None:
    global _worker, _failure
    import torch

    die_with_parent()
    torch.set_num_threads(1)
    try:
        _worker = make(**arguments)
    except DistillGovError as error:
        # An exception in an initialiser would only say that the pool is broken.
        _failure = error


def _work(kind: str, shard: list[dict[str, Any]]) -> list[Any]:
    if _failure is not None:
        raise _failure
    assert _worker is not None
    return _worker.work(kind, shard)
