"""What was registered before a run's evaluation opened the holdout, and what only afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distill_gov.records.ledger import Ledger
from distill_gov.stages.registration import EVALUATION, register, registered_rules
from evals.holdout import OPENED
from gates.policy import Policy, load_policy

EXAMPLE = Path(__file__).parents[2] / "examples" / "support_desk"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", actor="tester")


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(EXAMPLE / "gates.yaml")


def loosened(policy: Policy) -> Policy:
    gates = tuple(gate.model_copy(update={"min_n": 30}) for gate in policy.gates)
    return replace(policy, gates=gates, digest="sha256:loosened")


def opened(ledger: Ledger, run: str = "r1", purpose: str = EVALUATION) -> None:
    ledger.append(OPENED, {"run": run, "purpose": purpose})


def rules(ledger: Ledger, run: str = "r1", name: str = "gates") -> str:
    return registered_rules(ledger.entries(), run, name)


def test_what_was_registered_before_the_opening_counts(ledger: Ledger, policy: Policy) -> None:
    opened(ledger, purpose="build: near-duplicates of the holdout")
    register(ledger, "r1", policy)
    opened(ledger)
    assert rules(ledger) == policy.rules_digest


@pytest.mark.parametrize("killed", [1, 2, 3])
def test_an_evaluation_that_is_taken_up_again_registers_once(ledger: Ledger, policy: Policy, killed: int) -> None:
    for _ in range(killed):
        register(ledger, "r1", policy)
        opened(ledger)
    assert len(ledger.find("requests.registered")) == 1
    assert rules(ledger) == policy.rules_digest


def test_what_comes_after_the_first_opening_is_too_late(ledger: Ledger, policy: Policy) -> None:
    register(ledger, "r1", policy)
    opened(ledger)
    register(ledger, "r1", loosened(policy))
    opened(ledger)
    assert rules(ledger) == policy.rules_digest != loosened(policy).rules_digest


def test_of_several_before_it_the_last_counts(ledger: Ledger, policy: Policy) -> None:
    for one in (policy, loosened(policy), policy):
        register(ledger, "r1", one)
    opened(ledger)
    assert rules(ledger) == policy.rules_digest
    assert len(ledger.find("requests.registered")) == 3


def test_another_run_another_name_and_no_opening_are_not_registered(ledger: Ledger, policy: Policy) -> None:
    assert rules(ledger) == ""
    register(ledger, "r1", policy)
    assert rules(ledger) == "", "nobody opened the holdout, so there is nothing to judge"
    opened(ledger, "r2")
    assert (rules(ledger, "r2"), rules(ledger)) == ("", "")
    opened(ledger)
    assert rules(ledger, name="gates.bank") == ""


def test_an_approval_is_no_other_registration(ledger: Ledger, policy: Policy) -> None:
    register(ledger, "r1", policy)
    opened(ledger)
    approved = replace(policy, headers={**policy.headers, "approved_by": "somebody"}, digest="sha256:approved")
    assert rules(ledger) == approved.rules_digest
