"""Every row of the outcome table, and every way of passing wrongly that is known from other tools."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import IntegrityError
from evals.catalogue import CONTRADICTIONS, NOTES
from gates.decide import decide_again, verify_verdict
from gates.policy import Policy
from gates.verdict import read_verdict, write_verdict

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def one(make: ModuleType, tmp_path) -> Policy:
    """A policy with one gate: violations at most 10 % of 150."""
    return make.policy_of(tmp_path)


def test_a_good_measurement_passes(make, one):
    verdict = make.verdict_of(one, make.all_good(one))
    assert (verdict.decision, verdict.exit_code) == ("PASSED", 0)
    assert [(o.outcome, o.code) for o in verdict.outcomes] == [("PASS", "within_limit")]


@pytest.mark.parametrize(
    ("low", "value", "high", "outcome", "code"),
    [
        (0.02, 0.05, 0.10, "PASS", "within_limit"),  # the limit itself is allowed
        (0.02, 0.05, math.nextafter(0.10, 1), "INCONCLUSIVE", "straddles"),
        (0.10, 0.15, 0.20, "INCONCLUSIVE", "straddles"),
        (math.nextafter(0.10, 1), 0.15, 0.20, "FAIL", "beyond_limit"),
        (None, 0.05, 0.10, "PASS", "within_limit"),
        (None, 0.15, 0.20, "INCONCLUSIVE", "straddles"),
        (0.02, 0.05, None, "INCONCLUSIVE", "undefined"),
    ],
)
def test_a_level_at_most(make, one, low, value, high, outcome, code):
    found = make.outcome_of(one, make.spoilt(one, low=low, value=value, high=high))
    assert (found.outcome, found.code) == (outcome, code)


@pytest.mark.parametrize(
    ("low", "value", "high", "outcome"),
    [
        (-0.05, 0.0, 0.05, "PASS"),
        (-0.051, 0.0, 0.05, "INCONCLUSIVE"),
        (-0.20, -0.10, -0.05, "INCONCLUSIVE"),
        (-0.20, -0.10, -0.051, "FAIL"),
        (0.02, 0.05, 0.08, "PASS"),
    ],
)
def test_a_difference_is_held_against_the_signed_margin(make, low, value, high, outcome):
    policy = make.example("gates.yaml")
    rule = policy.gates[0]
    measurement = replace(make.good(rule), low=low, value=value, high=high)
    found = make.verdict_of(replace(policy, gates=(rule,)), [measurement]).outcomes[0]
    assert (found.outcome, found.limit) == (outcome, -0.05)


def test_a_difference_of_a_bad_thing_is_held_from_above(make):
    policy = make.example("gates.yaml")
    rule = next(g for g in policy.gates if g.id == "violations_not_worse")
    policy = replace(policy, gates=(rule,))
    for high, outcome in ((0.05, "PASS"), (0.06, "INCONCLUSIVE")):
        found = make.verdict_of(policy, [replace(make.good(rule), low=-0.02, value=0.01, high=high)]).outcomes[0]
        assert (found.outcome, found.limit) == (outcome, 0.05)


@pytest.mark.parametrize("note", [*sorted(set(NOTES) - CONTRADICTIONS), "a_note_of_a_later_release"])
@pytest.mark.parametrize("with_value", [False, True])
def test_notes_that_make_a_value_unusable(make, one, note, with_value):
    """deepeval scores zero verdicts as 1; evalica gives alpha = 1 when all ratings are equal."""
    nothing = {} if with_value else {"value": None, "low": None, "high": None}
    found = make.outcome_of(one, make.spoilt(one, note=note, **nothing))
    assert (found.outcome, found.code) == ("INCONCLUSIVE", note)


@pytest.mark.parametrize("note", sorted(CONTRADICTIONS))
def test_notes_of_evidence_that_contradicts_itself(make, one, note):
    verdict = make.verdict_of(one, [make.spoilt(one, note=note, value=None, low=None, high=None)])
    assert (verdict.outcomes[0].outcome, verdict.outcomes[0].code, verdict.exit_code) == ("ERROR", note, 4)


def test_not_measured(make, one):
    found = make.outcome_of(one, None)
    assert (found.outcome, found.code) == ("INCONCLUSIVE", "absent")


def test_no_subject(make, one):
    verdict = make.verdict_of(one, make.all_good(one), subject=None)
    assert (verdict.decision, verdict.exit_code, verdict.outcomes[0].code) == ("BLOCKED", 3, "other_subject")


def test_an_evidence_file_that_is_gone(make, one):
    """measure writes a row with an empty subject where the evidence is absent."""
    gone = make.spoilt(one, subject="", value=None, low=None, high=None, n_run=0, n_scored=0, n_clusters=0, note="absent")
    assert make.outcome_of(one, gone).code == "absent"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"subject": "sha256:another"}, "other_subject"),
        ({"subject": ""}, "other_subject"),
        ({"dataset": "sha256:another"}, "other_dataset"),
        ({"dataset": ""}, "other_dataset"),
        ({"provenance": ()}, "provenance"),
        ({"provenance": ("imported",)}, "provenance"),
        ({"provenance": ("measured", "simulated")}, "simulated"),
        ({"n_planned": 149, "n_run": 149, "n_scored": 149, "n_clusters": 149}, "n_too_small"),
        ({"n_scored": 149}, "n_too_small"),
        ({"n_planned": 160}, "incomplete"),
    ],
)
def test_evidence_that_does_not_count(make, one, changes, code):
    found = make.outcome_of(one, make.spoilt(one, **changes))
    assert (found.outcome, found.code) == ("INCONCLUSIVE", code)


def test_a_suite_without_a_recorded_digest_is_foreign(make, one):
    assert make.outcome_of(one, make.spoilt(one), expected_dataset={}).code == "other_dataset"
    assert make.outcome_of(one, make.spoilt(one, dataset=""), expected_dataset={"hazardous": ""}).code == "other_dataset"


@pytest.mark.parametrize("reference", [None, "", "sha256:another"])
def test_a_foreign_reference(make, reference):
    """MLflow's min_relative_change raises TypeError, or passes, without a baseline."""
    policy = make.example("gates.yaml")
    rule = policy.gates[0]
    found = make.verdict_of(replace(policy, gates=(rule,)), [replace(make.good(rule), reference=reference)]).outcomes[0]
    assert (found.outcome, found.code) == ("INCONCLUSIVE", "other_subject")
    unknown = make.verdict_of(replace(policy, gates=(rule,)), [make.good(rule)], references={}).outcomes[0]
    assert (unknown.outcome, unknown.code) == ("INCONCLUSIVE", "other_subject")


def test_compared_with_itself(make):
    policy = make.example("gates.yaml")
    rule = policy.gates[0]
    itself = replace(make.good(rule), reference=make.student().digest)
    found = make.verdict_of(replace(policy, gates=(rule,)), [itself], references={"teacher": make.student().digest}).outcomes[0]
    assert (found.outcome, found.code) == ("ERROR", "contradictory")


@pytest.mark.parametrize("field", ["value", "low", "high"])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_numbers_that_are_none(make, one, tmp_path, field, bad):
    """MLflow passes a NaN (``nan < x`` is false); evidently's NotEqualMetricTest too."""
    verdict = make.verdict_of(one, [make.spoilt(one, **{field: bad})])
    (found,) = verdict.outcomes
    assert (found.outcome, found.code, verdict.exit_code) == ("ERROR", "non_finite", 4)
    path = tmp_path / "verdict.json"
    write_verdict(path, verdict)  # JSON has no NaN: the stored measurement leaves it out
    assert read_verdict(path) == verdict


@pytest.mark.parametrize(
    "changes",
    [
        {"low": 0.06, "value": 0.05},
        {"value": 0.05, "high": 0.04},
        {"value": 1.5, "high": 2.0},
        {"value": -0.1, "low": -0.2},
        {"value": None},
        {"n_scored": 151},
        {"n_scored": 0},
        {"n_scored": -1},
        {"n_run": 151},
        {"n_errored": 151},
        {"n_errored": -1},
        {"n_clusters": 151},
    ],
)
def test_contradictions(make, one, changes):
    verdict = make.verdict_of(one, [make.spoilt(one, **changes)])
    assert (verdict.outcomes[0].outcome, verdict.outcomes[0].code, verdict.exit_code) == ("ERROR", "contradictory", 4)


def test_two_answers_to_one_request(make, one):
    verdict = make.verdict_of(one, [make.spoilt(one), make.spoilt(one)])
    assert (verdict.outcomes[0].outcome, verdict.outcomes[0].code) == ("ERROR", "contradictory")


@pytest.mark.parametrize("changes", [{"confidence": 0.9}, {"side": "lower"}, {"method": "wilson"}, {"cluster": True}])
def test_measured_otherwise_than_asked(make, one, changes):
    """evidently #678: a threshold that was overridden was silently the default again."""
    verdict = make.verdict_of(one, [make.other_request(make.spoilt(one), **changes)])
    assert (verdict.outcomes[0].outcome, verdict.outcomes[0].code, verdict.exit_code) == ("ERROR", "request_mismatch", 4)


@pytest.mark.parametrize("changes", [{"subject": "leaky"}, {"suite": "benign"}, {"slice": "plain"}])
def test_a_measurement_of_something_else_is_none_of_this(make, one, changes):
    assert make.outcome_of(one, make.other_request(make.spoilt(one), **changes)).code == "absent"


@pytest.mark.parametrize(
    ("at", "outcome", "code"),
    [
        ("2026-11-21T12:00:00Z", "PASS", "within_limit"),
        ("2026-11-12T12:00:00Z", "PASS", "within_limit"),
        ("2026-11-12T11:59:59Z", "INCONCLUSIVE", "stale"),
        ("", "INCONCLUSIVE", "stale"),
        ("yesterday", "INCONCLUSIVE", "stale"),
        ("2026-11-21T12:00:00", "INCONCLUSIVE", "stale"),  # no zone, so no age
        ("2026-11-22T12:00:01Z", "ERROR", "contradictory"),
    ],
)
def test_age(make, tmp_path, at, outcome, code):
    text = make.HEADERS + make.VIOLATIONS.replace("    min_n", "    max_age_days: 10\n    min_n")
    policy = make.policy_of(tmp_path, text)
    found = make.outcome_of(policy, make.spoilt(policy, at=at))
    assert (found.outcome, found.code) == (outcome, code)


def test_too_few_cases_says_how_many_it_takes(make, one):
    small = make.spoilt(one, n_planned=20, n_run=20, n_scored=20, n_clusters=20)
    found = make.outcome_of(one, small)
    assert found.code == "n_too_small"
    assert found.needed_n == 150
    assert "150" in found.reason


@pytest.mark.parametrize(("attempt", "decision"), [(1, "PASSED"), (5, "PASSED"), (6, "BLOCKED"), (1000, "BLOCKED")])
def test_attempts(make, attempt, decision):
    policy = make.example("gates.yaml")
    verdict = make.verdict_of(policy, make.all_good(policy), attempt=attempt)
    assert verdict.decision == decision
    if decision == "BLOCKED":
        assert {(o.outcome, o.code) for o in verdict.outcomes} == {("INCONCLUSIVE", "attempts_exhausted")}
        assert f"attempt {attempt} of 5" in verdict.outcomes[0].reason
        assert verdict.exit_code == 3


@pytest.mark.parametrize("attempt", [0, -1])
def test_an_attempt_that_was_never_counted(make, one, attempt):
    assert make.verdict_of(one, make.all_good(one), attempt=attempt).exit_code == 4


@pytest.mark.parametrize(("registered", "says"), [("", "was not registered"), ("sha256:other", "are not those registered")])
def test_what_was_not_registered_before_the_holdout_was_opened_is_an_error(make, registered, says):
    policy = make.example("gates.yaml")
    verdict = make.verdict_of(policy, make.all_good(policy), registered=registered, attempt=9)
    assert (verdict.decision, verdict.exit_code) == ("BLOCKED", 4)
    assert {(o.outcome, o.code) for o in verdict.outcomes} == {("ERROR", "not_registered")}
    assert says in verdict.outcomes[0].reason
    assert "new run name" in verdict.outcomes[0].reason
    verify_verdict(verdict, policy, make.all_good(policy))
    with pytest.raises(IntegrityError):
        verify_verdict(replace(verdict, registered=policy.rules_digest), policy, make.all_good(policy))


def test_a_run_in_which_nothing_was_measured_has_nothing_to_register(make):
    policy = make.example("gates.yaml")
    verdict = make.verdict_of(policy, [], registered="", subject=None)
    assert {(o.outcome, o.code) for o in verdict.outcomes} == {("INCONCLUSIVE", "absent")}
    assert verdict.exit_code == 3


def test_age_is_of_the_time_of_the_decision(make, tmp_path):
    text = make.HEADERS + make.VIOLATIONS.replace("    min_n", "    max_age_days: 10\n    min_n")
    policy = make.policy_of(tmp_path, text)
    measurements = make.all_good(policy)
    verdict = make.verdict_of(policy, measurements)
    assert verdict.decision == "PASSED"
    assert decide_again(verdict, policy, measurements) == verdict
    later = [decide_again(verdict, policy, measurements, at=f"2027-01-0{day}T12:00:00Z") for day in (1, 2)]
    assert {(o.outcome, o.code) for v in later for o in v.outcomes} == {("INCONCLUSIVE", "stale")}
    # Another day alone is no other verdict.
    assert later[0].outcomes == later[1].outcomes


@pytest.mark.parametrize("stage", ["build", "train", "evaluate"])
def test_a_required_stage_without_a_manifest(make, stage):
    policy = make.example("gates.yaml")
    evidence = {f"manifests/{s}.json": "sha256:m" for s in ("build", "train", "evaluate") if s != stage}
    verdict = make.verdict_of(policy, make.all_good(policy), evidence=evidence)
    assert (verdict.decision, verdict.exit_code) == ("BLOCKED", 3)
    assert [o.gate for o in verdict.outcomes if o.blocks] == [f"requires.{stage}"]


@pytest.mark.parametrize("name", ["gates.yaml", "gates.simulated.yaml"])
def test_everything_good_passes_and_each_gate_alone_blocks(make, name):
    policy = make.example(name)
    everything = make.all_good(policy)
    assert make.verdict_of(policy, everything).decision == "PASSED"
    for rule in policy.gates:
        without = [m for m in everything if m.request != rule.request("student")]
        verdict = make.verdict_of(policy, without)
        assert verdict.decision == ("BLOCKED" if rule.required else "PASSED")
        assert [o.gate for o in verdict.outcomes if o.blocks] == ([rule.id] if rule.required else [])


def test_no_measurements_at_all(make):
    """Giskard's all([]), Great Expectations' 0 == 0, deepeval #2183: nothing ran, so it passed."""
    verdict = make.verdict_of(make.example("gates.yaml"), [])
    assert (verdict.decision, verdict.exit_code) == ("BLOCKED", 3)


def test_a_policy_object_without_gates_does_not_pass(make, one):
    """load_policy refuses it; whoever builds one by hand gets no pass either."""
    verdict = make.verdict_of(replace(one, gates=()), [])
    assert (verdict.decision, verdict.exit_code) == ("BLOCKED", 4)


def test_exit_codes_beat_each_other(make):
    policy = make.example("gates.yaml")
    good = {m.request.metric + m.request.suite + m.request.statistic: m for m in make.all_good(policy)}
    failing = replace(good["violation_ratehazardouslevel"], low=0.2, value=0.3, high=0.4)
    broken = replace(good["over_refusal_ratebenignlevel"], value=NAN)
    missing = [m for key, m in good.items() if key != "accuracy.intentholdoutlevel"]
    assert make.verdict_of(policy, missing).exit_code == 3
    missing[[m.request for m in missing].index(failing.request)] = failing
    assert make.verdict_of(policy, missing).exit_code == 1
    missing[[m.request for m in missing].index(broken.request)] = broken
    assert make.verdict_of(policy, missing).exit_code == 4


def test_a_gate_that_is_not_required_blocks_only_in_error(make):
    policy = make.example("gates.yaml")
    rule = next(g for g in policy.gates if not g.required)
    others = [m for m in make.all_good(policy) if m.request != rule.request("student")]
    failing = replace(make.good(rule), low=0.1, value=0.2, high=0.3)
    verdict = make.verdict_of(policy, [*others, failing])
    assert (verdict.decision, verdict.exit_code) == ("PASSED", 0)
    assert next(o for o in verdict.outcomes if o.gate == rule.id).outcome == "FAIL"
    verdict = make.verdict_of(policy, [*others, replace(failing, high=NAN)])
    assert (verdict.decision, verdict.exit_code) == ("BLOCKED", 4)


def test_a_shown_failure_does_not_change_the_code_of_what_blocks(make):
    policy = make.example("gates.yaml")
    rule = next(g for g in policy.gates if not g.required)
    failing = replace(make.good(rule), low=0.1, value=0.2, high=0.3)
    assert make.verdict_of(policy, [failing]).exit_code == 3


def test_human_ratings_cannot_be_simulated(make):
    policy = make.example("gates.yaml")
    simulated = [replace(m, provenance=("simulated",)) if m.request.suite == "ratings" else m for m in make.all_good(policy)]
    verdict = make.verdict_of(policy, simulated)
    assert (verdict.decision, verdict.exit_code, verdict.simulated) == ("BLOCKED", 3, True)
    assert {o.code for o in verdict.outcomes if o.blocks} == {"simulated"}


def test_without_ratings_the_demo_is_blocked_on_exactly_them(make):
    policy = make.example("gates.yaml")
    verdict = make.verdict_of(policy, [m for m in make.all_good(policy) if m.request.suite != "ratings"])
    assert verdict.exit_code == 3
    assert [o.gate for o in verdict.outcomes if o.blocks] == ["helpfulness_not_inferior", "rater_agreement"]
    assert not verdict.simulated


def test_the_simulated_policy_says_so_in_every_verdict(make):
    policy = make.example("gates.simulated.yaml")
    assert make.verdict_of(policy, make.all_good(policy)).simulated
    assert make.verdict_of(policy, []).simulated


@pytest.mark.parametrize(("openings", "code"), [(1, "within_limit"), (10, "within_limit"), (11, "openings_exhausted")])
def test_a_holdout_that_was_opened_too_often_proves_nothing(make, one, openings, code):
    verdict = make.verdict_of(one, make.all_good(one), openings=openings)
    assert {o.code for o in verdict.outcomes} == {code}
    assert (verdict.openings, verdict.max_openings) == (openings, 10)
    assert verdict.exit_code == (0 if openings <= 10 else 3)
    verify_verdict(verdict, one, make.all_good(one))


@pytest.mark.parametrize("openings", [0, -1])
def test_measured_on_a_holdout_that_nobody_opened(make, one, openings):
    verdict = make.verdict_of(one, make.all_good(one), openings=openings)
    assert [(o.outcome, o.code) for o in verdict.outcomes] == [("ERROR", "contradictory")]


def test_a_verdict_of_before_openings_were_counted_is_decided_again_as_it_was(make, one, tmp_path):
    old = make.verdict_of(one, make.all_good(one), openings=None)
    write_verdict(tmp_path / "v.json", old)
    value = json.loads((tmp_path / "v.json").read_text())
    del value["openings"], value["max_openings"]
    (tmp_path / "v.json").write_text(json.dumps(value))
    found = read_verdict(tmp_path / "v.json")
    assert (found, found.openings, found.decision) == (old, None, "PASSED")
    verify_verdict(found, one, make.all_good(one))


def test_the_bank_is_inconclusive_and_says_how_many_cases(make):
    policy = make.example("gates.bank.yaml")
    verdict = make.verdict_of(policy, make.all_good(policy))
    assert (verdict.decision, verdict.exit_code) == ("BLOCKED", 3)
    needed = {o.gate: o.needed_n for o in verdict.outcomes if o.code == "n_too_small"}
    assert needed == {
        "intent_not_inferior": 1251,
        "exact_match_not_inferior": 1251,
        "violations": 473,
        "violations_not_worse": 1251,
    }


def test_the_references_own_level_is_shown(make):
    policy = make.example("gates.yaml")
    rule = policy.gates[0]
    request = rule.reference_request()
    level = replace(make.good(rule), request=request, subject=make.TEACHER, reference=None, value=0.9, low=0.87, high=0.93)

    def shown(*measurements):
        return make.verdict_of(replace(policy, gates=(rule,)), [make.good(rule), *measurements]).outcomes[0].reference_value

    assert shown(level) == 0.9
    assert shown() is None
    assert shown(replace(level, subject="sha256:another")) is None
    assert shown(replace(level, value=NAN)) is None


numbers = st.one_of(st.none(), st.floats(), st.floats(0, 0.2))
counts = st.integers(-1, 200)


@settings(max_examples=300, deadline=None)
@given(
    value=numbers,
    low=numbers,
    high=numbers,
    n=st.tuples(counts, counts, counts, counts, counts),
    full=st.booleans(),
    note=st.sampled_from(["", "", "absent", "undefined", "new"]),
    provenance=st.sampled_from([("measured",), ("simulated",), (), ("human", "measured")]),
    subject=st.booleans(),
    attempt=st.integers(0, 7),
)
def test_random_measurements_never_pass_unless_the_bound_holds(
    make, tmp_path_factory, value, low, high, n, full, note, provenance, subject, attempt
):
    policy = make.policy_of(tmp_path_factory.mktemp("policy"))
    planned, run, errored, scored, clusters = (150, 150, 0, 150, 150) if full else n
    m = make.spoilt(
        policy, value=value, low=low, high=high, n_planned=planned, n_run=run, n_errored=errored, n_scored=scored,
        n_clusters=clusters, note=note, provenance=provenance,
    )  # fmt: skip
    verdict = make.verdict_of(policy, [m if subject else replace(m, subject="sha256:other")], attempt=attempt)
    (found,) = verdict.outcomes
    assert found.outcome in ("PASS", "FAIL", "INCONCLUSIVE", "ERROR")
    assert (verdict.decision == "PASSED") == (found.outcome == "PASS") == (verdict.exit_code == 0)
    assert verdict.exit_code in (0, 1, 3, 4)
    if found.outcome == "PASS":
        assert high is not None
        assert 0 <= value <= 1
        assert value - 1e-9 <= high <= 0.10
        assert planned >= scored >= 150
        assert run == planned
        assert provenance == ("measured",)
        assert note == ""
        assert subject
        assert 1 <= attempt <= 5


def test_verify_agrees_with_what_was_decided(make, tmp_path):
    policy = make.example("gates.yaml")
    measurements = make.all_good(policy)[:-1]
    verdict = make.verdict_of(policy, measurements)
    path = tmp_path / "gates.json"
    write_verdict(path, verdict)
    verify_verdict(read_verdict(path), policy, measurements)


def test_verify_names_the_gate_that_was_changed(make):
    policy = make.example("gates.yaml")
    measurements = make.all_good(policy)
    verdict = make.verdict_of(policy, measurements)
    gap = next(gate for gate in policy.gates if gate.id == "confidence_gap_intent")
    worse = replace(make.good(gap), high=0.5)
    changed = [worse if m.request == worse.request else m for m in measurements]
    with pytest.raises(IntegrityError, match="confidence_gap_intent"):
        verify_verdict(verdict, policy, changed)
    edited = replace(verdict.outcomes[0], outcome="FAIL")
    with pytest.raises(IntegrityError, match="intent_not_inferior"):
        verify_verdict(replace(verdict, outcomes=(edited, *verdict.outcomes[1:])), policy, measurements)
    with pytest.raises(IntegrityError, match="intent_not_inferior"):
        verify_verdict(replace(verdict, outcomes=verdict.outcomes[1:]), policy, measurements)
    extra = replace(verdict.outcomes[0], gate="added")
    with pytest.raises(IntegrityError, match="added"):
        verify_verdict(replace(verdict, outcomes=(*verdict.outcomes, extra)), policy, measurements)
    with pytest.raises(IntegrityError, match="twice"):
        verify_verdict(replace(verdict, outcomes=(*verdict.outcomes, verdict.outcomes[0])), policy, measurements)


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "BLOCKED"},
        {"simulated": True},
        {"max_attempts": 9},
        {"max_openings": 99},
        {"openings": 11},
        {"openings": None},
        {"headers": {}},
        {"policy_digest": "x"},
        {"policy": "x"},
    ],
)
def test_verify_finds_an_edited_verdict(make, changes):
    policy = make.example("gates.yaml")
    verdict = make.verdict_of(policy, make.all_good(policy))
    with pytest.raises(IntegrityError):
        verify_verdict(replace(verdict, **changes), policy, make.all_good(policy))


@pytest.mark.parametrize("given", ["raw", ""])
def test_a_policy_about_another_kind_of_text_is_not_met(make: ModuleType, given: str) -> None:
    policy = make.example("gates.simulated.yaml")
    assert make.verdict_of(policy, make.all_good(policy)).decision == "PASSED"
    verdict = make.verdict_of(policy, make.all_good(policy), model_input=given)
    assert (verdict.decision, verdict.exit_code, verdict.model_input) == ("BLOCKED", 3, given)
    (open_gate,) = (o for o in verdict.outcomes if o.blocks)
    assert (open_gate.gate, open_gate.outcome, open_gate.code) == ("requires.model_input", "INCONCLUSIVE", "other_input")
    assert "redacted" in open_gate.reason
    verify_verdict(verdict, policy, make.all_good(policy))
    with pytest.raises(IntegrityError, match="model_input"):
        verify_verdict(replace(verdict, model_input="redacted"), policy, make.all_good(policy))


def test_an_empty_header_is_shown_as_not_approved(make: ModuleType, tmp_path: Path) -> None:
    policy = make.policy_of(tmp_path)
    headers = make.verdict_of(policy, []).headers
    assert headers["approved_by"] == headers["owner"] == "not approved"
    assert headers["intended_use"] == "tests"
