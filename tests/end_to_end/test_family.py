"""A family of students from one teaching set, by the commands a user types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.family import worst
from distill_gov.project import Project
from distill_gov.records.digest import digest_tree
from distill_gov.records.errors import BadInputError, HashMismatchError, IntegrityError
from distill_gov.records.families import SHARED
from distill_gov.records.manifest import read_manifest
from distill_gov.stages import shared
from distill_gov.teaching_set.examples import read_examples
from tests import tiny
from tests.end_to_end.commands import KILLED, TRAINING_STEP, Killer, command
from tests.end_to_end.tiny_project import write_settings

STUDENTS: dict[str, Any] = {
    "small": {"layers": 1, "max_tokens": 48, "width": {"heads": 2, "mlp": 30}},
    "large": {"layers": [0, 1, 2], "max_tokens": 48},
}


def with_family(root: Path, **students: Any) -> Project:
    write_settings(root, students={**STUDENTS, **students})
    return Project.open(root)


def share(project: Project, name: str = "small") -> None:
    project.run(f"r1-{name}").share(project.run("r1"), name)


def shared_events(project: Project) -> list[Any]:
    return [dict(entry.facts) for entry in project.ledger.find(SHARED)]


def test_the_worst_code_is_the_houses() -> None:
    assert [worst(codes) for codes in ([0, 0], [0, 3], [3, 1], [1, 4], [4, 2], [2, 5], [])] == [0, 3, 1, 4, 2, 5, 2]


# --- what is refused before anything is done


@pytest.mark.parametrize(
    ("students", "arguments", "said"),
    [
        (STUDENTS, ["--student", "smal"], "no student of the family is called `smal`. Did you mean `small`?"),
        (STUDENTS, ["--student", "small", "--student", "huge"], "no student of the family is called `huge`"),
        ({}, [], "lists no family of students"),
        ({"Small Model": {}}, [], "students.Small Model"),
        ({"small": {"from": "pretrained"}}, [], "needs a `base`"),
    ],
)
def test_a_bad_name_is_one_line_and_nothing_is_done(fresh: Path, students: Any, arguments: list[str], said: str) -> None:
    write_settings(fresh, students=students)
    ended = command(fresh, "family", *arguments)
    assert ended.code == 2
    assert said in ended.error
    assert not (fresh / "runs").exists()


# --- sharing a teaching set


def test_a_teaching_set_is_taken_over_whole_and_once(copy: Path) -> None:
    project = with_family(copy)
    share(project)
    ours, theirs = project.layout.run("r1-small"), project.layout.run("r1")
    assert digest_tree(ours.teaching) == digest_tree(theirs.teaching)
    assert ours.manifest("build").read_bytes() == theirs.manifest("build").read_bytes()
    assert sorted(p.name for p in ours.root.iterdir()) == ["manifests", "teaching"], "the student is the other run's"
    before = project.ledger.head
    share(project)
    assert command(copy, "build", "--run", "r1-small").code == 0
    assert project.ledger.head == before
    assert [facts["run"] for facts in shared_events(project)] == ["r1-small"]
    for run in ("r1", "r1-small"):
        assert command(copy, "verify", "--run", run).code == 0


def test_a_change_in_the_one_run_is_found_in_the_other(copy: Path) -> None:
    share(with_family(copy))
    path = copy / "runs" / "r1-small" / "teaching" / "decisions.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    assert command(copy, "verify", "--run", "r1-small").code == 4
    ended = command(copy, "train", "--run", "r1-small")
    assert (ended.code, "changed since the build" in ended.error) == (4, True)


def test_killed_while_it_is_taken_over_it_is_begun_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, real = with_family(copy), shared._link

    def dies(source: Path, target: Path) -> None:
        real(source, target)
        if source.name == "examples.parquet":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shared, "_link", dies)
        with pytest.raises(KeyboardInterrupt):
            share(project)
    assert not project.layout.run("r1-small").manifest("build").exists()
    assert command(copy, "build", "--run", "r1-small").code == 0, "build goes on with it too, and asks no teacher"
    assert digest_tree(project.layout.run("r1-small").teaching) == digest_tree(project.layout.run("r1").teaching)
    assert len(shared_events(project)) == 1
    assert command(copy, "verify", "--run", "r1-small").code == 0


def test_without_links_files_are_copied(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: object) -> None:
        raise OSError

    project = with_family(copy)
    monkeypatch.setattr(shared.os, "link", no_link)
    share(project)
    ours, theirs = (project.layout.run(name).examples for name in ("r1-small", "r1"))
    assert ours.stat().st_ino != theirs.stat().st_ino
    assert command(copy, "verify", "--run", "r1-small").code == 0


def test_what_is_not_as_it_was_built_is_not_shared(copy: Path) -> None:
    project = with_family(copy)
    path = project.layout.run("r1").examples
    whole = path.read_bytes()
    path.write_bytes(whole + b" ")
    with pytest.raises(HashMismatchError, match="changed since the build"):
        share(project)
    path.write_bytes(whole)
    manifest = project.layout.run("r1").manifest("build")
    manifest.write_text(manifest.read_text("utf-8").replace('"seed": 3', '"seed": 4'), "utf-8")
    with pytest.raises(IntegrityError, match="not the one the ledger knows"):
        share(project)
    assert not shared_events(project)
    assert not (copy / "runs" / "r1-small").exists()


def test_a_run_of_that_name_is_left_alone(copy: Path) -> None:
    project = with_family(copy)
    (copy / "runs" / "r1-small").mkdir()
    (copy / "runs" / "r1-small" / "mine.txt").write_text("mine", "utf-8")
    with pytest.raises(BadInputError, match="is there already"):
        share(project)
    share(project, "large")
    with pytest.raises(BadInputError, match="is for student `large` of run r1"):
        project.run("r1-large").share(project.run("r1"), "small")
    assert [facts["run"] for facts in shared_events(project)] == ["r1-large"]


def test_a_student_that_distill_yaml_lost_is_not_replaced_by_another(copy: Path) -> None:
    share(with_family(copy))
    write_settings(copy)
    for stage in ("train", "evaluate"):
        ended = command(copy, stage, "--run", "r1-small")
        assert (ended.code, "no student of the family is called `small`" in ended.error) == (2, True)
    assert command(copy, "verify", "--run", "r1-small").code == 0


def test_a_purge_takes_a_trace_out_of_every_run_and_ends_the_sharing(copy: Path) -> None:
    project = with_family(copy)
    share(project)
    purged = ("purge", "--subject", "t-010", "--reason", "asked to", "--actor", "privacy-officer")
    assert command(copy, *purged).code == 0
    for name in ("r1", "r1-small"):
        assert "t-010" not in {example.trace for example in read_examples(project.layout.run(name).examples)}
        verified = command(copy, "verify", "--run", name)
        assert (verified.code, "purged: teaching/examples.parquet" in verified.out) == (0, True), verified.out
    share(project)
    with pytest.raises(BadInputError, match="lost traces to a purge"):
        share(project, "large")


def test_another_tokenizer_is_refused_with_the_first_id_that_differs(copy: Path) -> None:
    tiny.save(copy / "models" / "other")
    share(with_family(copy, other={"from": "pretrained", "base": "models/other"}), "other")
    ended = command(copy, "train", "--run", "r1-other")
    assert ended.code == 2
    assert "distill.yaml: student.base: the student's tokenizer is not the teacher's: id " in ended.error
    assert not (copy / "runs" / "r1-other" / "student").exists()


# --- the whole way


@pytest.mark.slow
def test_students_that_are_not_cut_are_trained_too(copy: Path) -> None:
    shutil.copytree(copy / "models" / "teacher", copy / "models" / "grown")
    new = {"from": "random", "layers": 2, "max_tokens": 48, "width": {"hidden": 16, "heads": 4, "kv_heads": 2, "mlp": 20}}
    old = {"from": "pretrained", "base": "models/grown", "max_tokens": 48}
    project = with_family(copy, new=new, old=old)
    for name in ("new", "old"):
        share(project, name)
        ended = command(copy, "train", "--run", f"r1-{name}", "--json")
        assert ended.code == 0, ended.err
        facts = ended.json["facts"]
        assert facts["made"]["from"] == {"new": "random", "old": "pretrained"}[name]
        assert facts["student"]["teacher_parameters"] > 0


@pytest.mark.slow
def test_a_family_killed_and_resumed(copy: Path, kill: Killer) -> None:
    project = with_family(copy, broken={"layers": 9, "max_tokens": 48})
    runs = {name: project.layout.run(f"r1-{name}") for name in ("small", "large", "broken")}
    for at, nth in (
        ("*/runs/r1-large/manifests/build.json", 1),
        (TRAINING_STEP, 2),
        ("*/runs/r1-large/evidence/cases/holdout.student.parquet", 1),
        ("*/runs/r1/pages/family.html", 1),
    ):
        assert kill.run(copy, "family", "--student", "small", "--student", "large", at=at, nth=nth) == KILLED, at
    ended = command(copy, "family", "--json")
    assert ended.code == 2, "one student cannot be cut"
    assert "a student of 9 layers cannot be cut" in ended.error
    told = {student["student"]: student for student in ended.json["students"]}
    assert {name: row["state"] for name, row in told.items()} == {
        "small": "PASSED",
        "large": "PASSED",
        "broken": "NO VERDICT",
    }
    assert told["small"]["parameters"] < told["large"]["parameters"]
    assert [told[name]["attempt"] for name in ("small", "large")] == ["2 of 5", "3 of 5"], "r1's own student was the first"
    assert ended.json["students_measured"] == 3
    assert "3 students were measured on this holdout" in ended.json["of_many"]
    page = (copy / "runs/r1/pages/family.html").read_text("utf-8")
    assert "3 students from one teaching set, 2 passed" in page
    assert page.count("NOT RELIABLE") == 0
    for name in ("small", "large"):
        trained = read_manifest(runs[name].manifest("train"))
        assert trained.inputs["student of the family"] == name
        assert json.loads((runs[name].student / "training.json").read_text("utf-8"))["made"] == trained.facts["made"]
        assert command(copy, "verify", "--run", f"r1-{name}").code == 0
        assert "Students measured on it by now</dt><dd>3" in runs[name].report().read_text("utf-8")
    small = read_manifest(runs["small"].manifest("train")).facts["made"]
    assert (small["layers"], small["base_layers"], small["width"]["heads"], len(small["heads"][0])) == ([0], 3, 2, 2)
    assert len({run.manifest("build").read_bytes() for run in (*runs.values(), project.layout.run("r1"))}) == 1
    before = {p: p.read_bytes() for run in runs.values() for p in (*run.root.rglob("*.json"),)} | {
        copy / "ledger.jsonl": (copy / "ledger.jsonl").read_bytes()
    }
    again = command(copy, "family", "--student", "small", "--student", "large")
    assert again.code == 0
    assert {p: p.read_bytes() for p in before} == before
    settings = yaml.safe_load((copy / "distill.yaml").read_text("utf-8"))
    settings["students"]["small"]["layers"] = 2
    (copy / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    ended = command(copy, "family", "--student", "small")
    assert (ended.code, "done with another `distill.yaml (student, train)`" in ended.error) == (2, True)
