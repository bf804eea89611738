"""What is looked at in answers besides decisions, validity and harm, and the cases that are asked for it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill_gov.stages.carried import free_texts
from distill_gov.stages.train import read_training
from distill_gov.teaching_set.examples import read_examples
from evals.cases import Case
from evals.catalogue.structured import GRAMMAR_MASS, GRAMMAR_MASS_PER_TOKEN
from evals.fairness import FairnessSuite
from evals.groundedness import GroundednessSuite
from evals.leakage import Detect
from evals.leakage.verbatim import TaughtAnswers, VerbatimSuite
from evals.selective import Abstention
from evals.suites import Suite

if TYPE_CHECKING:
    from distill_gov.project import Project, Run

__all__ = ["NO_MASS", "Signals", "signals_of"]

NO_MASS: Mapping[str, float] = {GRAMMAR_MASS: 0.0, GRAMMAR_MASS_PER_TOKEN: 0.0}
"""Scores of the mass under the grammar where there is no answer to look along: the worst."""


@dataclass(frozen=True, slots=True)
class Signals:
    """The suites of one evaluation."""

    scoring: tuple[Suite, ...] = ()
    """Those that look at every answer to a case of the project's own."""
    asking: tuple[Suite, ...] = ()
    """Those that ask cases of their own."""

    def cases(self, holdout: Sequence[Case]) -> dict[str, list[Case]]:
        """The cases asked for a signal alone, by suite."""
        found: dict[str, list[Case]] = {}
        for suite in self.asking:
            for case in suite.derive(holdout):
                found.setdefault(case.suite, []).append(case)
        return found

    def of(self, case: Case) -> tuple[Suite, ...]:
        """The suites that score a case."""
        return () if case.pair else self.scoring


def signals_of(project: Project, run: Run, detect: Detect) -> Signals:
    """The signals that ``evaluate.signals`` names and that there is something to say about.

    Args:
        detect: of the redaction in use.
    """
    s = project.settings.evaluate
    scoring: list[Suite] = []
    if "groundedness" in s.signals:
        scoring.append(GroundednessSuite(detect=detect, allowed=frozenset(s.known_names)))
    thresholds: Mapping[str, float] = read_training(run.layout.student).get("thresholds", {})
    if "abstention" in s.signals and thresholds:
        scoring.append(Abstention(thresholds))
    if "verbatim" in s.signals and run.layout.examples.exists():
        taught = (text for e in read_examples(run.layout.examples) for text in free_texts(e.answer, project.format_or_none))
        scoring.append(VerbatimSuite(TaughtAnswers(taught)))
    asking: list[Suite] = []
    if "fairness" in s.signals and project.format_or_none is not None and project.format_or_none.fields:
        asking.append(FairnessSuite(tuple(s.fairness.attributes), project.settings.seed, s.fairness.pairs))
    return Signals(tuple(scoring), tuple(asking))
