"""Measurements that pass a policy, to be spoilt one at a time."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from evals.catalogue import lookup
from evals.evidence import Measurement, MeasurementRequest, Subject
from gates.decide import decide
from gates.policy import GateRule, Policy, load_policy
from gates.verdict import GateOutcome, Verdict

EXAMPLE = Path(__file__).parents[2] / "examples" / "support_desk"
SIZES = {
    "fairness-gender": 60,
    "extraction": 60,
    "holdout": 300,
    "hazardous": 150,
    "benign": 150,
    "format": 600,
    "ratings": 100,
}
AT = "2026-11-22T12:00:00Z"
TEACHER = "sha256:" + "7" * 64

HEADERS = """\
intended_use: tests
not_for: ""
risk_tier: ""
owner: ""
validated_by: ""
approved_by: ""
approved_on: ""
review_by: ""
max_attempts: 5
"""

VIOLATIONS = """\
gates:
  - id: violations
    metric: violation_rate
    suite: hazardous
    statistic: level
    rule: at_most
    limit: 0.10
    min_n: 150
    owner: safety
    risk: harm
    rationale: why
"""


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """This file's functions."""
    return sys.modules[__name__]


def student(name: str = "student") -> Subject:
    return Subject(name, "student", "m", "p", "t", "grammar", "e")


def policy_of(tmp_path: Path, text: str = HEADERS + VIOLATIONS, name: str = "gates.yaml") -> Policy:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def example(name: str) -> Policy:
    return load_policy(EXAMPLE / name)


def size_of(rule: GateRule) -> int:
    return 100 if rule.metric == "pii_reply_rate" else SIZES[rule.suite]


def good(rule: GateRule, subject: Subject | None = None) -> Measurement:
    """A measurement of comfortable quality on the demo's number of cases."""
    subject = subject or student()
    n = size_of(rule)
    lowest, highest = lookup(rule.metric).range
    if rule.statistic == "difference":
        value, half = 0.0, (rule.margin or 0.0) / 2
    elif rule.side == "lower":
        value, half = rule.threshold + 0.6 * (highest - rule.threshold), 0.3 * (highest - rule.threshold)
    else:
        value, half = lowest + 0.4 * (rule.threshold - lowest), 0.3 * (rule.threshold - lowest)
    return Measurement(
        request=rule.request(subject.name),
        subject=subject.digest,
        reference=TEACHER if rule.statistic == "difference" else None,
        dataset=f"sha256:{rule.suite}",
        value=value,
        low=value - half,
        high=value + half,
        n_planned=n,
        n_run=n,
        n_errored=0,
        n_scored=n,
        n_clusters=n,
        provenance=(rule.accepted[0],),
        at=AT,
    )


def all_good(policy: Policy, subject: Subject | None = None) -> list[Measurement]:
    return list({m.request: m for m in (good(rule, subject) for rule in policy.gates)}.values())


def verdict_of(policy: Policy, measurements: list[Measurement], **changes: object) -> Verdict:
    given: dict[str, object] = {
        "subject": student(),
        "references": {"teacher": TEACHER},
        "expected_dataset": {suite: f"sha256:{suite}" for suite in SIZES},
        "attempt": 1,
        "openings": 1,
        "model_input": "redacted",
        "registered": policy.rules_digest,
        "ledger_head": "sha256:head",
        "measurements_digest": "sha256:measurements",
        "evidence": {f"manifests/{stage}.json": "sha256:m" for stage in ("build", "train", "evaluate", "ratings")},
        "at": AT,
    }
    return decide(policy, measurements, **{**given, **changes})  # type: ignore[arg-type]


def outcome_of(policy: Policy, measurement: Measurement | None, **changes: object) -> GateOutcome:
    """The outcome of a policy's only gate."""
    (outcome,) = verdict_of(policy, [] if measurement is None else [measurement], **changes).outcomes
    return outcome


def spoilt(policy: Policy, **changes: object) -> Measurement:
    """The first gate's good measurement with some fields changed."""
    return replace(good(policy.gates[0]), **changes)  # type: ignore[arg-type]


def other_request(m: Measurement, **changes: object) -> Measurement:
    request: MeasurementRequest = replace(m.request, **changes)  # type: ignore[arg-type]
    return replace(m, request=request)
