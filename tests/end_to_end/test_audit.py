"""`distill-gov audit`: the page and the object that the privacy officer reads."""

from __future__ import annotations

from pathlib import Path

from distill_gov.records.files import read_parquet
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import PLANTED


def test_the_audit_says_what_was_found_kept_and_dropped(copy: Path) -> None:
    ended = command(copy, "audit", "--json")
    assert ended.code == 0, ended.err
    told = ended.json
    found = read_parquet(copy / "runs/r1/teaching/findings.parquet", format="findings")
    assert set(told["entities"]) == {row["entity"] for row in found}
    assert set(told["actions"]) == {"placeholder"}
    assert told["outcomes"].keys() == {"plain"}
    kept = next(line["kept"] for line in told["books"] if line["stage"] == "answer_filters")
    assert told["outcomes"]["plain"]["kept"] in (str(kept), "withheld")
    assert told["outcomes"]["plain"]["dropped"] == "<5"
    assert any(name.startswith("admission: admission/consent") for name in told["reasons"])
    page = (copy / "runs/r1/pages/audit.html").read_text("utf-8")
    assert "<mark>&lt;EMAIL_1&gt;</mark>" in page
    assert "<script" not in page
    assert not any(needle in page for planted in PLANTED for needle in planted.needles)
    assert command(copy, "verify").code == 0, "a page is derived, and no file too many"


def test_the_sample_is_as_large_as_asked_for_and_the_same_again(copy: Path) -> None:
    page = copy / "runs/r1/pages/audit.html"
    assert command(copy, "audit", "--sample", "3").code == 0
    first = page.read_text("utf-8")
    assert first.count('class="turns"') == 3
    assert command(copy, "audit", "--sample", "3").code == 0
    assert page.read_text("utf-8") == first


def test_an_audit_of_changed_files_is_refused(copy: Path) -> None:
    with (copy / "runs/r1/teaching/findings.parquet").open("ab") as stream:
        stream.write(b"x")
    ended = command(copy, "audit")
    assert ended.code == 4
    assert "teaching/findings.parquet: changed since it was recorded" in ended.error
    assert not (copy / "runs/r1/pages/audit.html").exists()


def test_an_audit_of_a_run_that_was_not_built(fresh: Path) -> None:
    ended = command(fresh, "audit")
    assert ended.code == 2
    assert "was not built" in ended.error
