"""Which students were made with the help of purged traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill_gov.purging.edits import Edit, Gone
from distill_gov.purging.rows import place
from distill_gov.purging.selection import runs_of
from distill_gov.records.digest import digest_tree
from distill_gov.records.layout import RunLayout
from distill_gov.records.ledger import LedgerEntry
from distill_gov.records.manifest import read_manifest
from distill_gov.records.purges import AFFECTED, AffectedStudent, read_purges
from distill_gov.teaching_set.examples import read_examples
from evals.evidence import read_subjects

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["affected", "marks_of", "subjects_affected"]


def affected(project: Project, plan: Sequence[Edit], gone: Gone) -> tuple[AffectedStudent, ...]:
    """The trained students of every run that the purged traces went into. Asks the files before they are edited."""
    found = []
    for run in runs_of(project):
        if not (run.manifest("train").exists() and run.student.is_dir()):
            continue
        taught = sum(gone(e.trace) for e in read_examples(run.examples)) if run.examples.is_file() else 0
        tuned = _tuned(project, run, plan)
        if taught or tuned:
            found.append(AffectedStudent(run.name, digest_tree(run.student), _subject(run), taught, tuned))
    return tuple(found)


def _tuned(project: Project, run: RunLayout, plan: Sequence[Edit]) -> int:
    """Rows that go of the very dev and gold files that the run was built with."""
    inputs = read_manifest(run.manifest("build")).inputs if run.manifest("build").exists() else {}
    purges = read_purges(project.layout, project.ledger.entries())
    count = 0
    for name, path in (("dev", project.settings.dev), ("gold", project.settings.gold)):
        for edit in plan:
            where = place(project, edit.path)
            if path and name in inputs and edit.path.resolve() == (project.layout.root / path).resolve():
                # An earlier purge may have taken other rows of the file since.
                count += edit.rows if edit.before in purges.allowed(where, inputs[name]) else 0
    return count


def _subject(run: RunLayout) -> str:
    subjects = read_subjects(run.subjects) if run.subjects.is_file() else {}
    return subjects["student"].digest if "student" in subjects else ""


def subjects_affected(entries: Sequence[LedgerEntry]) -> list[dict[str, Any]]:
    """Every mark of the ledger, as the registry lists it."""
    return [{**e.facts, "at": e.at} for e in entries if e.event == AFFECTED]


def marks_of(entries: Sequence[LedgerEntry], run: str) -> list[Mapping[str, Any]]:
    """The marks of a run's student."""
    return [row for row in subjects_affected(entries) if row["run"] == run]
