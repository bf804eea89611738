"""Does a run still hold what its manifests recorded? Every file changed, missing or added is found; nothing is repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import IntegrityError
from distill_gov.records.layout import RunLayout
from distill_gov.records.manifest import read_manifest

__all__ = ["Problem", "verify_files"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not hold."""

    kind: Literal["changed", "missing", "added", "unreadable", "unfinished"]
    path: str
    """POSIX path below the run; of a purge, below the project."""


def _as_recorded(name: str, digest: str) -> tuple[str, ...]:
    return (digest,)


def verify_files(
    run: RunLayout,
    *,
    listed_elsewhere: frozenset[str] = frozenset(),
    only: str = "",
    allowed: Callable[[str, str], tuple[str, ...]] = _as_recorded,
) -> list[Problem]:
    """Compare a run's files with its manifests.

    Args:
        run: the run.
        listed_elsewhere: paths below the run that the ledger or a verdict lists (verdicts, imported responses).
        only: check only files below this path ("evidence/"), for a copy that lacks the rest.
        allowed: the digests that a file may have, given its path below the run and the digest that was recorded of it; an empty
            one stands for no file (:meth:`distill_gov.records.purges.Purges.allowed`: what was purged is not broken).

    Returns:
        The problems, sorted by path. Manifests and derived pages are listed nowhere: of these only a name that no stage and no
        page has is one.
    """
    problems: list[Problem] = []
    known: dict[str, str] = {}
    for path in sorted((run.root / "manifests").glob("*.json")):
        try:
            known.update(read_manifest(path).outputs)
        except IntegrityError:
            raise
        except Exception:  # an unreadable manifest is a finding of verify, not a crash of it
            problems.append(Problem("unreadable", path.relative_to(run.root).as_posix()))
    known = {name: digest for name, digest in known.items() if name.startswith(only)}
    for name, digest in known.items():
        target, may_be = run.root / name, allowed(name, digest)
        if not target.is_file():
            problems += [] if "" in may_be else [Problem("missing", name)]
        elif digest_file(target) not in may_be:
            problems.append(Problem("changed", name))
    for name in _present(run.root):
        path = run.root / name
        derived = path == run.manifest(path.stem) or (run.is_page(path) and not path.is_symlink())
        if name.startswith(only) and not derived and name not in known and name not in listed_elsewhere:
            problems.append(Problem("added", name))
    return sorted(problems, key=lambda problem: problem.path)


def _present(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() or p.is_symlink())
