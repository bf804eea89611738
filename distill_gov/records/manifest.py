"""A stage's manifest: written once, when the stage is done. Its existence is what "done" means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import ForeignRunError, MalformedFileError
from distill_gov.records.files import read_json, write_json
from distill_gov.records.typed import require_types

__all__ = ["StageManifest", "done_before", "hash_outputs", "now", "read_manifest", "write_manifest"]

FORMAT = "manifest"


def now() -> str:
    """The present time, UTC, RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class StageManifest:
    """What a stage took in, gave out and ran on."""

    stage: str
    inputs: Mapping[str, str]
    """Name of each input to its digest; the stage is repeated only if these are the same."""
    outputs: Mapping[str, str]
    """Path below the run to the SHA-256 of each file the stage wrote."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    """Commit of the project's repository, empty outside one."""
    counts: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What later stages and reports need to know of this one (a subject, an admission, a temperature)."""
    started: str = ""
    finished: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Measured wall time by step; excluded from every comparison."""


def hash_outputs(run: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Digests of the files at ``paths`` (directories are walked), keyed by POSIX path below ``run``."""
    files = [f for p in paths for f in (sorted(q for q in p.rglob("*") if q.is_file()) if p.is_dir() else [p])]
    return {f.relative_to(run).as_posix(): digest_file(f) for f in sorted(files)}


def write_manifest(path: Path, manifest: StageManifest) -> None:
    write_json(path, asdict(manifest), format=FORMAT)


def read_manifest(path: Path) -> StageManifest:
    """Read a manifest.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    value = read_json(path, format=FORMAT)
    try:
        manifest = StageManifest(**value)
    except TypeError as error:
        raise MalformedFileError("not a stage manifest", where=str(path)) from error
    require_types(manifest, where=str(path))
    return manifest


def done_before(path: Path, inputs: Mapping[str, str]) -> StageManifest | None:
    """The manifest of a finished stage, or None if it has to run.

    Raises:
        ForeignRunError: the stage was done from other inputs; the message names the first that differs.
    """
    if not path.exists():
        return None
    manifest = read_manifest(path)
    for name in sorted({*inputs, *manifest.inputs}):
        if inputs.get(name) != manifest.inputs.get(name):
            raise ForeignRunError(
                f"stage `{manifest.stage}` was done with another `{name}`",
                where=str(path),
                fix="Use a new run name (--run), or restore that input.",
            )
    return manifest
