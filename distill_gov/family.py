"""A family of students from one teaching set: each trained, measured and judged in a run of its own, and set side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from distill_gov.progress import Progress
from distill_gov.records.errors import BadInputError
from distill_gov.stages.shared import shared_run_name

if TYPE_CHECKING:
    from distill_gov.project import Project, Run
    from gates.verdict import Verdict

__all__ = ["StudentOutcome", "train_family", "worst"]

_ORDER = (0, 3, 1, 4, 2, 5)
"""Exit codes from the best to the worst: 4 beats 1 beats 3, and where there is no verdict nothing was shown at all."""


@dataclass(frozen=True, slots=True)
class StudentOutcome:
    """How it ended for one student."""

    student: str
    run: str
    verdict: Verdict | None
    """None where a stage failed."""


def worst(codes: Sequence[int]) -> int:
    """The worst of several exit codes."""
    return max(codes, key=_ORDER.index, default=BadInputError.exit_code)


def train_family(
    project: Project,
    base: Run,
    students: Sequence[str],
    policy: str | Path | None,
    progress: Progress,
    failed: Callable[[Exception], int],
) -> tuple[list[StudentOutcome], int]:
    """Build a run's teaching set, and train, measure, judge and report every student of the family on it.

    A student that fails stops no other. The pages are written whatever came of it.

    Args:
        students: names of ``students:`` in ``distill.yaml``; empty for all.
        failed: is told of what stopped a student or a page, and gives its exit code.

    Returns:
        What came of each, and the worst exit code.

    Raises:
        BadInputError: a name that no student has, or there are none; nothing is done then.
        Exception: what stopped the build.
    """
    names = list(dict.fromkeys(students or project.settings.students))
    if not names:
        raise BadInputError(
            "distill.yaml lists no family of students",
            where="distill.yaml: students",
            fix="List them by name under `students:`.",
        )
    for name in names:
        project.of_student(name)
    base.build(progress=progress)
    # The tools that take long to load are the same for all.
    _ = project.redactor
    runs = {name: project.run(shared_run_name(base.layout.name, name)) for name in names}
    codes: list[int] = []
    shared = [name for name in names if _succeeds(partial(runs[name].share, base, name), failed, codes)]
    outcomes = []
    for name in names:
        verdict = _judged(runs[name], policy, progress, failed, codes) if name in shared else None
        outcomes.append(StudentOutcome(name, runs[name].layout.name, verdict))
    # Last, so that each page knows how many students the holdout has seen.
    for name in shared:
        _succeeds(partial(runs[name].report, policy, progress=progress), failed, codes)
    _succeeds(partial(base.family_page, policy), failed, codes)
    return outcomes, worst(codes)


def _succeeds(act: Callable[[], object], failed: Callable[[Exception], int], codes: list[int]) -> bool:
    try:
        act()
    except Exception as error:
        codes.append(failed(error))
        return False
    return True


def _judged(
    run: Run, policy: str | Path | None, progress: Progress, failed: Callable[[Exception], int], codes: list[int]
) -> Verdict | None:
    try:
        run.train(progress=progress)
        run.evaluate(progress=progress)
        verdict = run.gate(policy, progress=progress)
    except Exception as error:
        codes.append(failed(error))
        return None
    codes.append(verdict.exit_code)
    return verdict
