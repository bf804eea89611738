"""A family of students on one page. All numbers are invented."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.digest import digest_file
from distill_gov.records.families import SHARED
from distill_gov.records.layout import ProjectLayout, RunLayout
from distill_gov.records.ledger import Ledger
from reports.charts import Point, scatter
from reports.family import Family, family_charts, family_gate_rows, family_object, family_rows, read_family, write_family
from tests.reports.test_app import open_app, words


@dataclass(frozen=True, slots=True)
class Made:
    run: RunLayout


@pytest.fixture
def shared(passed: Any) -> Made:
    """A family of two, both passed, with the same evidence."""
    project = ProjectLayout(passed.run.root.parent.parent)
    ledger = Ledger(project.ledger, actor="ci")
    for name in ("small", "large"):
        run = project.run(f"r1-{name}")
        shutil.copytree(passed.run.root, run.root)
        build = digest_file(run.manifest("build"))
        ledger.append(SHARED, {"run": run.name, "of": "r1", "student": name, "build": build})
    return Made(passed.run)


def sibling(made: Made, name: str) -> RunLayout:
    return RunLayout(made.run.root.with_name(f"r1-{name}"))


def family_of(made: Made) -> Family:
    found = read_family(made.run)
    assert found is not None
    return found


def test_every_student_is_set_against_its_size_and_speed(shared: Made) -> None:
    found = family_of(shared)
    assert [(s.student, s.run, s.headline.state) for s in found.students] == [
        ("small", "r1-small", "PASSED"),
        ("large", "r1-large", "PASSED"),
    ]
    assert found.students[0].parameters == 49_500_000
    assert found.students[0].tokens_per_s == (41.26, None, None)
    page = write_family(shared.run).read_text("utf-8")
    for word in ("✓ PASSED", "49.5M", "41.3", "intent_level", "2 students from one teaching set, 2 passed"):
        assert word in page
    assert page.count("<svg") == len(family_charts(found)) == 6
    assert "<script" not in page
    assert read_family(sibling(shared, "large")) == found, "from whichever run one comes"


def test_choosing_among_several_is_said_to_be_multiple_testing(shared: Made) -> None:
    found = family_of(shared)
    assert "multiple testing" in found.of_many
    assert found.confidence == 0.95
    assert "at least one of 2 such passes up to 10% of the time" in found.of_many
    assert found.of_many.split(".", maxsplit=1)[0] in write_family(shared.run).read_text("utf-8")
    assert family_object(found)["of_many"] == found.of_many


def test_what_was_not_done_is_never_shown_as_passed(shared: Made) -> None:
    for name in ("evidence", "verdicts", "student"):
        shutil.rmtree(sibling(shared, "small").root / name, ignore_errors=True)
    for stage in ("train", "evaluate"):
        sibling(shared, "small").manifest(stage).unlink()
    found = family_of(shared)
    small = found.students[0]
    assert (small.headline.state, small.headline.exit_code, small.gates) == ("NO VERDICT", None, ())
    row = family_rows(found)[0]
    assert row[1:] == ("○ NO VERDICT", "–", "–", "–", "–", "not done")
    assert {row[2] for row in family_gate_rows(found)} == {"–"}
    page = write_family(shared.run).read_text("utf-8")
    assert "○ NO VERDICT" in page
    assert "1 passed" in page
    assert found.of_many == "", "one student is no choice"


def test_a_run_that_is_gone_is_not_passed(shared: Made) -> None:
    shutil.rmtree(sibling(shared, "small").root)
    small = family_of(shared).students[0]
    assert small.headline.state == "NOT RELIABLE"
    assert "✓" not in write_family(shared.run).read_text("utf-8").split("r1-large")[0]


@pytest.mark.parametrize("what", ["evidence", "verdict", "build", "ledger"])
def test_what_does_not_hold_never_looks_good(shared: Made, what: str) -> None:
    small = sibling(shared, "small")
    if what == "evidence":
        path = small.cases("holdout", "student")
        path.write_bytes(path.read_bytes() + b" ")
    elif what == "verdict":
        small.verdict("gates").write_text("{", encoding="utf-8")
    elif what == "build":
        path = small.manifest("build")
        path.write_text(path.read_text("utf-8").replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    else:
        ledger = ProjectLayout(shared.run.root.parent.parent).ledger
        ledger.write_text(ledger.read_text("utf-8").replace('"small"', '"smell"'), encoding="utf-8")
    found = read_family(shared.run)
    assert found is not None
    page = write_family(shared.run).read_text("utf-8")
    if what == "ledger":
        assert found.problems
        assert found.students == ()
        assert "✓" not in page
    else:
        assert found.students[0].headline.state == "NOT RELIABLE"
        assert found.students[0].problems
        assert not [gate for gate in found.students[0].gates if gate.shown.startswith("✓")]
        assert found.students[1].headline.state == "PASSED"


def test_a_run_that_cannot_exist_is_a_problem_and_no_path(shared: Made) -> None:
    ledger = Ledger(ProjectLayout(shared.run.root.parent.parent).ledger, actor="ci")
    ledger.append(SHARED, {"run": "../../away", "of": "r1", "student": "<b>", "build": ""})
    found = family_of(shared)
    assert len(found.students) == 2
    assert "cannot exist" in found.problems[0]


def test_a_run_without_a_family_says_so(passed: Any) -> None:
    assert read_family(passed.run) is None
    page = write_family(passed.run).read_text("utf-8")
    assert "no student shares the teaching set of run r1" in page
    assert "✓" not in page
    assert passed.run.is_page(passed.run.family)


def test_the_app_shows_the_family(shared: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("streamlit", reason="the report extra is not installed")
    app = open_app(shared, monkeypatch, "app_pages/family.py")
    assert not app.exception
    shown = words(app)
    for word in ("small (run r1-small)", "large (run r1-large)", "multiple testing", "49.5M"):
        assert word in shown


@given(
    st.lists(
        st.tuples(
            st.floats(1, 1e12), st.none() | st.floats(0, 1), st.floats(-1, 1), st.none() | st.floats(0, 1), st.text(max_size=5)
        ),
        min_size=1,
        max_size=5,
    ),
    st.floats(-1, 1),
)
def test_a_chart_of_anything_is_finite_and_escaped(rows: list[tuple[Any, ...]], limit: float) -> None:
    points = [
        Point(
            name + "<",
            (x, None if dx is None else x * (1 - dx), None if dx is None else x * (1 + dx)),
            (y, None if dy is None else y - dy, None if dy is None else y + dy),
        )
        for x, dx, y, dy, name in rows
    ]
    chart = scatter(points, title="t", along="parameters", unit="share", difference=True, limit=limit, ident="i")
    numbers = [float(n) for n in re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy)="([^"]*)"', chart)]
    assert numbers
    assert all(math.isfinite(n) and -200 < n < 600 for n in numbers)
    assert "<<" not in chart
    assert chart.count("<circle") == len(points)
