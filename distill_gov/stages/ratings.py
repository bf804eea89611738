"""``ratings``: blinded packets out, raters' answers in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, MissingFileError
from distill_gov.records.files import write_bytes
from distill_gov.records.manifest import StageManifest, hash_outputs, now, read_manifest
from distill_gov.stages.build import reserved_traces
from distill_gov.stages.settled import HOLDOUT, RATINGS, finish, versions
from distill_gov.stages.suites import as_cases
from evals.evidence import read_cases, read_subjects, write_cases
from evals.ratings import RatingItem, RatingsImport, answer_in_words, export_packets, import_responses

if TYPE_CHECKING:
    from distill_gov.project import Project, Run

__all__ = ["export_ratings", "import_ratings", "key_path"]

EXPORTED = "ratings-export"
DEFAULT_CASES = 100


def key_path(project: Project, run: Run) -> Path:
    """Where the key that unblinds the packets lies: with the project's keys, never in the run."""
    return project.layout.keys / f"ratings-{run.layout.name}.json"


def export_ratings(project: Project, run: Run, raters: Sequence[str], cases: int | None) -> Any:
    """Write each rater's packet for a sample of the holdout.

    Raises:
        MissingFileError: the run was not evaluated.
        BadInputError: too few raters, or other packets were exported before.
    """
    layout = run.layout
    if not layout.manifest("evaluate").exists():
        raise MissingFileError("the run was not evaluated", where=layout.name, fix="Run `distill-gov evaluate` first.")
    policy = next(iter(project.policies()), None)
    count = cases or (policy.ratings.items if policy and policy.ratings else DEFAULT_CASES)
    outputs = {name: {r.case: r for r in read_cases(layout.cases(HOLDOUT, name))} for name in ("student", "teacher")}
    suite = as_cases(project, HOLDOUT, reserved_traces(project, run, "ratings export"))
    chosen = sorted(random.Random(f"ratings/{project.settings.seed}").sample([c.id for c in suite], min(count, len(suite))))
    wanted = set(chosen)
    items = [
        RatingItem(
            c.id,
            c.prompt,
            {n: answer_in_words(o[c.id].output, project.answer_document) for n, o in outputs.items()},
            c.unit,
            c.slices,
        )
        for c in suite
        if c.id in wanted
    ]  # fmt: skip
    exported = export_packets(
        items, raters=raters, directory=layout.packets, run=layout.root, key=project.keyring.subkey("ratings"),
        key_path=key_path(project, run), journal=project.ledger,
    )  # fmt: skip
    manifest = StageManifest(
        stage=EXPORTED,
        inputs={"cases": digest_json(chosen)},
        outputs=hash_outputs(layout.root, [layout.packets]),
        versions=versions(),
        counts={"cases": exported.cases, "raters": len(exported.raters)},
        facts={"cases": chosen, "dataset": _dataset(run, chosen)},
        started=now(),
        finished=now(),
    )
    path = layout.manifest(EXPORTED)
    if not path.exists() or read_manifest(path).outputs != manifest.outputs:
        finish(path, manifest, project.ledger, layout.name)
    return exported


def _dataset(run: Run, cases: Sequence[str]) -> str:
    holdout = read_manifest(run.layout.manifest("evaluate")).facts["datasets"][HOLDOUT]
    return digest_json([holdout, sorted(cases)])


def import_ratings(
    project: Project, run: Run, files: Sequence[Path], simulated: bool, control: str | None = None
) -> RatingsImport:
    """Check raters' answers, unseal, and make them evidence.

    Args:
        simulated: the files were made by a script; nothing that asks for humans will take them.
        control: store the student's ratings under a control's name (the demo's worse set).

    Raises:
        BadInputError: an answer does not fit, with file and row; nothing is unsealed then.
    """
    layout = run.layout
    exported = layout.manifest(EXPORTED)
    if not exported.exists():
        raise MissingFileError("no packets were exported", where=layout.name, fix="Run `distill-gov ratings export` first.")
    stage = f"{RATINGS}-{control}" if control else RATINGS
    if layout.manifest(stage).exists():
        raise BadInputError("ratings were imported before", where=layout.name, fix="Use a new run name.")
    facts = read_manifest(exported).facts
    subjects = read_subjects(layout.subjects)
    seals = project.ledger.find("ratings.sealed")
    imported = import_responses(
        files,
        packets=layout.packets,
        key_path=key_path(project, run),
        journal=project.ledger,
        expected_sealed_digest=str(seals[-1].facts["key"]),
        simulated=simulated,
        subjects={name: subjects[name].digest for name in ("student", "teacher")},
        dataset=facts["dataset"],
        earlier=() if simulated else project.ledger.find("ratings.unsealed"),
    )
    written = []
    folder = layout.responses / (control or "answers")
    for number, file in enumerate(files, start=1):
        target = folder / f"{number:02d}{file.suffix}"
        write_bytes(target, file.read_bytes())
        written.append(target)
    for name in ("student", "teacher"):
        if control and name == "teacher":
            continue
        stored = control or name
        rows = [replace(r, subject=subjects[stored].digest) for r in imported.results if r.subject == subjects[name].digest]
        write_cases(layout.cases(RATINGS, stored), rows)
        written.append(layout.cases(RATINGS, stored))
    manifest = StageManifest(
        stage=stage,
        inputs={"packets": digest_json(dict(read_manifest(exported).outputs))},
        outputs=hash_outputs(layout.root, written),
        versions=versions(),
        counts={"results": len(imported.results), "quarantined": len(imported.quarantined), "missing": imported.missing},
        facts={"simulated": simulated, "cannot_judge": imported.cannot_judge, "problems": list(imported.problems)},
        started=now(),
        finished=now(),
    )
    finish(layout.manifest(stage), manifest, project.ledger, layout.name)
    return imported
