"""What the pages show of a run, as frozen values. Numbers are mostly in words already, so that every page writes them alike."""

from __future__ import annotations

from dataclasses import dataclass

from distill_gov.records.books import StageBalance
from distill_gov.records.ledger import LedgerEntry
from evals.evidence import Subject
from gates.policy import GateRule
from gates.verdict import Verdict
from reports.headline import Headline
from reports.loading import Part
from reports.suppression import FocusRow
from reports.wording import Mark

__all__ = [
    "AdmissionRow",
    "Baselines",
    "ControlRow",
    "DropRow",
    "FidelityRow",
    "Funnel",
    "GateRow",
    "Interval",
    "LedgerView",
    "RedactionSummary",
    "Reliability",
    "ReliabilityBin",
    "RunRecord",
    "SliceRow",
    "SpeedRow",
    "SummaryTable",
    "Training",
]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its interval and the limit its bound is held against, in the metric's unit."""

    value: float
    low: float | None
    high: float | None
    limit: float
    side: str
    """``lower`` or ``upper``: the bound that decides; more is better where it is ``lower``."""
    unit: str
    difference: bool


@dataclass(frozen=True, slots=True)
class GateRow:
    """One gate: numbers already in words, so that every page writes them alike."""

    gate: str
    outcome: str
    mark: Mark
    blocks: bool
    required: bool
    reason: str
    what: str
    """Metric, suite and slice."""
    reference: str
    """The teacher's level, or a dash."""
    subject: str
    """The student's level, with the difference where that is what is judged."""
    must_be: str
    bound: str
    n: str
    unit: str
    """The metric's unit, empty where it is not known."""
    provenance: str
    interval: Interval | None
    not_shown: str
    estimand: str
    rule: GateRule | None
    """The gate as the policy has it; None where the policy file is not at hand."""


@dataclass(frozen=True, slots=True)
class DropRow:
    """How many items one rule dropped or reserved at a stage, for one reason."""

    stage: str
    outcome: str
    rule: str
    reason: str
    n: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """The books of the teaching set."""

    stages: tuple[StageBalance, ...]
    drops: Part[tuple[DropRow, ...]]
    origin: tuple[tuple[str, str], ...]
    """Where the traces came from, counts as they may be shown."""
    slices: tuple[FocusRow, ...] = ()
    """Each slice's share of what came in, is taught and is held out."""


@dataclass(frozen=True, slots=True)
class RedactionSummary:
    """What was found and replaced, and what the scan after it and the raters still found."""

    total: str
    residual: int | None
    seen_by_raters: int | None
    """Answers in which a rater saw personal data: redaction missed it. None where nobody's ratings were imported."""
    by_entity: tuple[tuple[str, str], ...]
    """Kind of personal data to its count as it may be shown; most frequent first."""


@dataclass(frozen=True, slots=True)
class AdmissionRow:
    """The teacher against a floor it had to reach before it taught."""

    metric: str
    value: str
    floor: str
    n: int
    admitted: bool


@dataclass(frozen=True, slots=True)
class Training:
    """The student as it was made."""

    parameters: str
    layers: str
    teacher_parameters: str
    temperatures: tuple[tuple[str, str], ...]
    losses: tuple[tuple[str, str, str, str], ...]
    """Term, first and last value, and its share of the loss at the end; no share where that was not logged."""
    steps: int
    count: int | None = None
    """Parameters as a number."""
    made: str = ""
    """What the student was made of, in words; empty where it is not recorded."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """What simpler ways reach, beside teacher and student."""

    metrics: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], str], ...]
    """Name, values in the order of ``metrics``, note."""


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """How fast and how large a subject is."""

    subject: str
    n: str
    """Requests timed one at a time."""
    first_token_p50: str
    first_token_p95: str
    last_token_p50: str
    last_token_p95: str
    tokens_per_s: str
    memory: str
    """Most memory of a process that did nothing else."""
    cost: str
    """Of one request, at the prices of the project's own file."""
    parameters: str
    bytes: str
    rate: tuple[float, float | None, float | None] | None = None
    """Tokens a second as numbers: value, low, high; bounds are None where too few requests were timed."""
    count: int | None = None
    """Parameters as a number."""


@dataclass(frozen=True, slots=True)
class FidelityRow:
    """Where the student decides as its teacher does on one field, and who was right."""

    field: str
    n: str
    agreed: str
    both: str
    teacher_only: str
    """What the student lost."""
    student_only: str
    neither: str


@dataclass(frozen=True, slots=True)
class ControlRow:
    """A student known to be bad, under the same policy."""

    name: str
    decision: str
    """PASSED, BLOCKED or "not judged"."""
    caught_by: tuple[str, ...]
    """Gates that failed it."""
    open_on: tuple[str, ...]
    """Gates that block it without having failed it."""
    note: str


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Cases of similar confidence."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One slice of the cases; its shares are withheld where it is small."""

    slice: str
    n: str
    accuracy: str
    confidence: str


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far confidences on one decision field can be believed."""

    subject: str
    suite: str
    field: str
    n: int
    confidence: float
    accuracy: float
    bins: tuple[ReliabilityBin, ...]
    slices: tuple[SliceRow, ...]
    raw: bool = False
    """Before the temperature that was fitted on dev."""

    @property
    def of(self) -> str:
        """Whose confidences these are."""
        return f"{self.subject}, {self.field}, {self.suite}{', before its temperature' if self.raw else ''}"


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """What was measured beside the gates, in words."""

    name: str
    title: str
    caption: str
    head: tuple[str, ...]
    numeric: tuple[int, ...]
    """Places of the columns that hold numbers."""
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The project's ledger, its chain checked."""

    head: str
    entries: tuple[LedgerEntry, ...]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything the pages show of a run under one policy."""

    run: str
    policy: str
    headline: Headline
    problems: tuple[str, ...]
    """What does not hold. With any of these nothing on a page may look passed."""
    warnings: tuple[str, ...]
    """What a reader must know, though every file holds."""
    simulated: bool
    verdict: Verdict | None
    headers: tuple[tuple[str, str], ...]
    """The policy's headers and the teacher's terms; "not approved" where empty."""
    gates: tuple[GateRow, ...]
    funnel: Part[Funnel]
    redaction: Part[RedactionSummary]
    admission: Part[tuple[AdmissionRow, ...]]
    training: Part[Training]
    subjects: Part[tuple[Subject, ...]]
    baselines: Part[Baselines]
    speed: Part[tuple[SpeedRow, ...]]
    fidelity: Part[tuple[FidelityRow, ...]]
    controls: Part[tuple[ControlRow, ...]]
    reliability: tuple[Part[Reliability], ...]
    """For each calibration gate: the subject judged, then those it is compared with."""
    summaries: Part[tuple[SummaryTable, ...]]
    ledger: Part[LedgerView]
    students_measured: int | None = None
    """Students measured on this run's holdout by now, in whatever run; None where it is not known."""

    @property
    def opened(self) -> str:
        """How often the holdout was opened for an evaluation, of how often it may be; an old verdict does not say."""
        v = self.verdict
        return "not counted" if v is None or v.openings is None else f"{v.openings} of {v.max_openings}"

    @property
    def gates_that_hold(self) -> str:
        """How many of the required gates hold; of a record that does not, nothing can be said."""
        if self.problems:
            return "not known"
        holding = sum(row.required and not row.blocks for row in self.gates)
        return f"{holding} of {sum(row.required for row in self.gates)} required"
