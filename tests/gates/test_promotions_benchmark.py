"""benchmarks/promotions.py: its students are what they are said to be, and it would notice a gate that lets them through."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.calibration import calibration_error
from evals.ratings.agreement import alpha
from gates.policy import Policy
from tests.benchmarks import load_benchmark

BENCHMARK = load_benchmark(Path(__file__).parents[2], "promotions")
DEMO = tuple(sorted(BENCHMARK.DEMO_SIZES.items()))


@pytest.fixture(scope="module")
def promotions() -> ModuleType:
    return BENCHMARK


@pytest.fixture(scope="module")
def policy() -> Policy:
    found: Policy = BENCHMARK.example("gates")
    return found


def simulated(scenario: str, count: int, judge: Any = BENCHMARK.judged, sizes: Any = DEMO, planned: bool = False) -> Any:
    """A row of the table."""
    policy = BENCHMARK.example("gates")
    counts = BENCHMARK.simulate(BENCHMARK.Chunk("gates", policy.digest, sizes, scenario, 0, count), judge)
    return BENCHMARK.row(scenario, policy, planned, counts)


# --- the truth is what is said


@given(
    rate=st.floats(0.001, 0.999),
    difference=st.floats(-0.3, 0.3),
    discordant=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_pairs_have_the_rates_and_disagree_as_often_as_asked(rate: float, difference: float, discordant: float) -> None:
    difference = min(max(difference, rate - 1), rate)
    rng, n = np.random.default_rng(1), 20_000
    has, other = BENCHMARK.pairs(rng, (rng.random(n) < rate, rate), difference, discordant)
    share = max(abs(difference), min(discordant, 2 * rate - difference, 2 - 2 * rate + difference))
    assert has.mean() - other.mean() == pytest.approx(difference, abs=0.025)
    assert (has != other).mean() == pytest.approx(share, abs=0.025)


@pytest.mark.parametrize("name", ["gates", "gates.bank"])
def test_every_truth_is_drawn_as_it_is(promotions: ModuleType, name: str) -> None:
    policy, n = promotions.example(name), 40_000
    for scenario, (truth, _) in promotions.scenarios(policy).items():
        rng = np.random.default_rng(2)
        sure, right = promotions.confidences(rng, truth, n)
        ours, theirs = promotions.pairs(rng, (right, truth.intent), truth.intent_difference, truth.intent_discordant)
        mine, its = promotions.matches(rng, truth, ours, theirs)
        student, teacher = promotions.ratings(rng, truth, n // 4)
        drawn = {
            "accuracy.intent": (right.mean(), ours.mean() - theirs.mean()),
            "exact_match": (None, mine.mean() - its.mean()),
            "calibration_error.intent": (calibration_error(sure, right.astype(float)), None),
            "confidence_gap.intent": (abs(sure.mean() - right.mean()), None),
            "helpfulness": (None, student.mean() - teacher.mean()),
            "rater_agreement": (alpha(student, resamples=1).value, None),
        }
        assert not (mine & ~ours).any(), scenario  # a match has the intent right
        assert (mine != its).mean() == pytest.approx(truth.match_discordant, abs=0.01)
        assert {student.min(), student.max(), teacher.min(), teacher.max()} <= {1, 2, 3, 4, 5}
        for rule in promotions.rules(policy):
            value = drawn.get(rule.metric, (None, None))[rule.statistic == "difference"]
            if value is not None:
                wide = 0.03 if rule.metric in ("helpfulness", "rater_agreement") else 0.012
                assert value == pytest.approx(truth.value(rule), abs=wide), (scenario, rule.id)


def test_good_and_bad_are_told_by_the_policy(promotions: ModuleType) -> None:
    kinds = {}
    for name in ("gates", "gates.bank"):
        policy = promotions.example(name)
        kinds[name] = {
            scenario: promotions.kind(truth, policy) for scenario, (truth, _) in promotions.scenarios(policy).items()
        }
    # Two in a hundred are fine for the demo and too many for a bank.
    assert (kinds["gates"].pop("violates at 2 %"), kinds["gates.bank"].pop("violates at 2 %")) == ("good", "bad")
    assert kinds["gates"] == kinds["gates.bank"]
    assert {s for s, k in kinds["gates"].items() if k != "bad"} == {
        "good, as the plan assumes", "better than the teacher", "evidence broken",
    }  # fmt: skip
    worse = replace(promotions.good_student(promotions.example("gates")), refusals=0.05)
    assert promotions.kind(worse, promotions.example("gates")) == "between"


def test_each_bad_student_is_bad_at_the_gate_meant_for_it(promotions: ModuleType, policy: Policy) -> None:
    meant = {}
    for scenario, (truth, gate) in promotions.scenarios(policy).items():
        if promotions.kind(truth, policy) == "bad":
            rule = next(rule for rule in policy.gates if rule.id == gate)
            assert truth.value(rule) == pytest.approx(rule.threshold), scenario
            meant[gate] = scenario
    assert set(meant) == {rule.id for rule in promotions.rules(policy)}


# --- it would notice


@pytest.mark.parametrize("how", list(BENCHMARK.BREAKS))
def test_broken_evidence_blocks_who_would_pass(promotions: ModuleType, policy: Policy, how: str) -> None:
    sizes = dict(DEMO)
    truth = replace(
        promotions.good_student(policy), intent=0.9, intent_difference=0.05, match_difference=0.05, shift=0.0, invalid=0.001,
        violations=0.001, refusals=0.001, pii=0.0, helpfulness_difference=0.2,
    )  # fmt: skip
    rows = promotions.evidence(np.random.default_rng(3), truth, sizes)
    assert promotions.judged(policy, rows, sizes).decision == "PASSED"
    broken = promotions.broken(rows, list(promotions.BREAKS).index(how))
    assert promotions.judged(policy, broken, sizes).decision == "BLOCKED"


def without(policy: Policy, gate: str) -> Policy:
    gates = tuple(g.model_copy(update={"required": False}) if g.id == gate else g for g in policy.gates)
    return replace(policy, gates=gates)


def turned_round(policy: Policy, gate: str) -> Policy:
    gates = tuple(g.model_copy(update={"limit": 1 - (g.limit or 0)}) if g.id == gate else g for g in policy.gates)
    return replace(policy, gates=gates)


@pytest.mark.parametrize("spoil", [without, turned_round], ids=["left out", "turned round"])
def test_a_gate_that_does_not_bite_is_noticed(
    promotions: ModuleType, policy: Policy, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Policy, str], Policy]
) -> None:
    gate, scenario = "violations", "violates at the limit"
    # Those that cost no bootstrap; the others are good here anyway.
    few = replace(policy, gates=tuple(g for g in policy.gates if g.id in (gate, "violations_not_worse", "over_refusal")))

    def judged_under(given: Policy) -> Any:
        monkeypatch.setattr(promotions, "registered", lambda name: given.rules_digest)
        return simulated(scenario, 24, lambda _, rows, sizes: promotions.judged(given, rows, sizes))

    assert judged_under(few)["missed"] == []
    found = judged_under(spoil(few, gate))
    assert "promoted too often" in found["missed"]
    assert ("its gate passes too often" in found["missed"]) == (spoil is turned_round)


def test_gates_that_nobody_passes_are_noticed_too(promotions: ModuleType, policy: Policy) -> None:
    counts = {"students": 40, "promoted": 22}
    assert promotions.row("good, as the plan assumes", policy, True, counts)["missed"] == ["passes too seldom"]
    assert promotions.row("good, as the plan assumes", policy, False, counts)["missed"] == []
    assert promotions.row("good, as the plan assumes", policy, True, {**counts, "promoted": 28})["missed"] == []
    broken = promotions.row("evidence broken", policy, False, {"students": 40, "promoted": 1})
    assert broken["missed"] == ["promoted on broken evidence"]


# --- the table


def test_the_tables_shape_and_that_a_stopped_run_goes_on(
    promotions: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = {"policy": "gates", "where": "demo", "sizes": dict(DEMO), "planned": 0.37, "students": 1}
    monkeypatch.setattr(promotions, "tables", lambda students: [dict(table)])
    keep = tmp_path / "kept.jsonl"
    stopped = promotions.measured(1, 1, keep, minutes=0.0)
    assert stopped["students"] == 4
    assert len(keep.read_text().splitlines()) == 1
    found = promotions.measured(1, 1, keep)
    names = [row["scenario"] for row in found["tables"][0]["rows"]]
    assert names == list(promotions.scenarios(promotions.example("gates")))
    assert found["students"] == len(names) + 3  # four of the good
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    shown = promotions.show(found)
    assert all(name in shown for name in names)
    assert "demo's cases" in shown
    # Nothing is simulated twice.
    monkeypatch.setattr(promotions, "simulate", None)
    assert promotions.measured(1, 1, keep)["tables"] == found["tables"]


def test_a_table_a_policy_and_size(promotions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Planned:
        joint = 0.0
        joint_needed = dict(DEMO)  # noqa: RUF012

    monkeypatch.setattr(promotions, "plan", lambda policy, sizes: Planned)
    found = promotions.tables(10_000)
    assert [(t["policy"], t["where"]) for t in found] == [(p, w) for p in ("gates", "gates.bank") for w in ("demo", "plan")]
    # Where nobody can pass a few are enough to show it.
    assert found[0]["students"] * 10 < found[1]["students"] == found[3]["students"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario",
    [
        "violates more by the margin",
        "less helpful by the margin",
        "raters agree at the limit",
        "miscalibrated at the limit",
        "exact match worse by the margin",
    ],
)
def test_bad_students_that_come_nearest_are_kept_back(scenario: str) -> None:
    found = simulated(scenario, 50)
    assert (found["kind"], found["missed"]) == ("bad", []), found


@pytest.mark.slow
def test_a_good_student_passes_all_gates_at_the_cases_that_the_plan_asks_for(promotions: ModuleType, policy: Policy) -> None:
    asked = promotions.plan(policy, promotions.DEMO_SIZES).joint_needed
    found = simulated("good, as the plan assumes", 60, sizes=tuple(sorted(asked.items())), planned=True)
    assert (found["kind"], found["missed"]) == ("good", []), found
    assert found["rate"] > simulated("good, as the plan assumes", 40)["rate"]
