"""A suite: one quality signal of a model, with the scores it gives a case and the cases it adds.

What every structured answer is scored for stands in ``evals.score``; a suite adds to it. Suites are values that know what they
need (a detector, a filter, an index of the teaching set), so that ``evals.run`` and the lifecycle take the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evals.cases import Case
from evals.evidence import FieldDecision

__all__ = ["ReadAnswer", "Suite"]


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """An answer as its reader takes it."""

    valid: bool
    """Whether it is valid under the schema; of a free text always."""
    value: Mapping[str, Any]
    """Its properties; empty where it is not valid, or no object."""
    reply: str
    """What a person reads: the property ``reply``, or the whole text where there is none."""
    text: str = ""
    """The whole answer, as the model gave it."""
    decisions: Sequence[FieldDecision] = ()


class Suite(Protocol):
    """One quality signal. Frozen and without side effects: the same answer gets the same scores."""

    @property
    def name(self) -> str:
        """Word for it, in files and on pages."""
        ...

    def derive(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Cases to be run besides (counterfactuals, probes), each with a ``suite`` of its own; none by default."""
        ...

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> Mapping[str, float]:
        """Scores of one answer, by their names in the catalogue; a score that does not apply to the case is absent.

        Args:
            shown: the user's side as the model saw it.
        """
        ...

    def worst(self, case: Case) -> Mapping[str, float]:
        """The worst scores of the case, for exactly those that apply to it: what an errored case counts as."""
        ...
