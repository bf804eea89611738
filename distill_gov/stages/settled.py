"""What every stage needs of the project: its inputs by digest, its tools, and its anchor in the ledger."""

from __future__ import annotations

import glob
import importlib.metadata
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import HashMismatchError
from distill_gov.records.holdouts import MEASURED, SEALED, same_holdout, students_measured
from distill_gov.records.layout import RatingsKind
from distill_gov.records.ledger import Ledger
from distill_gov.records.manifest import StageManifest, write_manifest
from distill_gov.records.verify import verify_files
from evals.holdout import OPENED

if TYPE_CHECKING:
    from distill_gov.project import Run

__all__ = [
    "EVALUATION",
    "FORMAT_SUITE",
    "HOLDOUT",
    "MEASURED",
    "RATINGS",
    "SEALED",
    "anchor",
    "attempts",
    "check_teaching",
    "commit",
    "exported_stage",
    "file_inputs",
    "finish",
    "imported_stage",
    "openings",
    "versions",
]

HOLDOUT, FORMAT_SUITE, RATINGS = "holdout", "format", "ratings"
"""Suites that the stages themselves know."""

EVALUATION = "evaluate"
"""The purpose with which an evaluation opens the holdout."""

_TOOLS = (
    "distill-gov",
    "torch",
    "transformers",
    "presidio-analyzer",
    "spacy",
    "py3langid",
    "datasketch",
    "llguidance",
    "numpy",
    "scipy",
)


def check_teaching(run: Run) -> None:
    """Hold the teaching set against what the build, and purges since, left of it.

    Raises:
        HashMismatchError: a file is not what it was.
    """
    if problems := verify_files(run.layout, only="teaching/", allowed=run.project.purges().of_run(run.layout.name)):
        first = problems[0]
        raise HashMismatchError(
            f"{first.kind} since the build",
            where=str(run.layout.root / first.path),
            fix="Restore it, or build under a new run name.",
        )


def exported_stage(kind: RatingsKind) -> str:
    """The stage that wrote the packets."""
    return f"{kind}-export"


def imported_stage(kind: RatingsKind, control: str | None = None) -> str:
    """The stage that made evidence of raters' answers; of a control's where one is named."""
    return f"{kind}-{control}" if control else kind


def versions() -> dict[str, str]:
    """Versions of what shapes results, of those that are installed."""
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit(root: Path) -> str:
    """Commit of the project's repository, empty outside one."""
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def file_inputs(root: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Digest of each named file; empty paths are left out."""
    return {name: digest_file(root / path) for name, path in names.items() if path}


_UNFINISHED = re.compile(r"\..+\.[a-z0-9_]{8}")
"""Files and directories are written beside their place under such a name, and then renamed."""


def remove_unfinished(run: Path) -> None:
    """Take away what a killed command was writing in a run. Nothing in a finished directory of weights is looked at."""
    for path in [p for p in run.rglob(".*") if _UNFINISHED.fullmatch(p.name) and "student" not in p.relative_to(run).parts]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_unfinished_of(path: Path) -> None:
    """Take away what a killed command was writing to put into a file's place."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if _UNFINISHED.fullmatch(left.name) and left.is_file():
            left.unlink()


def finish(path: Path, manifest: StageManifest, ledger: Ledger, run: str) -> StageManifest:
    """Write a stage's manifest and anchor it in the ledger."""
    write_manifest(path, manifest)
    anchor(path, manifest.stage, ledger, run)
    return manifest


def anchor(path: Path, stage: str, ledger: Ledger, run: str) -> None:
    """Log a finished stage's manifest once, also where the process died between the two writes."""
    facts: dict[str, Any] = {"run": run, "stage": stage, "manifest": digest_file(path)}
    if all(dict(entry.facts) != facts for entry in ledger.find("stage.done")):
        ledger.append("stage.done", facts)


def attempts(ledger: Ledger, student: str, seal: str) -> int:
    """The how-manieth student of the holdout this one is, from 1; 0 if it was never measured.

    A holdout that was sealed anew with the same cases is the same one: other spacing, ids or labels renew nothing, and neither
    does a purge of some of its cases.
    """
    order = students_measured(ledger.entries(), seal)
    return order.index(student) + 1 if student in order else 0


def openings(ledger: Ledger, run: str, seal: str) -> int:
    """How often the holdout had been opened for an evaluation, by whatever run, when this run last did; 0 if it never did.

    An evaluation that was cut short and begun again counts twice: its results may have been seen. What is the same holdout is
    told as for :func:`attempts`. Openings for another purpose (``build`` keeps its messages out, a purge) measure nothing.
    """
    same = same_holdout(ledger.entries(), seal)
    found = [e.facts for e in ledger.find(OPENED) if e.facts.get("purpose") == EVALUATION and e.facts.get("seal") in same]
    own = [number for number, facts in enumerate(found, start=1) if facts.get("run") == run]
    return own[-1] if own else 0
