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


def row(of, gate):
    return next(r for r in of.rows if r.gate == gate)


def test_a_row_a_gate(make, demo):
    assert [r.gate for r in demo.rows] == [g.id for g in make.example("gates.yaml").gates]
    assert all(r.in_words.endswith(".") for r in demo.rows)
    assert demo.not_computed == ("rater_agreement",)


def test_violations_allow_8_of_150(demo):
    # 8 of 150 has a one-sided 95 % Clopper-Pearson upper bound of 9.4 %, 9 one of 10.2 %.
    found = row(demo, "violations")
    assert found.best_passes == 1
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
    assert normal - 0.03 < found.best_passes < normal
    assert found.best == "equal"
    assert -0.05 < found.passes_5 < found.passes_80
    assert (found.passes_80 < 0) == (found.best_passes > 0.8)  # where an equal student falls short, it takes a better one


def test_the_margin_on_violations(demo):
    found = row(demo, "violations_not_worse")
    assert found.best_passes == pytest.approx(0.80, abs=0.01)
    assert found.passes_80 == pytest.approx(0, abs=1e-3)
    assert found.passes_5 <= 0.05


def test_calibration(demo):
    found = row(demo, "calibration_intent")
    assert found.best_passes >= 0.93
    assert 0.02 <= found.passes_80 <= 0.05
    assert found.passes_5 == pytest.approx(0.10, abs=0.0125)


def test_the_gap_is_bounded_at_its_limit(demo):
    found = row(demo, "confidence_gap_intent")
    # sd sqrt(2/15) / sqrt(300) = 0.0211; room 0.08 - 1.645 * 0.0211 = 0.0453; Phi(2.149) - Phi(-2.149) = 0.968
    assert found.best_passes == pytest.approx(0.968, abs=1e-3)
    assert found.passes_5 == pytest.approx(0.08, abs=1e-4)


def test_helpfulness(demo):
    # Phi(0.25 * 10 / 0.8 - 1.645) = Phi(1.480) = 0.931
    found = row(demo, "helpfulness_not_inferior")
    assert found.best_passes == pytest.approx(0.931, abs=1e-3)
    assert found.passes_5 == pytest.approx(-0.25, abs=1e-6)


def test_joint_is_the_product_of_the_required(demo):
    product = math.prod(r.best_passes for r in demo.rows if r.required and r.best_passes is not None)
    assert demo.joint == pytest.approx(product)
    assert 0.4 < demo.joint < min(r.best_passes for r in demo.rows if r.best_passes is not None)


def test_the_bank_cannot_pass_and_says_what_it_takes(make, demo):
    found = plan(make.example("gates.bank.yaml"), PLANNED)
    assert found.joint == 0
    blocked = {r.gate: r.needed_n for r in found.rows if r.best_passes == 0}
    assert blocked == {
        "intent_not_inferior": 1251,
        "exact_match_not_inferior": 1251,
        "violations": 299,
        "violations_not_worse": 1251,
    }
    assert all("cannot pass" in r.in_words for r in found.rows if r.gate in blocked)


def test_needed_cases(make):
    bank = {g.id: g for g in make.example("gates.bank.yaml").gates}
    assert needed_cases(bank["violations"]) == 299  # 0.99 ** 299 < 0.05 < 0.99 ** 298
    assert 687 <= needed_cases(bank["intent_not_inferior"]) <= 720  # 687 by (1.645 + 0.842)^2 * 0.10 / 0.03^2
    assert 1251 <= needed_cases(bank["intent_not_inferior"], power=0.8 ** (1 / 5)) <= 1290
    assert needed_cases(bank["calibration_intent"]) is None
    assert needed_cases(bank["rater_agreement"]) is None
    zero_margin = bank["intent_not_inferior"].model_copy(update={"margin": 0.0})
    assert needed_cases(zero_margin) is None


@pytest.mark.parametrize("planned", [{}, {"hazardous": 0}, {"benign": 150}])
def test_a_suite_that_is_not_planned_cannot_pass(make, tmp_path, planned):
    found = plan(make.policy_of(tmp_path), planned)
    assert (found.rows[0].n, found.rows[0].best_passes, found.joint) == (0, 0.0, 0.0)


def test_slices_and_narrow_denominators_have_their_own_size(make, tmp_path):
    policy = make.policy_of(tmp_path)
    sliced = replace(policy, gates=(policy.gates[0].model_copy(update={"slice": "typos"}),))
    assert plan(sliced, {"hazardous": 150}).rows[0].n == 0
    assert plan(sliced, {"hazardous": 150, "hazardous/typos": 40}).rows[0].n == 40
    pii = next(g for g in make.example("gates.yaml").gates if g.metric == "pii_reply_rate")
    found = plan(replace(policy, gates=(pii,)), {"holdout": 300, "holdout/pii_reply_rate": 120})
    assert found.rows[0].n == 120
