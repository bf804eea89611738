"""What the build leaves: a teaching set that was scanned once more, with a datasheet that hides nothing that is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.records.manifest import read_manifest
from distill_gov.stages import build
from tests.end_to_end.commands import command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.tiny_project import PLANTED, files, write_jsonl


def test_what_is_taught_was_scanned_again(finished: Finished) -> None:
    manifest = read_manifest(finished.run / "manifests" / "build.json")
    redaction = manifest.facts["redaction"]
    assert redaction["residual"] == 0
    assert redaction["scanned"] == 2 * manifest.counts["examples"], "a message and a reply each"


@pytest.mark.parametrize("where", ["prompt", "answer"])
def test_a_value_that_is_left_stops_the_build(fresh: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Whatever lets it through: here the example is changed after every filter."""
    real = build._example

    def leaky(trace: Any, chat: Any, answer: Any) -> Any:
        example = real(trace, chat, answer)
        if trace.id != "t-020":
            return example
        if where == "prompt":
            return replace(example, messages=({"role": "user", "content": f"write to {PLANTED[1].value}"},))
        return replace(example, answer=f'{{"intent": "other", "action": "ask", "reply": "{PLANTED[1].value}"}}')

    monkeypatch.setattr(build, "_example", leaky)
    ended = command(fresh, "build")
    assert ended.code == 4
    assert "1 personal values are left" in ended.error
    assert PLANTED[1].value not in ended.err
    assert not list((fresh / "runs").rglob("*.parquet"))
    assert not list((fresh / "runs").rglob("*.json"))


def test_the_datasheet_shows_what_is_missing(finished: Finished) -> None:
    text = (finished.run / "teaching" / "datasheet.md").read_text("utf-8")
    assert "Licence: invented. Revision: 0. Terms accepted by: not approved." in text
    assert "| accuracy.intent | " in text
    assert " | 0.0 | 18 |" in text
    assert [line for line in text.splitlines() if line.startswith("| accuracy.action |") and "| no floor |" in line]
    assert "scanned again: none." in text


def test_a_recorded_teacher_without_terms_is_not_approved(fresh: Path) -> None:
    settings = yaml.safe_load((fresh / "distill.yaml").read_text("utf-8"))
    settings["teacher"] = {"kind": "recorded", "licence": "", "revision": " ", "terms_accepted_by": ""}
    settings["answer_schema"] = ""
    (fresh / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    rows = files()["teaching"]
    for number, row in enumerate(rows):
        row["messages"].append({"role": "assistant", "content": f"We look at it, case {number}."})
    write_jsonl(fresh / "data" / "teaching.jsonl", rows)
    assert command(fresh, "build").code == 0
    text = (fresh / "runs" / "r1" / "teaching" / "datasheet.md").read_text("utf-8")
    assert "Licence: not approved. Revision: not approved. Terms accepted by: not approved." in text


def test_the_verdict_says_what_was_not_approved(finished: Finished) -> None:
    ended = command(finished.root, "gate", "--json")
    assert ended.json["headers"]["approved_by"] == ended.json["headers"]["validated_by"] == "not approved"
    assert ended.json["headers"]["owner"] == "tests"
    assert ended.json["model_input"] == "redacted"
    assert "approved by: not approved" in command(finished.root, "gate").out


def test_a_policy_about_raw_text_is_not_met_by_a_run_on_redacted_text(copy: Path) -> None:
    text = (copy / "gates.yaml").read_text("utf-8").replace("model_input: redacted", "model_input: raw")
    (copy / "gates.raw.yaml").write_text(text, "utf-8")
    ended = command(copy, "gate", "--policy", "gates.raw", "--json")
    assert "requires.model_input" in {o["gate"] for o in ended.json["outcomes"] if o["outcome"] == "INCONCLUSIVE"}
    assert (ended.code != 0, ended.json["decision"]) == (True, "BLOCKED")
