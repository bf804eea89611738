"""Every gate of the demo's policies gets the cases that it was planned with: no gate is out of reach before anything is run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from distill_gov.records.settings import load_settings
from distill_gov.scaffold import example_directory
from distill_gov.settings import DistillSettings
from distill_gov.stages.settled import HOLDOUT
from distill_gov.stages.signals import planned_signals
from distill_gov.stages.suites import as_cases, planned_cases
from distill_gov.traces import read_traces
from evals.cases import Case
from evals.decisions import answer_format
from evals.evidence import CaseResult, FieldDecision
from evals.measuring import measure
from evals.score import score_case
from evals.structured import load_schema
from gates.policy import load_policy

DESK = example_directory()
ANSWER = '{"intent": "refund", "urgency": "normal", "action": "ask", "reply": "Which one is it?"}'
_MAIL = re.compile(r"\S+@\S+")


class _Redactor:
    """Finds e-mail addresses only: what it misses must stay in the denominators."""

    policy = SimpleNamespace(entities={}, keeps_reasoning=False)

    def redact_messages(self, messages: Sequence[Mapping[str, str]], *, item: str) -> Any:
        found = [
            SimpleNamespace(action="placeholder", field=f"/{n}/content")
            for n, m in enumerate(messages)
            for _ in _MAIL.findall(m["content"])
        ]
        clean = [{**m, "content": _MAIL.sub("<EMAIL_1>", m["content"])} for m in messages]
        return SimpleNamespace(messages=clean, findings=found, issued={}, parts=())

    def redact_chats(self, chats: Sequence[tuple[str, Sequence[Mapping[str, str]]]], **_: Any) -> list[Any]:
        return [self.redact_messages(messages, item=item) for item, messages in chats]


@pytest.fixture(scope="module")
def desk() -> Any:
    """The example as a project, with a redactor that needs no language model."""
    schema = load_schema(DESK / "triage.schema.json")
    return SimpleNamespace(
        settings=load_settings(DESK / "distill.yaml", DistillSettings),
        redactor=_Redactor(),
        answer_schema=schema,
        format_or_none=answer_format(schema.document),
        file=lambda name: DESK / name,
    )


@pytest.fixture(scope="module", autouse=True)
def _no_residual_scan() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill_gov.stages.chats.residual_many", lambda texts, _: [[] for _ in texts])
        yield


def results(desk: Any, case: Case) -> CaseResult:
    decisions = [
        FieldDecision(name, label, 0.9, None if case.reference is None else case.reference[name] == label)
        for name, label in (("intent", "refund"), ("urgency", "normal"), ("action", "ask"))
    ]
    scores, valid = score_case(
        case,
        ANSWER,
        decisions,
        schema=desk.answer_schema,
        detect=_MAIL.findall,
        flag=lambda _: False,
        suites=planned_signals(desk),
    )
    assert valid
    return CaseResult("s", "d", case.id, case.suite, case.unit, case.slices, "ok", scores, tuple(decisions))


@pytest.mark.parametrize("name", ["gates", "gates.simulated", "gates.bank"])
def test_as_many_cases_count_as_were_planned(desk: Any, name: str) -> None:
    policy = load_policy(DESK / f"{name}.yaml")
    policy = replace(policy, gates=tuple(g for g in policy.gates if g.suite in ("holdout", "hazardous", "benign", "format")))
    planned = planned_cases(desk, policy)
    files = {HOLDOUT: desk.settings.holdout, **desk.settings.suites}
    rows = [results(desk, c) for suite, path in files.items() for c in as_cases(desk, suite, read_traces(DESK / path))]
    rows += [replace(r, suite="format", scores={"schema_valid": 1.0}) for r in rows]
    found = measure({"student": rows, "teacher": [replace(r, subject="t") for r in rows]}, policy.requests(), planned)
    scored = {m.request: m.n_scored for m in found}
    for gate in policy.gates:
        n = scored[gate.request("student")]
        assert n == planned[f"{gate.suite}/{gate.metric}"], gate.id
        # Only what the strict policy says itself cannot be shown here.
        assert n >= gate.min_n or (name == "gates.bank" and gate.min_n in (299, 1251)), (gate.id, n)
    assert planned["benign/over_refusal_rate"] == 150
    assert planned["format/schema_validity"] == 600


def test_personal_data_that_redaction_misses_stays_in_the_denominator(desk: Any) -> None:
    traces = read_traces(DESK / desk.settings.holdout)
    cases = as_cases(desk, HOLDOUT, traces)
    tagged = {t.id for t in traces if t.tags.get("pii") is True}
    found = {c.id for c in cases if "<EMAIL_1>" in c.prompt}
    assert {c.id for c in cases if c.carries_pii} == tagged | found
    assert len(tagged) >= 100 > len(found) > 0


def test_a_finding_without_a_tag_counts_too(desk: Any) -> None:
    trace = next(t for t in read_traces(DESK / desk.settings.holdout) if "@" in t.messages[0]["content"])
    [case] = as_cases(desk, HOLDOUT, [replace(trace, tags={**trace.tags, "pii": False})])
    assert case.carries_pii


def test_a_gate_may_name_one_hazard(desk: Any) -> None:
    traces = read_traces(DESK / desk.settings.suites["hazardous"])
    cases = as_cases(desk, "hazardous", traces)
    assert all(f"hazard={case.hazard}" in case.slices for case in cases)
    policy = load_policy(DESK / "gates.yaml")
    [gate] = [g for g in policy.gates if g.id == "violations"]
    planned = planned_cases(desk, replace(policy, gates=(gate.model_copy(update={"slice": "hazard=ssh"}),)))
    assert planned["hazardous/hazard=ssh"] == sum(t.tags["hazard"] == "ssh" for t in traces) > 0
