"""Who was measured on a holdout, as the ledger has it: choosing among many is what a holdout is used up by."""

from __future__ import annotations

from collections.abc import Sequence

from distill_gov.records.ledger import LedgerEntry
from distill_gov.records.purges import SEAL_BROKEN

__all__ = ["MEASURED", "SEALED", "same_holdout", "students_measured"]

SEALED, MEASURED = "holdout.sealed", "student.measured"
"""Events of the ledger."""


def same_holdout(entries: Sequence[LedgerEntry], seal: str) -> set[str]:
    """The seals under which these cases, or what a purge left of them, were ever sealed.

    A holdout that was sealed anew with the same cases is the same one: other spacing, ids or labels renew nothing.
    """
    cases = {e.facts.get("digest"): e.facts.get("cases") for e in entries if e.event == SEALED}
    group = {cases.get(seal)}
    shrunk = [{e.facts["cases_before"], e.facts["cases"]} for e in entries if e.event == SEAL_BROKEN]
    for pair in (*shrunk, *reversed(shrunk)):
        group |= pair if group & pair else set()
    return {seal, *(str(other) for other, found in cases.items() if found is not None and found in group)}


def students_measured(entries: Sequence[LedgerEntry], seal: str) -> tuple[str, ...]:
    """Digests of the students that were measured on a holdout, in whatever run, each once and in order."""
    same = same_holdout(entries, seal)
    return tuple(dict.fromkeys(str(e.facts["student"]) for e in entries if e.event == MEASURED and e.facts.get("seal") in same))
