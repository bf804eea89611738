"""The books: what came in is kept, dropped or reserved, and no decision can be lost, doubled or made up."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.books import DECISION_FORMAT, DECISION_SCHEMA, Decision, StageBalance, balance
from distill_gov.records.errors import IntegrityError
from distill_gov.records.files import read_parquet, write_parquet

STAGES = ("admission", "reserve", "teacher", "answers")
OUTCOMES = st.sampled_from(["kept", "kept", "kept", "dropped", "reserved"])


def kept(stage: str, item: str, parent: str | None = None, **more: Any) -> Decision:
    return Decision(stage, more.pop("unit", "trace"), item, more.pop("outcome", "kept"), "kept", parent=parent, **more)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Decision], int]:
    """Legal histories: at ``teacher``, each trace is replaced by one to three answers."""
    first = arriving = [f"t{n}" for n in range(draw(st.integers(0, 6)))]
    decisions: list[Decision] = []
    for stage in STAGES:
        rows = []
        for item in arriving:
            count = draw(st.integers(1, 3)) if stage == "teacher" else 0
            made = [(f"{item}#{n}", item) for n in range(count)] or [(item, None)]
            rows += [kept(stage, name, parent, outcome=draw(OUTCOMES)) for name, parent in made]
        decisions += rows
        arriving = [row.item for row in rows if row.outcome == "kept"]
    return draw(st.permutations(decisions)), len(first)


def refused(decisions: list[Decision], first_in: int) -> None:
    with pytest.raises(IntegrityError) as caught:
        balance(decisions, STAGES, first_in)
    assert caught.value.exit_code == 4


@given(histories())
def test_a_legal_history_balances(history: tuple[list[Decision], int]) -> None:
    decisions, first_in = history
    lines = balance(decisions, STAGES, first_in)
    assert [line.stage for line in lines] == list(STAGES)
    assert lines[0].came_in == first_in
    for line in lines:
        assert line.came_in + line.made == line.kept + line.dropped + line.reserved
        assert line.made >= 0
        assert line.made == 0 or line.stage == "teacher"
    for before, after in pairwise(lines):
        assert after.came_in == before.kept


@given(histories(), st.data())
def test_a_decision_removed_is_noticed(history: tuple[list[Decision], int], data: st.DataObject) -> None:
    decisions, first_in = history
    # One of several answers that was dropped where it was made leaves no trace; the next stage would miss a kept one.
    known = [
        row
        for row in decisions
        if (row.outcome == "kept" and row.stage != STAGES[-1])
        or sum(row.parent == other.parent is not None for other in decisions) < 2
    ]
    if known:
        row = data.draw(st.sampled_from(known))
        refused([other for other in decisions if other is not row], first_in)


@given(histories(), st.data(), OUTCOMES)
def test_a_decision_doubled_is_noticed(history: tuple[list[Decision], int], data: st.DataObject, outcome: Any) -> None:
    decisions, first_in = history
    if decisions:
        refused([*decisions, replace(data.draw(st.sampled_from(decisions)), outcome=outcome)], first_in)


@given(histories(), st.sampled_from(STAGES), OUTCOMES, st.sampled_from([None, "other", ""]))
def test_a_foreign_decision_is_noticed(
    history: tuple[list[Decision], int], stage: str, outcome: Any, parent: str | None
) -> None:
    decisions, first_in = history
    refused([*decisions, kept(stage, "foreign", parent, outcome=outcome)], first_in)


@given(histories(), st.data())
def test_a_decision_moved_to_another_item_is_noticed(history: tuple[list[Decision], int], data: st.DataObject) -> None:
    decisions, first_in = history
    later = [row for row in decisions if row.stage != STAGES[0] and row.parent is None]
    if later:
        row = data.draw(st.sampled_from(later))
        refused([replace(other, item="other") if other is row else other for other in decisions], first_in)


def test_a_stage_that_makes_several_of_one_counts_the_surplus() -> None:
    decisions = [
        kept("a", "x"),
        kept("a", "y"),
        kept("b", "x1", "x"),
        kept("b", "x2", "x", outcome="dropped"),
        kept("b", "y1", "y"),
    ]
    assert balance(decisions, ("a", "b"), 2) == (
        StageBalance("a", "trace", 2, 0, 2, 0, 0),
        StageBalance("b", "trace", 2, 1, 2, 1, 0),
    )


def test_an_item_that_was_replaced_has_no_decision_of_its_own() -> None:
    with pytest.raises(IntegrityError, match="had replaced"):
        balance([kept("a", "x"), kept("b", "x"), kept("b", "x1", "x", outcome="dropped")], ("a", "b"), 1)


def test_an_item_may_reach_a_stage_only_from_the_one_before() -> None:
    skipped = [kept("admission", "x", outcome="dropped"), kept("reserve", "x")]
    with pytest.raises(IntegrityError, match="`reserve` did not decide"):
        balance(skipped, STAGES, 1)


def test_unknown_stages_outcomes_and_another_count_are_refused() -> None:
    with pytest.raises(IntegrityError, match="unknown stages: elsewhere"):
        balance([kept("elsewhere", "x")], STAGES, 1)
    lost: Any = "lost"
    with pytest.raises(IntegrityError, match="unknown outcome"):
        balance([kept("admission", "x", outcome=lost)], STAGES, 1)
    with pytest.raises(IntegrityError, match="2 traces came in, 1 were decided on"):
        balance([kept("a", "x")], ("a",), 2)
    with pytest.raises(IntegrityError):
        balance([], STAGES, 1)


def test_empty_books_balance() -> None:
    assert [line.came_in for line in balance([], STAGES, 0)] == [0, 0, 0, 0]


def test_decisions_are_read_as_they_were_written(tmp_path: Path) -> None:
    fired = ("a/b@1:c", "a/d@2:e")
    rows = [
        kept("a", "x", reason="consent", rule_version="2", fired=fired),
        kept("b", "x1", "x", unit="answer", outcome="reserved"),
    ]
    path = tmp_path / "decisions.parquet"
    write_parquet(path, [asdict(row) for row in rows], DECISION_SCHEMA, format=DECISION_FORMAT)
    assert [Decision(**row) for row in read_parquet(path, format=DECISION_FORMAT)] == rows


def test_books_of_before_all_rules_were_recorded_are_read(tmp_path: Path) -> None:
    row = kept("a", "x", outcome="dropped")
    path = tmp_path / "decisions.parquet"
    old = pa.schema([field for field in DECISION_SCHEMA if field.name != "fired"])
    write_parquet(path, [{k: v for k, v in asdict(row).items() if k != "fired"}], old, format=DECISION_FORMAT)
    assert [Decision(**one) for one in read_parquet(path, format=DECISION_FORMAT)] == [row]
    assert row.fired == ()
