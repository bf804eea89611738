"""One training run: examples with soft targets in, a trained student out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from distill_gov.records.errors import DistillGovError, NothingLeftError
from distill_gov.settings import LossSettings, Schedule, TrainSettings, Weight
from distill_gov.teachers.soft_targets import SoftTargets
from distill_gov.trainer.losses import Term, brier, cross_entropy, format_penalty, normalised, soft_targets

__all__ = ["TrainingExample", "TrainingStoppedError", "train_student", "weight_at"]


class TrainingStoppedError(DistillGovError):
    """Training cannot go on (a loss that is not finite)."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One supervised answer, as token ids."""

    id: str
    prompt: tuple[int, ...]
    targets: SoftTargets
    masks: tuple[int, ...]
    """Index into the table of grammar masks, one a position; -1 where the position is forced or has no grammar."""
    truth: bool
    """Whether the answer is a reference (its label is the truth) or the teacher's (its distribution is)."""


IGNORED = -100
TERMS = ("soft_decisions", "hard_decisions", "soft_text", "hard_text", "calibration", "format")


class _Collator:
    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[TrainingExample]) -> dict[str, Any]:
        whole = [[*r.prompt, *r.targets.token_ids] for r in rows]
        width = max(map(len, whole))
        ids = torch.full((len(rows), width), self.pad)
        seen = torch.zeros(len(rows), width, dtype=torch.long)
        labels = torch.full((len(rows), width), IGNORED)
        for i, (row, tokens) in enumerate(zip(rows, whole, strict=True)):
            ids[i, width - len(tokens) :] = torch.tensor(tokens)
            seen[i, width - len(tokens) :] = 1
            answer = len(row.targets.token_ids)
            labels[i, width - answer :] = torch.tensor(row.targets.token_ids)
        return {"input_ids": ids, "attention_mask": seen, "labels": labels, "rows": list(rows)}


class _DistillTrainer(Trainer):
    """The loss is ours; everything else (devices, accumulation, clipping, schedules) is the library's."""

    def __init__(
        self, *, losses: LossSettings, temperature: float, masks: torch.Tensor, forced_every: int = 1, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.losses, self.temperature, self.mask_table = losses, temperature, masks
        self.forced_every = forced_every
        # Every term is divided by its count over the whole step, so the library must not divide by the number of batches.
        self.loss_is_scaled_for_ga = True
        self.counts: dict[str, int] = {}
        self.history: list[dict[str, float]] = []
        self.parts: dict[str, float] = {}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        rows: list[TrainingExample] = inputs["rows"]
        positions = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(0)
        kinds = self._kinds(rows)
        places = sorted({*kinds.forced, *kinds.free})
        width = inputs["input_ids"].shape[1]
        # Left padding puts answers at the end of their rows; the position before a token predicts it.
        index = torch.tensor([[i, width - len(rows[i].targets.token_ids) + j - 1] for i, j in places], dtype=torch.long)
        with _head_on(self.accelerator.unwrap_model(model), index.view(-1, 2)):
            out = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], position_ids=positions)
        parts = self._terms(out.logits[0].float(), rows, kinds, {place: k for k, place in enumerate(places)})
        # The graph stays live even where no term has a position.
        loss: torch.Tensor = out.logits.sum() * 0.0
        progress = self.state.global_step / max(1, self.state.max_steps)
        for name, term in parts.items():
            if weight := weight_at(getattr(self.losses, name), progress):
                loss = loss + weight * normalised(term, self.counts.get(name) if self.counts else None)
        if self.counts:
            # The counts are summed over devices while their gradients are averaged.
            loss = loss * self.accelerator.num_processes
        if not torch.isfinite(loss):
            raise TrainingStoppedError(
                "the loss is not finite", where=f"batch with example `{rows[0].id}`", fix="Lower the learning rate."
            )
        self.parts = {name: float(normalised(term).detach()) for name, term in parts.items()}
        return (loss, out) if return_outputs else loss

    def get_batch_samples(self, *arguments: Any, **named: Any) -> Any:
        """The batches of one optimiser step; how many positions each term has in them is kept for the loss."""
        batches, items = super().get_batch_samples(*arguments, **named)
        kinds = [self._kinds(batch["rows"]).counts for batch in batches]
        whole = torch.tensor([[count[name] for name in TERMS] for count in kinds], device=self.args.device).sum(0)
        if self.args.world_size > 1:
            whole = self.accelerator.gather(whole).view(-1, len(TERMS)).sum(0)
        self.counts = dict(zip(TERMS, whole.tolist(), strict=True))
        return batches, items

    def _kinds(self, rows: Sequence[TrainingExample]) -> _Sorted:
        # The step shifts which forced positions are taken, so that all of them come round.
        return _sorted(rows, self.losses.format != 0, self.forced_every, int(self.state.global_step))

    def _terms(
        self, logits: torch.Tensor, rows: Sequence[TrainingExample], kinds: _Sorted, row_of: Mapping[Place, int]
    ) -> dict[str, Term]:
        device = logits.device

        def at(places: Sequence[Place]) -> torch.Tensor:
            """Logits that predict the tokens at the places."""
            return logits[torch.tensor([row_of[place] for place in places], device=device, dtype=torch.long)]

        def own(places: Sequence[Place]) -> torch.Tensor:
            return torch.tensor([rows[i].targets.token_ids[j] for i, j in places], device=device, dtype=torch.long)

        def soft(places: Sequence[Place]) -> Term:
            of = [(rows[i].targets, j) for i, j in places]
            ids, logp, tail = _padded([(*t.support_at(j), t.log_tail[j]) for t, j in of], device)
            return soft_targets(at(places), ids, logp, tail, self.temperature)

        # Where one token is allowed, -log Z is that token's cross-entropy; no mask of the vocabulary is needed.
        lone = cross_entropy(at(kinds.forced), own(kinds.forced))
        table = self.mask_table[[rows[i].masks[j] for i, j in kinds.masked]].to(device)
        rest = format_penalty(at(kinds.masked), table)
        decided = self._calibration(at(kinds.decided), [(rows[i], j) for i, j in kinds.decided])
        return {
            "soft_decisions": soft(kinds.decided),
            "hard_decisions": cross_entropy(at(kinds.settled), own(kinds.settled)),
            "soft_text": soft(kinds.text),
            "hard_text": cross_entropy(at(kinds.text), own(kinds.text)),
            "calibration": decided,
            "format": Term(lone.total + rest.total, lone.count + rest.count),
        }

    def _calibration(self, logits: torch.Tensor, decided: Sequence[tuple[TrainingExample, int]]) -> Term:
        width = max((len(r.targets.support_at(j)[0]) for r, j in decided), default=1)
        ids = torch.zeros(len(decided), width, dtype=torch.long)
        target = torch.full((len(decided), width), -1.0)
        for k, (row, j) in enumerate(decided):
            tokens, logp = row.targets.support_at(j)
            ids[k, : len(tokens)] = torch.tensor(tokens)
            if row.truth:
                target[k, : len(tokens)] = torch.tensor([float(t == row.targets.token_ids[j]) for t in tokens])
            else:
                heated = torch.tensor(logp) * self.temperature
                target[k, : len(tokens)] = heated.softmax(0)
        return brier(logits, ids.to(logits.device), target.to(logits.device))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self.history.append({"step": float(self.state.global_step), "loss": float(logs["loss"]), **self.parts})


Place = tuple[int, int]
"""A row of the batch, and a position in its answer."""


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The answer positions of a batch by what can be learned there."""

    forced: list[Place]
    decided: list[Place]
    """Where a label of a decision field is chosen."""
    settled: list[Place]
    """Those of ``decided`` whose label is a reference's. A label of the teacher's is not repeated as if it were the truth:
    its soft target holds the same label with the teacher's doubts."""
    text: list[Place]
    """Every other position at which there is a choice."""
    masked: list[Place]
    """Those of ``decided`` and ``text`` whose grammar mask the format term needs."""

    @property
    def free(self) -> list[Place]:
        return [*self.decided, *self.text]

    @property
    def counts(self) -> dict[str, int]:
        """Positions of each term."""
        return {
            "soft_decisions": len(self.decided),
            "hard_decisions": len(self.settled),
            "soft_text": len(self.text),
            "hard_text": len(self.text),
            "calibration": len(self.decided),
            "format": len(self.forced) + len(self.masked),
        }


@contextmanager
def _head_on(model: Any, index: torch.Tensor) -> Iterator[None]:
    """Let the language-model head see only the given (row, position) pairs: the dearest product, on what is supervised.

    A hook inside the model, so that wrappers around it (data parallelism) stay in the way of the call.
    """

    def select(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        places = index.to(inputs[0].device)
        return (inputs[0][places[:, 0], places[:, 1]].unsqueeze(0), *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def _sorted(rows: Sequence[TrainingExample], masks: bool, forced_every: int = 1, phase: int = 0) -> _Sorted:
    places = [(i, j) for i, row in enumerate(rows) for j in range(len(row.targets.token_ids))]
    free = [(i, j) for i, j in places if not rows[i].targets.forced[j]]
    return _Sorted(
        forced=[(i, j) for i, j in places if rows[i].targets.forced[j] and (i + j + phase) % forced_every == 0],
        decided=[(i, j) for i, j in free if rows[i].targets.field[j]],
        settled=[(i, j) for i, j in free if rows[i].targets.field[j] and rows[i].truth],
        text=[(i, j) for i, j in free if not rows[i].targets.field[j]],
        masked=[(i, j) for i, j in free if masks and rows[i].masks[j] >= 0],
    )


def _padded(rows: Sequence[tuple[Any, Any, float]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width = max((len(ids) for ids, _, _ in rows), default=1)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    logp = torch.full((len(rows), width), float("-inf"))
    tail = torch.full((len(rows),), float("-inf"))
    for i, (tokens, values, rest) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        logp[i, : len(values)] = torch.tensor(values)
        tail[i] = float(rest)
    return ids.to(device), logp.to(device), tail.to(device)


def weight_at(weight: Weight, progress: float) -> float:
    """A term's weight when this share of the stage's steps is done."""
    if not isinstance(weight, Schedule):
        return weight
    share = min(1.0, progress / weight.until)
    if weight.shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return weight.start + share * (weight.end - weight.start)


class _Advance(TrainerCallback):
    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.advance(1)


def train_student(
    student: PreTrainedModel,
    examples: Sequence[TrainingExample],
    masks: np.ndarray[Any, np.dtype[np.bool_]],
    settings: TrainSettings,
    *,
    seed: int,
    pad: int,
    temperature: float,
    advance: Callable[[int], None] = lambda _: None,
) -> list[dict[str, float]]:
    """Train in place and return the logged losses, one dict a log step.

    Args:
        masks: table of grammar masks, shape (masks, vocabulary).
        temperature: at which the soft targets were captured.

    Raises:
        NothingLeftError: no example.
        TrainingStoppedError: a loss was not finite.
    """
    if not examples:
        raise NothingLeftError("nothing to train on: the teaching set is empty")
    set_seed(seed)
    student.train()
    if settings.freeze_embeddings:
        student.get_input_embeddings().weight.requires_grad_(False)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup,
            lr_scheduler_type="cosine",
            weight_decay=0.0,
            logging_steps=10,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=torch.accelerator.is_available(),
            seed=seed,
            data_seed=seed,
            label_names=["labels"],
        )
        trainer = _DistillTrainer(
            model=student,
            args=arguments,
            train_dataset=list(examples),
            data_collator=_Collator(pad),
            callbacks=[_Advance(advance)],
            losses=settings.losses,
            temperature=temperature,
            masks=torch.from_numpy(masks),
            forced_every=settings.forced_every,
        )
        trainer.remove_callback(_printer())
        trainer.train()
    student.train(False)
    return trainer.history


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
