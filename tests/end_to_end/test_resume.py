"""Killed anywhere (SIGKILL), the same command goes on and comes to the same end."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.commands import KILLED, Killer, command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.content import said

POINTS = (
    ("*/cache/answer/*.json", 2),  # build: a shard of the teacher's answers is stored, the next one is not
    ("*/teaching/decisions.parquet", 1),  # build: examples are written, the books are not
    ("*/manifests/build.json", 1),  # build: all is written, and it is not done
    ("*/runs/r1/student", 1),  # train: weights are saved aside
    ("*/evidence/cases/holdout.student.parquet", 1),  # evaluate: the teacher is measured, the student is not
    ("*/manifests/evaluate.json", 1),  # evaluate
    ("*/evidence/measurements/gates.parquet", 1),  # gate
    ("*/verdicts/gates.json", 1),  # gate: measured, not decided
    ("*/pages/report.html", 1),  # report
)


def test_kill_9_in_every_stage_changes_nothing_in_the_end(finished: Finished, fresh: Path, kill: Killer) -> None:
    for at, nth in POINTS:
        assert kill.run(fresh, "run", at=at, nth=nth) == KILLED, at
    assert kill.run(fresh, "run") == 0
    run = fresh / "runs" / "r1"
    resumed, whole = said(run), said(finished.run)
    assert resumed.keys() == whole.keys()
    for name in whole:
        assert resumed[name] == whole[name], name
    assert sorted(p.relative_to(run) for p in run.rglob("*")) == sorted(
        p.relative_to(finished.run) for p in finished.run.rglob("*")
    )
    verified = command(fresh, "verify")
    assert verified.code == 0, verified.out
    # Opened twice by the killed stages, but one student only was measured, and each stage is anchored once.
    again = command(fresh, "gate", "--json")
    assert (again.code, again.json["attempt"]) == (0, 1)
