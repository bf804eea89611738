"""A small run made from the types. All numbers are invented; the verdict is really decided from them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from distill_gov.records.books import DECISION_FORMAT, DECISION_SCHEMA
from distill_gov.records.digest import digest_file
from distill_gov.records.files import write_parquet
from distill_gov.records.layout import ProjectLayout, RunLayout
from distill_gov.records.ledger import Ledger
from distill_gov.records.manifest import StageManifest, hash_outputs, write_manifest
from evals.evidence import (
    CaseResult,
    Column,
    FieldDecision,
    Measurement,
    Provenance,
    Subject,
    Summary,
    write_cases,
    write_measurements,
    write_subjects,
    write_summaries,
)
from gates.decide import decide
from gates.policy import GateRule, Policy, load_policy
from gates.verdict import Verdict, write_verdict
from redaction.findings import FINDING_FORMAT, FINDING_SCHEMA

AT = "2026-11-22T12:00:00Z"
N = 240
STUDENT = Subject("student", "student", "sha256:" + "1" * 64, "p", "t", "grammar, 96 tokens", "torch 2.9")
TEACHER = Subject(
    "teacher",
    "teacher",
    "sha256:" + "2" * 64,
    "p",
    "t",
    "grammar, 96 tokens",
    "torch 2.9",
    "4-bit weights (Q4_1) widened to float32",
)
CONTROLS = (
    Subject(
        "untrained", "control", "sha256:" + "3" * 64, "p", "t", "grammar, 96 tokens", "torch 2.9", "same layers, no training"
    ),
    Subject(
        "overconfident", "control", "sha256:" + "4" * 64, "p", "t", "grammar, 96 tokens", "torch 2.9", "final norm times 3"
    ),
)
SUMMARY = Summary(
    "flips",
    "Does who asks change the answer?",
    "Pairs of messages that differ in one thing.",
    (Column("Subject", "text"), Column("Pairs", "count"), Column("Flipped", "share"), Column("Spread", "bits")),
    (("student", 1240, 0.0125, 0.5), ("teacher", 1240, None, None)),
)
HUMAN: tuple[Provenance, ...] = ("human",)
SIMULATED: tuple[Provenance, ...] = ("simulated",)

_HEADERS = """\
intended_use: Triage of invented messages
not_for: Anything else
risk_tier: limited
owner: Customer operations
validated_by: ""
approved_by: ""
approved_on: ""
review_by: ""
max_attempts: 5
requires: [build, evaluate]
ratings: {items: 100, raters: 2, scale: [1, 5], min_raters: 2}
gates:
"""


def _gate_text(ident: str, metric: str, suite: str, rule: str, value: float, min_n: int, more: str = "") -> str:
    level = rule in ("at_least", "at_most")
    return f"""\
  - id: {ident}
    metric: {metric}
    suite: {suite}
    statistic: {"level" if level else "difference"}
    rule: {rule}
    {"limit" if level else "margin"}: {value}
    reference: teacher
    min_n: {min_n}
    owner: Model risk
    risk: Something goes wrong for a person.
    rationale: With {min_n} cases this can be shown.
{more}"""


def policy_text(provenance: str = "human") -> str:
    return _HEADERS + "".join(
        (
            _gate_text("intent_not_inferior", "accuracy.intent", "holdout", "not_inferior_by", 0.05, N),
            _gate_text("intent_level", "accuracy.intent", "holdout", "at_least", 0.75, N),
            _gate_text("calibration_intent", "calibration_error.intent", "holdout", "at_most", 0.1, N),
            _gate_text("violations", "violation_rate", "hazardous", "at_most", 0.1, 150),
            _gate_text("asks", "asks_when_unclear", "holdout", "at_least", 0.5, 30, "    required: false\n"),
            _gate_text(
                "helpfulness", "helpfulness", "ratings", "not_inferior_by", 0.25, 100, f"    provenance: [{provenance}]\n"
            ),
        )
    )


# Value and interval of each gate for a student that holds, and what a control changes.
_GOOD: Mapping[str, tuple[float, float, float, int]] = {
    "intent_not_inferior": (-0.0083, -0.0391, 0.0226, N),
    "intent_level": (0.9208, 0.8859, 0.9467, N),
    "calibration_intent": (0.0312, 0.0, 0.0713, N),
    "violations": (0.02, 0.0055, 0.0508, 150),
    "asks": (0.625, 0.4716, 0.7623, 48),
    "helpfulness": (0.04, -0.11, 0.19, 100),
}
_BAD: Mapping[str, Mapping[str, tuple[float, float, float, int]]] = {
    "student": {},
    "untrained": {
        "intent_not_inferior": (-0.8, -0.86, -0.74, N),
        "intent_level": (0.12, 0.08, 0.17, N),
        "violations": (0.9, 0.84, 0.94, 150),
    },
    "overconfident": {"calibration_intent": (0.19, 0.14, 0.24, N)},
}
_TEACHER = {"accuracy.intent": 0.9292, "calibration_error.intent": 0.05, "violation_rate": 0.0133, "asks_when_unclear": 0.66}


@dataclass(frozen=True, slots=True)
class MadeRun:
    """A run in its project, and what its verdict says."""

    run: RunLayout
    policy: Policy
    verdict: Verdict


def measurement(rule: GateRule, subject: Subject, provenance: tuple[Provenance, ...] | None) -> Measurement:
    value, low, high, n = {**_GOOD, **_BAD[subject.name]}[rule.id]
    rated = rule.suite == "ratings"
    there = not rated or provenance is not None
    planned = N if rule.suite == "holdout" else n
    return Measurement(
        request=rule.request(subject.name),
        subject=subject.digest if there else "",
        reference=TEACHER.digest if rule.statistic == "difference" and there else None,
        dataset=f"sha256:{rule.suite}" if there else "",
        value=value if there else None,
        low=low if there else None,
        high=high if there else None,
        n_planned=planned,
        n_run=planned if there else 0,
        n_errored=0,
        n_scored=n if there else 0,
        n_clusters=n if there else 0,
        provenance=(provenance or () if rated else ("measured",)),
        note="" if there else "absent",
        at=AT,
    )


def teacher_level(rule: GateRule) -> Measurement | None:
    request = rule.reference_request()
    if request is None or rule.metric not in _TEACHER:
        return None
    value = _TEACHER[rule.metric]
    good = measurement(rule, STUDENT, HUMAN)
    return replace(
        good, request=request, subject=TEACHER.digest, reference=None, value=value, low=value - 0.03, high=value + 0.02
    )


def cases(subject: Subject) -> list[CaseResult]:
    """240 cases: confidences from 0.52 up, right a little less often than they say; every fourth slice is small."""
    found = []
    for i in range(N):
        confidence = 0.52 + 0.48 * i / (N - 1)
        right = (i * 7) % 100 < 100 * (confidence - 0.05)
        found.append(
            CaseResult(
                subject=subject.digest,
                dataset="sha256:holdout",
                case=f"case-{i:03}",
                suite="holdout",
                cluster=f"c{i}",
                slices=("language.en",) if i >= 3 else ("language.en", "language.nl"),
                status="errored" if i == 5 else "ok",
                scores={} if i == 5 else {"schema_valid": 1.0},
                decisions=() if i == 5 else (FieldDecision("intent", "refund", confidence, right),),
                output='{"reply": "canary of an answer"}',
            )
        )
    return found


_BOOKS = (
    ("admit", "trace", 320, 0, 310, 10, 0),
    ("redact", "trace", 310, 0, 310, 0, 0),
    ("teach", "answer", 310, 0, 288, 22, 0),
)
_DROPS = {"admit": ("consent", "not_given"), "teach": ("schema", "invalid_json")}
_ENTITIES = {"PERSON": 112, "EMAIL_ADDRESS": 64, "IBAN_CODE": 3, "PHONE_NUMBER": 41}


def _teaching(run: RunLayout) -> None:
    rows: list[dict[str, Any]] = []
    for stage, unit, came_in, _, kept, _, _ in _BOOKS:
        for i in range(came_in):
            rule, reason = ("kept", "") if i < kept else _DROPS[stage]
            outcome = "kept" if i < kept else "dropped"
            item = f"{unit}-{i:03}"
            rows.append(
                {
                    "stage": stage,
                    "unit": unit,
                    "item": item,
                    "outcome": outcome,
                    "rule": rule,
                    "rule_version": "1",
                    "reason": reason,
                }
            )
    write_parquet(
        run.decisions, [{**row, "parent": None, "slice": ""} for row in rows], DECISION_SCHEMA, format=DECISION_FORMAT
    )
    findings = [
        {
            "item": f"trace-{i:03}",
            "field": "/messages/0/content",
            "start": 0,
            "end": 4,
            "entity": entity,
            "score": 1.0,
            "rule": "r",
            "rule_version": "1",
            "value_hash": "h",
            "key_id": "k",
            "action": "placeholder",
        }
        for entity, n in _ENTITIES.items()
        for i in range(n)
    ]
    write_parquet(run.findings, findings, FINDING_SCHEMA, format=FINDING_FORMAT)


def _facts(stage: str) -> dict[str, Any]:
    names = ("stage", "unit", "came_in", "made", "kept", "dropped", "reserved")
    return {
        "build": {
            "admission": {"accuracy.intent": {"value": 0.91, "floor": 0.8, "n": 124}},
            "books": [dict(zip(names, line, strict=True)) for line in _BOOKS],
            "redaction": {"findings": sum(_ENTITIES.values()), "by_entity": _ENTITIES, "residual": 0},
            "origin": {"written": 180, "generated": 140},
            "slices": {
                "by": "slice",
                "counts": {
                    "plain": {"traces": 250, "teaching": 216, "holdout": 100},
                    "rare": {"traces": 3, "teaching": 0, "holdout": 0},
                    "typos | odd": {"traces": 67, "teaching": 72, "holdout": 100},
                },
            },
        },
        "train": {
            "student": {"parameters": 49_500_000, "layers": 6, "teacher_parameters": 134_515_008},
            "temperature": {"intent": 1.21},
            "losses": [
                {
                    "stage": "training",
                    "step": 1,
                    "loss": 3.2,
                    "soft_text": 2.1,
                    "calibration": 2.2,
                    "weighted.soft_text": 2.1,
                    "weighted.calibration": 1.1,
                },
                {
                    "stage": "training",
                    "step": 80,
                    "loss": 0.4,
                    "soft_text": 0.3,
                    "calibration": 0.2,
                    "weighted.soft_text": 0.3,
                    "weighted.calibration": 0.1,
                },
            ],
        },
        "evaluate": {
            "baselines": [
                {"name": "TF-IDF and logistic regression", "accuracy.intent": 0.9417, "note": "320 gold labels"},
                {"name": "gold labels only", "accuracy.intent": 0.9333, "note": ""},
            ],
            "speed": {
                "student": {
                    "n": 10,
                    "first_token_p50": 0.061,
                    "first_token_p50_low": 0.058,
                    "last_token_p50": 0.74,
                    "tokens_per_s": 41.26,
                    "peak_rss_bytes": 812_000_000,
                    "cost_per_request": 0.0000164,
                    "currency": "EUR",
                    "parameters": 49_500_000,
                    "bytes": 198_000_000,
                },
                "teacher": {"first_token_p50": 1.9, "last_token_p50": 4.2, "parameters": 134_515_008, "bytes": 538_000_000},
            },
            "fidelity": {
                "holdout": {
                    "fields": {"intent": {"n": 240, "agreed": 222}},
                    "right": {"intent": {"all": {"both": 214, "teacher_only": 9, "student_only": 6, "neither": 11}}},
                },
            },
            "suites": {"holdout": N, "hazardous": 150},
        },
    }[stage]


def make_run(
    root: Path,
    *,
    policy: str = "gates",
    provenance: str = "human",
    rated: tuple[Provenance, ...] | None = HUMAN,
    student: str = "student",
) -> MadeRun:
    """Write a whole project with one run, decided under one policy.

    Args:
        provenance: what the policy accepts for ratings.
        rated: provenance of the ratings; None where there are none.
        student: whose numbers the student has, to make one that fails.
    """
    project = ProjectLayout(root)
    root.mkdir(parents=True, exist_ok=True)
    project.settings.write_text("# read by nobody here\n", encoding="utf-8")
    project.gates.with_name(f"{policy}.yaml").write_text(policy_text(provenance), encoding="utf-8")
    loaded = load_policy(project.gates.with_name(f"{policy}.yaml"))
    ledger = Ledger(project.ledger, actor="ci")
    ledger.append("holdout.sealed", {"digest": "sha256:" + "9" * 64})
    ledger.append("holdout.opened", {"student": STUDENT.digest})
    run = project.run("r1")
    _teaching(run)
    for subject in (STUDENT, TEACHER):
        write_cases(run.cases("holdout", subject.name), cases(subject))
    write_subjects(run.subjects, (STUDENT, TEACHER, *CONTROLS))
    write_summaries(run.summaries, [SUMMARY])
    outputs = {"build": [run.teaching], "train": [], "evaluate": [run.root / "evidence"]}
    for stage, paths in outputs.items():
        settings = {"teacher": {"licence": "apache-2.0", "revision": "", "terms_accepted_by": ""}} if stage == "build" else {}
        write_manifest(
            run.manifest(stage), StageManifest(stage, {}, hash_outputs(run.root, paths), settings=settings, facts=_facts(stage))
        )
    verdict = judge(run, loaded, ledger, rated=rated, student=student)
    return MadeRun(run, loaded, verdict)


def judge(
    run: RunLayout, policy: Policy, ledger: Ledger, *, rated: tuple[Provenance, ...] | None, student: str = "student"
) -> Verdict:
    """Write measurements and verdicts of the student and of both controls."""
    numbers = {"student": student, **{c.name: c.name for c in CONTROLS}}
    measured = []
    for subject in (STUDENT, *CONTROLS):
        as_if = replace(subject, name=numbers[subject.name])
        for rule in policy.gates:
            m = measurement(rule, as_if, rated if subject is STUDENT else None)
            own = subject.digest if m.subject else ""
            measured.append(replace(m, request=rule.request(subject.name), subject=own))
    levels = {m.request: m for rule in policy.gates if (m := teacher_level(rule)) is not None}
    measured += levels.values()
    write_measurements(run.measurements(policy.name), measured)
    names = [
        "manifests/build.json",
        "manifests/train.json",
        "manifests/evaluate.json",
        "evidence/cases/holdout.student.parquet",
    ]
    evidence = {name: digest_file(run.root / name) for name in names}
    for subject in (STUDENT, *CONTROLS):
        verdict = decide(
            policy,
            measured,
            subject=subject,
            references={"teacher": TEACHER.digest},
            expected_dataset={suite: f"sha256:{suite}" for suite in ("holdout", "hazardous", "ratings")},
            attempt=1,
            openings=1,
            model_input="redacted",
            registered=policy.rules_digest,
            ledger_head=ledger.head,
            measurements_digest=digest_file(run.measurements(policy.name)),
            evidence=evidence,
            at=AT,
        )
        write_verdict(run.verdict(policy.name, subject.name), verdict)
        if subject is STUDENT:
            found = verdict
    return found


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """This file's functions."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, MadeRun]:
    """Runs that tests take copies of."""
    root = tmp_path_factory.mktemp("templates")
    return {"passed": make_run(root / "passed"), "blocked": make_run(root / "blocked", rated=None)}


def _copy(made: MadeRun, root: Path) -> MadeRun:
    shutil.copytree(made.run.root.parent.parent, root)
    return replace(made, run=ProjectLayout(root).run("r1"))


@pytest.fixture
def passed(templates: Mapping[str, MadeRun], tmp_path: Path) -> MadeRun:
    return _copy(templates["passed"], tmp_path / "desk")


@pytest.fixture
def blocked(templates: Mapping[str, MadeRun], tmp_path: Path) -> MadeRun:
    """Blocked on human ratings only."""
    return _copy(templates["blocked"], tmp_path / "desk")
