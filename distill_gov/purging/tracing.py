"""``trace``: where one trace went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from distill_gov.purging.purge import purge_key
from distill_gov.purging.rows import log_opening, place, raw_files
from distill_gov.purging.selection import runs_of
from distill_gov.purging.students import marks_of
from distill_gov.records.books import DECISION_FORMAT
from distill_gov.records.digest import digest_tree
from distill_gov.records.errors import BadInputError
from distill_gov.records.files import read_parquet
from distill_gov.records.layout import RunLayout
from distill_gov.records.ledger import LedgerEntry
from distill_gov.records.manifest import read_manifest
from distill_gov.stages.review import review_id
from distill_gov.teaching_set.examples import answer_id, trace_of
from evals.evidence import read_subjects
from gates.registry import read_aliases

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["InRun", "PurgedWhen", "TraceReport", "where_is"]


@dataclass(frozen=True, slots=True)
class InRun:
    """What a run did with a trace."""

    run: str
    outcome: str
    """``taught``, ``taught, purged``, ``dropped``, ``reserved``, ``kept`` (a build that made no example of it), or empty."""
    stage: str
    """Stage that dropped or reserved it."""
    rule: str
    reason: str
    suites: tuple[str, ...]
    """Suites in which it was a case."""
    reviewed: bool
    """Whether a reviewer got to see it."""
    student: str
    """Digest of the run's weights; empty where there are none."""
    aliases: tuple[str, ...]
    """What stands for the run's student."""
    affected: bool
    """Whether the student is marked as made with purged traces, of which this may be one."""


@dataclass(frozen=True, slots=True)
class PurgedWhen:
    """One purge of a trace."""

    purge: str
    at: str
    kind: str
    reason: str
    actor: str
    finished: bool


@dataclass(frozen=True, slots=True)
class TraceReport:
    """Where a trace is and was. It does not repeat the id: one that nobody checked may be personal data."""

    files: tuple[str, ...]
    """Raw files that carry it."""
    runs: tuple[InRun, ...]
    purges: tuple[PurgedWhen, ...]
    not_comparable: int = 0
    """Purges under another key, of which nobody can tell whether the trace was in them."""


def where_is(project: Project, trace: str) -> TraceReport:
    """Look through raw files, runs, registry and purge records.

    Raises:
        BadInputError: no trace of that id is or was in the project; the id is not repeated.
    """
    log_opening(project, project.ledger)
    entries, purges, key = project.ledger.entries(), project.purges(), purge_key(project)
    files = tuple(
        place(project, file.path) for file in raw_files(project) if any(row.trace == trace for row in file.rows() or ())
    )
    gone = purges.of_trace(key.mac("id", trace))
    runs = [_in_run(project, run, trace, entries, bool(gone)) for run in runs_of(project)]
    found = tuple(run for run in runs if run is not None)
    other = sum(record.key_id != key.key_id for record in purges.records)
    if not (files or found or gone):
        where = f"; {other} purges are under another key and cannot be compared" if other else ""
        raise BadInputError(f"no trace of this id is or was in the project{where}", fix="Ids are compared letter by letter.")
    # The parts of one purge are one.
    parts = {r.purge: PurgedWhen(r.purge, r.at, r.kind, r.reason, r.actor, r.purge in purges.done) for r in reversed(gone)}
    return TraceReport(files, found, tuple(reversed(parts.values())), other)


def _in_run(project: Project, run: RunLayout, trace: str, entries: Sequence[LedgerEntry], purged: bool) -> InRun | None:
    books = read_parquet(run.decisions, format=DECISION_FORMAT) if run.decisions.is_file() else []
    mine = [row for row in books if trace in (row["item"], row["parent"]) or _is_answer_to(trace, row)]
    suites = tuple(sorted({path.stem.split(".", 1)[0] for path in _case_files(run) if trace in _column(path, "case")}))
    if not mine and not suites:
        return None
    taught = run.examples.is_file() and trace in _column(run.examples, "trace")
    decided = next((row for row in mine if row["outcome"] != "kept"), None)
    outcome = "taught" if taught else decided["outcome"] if decided else "taught, purged" if mine and purged else "kept"
    student = digest_tree(run.student) if run.student.is_dir() else ""
    subjects = read_subjects(run.subjects) if run.subjects.is_file() else {}
    subject = subjects["student"].digest if "student" in subjects else ""
    aliases = [p.alias for p in read_aliases(project.layout.registry).values() if subject and p.student == subject]
    return InRun(
        run.name,
        outcome if mine else "",
        decided["stage"] if decided else "",
        decided["rule"] if decided else "",
        decided["reason"] if decided else "",
        suites,
        _was_reviewed(project, run, trace),
        student,
        tuple(sorted(aliases)),
        purged and bool(marks_of(entries, run.name)),
    )


def _is_answer_to(trace: str, row: Mapping[str, Any]) -> bool:
    return row["unit"] == "answer" and trace_of(row["item"]) == trace


def _was_reviewed(project: Project, run: RunLayout, trace: str) -> bool:
    path = run.manifest("build")
    built = read_manifest(path) if path.exists() else None
    facts: Any = built.facts.get("review") if built else None
    if not built or not facts:
        return False
    teachers: list[Any] = [built.settings.get("teacher", {}), *built.settings.get("teachers", {}).values()]
    answers = max(int(teacher.get("samples", 1)) for teacher in teachers)
    return any(review_id(project, answer_id(trace, sample)) in facts["rows"] for sample in range(answers))


def _case_files(run: RunLayout) -> list[Any]:
    return sorted((run.subjects.parent / "cases").glob("*.parquet"))


def _column(path: Any, name: str) -> list[Any]:
    values: list[Any] = pq.read_table(path, columns=[name]).column(name).to_pylist()
    return values
