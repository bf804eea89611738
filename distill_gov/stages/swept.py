"""What was swept before a student was trained: that settings were chosen among many is a fact about the student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distill_gov.records.manifest import read_manifest
from distill_gov.settings.sweep import settings_digest

if TYPE_CHECKING:
    from distill_gov.project import Project, Run

__all__ = ["EXAMPLES", "examples_digest", "swept_before"]

EXAMPLES = "examples"
"""The input by which a sweep and a training know that they are of one teaching set, whatever run it lies in."""


def examples_digest(run: Run) -> str:
    """Digest of the examples of a built run."""
    outputs: Mapping[str, str] = read_manifest(run.layout.manifest("build")).outputs
    return outputs[run.layout.examples.relative_to(run.layout.root).as_posix()]


def swept_before(project: Project, run: Run) -> dict[str, Any]:
    """The sweeps over the examples of a run, of whatever run, as facts for a manifest; empty where there was none.

    Raises:
        MalformedFileError, UnknownFormatError: a sweep's manifest cannot be read.
    """
    examples, here = examples_digest(run), settings_digest(project.settings)
    every = [read_manifest(path) for path in project.layout.sweep_manifests()]
    found = [manifest for manifest in every if manifest.inputs.get(EXAMPLES) == examples]
    if not found:
        return {}
    return {
        "sweeps": len(found),
        # One setting tried in two sweeps was tried once.
        "trials": len({one for manifest in found for one in manifest.facts["tried"]}),
        "metrics": sorted({metric for manifest in found for metric in manifest.facts["metrics"]}),
        "best": any(manifest.facts["best"] == here for manifest in found),
    }
