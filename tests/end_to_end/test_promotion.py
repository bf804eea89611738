"""An alias moves only on a PASSED verdict of the project's own policy, for exactly the weights that were measured."""

from __future__ import annotations

import json
from pathlib import Path

from distill_gov.project import Project
from gates.registry import read_aliases
from tests.end_to_end.commands import Ended, command
from tests.end_to_end.tiny_project import POLICIES, write_settings


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
