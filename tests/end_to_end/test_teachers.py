"""Several teachers, and several answers to a prompt: who taught what is told, and each prompt counts once."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from distill_gov.project import Project
from distill_gov.records.books import DECISION_FORMAT
from distill_gov.records.files import read_parquet
from distill_gov.records.manifest import StageManifest, read_manifest
from distill_gov.stages.build import build_inputs
from distill_gov.stages.train import taught
from distill_gov.teaching_set.examples import TeachingExample, read_examples
from tests import tiny
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import PLANTED, SCHEMA, SETTINGS, files, write_jsonl, write_settings

COUNT = 12
"""Teaching traces: the first half is `plain`, the second `hard`."""


@pytest.fixture
def small(sealed: Path, tmp_path: Path) -> Path:
    """A sealed project with few teaching traces, in two slices, and a second teacher of the same tokenizer."""
    root = tmp_path / "project"
    shutil.copytree(sealed, root)
    rows = files()["teaching"][:COUNT]
    for row in rows[COUNT // 2 :]:
        row["tags"]["slice"] = "hard"
    rows[0]["reference"] = {"intent": "refund", "action": "ask"}
    rows[-1]["reference"] = {"intent": "status", "action": "ask", "reply": "which one"}
    write_jsonl(root / "data" / "teaching.jsonl", rows)
    other = root / "models" / "other"
    shutil.copytree(root / "models" / "teacher", other)
    model = tiny.build_model(11, layers=2, vocabulary=json.loads((other / "config.json").read_text("utf-8"))["vocab_size"])
    model.save_pretrained(str(other))
    return root


def second(**changes: Any) -> dict[str, Any]:
    return {**SETTINGS["teacher"], "model": "models/other", "note": "the second", "licence": "of its own", **changes}


def built(root: Path) -> tuple[StageManifest, list[TeachingExample]]:
    ended = command(root, "build")
    assert ended.code == 0, ended.err
    run = root / "runs" / "r1"
    return read_manifest(run / "manifests" / "build.json"), read_examples(run / "teaching" / "examples.parquet")


def books(root: Path, stage: str) -> list[dict[str, Any]]:
    rows = read_parquet(root / "runs" / "r1" / "teaching" / "decisions.parquet", format=DECISION_FORMAT)
    return [row for row in rows if row["stage"] == stage]


def test_each_trace_is_answered_and_scored_by_its_teacher(small: Path) -> None:
    write_settings(
        small,
        teacher={"samples": 3},
        teachers={"other": second(samples=2)},
        routing={"by": "slice", "to": {"hard": "other"}},
    )
    manifest, examples = built(small)
    by = {example.trace: example.teacher for example in examples}
    assert {example.tags["slice"]: example.teacher for example in examples} == {"plain": "teacher", "hard": "other"}
    assert all(by[e.trace] == e.teacher for e in examples)
    told = manifest.facts["teachers"]
    assert told["other"]["terms"]["licence"] == "of its own"
    assert told["other"]["admission"]["accuracy.intent"]["n"] == 18
    assert told["other"]["teacher"]["model"] != told["teacher"]["teacher"]["model"]
    assert manifest.facts["routing"] == {"by": "slice", "to": {"hard": "other"}}

    made = books(small, "teacher")
    assert {row["parent"]: row["reason"] for row in made if row["outcome"] == "kept"}.items() >= by.items()
    assert sum(one["answers"] for one in told.values()) == sum(row["outcome"] == "kept" for row in made)
    asked = Counter(row["parent"] for row in made)
    assert asked["t-000"] == 3, "its reference settles the labels, and the text is drawn"
    assert asked[f"t-{COUNT - 1:03d}"] == 1, "its reference settles all"
    assert asked["t-006"] == 2

    texts = Counter((e.trace, e.answer) for e in examples)
    assert set(texts.values()) == {1}
    assert all(e.id == f"{e.trace}/{e.sample}" for e in examples)
    assert max(e.sample for e in examples) == 2
    for name in ("intent", "action"):
        said = {(e.trace, json.loads(e.answer)[name]) for e in examples}
        assert len(said) == len(by), "decisions are not drawn"

    project = Project.open(small)
    own = taught(project, project.run("r1"))
    assert len(own) == len(examples)
    assert all(targets.identity for _, targets in own)
    sheet = (small / "runs" / "r1" / "teaching" / "datasheet.md").read_text("utf-8")
    assert f"| other | the second | of its own | 0 | not approved | {told['other']['answers']} |" in sheet

    # The same again, from the cache and in another run, and trained.
    assert command(small, "build", "--run", "again").code == 0
    assert read_examples(small / "runs" / "again" / "teaching" / "examples.parquet") == examples
    ended = command(small, "train")
    assert ended.code == 0, ended.err


def test_a_blend_is_the_mixture_of_what_each_teacher_would_give_alone(small: Path) -> None:
    # Random teachers agree on few tokens; these keep all but a few of them.
    wide = {"top_k": 400}
    write_settings(small, teacher=wide, teachers={"other": second(**wide)}, blend={"teacher": 1.0, "other": 3.0})
    _, examples = built(small)
    assert {e.teacher for e in examples} == {"teacher"}
    project = Project.open(small)
    mixed = {e.id: targets for e, targets in taught(project, project.run("r1"))}
    write_settings(small, teacher=wide)
    assert command(small, "build", "--run", "alone").code == 0
    project = Project.open(small)
    alone = {e.id: targets for e, targets in taught(project, project.run("alone"))}
    assert mixed.keys() == alone.keys()
    moved = 0
    for name, targets in mixed.items():
        assert np.array_equal(targets.token_ids, alone[name].token_ids)
        for j in range(targets.n):
            ids, logp = targets.support_at(j)
            own = dict(zip(*(part.tolist() for part in alone[name].support_at(j)), strict=True))
            total = math.fsum(np.exp(logp.astype(float))) + math.exp(targets.log_tail[j])
            assert total == pytest.approx(0.0 if targets.forced[j] else 1.0, abs=1e-4)
            assert set(ids.tolist()) <= own.keys()
            for token, value in zip(ids.tolist(), logp.tolist(), strict=True):
                assert math.exp(value) >= 0.25 * math.exp(own[token]) - 1e-5, "a quarter of it is the first teacher's"
                moved += abs(value - own[token]) > 1e-3
    assert moved
    # A weight that was changed since the build is told.
    write_settings(small, teacher=wide, teachers={"other": second(**wide)}, blend={"teacher": 2.0, "other": 3.0})
    ended = command(small, "train")
    assert ended.code in (2, 4)
    assert "of another teacher" in ended.error


def test_the_best_teacher_of_a_slice_is_measured(small: Path) -> None:
    dev, gold = files()["dev"], files()["gold"]
    for row in (*dev, *gold):
        row["tags"]["slice"] = "hard"
    write_jsonl(small / "data" / "dev.jsonl", dev)
    write_jsonl(small / "data" / "gold.jsonl", gold)
    write_settings(small, teachers={"other": second()}, routing={"by": "slice", "to": "best", "min_cases": 15})
    manifest, examples = built(small)
    told = manifest.facts["routing"]
    chosen = {one["value"]: one for one in told["chosen"]}
    assert chosen["plain"]["why"] == "few_cases"
    assert chosen["plain"]["cases"] == 0
    assert chosen["hard"]["cases"] == 18
    teachers = manifest.facts["teachers"]
    for name, accuracy in chosen["hard"]["accuracy"].items():
        figures = [figure["value"] for figure in teachers[name]["admission"].values()]
        assert accuracy == pytest.approx(sum(figures) / len(figures))
    best = max(chosen["hard"]["accuracy"].values())
    assert chosen["hard"]["accuracy"][chosen["hard"]["teacher"]] == best
    assert {e.teacher for e in examples if e.tags["slice"] == "hard"} == {chosen["hard"]["teacher"]}
    assert {e.teacher for e in examples if e.tags["slice"] == "plain"} == {"teacher"}


def foreign(root: Path) -> None:
    """Give the second teacher a tokenizer of its own, in which each label is a token too."""
    labels = [label for rule in SCHEMA["properties"].values() for label in rule.get("enum", ())]
    tokenizer = tiny.build_tokenizer(tuple(labels))
    shutil.rmtree(root / "models" / "other")
    tiny.build_model(3, vocabulary=len(tokenizer)).save_pretrained(str(root / "models" / "other"))
    tokenizer.save_pretrained(str(root / "models" / "other"))


def test_a_teacher_of_another_tokenizer_gives_its_texts(small: Path) -> None:
    foreign(small)
    write_settings(
        small,
        teachers={"other": second(soft_targets=False, temperature=1.0)},
        routing={"by": "slice", "to": {"hard": "other"}},
    )
    manifest, _ = built(small)
    assert manifest.facts["soft_targets"]["none_of"] == ["other"]
    project = Project.open(small)
    own = taught(project, project.run("r1"))
    bare = {e.teacher: bool(targets.identity) for e, targets in own}
    assert bare == {"teacher": True, "other": False}
    tokenizer = project.tokenizer("models/teacher")
    for example, targets in own:
        assert tokenizer.decode(targets.token_ids[:-1].tolist()) == example.answer, "in the student's tokens, whoever answered"
    # What the build was made with decides, not what is asked for afterwards.
    write_settings(small, teachers={"other": second()}, routing={"by": "slice", "to": {"hard": "other"}})
    ended = command(small, "train")
    assert ended.code in (2, 4)
    assert "not those that the teaching set was built with" in ended.error


@pytest.mark.parametrize(
    "asked", [{"routing": {"by": "slice", "to": {"hard": "other"}}}, {"blend": {"teacher": 1.0, "other": 1.0}}]
)
def test_soft_targets_of_another_tokenizer_are_refused_by_name(small: Path, asked: dict[str, Any]) -> None:
    foreign(small)
    write_settings(small, teachers={"other": second()}, **asked)
    ended = command(small, "build")
    assert ended.code == 2
    assert "distill.yaml: teachers.other" in ended.error
    assert "models/other" in ended.error
    assert "models/teacher" in ended.error
    assert "soft_targets: false" in ended.err
    assert not (small / "runs" / "r1" / "manifests").exists()


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"routing": {"by": "slice", "to": {"harder": "other"}}}, 2, "no trace has the `slice`"),
        ({"routing": {"by": "slices", "to": {"hard": "other"}}}, 2, "no tag that redaction.yaml lets travel"),
        (
            {"routing": {"by": "slice", "to": {"hard": "other"}}, "floor": {"intent": 1.0}},
            1,
            "the teacher `other`'s accuracy.intent",
        ),
        ({"routing": {"by": "slice", "to": {"hard": "other"}}, "floor": {"intend": 0.0}}, 2, "`intend` is no decision field"),
    ],
)
def test_what_cannot_be_routed_is_one_line(small: Path, changes: dict[str, Any], code: int, said: str) -> None:
    floor = changes.pop("floor", {"intent": 0.0})
    write_settings(small, teachers={"other": second(floor=floor)}, **changes)
    ended = command(small, "build")
    assert ended.code == code
    assert said in ended.error


def test_a_project_without_them_is_what_it_was(small: Path) -> None:
    project = Project.open(small)
    seal = project.sealed()
    before = build_inputs(project, seal)
    assert not [name for name in before if "weights of the teacher" in name]
    write_settings(small, teacher={"samples": 1, "sample_temperature": 1.0, "soft_targets": True})
    assert build_inputs(Project.open(small), seal) == before
    write_settings(small, teacher={"samples": 2})
    assert build_inputs(Project.open(small), seal) != before


SAID = json.dumps({"intent": "refund", "action": "ask", "reply": "which one"})


def reasoned(root: Path, **losses: float) -> None:
    """Traces that bring along an answer and what was thought before it; the first five also a reference, of which the last
    decides otherwise."""
    rows = files()["teaching"][4:COUNT]
    for number, row in enumerate(rows):
        thought = f"Number {number} was charged twice; {PLANTED[1].sentence.format(PLANTED[1].value)}"
        row["messages"].append({"role": "assistant", "content": SAID, "reasoning": thought})
        if number < 5:
            row["reference"] = {"intent": "refund" if number < 4 else "status", "action": "ask"}
    write_jsonl(root / "data" / "teaching.jsonl", rows)
    policy = yaml.safe_load((root / "redaction.yaml").read_text("utf-8"))
    policy["admission"]["reasoning"] = "keep"
    (root / "redaction.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    write_settings(root, train={"losses": losses})


def test_the_reasoning_that_led_to_the_answer_is_taught_beside_it(small: Path) -> None:
    reasoned(small, rationale=0.5)
    manifest, examples = built(small)
    teaching = small / "runs" / "r1" / "teaching"
    thoughts = read_examples(teaching / "rationales.parquet")
    decided = {e.trace: json.loads(e.answer) for e in examples}
    led = {t for t, value in decided.items() if (value["intent"], value["action"]) == ("refund", "ask")}
    assert {f"t-{number:03d}" for number in range(4, 8)} <= led
    assert {e.trace for e in thoughts} == led, "what decides otherwise is not argued against"
    assert "t-008" not in led
    for e in thoughts:
        assert e.id == f"{e.trace}/rationale"
        assert e.messages[-1] == {"role": "system", "content": "[rationale]"}
        assert "was charged twice" in e.answer
        assert PLANTED[1].value not in e.answer
    assert {row["item"] for row in books(small, "teacher")} >= {e.id for e in thoughts}
    assert manifest.facts["turns"]["reasoning_taught"] == len(thoughts)
    assert not [e for e in examples if "charged twice" in e.answer]
    ended = command(small, "train")
    assert ended.code == 0, ended.err
    losses = read_manifest(small / "runs" / "r1" / "manifests" / "train.json").facts["losses"]
    assert losses[-1]["rationale"] > 0


def test_reasoning_is_taught_only_where_it_is_asked_for(small: Path) -> None:
    reasoned(small, rationale=0.0)
    seal = Project.open(small).sealed()
    silent = build_inputs(Project.open(small), seal)
    write_settings(small, train={"losses": {"rationale": {"start": 0.0, "end": 1.0}}})
    assert build_inputs(Project.open(small), seal) != silent
    policy = (small / "redaction.yaml").read_text("utf-8")
    (small / "redaction.yaml").write_text(policy.replace("reasoning: keep", "reasoning: drop"), "utf-8")
    ended = command(small, "build")
    assert ended.code == 2
    assert "redaction.yaml drops it" in ended.error
