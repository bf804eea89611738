"""The ledger: whatever is done to its file is found, and what was not logged did not happen."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import ChainBrokenError, DistillGovError, IntegrityError
from distill_gov.records.ledger import GENESIS, Ledger


def ledger(path: Path, events: int = 3) -> Ledger:
    made = Ledger(path / "ledger.jsonl", actor="ci")
    for number in range(events):
        made.append(f"event.{number}", {"run": "r1", "note": "café \u2028", "n": number, "x": 0.5, "list": [1, None]})
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return ledger(tmp_path_factory.mktemp("whole")).path.read_bytes()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return Ledger(tmp_path_factory.mktemp("damaged") / "ledger.jsonl", actor="ci")


def test_entries_are_chained_from_genesis(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    entries = book.entries()
    assert [e.seq for e in entries] == [0, 1, 2]
    assert [e.prev for e in entries] == [GENESIS, entries[0].digest, entries[1].digest]
    assert {e.actor for e in entries} == {"ci"}
    assert book.head == entries[-1].digest
    assert [e.facts["n"] for e in book.find("event.1")] == [1]
    row = json.loads(book.path.read_bytes().splitlines()[0])
    digest = row.pop("digest")
    assert digest_json(row) == digest
    assert row["format"] == "distill-gov/ledger/1"


def test_an_empty_ledger_has_genesis_for_its_head(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "none.jsonl").head == GENESIS
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert Ledger(tmp_path / "empty.jsonl").entries() == []


def test_the_actor_is_the_environments_or_the_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_GOV_ACTOR", "ci-owner")
    assert Ledger(tmp_path / "l").append("e", {}).actor == "ci-owner"
    monkeypatch.delenv("DISTILL_GOV_ACTOR")
    monkeypatch.setattr("getpass.getuser", lambda: "somebody")
    assert Ledger(tmp_path / "l").append("e", {}).actor == "somebody"

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nobody)
    assert Ledger(tmp_path / "l").append("e", {}).actor == "unknown"


@given(st.data())
def test_a_change_of_any_byte_is_found(whole: bytes, damaged: Ledger, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255) | st.sampled_from(b" \t\r\n"))
    assume(whole[at] != byte)
    damaged.path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    with pytest.raises(ChainBrokenError):
        damaged.entries()


@given(st.data())
def test_a_byte_more_or_less_is_found(whole: bytes, damaged: Ledger, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255) | st.sampled_from(b" \t\r\n"))
    shorter, longer = whole[:at] + whole[at + 1 :], whole[:at] + bytes([byte]) + whole[at:]
    for content in (shorter, longer):
        damaged.path.write_bytes(content)
        with pytest.raises(ChainBrokenError):
            damaged.entries()


def test_a_space_that_became_a_tab_is_found(whole: bytes, damaged: Ledger) -> None:
    damaged.path.write_bytes(whole.replace(b": ", b":\t", 1))
    with pytest.raises(ChainBrokenError, match=r"ledger.jsonl:1: entry was changed after it was written"):
        damaged.entries()


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2, 1], [1, 2], [0, 2], [0, 0, 1, 2], [2], [0, 1, 1]])
def test_lines_in_another_order_left_out_or_doubled_are_found(whole: bytes, damaged: Ledger, order: list[int]) -> None:
    lines = whole.splitlines(True)
    damaged.path.write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(ChainBrokenError, match="does not follow"):
        damaged.entries()
    before = damaged.path.read_bytes()
    with pytest.raises(ChainBrokenError):
        damaged.append("event", {})
    assert damaged.path.read_bytes() == before


def test_lines_cut_off_at_the_end_show_only_against_a_noted_head(whole: bytes, damaged: Ledger) -> None:
    damaged.path.write_bytes(whole)
    head = damaged.head
    damaged.path.write_bytes(b"".join(whole.splitlines(True)[:-1]))
    assert head not in {entry.digest for entry in damaged.entries()}


def test_a_torn_last_line_is_an_error_until_the_next_append_says_so(whole: bytes, tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl", actor="ci")
    lines = whole.splitlines(True)
    torn = lines[2][:40]
    book.path.write_bytes(lines[0] + lines[1] + torn)
    with pytest.raises(ChainBrokenError, match="last line is torn"):
        book.entries()
    with pytest.raises(ChainBrokenError):
        _ = book.head
    book.append("next", {})
    assert [(e.event, dict(e.facts)) for e in book.entries()[2:]] == [
        ("ledger.torn_line_removed", {"bytes": len(torn)}),
        ("next", {}),
    ]
    assert book.path.read_bytes().startswith(lines[0] + lines[1])


def test_a_single_torn_line_leaves_a_ledger_that_says_so(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl", actor="ci")
    book.path.write_bytes(b'{"format"')
    book.append("first", {})
    assert [e.event for e in book.entries()] == ["ledger.torn_line_removed", "first"]


def resealed(**changes: Any) -> bytes:
    """A first line whose digest is right, whatever its fields are."""
    body = {"format": "distill-gov/ledger/1", "seq": 0, "prev": GENESIS, "at": "t", "actor": "a", "event": "e", "facts": {}}
    body = {key: value for key, value in {**body, **changes}.items() if value != "absent"}
    return json.dumps({**body, "digest": digest_json(body)}).encode() + b"\n"


def test_a_resealed_line_is_the_form_that_is_accepted(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.path.write_bytes(resealed())
    assert len(book.entries()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": "0"},
        {"seq": False},
        {"seq": 0.5},
        {"seq": None},
        {"prev": None},
        {"at": 5},
        {"actor": []},
        {"event": {}},
        {"event": None},
        {"facts": []},
        {"facts": None},
        {"facts": "x"},
        {"facts": "absent"},
        {"more": 1},
        {"self": 1},
        {"format": "distill-gov/ledger/2"},
        {"format": []},
    ],
    ids=str,
)
def test_fields_of_the_wrong_type_break_the_chain(tmp_path: Path, changes: dict[str, Any]) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.path.write_bytes(resealed(**changes))
    with pytest.raises(ChainBrokenError):
        book.entries()


@pytest.mark.parametrize("line", [b"", b"null", b"3", b"[]", b'"x"', b"{}", b"{", b'{"digest": []}', b"\xff", b"[" * 9999])
def test_a_line_that_is_no_entry_breaks_the_chain(tmp_path: Path, line: bytes) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.path.write_bytes(line + b"\n")
    with pytest.raises(ChainBrokenError):
        book.entries()


@given(st.binary())
def test_any_bytes_are_a_ledger_or_a_broken_chain(damaged: Ledger, data: bytes) -> None:
    damaged.path.write_bytes(data)
    if data:
        with pytest.raises(ChainBrokenError):
            damaged.entries()
    else:
        assert damaged.entries() == []


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": 2**60}, {"x": "\ud800"}, {"x": object()}, {1: 2}])
def test_facts_that_cannot_be_logged_leave_the_ledger_alone(tmp_path: Path, facts: dict[str, Any]) -> None:
    book = ledger(tmp_path)
    before = book.path.read_bytes()
    with pytest.raises(DistillGovError):
        book.append("event", facts)
    assert book.path.read_bytes() == before


def test_a_line_that_the_disk_took_in_part_is_no_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = ledger(tmp_path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
    with pytest.raises(IntegrityError, match="not written whole"):
        book.append("event", {})
    monkeypatch.undo()
    book.append("event", {})
    assert [e.event for e in book.entries()[3:]] == ["ledger.torn_line_removed", "event"]


def _append(path: Path, name: str, count: int) -> None:
    book = Ledger(path, actor=name)
    for number in range(count):
        book.append("event", {"n": number})


def test_two_processes_append_to_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_append, args=(path, name, 20)) for name in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    entries = Ledger(path).entries()
    for name in ("one", "two"):
        assert [e.facts["n"] for e in entries if e.actor == name] == list(range(20))
    assert len(entries) == 40
