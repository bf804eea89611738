"""Dear work in fixed shards, on several one-thread processes, each result kept by content.

Two one-thread workers decode faster than one two-thread process on a CPU, and a batch on one thread gives the same bits
whenever it runs. A shard's result is stored under the digest of who works and on what, so that killed work goes on where it
stopped and the same work is never paid twice. Shards are made from the whole list of items, never from what is left of it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from distill_gov.records.errors import DistillGovError
from evals.shards import ENDS_THE_WORK, ShardStore, cut, tried
from redaction.pool import die_with_parent

__all__ = ["Pool", "Worker", "WorkerSpec"]


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


_ENDS_THE_WORK = (*ENDS_THE_WORK, BrokenExecutor)
"""And a worker that died."""


class Pool:
    """Workers of one kind, started at the first shard that is not in the cache.

    Args:
        spec: how to make a worker.
        cache: directory of stored results; None keeps nothing.
        workers: processes; 0 works in this one (tests, an accelerator).
    """

    def __init__(self, spec: WorkerSpec, cache: Path | None, workers: int) -> None:
        self.spec, self.workers = spec, workers
        self.store = ShardStore(cache, spec.identity) if cache is not None else None
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
                come back as :class:`evals.shards.Failed`. They are tried again the next time.

        Raises:
            Exception: whatever a worker raised, without ``keep_failures``; else only what is no item's fault.
        """
        results: list[Any] = [None] * len(items)
        todo: list[list[int]] = []
        for indices in cut(items, length, size):
            kept = self.store.get(kind, [items[i] for i in indices]) if self.store else None
            if kept is not None:
                self._put(results, indices, kept)
                advance(len(indices))
            else:
                todo.append(indices)
        for indices, found in self._compute(kind, items, todo, keep_failures):
            if self.store:
                self.store.put(kind, [items[i] for i in indices], found)
            self._put(results, indices, found)
            advance(len(indices))
        return results

    def _put(self, results: list[Any], indices: Sequence[int], found: Sequence[Any]) -> None:
        for index, value in zip(indices, found, strict=True):
            results[index] = value

    def _compute(
        self, kind: str, items: Sequence[dict[str, Any]], todo: Sequence[list[int]], keep_failures: bool
    ) -> Iterator[tuple[list[int], list[Any]]]:
        if not todo:
            return
        if self.workers == 0:
            worker = self._local = self._local or self.spec.make(**self.spec.arguments)

            def work(shard: Sequence[dict[str, Any]]) -> list[Any]:
                return worker.work(kind, list(shard))

            with _one_thread():
                for indices in todo:
                    shard = [items[i] for i in indices]
                    yield indices, tried(work, shard, ends=_ENDS_THE_WORK) if keep_failures else work(shard)
            return
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), _start, (self.spec.make, dict(self.spec.arguments))
            )
        # Long shards first: the last one to finish is then a short one.
        futures = {self._executor.submit(_work, kind, [items[i] for i in indices]): indices for indices in reversed(todo)}
        for future in as_completed(futures):
            indices = futures[future]
            shard = [items[i] for i in indices]
            done = partial(self._done, future, kind, shard)
            yield indices, tried(done, shard, ends=_ENDS_THE_WORK) if keep_failures else future.result()

    def _done(
        self, future: Future[list[Any]], kind: str, whole: Sequence[dict[str, Any]], asked: Sequence[dict[str, Any]]
    ) -> list[Any]:
        """The shard's own result; a part of the shard is worked on anew."""
        if asked is whole:
            return future.result()
        assert self._executor is not None
        return self._executor.submit(_work, kind, list(asked)).result()


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
