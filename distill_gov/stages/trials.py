"""One trial of a sweep: a student trained with some settings, and what it did on dev. Nothing here knows of a holdout."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_softmax

from distill_gov.records.digest import digest_bytes, digest_json, digest_tree
from distill_gov.records.errors import BadInputError
from distill_gov.records.files import read_json, write_json
from distill_gov.settings.sweep import settings_digest, with_values
from distill_gov.stages.build import Prepared
from distill_gov.stages.contamination import checked
from distill_gov.stages.scoring import Answered, Scorer
from distill_gov.stages.settled import versions
from distill_gov.stages.student_worker import student_spec
from distill_gov.stages.suites import as_cases
from distill_gov.stages.train import Taught, chat_length, make_student, read_training
from distill_gov.teachers.soft_targets import at_temperature
from distill_gov.traces import read_traces
from distill_gov.workers import Pool
from evals.calibration import fit_temperature
from evals.cases import Case, dataset_digest
from evals.evidence import CaseResult, Subject, read_cases, write_cases
from evals.shards import Failed

if TYPE_CHECKING:
    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run

__all__ = ["DEV", "Dev", "Trial", "Trials", "cross_fitted", "halves", "read_dev", "tuning_project"]

DEV = "dev"
"""The suite that trials are measured on."""

FOLDS = 2
"""A half's decisions are read at the temperature fitted on the other."""


def tuning_project(project: Project) -> Project:
    """The same project without a holdout and without whatever else is measured after training: no path to any of them is left.

    What is asked for them ends in an error, whether the files are there or not.
    """
    blind = {"holdout": "", "suites": {}, "labels": "", "pii_spans": ""}
    return type(project)(project.layout, project.settings.model_copy(update=blind))


# --- dev


@dataclass(frozen=True, slots=True)
class Dev:
    """The cases that trials are measured on."""

    cases: tuple[Case, ...]
    halves: tuple[int, ...]
    """Which half each case is in; all of a conversation are in one."""
    taught: int = 0
    """Cases that were left out since they are in the teaching set: there a trial would be chosen by what it learnt by heart."""

    @property
    def digest(self) -> str:
        return dataset_digest(self.cases)

    @property
    def conversations(self) -> int:
        return len({case.unit for case in self.cases})

    @property
    def clustered(self) -> bool:
        """Whether some cases belong together, so that intervals have to allow for it."""
        return self.conversations < len(self.cases)


def read_dev(project: Project, run: Run) -> Dev:
    """The labelled cases of ``dev``, redacted, without those that the run teaches.

    Raises:
        MissingFileError, MalformedFileError: the file.
        BadInputError: a case that cannot be redacted, or fewer than two conversations.
    """
    s = project.settings
    traces = [t for t in read_traces(project.file(s.dev)) if t.reference]
    every = as_cases(project, DEV, traces)
    known = checked(project, run, {DEV: every}, {DEV: traces}).cases
    cases = tuple(case for case in every if case.id not in known)
    units = {case.unit for case in cases}
    if len(units) < FOLDS:
        raise BadInputError(
            f"{len(units)} labelled conversations that are not taught cannot be cut in two",
            where="distill.yaml: dev",
            fix="Label more of them.",
        )
    of_unit = halves(units, s.seed)
    return Dev(cases, tuple(of_unit[case.unit] for case in cases), len(every) - len(cases))


def halves(units: set[str], seed: int) -> dict[str, int]:
    """Each conversation's half: they are put in the order of a seeded hash and dealt in turns, so that both are as large."""
    order = sorted(units, key=lambda unit: digest_bytes(f"sweep/{seed}/{unit}".encode()))
    return {unit: place % FOLDS for place, unit in enumerate(order)}


def cross_fitted(
    cases: Sequence[Case], folds: Sequence[int], answers: Sequence[Answered], fields: Sequence[str]
) -> tuple[list[Answered], dict[str, list[float]]]:
    """The answers with each decision's distribution at the temperature that was fitted on the *other* half of dev.

    A temperature fitted on the very cases that it is judged by would flatter whoever needs it most. What is written does not
    change: a temperature leaves the order of labels as it is.

    Args:
        answers: with distributions at temperature 1.

    Returns:
        The answers, and by field the temperature that each half was read at; 1 where the other half has no case to fit it on.
    """
    fitted = {name: [_fitted_without(half, name, cases, folds, answers) for half in range(FOLDS)] for name in fields}
    heated: list[Answered] = []
    for half, answer in zip(folds, answers, strict=True):
        if isinstance(answer, Failed):
            heated.append(answer)
            continue
        found = {
            name: _at(logp, fitted[name][half]) if name in fitted else dict(logp) for name, logp in answer["decisions"].items()
        }
        heated.append({**answer, "decisions": found, "raw": answer["decisions"]})
    return heated, fitted


def _fitted_without(
    half: int, name: str, cases: Sequence[Case], folds: Sequence[int], answers: Sequence[Answered]
) -> float:  # fmt: skip
    scores, truth = [], []
    for case, fold, answer in zip(cases, folds, answers, strict=True):
        label = (case.reference or {}).get(name)
        if fold == half or isinstance(answer, Failed) or label not in answer["decisions"].get(name, {}):
            continue
        logp = answer["decisions"][name]
        scores.append(list(logp.values()))
        truth.append(list(logp).index(label))
    return fit_temperature(scores, truth) if scores else 1.0


def _at(logp: Mapping[str, float], temperature: float) -> dict[str, float]:
    scaled = log_softmax(np.array(list(logp.values())) / temperature)
    return dict(zip(logp, scaled.tolist(), strict=True))


# --- trials


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one candidate."""

    name: str
    """By content: the same settings, teaching set and dev give the same."""
    results: tuple[CaseResult, ...]
    """One a case of dev; none where the training stopped."""
    facts: Mapping[str, Any]
    """``parameters``, ``layers``, ``temperature`` (field to that of each half), ``seconds``, ``stopped`` (why)."""

    @property
    def stopped(self) -> str:
        return str(self.facts["stopped"])

    @property
    def seconds(self) -> float:
        return float(self.facts["seconds"])


class Trials:
    """Trains candidates and measures them on dev; each is kept, so that a killed sweep goes on with the next.

    Args:
        project: made by :func:`tuning_project`.
        taught: the teaching set of the run, and its digest.
    """

    def __init__(self, project: Project, taught: Sequence[Taught], teaching: str, dev: Dev, base: Mapping[str, str]) -> None:
        self.project, self.taught, self.teaching, self.dev, self.base = project, taught, teaching, dev, base
        self.scorer = Scorer(project)

    def run(self, values: Mapping[str, Any], progress: Progress) -> Trial:
        """Train and measure one candidate, or read what came of it before.

        Raises:
            DistillGovError: whatever stops it but a loss that is not finite, which is a result.
        """
        from distill_gov.trainer.train import TrainingStoppedError

        candidate = self._candidate(values)
        name = self._key(candidate)
        place = self.project.layout.trial(name)
        kept, cases, student = place / "trial.json", place / "cases.parquet", place / "student"
        if kept.exists():
            return Trial(name, tuple(read_cases(cases)), read_json(kept, format="trial")["facts"])
        for left in place.glob(".student.*"):
            shutil.rmtree(left)  # what a killed trial was writing
        clock = Prepared(progress)
        try:
            if not student.exists():
                self._train(candidate, student, clock)
        except TrainingStoppedError as error:
            results: list[CaseResult] = []
            facts: dict[str, Any] = {"parameters": None, "layers": None, "temperature": {}, "stopped": error.what}
        else:
            made = read_training(student)["student"]
            results, temperature = self._measured(name, candidate, clock)
            facts = {"parameters": made["parameters"], "layers": made["layers"], "temperature": temperature, "stopped": ""}
        facts["seconds"] = round(sum(clock.seconds.values()), 2)
        write_cases(cases, results)
        write_json(kept, {"facts": facts}, format="trial")
        # Its weights are of no further use: `train` makes the chosen student anew.
        shutil.rmtree(student, ignore_errors=True)
        return Trial(name, tuple(read_cases(cases)), facts)

    def _candidate(self, values: Mapping[str, Any]) -> Project:
        """A project of its own settings; without dev, so that no training sees what it is chosen by."""
        settings = with_values(self.project.settings, values).model_copy(update={"dev": ""})
        candidate = type(self.project)(self.project.layout, settings)
        candidate.redactor = self.project.redactor
        return candidate

    def _train(self, candidate: Project, target: Path, clock: Prepared) -> None:
        teacher = candidate.settings.teacher
        recorded = teacher.kind == "recorded"
        lessons = self.taught if recorded else [(e, at_temperature(t, teacher.temperature)) for e, t in self.taught]
        make_student(candidate, lessons, target, clock, hard_only=recorded)

    def _key(self, candidate: Project) -> str:
        s = candidate.settings
        whole = {
            "settings": settings_digest(s),
            "base": self.base[s.student.base or s.teacher.model],
            "teaching": self.teaching,
            "dev": self.dev.digest,
            "redactor": self.project.redactor.digest,
            "decoding": s.evaluate.decoding,
            "schema": digest_json(self.project.answer_document or {}),
            "versions": versions(),
        }
        return digest_json(["trial/1", whole])[7:19]

    def _measured(self, name: str, candidate: Project, clock: Prepared) -> tuple[list[CaseResult], dict[str, list[float]]]:
        s, cases = candidate.settings, self.dev.cases
        directory = self.project.layout.trial(name) / "student"
        spec = student_spec(directory, self.project.answer_document, {}, s.student.max_tokens)
        items = [{"messages": [dict(m) for m in case.messages]} for case in cases]
        with Pool(spec, None, s.workers) as pool, clock.step("answering dev", len(items)) as advance:
            answers = pool.run(
                s.evaluate.decoding, items, length=chat_length, size=s.evaluate.batch_size, advance=advance, keep_failures=True
            )
        fields = [field.name for field in self.project.format.fields]
        answers, temperature = cross_fitted(cases, self.dev.halves, answers, fields)
        subject = Subject(
            name=name,
            role="student",
            model=digest_tree(directory),
            prompt=digest_json([]),
            template=digest_json("student template/1"),
            decoding=f"{s.evaluate.decoding}, {s.student.max_tokens} tokens, temperatures cross-fitted on dev",
            engine=f"transformers {versions().get('transformers', '')}",
        )
        with clock.step("scoring", len(cases)):
            results = self.scorer.measured(subject, DEV, cases, answers, {})
        # Nobody reads the answers of a trial, so none is kept.
        return [replace(result, output="") for result in results], temperature
