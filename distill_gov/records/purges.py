"""Purge records: which files lost content lawfully, from which digest to which. They tell a purged file from a broken one.

A record is written once, before anything is purged, and counts only if the ledger announced it (``purge.begun``): a record that
nobody announced excuses nothing. It holds keyed hashes and file names; no trace's id and no text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import HashMismatchError, MalformedFileError
from distill_gov.records.files import read_json, write_json
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.ledger import LedgerEntry
from distill_gov.records.typed import require_types

__all__ = [
    "AFFECTED",
    "BEGUN",
    "DONE",
    "SEAL_BROKEN",
    "AffectedStudent",
    "PurgeRecord",
    "PurgedTrace",
    "Purges",
    "TouchedFile",
    "purge_notes",
    "read_purges",
    "write_purge",
]

FORMAT = "purge"

BEGUN, DONE, AFFECTED, SEAL_BROKEN = "purge.begun", "purge.done", "student.affected", "holdout.seal_broken"
"""Events of the ledger."""


@dataclass(frozen=True, slots=True)
class PurgedTrace:
    """One trace that went, by keyed hashes (subkey ``purge``)."""

    trace: str
    """Of its id."""
    content: str | None
    """Of its row's canonical JSON; None where its row was in no file any more."""


@dataclass(frozen=True, slots=True)
class TouchedFile:
    """One file that lost content."""

    path: str
    """POSIX path below the project."""
    before: str
    after: str | None
    """None where the whole file went."""
    rows: int
    """Rows that went or were blanked; all of them where the file went."""


@dataclass(frozen=True, slots=True)
class AffectedStudent:
    """A student that was made with the help of purged traces."""

    run: str
    student: str
    """Digest of its weights' directory."""
    subject: str
    """Digest of the subject as it was measured; empty where it was not."""
    taught: int
    """Purged traces among its teaching examples."""
    tuned: int
    """Purged traces among its dev and gold cases: its teacher read them, or its temperatures were fitted on them."""


@dataclass(frozen=True, slots=True)
class PurgeRecord:
    """What one purge takes away, settled before it does."""

    purge: str
    part: int
    """1; a purge that was interrupted goes on with a further part."""
    kind: str
    """``expired`` or ``subject``."""
    at: str
    actor: str
    reason: str
    """Redacted."""
    key_id: str
    """Of the keyed hashes."""
    traces: tuple[PurgedTrace, ...]
    files: tuple[TouchedFile, ...]
    also_removed: Mapping[str, int] = field(default_factory=dict)
    """What no manifest lists: kind (``cache``, ``pages``) to number of files."""
    students: tuple[AffectedStudent, ...] = ()
    not_searched: tuple[str, ...] = ()
    """Files that could carry a trace and that nobody looks into, as paths below the project."""
    unsearched: int = 0
    """Traces in which redaction failed, so that a value could be looked for by its letters only."""


@dataclass(frozen=True, slots=True)
class Purges:
    """Every purge that the ledger announced, in its order."""

    records: tuple[PurgeRecord, ...] = ()
    done: frozenset[str] = frozenset()
    """Purges that came to their end."""
    unannounced: tuple[str, ...] = ()
    """Names of record files that the ledger does not know: left by a purge that was killed before it began, or forged."""
    _of_path: dict[str, dict[tuple[str, str], tuple[PurgeRecord, TouchedFile]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for record in self.records:
            for file in record.files:
                # The part that goes on says it anew: another version of the Parquet library may write other bytes.
                self._of_path.setdefault(file.path, {})[record.purge, file.before] = (record, file)

    @property
    def unfinished(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(r.purge for r in self.records if r.purge not in self.done))

    def of_trace(self, hashed: str) -> list[PurgeRecord]:
        """Records in which a trace is, by the keyed hash of its id."""
        return [record for record in self.records if any(t.trace == hashed for t in record.traces)]

    def current(self, path: str, digest: str) -> str:
        """The digest that a file must have by now if it once had ``digest``; empty where all of it went."""
        return self._walk(path, digest)[-1]

    def allowed(self, path: str, digest: str) -> tuple[str, ...]:
        """Digests that a file may have: :meth:`current`, and while a purge is unfinished also what it had before."""
        walked = self._walk(path, digest)
        open_befores = {f.before for _, f in self._moves(path, finished=False)}
        return (walked[-1], *(d for d in walked[:-1] if d in open_befores))

    def of_run(self, run: str) -> Callable[[str, str], tuple[str, ...]]:
        """:meth:`allowed` for paths below a run."""
        return lambda name, digest: self.allowed(f"runs/{run}/{name}", digest)

    def touching(self, below: str) -> list[tuple[PurgeRecord, TouchedFile]]:
        """Each move of a file below a path, with the record that it is in."""
        return [move for path in self._of_path if path.startswith(below) for move in self._moves(path)]

    def _walk(self, path: str, digest: str) -> list[str]:
        walked = [digest]
        for _, move in self._moves(path):
            if move.before == walked[-1]:
                walked.append(move.after or "")
        return walked

    def _moves(self, path: str, *, finished: bool | None = None) -> list[tuple[PurgeRecord, TouchedFile]]:
        moves = self._of_path.get(path, {}).values()
        return [m for m in moves if finished is None or (m[0].purge in self.done) == finished]


def write_purge(project: ProjectLayout, record: PurgeRecord) -> Path:
    """Write a record and return where it is."""
    path = project.purge(record.purge, record.part)
    write_json(path, asdict(record), format=FORMAT)
    return path


def read_purges(project: ProjectLayout, entries: Sequence[LedgerEntry]) -> Purges:
    """The records that the ledger announced, checked.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError: a record is not there or is none.
        HashMismatchError: a record is not the one that was announced.
    """
    records, names = [], set()
    for entry in entries:
        if entry.event != BEGUN:
            continue
        path = project.purge(str(entry.facts["purge"]), int(entry.facts["part"]))
        names.add(path.name)
        if not path.is_file() or digest_file(path) != entry.facts["record"]:
            raise HashMismatchError("the purge record is not the one that was announced", where=str(path), fix="Restore it.")
        records.append(_record(read_json(path, format=FORMAT), path))
    done = frozenset(str(e.facts["purge"]) for e in entries if e.event == DONE)
    lying = sorted(p.name for p in project.purges.glob("*.json")) if project.purges.is_dir() else []
    return Purges(tuple(records), done, tuple(name for name in lying if name not in names))


def _record(value: dict[str, Any], path: Path) -> PurgeRecord:
    try:
        value["traces"] = tuple(PurgedTrace(**row) for row in value["traces"])
        value["files"] = tuple(TouchedFile(**row) for row in value["files"])
        value["students"] = tuple(AffectedStudent(**row) for row in value["students"])
        value["not_searched"] = tuple(value["not_searched"])
        record = PurgeRecord(**value)
    except (KeyError, TypeError) as error:
        raise MalformedFileError("not a purge record", where=str(path)) from error
    require_types(record, where=str(path))
    return record


def purge_notes(
    purges: Purges, entries: Sequence[LedgerEntry], run: str, holdout: str, shown: Callable[[int], str] = "{:,}".format
) -> list[str]:
    """What a reader of a run must know of purges, in words.

    Args:
        holdout: digest of the holdout that the run was measured on, as its manifest has it; empty where it was not measured.
        shown: how a count is shown.
    """
    notes = []
    touched = purges.touching(f"runs/{run}/")
    if touched:
        names = ", ".join(dict.fromkeys(record.purge for record, _ in touched))
        paths = {file.path for _, file in touched}
        notes.append(
            f"Files of this run that lost content lawfully (purge {names}): {len(paths)}. They are purged, not broken."
        )
    for entry in entries:
        facts = entry.facts
        if entry.event == AFFECTED and facts["run"] == run:
            notes.append(
                f"The student was made with traces that were purged afterwards (purge {facts['purge']}, {entry.at[:10]}): "
                f"taught {shown(int(facts['taught']))}, tuned on {shown(int(facts['tuned']))}."
            )
    chain = {holdout}
    for entry in entries:
        if entry.event == SEAL_BROKEN and entry.facts["digest"] in chain:
            # A further purge takes from what the one before left.
            chain.add(str(entry.facts["left"]))
            notes.append(
                f"Purge {entry.facts['purge']} took cases out of the holdout on {entry.at[:10]} "
                f"({shown(int(entry.facts['rows']))}), which broke its seal: the verdicts stand on the scores of the whole "
                "holdout, and nobody can measure them again."
            )
    return notes
