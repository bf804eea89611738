"""Outcomes of gates and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import read_json, write_json
from distill_gov.records.typed import require_types
from evals.evidence import Measurement, MeasurementRequest

__all__ = ["EXIT_CODES", "GateOutcome", "Outcome", "Verdict", "read_verdict", "write_verdict"]

Outcome = Literal["PASS", "WAIVED", "FAIL", "INCONCLUSIVE", "ERROR"]

EXIT_CODES: Mapping[str, int] = {"PASS": 0, "WAIVED": 0, "FAIL": 1, "INCONCLUSIVE": 3, "ERROR": 4}
"""An outcome's exit code. Over several gates 4 beats 1 beats 3 beats 0."""


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """One gate's outcome and why."""

    gate: str
    outcome: Outcome
    reason: str
    """One line for a person."""
    code: str
    """Reason code: ``within_limit``, ``beyond_limit``, ``straddles``, ``absent``, ``n_too_small``, ``stale`` ..."""
    measurement: Measurement | None
    reference_value: float | None
    """The teacher's own level of the metric, for display."""
    limit: float
    """The limit the bound was held against (for a margin: the signed margin)."""
    needed_n: int | None
    """Cases it would take, where n is the reason."""
    required: bool = True
    """Whether it must pass. One that need not is shown, and blocks only by an ERROR."""

    @property
    def blocks(self) -> bool:
        """Whether this outcome alone keeps the subject from being promoted."""
        # Written so that an outcome nobody thought of blocks: only the named ones pass.
        return self.outcome == "ERROR" or (self.required and self.outcome not in ("PASS", "WAIVED"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision over one subject under one policy."""

    decision: Literal["PASSED", "BLOCKED"]
    outcomes: tuple[GateOutcome, ...]
    policy: str
    """Name of the policy (its file's stem)."""
    policy_digest: str
    headers: Mapping[str, str]
    """``intended_use``, ``owner``, ``approved_by`` ... as the policy has them, with "not approved" where it has nothing."""
    subject_name: str
    subject: str
    """Digest of the subject judged."""
    attempt: int
    """The how-manieth student measured on this holdout."""
    max_attempts: int
    simulated: bool
    """Whether any measurement used simulated ratings."""
    measurements: str
    """Digest of the measurements file."""
    evidence: Mapping[str, str]
    """Path below the run to SHA-256 of every evidence file used."""
    ledger_head: str
    at: str
    model_input: str
    """What the subject read, ``redacted`` or ``raw``; empty where it is not recorded."""
    registered: str
    """Digest of the rules that the ledger had under this policy's name before the run's evaluation opened the holdout; empty
    where there were none."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """Suite to the digest its measurements had to carry."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Name to digest of every subject that may be compared with."""
    openings: int | None = None
    """How often the holdout had been opened for an evaluation when this subject was measured; None in a verdict of a release
    that did not count them."""
    max_openings: int | None = None

    @property
    def exit_code(self) -> int:
        """0 only where the verdict passes and so do its gates; a verdict that contradicts its gates gives 4."""
        blocking = [outcome for outcome in self.outcomes if outcome.blocks]
        if self.decision == "PASSED":
            return 0 if not blocking and any(outcome.required for outcome in self.outcomes) else 4
        codes = {EXIT_CODES.get(outcome.outcome, 4) for outcome in blocking}
        return next((code for code in (4, 1, 3) if code in codes), 4)


def write_verdict(path: Path, verdict: Verdict) -> None:
    write_json(path, verdict_object(verdict), format="verdict")


def verdict_object(verdict: Verdict) -> dict[str, Any]:
    """The JSON object that the file holds."""
    return asdict(verdict)


def read_verdict(path: Path) -> Verdict:
    """Read a verdict.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    value = read_json(path, format="verdict")
    try:
        verdict = Verdict(outcomes=tuple(_outcome(o) for o in _listed(value.pop("outcomes"))), **value)
    except (AttributeError, KeyError, TypeError) as error:
        raise MalformedFileError("not a verdict", where=str(path)) from error
    require_types(verdict, where=str(path))
    return verdict


def _outcome(value: dict[str, Any]) -> GateOutcome:
    measured = value.pop("measurement")
    if measured is not None:
        request = MeasurementRequest(**measured.pop("request"))
        measured = Measurement(request=request, provenance=tuple(_listed(measured.pop("provenance"))), **measured)
    return GateOutcome(measurement=measured, **value)


def _listed(value: Any) -> list[Any]:
    # An empty text or object would make an empty tuple, as if there had been no gate.
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
