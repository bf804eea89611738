from __future__ import annotations

import csv
import html
import io
import json
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import BadInputError, DistillGovError, DuplicateIdError, ForeignRunError, NothingLeftError
from distill_gov.records.keys import KeyRing
from evals.ratings import RatingItem, Scale
from evals.ratings.blinding import assign
from evals.ratings.packets import Packet

from .conftest import KEY, Desk, make_items


def _decoded(path: Path) -> str:
    """A packet file's content as a person or a parser would see it: plain, HTML unescaped, JSON escapes resolved."""
    text = path.read_text("utf-8-sig")
    if path.suffix == ".html":
        data = re.search(r'<script type="application/json" id="packet">(.*?)</script>', text, re.DOTALL)
        assert data is not None
        return "\n".join([text, html.unescape(text), json.dumps(json.loads(data[1]), ensure_ascii=False)])
    if path.suffix == ".csv":
        return "\n".join(cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row)
    assert path.suffix == ".json"
    return text + json.dumps(json.loads(text), ensure_ascii=False)


def test_packets_hold_nothing_that_unblinds(desk: Desk) -> None:
    subjects = ("zebra-49m-distilled", "quagga-135m-base")
    exported = desk.export(make_items(8, subjects))
    secrets = [
        *subjects,
        KEY.secret.hex(),
        KEY.key_id,
        "case-0",
        "cluster-",
        "slice-plain",
        "ann@",
        "bob@",
        desk.table.salt,
        exported.sealed,
    ]
    files = sorted(desk.packets_directory.iterdir())
    assert {path.suffix for path in files} == {".html", ".csv", ".json"}
    assert len(files) == 6
    for path in files:
        text = _decoded(path)
        # Positive control: the decoder sees what a rater sees.
        assert "version 1 of reply 7." in text
        for secret in secrets:
            assert secret not in text, f"{path.suffix} holds a secret"
            assert secret not in path.name
    # And the key table, which is outside the run, holds what was kept back.
    assert subjects[0] in desk.key_path.read_text()
    assert not [p for p in desk.run.rglob("*") if p.is_file() and subjects[0] in p.read_text("utf-8-sig")]


def test_other_names_of_subjects_change_nothing_readable(desk: Desk, tmp_path: Path) -> None:
    def readable(subjects: tuple[str, str], root: Path) -> list[Any]:
        there = Desk(root)
        there.export(make_items(8, subjects))
        packets = there.packets.values()
        # Everything but ids, order and time.
        return [(p.scale, sorted((i.message, i.answer) for i in p.items)) for p in packets]

    assert readable(("student", "teacher"), tmp_path / "a") == readable(("teacher", "student"), tmp_path / "b")
    assert readable(("student", "teacher"), tmp_path / "a2") == readable(("m-17", "x"), tmp_path / "c")


def test_order_and_ids_differ_by_rater_and_key(desk: Desk, tmp_path: Path) -> None:
    desk.export(make_items(20))
    one, two = desk.packets.values()
    assert [i.answer for i in one.items] != [i.answer for i in two.items]
    assert sorted(i.answer for i in one.items) == sorted(i.answer for i in two.items)
    assert not {i.item for i in one.items} & {i.item for i in two.items}
    # Ids do not follow the order of cases or subjects.
    unit = {row.item: (row.case, row.subject) for row in desk.table.rows if row.rater == one.rater}
    assert sorted(unit, key=lambda item: unit[item]) != sorted(unit)
    other = Desk(tmp_path / "other")
    other.export(make_items(20), key=KeyRing(bytes(32)).subkey("ratings"))
    assert not {i.item for p in other.packets.values() for i in p.items} & {
        i.item for p in desk.packets.values() for i in p.items
    }


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    raters=st.integers(2, 5),
    each=st.none() | st.integers(1, 40),
    secret=st.binary(min_size=32, max_size=32),
)
def test_assignment_is_balanced(n: int, raters: int, each: int | None, secret: bytes) -> None:
    key = KeyRing(secret).subkey("ratings")
    plan = assign(make_items(n), raters=[f"r{i}" for i in range(raters)], key=key, items_per_rater=each, repeats=0.0)
    per_case = Counter(case for rows in plan.values() for case in {row.case for row in rows})
    assert len(plan) == raters
    assert min(per_case.values()) >= 2
    assert max(per_case.values()) - min(per_case.values()) <= 1
    assert len({row.item for rows in plan.values() for row in rows}) == sum(map(len, plan.values()))
    firsts_by_case: dict[str, list[str]] = {}
    for rows in plan.values():
        cases = {row.case for row in rows}
        assert len(rows) == 2 * len(cases)
        assert each is None or len(cases) <= each
        first = {}
        for row in rows:
            first.setdefault(row.case, row.subject)
        student_first = sum(subject == "student" for subject in first.values())
        assert abs(2 * student_first - len(cases)) <= 2
        for case, subject in first.items():
            firsts_by_case.setdefault(case, []).append(subject)
    for firsts in firsts_by_case.values():
        assert abs(2 * firsts.count("student") - len(firsts)) <= 1


def test_cases_are_drawn_by_key_where_raters_cannot_see_all(desk: Desk) -> None:
    exported = desk.export(make_items(30), items_per_rater=10)
    assert exported.cases == 10
    cases = {row.case for row in desk.table.rows}
    assert cases != {item.case for item in make_items(10)}
    assert all(len(packet.items) == 20 for packet in desk.packets.values())


def test_repeats_are_off_by_default_and_come_last(desk: Desk, tmp_path: Path) -> None:
    desk.export(make_items(20))
    assert not any(row.repeat for row in desk.table.rows)
    again = Desk(tmp_path / "again")
    again.export(make_items(20), repeats=0.1)
    repeats = {row.item for row in again.table.rows if row.repeat}
    for packet in again.packets.values():
        assert len(packet.items) == 44
        assert [item.item in repeats for item in packet.items] == [False] * 40 + [True] * 4
        shown = Counter((i.message, i.answer) for i in packet.items)
        assert sorted(shown.values()) == [1] * 36 + [2] * 4


def test_white_space_is_one_for_all(desk: Desk) -> None:
    desk.export([RatingItem("c1", " Hi \u00a0there ", {"student": "A  b\n\n\nc ", "teacher": "  "})])
    (packet, _) = desk.packets.values()
    assert {(i.message, i.answer) for i in packet.items} == {("Hi there", "A b\nc"), ("Hi there", "(no answer)")}


def test_key_is_sealed_first_and_private(desk: Desk) -> None:
    exported = desk.export()
    (entry,) = desk.ledger.entries()
    assert entry.event == "ratings.sealed"
    assert entry.facts["key"] == exported.sealed == digest_file(desk.key_path)
    assert entry.facts["packets"] == {alias: packet.digest for alias, packet in desk.packets.items()}
    assert stat.S_IMODE(desk.key_path.stat().st_mode) == 0o600
    assert KEY.secret.hex() not in desk.key_path.read_text()
    assert {files.alias for files in exported.raters.values()} == set(desk.packets)
    assert all(files.page.is_file() and files.table.is_file() for files in exported.raters.values())


class BrokenJournal:
    def append(self, event: str, facts: object) -> Any:
        raise OSError("disk full")


def test_nothing_is_written_when_the_journal_fails(desk: Desk) -> None:
    with pytest.raises(OSError, match="disk full"):
        desk.export(journal=BrokenJournal())
    assert list(desk.root.rglob("*")) == []


def test_the_digest_is_logged_before_key_and_packets_exist(desk: Desk) -> None:
    class Watching:
        def append(self, event: str, facts: object) -> Any:
            assert not desk.key_path.exists()
            assert not desk.packets_directory.exists()
            return desk.ledger.append(event, facts)  # type: ignore[arg-type]

    desk.export(journal=Watching())
    assert desk.key_path.exists()


def test_repeated_export_changes_nothing(desk: Desk) -> None:
    desk.export()
    before = {path: path.read_bytes() for path in desk.root.rglob("*") if path.is_file()}
    # As after a crash while packets were written.
    next(desk.packets_directory.glob("*.html")).unlink()
    desk.export()
    assert {path: path.read_bytes() for path in desk.root.rglob("*") if path.is_file()} == before


def test_another_export_to_the_same_place_is_refused(desk: Desk) -> None:
    desk.export()
    with pytest.raises(ForeignRunError):
        desk.export(make_items(5))
    with pytest.raises(ForeignRunError):
        desk.export(key_path=desk.root / "keys" / "second.json")
    assert len(desk.ledger.entries()) == 1


@pytest.mark.parametrize("inside", ["runs/r1/key.json", "runs/r1/ratings/packets/key.json", "runs/x/../r1/key.json"])
def test_key_never_lies_in_the_run(desk: Desk, inside: str) -> None:
    with pytest.raises(BadInputError, match="inside the run"):
        desk.export(key_path=desk.root / inside)
    assert not desk.ledger.path.exists()


@pytest.mark.parametrize(
    ("items", "changes", "error"),
    [
        ([], {}, NothingLeftError),
        (make_items(2) + make_items(1), {}, DuplicateIdError),
        ([*make_items(2), RatingItem("z", "p", {"student": "only"})], {}, BadInputError),
        ([RatingItem("z", "p", {})], {}, BadInputError),
        (None, {"raters": ("ann",)}, BadInputError),
        (None, {"raters": ()}, BadInputError),
        (None, {"raters": ("ann", " Ann ")}, DuplicateIdError),
        (None, {"items_per_rater": 0}, BadInputError),
        (None, {"repeats": -0.1}, BadInputError),
        (None, {"repeats": float("nan")}, BadInputError),
        (None, {"scale": Scale("", "?", ("a", "b"))}, BadInputError),
        (None, {"scale": Scale("x", "?", ("a",))}, BadInputError),
    ],
)
def test_bad_input_is_refused_before_anything_happens(
    desk: Desk, items: list[RatingItem] | None, changes: dict[str, Any], error: type[DistillGovError]
) -> None:
    with pytest.raises(error) as caught:
        desk.export(items, **changes)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert list(desk.root.rglob("*")) == []


HOSTILE = '</script><script>alert(1)</script><!-- &amp; "@packet@" @policy@ \u2028 =1+1'


def test_hostile_text_stays_text_in_the_page(desk: Desk) -> None:
    desk.export([RatingItem("c1", HOSTILE, {"student": HOSTILE, "teacher": "ok"})])
    page = next(desk.packets_directory.glob("*.html")).read_text("utf-8")
    assert page.count("<script") == 2
    assert "alert(1)</script" not in page
    data = re.search(r'id="packet">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    shown = json.loads(data[1])["items"]
    assert '"@packet@" @policy@' in shown[0]["message"]
    # Nothing is fetched from anywhere.
    assert not re.search(r"(src|href)\s*=|https?://|@import|url\(", page.replace("link.href = URL", ""))
    assert "default-src 'none'" in page


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\uff1d"])
def test_table_is_inert_in_a_spreadsheet(desk: Desk, start: str) -> None:
    text = start + 'HYPERLINK("x")'
    desk.export([RatingItem("c1", text, {"student": text, "teacher": "ok, «grün»"})])
    for path in desk.packets_directory.glob("*.csv"):
        data = path.read_bytes()
        assert data.startswith(b"\xef\xbb\xbf")
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
        assert all(not cell.startswith(("=", "+", "-", "@", "\uff1d")) for row in rows for cell in row)
        assert {row[3] for row in rows[1:]} == {"'" + text}
        # Ids that look like a number would come back as 1.2E+15.
        assert all(row[2].startswith("i") and row[1].startswith("r") for row in rows[1:])


def test_packet_digest_covers_every_field(desk: Desk) -> None:
    desk.export()
    packet = next(iter(desk.packets.values()))
    others = [
        Packet("rother", packet.created, packet.scale, packet.items),
        Packet(packet.rater, "2020-01-01T00:00:00Z", packet.scale, packet.items),
        Packet(packet.rater, packet.created, Scale("x", "y", ("a", "b")), packet.items),
        Packet(packet.rater, packet.created, packet.scale, packet.items[::-1]),
    ]
    assert len({packet.digest, *(other.digest for other in others)}) == 5
