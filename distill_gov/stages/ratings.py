"""``ratings``: blinded packets out, raters' answers in."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_file, digest_json
from distill_gov.records.errors import IntegrityError, MissingFileError
from distill_gov.records.files import write_bytes
from distill_gov.records.layout import HUMAN_RATINGS, SIMULATED_RATINGS, RatingsKind
from distill_gov.records.ledger import LedgerEntry
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now, read_manifest
from distill_gov.stages.build import reserved_traces
from distill_gov.stages.contamination import contaminated_holdout
from distill_gov.stages.settled import HOLDOUT, anchor, exported_stage, finish, imported_stage, versions
from distill_gov.stages.suites import as_cases
from evals.catalogue import CONTAMINATED
from evals.evidence import read_cases, read_subjects, write_cases
from evals.ratings import RatingItem, answer_in_words, export_packets, import_responses

if TYPE_CHECKING:
    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run

__all__ = ["export_ratings", "import_ratings", "key_path"]

DEFAULT_CASES = 100


def key_path(project: Project, run: Run, kind: RatingsKind = HUMAN_RATINGS) -> Path:
    """Where the key that unblinds the packets lies: with the project's keys, never in the run."""
    return project.layout.keys / f"{kind}-{run.layout.name}.json"


def _kind(simulated: bool) -> RatingsKind:
    return SIMULATED_RATINGS if simulated else HUMAN_RATINGS


def export_ratings(
    project: Project, run: Run, raters: Sequence[str], cases: int | None, simulated: bool, progress: Progress
) -> Any:
    """Write each rater's packet for a sample of the holdout.

    Args:
        simulated: the packets are for a script; they get a key of their own, so that opening it unblinds nobody.

    Raises:
        MissingFileError: the run was not evaluated.
        BadInputError: too few raters, or other packets were exported before.
    """
    layout, kind = run.layout, _kind(simulated)
    if not layout.manifest("evaluate").exists():
        raise MissingFileError("the run was not evaluated", where=layout.name, fix="Run `distill-gov evaluate` first.")
    policy = next(iter(project.policies()), None)
    count = cases or (policy.ratings.items if policy and policy.ratings else DEFAULT_CASES)
    outputs = {name: {r.case: r for r in read_cases(layout.cases(HOLDOUT, name))} for name in ("student", "teacher")}
    with progress.step("redacting the holdout"):
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
        items,
        raters=raters,
        directory=layout.packets(kind),
        run=layout.root,
        # Of this run alone: the opened key of another one must not tell which opaque id is whose answer here.
        key=project.keyring.subkey(f"{kind}/{layout.name}"),
        key_path=key_path(project, run, kind),
        journal=project.ledger,
    )
    _check_seal(project, run, exported.sealed)
    stage = exported_stage(kind)
    manifest = StageManifest(
        stage=stage,
        inputs={"cases": digest_json(chosen)},
        outputs=hash_outputs(layout.root, [layout.packets(kind)]),
        versions=versions(),
        counts={"cases": exported.cases, "raters": len(exported.raters)},
        facts={"cases": chosen, "dataset": _dataset(run, chosen), "sealed": exported.sealed},
        started=now(),
        finished=now(),
    )
    path = layout.manifest(stage)
    if path.exists() and read_manifest(path).outputs == manifest.outputs:
        anchor(path, stage, project.ledger, layout.name)
    else:
        finish(path, manifest, project.ledger, layout.name)
    return exported


def _dataset(run: Run, cases: Sequence[str]) -> str:
    holdout = read_manifest(run.layout.manifest("evaluate")).facts["datasets"][HOLDOUT]
    return digest_json([holdout, sorted(cases)])


def import_ratings(
    project: Project, run: Run, files: Sequence[Path], simulated: bool, control: str | None, progress: Progress
) -> StageManifest:
    """Check raters' answers, unseal, and make them evidence.

    Args:
        simulated: the files were made by a script; nothing that asks for humans will take them.
        control: store the student's ratings under a control's name (the demo's worse set).

    Returns:
        The stage's manifest. Its counts say what came back; ``facts["redaction_misses"]`` is the number of answers in which a
        rater saw personal data.

    Raises:
        BadInputError: an answer does not fit, with file and row; nothing is unsealed then. Or others were imported before.
        IntegrityError: the ledger does not know the packets' key.
    """
    layout, kind = run.layout, _kind(simulated)
    packets = layout.manifest(exported_stage(kind))
    if not packets.exists():
        option = " --simulated" if simulated else ""
        raise MissingFileError(
            f"no packets were exported for {'a script' if simulated else 'people'}",
            where=layout.name, fix=f"Run `distill-gov ratings export{option}` first.",
        )  # fmt: skip
    exported = read_manifest(packets)
    inputs = {
        "packets": digest_json(dict(exported.outputs)),
        "responses": digest_json(sorted(digest_file(file) for file in files)),
    }
    stage = imported_stage(kind, control)
    path = layout.manifest(stage)
    if before := done_before(path, inputs):
        anchor(path, stage, project.ledger, layout.name)
        return before
    started, subjects = now(), read_subjects(layout.subjects)
    sealed = str(exported.facts.get("sealed", ""))
    _check_seal(project, run, sealed)
    with progress.step("checking the answers"):
        imported = import_responses(
            files,
            packets=layout.packets(kind),
            key_path=key_path(project, run, kind),
            journal=project.ledger,
            expected_sealed_digest=sealed,
            simulated=simulated,
            subjects={name: subjects[name].digest for name in ("student", "teacher")},
            dataset=exported.facts["dataset"],
            earlier=() if simulated else _of_key(project.ledger.find("ratings.unsealed"), sealed),
        )
    written = []
    folder = layout.responses(kind) / (control or "answers")
    shutil.rmtree(folder, ignore_errors=True)  # a killed import may have had more files
    for number, file in enumerate(files, start=1):
        target = folder / f"{number:02d}{file.suffix}"
        write_bytes(target, file.read_bytes())
        written.append(target)
    contaminated = contaminated_holdout(run)
    for name in ("student", "teacher"):
        if control and name == "teacher":
            continue
        stored = control or name
        rows = [replace(r, subject=subjects[stored].digest) for r in imported.results if r.subject == subjects[name].digest]
        rows = [replace(r, scores={**r.scores, CONTAMINATED: 1.0}) if r.case in contaminated else r for r in rows]
        write_cases(layout.cases(kind, stored), rows)
        written.append(layout.cases(kind, stored))
    manifest = StageManifest(
        stage=stage,
        inputs=inputs,
        outputs=hash_outputs(layout.root, written),
        versions=versions(),
        counts={
            "rated": sum(result.status == "ok" for result in imported.results),
            "quarantined": len(imported.quarantined),
            "cannot_judge": imported.cannot_judge,
            "missing": imported.missing,
        },
        facts={
            "simulated": simulated,
            # An answer in which a rater saw personal data had passed every detector.
            "redaction_misses": len(imported.quarantined),
            "problems": list(imported.problems),
        },
        started=started,
        finished=now(),
    )
    return finish(path, manifest, project.ledger, layout.name)


def _check_seal(project: Project, run: Run, key: str) -> None:
    """The ledger must have sealed the key of the run's own packets."""
    if not _of_key(project.ledger.find("ratings.sealed"), key):
        raise IntegrityError(
            "the ledger has no seal of these packets' key", where=run.layout.name,
            fix="Restore the ledger, or export packets in a new run.",
        )  # fmt: skip


def _of_key(entries: Sequence[LedgerEntry], key: str) -> list[LedgerEntry]:
    return [entry for entry in entries if entry.facts["key"] == key]
