"""Names that become paths stay inside the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from distill_gov.records.layout import ProjectLayout, RunLayout

ROOT = Path("/project")
RUN = ProjectLayout(ROOT).run("r1")
NAMED: dict[str, Callable[[str], Path]] = {
    "run": lambda name: ProjectLayout(ROOT).run(name).root,
    "suite": lambda name: RUN.cases(name, "student"),
    "subject": lambda name: RUN.cases("holdout", name),
    "policy": lambda name: RUN.measurements(name),
    "verdict": lambda name: RUN.verdict(name),
    "sweep": lambda name: RUN.sweep(name),
    "trial": lambda name: ProjectLayout(ROOT).trial(name),
    "verdict subject": lambda name: RUN.verdict("gates", name),
}
BAD = ["", ".", "..", "../r2", "a/b", "/etc", "a..b", "a\\b", "R1", "a b", "r1\n", ".hidden", "-x", "a\x00", "é", "a" * 65, "~"]


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("name", BAD)
def test_a_name_that_could_leave_the_project_is_refused(kind: str, name: str) -> None:
    with pytest.raises(BadInputError, match="name must be 1-64"):
        NAMED[kind](name)


@given(st.sampled_from(sorted(NAMED)), st.text(max_size=70) | st.text("abz019._-/\\", max_size=10))
def test_whatever_is_accepted_lies_directly_where_it_belongs(kind: str, name: str) -> None:
    try:
        path = NAMED[kind](name)
    except BadInputError:
        return
    assert path.parent == NAMED[kind]("good").parent
    assert path.resolve() == path


def test_a_project_has_one_place_for_everything() -> None:
    layout = ProjectLayout(ROOT)
    run = layout.run("r1")
    assert (run, run.name) == (RunLayout(ROOT / "runs" / "r1"), "r1")
    assert layout.ledger == ROOT / "ledger.jsonl"
    assert run.verdict("gates") == run.verdict("gates", "student") == ROOT / "runs/r1/verdicts/gates.json"
    assert run.verdict("gates.bank", "leaky") == ROOT / "runs/r1/verdicts/gates.bank.leaky.json"
    assert run.cases("holdout", "student") == ROOT / "runs/r1/evidence/cases/holdout.student.parquet"
