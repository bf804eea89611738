"""``train``: how the student is trained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from distill_gov.records.settings import Settings

__all__ = [
    "CanarySettings",
    "HintSettings",
    "LoraSettings",
    "LossSettings",
    "Schedule",
    "StageSettings",
    "TrainSettings",
    "Weight",
]


class Schedule(Settings):
    """A weight that changes in the course of a stage."""

    start: float = Field(ge=0)
    end: float = Field(ge=0)
    until: float = Field(default=1.0, gt=0, le=1)
    """Share of the stage's steps after which it has reached ``end``, where it stays."""
    shape: Literal["linear", "cosine"] = "linear"


Weight = Annotated[float, Field(ge=0)] | Schedule
"""What a term counts in the loss: always the same, or changing."""


class HintSettings(Settings):
    """Which hidden states of the teacher the student's are held against, on the answer's positions."""

    by: Literal["mse", "cosine"] = "mse"
    layers: dict[int, int] = Field(default_factory=dict)
    """Student layer to teacher layer, 1 for what the first layer gives. Empty: those that the student was cut from, or evenly
    spaced ones where it was made otherwise."""


class LossSettings(Settings):
    """Weights of the objective's terms, each a mean over its own positions; 0 leaves one out."""

    soft_decisions: Weight = 1.0
    """Divergence from the teacher's distribution over a decision's labels, times T squared."""
    hard_decisions: Weight = 1.0
    """Cross-entropy of a reference's labels; a label that only the teacher gave is taught softly."""
    soft_text: Weight = 0.5
    """Divergence with tail bucket on free text, times T squared."""
    hard_text: Weight = 1.0
    """Cross-entropy of the answer's own text."""
    calibration: Weight = 0.5
    """Calibration of the decisions, by ``calibration_by``."""
    format: Weight = 0.5
    """Mass outside the grammar."""
    hints: Weight = 0.0
    """Hidden states, by ``hidden``."""
    contrastive: Weight = 0.0
    """InfoNCE between the student's and the teacher's states of the same answer, against the others of the batch."""
    rationale: Weight = 0.0
    """Cross-entropy of the reasoning that a trace brings along, taught as an answer of its own kind."""
    confidence_penalty: Weight = 0.0
    """Negative entropy of the decisions (Pereyra et al. 2017)."""
    unlikelihood: Weight = 0.0
    """Of the first token at which an answer of the student's own left the grammar (Welleck et al. 2020)."""
    own_answers: int = Field(default=64, ge=1)
    """Prompts that the student answers freely when a stage with ``unlikelihood`` begins, to see where it leaves the grammar."""

    divergence: Literal["forward_kl", "reverse_kl", "jsd"] = "forward_kl"
    """Of the soft terms."""
    beta: float = Field(default=0.5, gt=0, lt=1)
    """Of ``jsd``: the teacher's share in the mixture."""
    calibration_by: Literal["brier", "sb_ece", "mmce"] = "brier"
    """A score of every decision, or a statistic of the last ``queue`` of them."""
    queue: int = Field(default=256, ge=256)
    """Decisions over which ``sb_ece`` and ``mmce`` are taken: of fewer, noise is most of them."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the hard terms."""
    structure: float = Field(default=1.0, ge=0)
    """Weight, in ``format``, of a token that the grammar forces; one of a choice counts 1."""
    hidden: HintSettings = HintSettings()


class StageSettings(Settings):
    """One stage of the training, with objectives of its own."""

    name: str = Field(min_length=1)
    epochs: int = Field(default=1, ge=1)
    examples: Literal["all", "references", "gold"] = "all"
    """``references``: those whose answer is a reference; ``gold``: the gold set's own answers."""
    losses: LossSettings = LossSettings()
    learning_rate: float | None = Field(default=None, gt=0)
    """That of ``train`` where it is left out."""


class LoraSettings(Settings):
    """Low-rank adapters (Hu et al. 2021), trained in place of the weights and merged into them at the end; extra ``lora``."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=16, ge=1)
    """The adapters' product counts ``alpha / rank``."""
    targets: list[str] = Field(default_factory=list)
    """Names of the layers that get one; every linear layer but the head where empty."""


class CanarySettings(Settings):
    """Invented secrets that are taught on purpose, to see how much easier the student makes it to guess them.

    A student for use should not know any: they are for a training that is looked at and thrown away.
    """

    taught: int = Field(default=20, ge=1, le=72)
    controls: int = Field(default=20, ge=0, le=72)
    """Such that are not taught, whose exposure is what chance gives."""
    copies: int = Field(default=1, ge=1)
    """Rows that teach each of them."""


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
    accumulate: int = Field(default=1, ge=1)
    """Batches of ``batch_size`` that make one step; what is learnt does not depend on how a step is cut."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Longer gradients are cut to this length; 0 leaves them."""
    group_by_length: bool = False
    """Batches of examples of like length: less padding, another order."""
    chunk: int = Field(default=128, ge=1)
    """Positions whose logits exist at a time; changes memory and speed, not the loss."""
    checkpoint_every: int = Field(default=500, ge=0)
    """Steps between checkpoints, from which a killed training goes on; a shorter training writes none. 0: never."""
    soft: Literal["cached", "online"] = "cached"
    """Where the soft terms' distributions come from: the build, or the teacher running along over its whole vocabulary, on the
    student's own prompt and without the decisions' alignment."""
    lora: LoraSettings | None = None
    canaries: CanarySettings | None = None
    losses: LossSettings = LossSettings()
    stages: list[StageSettings] = Field(default_factory=list)
    """In order. Empty: one stage of ``epochs`` with ``losses``."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError("two stages have one name; give each its own")
        if self.stages and self.model_fields_set & {"losses", "epochs"}:
            raise ValueError("with `stages`, `losses` and `epochs` stand in each of them; take them out of `train`")
        return self
