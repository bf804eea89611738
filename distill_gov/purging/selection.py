"""Which traces a purge is about: those whose time is over, or those of one data subject."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from distill_gov.purging.rows import RawRow, raw_files
from distill_gov.records.errors import BadInputError, DistillGovError, MalformedFileError
from distill_gov.records.files import loads_strict, read_parquet
from distill_gov.records.layout import RunLayout
from distill_gov.stages.identifiers import personal_entities
from distill_gov.teaching_set.examples import trace_of
from redaction.entities import ENTITIES
from redaction.findings import FINDING_FORMAT

if TYPE_CHECKING:
    from distill_gov.project import Project
    from redaction import Redactor

__all__ = ["Selection", "expired", "known_traces", "of_subject", "of_value", "runs_of"]

_HASH = re.compile(r"[0-9a-f]{64}")
_SHORTEST = 3
"""Letters and digits that a value must have to be searched for by them."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The traces of a purge."""

    traces: frozenset[str]
    unsearched: int = 0
    """Traces in which redaction failed; a value was looked for in them by its letters only."""


def expired(project: Project, today: date) -> Selection:
    """Traces whose ``retention_until`` is before today.

    Raises:
        MalformedFileError: a date that is none, with file and line.
    """
    rows = _all_rows(project)
    return Selection(frozenset(row.trace for row in rows if (until := _until(row)) is not None and until < today))


def _until(row: RawRow) -> date | None:
    value = row.value.get("retention_until")
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise MalformedFileError("key `retention_until` must be a date such as 2027-12-31", where=row.where) from None


def of_subject(project: Project, key: str, advance: Callable[[int], None] = lambda _: None) -> Selection:
    """Traces that a key names: a trace's id, a group's, or a value's keyed hash as ``findings.parquet`` has it.

    Raises:
        BadInputError: the key is itself personal data, which must not stand on a command line.
    """
    if _HASH.fullmatch(key):
        found = _with_hashes(project, frozenset([key]), advance)
        if found.traces:
            return found
    elif personal_entities(project.redactor, [key]):
        raise BadInputError(
            "the key of --subject holds personal data, and a shell remembers it",
            fix="Give it on standard input: `--subject -`. Remove it from the shell's history.",
        )
    return Selection(_named(project, key))


def of_value(project: Project, value: str, advance: Callable[[int], None] = lambda _: None) -> Selection:
    """Traces in which redaction finds a value, or that hold its letters and digits, whatever stands between them.

    Raises:
        BadInputError: the value is too short to be searched for.
    """
    pattern = _spelled(value)
    redactor = project.redactor
    hashes = frozenset(redactor.value_hash(entity, value) for entity in ENTITIES)
    found = _with_hashes(project, hashes, advance)
    by_letters = {row.trace for row in _all_rows(project) if any(pattern.search(_folded(text)) for text in _texts(row.value))}
    return Selection(found.traces | by_letters | _named(project, value), found.unsearched)


def known_traces(run: RunLayout) -> set[str]:
    """Ids of traces and cases that a run's tables name."""
    found: set[str] = set()
    for path in sorted(run.root.rglob("*.parquet")):
        columns = [name for name in ("item", "trace", "case") if name in pq.read_schema(path).names]
        for name in columns:
            values = pq.read_table(path, columns=[name]).column(name).unique().to_pylist()
            found |= {v for v in values if isinstance(v, str)}
    return found


def runs_of(project: Project) -> list[RunLayout]:
    """Every run of a project, finished or not."""
    runs = project.layout.runs
    return [RunLayout(path) for path in sorted(runs.iterdir()) if path.is_dir()] if runs.is_dir() else []


def _all_rows(project: Project) -> list[RawRow]:
    return [row for file in raw_files(project) for row in file.rows() or ()]


def _named(project: Project, key: str) -> frozenset[str]:
    """Traces whose id or group is the key."""
    found = {row.trace for row in _all_rows(project) if key in (row.trace, row.value.get("group"))}
    for run in runs_of(project):
        found |= {key} & known_traces(run)
        for path in sorted(run.root.glob("evidence/cases/*.parquet")):
            rows = pq.read_table(path, columns=["case", "cluster"]).to_pylist()
            found |= {row["case"] for row in rows if row["cluster"] == key}
    return frozenset(found)


def _with_hashes(project: Project, hashes: frozenset[str], advance: Callable[[int], None]) -> Selection:
    """Traces in which a run's findings have one of the hashes, or in which redaction finds such a value now."""
    redactor = project.redactor
    found: set[str] = set()
    for run in runs_of(project):
        if run.findings.is_file():
            stored = read_parquet(run.findings, format=FINDING_FORMAT)
            found |= {f["item"] for f in stored if f["value_hash"] in hashes and f["key_id"] == redactor.key_id}
    rows = _all_rows(project)
    ids = {row.trace for row in rows}
    # An answer's findings are its trace's.
    found = {item if item in ids else trace_of(item) for item in found}
    failed = 0
    for row, done in zip(rows, _redacted(redactor, rows), strict=True):
        if done is None:
            failed += 1
        elif done & hashes:
            found.add(row.trace)
        advance(1)
    return Selection(frozenset(found), failed)


def _redacted(redactor: Redactor, rows: Sequence[RawRow]) -> Iterable[frozenset[str] | None]:
    """The hashes of what redaction finds in each row; None where it fails."""
    chats = ((row.trace, [{"role": "user", "content": text} for text in _texts(row.value)]) for row in rows)
    for done in redactor.redact_chats(chats):
        yield None if isinstance(done, DistillGovError) else frozenset(f.value_hash for f in done.findings)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value, *_texts(_inside(value))]
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list) else []


def _inside(text: str) -> Any:
    """The JSON that a text is itself, as a tool call's arguments are; nothing where it is none."""
    if text[:1] not in ("{", "["):
        return []
    try:
        return loads_strict(text, where="a raw row")
    except MalformedFileError:
        return []


def _folded(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if unicodedata.category(c) != "Cf")


def _spelled(value: str) -> re.Pattern[str]:
    """Finds a value in a folded text: its words whole and in order, or its digits, with any signs and spaces between."""
    folded = _folded(value)
    if sum(c.isalnum() for c in folded) < _SHORTEST:
        raise BadInputError("the value is too short to be searched for", fix="Give a trace's id, or a group's.")
    words = re.findall(r"[^\W_]+", folded)
    digits = [c for word in words for c in word]
    parts, between = (digits, r"[\W_]*") if all(c.isdigit() for c in digits) else (words, r"[\W_]+")
    return re.compile(rf"(?<![^\W_]){between.join(map(re.escape, parts))}(?![^\W_])")
