"""Purge records: only what the ledger announced excuses a file, and only for what was announced."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import HashMismatchError, MalformedFileError
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.ledger import Ledger
from distill_gov.records.purges import (
    AFFECTED,
    BEGUN,
    DONE,
    SEAL_BROKEN,
    PurgedTrace,
    PurgeRecord,
    Purges,
    TouchedFile,
    purge_notes,
    read_purges,
    write_purge,
)

FILE = "runs/r1/teaching/a"


def record(*moves: tuple[str, str | None], purge: str = "p1", part: int = 1) -> PurgeRecord:
    files = tuple(TouchedFile(FILE, before, after, 1) for before, after in moves)
    return PurgeRecord(purge, part, "expired", "2026-11-22T12:00:00Z", "a-role", "why", "key", (PurgedTrace("t", None),), files)


def test_a_chain_of_purges_ends_in_the_last_digest() -> None:
    purges = Purges((record(("a", "b")), record(("b", "c"), purge="p2")), frozenset(("p1", "p2")))
    for once in "abc":
        assert purges.allowed(FILE, once) == ("c",)
    assert purges.allowed(FILE, "x") == ("x",)
    assert purges.allowed("runs/r1/teaching/other", "a") == ("a",)


def test_what_was_there_before_is_allowed_only_until_the_purge_is_done() -> None:
    assert set(Purges((record(("a", "b")),)).allowed(FILE, "a")) == {"a", "b"}
    assert Purges((record(("a", "b")),), frozenset(["p1"])).allowed(FILE, "a") == ("b",)


def test_a_further_part_has_the_last_word() -> None:
    purges = Purges((record(("a", "b")), record(("a", "c"), part=2)), frozenset(["p1"]))
    assert purges.allowed(FILE, "a") == ("c",)


def test_a_file_that_went_as_a_whole_is_allowed_to_be_absent_and_nothing_else() -> None:
    assert Purges((record(("a", None)),), frozenset(["p1"])).allowed(FILE, "a") == ("",)


@pytest.fixture
def project(tmp_path: Path) -> ProjectLayout:
    layout = ProjectLayout(tmp_path)
    path = write_purge(layout, record(("a", "b")))
    Ledger(layout.ledger).append(BEGUN, {"purge": "p1", "part": 1, "record": digest_file(path)})
    return layout


def test_a_record_comes_back_as_it_was_written(project: ProjectLayout) -> None:
    purges = read_purges(project, Ledger(project.ledger).entries())
    assert purges.records == (record(("a", "b")),)
    assert (purges.unfinished, purges.unannounced) == (("p1",), ())
    Ledger(project.ledger).append(DONE, {"purge": "p1", "parts": 1})
    assert read_purges(project, Ledger(project.ledger).entries()).unfinished == ()


def test_a_record_that_nobody_announced_excuses_nothing(project: ProjectLayout) -> None:
    write_purge(project, record(("b", "x"), purge="p2"))
    purges = read_purges(project, Ledger(project.ledger).entries())
    assert purges.unannounced == ("p2.1.json",)
    assert purges.current(FILE, "a") == "b"


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_an_announced_record_must_be_there_as_it_was(project: ProjectLayout, damage: str) -> None:
    path = project.purge("p1", 1)
    if damage == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text("utf-8").replace("a-role", "b-role"), "utf-8")
    with pytest.raises(HashMismatchError):
        read_purges(project, Ledger(project.ledger).entries())


def test_an_announced_file_that_is_no_record_is_refused(project: ProjectLayout) -> None:
    path = project.purge("p2", 1)
    path.write_text('{"format": "distill-gov/purge/1", "purge": "p2"}', "utf-8")
    Ledger(project.ledger).append(BEGUN, {"purge": "p2", "part": 1, "record": digest_file(path)})
    with pytest.raises(MalformedFileError):
        read_purges(project, Ledger(project.ledger).entries())


def test_notes_tell_of_files_students_and_the_holdout_of_the_run_alone(project: ProjectLayout) -> None:
    ledger = Ledger(project.ledger)
    ledger.append(AFFECTED, {"run": "r1", "purge": "p1", "taught": 7, "tuned": 0})
    ledger.append(SEAL_BROKEN, {"purge": "p1", "digest": "sha256:h", "rows": 3, "left": "sha256:i"})
    ledger.append(SEAL_BROKEN, {"purge": "p2", "digest": "sha256:i", "rows": 2, "left": "sha256:j"})
    purges = read_purges(project, ledger.entries())
    notes = purge_notes(purges, ledger.entries(), "r1", "sha256:h", lambda n: f"[{n}]")
    assert [("(purge p1)" in n, "taught [7], tuned on [0]" in n, "([3])" in n, "([2])" in n) for n in notes] == [
        (True, False, False, False),
        (False, True, False, False),
        (False, False, True, False),
        (False, False, False, True),
    ]
    assert purge_notes(purges, ledger.entries(), "r2", "sha256:other") == []
