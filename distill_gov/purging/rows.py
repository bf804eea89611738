"""The raw rows of a project: what its settings name, and whatever other JSON Lines lie in ``data/``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import loads_strict
from distill_gov.stages.settled import SEALED
from evals.holdout import OPENED

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.records.ledger import Journal

__all__ = ["RawFile", "RawRow", "log_opening", "place", "raw_files"]

_IDS = ("id", "trace", "item")
"""Keys under which a row names its trace: traces and labels say ``id``, what is kept about them may say the others."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One line."""

    trace: str
    line: bytes
    """As it stands, without its end."""
    value: Mapping[str, Any]
    where: str
    """File and line, for errors."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """One JSON Lines file."""

    path: Path
    named: bool
    """Whether ``distill.yaml`` names it."""

    def rows(self) -> list[RawRow] | None:
        """Its rows but the blank ones; None for a file that nobody named and whose rows name no trace.

        Raises:
            MalformedFileError: a line does not parse, or names no trace in a file that ``distill.yaml`` names.
        """
        found = []
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            where = f"{self.path}:{number}"
            value = loads_strict(line, where=where)
            trace = _trace_of(value)
            if trace is None:
                if not self.named:
                    return None
                raise MalformedFileError("the row names no trace", where=where, fix="Give it the `id` of its trace.")
            found.append(RawRow(trace, line, value, where))
        return found


def raw_files(project: Project) -> Iterator[RawFile]:
    """Every JSON Lines file that may carry a trace, each once."""
    s, root = project.settings, project.layout.root
    names = [s.traces, s.holdout, s.dev, s.gold, s.labels, s.pii_spans, *s.suites.values()]
    named = [root / name for name in names if name and (root / name).is_file()]
    seen = set()
    for path, is_named in [*((p, True) for p in named), *((p, False) for p in sorted(project.layout.data.rglob("*.jsonl")))]:
        if path.is_file() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield RawFile(path, is_named)


def place(project: Project, path: Path) -> str:
    """A path as records write it: POSIX, below the project."""
    return Path(os.path.relpath(path.resolve(), project.layout.root)).as_posix()


def log_opening(project: Project, journal: Journal) -> None:
    """Say that the holdout will be looked through, before it is."""
    if (project.layout.root / project.settings.holdout).is_file():
        seals = project.ledger.find(SEALED)
        facts = {"run": "", "purpose": "purge: looking for traces", "file": Path(project.settings.holdout).name}
        journal.append(OPENED, {**facts, "seal": str(seals[-1].facts["digest"]) if seals else ""})


def _trace_of(value: Any) -> str | None:
    found = [value[key] for key in _IDS if key in value] if isinstance(value, dict) else []
    return found[0] if found and isinstance(found[0], str) else None
