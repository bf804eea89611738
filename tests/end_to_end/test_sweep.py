"""``sweep`` on a tiny project: the holdout is not there, a kill costs one trial at most, and nothing is hidden afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.project import Project
from distill_gov.stages import trials
from distill_gov.stages.swept import swept_before
from distill_gov.trainer.train import TrainingStoppedError
from tests.end_to_end.commands import KILLED, Ended, Killer, command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.tiny_project import files, make_project, write_jsonl, write_settings

SWEEP = {"over": {"student.layers": [1]}, "metric": ["exact_match", "nll.intent"]}


def hide_everything_measured_later(root: Path) -> None:
    """Whatever a trial must not see is gone: the holdout, the suites, and what was measured on them."""
    for name in ("holdout", "hazardous", "benign"):
        (root / "data" / f"{name}.jsonl").unlink()
    for name in ("evidence", "verdicts", "pages"):
        shutil.rmtree(root / "runs" / "r1" / name, ignore_errors=True)


@pytest.fixture(scope="module")
def built(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built run with a sweep in ``distill.yaml``. Not to be changed."""
    root = tmp_path_factory.mktemp("built") / "project"
    shutil.copytree(finished.root, root)
    write_settings(root, sweep=SWEEP)
    return root


@pytest.fixture(scope="module")
def swept(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """After a sweep that had no holdout. Not to be changed."""
    root = tmp_path_factory.mktemp("swept") / "project"
    shutil.copytree(built, root)
    hide_everything_measured_later(root)
    return root, command(root, "sweep")


def the_sweep(root: Path) -> Path:
    [path] = (root / "runs" / "r1" / "sweeps").glob("*.json")
    return path


def test_a_sweep_needs_no_holdout_and_opens_none(built: Path, swept: tuple[Path, Ended]) -> None:
    root, ended = swept
    assert ended.code == 0, ended.err
    before = [entry.event for entry in Project.open(built).ledger.entries()]
    after = [entry.event for entry in Project.open(root).ledger.entries()]
    assert after == [*before, "stage.done"]


def test_what_is_found_is_shown_and_stored_alike(swept: tuple[Path, Ended]) -> None:
    root, ended = swept
    found: dict[str, Any] = json.loads(the_sweep(root).read_text("utf-8"))
    assert found["format"] == "distill-gov/sweep/1"
    assert [row["values"] for row in found["trials"]] == [{}, {"student.layers": 1}]
    assert [row["layers"] for row in found["trials"]] == [2, 1]
    assert found["dev"]["cases"] == len(files()["dev"])
    assert all(m["low"] <= m["value"] <= m["high"] for row in found["trials"] for m in row["measured"])
    assert all(len(halves) == 2 for row in found["trials"] for halves in row["temperature"].values())
    assert found["caution"] in ended.out
    assert f"best: trial {found['best']['trial']}" in ended.out
    assert found["best"]["lines"] in ended.out
    again = command(root, "sweep", "--json")
    assert (again.code, again.json) == (0, {**found, "exit": 0})


def test_distill_yaml_is_left_as_it_was(built: Path, swept: tuple[Path, Ended]) -> None:
    assert (swept[0] / "distill.yaml").read_bytes() == (built / "distill.yaml").read_bytes()


def test_a_run_with_a_sweep_holds_and_a_changed_sweep_is_found(copy: Path, swept: tuple[Path, Ended]) -> None:
    root, _ = swept
    shutil.copytree(root / "runs/r1/sweeps", copy / "runs/r1/sweeps")
    for name in (*(root / "runs/r1/manifests").glob("sweep-*.json"), root / "ledger.jsonl"):
        shutil.copy(name, copy / name.relative_to(root))
    assert command(copy, "verify").code == 0
    path = the_sweep(copy)
    path.write_text(path.read_text("utf-8").replace('"tried": 2', '"tried": 1'), "utf-8")
    ended = command(copy, "verify")
    assert ended.code == 4
    assert f"changed: sweeps/{path.name}" in ended.out


@pytest.mark.slow
def test_a_killed_sweep_goes_on_with_the_next_trial_and_finds_the_same(
    built: Path, swept: tuple[Path, Ended], kill: Killer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    shutil.copytree(built, root)
    hide_everything_measured_later(root)
    assert kill.run(root, "sweep", at="*/trial.json", nth=2) == KILLED
    assert not (root / "runs/r1/sweeps").exists()
    made: list[Path] = []
    train = trials.make_student
    monkeypatch.setattr(trials, "make_student", lambda *a, **k: (made.append(a[2]), train(*a, **k))[1])
    assert command(root, "sweep").code == 0
    # The second student stood already when the process died; neither is trained again.
    assert made == []
    assert the_sweep(root).read_bytes() == the_sweep(swept[0]).read_bytes()
    assert not list((root / ".distill-gov/cache/sweeps").rglob("*.safetensors"))


def test_another_sweep_stands_beside_the_first_and_a_training_that_stops_is_a_trial(
    swept: tuple[Path, Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    shutil.copytree(swept[0], root)
    first = the_sweep(root)
    write_settings(root, sweep={**SWEEP, "over": {"train.learning_rate": [1e9]}})
    asked: list[float] = []

    def stops(project: Project, *_: Any, **__: Any) -> None:
        asked.append(project.settings.train.learning_rate)
        raise TrainingStoppedError("the loss is not finite")

    monkeypatch.setattr(trials, "make_student", stops)
    ended = command(root, "sweep", "--json")
    assert ended.code == 0, ended.err
    # The file as it stands was tried in the first sweep already.
    assert asked == [1e9]
    assert [(row["rank"], row["stopped"]) for row in ended.json["trials"]] == [(1, ""), (None, "the loss is not finite")]
    assert ended.json["best"] == {"trial": 0, "differences": [], "lines": "", "needs_build": False}
    assert first.exists()
    assert len(list(first.parent.iterdir())) == 2
    project = Project.open(root)
    assert swept_before(project, project.run("r1")) == {
        "sweeps": 2, "trials": 3, "metrics": ["exact_match", "nll.intent"], "best": True,
    }  # fmt: skip


def test_a_training_says_what_was_swept_before_it(swept: tuple[Path, Ended], tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(swept[0], root)
    best = json.loads(the_sweep(root).read_text("utf-8"))["best"]
    lines = yaml.safe_load(best["lines"]) or {}
    write_settings(root, **lines)
    (root / "runs/r1/manifests/train.json").unlink()
    shutil.rmtree(root / "runs/r1/student")
    assert command(root, "train").code == 0
    facts = json.loads((root / "runs/r1/manifests/train.json").read_text("utf-8"))["facts"]
    assert facts["sweep"] == {"sweeps": 1, "trials": 2, "metrics": ["exact_match", "nll.intent"], "best": True}
    assert command(root, "report").code == 0
    for page in ("model_card.md", "report.html"):
        text = (root / "runs/r1/pages" / page).read_text("utf-8").replace("\\", "")
        assert "2 settings were tried on dev by exact_match, nll.intent; trained with the best of them" in text


def test_without_a_sweep_nothing_is_said_of_one(finished: Finished) -> None:
    assert "sweep" not in json.loads((finished.run / "manifests/train.json").read_text("utf-8"))["facts"]
    assert "Sweep" not in (finished.run / "pages/model_card.md").read_text("utf-8")


# --- what is refused before anything is trained

BAD: dict[str, tuple[dict[str, Any] | None, tuple[str, ...]]] = {
    "no sweep": (None, ("distill.yaml: sweep", "there is no `sweep`")),
    "more layers than the base has": ({"over": {"student.layers": [4]}}, ("sweep.over", "student of 4 layers", "of 3")),
    "a base that is no model": ({"over": {"student.base": ["data"]}}, ("`data` holds no model",)),
    "nothing but what stands": ({"over": {"student.layers": [2]}}, ("sweep.over", "nothing is tried")),
    "a field that is not decided": (
        {"over": {"student.layers": [1]}, "metric": ["nll.mood"]}, ("sweep.metric", "`mood` is no decision field"),
    ),
    "a temperature beside a tail": ({"over": {"teacher.temperature": [1.0]}}, ("over.teacher.temperature", "captured at")),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BAD))
def test_one_clear_line_and_exit_2_before_the_first_trial(built: Path, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "project"
    shutil.copytree(built, root)
    asked, named = BAD[kind]
    write_settings(root, **({"sweep": asked} if asked is not None else {}))
    ended = command(root, "sweep")
    assert ended.code == 2, ended
    for words in named:
        assert words in ended.error, ended.error
    assert ended.out == ""
    assert not (root / ".distill-gov/cache/sweeps").exists()
    assert not (root / "runs/r1/sweeps").exists()


def test_a_run_that_was_not_built_is_not_swept(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", settings={"sweep": SWEEP})
    ended = command(root, "sweep")
    assert ended.code == 2
    assert "distill-gov build" in ended.error


def test_one_conversation_cannot_be_cut_in_two(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(built, root)
    write_jsonl(root / "data/dev.jsonl", [{**row, "group": "c-1"} for row in files()["dev"]])
    ended = command(root, "sweep")
    assert ended.code == 2
    assert "cannot be cut in two" in ended.error
