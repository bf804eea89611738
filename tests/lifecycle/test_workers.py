"""Dear work in shards: cached by content, the same whoever does it, whatever was killed."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadModelError, BadSchemaError
from distill_gov.workers import Pool, WorkerSpec
from evals.shards import Failed
from evals.shards import cut as shards


class Echo:
    """Answers each item with its text reversed; notes every shard it works on in a file."""

    def __init__(
        self, log: str, fail_on: str = "", stop_after: int = 10**9, error: type[BaseException] = BadSchemaError
    ) -> None:
        self.log, self.fail_on, self.left, self.error = Path(log), fail_on, stop_after, error

    def work(self, kind: str, shard: list[dict[str, Any]]) -> list[Any]:
        if self.left <= 0:
            raise KeyboardInterrupt
        self.left -= 1
        with self.log.open("a") as stream:
            stream.write("|".join(item["text"] for item in shard) + "\n")
        if self.fail_on and any(item["text"] == self.fail_on for item in shard):
            if self.error is not BadSchemaError:
                raise self.error(f"cannot do {self.fail_on}")
            raise BadSchemaError("this item cannot be done", where="item", fix="Leave it out.")
        return [{"kind": kind, "text": item["text"][::-1]} for item in shard]


class DeadError(Exception):
    """Ends the process in place of raising."""

    def __init__(self, _: str) -> None:
        os._exit(1)


def refuse(**_: Any) -> Echo:
    raise BadModelError("holds no model", where="somewhere", fix="Give one.")


def spec(tmp_path: Path, identity: str = "one", **arguments: Any) -> WorkerSpec:
    return WorkerSpec(Echo, {"log": str(tmp_path / "log"), **arguments}, identity)


def length(item: Mapping[str, Any]) -> int:
    return len(item["text"])


ITEMS = [{"text": "abcdefghij"[: 1 + (7 * i) % 10] + str(i)} for i in range(11)]
WANTED = [{"kind": "echo", "text": item["text"][::-1]} for item in ITEMS]


def run(pool: Pool, items: list[dict[str, Any]] = ITEMS, kind: str = "echo", **named: Any) -> list[Any]:
    return pool.run(kind, items, length=length, size=3, **named)


def worked(tmp_path: Path) -> list[str]:
    log = tmp_path / "log"
    return log.read_text().splitlines() if log.exists() else []


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(1, 7))
def test_shards_hold_every_item_once_and_items_of_like_length(lengths: list[int], size: int) -> None:
    items = [{"text": "x" * n} for n in lengths]
    found = shards(items, length, size)
    assert sorted(i for shard in found for i in shard) == list(range(len(items)))
    assert all(len(shard) == size for shard in found[:-1])
    flat = [lengths[i] for shard in found for i in shard]
    assert flat == sorted(flat)
    assert found == shards(items, length, size)


@pytest.mark.parametrize("cached", [True, False])
def test_results_come_in_the_order_of_the_items(cached: bool, tmp_path: Path) -> None:
    done: list[int] = []
    with Pool(spec(tmp_path), tmp_path / "cache" if cached else None, 0) as pool:
        assert run(pool, advance=done.append) == WANTED
    assert sum(done) == len(ITEMS)
    assert len(done) == 4


def test_the_same_work_is_not_done_twice(tmp_path: Path) -> None:
    for _ in range(2):
        done: list[int] = []
        with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
            assert run(pool, advance=done.append) == WANTED
        assert sum(done) == len(ITEMS)
    assert len(worked(tmp_path)) == 4


def test_a_cached_run_starts_no_worker(tmp_path: Path) -> None:
    with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
        run(pool)
    for workers in (0, 2):
        with Pool(WorkerSpec(refuse, {}, "one"), tmp_path / "cache", workers) as pool:
            assert run(pool) == WANTED
            assert pool._executor is None


@pytest.mark.parametrize("change", ["identity", "kind", "item"])
def test_other_work_is_not_taken_from_the_cache(change: str, tmp_path: Path) -> None:
    with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
        run(pool)
    before = len(worked(tmp_path))
    items = [*ITEMS[:-1], {**ITEMS[-1], "more": 1}] if change == "item" else ITEMS
    with Pool(spec(tmp_path, "other" if change == "identity" else "one"), tmp_path / "cache", 0) as pool:
        run(pool, items, "another kind" if change == "kind" else "echo")
    # One changed item changes its own shard only.
    assert len(worked(tmp_path)) - before == (1 if change == "item" else 4)


@pytest.mark.parametrize("done", [0, 1, 3])
def test_killed_work_goes_on_where_it_stopped(done: int, tmp_path: Path) -> None:
    """The shards are those of the whole list: what was done is not done again, and the rest is cut as before."""
    with Pool(spec(tmp_path, stop_after=done), tmp_path / "cache", 0) as pool, pytest.raises(KeyboardInterrupt):
        run(pool)
    assert len(worked(tmp_path)) == done
    with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
        assert run(pool) == WANTED
    parts = worked(tmp_path)
    assert len(parts) == len(set(parts)) == 4
    assert parts == ["|".join(ITEMS[i]["text"] for i in shard) for shard in shards(ITEMS, length, 3)]


@pytest.mark.parametrize("damage", [lambda text: text[:40], lambda text: text.replace('"results": [', '"results": [1,')])
def test_a_damaged_result_is_worked_on_again(tmp_path: Path, damage: Callable[[str], str]) -> None:
    with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
        run(pool)
    for path in (tmp_path / "cache").rglob("*.json"):
        path.write_text(damage(path.read_text("utf-8")), encoding="utf-8")
    with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
        assert run(pool) == WANTED


@pytest.mark.parametrize("workers", [0, 1])
def test_one_item_that_makes_the_worker_raise_is_the_only_one_lost(workers: int, tmp_path: Path) -> None:
    bad = 3
    failing = spec(tmp_path, fail_on=ITEMS[bad]["text"], error=RuntimeError)
    with Pool(failing, tmp_path / "cache", workers) as pool:
        found = run(pool, keep_failures=True)
    assert found == [Failed("RuntimeError") if i == bad else wanted for i, wanted in enumerate(WANTED)]
    # A shard with a failure is not kept, so that a repaired worker does it anew; the others are.
    before = len(worked(tmp_path))
    with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
        assert run(pool, keep_failures=True) == WANTED
    assert len(worked(tmp_path)) == before + 1


def test_without_leave_a_failure_ends_the_work(tmp_path: Path) -> None:
    with Pool(spec(tmp_path, fail_on=ITEMS[3]["text"], error=RuntimeError), None, 0) as pool, pytest.raises(RuntimeError):
        run(pool)


@pytest.mark.parametrize("error", [BadSchemaError, MemoryError, KeyboardInterrupt, SystemExit])
def test_what_is_no_items_fault_ends_the_work_all_the_same(error: type[BaseException], tmp_path: Path) -> None:
    with Pool(spec(tmp_path, fail_on=ITEMS[3]["text"], error=error), None, 0) as pool, pytest.raises(error):
        run(pool, keep_failures=True)


def test_a_worker_that_dies_is_no_items_fault(tmp_path: Path) -> None:
    from concurrent.futures import BrokenExecutor

    with Pool(spec(tmp_path, fail_on=ITEMS[3]["text"], error=DeadError), None, 1) as pool, pytest.raises(BrokenExecutor):
        run(pool, keep_failures=True)


def test_nothing_to_do(tmp_path: Path) -> None:
    with Pool(WorkerSpec(refuse, {}, "one"), tmp_path / "cache", 0) as pool:
        assert run(pool, []) == []


# -- worker processes -------------------------------------------------------------------------------------------------------


def test_processes_give_the_same_results_and_leave_nothing_behind(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    with Pool(spec(tmp_path), tmp_path / "cache", 2) as pool:
        assert run(pool) == WANTED
        assert run(pool, ITEMS[:4]) == WANTED[:4]
    assert set(multiprocessing.active_children()) <= before
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".json"]


def test_an_error_in_a_process_comes_back_as_itself_and_what_was_done_stays(tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(BadSchemaError) as caught, Pool(spec(tmp_path, fail_on=ITEMS[3]["text"]), tmp_path / "cache", 1) as pool:
        run(pool)
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("this item cannot be done", "item", "Leave it out.")
    assert caught.value.exit_code == 2
    assert set(multiprocessing.active_children()) <= before
    with Pool(spec(tmp_path), tmp_path / "cache", 0) as pool:
        assert run(pool) == WANTED


def test_a_worker_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match="somewhere: holds no model"), Pool(WorkerSpec(refuse, {}, "x"), None, 1) as pool:
        run(pool)
