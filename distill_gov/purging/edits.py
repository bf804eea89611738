"""What has to be done to each file so that nothing of the purged traces is left in it.

Rows of raw files and of the teaching set go. Findings keep type and place and lose the keyed hash of the value; case results
keep their scores and lose the answer. Books and measurements hold ids and numbers only and stay. What people got to read
(packets, pages) goes as a whole, and so do the caches: a shard's name depends on all traces in it, so that most of them would
never be found again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from distill_gov.purging.rows import place, raw_files
from distill_gov.purging.selection import runs_of
from distill_gov.records.digest import digest_bytes, digest_file
from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import format_name, write_bytes
from distill_gov.records.layout import HUMAN_RATINGS, SIMULATED_RATINGS, ProjectLayout, RunLayout
from distill_gov.records.manifest import read_manifest
from distill_gov.stages.review import review_id
from distill_gov.stages.settled import exported_stage
from distill_gov.teachers.target_store import without_examples
from distill_gov.teaching_set.examples import FORMAT as EXAMPLES
from distill_gov.teaching_set.examples import trace_of
from evals.contamination import FORMAT as TEXT_HASHES
from redaction.findings import FINDING_FORMAT
from redaction.operators.stand_ins import item_scope
from redaction.vault import Vault

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["Edit", "Gone", "cached", "edits", "not_searched", "pages"]

Gone = Callable[[str], bool]
"""Whether a trace, by its id, is to be purged."""

_DATA_LIKE = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|parquet|arrow|xlsx?|txt|html|db|sqlite|duckdb|gz|zip|tar|tgz|bz2|xz|zst|pickle|pkl|npy)", re.I
)
_OURS = frozenset(("runs", "models", "registry", "purges"))


@dataclass(frozen=True, slots=True)
class Edit:
    """What happens to one file."""

    path: Path
    rows: int
    before: str
    after: str | None
    """Digest of what takes its place; None where the file goes."""
    make: Callable[[], bytes] | None = None

    def apply(self) -> None:
        """Raises:
        MalformedFileError: the file is not the one that this was planned for.
        """
        if self.make is None:
            self.path.unlink(missing_ok=True)
            return
        data = self.make()
        if digest_bytes(data) != self.after:
            raise MalformedFileError("changed while the purge was running", where=str(self.path), fix="Run the purge again.")
        write_bytes(self.path, data)


def edits(project: Project, gone: Gone) -> list[Edit]:
    """Every edit, the vault's and those of raw files first."""
    runs = (edit for run in runs_of(project) for edit in _of_run(project, run, gone))
    return [*_of_vault(project, gone), *_of_raw_files(project, gone), *runs]


def pages(project: Project) -> list[Path]:
    """Derived pages of every run; ``distill-gov report`` makes them again."""
    return [path for run in runs_of(project) for path in sorted(run.pages.glob("*")) if path.is_file()]


def cached(layout: ProjectLayout) -> list[Path]:
    """Files of the caches, but for converted base models, which no trace went into."""
    rooms = sorted(layout.cache.glob("*")) if layout.cache.is_dir() else []
    return [file for room in rooms if room.name != "models" for file in ([room] if room.is_file() else _files(room))]


def not_searched(project: Project) -> list[str]:
    """Files of the project that may carry a trace and that nobody can look into, as paths below it."""
    root = project.layout.root
    s = project.settings
    read = {file.path.resolve() for file in raw_files(project) if file.rows() is not None}
    named = {(root / name).resolve() for name in (s.answer_schema, "ledger.jsonl", "README.md")}
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if parts[0] in _OURS or any(part.startswith(".") for part in parts[:-1]) or not path.is_file():
            continue
        raw = parts[0] == "data" or _DATA_LIKE.fullmatch(path.suffix)
        if raw and path.resolve() not in read | named:
            found.append(place(project, path))
    for run in runs_of(project):
        found += [place(project, path) for path in sorted(run.root.rglob("*")) if path.is_file() and not _known(run, path)]
    return found


# -- raw files ------------------------------------------------------------------------------------------------------------


def _of_raw_files(project: Project, gone: Gone) -> Iterator[Edit]:
    for file in raw_files(project):
        before = file.path.read_bytes()
        rows = file.rows() or []
        count = sum(gone(row.trace) for row in rows)
        if count:
            make = partial(_without, file.path, frozenset(row.line for row in rows if gone(row.trace)))
            yield Edit(file.path, count, digest_bytes(before), digest_bytes(make()), make)


def _without(path: Path, lines: frozenset[bytes]) -> bytes:
    """A file without some lines; the others stay to the byte."""
    return b"\n".join(line for line in path.read_bytes().split(b"\n") if line not in lines)


# -- the vault ------------------------------------------------------------------------------------------------------------


def _of_vault(project: Project, gone: Gone) -> Iterator[Edit]:
    """The files of the conversations. They are named by keyed hashes, so they are found only while the raw rows are there."""
    if not project.layout.vault.is_dir():
        return
    vault = Vault(project.layout.vault, project.keyring)
    traces = {row.trace for file in raw_files(project) for row in file.rows() or [] if gone(row.trace)}
    for path in sorted(vault.path(item_scope(trace)) for trace in traces):
        if path.is_file():
            data = path.read_bytes()
            yield Edit(path, data.count(b"\n"), digest_bytes(data), None)


# -- a run ----------------------------------------------------------------------------------------------------------------


def _of_run(project: Project, run: RunLayout, gone: Gone) -> Iterator[Edit]:
    shards = run.soft_targets.glob("*.safetensors")
    for path in sorted([*run.teaching.rglob("*.parquet"), *shards, *run.subjects.parent.rglob("*.parquet")]):
        edited = _edited(path, gone)
        if edited is not None:
            rows, data = edited
            yield Edit(path, rows, digest_file(path), digest_bytes(data), partial(_again, path, gone))
    for kind in (HUMAN_RATINGS, SIMULATED_RATINGS):
        manifest = run.manifest(exported_stage(kind))
        # Packets of an export that was killed are listed nowhere; it can be made again.
        if not manifest.exists() or any(gone(case) for case in read_manifest(manifest).facts["cases"]):
            # Tables come back with the texts in them; a page's answers hold none.
            yield from map(_removal, [*_files(run.packets(kind)), *run.responses(kind).rglob("*.csv")])
    yield from map(_removal, _review_files(project, run, gone))


def _review_files(project: Project, run: RunLayout, gone: Gone) -> list[Path]:
    built = run.manifest("build")
    facts = read_manifest(built).facts.get("review") if built.exists() else None
    files = [p for p in _files(run.review) if p.parent == run.review]
    if not files or (built.exists() and not facts):
        return files
    shown = set(facts["rows"]) if facts else set()
    examples = pq.read_table(run.examples, columns=["id", "trace"]).to_pylist() if run.examples.is_file() else []
    carries = any(gone(row["trace"]) and review_id(project, row["id"]) in shown for row in examples)
    return files if carries or not facts else []


def _removal(path: Path) -> Edit:
    return Edit(path, 1, digest_file(path), None)


def _files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.rglob("*") if p.is_file())


def _again(path: Path, gone: Gone) -> bytes:
    edited = _edited(path, gone)
    return path.read_bytes() if edited is None else edited[1]


def _edited(path: Path, gone: Gone) -> tuple[int, bytes] | None:
    """How many rows of a table change, and the table without what they held; None where nothing changes."""
    if path.suffix == ".safetensors":
        return without_examples(path, lambda example: gone(trace_of(example)))
    table = _table(path)
    change = _CHANGES.get((table.schema.metadata or {}).get(b"format", b"").decode("utf-8", "replace"))
    changed = change(table, gone) if change else None
    if changed is None:
        return None
    sink = pa.BufferOutputStream()
    pq.write_table(changed[1], sink, compression="zstd")
    return changed[0], sink.getvalue().to_pybytes()


def _table(path: Path) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(path.read_bytes()))
    except (pa.ArrowException, OSError, ValueError) as error:
        # What cannot be read cannot be purged.
        raise MalformedFileError(
            "not a Parquet file, or a damaged one", where=str(path), fix="Restore or remove it."
        ) from error


def _dropping(table: pa.Table, gone: Gone, of: Callable[[str], str], column: str) -> tuple[int, pa.Table] | None:
    keep = [not gone(of(value)) for value in table.column(column).to_pylist()]
    return (keep.count(False), table.filter(pa.array(keep, pa.bool_()))) if not all(keep) else None


def _blanking(table: pa.Table, gone: Gone, column: str, blanked: str) -> tuple[int, pa.Table] | None:
    values = table.column(blanked).to_pylist()
    hit = [bool(value) and gone(item) for item, value in zip(table.column(column).to_pylist(), values, strict=True)]
    if not any(hit):
        return None
    place_of = table.schema.get_field_index(blanked)
    new = pa.array(["" if h else v for h, v in zip(hit, values, strict=True)], pa.string())
    return hit.count(True), table.set_column(place_of, table.schema.field(blanked), new)


_Change = Callable[[pa.Table, Gone], "tuple[int, pa.Table] | None"]
_CHANGES: dict[str, _Change] = {
    format_name(EXAMPLES): lambda t, gone: _dropping(t, gone, str, "trace"),
    format_name(TEXT_HASHES): lambda t, gone: _dropping(t, gone, str, "trace"),
    "distill-gov/soft_targets/1": lambda t, gone: _dropping(t, gone, trace_of, "example"),
    format_name(FINDING_FORMAT): lambda t, gone: _blanking(t, lambda i: gone(i) or gone(trace_of(i)), "item", "value_hash"),
    format_name("cases"): lambda t, gone: _blanking(t, gone, "case", "output"),
}
_HARMLESS = frozenset((format_name("decisions"), format_name("measurements")))
"""Tables of ids and numbers."""


def _known(run: RunLayout, path: Path) -> bool:
    """Whether what a file of a run may hold of a trace is known."""
    parts = path.relative_to(run.root).parts
    if parts[0] in ("manifests", "sweeps", "verdicts", "student", "pages", "review", HUMAN_RATINGS, SIMULATED_RATINGS):
        return True
    if path in (run.datasheet, run.subjects):
        return True
    if path.suffix == ".parquet" and parts[0] in ("teaching", "evidence"):
        tag = (pq.read_schema(path).metadata or {}).get(b"format", b"").decode("utf-8", "replace")
        return tag in _CHANGES or tag in _HARMLESS
    return path.parent == run.soft_targets and path.suffix == ".safetensors"
