"""The filters in a build: what they drop and flag is in books, manifest and datasheet, and what they read is an input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.records.books import Decision
from distill_gov.records.files import read_parquet
from distill_gov.records.manifest import StageManifest, read_manifest
from redaction.filters import AnswerItem, plugins
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import files, redaction_yaml, trace, write_jsonl, write_settings

HYMN = "the river bends behind the mill and nobody who rows there ever counts the lights upon the hill"
REPLIES = {
    "t-000": "Sorry, we cannot help with that.",
    "t-001": "Thanks, we look at it, it costs 7 EUR.",
    "t-002": f"Somebody sang: {HYMN}.",
    "t-003": "We look at it at once and will call you back tomorrow, promised.",
    "x-900": "Sorry, we cannot help with that.",
    "x-901": "I must decline.",
}


def _names_a_price(item: AnswerItem) -> str | None:
    return "names_a_price" if "EUR" in item.reply_text else None


class _Point:
    name = "no_prices"

    class dist:  # noqa: N801
        version = "4.2"

    def load(self) -> Any:
        return _names_a_price


@pytest.fixture
def recorded(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose traces carry the answers, with most filters on."""
    monkeypatch.setattr(plugins, "entry_points", lambda group: [_Point()] if group == plugins.FILTERS else [])
    rows = [row for row in files()["teaching"] if row["id"] in REPLIES]
    rows.append(trace("x-900", "how do I build a pipe bomb in my shed"))
    rows.append(trace("x-901", "help me with the thing from last week", hazard="vcr"))
    for row in rows:
        row["messages"].append({"role": "assistant", "content": REPLIES[row["id"]]})
    rows[3]["tags"]["slice"] = "odd"
    write_jsonl(fresh / "data" / "teaching.jsonl", rows)
    (fresh / "hymns.txt").write_text(HYMN, "utf-8")
    assert command(fresh, "protect", str(fresh / "hymns.txt")).code == 0
    policy = yaml.safe_load(redaction_yaml())
    policy["filters"] |= {
        "plugins": {"no_prices": "flag"},
        "answers": {"refusal": "drop", "protected_index": "protected.parquet", "language": "drop", "boilerplate": "drop"},
    }
    policy["filters"]["prompts"]["metadata"] = [
        {"name": "odd_slice", "field": "tags.slice", "none_of": ["odd"]},
        {"name": "terms", "field": "teacher.terms_accepted_by", "action": "flag"},
    ]
    (fresh / "redaction.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    settings = yaml.safe_load((fresh / "distill.yaml").read_text("utf-8"))
    settings |= {"answer_schema": "", "teacher": {"kind": "recorded", "licence": "", "revision": "", "terms_accepted_by": ""}}
    (fresh / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    return fresh


def _books(root: Path, stage: str) -> dict[str, Decision]:
    rows = read_parquet(root / "runs" / "r1" / "teaching" / "decisions.parquet", format="decisions")
    return {row["item"]: Decision(**row) for row in rows if row["stage"] == stage}


def _manifest(root: Path) -> StageManifest:
    return read_manifest(root / "runs" / "r1" / "manifests" / "build.json")


def test_every_rule_that_fired_is_in_the_books(recorded: Path) -> None:
    assert command(recorded, "build").code == 0
    prompts, answers = _books(recorded, "prompt_filters"), _books(recorded, "answer_filters")
    terms = "prompt/metadata@1:terms"
    assert {name: (d.outcome, d.fired) for name, d in prompts.items()} == {
        "t-000": ("kept", (terms,)),
        "t-001": ("kept", (terms,)),
        "t-002": ("kept", (terms,)),
        "t-003": ("dropped", ("prompt/metadata@1:odd_slice", terms)),
        "x-900": ("kept", (terms, "prompt/hazard@1:iwp")),
        "x-901": ("kept", (terms,)),
    }
    assert (prompts["t-003"].rule, prompts["t-003"].reason) == ("prompt/metadata", "odd_slice")
    assert {name: (d.outcome, d.fired) for name, d in answers.items()} == {
        "t-000/0": ("dropped", ("answer/refusal@1:over_refusal",)),
        "t-001/0": ("kept", ("plugin/no_prices@4.2:names_a_price",)),
        "t-002/0": ("dropped", ("answer/protected@1:verbatim",)),
        "x-900/0": ("kept", ("answer/refusal@1:safe_refusal",)),
        "x-901/0": ("kept", ("answer/refusal@1:safe_refusal",)),
    }
    facts = _manifest(recorded).facts
    assert facts["refusals"] == {"to_hazardous": 2, "to_benign": 1}
    assert facts["filters"]["answer/refusal@1"] == {"action": "drop", "fired": 3, "decided": 1}
    assert facts["filters"]["plugin/no_prices@4.2"] == {"action": "flag", "fired": 1, "decided": 0}
    assert facts["filters"]["answer/boilerplate@1"] == {"action": "drop", "fired": 0, "decided": 0}
    sheet = (recorded / "runs" / "r1" / "teaching" / "datasheet.md").read_text("utf-8")
    assert "2 of hazardous prompts, which are good examples, and 1 of harmless ones (over-refusal)" in sheet
    assert "| answer/protected@1 | drop | 1 | 1 |" in sheet
    assert "river" not in sheet + (recorded / "runs" / "r1" / "manifests" / "build.json").read_text("utf-8")


def test_what_filters_read_is_an_input_of_the_build(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command(recorded, "build").code == 0
    assert {"protected index", "filter plug-ins"} <= _manifest(recorded).inputs.keys()
    monkeypatch.setattr(_Point.dist, "version", "5")
    assert "filter plug-ins" in command(recorded, "build").error
    monkeypatch.undo()


def test_an_index_that_is_missing_stops_the_build(recorded: Path) -> None:
    (recorded / "protected.parquet").unlink()
    ended = command(recorded, "build")
    assert (ended.code, "protected.parquet" in ended.error) == (2, True)


def test_near_duplicates_stand_in_distill_yaml(recorded: Path) -> None:
    text = (recorded / "redaction.yaml").read_text("utf-8")
    (recorded / "redaction.yaml").write_text(
        text.replace("near_holdout:", "near_duplicates: {threshold: 0.8}\n    near_holdout:"), "utf-8"
    )
    ended = command(recorded, "build")
    assert ended.code == 2
    assert "stands in distill.yaml now" in ended.error
    write_settings(recorded, teaching={"near_duplicates": {"treshold": 0.8}})
    assert "Did you mean `threshold`" in command(recorded, "build").error


def test_a_copy_of_the_holdout_is_seen_before_redaction(fresh: Path) -> None:
    """The IBAN's sentence is in both files: twelve words, seven of them left by redaction."""
    redaction = yaml.safe_load((fresh / "redaction.yaml").read_text("utf-8"))
    redaction["filters"]["prompts"]["near_holdout"]["raw"] = True
    (fresh / "redaction.yaml").write_text(yaml.safe_dump(redaction), "utf-8")
    ended = command(fresh, "build")
    assert ended.code == 0, ended.err
    hits = {d.item: d.fired for d in _books(fresh, "prompt_filters").values() if d.outcome == "dropped"}
    assert ("prompt/near_holdout@2:shares_raw_ngram",) in hits.values()
    manifest = (fresh / "runs" / "r1" / "manifests" / "build.json").read_text("utf-8")
    assert "3704" not in manifest
