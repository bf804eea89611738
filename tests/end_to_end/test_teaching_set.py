"""The teaching set: scanned once more, with a datasheet that hides nothing, and trained only as it was built."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.project import Project
from distill_gov.records.manifest import hash_outputs, read_manifest, write_manifest
from distill_gov.stages import build
from distill_gov.teachers.target_store import SoftTargetStore, write_soft_targets
from distill_gov.teaching_set.examples import read_examples, write_examples
from tests.end_to_end.commands import command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.tiny_project import PLANTED, files, write_jsonl, write_settings


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


# --- training takes nothing on trust


@pytest.fixture
def built(copy: Path) -> Path:
    """The finished project before it was trained."""
    (copy / "runs/r1/manifests/train.json").unlink()
    shutil.rmtree(copy / "runs/r1/student")
    return copy


def test_a_teaching_set_as_it_was_built_is_trained(built: Path) -> None:
    assert command(built, "train").code == 0


@pytest.mark.parametrize(
    "name", ["examples.parquet", "soft_targets/shard-00000.safetensors", "decisions.parquet", "datasheet.md"]
)
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_teaching_file_that_is_not_what_was_built_is_not_trained(built: Path, name: str, how: str) -> None:
    path = built / "runs/r1/teaching" / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    ended = command(built, "train")
    assert ended.code == 4
    assert f"teaching/{name}: {how} since the build" in ended.error
    assert not (built / "runs/r1/student").exists()


def test_a_shard_that_nobody_built_is_not_trained(built: Path) -> None:
    folder = built / "runs/r1/teaching/soft_targets"
    shutil.copy(folder / "shard-00000.safetensors", folder / "shard-00001.safetensors")
    ended = command(built, "train")
    assert (ended.code, "shard-00001.safetensors: added" in ended.error) == (4, True)


@pytest.mark.parametrize(("setting", "named"), [({"temperature": 1.5}, "another temperature"), ({"top_k": 4}, "another k")])
def test_targets_captured_under_other_settings_are_not_trained(built: Path, setting: dict[str, Any], named: str) -> None:
    write_settings(built, teacher=setting)
    ended = command(built, "train")
    assert ended.code == 4
    assert named in ended.error


@pytest.mark.parametrize("changed", ["answer", "prompt", "teacher", "support"])
def test_targets_of_something_else_are_not_trained_even_where_every_digest_fits(built: Path, changed: str) -> None:
    layout = Project.open(built).run("r1").layout
    examples, facts = read_examples(layout.examples), dict(read_manifest(layout.manifest("build")).facts)
    first = examples[0]
    if changed == "answer":
        other = replace(first, answer=next(e.answer for e in examples if e.answer != first.answer))
        write_examples(layout.examples, [other, *examples[1:]])
    elif changed == "prompt":
        write_examples(layout.examples, [replace(first, messages=examples[1].messages), *examples[1:]])
    elif changed == "teacher":
        facts["soft_targets"] = {"teacher": "sha256:" + "9" * 64}
    else:
        store = SoftTargetStore(layout.soft_targets)
        targets = {name: store[name] for name in store}
        captures = {name: store.capture(name) for name in store}
        captures[first.id] = replace(captures[first.id], support="full")
        targets[first.id] = replace(targets[first.id], support="full", identity=captures[first.id].identity)
        write_soft_targets(layout.soft_targets, list(targets.values()), captures)
    manifest = replace(
        read_manifest(layout.manifest("build")), facts=facts, outputs=hash_outputs(layout.root, [layout.teaching])
    )
    write_manifest(layout.manifest("build"), manifest)
    ended = command(built, "train")
    assert ended.code == 4
    assert f"`{first.id}` are of another {'text' if changed == 'answer' else changed}" in ended.error
