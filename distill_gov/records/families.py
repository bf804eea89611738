"""Runs that share one teaching set, each with a student of its own: what the ledger says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill_gov.records.ledger import LedgerEntry

__all__ = ["SHARED", "Member", "family_of", "member_of"]

SHARED = "teaching.shared"
"""Event of the ledger: a run took over another one's teaching set, for one student."""


@dataclass(frozen=True, slots=True)
class Member:
    """A run of a family."""

    run: str
    of: str
    """The run whose teaching set it shares."""
    student: str
    """Name of its student in ``distill.yaml``."""
    build: str
    """Digest of the manifest of stage ``build``, the same in both runs."""


def _members(entries: Sequence[LedgerEntry]) -> list[Member]:
    names = ("run", "of", "student", "build")
    return [Member(*(str(e.facts.get(name, "")) for name in names)) for e in entries if e.event == SHARED]


def family_of(entries: Sequence[LedgerEntry], of: str) -> tuple[Member, ...]:
    """The runs that share a run's teaching set, in the order in which they took it over."""
    return tuple({m.run: m for m in _members(entries) if m.of == of}.values())


def member_of(entries: Sequence[LedgerEntry], run: str) -> Member | None:
    """What a run shares; None for one that has a teaching set of its own."""
    return next((m for m in reversed(_members(entries)) if m.run == run), None)
