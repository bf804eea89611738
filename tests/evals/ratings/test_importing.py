from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    HashMismatchError,
    IntegrityError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
    UnknownFormatError,
)
from evals.evidence import read_cases, write_cases
from evals.ratings import RatingsImport

from .conftest import DATASET, SUBJECTS, Desk, make_items

# What a rater thinks, by case and subject: the teacher's answers are better by one.
QUALITY = {f"case-{i:03}": i % 4 + 1 for i in range(20)}


def _value(case: str, subject: str, alias: str) -> int:
    return QUALITY[case] + (subject == "teacher")


def _scores(found: RatingsImport, subject: str) -> dict[str, float]:
    return {r.case: r.scores["helpfulness"] for r in found.results if r.subject == SUBJECTS[subject]}


def _is_right(found: RatingsImport, n: int = 6) -> None:
    for subject, more in (("student", 0), ("teacher", 1)):
        assert _scores(found, subject) == {f"case-{i:03}": QUALITY[f"case-{i:03}"] + more for i in range(n)}


def test_json_round_trip(desk: Desk, tmp_path: Path) -> None:
    desk.export()
    found = desk.take(desk.all_answers(_value))
    _is_right(found)
    assert (found.quarantined, found.cannot_judge, found.missing, found.problems) == ((), 0, 0, ())
    assert len(found.results) == 12
    one = next(r for r in found.results if r.subject == SUBJECTS["student"] and r.case == "case-003")
    assert (one.suite, one.dataset, one.cluster, one.slices) == ("ratings", DATASET, "cluster-001", ("slice-plain",))
    assert (one.status, one.provenance) == ("ok", "human")
    assert set(one.scores) == {"helpfulness", *(f"rating.{alias}" for alias in desk.packets)}
    assert one.output == "Topic: delivery\nReply: version 0 of reply 3."
    assert [entry.event for entry in desk.ledger.entries()] == ["ratings.sealed", "ratings.unsealed"]
    write_cases(tmp_path / "cases.parquet", found.results)
    assert sorted(read_cases(tmp_path / "cases.parquet"), key=lambda r: (r.case, r.subject)) == sorted(
        found.results, key=lambda r: (r.case, r.subject)
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_round_trip(desk: Desk, delimiter: str) -> None:
    desk.export()
    unit = {row.item: row for row in desk.table.rows}
    one, two = desk.packets

    def value(item: str) -> str:
        return f" {_value(unit[item].case, unit[item].subject, '')} "

    _is_right(desk.take([desk.fill_table(one, value, delimiter=delimiter), desk.fill_table(two, value, encoding="utf-8")]))


def test_page_and_table_mix(desk: Desk) -> None:
    desk.export()
    unit = {row.item: row for row in desk.table.rows}
    by_page = desk.all_answers(_value)[0]
    _, two = desk.packets
    _is_right(desk.take([by_page, desk.fill_table(two, lambda i: str(_value(unit[i].case, unit[i].subject, "")))]))


def test_mean_over_raters(desk: Desk) -> None:
    desk.export()
    one, two = desk.packets
    found = desk.take(desk.all_answers(lambda case, subject, alias: 2 if alias == one else 5))
    assert {r.scores["helpfulness"] for r in found.results} == {3.5}
    assert {(r.scores[f"rating.{one}"], r.scores[f"rating.{two}"]) for r in found.results} == {(2.0, 5.0)}


def test_personal_data_quarantines_the_row_for_all_raters(desk: Desk) -> None:
    desk.export()
    one, _ = desk.packets

    def value(case: str, subject: str, alias: str) -> Any:
        return "personal_data" if (case, subject, alias) == ("case-002", "student", one) else 4

    found = desk.take(desk.all_answers(value))
    assert found.quarantined == (("case-002", "student"),)
    (row,) = [r for r in found.results if r.status == "errored"]
    assert (row.case, row.subject, row.scores, row.output) == ("case-002", SUBJECTS["student"], {}, "")


def test_cannot_judge_and_missing_are_counted_and_never_scored(desk: Desk) -> None:
    desk.export()
    one, two = desk.packets
    rows = desk.table.rows
    skip = ("case-001", "student")
    a = {r.item: "cannot_judge" if (r.case, r.subject) == skip else 5 for r in rows if r.rater == one}
    b = {r.item: 3 for r in rows if r.rater == two and (r.case, r.subject) != skip}
    found = desk.take([desk.answer(one, a), desk.answer(two, b)])
    assert (found.cannot_judge, found.missing) == (1, 1)
    assert f"missing: {two} left 1 of 12 items without an answer" in found.problems
    (nobody,) = [r for r in found.results if (r.case, r.subject) == ("case-001", SUBJECTS["student"])]
    # It was planned: it stays, as errored, in the denominator.
    assert (nobody.status, nobody.scores) == ("errored", {})
    assert len(found.results) == 12


def test_a_rater_who_sent_nothing_is_named(desk: Desk) -> None:
    desk.export()
    first, _ = desk.all_answers()
    _, two = desk.packets
    found = desk.take([first])
    assert found.missing == 12
    assert f"no_responses: {two} sent nothing back" in found.problems
    assert {len(r.scores) for r in found.results} == {2}


def test_straight_lining_and_haste_are_reported(desk: Desk) -> None:
    desk.export(make_items(10))
    one, two = desk.packets
    rows = desk.table.rows
    mine = [r.item for r in rows if r.rater == one]
    flat = desk.answer(one, {item: 4 if i else 2 for i, item in enumerate(mine)}, pace=1)
    varied = desk.answer(two, {r.item: _value(r.case, r.subject, "") for r in rows if r.rater == two}, pace=2)
    found = desk.take([flat, varied])
    assert found.problems == (
        f"straight_lining: {one} gave one value to 95% of 20 answers",
        f"too_fast: {one} took a median of 1 s an answer",
    )
    assert found.raters[0].modal_share == 0.95


def test_self_consistency_of_repeats(desk: Desk) -> None:
    desk.export(make_items(10), repeats=0.1)
    repeats = {row.item for row in desk.table.rows if row.repeat}
    one, two = desk.packets
    rows = desk.table.rows
    same = desk.answer(one, {r.item: 3 for r in rows if r.rater == one})
    changed = desk.answer(two, {r.item: 1 if r.item in repeats else 5 for r in rows if r.rater == two})
    found = desk.take([same, changed])
    assert [(s.repeats, s.repeats_equal) for s in found.raters] == [(2, 2), (2, 0)]
    # A repeat never changes the score.
    assert {r.scores["helpfulness"] for r in found.results} == {4.0}


def _unchanged(desk: Desk) -> bool:
    return [entry.event for entry in desk.ledger.entries()] == ["ratings.sealed"]


Edit = Callable[[dict[str, Any]], None]


def _answer(index: int, **changes: Any) -> Edit:
    return lambda body: body["answers"][index].update(changes)


@pytest.mark.parametrize(
    ("edit", "error", "says"),
    [
        (_answer(2, item="i0000"), BadInputError, "answer 3: item is not in"),
        (lambda body: body["answers"].append(dict(body["answers"][4])), DuplicateIdError, "answer 13: item is rated a second"),
        (_answer(1, value=6), BadInputError, "answer 2: rating lies outside 1 to 5"),
        (_answer(1, value=0), BadInputError, "answer 2: rating lies outside"),
        (_answer(1, value=True), MalformedFileError, "answer 2: rating is neither"),
        (_answer(1, value=4.0), MalformedFileError, "answer 2: rating is neither"),
        (_answer(1, value=None), MalformedFileError, "answer 2"),
        (_answer(1, value="good"), MalformedFileError, "answer 2"),
        (_answer(1, extra=1), MalformedFileError, "answer 2"),
        (_answer(0, at="2001-01-01T00:00:00Z"), BadInputError, "answer 1: is dated before the packet"),
        (_answer(0, at="2999-01-01T00:00:00Z"), BadInputError, "answer 1: is dated in the future"),
        (_answer(0, at="2026-02-30T00:00:00Z"), MalformedFileError, "answer 1: time"),
        (_answer(0, at="yesterday"), MalformedFileError, "answer 1: time"),
        (_answer(0, at=None), MalformedFileError, "answer 1: time"),
        (lambda body: body.update(saved_at="2001-01-01T00:00:00Z"), BadInputError, "dated before the packet"),
        (lambda body: body.update(packet="sha256:" + "0" * 64), BadInputError, "another packet"),
        (lambda body: body.update(rater="rnobody"), BadInputError, "was not invited"),
        (lambda body: body.update(rater=["x"]), MalformedFileError, "`rater`"),
        (lambda body: body.update(format="distill-gov/rating-responses/9"), UnknownFormatError, "not a responses file"),
        (lambda body: body.update(format=["x"]), UnknownFormatError, "not a responses file"),
        (lambda body: body.update(simulated=True), MalformedFileError, "contradicts itself"),
        (lambda body: body.pop("simulated"), MalformedFileError, "contradicts itself"),
        (lambda body: body.update(simulated=0), MalformedFileError, "contradicts itself"),
        (lambda body: body.pop("saved_at"), MalformedFileError, "keys"),
        (lambda body: body.update(note="x"), MalformedFileError, "keys"),
        (lambda body: body.update(answers={}), MalformedFileError, "keys"),
        (lambda body: body.update(answers=[3]), MalformedFileError, "answer 1"),
    ],
)
def test_one_bad_answer_stops_everything(desk: Desk, edit: Edit, error: type[DistillGovError], says: str) -> None:
    desk.export()
    good, bad = desk.all_answers()
    body = json.loads(bad.read_text())
    edit(body)
    bad.write_text(json.dumps(body))
    with pytest.raises(error) as caught:
        desk.take([good, bad])
    assert says in str(caught.value)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    # Still blind.
    assert _unchanged(desk)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",4,", ",6,", "row 2: rating lies outside"),
        (",4,", ",good,", "row 2: rating is none of"),
        (",4,", ",4.5,", "row 2: rating is none of"),
        (",4,", ",-1,", "row 2: rating is none of"),
        (",4,", ",4,4,", "row 2: has 8 cells, the header 7"),
        ("rating", "mark", "needs the columns"),
        ("message", "rating", "needs the columns"),
        ("sha256:", "sha256:0", "row 3: is of another packet"),
        (",4,", ',"4,', "not a CSV table"),
    ],
)
def test_bad_tables_are_refused_with_their_row(desk: Desk, old: str, new: str, says: str) -> None:
    desk.export()
    path = desk.fill_table(next(iter(desk.packets)), lambda item: "4")
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    with pytest.raises(BadInputError) as caught:
        desk.take([path])
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert _unchanged(desk)


def test_table_words_blank_cells_and_trailing_rows(desk: Desk) -> None:
    desk.export()
    alias = next(iter(desk.packets))
    items = [item.item for item in desk.packets[alias].items]
    words = {items[0]: "Cannot Judge", items[1]: "personal data", items[2]: ""}
    path = desk.fill_table(alias, lambda item: words.get(item, "4"))
    path.write_bytes(path.read_bytes() + b",,,,,,\r\n")
    found = desk.take([path])
    stats = next(s for s in found.raters if s.alias == alias)
    assert (stats.rated, stats.cannot_judge, stats.personal_data, stats.missing) == (9, 1, 1, 1)
    assert len(found.quarantined) == 1


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.json", b"", MalformedFileError),
        ("a.json", b"[]", MalformedFileError),
        ("a.json", b'{"format": NaN}', MalformedFileError),
        ("a.json", b"\xff", MalformedFileError),
        ("a.csv", b"", MalformedFileError),
        ("a.csv", b"packet,rater,item,rating\r\n", MalformedFileError),
        ("a.csv", b"packet,rater,item,rating\r\n\xff,a,b,1\r\n", MalformedFileError),
        ("a.xlsx", b"PK", BadInputError),
    ],
)
def test_files_that_are_none(desk: Desk, name: str, data: bytes, error: type[DistillGovError]) -> None:
    desk.export()
    with pytest.raises(error) as caught:
        desk.take([desk.save(name, data)])
    assert name in str(caught.value)
    assert _unchanged(desk)


def test_no_file_no_rating_no_packets(desk: Desk, tmp_path: Path) -> None:
    desk.export()
    alias = next(iter(desk.packets))
    with pytest.raises(MissingFileError):
        desk.take([tmp_path / "absent.json"])
    for files in ([], [desk.answer(alias, {})]):
        with pytest.raises(NothingLeftError):
            desk.take(files)
    with pytest.raises(NothingLeftError):
        desk.take([desk.answer(alias, {})], packets=tmp_path / "nowhere")
    assert _unchanged(desk)


def test_one_rater_cannot_count_twice(desk: Desk) -> None:
    desk.export()
    one = next(iter(desk.packets))
    with pytest.raises(DuplicateIdError, match="same rater as in"):
        desk.take([desk.all_answers()[0], desk.fill_table(one, lambda item: "5")])
    assert _unchanged(desk)


class BrokenJournal:
    def append(self, event: str, facts: object) -> Any:
        raise OSError("disk full")


def test_the_key_stays_shut_when_the_journal_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.export()
    files = desk.all_answers()
    sealed = desk.sealed
    opened = []
    monkeypatch.setattr("evals.ratings.importing.open_key", lambda *args: opened.append(args))
    with pytest.raises(OSError, match="disk full"):
        desk.take(files, journal=BrokenJournal(), expected_sealed_digest=sealed)
    assert opened == []


def test_unsealing_is_logged_before_the_key_is_read(desk: Desk) -> None:
    desk.export()
    files, sealed = desk.all_answers(), desk.sealed
    desk.key_path.write_text("exchanged")
    with pytest.raises(HashMismatchError) as caught:
        desk.take(files)
    assert caught.value.exit_code == 4
    entry = desk.ledger.entries()[-1]
    assert entry.event == "ratings.unsealed"
    assert entry.facts["key"] == sealed
    assert entry.facts["simulated"] is False
    assert len(entry.facts["responses"]) == 2


def test_a_missing_key_is_no_unsealing(desk: Desk) -> None:
    desk.export()
    files, sealed = desk.all_answers(), desk.sealed
    desk.key_path.unlink()
    with pytest.raises(MissingFileError):
        desk.take(files, expected_sealed_digest=sealed)
    assert _unchanged(desk)


def test_another_sealed_digest_is_refused(desk: Desk) -> None:
    desk.export()
    with pytest.raises(HashMismatchError):
        desk.take(desk.all_answers(), expected_sealed_digest="sha256:" + "0" * 64)


def test_a_changed_packet_is_found(desk: Desk) -> None:
    desk.export()
    path = next(desk.packets_directory.glob("*.packet.json"))
    path.write_text(path.read_text().replace("version 1", "version 9"))
    alias = path.name.split(".")[0]
    files = desk.all_answers()
    assert any(alias in f.name for f in files)
    with pytest.raises(HashMismatchError, match="changed after it was sealed"):
        desk.take(files)


def test_a_removed_packet_is_found(desk: Desk) -> None:
    desk.export()
    files = desk.all_answers()
    (desk.packets_directory / f"{list(desk.packets)[1]}.packet.json").unlink()
    with pytest.raises(IntegrityError, match="missing or added"):
        desk.take(files[:1])


@pytest.mark.parametrize("text", ["{}", '{"format": "distill-gov/rating-packet/1"}', "x"])
def test_a_damaged_packet_is_refused(desk: Desk, text: str) -> None:
    desk.export()
    files = desk.all_answers()
    next(desk.packets_directory.glob("*.packet.json")).write_text(text)
    with pytest.raises(BadInputError):
        desk.take(files)
    assert _unchanged(desk)


def test_unknown_subject_is_refused(desk: Desk) -> None:
    desk.export()
    with pytest.raises(BadInputError, match="subject"):
        desk.take(desk.all_answers(), subjects={"student": "sha256:5"})


def test_ratings_after_an_unsealing_are_refused(desk: Desk) -> None:
    desk.export()
    files = desk.all_answers()
    desk.take(files)
    (first,) = desk.ledger.find("ratings.unsealed")
    # The same files again are no new ratings.
    assert len(desk.take(files, earlier=[first]).results) == 12

    later = type(first)(**{f: getattr(first, f) for f in first.__slots__ if f != "at"}, at="2020-01-01T00:00:00Z")
    changed = desk.all_answers(lambda case, subject, alias: 5)
    with pytest.raises(BadInputError, match="after the ratings were opened"):
        desk.take(changed, earlier=[later])
    table = desk.fill_table(next(iter(desk.packets)), lambda item: "5")
    with pytest.raises(BadInputError, match="a table has no times"):
        desk.take([table], earlier=[first])
    # Rated before the first opening, but sent late: fine.
    in_time = desk.all_answers(lambda case, subject, alias: 5, pace=0)
    assert desk.take(in_time, earlier=[first]).results
