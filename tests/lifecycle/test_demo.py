"""The demo's screen and what it expects, over verdicts that are made up. The real demo is not run here."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from distill_gov import demo
from distill_gov.demo import DemoEnded, Expectation, Judged, _project, caught_by
from distill_gov.records.manifest import StageManifest
from distill_gov.scaffold import example_directory
from evals.evidence import Measurement
from gates.policy import GateRule
from gates.verdict import Verdict
from tests.gates.conftest import example, good, student, verdict_of

WIDTH, LINES = 132, 30
HUMAN, SIMULATED, BANK = "gates.yaml", "gates.simulated.yaml", "gates.bank.yaml"
POLICIES = {name: example(name) for name in (HUMAN, SIMULATED, BANK)}
RATED = {"helpfulness_not_inferior", "rater_agreement"}


def failing(rule: GateRule, m: Measurement) -> Measurement:
    """The whole interval on the wrong side."""
    away = -0.01 if rule.side == "lower" else 0.01
    low, high = sorted((rule.threshold + away, rule.threshold + 3 * away))
    return replace(m, value=rule.threshold + 2 * away, low=low, high=high)


@cache
def verdict(name_of_policy: str, fails: frozenset[str] = frozenset(), *, rated: bool = True, name: str = "student") -> Verdict:
    policy, who, measured = POLICIES[name_of_policy], student(name), []
    for rule in policy.gates:
        m = good(rule, who)
        if rule.id in fails:
            m = failing(rule, m)
        if rule.suite != "ratings" or rated:
            measured.append(m)
    return verdict_of(policy, list({m.request: m for m in measured}.values()), subject=who)


CONTROLS = {
    "untrained": frozenset({"intent_not_inferior", "intent_level", "exact_match_not_inferior", "schema_valid", "violations"}),
    "overconfident": frozenset({"calibration_intent", "confidence_gap_intent"}),
    "worse_rated": frozenset({"helpfulness_not_inferior"}),
}


def judged(fails: frozenset[str] = frozenset(), **changes: Any) -> Judged:
    """A student that fails some gates, and three controls that are caught."""
    controls = {name: verdict(SIMULATED, fails | own, name=name) for name, own in CONTROLS.items()}
    made = Judged(verdict(HUMAN, fails, rated=False), verdict(SIMULATED, fails), verdict(BANK, fails, rated=False), controls)
    return replace(made, **changes)


def expectations(found: Judged, *, rated: bool = False, refused: bool = True, residual: int | None = 0) -> dict[str, bool]:
    made = demo._expectations(found, POLICIES[HUMAN], POLICIES[BANK], rated=rated, refused=refused, residual=residual)
    return {e.what.split(":")[0]: e.came for e in made}


ALL = frozenset(rule.id for rule in POLICIES[HUMAN].gates)
SOME = frozenset({"intent_level", "violations"})


# --- what is expected


@pytest.mark.parametrize("fails", [frozenset(), SOME, ALL - RATED])
def test_whatever_the_student_scores_everything_expected_comes(fails: frozenset[str]) -> None:
    # A student that fails everything leaves nothing for the controls' own gates to add.
    found = judged(fails)
    came = expectations(found)
    assert {name: ok for name, ok in came.items() if not ok} == {}
    assert len(came) == 9


def test_simulated_ratings_in_a_humans_verdict_are_not_what_an_unattended_run_has() -> None:
    measured = [good(rule) for rule in POLICIES[HUMAN].gates]
    mixed = [replace(m, provenance=("simulated",)) if m.request.suite == "ratings" else m for m in measured]
    found = judged(human=verdict_of(POLICIES[HUMAN], mixed))
    assert found.human.decision == "BLOCKED"
    assert not expectations(found)["gates.yaml"]


def test_people_who_rated_since_are_another_expectation() -> None:
    found = judged(human=verdict(HUMAN))
    assert found.human.decision == "PASSED"
    assert not expectations(found)["gates.yaml"]
    assert expectations(found, rated=True)["gates.yaml"]
    assert not expectations(judged(), rated=True)["gates.yaml"]


def test_what_does_not_come_is_said() -> None:
    bad = {
        "no gate in error": judged(bank=verdict_of(POLICIES[BANK], [replace(good(POLICIES[BANK].gates[0]), high=math.nan)])),
        "gates.simulated.yaml": judged(simulated=verdict(SIMULATED, frozenset({"rater_agreement"}))),
        "control overconfident": judged(controls={"overconfident": verdict(SIMULATED)}),
    }
    for name, found in bad.items():
        assert not expectations(found)[name], name
    for residual in (None, 1):
        assert not expectations(judged(), residual=residual)["no personal value found after redaction"]
    assert not expectations(judged(), refused=False)["a simulated verdict is never promoted"]


def test_the_bank_must_not_pass_and_must_say_how_many_cases_it_takes() -> None:
    assert expectations(judged())["gates.bank.yaml"]
    many = [replace(good(rule), n_planned=2000, n_run=2000, n_scored=2000, n_clusters=2000) for rule in POLICIES[BANK].gates]
    passed = verdict_of(POLICIES[BANK], many)
    assert passed.decision == "PASSED"
    assert not expectations(judged(bank=passed))["gates.bank.yaml"]
    bank = judged().bank
    silent = replace(bank, outcomes=tuple(replace(o, needed_n=None) if o.gate == "violations" else o for o in bank.outcomes))
    assert not expectations(judged(bank=silent))["gates.bank.yaml"]
    sure = replace(bank, outcomes=tuple(replace(o, outcome="PASS") if o.gate == "violations" else o for o in bank.outcomes))
    assert not expectations(judged(bank=sure))["gates.bank.yaml"]


@pytest.mark.parametrize(
    ("control", "fails", "student_fails", "caught"),
    [
        ("overconfident", {"calibration_intent"}, set(), ["calibration_intent"]),
        ("overconfident", {"calibration_intent", "intent_level"}, set(), []),  # something else is wrong with it too
        ("overconfident", {"calibration_intent", "intent_level"}, {"intent_level"}, ["calibration_intent"]),
        ("overconfident", {"intent_level"}, {"intent_level"}, []),
        ("overconfident", set(), set(), []),
        ("untrained", {"intent_level", "violations"}, set(), ["intent_level"]),
        ("untrained", {"violations"}, set(), []),
        ("mislabelled", {"intent_level", "exact_match_not_inferior"}, set(), ["intent_level", "exact_match_not_inferior"]),
        ("leaky", {"pii_in_replies"}, set(), ["pii_in_replies"]),
        ("worse_rated", {"helpfulness_not_inferior"}, set(), ["helpfulness_not_inferior"]),
    ],
)
def test_a_control_is_caught_by_the_gate_that_is_meant_for_it(
    control: str, fails: set[str], student_fails: set[str], caught: list[str]
) -> None:
    found = caught_by(control, verdict(SIMULATED, frozenset(fails)), verdict(SIMULATED, frozenset(student_fails)))
    assert sorted(found) == sorted(caught)


# --- the screen


def manifests(residual: int | None = 0) -> dict[str, StageManifest]:
    redaction = {} if residual is None else {"residual": residual}
    baselines = [
        {"name": name, "accuracy.intent": 0.954, "exact_match": 0.712, "note": ""}
        for name in ("gold_only", "linear", "small_prompted")
    ]
    speed = {"teacher": {"last_token_p50": 1.97}, "student": {"last_token_p50": 0.44}}
    facts: dict[str, dict[str, Any]] = {
        "build": {"redaction": redaction, "redaction_recall": {"covered_recall": 0.994}},
        "train": {"student": {"teacher_parameters": 134_515_008, "parameters": 49_500_000}},
        "evaluate": {"speed": speed, "baselines": baselines},
    }
    counts = {"traces": 335, "examples": 319, "findings": 157}
    return {stage: StageManifest(stage, {}, {}, counts=counts, facts=found) for stage, found in facts.items()}


def ended(found: Judged, came: tuple[Expectation, ...] = ()) -> DemoEnded:
    command = "distill-gov ratings export -C ../somewhere/else/demo --rater A --rater B"
    return DemoEnded(found, came, Path("/home/somebody/somewhere/else/demo/runs/r1/pages/report.html"), command)


def printed(shown: DemoEnded, residual: int | None = 0) -> str:
    sink = io.StringIO()
    demo._screen(Console(file=sink, width=WIDTH, soft_wrap=True), shown, manifests(residual))
    return sink.getvalue()


def screen(shown: DemoEnded) -> list[str]:
    """The lines of a terminal of the demo's width, long ones broken."""
    return [line[at : at + WIDTH] for line in printed(shown).splitlines() for at in range(0, max(1, len(line)), WIDTH)]


@pytest.mark.parametrize("fails", [frozenset(), SOME, ALL - RATED, ALL])
def test_the_screen_is_one_screen(fails: frozenset[str]) -> None:
    lines = screen(ended(judged(fails)))
    assert len(lines) <= LINES, "\n".join(lines)


def test_the_screen_says_what_a_stranger_must_know() -> None:
    whole = printed(ended(judged(SOME)))
    for words in (
        "157 personal values replaced, none found after",
        "BLOCKED under gates.yaml (exit 1) on 4 of 12 gates, helpfulness_not_inferior and rater_agreement because nobody rated",
        "Next: distill-gov ratings export -C ../somewhere/else/demo --rater A --rater B\n",
        "gates.bank.yaml: INCONCLUSIVE on 4 gates, needs 1,251 cases; FAIL on 1\n",
        "never promotable",
        "overconfident: calibration_intent, confidence_gap_intent; worse_rated: helpfulness_not_inferior",
        "Worth distilling?",
    ):
        assert words in whole, whole
    assert "not as expected" not in whole
    good_student = printed(ended(judged()))
    assert "gates.bank.yaml: INCONCLUSIVE on 4 gates, needs 1,251 cases\n" in good_student
    assert "BLOCKED under gates.yaml (exit 3) on helpfulness_not_inferior, rater_agreement." in good_student


@pytest.mark.parametrize(("residual", "words"), [(0, "none found after"), (3, "3 found after"), (None, "not looked for again")])
def test_what_was_found_after_redaction_is_the_builds_own_figure(residual: int | None, words: str) -> None:
    assert words in printed(ended(judged()), residual).splitlines()[0]


def test_what_did_not_come_is_on_the_screen_and_decides_the_code() -> None:
    shown = ended(judged(), (Expectation("all is well", True, "yes"), Expectation("the gates bite", False, "one did not")))
    assert shown.exit_code == 1
    assert [line for line in printed(shown).splitlines() if "not as expected" in line] == [
        "not as expected: the gates bite; found: one did not"
    ]
    assert ended(judged(), shown.expectations[:1]).exit_code == 0


def test_the_object_has_verdicts_open_gates_and_expectations() -> None:
    came = (Expectation("the gates bite", False, "one did not"),)
    value = json.loads(json.dumps(ended(judged(SOME), came).as_json(), allow_nan=False))
    human = value["verdicts"]["gates"]
    assert (human["decision"], human["exit"], human["simulated"]) == ("BLOCKED", 1, False)
    assert {gate: o["outcome"] for gate, o in human["open"].items()} == {
        **dict.fromkeys(SOME, "FAIL"), **dict.fromkeys(RATED, "INCONCLUSIVE"),
    }  # fmt: skip
    assert value["verdicts"]["gates.bank"]["open"]["violations"]["needed_n"] == 473
    assert value["verdicts"]["gates.simulated"]["simulated"] is True
    assert value["controls"]["overconfident"]["caught_by"] == ["calibration_intent", "confidence_gap_intent"]
    assert value["expectations"] == [{"what": "the gates bite", "came": False, "found": "one did not"}]
    assert value["next"].startswith("distill-gov ratings export")


def test_every_file_that_the_settings_name_is_in_the_demo(tmp_path: Path) -> None:
    project = _project(tmp_path / "demo")
    s = project.settings
    named = [s.answer_schema, s.traces, s.holdout, s.dev, s.gold, s.labels, s.pii_spans, *s.suites.values(), s.evaluate.prices]
    assert len(named) == 10
    for name in named:
        assert project.file(name).is_file()
    assert {path.name for path in project.layout.root.glob("gates*.yaml")} == {
        p.name for p in example_directory().glob("gates*.yaml")
    }
