"""Whether a stored verdict can be shown as it is: nothing of it is taken on trust.

Its evidence is hashed again, its ledger head is looked for, and, where the policy file is at hand, it is decided again from the
stored measurements. The words returned name files of the run, never values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from distill_gov.records.digest import digest_bytes
from distill_gov.records.errors import DistillGovError, IntegrityError
from distill_gov.records.layout import ProjectLayout, RunLayout
from distill_gov.records.ledger import GENESIS, Ledger, LedgerEntry
from distill_gov.records.purges import Purges, read_purges
from evals.evidence import Measurement, Subject
from gates.decide import verify_verdict
from gates.policy import Policy, load_policy
from gates.verdict import Verdict, read_verdict
from reports.loading import Part, RunFiles, conforming
from reports.record import LedgerView

__all__ = [
    "project_of",
    "read_checked_ledger",
    "read_checked_purges",
    "read_checked_verdict",
    "read_policy_of",
    "unchecked",
    "verdict_problems",
]


def project_of(run: RunLayout) -> ProjectLayout:
    """The project that a run lies in; a run that was copied elsewhere has none, and its files are simply not there."""
    return ProjectLayout(run.root.parent.parent)


def read_checked_verdict(path: Path) -> Verdict:
    """Read a verdict, every field of its declared type.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    found: Verdict = conforming(read_verdict(path), Verdict, path.name)
    return found


def read_policy_of(project: ProjectLayout, name: str, verdict: Verdict | None) -> Part[Policy]:
    """The policy file, if it is still the one that the verdict was made under."""
    path = project.gates.with_name(f"{name}.yaml")
    if not path.exists():
        return Part(problem=f"{path.name}: the policy file is gone" if verdict and project.settings.exists() else "")
    try:
        if verdict and digest_bytes(path.read_bytes()) != verdict.policy_digest:
            return Part(problem=f"{path.name}: the policy was changed after this verdict")
        return Part(load_policy(path))
    except (DistillGovError, OSError):
        return Part(problem=f"{path.name}: the policy file cannot be used")


def read_checked_ledger(project: ProjectLayout) -> Part[LedgerView]:
    """The project's ledger, if its chain holds."""
    path = project.ledger
    if not path.exists():
        return Part(problem=f"{path.name}: the ledger is gone" if project.settings.exists() else "")
    try:
        read = [asdict(entry) for entry in Ledger(path, actor="report").entries()]
        entries = tuple(conforming(read, list[LedgerEntry], path.name))
    except DistillGovError as error:
        return Part(problem=f"{path.name}: {error.what}")
    except OSError:
        return Part(problem=f"{path.name}: cannot be read")
    return Part(LedgerView(entries[-1].digest if entries else GENESIS, entries))


def read_checked_purges(project: ProjectLayout, ledger: LedgerView | None) -> Part[Purges]:
    """What the ledger says was purged; nothing excuses a file where there is no ledger."""
    if ledger is None:
        return Part(Purges())
    try:
        return Part(read_purges(project, ledger.entries))
    except (DistillGovError, OSError, KeyError, TypeError, ValueError):
        return Part(problem="purges: a record is missing, changed or none")


def verdict_problems(
    files: RunFiles,
    run: RunLayout,
    verdict: Verdict,
    *,
    policy_name: str,
    subject_name: str,
    policy: Policy | None,
    measured: Sequence[Measurement] | None,
    ledger: LedgerView | None,
    subjects: Mapping[str, Subject] | None,
) -> list[str]:
    """What speaks against a verdict; empty if everything that could be checked holds.

    Args:
        policy_name: the policy in whose place the file lies.
        subject_name: the subject in whose place it lies.
        policy: the policy itself, None where it is not at hand.
        measured: the stored measurements under that policy.
        ledger: the project's ledger, None where it is not at hand.
        subjects: who was measured, by name.
    """
    where = files.name(run.verdict(policy_name, subject_name))
    if (verdict.policy, verdict.subject_name) != (policy_name, subject_name):
        return [f"{where}: it is a verdict under another policy or on another subject"]
    found = []
    holds = any(o.required for o in verdict.outcomes) and not any(o.blocks for o in verdict.outcomes)
    if (verdict.decision == "PASSED") != holds:
        found.append(f"{where}: its decision is not what its gates give")
    if verdict.decision == "PASSED" and not 1 <= verdict.attempt <= verdict.max_attempts:
        found.append(f"{where}: it passed beyond the attempts that the policy allows")
    if (
        verdict.decision == "PASSED"
        and verdict.openings is not None
        and not 1 <= verdict.openings <= (verdict.max_openings or 0)
    ):
        found.append(f"{where}: it passed beyond the openings of the holdout that the policy allows")
    if ledger is not None and verdict.ledger_head not in {GENESIS, *(entry.digest for entry in ledger.entries)}:
        found.append(f"{where}: the ledger head that it names is not in this project's ledger")
    for name, digest in {**verdict.references, verdict.subject_name: verdict.subject}.items():
        if digest and subjects and name in subjects and subjects[name].digest != digest:
            found.append(f"{where}: its {name} is not the one in {files.name(run.subjects)}")
    found += _evidence_problems(files, run, verdict, where)
    return found + _decided_again(files, run, verdict, policy, measured, where)


def unchecked(policy: Part[Policy], ledger: Part[LedgerView]) -> list[str]:
    """Which checks could not be made, because the project's files are not beside the run."""
    found = []
    if policy.state == "absent":
        found.append("The policy file is not beside this run, so the verdict was not decided again for this page.")
    if ledger.state == "absent":
        found.append("The project's ledger is not beside this run, so the ledger head was not looked for.")
    return found


def _evidence_problems(files: RunFiles, run: RunLayout, verdict: Verdict, where: str) -> list[str]:
    names = [PurePosixPath(name) for name in verdict.evidence]
    if any(name.is_absolute() or ".." in name.parts for name in names):
        return [f"{where}: it names evidence outside the run"]
    found = []
    for name, wanted in zip(names, verdict.evidence.values(), strict=True):
        digest = files.digest(run.root / name)
        if digest not in files.may_be(str(name), wanted):
            found.append(f"{name}: changed since the verdict" if digest else f"{name}: recorded, but no longer there")
    return found


def _decided_again(
    files: RunFiles,
    run: RunLayout,
    verdict: Verdict,
    policy: Policy | None,
    measured: Sequence[Measurement] | None,
    where: str,
) -> list[str]:
    path = run.measurements(verdict.policy)
    name, digest = files.name(path), files.digest(path)
    if digest != verdict.measurements:
        return [f"{where}: made from other measurements than {name}" if digest else f"{name}: no longer there"]
    if policy is None or measured is None:
        return []
    try:
        verify_verdict(verdict, policy, measured)
    except IntegrityError as error:
        return [f"{where}: {error.what}"]
    except Exception as error:  # a verdict that cannot be decided again is a finding, not a crash of the page
        return [f"{where}: it cannot be decided again ({type(error).__name__})"]
    return []
