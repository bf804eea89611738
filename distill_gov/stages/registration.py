"""Pre-registration: what a policy will judge, and by which rules, is in the ledger before an evaluation opens the holdout."""

from __future__ import annotations

from collections.abc import Sequence

from distill_gov.records.ledger import Ledger, LedgerEntry
from distill_gov.stages.settled import EVALUATION
from evals.holdout import OPENED
from gates.policy import Policy

__all__ = ["register", "registered_rules"]

REGISTERED = "requests.registered"


def register(ledger: Ledger, run: str, policy: Policy) -> None:
    """Log what a policy judges a run by, unless that is what the ledger has last."""
    facts = {"run": run, "policy": policy.name, "digest": policy.digest, "rules": policy.rules_digest}
    before = [e for e in ledger.find(REGISTERED) if (e.facts["run"], e.facts["policy"]) == (run, policy.name)]
    if not before or dict(before[-1].facts) != facts:
        ledger.append(REGISTERED, facts)


def registered_rules(entries: Sequence[LedgerEntry], run: str, policy: str) -> str:
    """Digest of the rules last registered under a policy's name before the run's first evaluation opened the holdout.

    Empty where nothing was registered by then, or where no evaluation opened it. What is registered later counts for nothing:
    an evaluation that was killed may have shown its results.
    """
    found = ""
    for entry in entries:
        facts = entry.facts
        if entry.event == OPENED and (facts.get("run"), facts.get("purpose")) == (run, EVALUATION):
            return found
        if entry.event == REGISTERED and (facts.get("run"), facts.get("policy")) == (run, policy):
            found = str(facts["rules"])
    return ""
