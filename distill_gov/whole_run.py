"""A whole run: every stage in its order, and a report of how far it came, whatever stopped it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from distill_gov.progress import Progress

if TYPE_CHECKING:
    from distill_gov.project import Run
    from gates.verdict import Verdict

__all__ = ["whole_run"]


def whole_run(run: Run, policy: str | Path | None, progress: Progress, reported: Callable[[Path | Exception], None]) -> Verdict:
    """Build, train, evaluate and gate, and write the report.

    Args:
        reported: is told once where the report is, or why there is none.

    Raises:
        Exception: what stopped a stage, after the report of what is there was written. Never what stopped the report.
    """
    try:
        run.build(progress=progress)
        run.train(progress=progress)
        run.evaluate(progress=progress, only=None)
        verdict = run.gate(policy, progress=progress)
    except Exception:
        reported(_report(run, policy, progress))
        raise
    reported(_report(run, policy, progress))
    return verdict


def _report(run: Run, policy: str | Path | None, progress: Progress) -> Path | Exception:
    try:
        return run.report(policy, progress=progress)
    except Exception as error:
        return error
