"""What is looked at in answers besides decisions, validity and harm, and the cases that are asked for it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill_gov.records.files import read_parquet
from distill_gov.stages.canaries import canary_cases, canary_suite
from distill_gov.stages.carried import free_texts
from distill_gov.stages.chats import user_text
from distill_gov.stages.train import read_training
from distill_gov.teaching_set.examples import TeachingExample, read_examples
from evals.cases import Case
from evals.catalogue.structured import GRAMMAR_MASS, GRAMMAR_MASS_PER_TOKEN
from evals.fairness import FairnessSuite, pair_ids
from evals.groundedness import GroundednessSuite
from evals.leakage import Detect
from evals.leakage.extraction import EXTRACTION, EXTRACTION_CHAT, ExtractionSuite, TaughtText
from evals.leakage.verbatim import TaughtAnswers, VerbatimSuite
from evals.selective import Abstention
from evals.suites import Suite
from redaction.findings import FINDING_FORMAT

if TYPE_CHECKING:
    from distill_gov.project import Project, Run

__all__ = ["NO_MASS", "Signals", "asked_besides", "planned_signals", "signals_of"]

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
        if case.pair:
            return ()
        return self.scoring if case.ask == "answer" else self.asking


def signals_of(project: Project, run: Run, detect: Detect) -> Signals:
    """The signals that ``evaluate.signals`` names and that there is something to say about.

    Args:
        detect: of the redaction in use.
    """
    s = project.settings.evaluate
    scoring: list[Suite] = []
    if "groundedness" in s.signals:
        scoring.append(GroundednessSuite(detect=detect, allowed=frozenset(s.known_names)))
    training = read_training(run.layout.student)
    thresholds: Mapping[str, float] = training.get("thresholds", {})
    if "abstention" in s.signals and thresholds:
        scoring.append(Abstention(thresholds))
    examples = read_examples(run.layout.examples) if run.layout.examples.exists() else None
    if "verbatim" in s.signals and examples is not None:
        taught = (text for e in examples for text in free_texts(e.answer, project.format_or_none))
        scoring.append(VerbatimSuite(TaughtAnswers(taught)))
    asking: list[Suite] = [*_fairness(project)]
    if "extraction" in s.signals and examples is not None:
        asking.append(_extraction(project, run, examples))
    if (canaries := canary_suite(project, training)) is not None:
        asking.append(canaries)
    return Signals(tuple(scoring), tuple(asking))


def asked_besides(project: Project, holdout: Sequence[Case]) -> dict[str, int]:
    """Suite to the cases that are planned for one signal alone; of attempts at extraction the most that there may be."""
    s = project.settings.evaluate
    pairs = pair_ids([case for suite in _fairness(project) for case in suite.derive(holdout)])
    probes = dict.fromkeys((EXTRACTION, EXTRACTION_CHAT), s.probes) if "extraction" in s.signals else {}
    return {**{suite: len(ids) for suite, ids in pairs.items()}, **probes, **canary_cases(project)}


def planned_signals(project: Project) -> list[Suite]:
    """Suites that say of each case whether it will count, as :func:`signals_of` will make them; nothing is scored by them."""
    s, answer = project.settings, project.format_or_none
    found: list[Suite] = []
    if "groundedness" in s.evaluate.signals:
        found.append(GroundednessSuite())
    if "verbatim" in s.evaluate.signals:
        found.append(VerbatimSuite(TaughtAnswers(())))
    if "abstention" in s.evaluate.signals and s.dev and answer is not None and answer.fields:
        found.append(Abstention({field.name: 1.0 for field in answer.fields}))
    return found


def _fairness(project: Project) -> list[FairnessSuite]:
    s, answer = project.settings.evaluate, project.format_or_none
    if "fairness" not in s.signals or answer is None or not answer.fields:
        return []
    return [FairnessSuite(tuple(s.fairness.attributes), project.settings.seed, s.fairness.pairs)]


def _extraction(project: Project, run: Run, examples: Sequence[TeachingExample]) -> ExtractionSuite:
    redactor, key_id = project.redactor, project.redactor.key_id
    stored = read_parquet(run.layout.findings, format=FINDING_FORMAT)
    return ExtractionSuite(
        texts=[TaughtText(e.trace, user_text(e.messages)) for e in examples],
        # What a purge took out has no hash any more.
        known=frozenset(f["value_hash"] for f in stored if f["value_hash"] and f["key_id"] == key_id),
        find=lambda text: [found[:3] for found in redactor.detect(text)],
        value_hash=redactor.value_hash,
        most=project.settings.evaluate.probes,
    )
