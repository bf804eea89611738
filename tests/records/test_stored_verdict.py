"""A stored verdict: every field of its declared type, and an exit code that never trusts the word PASSED alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill_gov.records.errors import DistillGovError, MalformedFileError
from evals.evidence import Measurement, MeasurementRequest
from gates.verdict import GateOutcome, Verdict, read_verdict, write_verdict

REQUEST = MeasurementRequest("accuracy", "holdout", None, "student", "teacher", "difference", "tango", 0.95, "lower", True)
MEASUREMENT = Measurement(
    REQUEST, "sha256:s", "sha256:t", "sha256:d", 0.9, 0.8, None, 300, 300, 0, 300, 280, ("measured", "simulated"), at="t"
)
OUTCOME = GateOutcome("intent", "PASS", "fine", "within_limit", MEASUREMENT, 0.92, -0.05, None)
VERDICT = Verdict(
    decision="PASSED",
    outcomes=(OUTCOME, replace(OUTCOME, gate="leak", measurement=None, reference_value=None, needed_n=299, limit=1)),
    policy="gates",
    policy_digest="sha256:p",
    headers={"owner": "us", "approved_by": ""},
    subject_name="student",
    subject="sha256:s",
    attempt=1,
    max_attempts=5,
    simulated=False,
    measurements="sha256:m",
    evidence={"evidence/subjects.json": "sha256:e"},
    ledger_head="sha256:h",
    at="2026-11-22T12:00:00Z",
    registered="sha256:r",
    model_input="redacted",
    datasets={"holdout": "sha256:d"},
    references={"teacher": "sha256:t"},
)
BAD: dict[str, tuple[Any, ...]] = {
    "decision": ("passed", "", 1, None, True, ["PASSED"]),
    "outcomes": (None, "", "PASS", {}, {"a": 1}, [None], ["PASS"], [[]], [1], [{}], [True]),
    "policy": (1, None, []),
    "policy_digest": (None, {}),
    "headers": ([], None, {"owner": 1}, {"owner": None}, ""),
    "subject_name": (None, 0),
    "model_input": (None, 0),
    "subject": (None, []),
    "attempt": ("1", True, 1.0, None),
    "max_attempts": ("5", False, 1e9, None),
    "simulated": (0, 1, "false", None, ""),
    "measurements": (None, 0),
    "evidence": ([], {"a": 1}, None),
    "ledger_head": (None, 1),
    "at": (None, 1),
    "registered": (None, 1, True),
    "datasets": ([], {"holdout": None}),
    "references": ("", {"teacher": 1}),
    "more": (1,),
}
BAD_OUTCOME: dict[str, tuple[Any, ...]] = {
    "gate": (None, 1),
    "outcome": ("pass", "OK", None, True, 0, ["PASS"]),
    "reason": (None, 1),
    "code": (None, []),
    "measurement": ("", [], {}, 1, False),
    "reference_value": ("0.9", True, [], 10**400),
    "limit": (None, "0.05", True, {}),
    "needed_n": ("3", 3.5, True),
    "required": (0, 1, "no", None),
    "more": (1,),
}
BAD_MEASUREMENT: dict[str, tuple[Any, ...]] = {
    "request": (None, [], "", {}, 1),
    "subject": (None, 1),
    "reference": (1, []),
    "dataset": (None, 1),
    "value": ("0.9", True, []),
    "low": ("0.9", False),
    "high": ({}, True),
    "n_planned": ("300", 300.0, True, None),
    "n_scored": ("300", None),
    "provenance": ("measured", "", {}, None, [1], ["guessed"], [[]]),
    "note": (None, 1),
    "tool": (None,),
    "at": (0,),
    "more": (1,),
}
BAD_REQUEST: dict[str, tuple[Any, ...]] = {
    "metric": (None, 1),
    "slice": (1, []),
    "statistic": ("level ", None, 1),
    "confidence": ("0.95", True, None),
    "side": ("left", None),
    "cluster": (0, "yes", None),
    "more": (1,),
}
LEVELS = [((), BAD), (("outcomes", 0), BAD_OUTCOME), (("outcomes", 0, "measurement"), BAD_MEASUREMENT)]
LEVELS.append((("outcomes", 0, "measurement", "request"), BAD_REQUEST))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "gates.json"
    write_verdict(target, VERDICT)
    return target


def test_a_verdict_is_read_as_it_was_written(path: Path) -> None:
    assert read_verdict(path) == VERDICT


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [(place, field, value) for place, table in LEVELS for field, values in table.items() for value in values],
    ids=lambda part: str(part)[:20],
)
def test_a_field_of_the_wrong_type_is_refused(path: Path, place: tuple[str | int, ...], field: str, value: Any) -> None:
    content = held = json.loads(path.read_text())
    for step in place:
        held = held[step]
    held[field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(MalformedFileError) as caught:
        read_verdict(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "field", ["decision", "outcomes", "policy", "simulated", "subject", "registered", "evidence", "format"]
)
def test_a_field_that_is_missing_is_refused(path: Path, field: str) -> None:
    content = json.loads(path.read_text())
    del content[field]
    path.write_text(json.dumps(content))
    with pytest.raises(DistillGovError):
        read_verdict(path)


def outcome(name: Any, required: bool = True) -> GateOutcome:
    return replace(OUTCOME, outcome=name, required=required)


@pytest.mark.parametrize(
    ("decision", "outcomes", "code"),
    [
        ("PASSED", [outcome("PASS")], 0),
        ("PASSED", [outcome("PASS"), outcome("WAIVED")], 0),
        ("PASSED", [outcome("PASS"), outcome("FAIL", required=False)], 0),
        ("PASSED", [outcome("PASS"), outcome("FAIL")], 4),
        ("PASSED", [outcome("INCONCLUSIVE")], 4),
        ("PASSED", [outcome("PASS"), outcome("ERROR", required=False)], 4),
        ("PASSED", [outcome("PASS"), outcome("pass")], 4),
        ("PASSED", [], 4),
        ("PASSED", [outcome("PASS", required=False)], 4),
        ("BLOCKED", [outcome("FAIL"), outcome("INCONCLUSIVE")], 1),
        ("BLOCKED", [outcome("ERROR"), outcome("FAIL")], 4),
        ("BLOCKED", [outcome("PASS"), outcome("INCONCLUSIVE")], 3),
        ("BLOCKED", [outcome("unheard of"), outcome("FAIL")], 4),
        ("BLOCKED", [outcome("PASS")], 4),
        ("BLOCKED", [], 4),
        ("passed", [outcome("PASS")], 4),
    ],
)
def test_the_exit_code_is_0_only_where_the_gates_say_so_too(decision: Any, outcomes: list[GateOutcome], code: int) -> None:
    assert replace(VERDICT, decision=decision, outcomes=tuple(outcomes)).exit_code == code
