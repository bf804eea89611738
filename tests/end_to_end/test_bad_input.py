"""What a person got wrong: one clear line on stderr, exit code 2 (or what the design says), and nothing half-made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.stages.settled import MEASURED, attempts
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import (
    PLANTED,
    POLICIES,
    SCHEMA,
    files,
    make_project,
    redaction_yaml,
    trace,
    write_jsonl,
    write_settings,
)

Change = Callable[[Path], object]


def append(name: str, line: str) -> Change:
    def change(root: Path) -> None:
        path = root / "data" / name
        path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")

    return change


def misspell(name: str, right: str, wrong: str) -> Change:
    def change(root: Path) -> None:
        path = root / name
        text = path.read_text("utf-8")
        assert f"{right}:" in text
        path.write_text(text.replace(f"{right}:", f"{wrong}:", 1), "utf-8")

    return change


def unusable_schema(text: str) -> Change:
    return lambda root: (root / "answer.schema.json").write_text(text, "utf-8")


TWICE = json.dumps(trace("t-000", "the id was taken"))
SECRET = PLANTED[1].value

# What is wrong: the change, the verb, and what its one line must name.
BAD: dict[str, tuple[Change, str, tuple[str, ...]]] = {
    "traces missing": (lambda r: (r / "data/teaching.jsonl").unlink(), "build", ("data/teaching.jsonl", "no such file")),
    "dev missing": (lambda r: (r / "data/dev.jsonl").unlink(), "build", ("data/dev.jsonl", "no such file")),
    "gold missing": (lambda r: (r / "data/gold.jsonl").unlink(), "build", ("data/gold.jsonl", "no such file")),
    "holdout missing": (lambda r: (r / "data/holdout.jsonl").unlink(), "build", ("data/holdout.jsonl", "no such file")),
    "redaction.yaml missing": (lambda r: (r / "redaction.yaml").unlink(), "build", ("redaction.yaml", "no such")),
    "gates.yaml missing": (lambda r: (r / "gates.yaml").unlink(), "gate", ("gates.yaml", "no such policy")),
    "distill.yaml missing": (lambda r: (r / "distill.yaml").unlink(), "build", ("distill.yaml", "distill-gov init")),
    "key missing": (lambda r: (r / ".distill-gov/keys/root.key").unlink(), "build", ("no project key",)),
    "JSON cut off": (append("teaching.jsonl", f'{{"id": "{SECRET}'), "build", ("teaching.jsonl:26", "not valid JSON")),
    "JSON with NaN": (append("teaching.jsonl", '{"id": NaN}'), "build", ("teaching.jsonl:26", "NaN")),
    "not an object": (append("teaching.jsonl", "[1]"), "build", ("teaching.jsonl:26", "not a JSON object")),
    "key misspelt in a trace": (
        append("teaching.jsonl", TWICE.replace("consent", "consentt")),
        "build", ("teaching.jsonl:26", "Did you mean `consent`?"),
    ),
    "two traces, one id": (append("teaching.jsonl", TWICE), "build", ("teaching.jsonl:26", "teaching.jsonl:1")),
    "no traces": (lambda r: (r / "data/teaching.jsonl").write_text("\n"), "build", ("teaching.jsonl", "no traces")),
    "everything dropped": (
        lambda r: write_jsonl(r / "data/teaching.jsonl", [{**t, "consent": "refused"} for t in files()["teaching"]]),
        "build", ("teaching.jsonl", "no trace is left"),
    ),
    "a teacher without a floor": (
        lambda r: write_settings(r, teacher={"floor": {}}), "build", ("distill.yaml:", "`teacher`", "needs a `floor`"),
    ),
    "a floor for no decision field": (
        lambda r: write_settings(r, teacher={"floor": {"intent": 0.1, "reply": 0.1}}),
        "build", ("teacher.floor", "`reply` is no decision field"),
    ),
    "a floor misspelt": (
        lambda r: write_settings(r, teacher={"floor": {"intnet": 0.1}}), "build", ("teacher.floor", "Did you mean `intent`?"),
    ),
    "a floor that is no share": (
        lambda r: write_settings(r, teacher={"floor": {"intent": 65.0}}), "build", ("distill.yaml:", "teacher.floor.intent"),
    ),
    "raw model input": (
        lambda r: write_settings(r, model_input="raw"), "build", ("distill.yaml:", "`model_input`", "not built yet"),
    ),
    "distill.yaml misspelt": (
        misspell("distill.yaml", "teacher", "techer"), "build", ("distill.yaml:", "`techer`", "`teacher`"),
    ),
    "redaction.yaml misspelt": (
        misspell("redaction.yaml", "exact_duplicates", "exact_duplicate"), "build", ("redaction.yaml:", "`exact_duplicates`"),
    ),
    "gates.yaml misspelt": (misspell("gates.yaml", "intended_use", "intendet_use"), "gate", ("gates.yaml:1", "`intended_use`")),
    "a gate's key misspelt": (misspell("gates.yaml", "rationale", "rationalle"), "gate", ("gates.yaml:", "`rationale`")),
    "no YAML": (lambda r: (r / "distill.yaml").write_text("task: [", "utf-8"), "build", ("distill.yaml:1", "not valid YAML")),
    "no gates": (
        lambda r: (r / "gates.yaml").write_text(POLICIES["gates"].partition("gates:")[0] + "gates: []\n"),
        "gate", ("gates.yaml", "no required gate"),
    ),
    "unknown metric": (
        lambda r: (r / "gates.yaml").write_text((r / "gates.yaml").read_text().replace("accuracy.intent", "acuracy.intent", 1)),
        "gate", ("gates.yaml:", "`accuracy.intent`"),
    ),
    "teacher is no model": (
        lambda r: write_settings(r, teacher={"model": "data"}), "build", ("distill.yaml", "holds no model"),
    ),
    "teacher's weights are broken": (
        lambda r: (r / "models/teacher/model.safetensors").write_bytes(b"no weights"), "build", ("holds no model",),
    ),
    "teacher without a tokenizer": (
        lambda r: (r / "models/teacher/tokenizer.json").unlink(), "build", ("tokenizer",),
    ),
    "schema is no JSON": (unusable_schema("{"), "build", ("answer.schema.json", "not valid JSON")),
    "schema is no schema": (unusable_schema('{"type": 5}'), "build", ("answer.schema.json",)),
    "schema is no flat object": (
        unusable_schema(json.dumps({"$schema": SCHEMA["$schema"], "type": "array"})), "build", ("answer schema",),
    ),
    "a run name that leaves the project": (lambda r: None, "build --run ../out", ("run name",)),
    "a policy that is not there": (lambda r: None, "gate --policy gates.none", ("gates.none", "no such policy")),
    "nobody of that name": (lambda r: None, "gate --subject somebody", ("somebody",)),
    "no order of examples": (
        lambda r: write_jsonl(r / "data/gold.jsonl", [t for t in files()["gold"] if t["tags"]["use"] != "prompt"]),
        "build", ("gold.jsonl", "use: prompt"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BAD))
def test_one_clear_line_and_exit_2(fresh: Path, kind: str) -> None:
    change, verb, named = BAD[kind]
    change(fresh)
    ended = command(fresh, *verb.split())
    assert ended.code == 2, ended
    for words in named:
        assert words in ended.error, ended.error
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert SECRET not in ended.err
    assert not list(fresh.glob("runs/*/manifests/*.json"))


def test_without_a_seal_nothing_is_built(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    ended = command(root, "build")
    assert ended.code == 2
    assert "distill-gov seal" in ended.error
    assert not (root / "runs").exists()


def test_a_holdout_changed_after_the_seal_is_an_integrity_error(fresh: Path) -> None:
    append("holdout.jsonl", json.dumps(trace("h-900", "one more", reference={"intent": "other", "action": "ask"})))(fresh)
    ended = command(fresh, "build")
    assert ended.code == 4
    assert "holdout.jsonl" in ended.error
    assert not (fresh / "runs").exists()


def test_a_holdout_changed_after_the_build_is_not_measured(copy: Path) -> None:
    (copy / "runs/r1/manifests/evaluate.json").unlink()
    append("holdout.jsonl", json.dumps(trace("h-900", "one more", reference={"intent": "other", "action": "ask"})))(copy)
    assert command(copy, "evaluate").code == 4
    # Sealing the new one does not help this run, whose teaching set was kept away from the old one.
    assert command(copy, "seal").code == 0
    ended = command(copy, "build")
    assert (ended.code, "`holdout`" in ended.error) == (2, True)


def test_sealing_anew_neither_breaks_an_old_run_nor_counts_anew(copy: Path) -> None:
    holdout = copy / "data" / "holdout.jsonl"
    holdout.write_bytes(holdout.read_bytes() + b"\n")
    assert command(copy, "seal").code == 0
    path = copy / "runs" / "r1" / "verdicts" / "gates.json"
    before = path.read_bytes()
    assert command(copy, "gate").code == 0
    assert path.read_bytes() == before
    assert command(copy, "verify").code == 0
    # Another student under the new seal is the second one on these cases.
    project = Project.open(copy)
    project.ledger.append(MEASURED, {"run": "r2", "student": "sha256:another", "seal": project.sealed()})
    assert attempts(project.ledger, "sha256:another", project.sealed()) == 2


@pytest.mark.parametrize(
    ("changed", "verb", "named"),
    [
        ("data/dev.jsonl", "build", "`dev`"),
        ("data/gold.jsonl", "build", "`gold`"),
        ("data/teaching.jsonl", "build", "`traces`"),
        ("answer.schema.json", "build", "`answer schema`"),
        ("redaction.yaml", "build", "`redaction.yaml`"),
        ("models/teacher/config.json", "build", "`teacher's weights`"),
        ("models/teacher/config.json", "train", "`base model`"),
        ("runs/r1/student/config.json", "evaluate", "`student`"),
        (".distill-gov/keys/root.key", "build", "`key`"),
        ("data/hazardous.jsonl", "evaluate", "hazardous"),
    ],
)
def test_a_run_from_other_inputs_is_not_continued(copy: Path, changed: str, verb: str, named: str) -> None:
    path = copy / changed
    text = path.read_text("utf-8")
    path.write_text("5b" * 32 if path.suffix == ".key" else text + "\n", "utf-8")
    before = (copy / "ledger.jsonl").read_bytes()
    ended = command(copy, verb)
    assert ended.code == 2, ended
    assert named in ended.error
    assert "--run" in ended.error
    assert (copy / "ledger.jsonl").read_bytes() == before


def test_another_setting_is_another_run(copy: Path) -> None:
    write_settings(copy, seed=4)
    for verb in ("build", "train"):
        ended = command(copy, verb)
        assert (ended.code, "distill.yaml" in ended.error) == (2, True)
    write_settings(copy, evaluate={"controls": ["leaky"]})
    assert command(copy, "evaluate").code == 2


def test_a_teacher_under_its_floor_does_not_teach(fresh: Path) -> None:
    write_settings(fresh, teacher={"floor": {"intent": 0.99}})
    ended = command(fresh, "build")
    assert ended.code == 1
    assert "accuracy.intent" in ended.error
    assert "0.99" in ended.error
    assert not list((fresh / "runs").rglob("*.parquet"))


def test_everything_the_teacher_says_is_dropped(fresh: Path) -> None:
    (fresh / "redaction.yaml").write_text(redaction_yaml(max_reply_chars=1), "utf-8")
    ended = command(fresh, "build")
    assert (ended.code, "no answer is left" in ended.error) == (2, True)


def test_json_tells_the_same_of_an_error(fresh: Path) -> None:
    shutil.rmtree(fresh / "models")
    ended = command(fresh, "build", "--json")
    assert ended.code == 2
    assert ended.json["exit"] == 2
    assert ended.json["error"] == "BadModelError"
