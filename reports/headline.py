"""The first screen in one value: the decision, why, and the command that comes next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gates.policy import RATINGS_SUITE
from gates.verdict import GateOutcome, Verdict

__all__ = ["Headline", "headline"]

State = Literal["PASSED", "BLOCKED", "NO VERDICT", "NOT RELIABLE"]


@dataclass(frozen=True, slots=True)
class Headline:
    """What a reader must see before anything else."""

    state: State
    icon: str
    tone: str
    """``good``, ``bad`` or ``open``; only PASSED on real evidence is ``good``."""
    exit_code: int | None
    """What ``gate`` ends with; None where nothing was decided."""
    why: str
    advice: str
    command: str
    """The command that comes next."""


def headline(verdict: Verdict | None, problems: Sequence[str], *, run: str, policy: str, simulated: bool) -> Headline:
    """The headline of a run under a policy. Any problem at all beats the verdict."""
    if problems:
        stored = f" The stored verdict says {verdict.decision}." if verdict else ""
        count = "One thing does" if len(problems) == 1 else f"{len(problems)} things do"
        return Headline(
            "NOT RELIABLE",
            "!",
            "bad",
            4,
            f"{count} not hold, so no decision can be read from this run.{stored}",
            "Find every file that does not hold.",
            f"distill-gov verify --run {run}",
        )
    if verdict is None:
        return Headline(
            "NO VERDICT",
            ABSENT_ICON,
            "open",
            None,
            f"Nothing was decided under policy {policy}.",
            "Decide.",
            _gate(run, policy),
        )
    blocking = [outcome for outcome in verdict.outcomes if outcome.blocks]
    required = [outcome for outcome in verdict.outcomes if outcome.required]
    if verdict.decision == "PASSED":
        why = f"All {len(required)} required gates hold at their bound."
        if simulated:
            return Headline(
                "PASSED",
                "◇",
                "open",
                verdict.exit_code,
                f"{why} It rests on simulated ratings and promotes nothing.",
                "Have people rate the packets.",
                _export(run),
            )
        return Headline("PASSED", "✓", "good", verdict.exit_code, why, "Promote.", f"distill-gov promote --run {run}")
    advice, command = _advice(blocking, run, policy)
    return Headline("BLOCKED", "✗", "bad", verdict.exit_code, _why_blocked(blocking, len(required)), advice, command)


ABSENT_ICON = "○"


def _why_blocked(blocking: Sequence[GateOutcome], required: int) -> str:
    names = ", ".join(f"{outcome.gate} ({outcome.outcome})" for outcome in blocking)
    verb = "gate does" if len(blocking) == 1 else "gates do"
    return f"{len(blocking)} {verb} not pass, of {required} required: {names}."


def _gate(run: str, policy: str) -> str:
    return f"distill-gov gate --run {run}" + ("" if policy == "gates" else f" --policy {policy}")


def _anew(run: str) -> str:
    """A run of the next name: r1, r2; desk, desk-2."""
    stem, number = re.fullmatch(r"(.*?)(\d*)", run).groups()  # type: ignore[union-attr]  # matches every text
    return f"distill-gov run --run {stem}{int(number) + 1}" if number else f"distill-gov run --run {run}-2"


def _export(run: str) -> str:
    # Two raters at least; the names are the reader's to replace, and the command runs as it stands.
    return f"distill-gov ratings export --run {run} --rater A --rater B"


def _advice(blocking: Sequence[GateOutcome], run: str, policy: str) -> tuple[str, str]:
    codes = {outcome.code for outcome in blocking}
    outcomes = {outcome.outcome for outcome in blocking}
    stages = [outcome.gate.removeprefix("requires.") for outcome in blocking if outcome.gate.startswith("requires.")]
    if "not_registered" in codes:
        return "The policy is not the one registered before the holdout was opened. Restore it, or evaluate anew.", _anew(run)
    if "ERROR" in outcomes:
        return "The evidence contradicts itself. Find where.", f"distill-gov verify --run {run}"
    if codes & {"attempts_exhausted", "openings_exhausted"}:
        return "This holdout was used too often. Renew it and seal it.", "distill-gov seal"
    if "FAIL" in outcomes:
        return "Change the student, not the gate; a new run keeps this one on record.", _anew(run)
    if stages:
        command = _export(run) if stages[0] == RATINGS_SUITE else f"distill-gov {stages[0]} --run {run}"
        return f"The policy requires stage {stages[0]}.", command
    absent = [outcome for outcome in blocking if outcome.code in ("absent", "empty", "incomplete", "simulated")]
    if absent and all(_on_ratings(outcome) for outcome in absent):
        only = "Only human ratings are missing." if len(absent) == len(blocking) else "Human ratings are missing."
        return f"{only} Export the packets for the raters.", _export(run)
    if absent:
        return "Measure what is missing.", f"distill-gov evaluate --run {run}"
    needed = max((outcome.needed_n or 0 for outcome in blocking), default=0)
    more = f" It takes {needed:,}." if needed else ""
    plan = "distill-gov gate --plan" + ("" if policy == "gates" else f" --policy {policy}")
    return f"These cases are too few to tell.{more} See what each gate can show.", plan


def _on_ratings(outcome: GateOutcome) -> bool:
    return outcome.measurement is not None and outcome.measurement.request.suite == RATINGS_SUITE
