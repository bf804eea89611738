"""Killed anywhere (SIGKILL), the same command goes on and comes to the same end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distill_gov.project import Project
from evals.evidence import CaseResult, read_cases
from gates.registry import read_aliases
from tests.end_to_end.commands import KILLED, TRAINING_STEP, Killer, command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.content import said
from tests.end_to_end.raters import rate
from tests.end_to_end.tiny_project import write_settings

POINTS = (
    ("*/cache/write/*.json", 2),  # build: a shard of the teacher's answers is stored, the next one is not
    ("*/teaching/decisions.parquet", 1),  # build: examples are written, the books are not
    (TRAINING_STEP, 2),  # train: some examples are learnt
    ("*/runs/r1/student", 1),  # train: weights are saved aside
    ("*/evidence/cases/holdout.student.parquet", 1),  # evaluate: the teacher is measured, the student is not
    ("*/evidence/measurements/gates.parquet", 1),  # gate
    ("*/verdicts/gates.json", 1),  # gate: measured, not decided
    ("*/pages/report.html", 1),  # report
)


@pytest.mark.slow
def test_kill_9_in_every_stage_changes_nothing_in_the_end(finished: Finished, fresh: Path, kill: Killer) -> None:
    run = fresh / "runs" / "r1"
    for at, nth in POINTS:
        assert kill.run(fresh, "run", at=at, nth=nth) == KILLED, at
        if "holdout.student" in at:
            # What else a killed evaluation may have measured, before less was asked for.
            shutil.copyfile(run / "evidence/cases/holdout.teacher.parquet", run / "evidence/cases/holdout.untrained.parquet")
    assert kill.run(fresh, "run") == 0
    resumed, whole = said(run), said(finished.run)
    assert resumed.keys() == whole.keys()
    for name in whole:
        assert resumed[name] == whole[name], name
    assert sorted(p.relative_to(run) for p in run.rglob("*")) == sorted(
        p.relative_to(finished.run) for p in finished.run.rglob("*")
    )
    verified = command(fresh, "verify")
    assert verified.code == 0, verified.out
    ledger = Project.open(fresh).ledger
    assert [e.facts["stage"] for e in ledger.find("stage.done")] == ["build", "train", "evaluate"]
    # The killed evaluations opened the holdout too, which stays on record; still it was one student.
    assert len(ledger.find("holdout.opened")) > 2
    assert len(ledger.find("student.measured")) == 1


EXPORT = ("ratings", "export", "--rater", "anna", "--rater", "bert")
AFTERWARDS = {
    "export": ("*/ratings/packets/*.html", "*/manifests/ratings-export.json"),
    "import": ("*/ratings/responses/answers/02.json", "*/cases/ratings.teacher.parquet", "*/manifests/ratings.json"),
    "gate": ("*/evidence/measurements/gates.rated.parquet", "*/verdicts/gates.rated.json"),
    "promote": ("*/registry/aliases.json",),
}
"""Where each command after the run is killed."""


def rated(root: Path, kill: Killer | None) -> tuple[list[CaseResult], list[tuple[str, str, str]], str]:
    """Export, let people rate, import, judge and promote; killed at every point, or never. What the ratings came to."""
    write_settings(root, policy="gates.rated.yaml")
    run = root / "runs" / "r1"
    for verb, points in AFTERWARDS.items():
        answers = map(str, rate(run, root.parent / "answers")) if verb == "import" else ()
        line = {"export": EXPORT, "import": ("ratings", "import", *answers)}.get(verb, (verb,))
        for at in points if kill else ():
            assert kill is not None
            assert kill.run(root, *line, at=at) == KILLED, at
        ended = command(root, *line)
        assert ended.code == 0, (line, ended.err)
    assert command(root, "verify").code == 0
    rows = [row for name in ("student", "teacher") for row in read_cases(run / "evidence/cases" / f"ratings.{name}.parquet")]
    outcomes = [(o["gate"], o["outcome"], o["code"]) for o in command(root, "gate", "--json").json["outcomes"]]
    return rows, outcomes, read_aliases(root / "registry")["production"].student


@pytest.mark.slow
def test_kill_9_while_people_rate_and_promote_changes_nothing_in_the_end(copy: Path, finished: Finished, kill: Killer) -> None:
    undisturbed = copy.parent / "undisturbed" / "project"
    shutil.copytree(finished.root, undisturbed)
    assert rated(copy, kill) == rated(undisturbed, None)
    ledger = Project.open(copy).ledger
    # What must be logged first was logged each time, and the key is that of the first time.
    assert len(ledger.find("ratings.sealed")) == 1
    assert len(ledger.find("ratings.unsealed")) == 1 + len(AFTERWARDS["import"])
    assert [e.facts["stage"] for e in ledger.find("stage.done")][-2:] == ["ratings-export", "ratings"]


def names(run: Path) -> list[str]:
    return sorted(p.relative_to(run).as_posix() for p in run.rglob("*"))


def test_ratings_killed_between_the_manifest_and_the_ledger(copy: Path) -> None:
    for line in (EXPORT, ("ratings", "import")):
        files = map(str, rate(copy / "runs" / "r1", copy.parent / "answers")) if line[1] == "import" else ()
        assert command(copy, *line, *files).code == 0
        ledger = copy / "ledger.jsonl"
        lines = ledger.read_bytes().splitlines(keepends=True)
        assert b'"event": "stage.done"' in lines[-1]
        ledger.write_bytes(b"".join(lines[:-1]))
        assert command(copy, "verify").code == 4
        files = map(str, rate(copy / "runs" / "r1", copy.parent / "answers")) if line[1] == "import" else ()
        assert command(copy, *line, *files).code == 0
        assert command(copy, "verify").code == 0


def test_killed_between_the_manifest_and_the_ledger(copy: Path) -> None:
    shutil.rmtree(copy / "runs" / "r1" / "verdicts")
    ledger = copy / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    assert b'"event": "stage.done"' in lines[-2]
    ledger.write_bytes(b"".join(lines[:-2]))
    for verb in ("gate", "verify"):
        ended = command(copy, verb)
        assert (ended.code, "`evaluate`" in ended.error) == (4, True)
    assert command(copy, "evaluate").code == 0
    assert command(copy, "gate").code == 0
    assert command(copy, "verify").code == 0


def test_killed_within_a_line_of_the_ledger(copy: Path) -> None:
    ledger = copy / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-30])
    assert command(copy, "verify").code == 4, "verify repairs nothing"
    assert command(copy, "promote").code != 0
    append_to(copy)
    assert [e.event for e in Project.open(copy).ledger.entries()][-2:] == ["ledger.torn_line_removed", "tests"]
    assert command(copy, "gate").code == 0
    assert command(copy, "verify").code == 0


def append_to(root: Path) -> None:
    Project.open(root).ledger.append("tests", {})
