"""A gate suite discriminates when each gate alone catches its own defect: the demo's policy at the demo's full size.

No model is run. A good student's answers to the demo's own cases are made up with a fixed seed; each control is that student
with one defect. All go the way of the real ones: scored by `evals.score`, measured, decided.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from distill_gov.demo import MEANT
from distill_gov.stages.controls import CANARIES, PLANTED, planted
from distill_gov.traces import read_traces
from evals.cases import Case
from evals.evidence import CaseResult, FieldDecision, Subject
from evals.measuring import measure
from evals.score import score_case
from evals.structured import load_schema
from gates.verdict import Verdict
from redaction.filters import flag_reply
from tests.gates.conftest import EXAMPLE

SCHEMA = load_schema(EXAMPLE / "triage.schema.json")
LABELS: Mapping[str, list[str]] = {n: r["enum"] for n, r in SCHEMA.document["properties"].items() if "enum" in r}
SUITES = ("holdout", "hazardous", "benign")
ACCURACY = 0.83
"""Of the teacher and of the good student; both are right about 250 times in 300, which 238 would be enough for."""


@dataclass(frozen=True)
class Said:
    """One answer: labels, how sure its author was of the intent, and the text."""

    labels: Mapping[str, str]
    confidence: float
    reply: str = "We look into it."

    @property
    def text(self) -> str:
        return json.dumps({**self.labels, "reply": self.reply})


@dataclass(frozen=True)
class Author:
    """What one subject did on everything."""

    name: str
    answers: Mapping[str, Said]
    valid: Mapping[str, bool]
    """Free-running answers to all 600 messages: valid or not."""
    ratings: Mapping[str, tuple[float, float]]
    """Of 100 holdout cases, by two raters."""

    @property
    def subject(self) -> Subject:
        role: Any = self.name if self.name in ("student", "teacher") else "control"
        return Subject(self.name, role, "m", "p", "t", "grammar", "e")


def cases() -> dict[str, list[Case]]:
    found = {}
    for suite in SUITES:
        found[suite] = [
            Case(
                id=t.id,
                suite=suite,
                messages=tuple(t.messages),
                reference={n: str((t.reference or {})[n]) for n in LABELS},
                cluster=t.group,
                expected_action=str((t.reference or {})["action"]),
                hazard=str(t.tags["hazard"]) if "hazard" in t.tags else None,
                carries_pii=t.tags["pii"] is True,
            )
            for t in read_traces(EXAMPLE / "data" / f"{suite}.jsonl")
        ]
    return found


CASES = cases()
HOLDOUT = [c.id for c in CASES["holdout"]]
EVERY = [c for rows in CASES.values() for c in rows]
RATED = HOLDOUT[::3]
PLANNED = {**{suite: [c.id for c in rows] for suite, rows in CASES.items()}, "format": [c.id for c in EVERY], "ratings": RATED}
DATASETS = {suite: f"sha256:{suite}" for suite in PLANNED}


def good(name: str, seed: int) -> Author:
    """Right with the probability it states; 3 of 150 violations and refusals; 2 of 600 invalid; nothing personal in replies.

    The seed of the pair is shared, so that two good subjects differ on few cases, as student and teacher do.
    """
    shared, own = np.random.default_rng(7), np.random.default_rng(seed)
    answers = {}
    for case in EVERY:
        reference = dict(case.reference or {})
        sure = float(shared.beta(8 * ACCURACY, 8 * (1 - ACCURACY)))
        wrong_intent, wrong_urgency, differs = shared.random() >= sure, shared.random() < 0.08, own.random() < 0.04
        labels = dict(reference)
        if case.suite == "holdout":
            labels["intent"] = other("intent", reference["intent"], own) if wrong_intent != differs else reference["intent"]
            labels["urgency"] = other("urgency", reference["urgency"], own) if wrong_urgency else reference["urgency"]
        answers[case.id] = Said(labels, sure)
    for suite, action in (("hazardous", "answer"), ("benign", "refuse")):
        for case in CASES[suite][:3]:
            answers[case.id] = Said({**answers[case.id].labels, "action": action}, 0.9)
    valid = {case.id: i >= 2 for i, case in enumerate(EVERY)}
    quality = {case: float(shared.normal(3.4, 0.9)) for case in RATED}
    ratings = {case: rated(q + float(own.normal(0, 0.2)), own) for case, q in quality.items()}
    return Author(name, answers, valid, ratings)


def other(field: str, label: str, rng: np.random.Generator) -> str:
    return str(rng.choice([x for x in LABELS[field] if x != label]))


def rated(quality: float, rng: np.random.Generator) -> tuple[float, float]:
    first, second = (float(np.clip(np.rint(quality + rng.normal(0, 0.35)), 1, 5)) for _ in range(2))
    return first, second


# --- the defects


def untrained(student: Author) -> Author:
    """Labels drawn at random, stated with the confidence of a guess; half of what it writes freely is no valid answer."""
    rng = random.Random(1)
    guess = 1 / len(LABELS["intent"])
    answers = {**student.answers}
    for case in HOLDOUT:
        answers[case] = Said({name: rng.choice(labels) for name, labels in LABELS.items()}, guess)
    return replace(student, name="untrained", answers=answers, valid={c: i % 2 == 0 for i, c in enumerate(student.valid)})


def overconfident(student: Author) -> Author:
    """The same answers; what was p is now nearly 1."""
    answers = {case: replace(said, confidence=1 - (1 - said.confidence) ** 6) for case, said in student.answers.items()}
    return replace(student, name="overconfident", answers=answers)


def mislabelled(student: Author) -> Author:
    """The decisions of 30 % of the cases permuted among them, and the confidence that dev would then give."""
    chosen = random.Random(2).sample(HOLDOUT, round(0.3 * len(HOLDOUT)))
    donors = dict(zip(chosen, chosen[1:] + chosen[:1], strict=True))
    answers = {
        case: replace(
            said,
            labels=student.answers[donors.get(case, case)].labels,
            confidence=0.7 * said.confidence + 0.3 / len(LABELS["intent"]),
        )
        for case, said in student.answers.items()
    }
    return replace(student, name="mislabelled", answers=answers)


def leaky(student: Author) -> Author:
    """Canaries in 20 replies to messages that carry personal data, planted as the control does it."""
    chosen = [c.id for c in CASES["holdout"] if c.carries_pii][:PLANTED]
    answers = {**student.answers}
    for case in chosen:
        changed = planted({"text": answers[case].text}, SCHEMA)
        assert changed is not None
        answers[case] = replace(answers[case], reply=json.loads(changed["text"])["reply"])
    return replace(student, name="leaky", answers=answers)


def worse_rated(student: Author) -> Author:
    """Every answer is half a point worse in the raters' eyes."""
    rng = np.random.default_rng(5)
    ratings = {
        case: (max(1.0, a - float(rng.random() < 0.5)), max(1.0, b - float(rng.random() < 0.5)))
        for case, (a, b) in student.ratings.items()
    }
    return replace(student, name="worse_rated", ratings=ratings)


DEFECTS: tuple[Callable[[Author], Author], ...] = (untrained, overconfident, mislabelled, leaky, worse_rated)
"""One for each control that the demo knows."""


# --- the way to a verdict


def results(author: Author) -> list[CaseResult]:
    rows = [scored(author, case) for case in EVERY]
    rows += [row(author, c, "format", {"schema_valid": float(author.valid[c.id])}) for c in EVERY]
    by_id = {c.id: c for c in EVERY}
    for case, (a, b) in author.ratings.items():
        scores = {"helpfulness": fmean((a, b)), "rating.a": a, "rating.b": b}
        rows.append(replace(row(author, by_id[case], "ratings", scores), provenance="simulated"))
    return rows


def scored(author: Author, case: Case) -> CaseResult:
    said = author.answers[case.id]
    decisions = [
        FieldDecision(name, label, said.confidence if name == "intent" else 0.9, label == (case.reference or {})[name])
        for name, label in said.labels.items()
    ]
    scores, valid = score_case(
        case, said.text, decisions, schema=SCHEMA, detect=personal, flag=lambda reply: flag_reply(reply) is not None
    )
    assert valid
    return replace(row(author, case, case.suite, scores), decisions=tuple(decisions))


def personal(text: str) -> list[str]:
    return re.findall(r"\S+@\S+\w|\+44 [\d ]+\d", text)


def row(author: Author, case: Case, suite: str, scores: Mapping[str, float]) -> CaseResult:
    return CaseResult(author.subject.digest, DATASETS[suite], case.id, suite, case.id, (), "ok", scores)


TEACHER, STUDENT = good("teacher", 1), good("student", 2)


@pytest.fixture(scope="module")
def judge(make: ModuleType) -> Callable[[Author], Verdict]:
    policy = make.example("gates.simulated.yaml")
    teacher = results(TEACHER)

    def judged(author: Author) -> Verdict:
        name = author.name
        # Not the teacher's own levels, which decide nothing.
        asked = [request for request in policy.requests(name) if request.subject == name]
        found = measure({name: results(author), "teacher": teacher}, asked, PLANNED)
        verdict: Verdict = make.verdict_of(
            policy,
            found,
            subject=author.subject,
            references={"teacher": TEACHER.subject.digest},
            expected_dataset=DATASETS,
        )
        return verdict

    return judged


def outcomes(verdict: Verdict, *, required: bool = True) -> dict[str, str]:
    return {o.gate: o.outcome for o in verdict.outcomes if o.required or not required}


def test_a_good_student_passes_every_required_gate(judge: Callable[[Author], Verdict]) -> None:
    verdict = judge(STUDENT)
    assert set(outcomes(verdict).values()) == {"PASS"}, {o.gate: o.reason for o in verdict.outcomes if o.outcome != "PASS"}
    assert verdict.decision == "PASSED"
    assert len(EVERY) == 600


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: d.__name__)
def test_each_control_fails_exactly_the_gates_meant_for_it(
    judge: Callable[[Author], Verdict], defect: Callable[[Author], Author]
) -> None:
    control = defect(STUDENT)
    verdict = judge(control)
    found = outcomes(verdict)
    assert {gate for gate, outcome in found.items() if outcome == "FAIL"} == set(MEANT[control.name])
    assert {gate for gate, outcome in found.items() if outcome == "PASS"} == set(found) - set(MEANT[control.name])
    assert (verdict.decision, verdict.exit_code) == ("BLOCKED", 1)


def test_every_control_of_the_demo_has_its_defect_here() -> None:
    assert {defect.__name__ for defect in DEFECTS} == set(MEANT)


def test_the_split_of_personal_data_tells_a_leak_from_an_echo(judge: Callable[[Author], Verdict]) -> None:
    leaks = outcomes(judge(leaky(STUDENT)), required=False)
    assert (leaks["pii_leak"], leaks["pii_echo"], leaks["pii_in_replies"]) == ("FAIL", "PASS", "FAIL")
    carrying = [c for c in CASES["holdout"] if "@" in c.prompt][:PLANTED]
    answers = {**STUDENT.answers}
    for case in carrying:
        answers[case.id] = replace(answers[case.id], reply=f"We write to {personal(case.prompt)[0]}.")
    echoes = outcomes(judge(replace(STUDENT, name="echoing", answers=answers)), required=False)
    assert (echoes["pii_leak"], echoes["pii_echo"], echoes["pii_in_replies"]) == ("PASS", "FAIL", "FAIL")


@pytest.mark.parametrize(
    ("suite", "action", "gates"),
    [("hazardous", "answer", {"violations", "violations_not_worse"}), ("benign", "refuse", {"over_refusal"})],
)
def test_what_no_control_is_for_is_caught_too(
    judge: Callable[[Author], Verdict], suite: str, action: str, gates: Sequence[str]
) -> None:
    """A student that answers a fifth of the hazardous requests, and one that turns a fifth of the harmless ones away."""
    answers = {**STUDENT.answers}
    for case in CASES[suite][::5]:
        answers[case.id] = replace(answers[case.id], labels={**answers[case.id].labels, "action": action})
    found = outcomes(judge(replace(STUDENT, name="unsafe", answers=answers)))
    assert {gate for gate, outcome in found.items() if outcome != "PASS"} == gates


def test_canaries_are_found_by_the_detector_used_here() -> None:
    assert all(personal(canary) for canary in CANARIES)
