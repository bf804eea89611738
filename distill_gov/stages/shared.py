"""A teaching set that several runs share: the teacher is paid once, and each run has a student of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import BadInputError, HashMismatchError, IntegrityError, MissingFileError
from distill_gov.records.families import SHARED, Member, member_of
from distill_gov.records.files import write_bytes
from distill_gov.records.layout import RunLayout
from distill_gov.records.ledger import Ledger
from distill_gov.records.manifest import StageManifest, read_manifest
from distill_gov.stages import review
from distill_gov.stages.settled import anchor, check_teaching

if TYPE_CHECKING:
    from distill_gov.project import Project, Run

__all__ = ["share", "shared_run_name"]

_BUILD = "build"


def shared_run_name(of: str, student: str) -> str:
    """Name of the run for a student of the family."""
    return f"{of}-{student}"


def share(project: Project, source: Run, target: Run, student: str) -> StageManifest:
    """Let a run take over the teaching set of another, with its manifest and its review, for one student of the family.

    The ledger learns of it first. Files are linked where the file system can, else copied; whatever replaces one in the one run
    leaves the other's. Done before, it does nothing; killed, it begins anew.

    Raises:
        MissingFileError: the other run was not built.
        NotReviewedError, ReviewRejectedError: a review did not come back, or not with the result that the policy asks for.
        BadInputError: no such student, the run is there already and is none of this family, or the teaching set lost traces to
            a purge.
        IntegrityError: the teaching set is not what the ledger knows.
    """
    project.of_student(student)
    path = source.layout.manifest(_BUILD)
    if not path.exists():
        raise MissingFileError("the run was not built", where=str(source.layout.root), fix="Run `distill-gov build` first.")
    wanted = Member(target.layout.name, source.layout.name, student, digest_file(path))
    announced = member_of(project.ledger.entries(), wanted.run)
    _require_free(target.layout, announced, wanted)
    stages = [stage for stage in (review.STAGE, _BUILD) if source.layout.manifest(stage).exists()]
    if not all(target.layout.manifest(stage).exists() for stage in stages):
        _require_whole(project, source)
        if announced is None:
            facts = {"run": wanted.run, "of": wanted.of, "student": wanted.student, "build": wanted.build}
            project.ledger.append(SHARED, facts)
        _take(source.layout, target.layout, stages)
    for stage in stages:
        if digest_file(target.layout.manifest(stage)) != digest_file(source.layout.manifest(stage)):
            raise HashMismatchError(
                f"the manifest of `{stage}` is not the one of run {wanted.of}",
                where=str(target.layout.root),
                fix="Restore it.",
            )
        anchor(target.layout.manifest(stage), stage, project.ledger, wanted.run)
    return read_manifest(target.layout.manifest(_BUILD))


def _require_free(target: RunLayout, announced: Member | None, wanted: Member) -> None:
    if announced is None and target.root.exists() and any(path.is_file() for path in target.root.rglob("*")):
        raise BadInputError(
            f"run {wanted.run} is there already and has a teaching set of its own",
            where=str(target.root),
            fix="Take another run name (--run).",
        )
    if announced is not None and (announced.of, announced.student) != (wanted.of, wanted.student):
        raise BadInputError(
            f"run {wanted.run} is for student `{announced.student}` of run {announced.of}",
            where=str(target.root),
            fix="Take another run name (--run).",
        )
    if announced is not None and announced.build != wanted.build:
        raise IntegrityError(
            f"run {wanted.of} was built anew since run {wanted.run} took its teaching set over",
            where=str(target.root),
            fix="Take another run name (--run).",
        )


def _require_whole(project: Project, source: Run) -> None:
    layout = source.layout
    _require_known(project.ledger, layout)
    if list(project.purges().touching(f"runs/{layout.name}/teaching/")):
        # Its manifest lists what was taken away; a copy would have no purge of its own to show for it.
        raise BadInputError(
            "the teaching set lost traces to a purge, and cannot be shared any more",
            where=str(layout.root),
            fix="Build anew under a new run name (--run).",
        )
    check_teaching(source)
    review.require_review(project, source)


def _require_known(ledger: Ledger, layout: RunLayout) -> None:
    known = {"run": layout.name, "stage": _BUILD, "manifest": digest_file(layout.manifest(_BUILD))}
    if all(dict(entry.facts) != known for entry in ledger.find("stage.done")):
        raise IntegrityError("the manifest of `build` is not the one the ledger knows", where=layout.name)


def _take(source: RunLayout, target: RunLayout, stages: list[str]) -> None:
    for left in (target.teaching, target.review):
        shutil.rmtree(left, ignore_errors=True)
    for stage in stages:
        for name, digest in read_manifest(source.manifest(stage)).outputs.items():
            _link(source.root / name, target.root / name)
            if digest_file(target.root / name) != digest:
                raise HashMismatchError("changed since the build", where=str(source.root / name), fix="Restore it.")
        # That of the build comes last: it says that all is there.
        write_bytes(target.manifest(stage), source.manifest(stage).read_bytes())


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
