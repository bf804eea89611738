"""An alias moves only on a PASSED verdict of the project's own policy, for exactly the weights that were measured."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.records.digest import digest_file
from gates.registry import read_aliases
from gates.verdict import read_verdict
from tests.end_to_end.commands import Ended, command
from tests.end_to_end.tiny_project import EASY, POLICIES, gate, policy, write_settings


def refused(root: Path, *arguments: str, code: int) -> str:
    """Promote in vain: no alias, and no word of a promotion in the ledger."""
    ended: Ended = command(root, "promote", *arguments)
    assert ended.code == code, ended
    assert read_aliases(root / "registry") == {}
    assert Project.open(root).ledger.find("promotion") == []
    return ended.error


def test_a_passed_student_is_promoted_and_logged_first(copy: Path) -> None:
    ended = command(copy, "promote", "--alias", "desk", "--json")
    assert ended.code == 0
    promotion = read_aliases(copy / "registry")["desk"]
    [entry] = Project.open(copy).ledger.find("promotion")
    verdict = json.loads((copy / "runs/r1/verdicts/gates.json").read_text("utf-8"))
    assert promotion.student == verdict["subject"] == entry.facts["student"] == ended.json["student"]
    assert promotion.ledger == entry.digest
    assert command(copy, "verify").code == 0


def test_weights_changed_afterwards_are_not_promoted(copy: Path) -> None:
    weights = copy / "runs" / "r1" / "student" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert "student/model.safetensors" in refused(copy, code=4)


def test_no_verdict_no_promotion(copy: Path) -> None:
    (copy / "runs" / "r1" / "verdicts" / "gates.json").unlink()
    assert "distill-gov gate" in refused(copy, code=2)


def test_another_policy_does_not_promote(copy: Path) -> None:
    assert command(copy, "gate", "--policy", "gates.large").code == 3
    assert "gates.large" in refused(copy, "--policy", "gates.large", code=2)


def test_a_blocked_student_is_not_promoted(copy: Path) -> None:
    write_settings(copy, policy="gates.strict.yaml")
    assert command(copy, "gate").code == 1
    assert "exact_match" in refused(copy, code=2)


def test_a_policy_made_easier_after_the_verdict_does_not_promote(copy: Path) -> None:
    write_settings(copy, policy="gates.strict.yaml")
    assert command(copy, "gate").code == 1
    (copy / "gates.strict.yaml").write_text(POLICIES["gates"], "utf-8")
    assert "gates.strict.yaml" in refused(copy, code=4)


def test_a_verdict_of_another_project_is_not_taken(copy: Path) -> None:
    path = copy / "runs" / "r1" / "verdicts" / "gates.json"
    value = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**value, "subject": "sha256:" + "1" * 64}), "utf-8")
    assert "verdicts/gates.json" in refused(copy, code=4)


def loosen(root: Path) -> None:
    path = root / "gates.strict.yaml"
    text = path.read_text("utf-8")
    assert "limit: 0.9\n" in text
    path.write_text(text.replace("limit: 0.9\n", "limit: 0.01\n"), "utf-8")


def test_limits_made_easier_after_the_evaluation_do_not_judge_it(copy: Path) -> None:
    write_settings(copy, policy="gates.strict.yaml")
    assert command(copy, "gate").code == 1
    loosen(copy)
    ended = command(copy, "gate", "--json")
    assert ended.code == 4
    assert {(o["outcome"], o["code"]) for o in ended.json["outcomes"]} == {("ERROR", "not_registered")}
    told = command(copy, "gate").out
    assert "registered before the holdout was opened" in told
    assert "distill-gov run --run r2 -C " in told
    assert "exact_match" in refused(copy, code=2)
    assert command(copy, "verify").code == 0, "the verdict says what is the case"


def test_limits_made_easier_before_a_first_verdict_are_no_better(copy: Path) -> None:
    """Nobody has judged by this policy yet; still the evaluation has opened the holdout."""
    write_settings(copy, policy="gates.strict.yaml")
    loosen(copy)
    assert command(copy, "gate").code == 4
    refused(copy, code=2)


def test_a_policy_of_another_name_or_written_later_is_not_registered(copy: Path) -> None:
    """Neither may what was registered as another policy take the place of the project's own."""
    (copy / "gates.late.yaml").write_text(POLICIES["gates"], "utf-8")
    late = command(copy, "gate", "--policy", "gates.late", "--json")
    assert (late.code, {o["code"] for o in late.json["outcomes"]}) == (4, {"not_registered"})
    write_settings(copy, policy="gates.strict.yaml")
    (copy / "gates.strict.yaml").write_text(POLICIES["gates"], "utf-8")
    assert command(copy, "gate").code == 4
    refused(copy, code=2)


def test_an_approval_filled_in_afterwards_breaks_nothing(copy: Path) -> None:
    path = copy / "gates.yaml"
    text = path.read_text("utf-8")
    for key, value in {"approved_by": "A. Reviewer", "approved_on": "'2026-11-23'", "validated_by": "V. Alidator"}.items():
        assert f"{key}: ''" in text
        text = text.replace(f"{key}: ''", f"{key}: {value}")
    path.write_text(text.replace("rationale: A random", "rationale: Indeed, a random"), "utf-8")
    ended = command(copy, "gate", "--json")
    assert (ended.code, ended.json["headers"]["approved_by"]) == (0, "A. Reviewer")
    assert command(copy, "promote").code == 0
    assert command(copy, "verify").code == 0
    # Nor does it stop an evaluation from being taken up again.
    assert command(copy, "evaluate").code == 0


def test_verify_holds_a_verdict_against_the_ledgers_registration(copy: Path) -> None:
    project = Project.open(copy)
    path = copy / "runs" / "r1" / "verdicts" / "gates.json"
    value = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**value, "registered": "sha256:" + "3" * 64}), "utf-8")
    project.ledger.append("verdict", {**project.ledger.find("verdict")[-1].facts, "digest": digest_file(path)})
    ended = command(copy, "verify")
    assert (ended.code, "registered rules" in ended.error) == (4, True)


AGEING = policy(*EASY[:2], gate("confidence_gap", "confidence_gap.intent", "holdout", "at_most", 0.99, max_age_days=30))


def days_from_now(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.slow
def test_old_evidence_passes_no_more(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh / "gates.yaml").write_text(AGEING, "utf-8")
    assert command(fresh, "run").code == 0
    path = fresh / "runs" / "r1" / "verdicts" / "gates.json"
    first = path.read_bytes()
    monkeypatch.setattr("distill_gov.stages.gate.now", lambda: days_from_now(29))
    # Time alone makes no other verdict.
    assert command(fresh, "gate").code == 0
    assert path.read_bytes() == first
    monkeypatch.setattr("distill_gov.stages.gate.now", lambda: days_from_now(31))
    assert command(fresh, "verify").code == 0, "it was decided rightly at its time"
    assert "too old by now for confidence_gap" in refused(fresh, code=2)
    ended = command(fresh, "gate", "--json")
    assert ended.code == 3
    assert {o["gate"]: o["code"] for o in ended.json["outcomes"]} == {
        "intent_level": "within_limit", "intent_not_inferior": "within_limit", "confidence_gap": "stale",
    }  # fmt: skip
    stale = path.read_bytes()
    monkeypatch.setattr("distill_gov.stages.gate.now", lambda: days_from_now(40))
    assert command(fresh, "gate").code == 3
    assert path.read_bytes() == stale
    assert command(fresh, "verify").code == 0
    assert read_verdict(path).at > read_verdict(path).outcomes[0].measurement.at  # type: ignore[union-attr]
    monkeypatch.undo()
    assert command(fresh, "promote").code == 2
