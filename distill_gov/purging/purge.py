"""``purge``: announced in the ledger, then done; killed anywhere, the next one goes on where it stopped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from distill_gov.progress import Progress
from distill_gov.purging.edits import Edit, Gone, cached, edits, not_searched, pages
from distill_gov.purging.rows import log_opening, place, raw_files
from distill_gov.purging.selection import Selection, expired, of_subject, of_value, runs_of
from distill_gov.purging.students import affected, subjects_affected
from distill_gov.records.digest import canonical_json, digest_file, digest_json
from distill_gov.records.errors import BadInputError
from distill_gov.records.keys import Subkey
from distill_gov.records.ledger import Ledger
from distill_gov.records.manifest import now
from distill_gov.records.purges import (
    AFFECTED,
    BEGUN,
    DONE,
    SEAL_BROKEN,
    PurgedTrace,
    PurgeRecord,
    TouchedFile,
    read_purges,
    write_purge,
)
from distill_gov.stages.settled import remove_unfinished, remove_unfinished_of
from evals.holdout import cases_digest
from gates.registry import write_affected

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["PurgeRequest", "Purged", "purge", "purge_key"]

_ROLE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """What is asked for."""

    kind: Literal["expired", "subject"]
    reason: str
    actor: str
    """A role account such as ``privacy-officer``."""
    key: str = ""
    """A trace's id, a group's, or a value's keyed hash."""
    value: str = ""
    """A personal value; never stored, never shown."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What was done, or with a dry run would be."""

    record: PurgeRecord | None
    """None where there was nothing to purge."""
    resumed: tuple[str, ...] = ()
    """Earlier purges that were brought to their end first."""
    dry_run: bool = False
    holdout: int = 0
    """Rows that the holdout lost: its seal is broken."""


def purge_key(project: Project) -> Subkey:
    """The key of the hashes in purge records."""
    return project.keyring.subkey("purge")


def purge(project: Project, asked: PurgeRequest, progress: Progress, *, dry_run: bool = False) -> Purged:
    """Take the content of traces out of a project.

    Raises:
        BadInputError: no reason, no role, a key that names no trace, or another purge is running.
        MalformedFileError: a file that may carry a trace cannot be read; nothing is purged then.
    """
    _check(asked)
    lock = project.layout.root / ".distill-gov" / "purge.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(str(lock), timeout=0):
            return _purge(project, asked, progress, dry_run)
    except Timeout:
        raise BadInputError("another purge of this project is running", fix="Wait for it.") from None


def _check(asked: PurgeRequest) -> None:
    if not asked.reason.strip():
        raise BadInputError("a purge needs a reason", fix="Give one with --reason.")
    if not _ROLE.fullmatch(asked.actor):
        raise BadInputError(
            "the actor must be a role account: 1-64 of a-z, 0-9, dot, dash, underscore", fix="Such as privacy-officer."
        )


def _purge(project: Project, asked: PurgeRequest, progress: Progress, dry_run: bool) -> Purged:
    ledger = Ledger(project.layout.ledger, actor=asked.actor)
    resumed = [] if dry_run else _resume(project, ledger, progress)
    log_opening(project, ledger)
    selection = _selected(project, asked, progress)
    if not selection.traces:
        if asked.kind == "subject" and not resumed:
            raise BadInputError("the key of --subject names no trace of this project", fix="Nothing was purged.")
        return Purged(None, tuple(resumed), dry_run)
    key = purge_key(project)
    hashes = frozenset(key.mac("id", trace) for trace in selection.traces)
    draft = PurgeRecord(
        purge="p" + digest_json([sorted(hashes), len(ledger.entries())]).removeprefix("sha256:")[:12],
        part=1,
        kind=asked.kind,
        at=now(),
        actor=ledger.actor,
        reason=project.redactor.redact(asked.reason.strip()).text,
        key_id=key.key_id,
        traces=tuple(PurgedTrace(h, None) for h in sorted(hashes)),
        files=(),
        unsearched=selection.unsearched,
    )
    plan, record = _planned(project, draft, progress)
    if not plan:
        return Purged(None, tuple(resumed), dry_run)
    if not dry_run:
        _perform(project, ledger, record, plan, progress)
    return Purged(record, tuple(resumed), dry_run, _lost_of_holdout(project, plan))


def _selected(project: Project, asked: PurgeRequest, progress: Progress) -> Selection:
    if asked.kind == "expired":
        return expired(project, project.settings.today or datetime.now(UTC).date())
    with progress.step("looking for the subject") as step:
        if asked.value:
            return of_value(project, asked.value, step.advance)
        return of_subject(project, asked.key, step.advance)


def _resume(project: Project, ledger: Ledger, progress: Progress) -> list[str]:
    """Bring to their end what earlier purges announced."""
    purges = read_purges(project.layout, ledger.entries())
    for part in purges.unannounced:
        # Written by a purge that was killed before it announced anything, and so did nothing.
        (project.layout.purges / part).unlink()
    for name in purges.unfinished:
        log_opening(project, ledger)
        parts = [record for record in purges.records if record.purge == name]
        for path in {file.path for record in parts for file in record.files}:
            remove_unfinished_of(project.layout.root / path)
        remove_unfinished_of(project.layout.registry / "affected.json")
        last = parts[-1]
        plan, record = _planned(project, replace(last, part=last.part + 1, at=now(), actor=ledger.actor), progress)
        _perform(project, ledger, record, plan, progress)
    return list(purges.unfinished)


# -- planning -------------------------------------------------------------------------------------------------------------


def _planned(project: Project, draft: PurgeRecord, progress: Progress) -> tuple[list[Edit], PurgeRecord]:
    """The edits, and the record with all that they will come to."""
    gone = _gone(project, draft)
    with progress.step("looking through the files"):
        plan = edits(project, gone)
        files = tuple(TouchedFile(place(project, e.path), e.before, e.after, e.rows) for e in plan)
        removed = {"cache": len(cached(project.layout)), "pages": len(pages(project))}
        before = {s.run: s for s in draft.students}
        students = affected(project, plan, gone)
    record = replace(
        draft,
        traces=_with_content(project, draft.traces, gone),
        files=files,
        also_removed=dict(Counter(removed) + Counter(draft.also_removed)),
        # What an earlier part found may not be seen any more.
        students=tuple({**{s.run: s for s in students}, **before}.values()),
        not_searched=tuple(not_searched(project)),
    )
    return plan, record


def _gone(project: Project, record: PurgeRecord) -> Gone:
    key, wanted, known = purge_key(project), {t.trace for t in record.traces}, dict[str, bool]()
    if key.key_id != record.key_id:
        raise BadInputError(
            "the project's key is not the one under which this purge was begun", where=record.purge, fix="Restore the key."
        )

    def gone(trace: str) -> bool:
        if trace not in known:
            known[trace] = key.mac("id", trace) in wanted
        return known[trace]

    return gone


def _with_content(project: Project, traces: Sequence[PurgedTrace], gone: Gone) -> tuple[PurgedTrace, ...]:
    """The traces with the keyed hash of their row, in the first file that has it."""
    key, found = purge_key(project), {t.trace: t.content for t in traces}
    for file in raw_files(project):
        for row in file.rows() or ():
            if gone(row.trace) and found[hashed := key.mac("id", row.trace)] is None:
                found[hashed] = key.mac("content", canonical_json(row.value).decode("utf-8"))
    return tuple(PurgedTrace(trace, content) for trace, content in found.items())


def _lost_of_holdout(project: Project, plan: Sequence[Edit]) -> int:
    holdout = (project.layout.root / project.settings.holdout).resolve()
    return sum(edit.rows for edit in plan if edit.path.resolve() == holdout)


# -- acting ---------------------------------------------------------------------------------------------------------------


def _perform(project: Project, ledger: Ledger, record: PurgeRecord, plan: Sequence[Edit], progress: Progress) -> None:
    for run in runs_of(project):
        remove_unfinished(run.root)
    path = write_purge(project.layout, record)
    announced = {"purge": record.purge, "part": record.part, "record": digest_file(path), "kind": record.kind}
    # Nothing is touched before the ledger has it.
    ledger.append(BEGUN, {**announced, "reason": record.reason, "traces": len(record.traces), "files": len(record.files)})
    _mark_students(project, ledger, record)
    _break_seal(project, ledger, record, plan)
    others = [*pages(project), *cached(project.layout)]
    with progress.step("purging", len(plan) + len(others)) as step:
        for edit in plan:
            edit.apply()
            step.advance()
        for file in others:
            file.unlink(missing_ok=True)
            step.advance()
    ledger.append(DONE, {"purge": record.purge, "parts": record.part})


def _mark_students(project: Project, ledger: Ledger, record: PurgeRecord) -> None:
    entries = ledger.find(AFFECTED)
    marked = {(e.facts["purge"], e.facts["run"]) for e in entries}
    for s in record.students:
        if (record.purge, s.run) not in marked:
            facts = {"run": s.run, "student": s.student, "subject": s.subject, "purge": record.purge}
            ledger.append(AFFECTED, {**facts, "taught": s.taught, "tuned": s.tuned})
    if rows := subjects_affected(ledger.entries()):
        write_affected(project.layout.registry, rows)


def _break_seal(project: Project, ledger: Ledger, record: PurgeRecord, plan: Sequence[Edit]) -> None:
    """Say that the holdout's seal is broken knowingly, and what the holdout will be without the rows."""
    holdout = (project.layout.root / project.settings.holdout).resolve()
    edit = next((e for e in plan if e.path.resolve() == holdout and e.make is not None), None)
    if edit is None or edit.make is None or any(e.facts["purge"] == record.purge for e in ledger.find(SEAL_BROKEN)):
        return
    facts = {
        "purge": record.purge,
        "file": project.settings.holdout,
        "rows": edit.rows,
        "cases_before": cases_digest(edit.path),
    }
    ledger.append(SEAL_BROKEN, {**facts, "digest": edit.before, "cases": _cases(edit.make), "left": edit.after})


def _cases(make: Callable[[], bytes]) -> str:
    """Digest of what the holdout asks without the purged rows; it is in no file yet."""
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "holdout.jsonl"
        path.write_bytes(make())
        return cases_digest(path)
