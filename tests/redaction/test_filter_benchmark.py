"""The pieces of benchmarks/filters.py: the naive ways find what the filters find, and the written replies are what they say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from redaction.filters import decide_all, prompt_filters
from redaction.filters.policy import NearDuplicatePolicy
from redaction.filters.refusals import refuses
from redaction.filters.repetition import gopher_repetition
from redaction.filters.similarity import near_duplicates
from redaction.filters.wording import forbidden
from redaction.policy import RedactionPolicy
from tests.benchmarks import load_benchmark


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    return load_benchmark(repository, "filters")


def test_the_naive_ways_find_the_same(bench: ModuleType, policy: RedactionPolicy) -> None:
    prompts, answers = bench.items(60)
    prompts.append(type(prompts[0])("u", prompts[3].text + "!"))
    near = NearDuplicatePolicy()
    assert bench.naive_near_duplicates(prompts, near) == set(near_duplicates(((i.id, i.text) for i in prompts), near)) == {"u"}
    replies = [i.reply_text for i in answers] + ["We  guarantee it.", "a guaranteed b", "the b " * 30, "said twice " * 2]
    assert [bench.naive_gopher(r) for r in replies] == [bool(list(gopher_repetition(r))) for r in replies]
    assert any(map(bench.naive_gopher, replies))
    assert [bench.naive_forbidden(r) for r in replies] == [bool(list(forbidden(bench.PHRASES)(r))) for r in replies]
    assert any(map(bench.naive_forbidden, replies))


def test_everything_is_on_in_its_policy(bench: ModuleType, policy: RedactionPolicy) -> None:
    filters = bench.every_filter()
    for part in (filters.prompts, filters.answers):
        assert all(rule.on for name in type(part).model_fields if hasattr(rule := getattr(part, name), "on"))
    prompts, _ = bench.items(3)
    every = prompt_filters(policy.model_copy(update={"filters": filters}), prompts, [])
    assert len(every) == 10
    assert [one.deciding for one in decide_all(every, prompts)] == [None] * 3


def test_half_of_the_written_replies_was_kept_from_tuning(bench: ModuleType) -> None:
    rows = bench._jsonl(bench.HERE / "data" / "refusals.jsonl")
    assert len({r["id"] for r in rows}) == len({r["reply"] for r in rows}) == 100
    assert Counter(r["half"] for r in rows) == {"tuning": 50, "held": 50}
    assert {(r["refuses"], r["hazardous"]) for r in rows} == {(a, b) for a in (True, False) for b in (True, False)}


def test_refusals_are_found(bench: ModuleType) -> None:
    """Figures of the run that docs/filters.md quotes; a change of the patterns that loses them has to say so there."""
    found = bench.qualities()
    assert found["refusals, held half"]["recall"]["value"] == 0.88
    assert found["refusals, held half"]["precision"]["value"] == 1.0
    assert found["refusals, demo's replies"]["recall"]["value"] == 1.0
    assert refuses("Sorry, we cannot help with weapons.")


def test_quality_by_hand(bench: ModuleType) -> None:
    rows = [("a", True), ("a", True), ("b", True), ("a", False), ("b", False)]
    found = bench.quality(rows, lambda text: text == "a")
    assert (found["n"], found["positive"]) == (5, 3)
    assert (found["precision"]["value"], found["recall"]["value"]) == (0.667, 0.667)
    assert bench.quality([], lambda text: True)["recall"] is None
