"""Plan figures against the closed forms and tables of the literature."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy.stats import binom, norm

from gates.plan import needed_cases, plan

PLANNED = {"holdout": 300, "hazardous": 150, "benign": 150, "format": 600, "ratings": 100}


@pytest.fixture(scope="module")
def demo(make):
    return plan(make.example("gates.yaml"), PLANNED)


@pytest.fixture(scope="module")
def only(make):
    """The demo's policy with one gate, changed."""

    def made(gate, **changes):
        policy = make.example("gates.yaml")
        return replace(policy, gates=(next(g for g in policy.gates if g.id == gate).model_copy(update=changes),))

    return made


def row(of, gate):
    return next(r for r in of.rows if r.gate == gate)


def test_a_row_a_gate(make, demo):
    assert [r.gate for r in demo.rows] == [g.id for g in make.example("gates.yaml").gates]
    assert all(r.in_words.endswith(".") for r in demo.rows)
    assert demo.not_computed == ()


def test_violations_allow_8_of_150(demo):
    # 8 of 150 has a one-sided 95 % Clopper-Pearson upper bound of 9.4 %, 9 one of 10.2 %.
    found = row(demo, "violations")
    assert (found.good, found.good_value) == ("assumed", 0.03)
    assert found.good_passes == pytest.approx(binom.cdf(8, 150, 0.03))
    assert binom.cdf(8, 150, found.passes_80) == pytest.approx(0.80, abs=1e-6)
    assert binom.cdf(8, 150, found.passes_5) == pytest.approx(0.05, abs=1e-6)
    assert found.passes_5 < 0.10


def test_schema_validity_allows_10_of_600(demo):
    found = row(demo, "schema_valid")
    assert binom.cdf(10, 600, 1 - found.passes_80) == pytest.approx(0.80, abs=1e-6)
    assert 0.97 < found.passes_5 < found.passes_80 < 1


def test_personal_data_allows_none_of_100(demo):
    found = row(demo, "pii_in_replies")
    assert found.n == 100  # of 300 messages, those that carry personal data
    assert found.passes_80 == pytest.approx(1 - 0.8 ** (1 / 100))


@pytest.mark.parametrize(("discordant", "normal"), [(0.10, 0.863), (0.15, 0.723)])
def test_intent_not_inferior_by_5_points_at_300(make, discordant, normal):
    # Normal approximation: Phi(margin * sqrt(n / discordant) - 1.645). Tango's exact chance lies a little under it.
    assert float(norm.cdf(0.05 * math.sqrt(300 / discordant) - norm.ppf(0.95))) == pytest.approx(normal, abs=1e-3)
    policy = make.example("gates.yaml")
    rule = policy.gates[0].model_copy(update={"assumed_discordant": discordant})
    found = plan(replace(policy, gates=(rule,)), PLANNED).rows[0]
    assert normal - 0.03 < found.good_passes < normal
    assert found.good == "equal"
    assert -0.05 < found.passes_5 < found.passes_80
    assert (found.passes_80 < 0) == (found.good_passes > 0.8)  # where an equal student falls short, it takes a better one


def test_the_margin_on_violations(demo):
    found = row(demo, "violations_not_worse")
    assert found.good_passes == pytest.approx(0.80, abs=0.01)
    assert found.passes_80 == pytest.approx(0, abs=1e-3)
    assert found.passes_5 <= 0.05


def test_calibration(demo):
    found = row(demo, "calibration_intent")
    assert 0.85 <= found.good_passes <= 0.98  # at a true error of 0.02
    assert 0.02 <= found.passes_80 <= 0.05
    assert found.passes_5 == pytest.approx(0.10, abs=0.0125)


def test_the_gap_is_bounded_at_its_limit(demo, only):
    found = row(demo, "confidence_gap_intent")
    # sd sqrt(2/15) / sqrt(300) = 0.0211; room 0.08 - 1.645 * 0.0211 = 0.0453; Phi(2.149) - Phi(-2.149) = 0.968
    # A student without a gap; at the assumed 0.02, Phi((0.0453 - 0.02) / 0.0211) = 0.884.
    assert plan(only("confidence_gap_intent", assumed_value=None), PLANNED).rows[0].good_passes == pytest.approx(
        0.968, abs=1e-3
    )
    assert found.good_passes == pytest.approx(0.884, abs=1e-3)
    assert found.passes_5 == pytest.approx(0.08, abs=1e-4)


def test_helpfulness(demo):
    # Phi(0.25 * 10 / 0.8 - 1.645) = Phi(1.480) = 0.931
    found = row(demo, "helpfulness_not_inferior")
    assert found.good_passes == pytest.approx(0.931, abs=1e-3)
    assert found.passes_5 == pytest.approx(-0.25, abs=1e-6)


def test_joint_is_the_product_of_the_required(demo):
    product = math.prod(r.good_passes for r in demo.rows if r.required and r.good_passes is not None)
    assert demo.joint == pytest.approx(product)
    assert 0.3 < demo.joint < min(r.good_passes for r in demo.rows if r.required and r.good_passes is not None)


def test_the_bank_cannot_pass_and_says_what_it_takes(make, demo):
    found = plan(make.example("gates.bank.yaml"), PLANNED)
    assert found.joint == 0
    blocked = {r.gate: r.needed_n for r in found.rows if r.good_passes == 0}
    assert blocked == {
        "intent_not_inferior": 1251,
        "exact_match_not_inferior": 1251,
        "violations": 473,  # at a true rate of 0.1 %: one of 473 is within 1 %, and two come up 8 % of the time
        "violations_not_worse": 1251,
    }
    assert all("cannot pass" in r.in_words for r in found.rows if r.gate in blocked)


def test_needed_cases(make):
    bank = {g.id: g for g in make.example("gates.bank.yaml").gates}
    perfect = bank["violations"].model_copy(update={"assumed_value": None})
    assert needed_cases(perfect) == 299  # 0.99 ** 299 < 0.05 < 0.99 ** 298
    assert needed_cases(bank["violations"]) == 473
    assert 687 <= needed_cases(bank["intent_not_inferior"]) <= 720  # 687 by (1.645 + 0.842)^2 * 0.10 / 0.03^2
    assert 1251 <= needed_cases(bank["intent_not_inferior"], power=0.8 ** (1 / 5)) <= 1290
    assert needed_cases(bank["calibration_intent"]) is None
    # ((1.645 + 0.842) / (atanh 0.65 - atanh 0.4))^2 + 1.5 = (2.487 / 0.3517)^2 + 1.5
    assert needed_cases(bank["rater_agreement"]) == 52
    zero_margin = bank["intent_not_inferior"].model_copy(update={"margin": 0.0})
    assert needed_cases(zero_margin) is None


@pytest.mark.parametrize("planned", [{}, {"hazardous": 0}, {"benign": 150}])
def test_a_suite_that_is_not_planned_cannot_pass(make, tmp_path, planned):
    found = plan(make.policy_of(tmp_path), planned)
    assert (found.rows[0].n, found.rows[0].good_passes, found.joint) == (0, 0.0, 0.0)


def test_slices_and_narrow_denominators_have_their_own_size(make, tmp_path):
    policy = make.policy_of(tmp_path)
    sliced = replace(policy, gates=(policy.gates[0].model_copy(update={"slice": "typos"}),))
    assert plan(sliced, {"hazardous": 150}).rows[0].n == 0
    assert plan(sliced, {"hazardous": 150, "hazardous/typos": 40}).rows[0].n == 40
    pii = next(g for g in make.example("gates.yaml").gates if g.metric == "pii_reply_rate")
    found = plan(replace(policy, gates=(pii,)), {"holdout": 300, "holdout/pii_reply_rate": 120})
    assert found.rows[0].n == 120


# --- all gates together


def test_five_gates_at_80_percent_each_pass_a_third_and_need_the_fifth_root(make):
    """The note's example: five comparisons with a margin of 3 points, one case in ten decided differently."""
    policy = make.example("gates.bank.yaml")
    rule = next(g for g in policy.gates if g.id == "intent_not_inferior")
    gates = tuple(rule.model_copy(update={"id": f"g{i}", "suite": f"s{i}", "min_n": 30}) for i in range(5))
    five = replace(policy, gates=gates)
    alone = needed_cases(rule)
    assert plan(five, {f"s{i}": alone for i in range(5)}).joint == pytest.approx(0.8**5, abs=0.01)
    found = plan(five, {f"s{i}": 300 for i in range(5)}).joint_needed
    assert set(found) == {f"s{i}" for i in range(5)}
    assert len(set(found.values())) == 1
    assert 1251 <= found["s0"] <= 1290  # (1.645 + 1.705)^2 * 0.10 / 0.03^2 = 1247 by the normal approximation
    assert 0.8 <= plan(five, found).joint < 0.81


def test_what_the_plan_asks_for_gives_80_percent(make, demo):
    asked = demo.joint_needed
    assert set(asked) == {"holdout", "holdout/pii_reply_rate", "hazardous", "benign", "format", "ratings"}
    assert all(asked[suite] >= max(g.min_n for g in make.example("gates.yaml").gates if g.suite == suite) for suite in PLANNED)
    assert 0.79 < plan(make.example("gates.yaml"), asked).joint < 0.84
    assert demo.joint < 0.8
    # None of its suites is there for nothing: fewer cases where most were added give less.
    assert plan(make.example("gates.yaml"), {**asked, "hazardous": 150}).joint < 0.75


def test_a_gate_beside_a_more_demanding_one_costs_nothing(make, only):
    alone = plan(only("exact_match_not_inferior"), PLANNED).joint_needed
    policy = make.example("gates.yaml")
    both = replace(policy, gates=tuple(g for g in policy.gates if g.id in ("intent_not_inferior", "exact_match_not_inferior")))
    found = plan(both, PLANNED).joint_needed
    # 300 is the least that either takes; without the shared suite each would need the root of 0.8.
    root = needed_cases(both.gates[0], power=0.8**0.5)
    assert alone["holdout"] == 300 <= found["holdout"] < root


def test_a_goal_that_no_number_of_cases_reaches_is_named(only):
    found = plan(only("intent_not_inferior", margin=0.0), PLANNED)
    assert (found.joint_needed, found.beyond_reach, found.not_computed) == ({}, (), ("intent_not_inferior",))
    assert "not computed" in found.rows[0].in_words
    # (2.49 * 0.8 / 0.001)^2 is about 4 million.
    found = plan(only("helpfulness_not_inferior", margin=0.001), PLANNED)
    assert (found.joint_needed, found.beyond_reach) == ({}, ("helpfulness_not_inferior",))


def test_a_mean_spreads_by_a_fifth_of_its_range(only):
    # 0.2 of 4 points is 0.8: Phi(0.25 * 10 / 0.8 - 1.645).
    assert "0.8 points" in plan(only("helpfulness_not_inferior"), PLANNED).rows[0].assumes


def test_raters_agree_as_fishers_standard_error_says(demo):
    # Phi((atanh 0.65 - atanh 0.4) sqrt(98.5) - 1.645) = Phi(0.3517 * 9.925 - 1.645) = Phi(1.845)
    assert row(demo, "rater_agreement").good_passes == pytest.approx(norm.cdf(1.845), abs=1e-3)


@pytest.mark.slow
def test_raters_agreement_passes_as_often_when_it_is_bootstrapped():
    import numpy as np

    from evals.ratings.agreement import alpha

    rng, passed, value, n, trials = np.random.default_rng(0), 0, 0.55, 100, 400
    for seed in range(trials):
        quality = rng.normal(0, math.sqrt(value), n)
        ratings = quality + rng.normal(0, math.sqrt(1 - value), (2, n))
        passed += (alpha(ratings, confidence=0.9, seed=seed).low or -1.0) >= 0.4
    expected = float(norm.cdf((math.atanh(value) - math.atanh(0.4)) * math.sqrt(n - 1.5) - norm.ppf(0.95)))
    assert passed / trials == pytest.approx(expected, abs=0.07)  # 0.60 and 0.61; three standard errors
