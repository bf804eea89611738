"""Redaction in several processes: the same results, in order, a few chunks at a time, and errors where they belong."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from distill_gov.records.errors import BadModelError, MalformedFileError
from distill_gov.records.keys import KeyRing
from redaction import RedactionPolicy, Redactor
from redaction.pool import ChunkPool, WorkerLostError, chunked


class Doubler:
    """Doubles numbers; fails at one, and ends its process at another."""

    def __init__(self, bad: int = -1, deadly: int = -1) -> None:
        self.bad, self.deadly = bad, deadly

    def work(self, chunk: list[int]) -> list[tuple[int, str | None]]:
        if self.deadly in chunk:
            os._exit(9)
        if self.bad in chunk:
            raise MalformedFileError("no such number", where="item", fix="Leave it out.")
        time.sleep(0.02 * (chunk[0] % 3))
        return [(2 * n, os.environ.get("OMP_NUM_THREADS")) for n in chunk]


def refuse() -> Doubler:
    raise BadModelError("holds no model", where="somewhere", fix="Give one.")


def test_results_come_in_order_and_items_are_taken_as_needed() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(200):
            taken.append(number)
            yield number

    before, threads = set(multiprocessing.active_children()), os.environ.get("OMP_NUM_THREADS")
    with ChunkPool(Doubler, {}, 2) as pool:
        results = pool.run(chunked(source(), 5))
        first = next(results)
        assert len(taken) <= 5 * (2 * 2 + 1)
        rest = list(results)
    assert [value for value, _ in [first, *rest]] == [2 * n for n in range(200)]
    assert {threads for _, threads in rest} == {"1"}
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert set(multiprocessing.active_children()) <= before


def test_an_error_comes_after_the_results_before_it() -> None:
    found: list[Any] = []
    with ChunkPool(Doubler, {"bad": 12}, 2) as pool, pytest.raises(MalformedFileError, match="item: no such number"):
        found.extend(pool.run(chunked(range(20), 5)))
    assert [value for value, _ in found] == [2 * n for n in range(10)]


def test_a_killed_worker_is_an_error_and_no_wait_for_ever() -> None:
    with ChunkPool(Doubler, {"deadly": 7}, 2) as pool, pytest.raises(WorkerLostError):
        list(pool.run(chunked(range(40), 5)))


def test_a_worker_that_cannot_be_made_says_why() -> None:
    with ChunkPool(refuse, {}, 1) as pool, pytest.raises(BadModelError, match="somewhere: holds no model"):
        list(pool.run([[1]]))


@pytest.mark.slow
def test_two_processes_redact_as_one_does(policy: RedactionPolicy, keyring: KeyRing, redactor: Redactor) -> None:
    texts = ["Mail mara.okafor@shop.example, please.", "Nothing.", "My name is Mara Okafor.", "Card 4111 1111 1111 1111"] * 3
    items = [(f"t{i}", text) for i, text in enumerate(texts)]
    assert redactor.detect_many(texts, workers=2) == redactor.detect_many(texts)
    assert list(redactor.redact_many(items, workers=2)) == list(redactor.redact_many(items))
    assert sum(len(redacted.findings) for _, redacted in redactor.redact_many(items)) >= 9
