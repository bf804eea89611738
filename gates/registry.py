"""The local registry: which student an alias stands for. Its history is the ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, IntegrityError, MalformedFileError
from distill_gov.records.files import read_json, write_json
from distill_gov.records.ledger import Journal
from distill_gov.records.manifest import now
from gates.verdict import Verdict, verdict_object

__all__ = ["NotPromotableError", "Promotion", "promote", "read_affected", "read_aliases", "write_affected"]

_ALIAS = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


class NotPromotableError(BadInputError):
    """The verdict does not allow this student to be promoted."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What an alias stands for, and on which evidence."""

    alias: str
    student: str
    """Digest of the subject (:attr:`evals.evidence.Subject.digest`)."""
    policy: str
    policy_digest: str
    verdict: str
    """Digest of the verdict's JSON object."""
    at: str
    ledger: str
    """Digest of the ledger entry that announced it."""


def read_aliases(registry_dir: Path) -> dict[str, Promotion]:
    """What every alias stands for; empty where nothing was promoted yet.

    Raises:
        MalformedFileError, UnknownFormatError
    """
    path = registry_dir / "aliases.json"
    if not path.exists():
        return {}
    rows = read_json(path, format="aliases").get("aliases")
    try:
        found = {row["alias"]: Promotion(**row) for row in rows}  # type: ignore[union-attr]
    except (KeyError, TypeError) as error:
        raise MalformedFileError("not a registry of aliases", where=str(path)) from error
    if len(found) != len(rows):  # type: ignore[arg-type]
        raise MalformedFileError("an alias appears twice", where=str(path))
    return found


def write_affected(registry_dir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """List the students that were made with the help of purged traces, as the ledger has them, beside the aliases."""
    write_json(registry_dir / "affected.json", {"students": [dict(row) for row in rows]}, format="affected")


def read_affected(registry_dir: Path) -> list[dict[str, Any]]:
    """The list of :func:`write_affected`; empty where no student was affected.

    Raises:
        MalformedFileError, UnknownFormatError
    """
    path = registry_dir / "affected.json"
    if not path.exists():
        return []
    rows = read_json(path, format="affected").get("students")
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        raise MalformedFileError("not a list of affected students", where=str(path))
    return rows


def promote(
    verdict: Verdict, policy_name: str, student_digest: str, alias: str, registry_dir: Path, journal: Journal
) -> Promotion | None:
    """Let an alias stand for a student. The ledger learns of it first; if that fails, the alias stays.

    The caller has verified the verdict (:func:`gates.verify_verdict`) and that the weights on disk are those of the subject.

    Args:
        verdict: the verdict on that student.
        policy_name: the policy that the project names; a verdict under any other does not count.
        student_digest: digest of the subject to be promoted.
        alias: 1-64 of a-z, 0-9, dot, dash, underscore.
        registry_dir: directory of ``aliases.json``.
        journal: the project's ledger.

    Returns:
        What the alias stood for before, or None.

    Raises:
        NotPromotableError: the verdict is BLOCKED, simulated, under another policy or on another student.
        IntegrityError: the verdict's decision is not what its outcomes give.
        BadInputError: not an alias.
    """
    if not _ALIAS.fullmatch(alias):
        raise BadInputError("an alias must be 1-64 of a-z, 0-9, dot, dash, underscore, starting with a letter or digit")
    _check(verdict, policy_name, student_digest)
    registry_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(str(registry_dir / "aliases.json.lock")):
        aliases = read_aliases(registry_dir)
        before = aliases.get(alias)
        facts = {
            "alias": alias,
            "student": student_digest,
            "policy": verdict.policy,
            "policy_digest": verdict.policy_digest,
            "verdict": digest_json(verdict_object(verdict)),
        }
        entry = journal.append("promotion", {**facts, "previous": before.student if before else None})
        aliases[alias] = Promotion(**facts, at=now(), ledger=entry.digest)
        rows = [asdict(aliases[name]) for name in sorted(aliases)]
        write_json(registry_dir / "aliases.json", {"aliases": rows}, format="aliases")
    return before


def _check(verdict: Verdict, policy_name: str, student_digest: str) -> None:
    if verdict.policy != policy_name:
        raise NotPromotableError(
            f"the verdict is under policy `{verdict.policy}`, the project names `{policy_name}`",
            fix=f"Judge it with `distill-gov gate --policy {policy_name}`.",
        )
    if verdict.decision != "PASSED":
        blocking = ", ".join(outcome.gate for outcome in verdict.outcomes if outcome.blocks) or "no gate"
        raise NotPromotableError(f"the verdict is {verdict.decision} on {blocking}", fix="Nothing was promoted.")
    if verdict.simulated is not False:
        raise NotPromotableError("the verdict rests on simulated ratings", fix="Have people rate the packets.")
    if verdict.openings is None:
        raise NotPromotableError(
            "the verdict does not say how often the holdout was opened", fix="Judge it again with `distill-gov gate`."
        )
    if not student_digest or verdict.subject != student_digest:
        raise NotPromotableError("the verdict is on another student", fix="Judge this student first.")
    if not any(outcome.required for outcome in verdict.outcomes) or any(outcome.blocks for outcome in verdict.outcomes):
        raise IntegrityError("the verdict says PASSED, and its gates do not", fix="Decide again from the evidence.")
