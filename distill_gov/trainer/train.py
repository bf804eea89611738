"""One training run: examples with soft targets in, a trained student out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed

from distill_gov.records.errors import DistillGovError, NothingLeftError
from distill_gov.settings import LossSettings, TrainSettings
from distill_gov.teachers.soft_targets import SoftTargets
from distill_gov.trainer.losses import Term, brier, cross_entropy, format_penalty, normalised, soft_targets

__all__ = ["TrainingExample", "TrainingStoppedError", "train_student"]


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

    def __init__(self, *, losses: LossSettings, temperature: float, masks: torch.Tensor, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.losses, self.temperature, self.mask_table = losses, temperature, masks
        self.history: list[dict[str, float]] = []
        self.parts: dict[str, float] = {}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        rows: list[TrainingExample] = inputs["rows"]
        keep = max(len(r.targets.token_ids) for r in rows) + 1
        positions = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(0)
        # The head runs on answer positions only; left padding puts them at the end of every row.
        out = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], position_ids=positions, logits_to_keep=keep
        )
        parts = self._terms(out.logits[:, :-1].float(), rows)
        count = sum(len(r.targets.token_ids) for r in rows)
        whole = num_items_in_batch if num_items_in_batch is not None else count
        loss = sum(
            (weight * normalised(term, _share(term, count, whole)) for term, weight in parts.values() if weight),
            start=out.logits.sum() * 0.0,
        )
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The count is summed over devices while their gradients are averaged.
            loss = loss * self.accelerator.num_processes
        if not torch.isfinite(loss):
            raise TrainingStoppedError(
                "the loss is not finite", where=f"batch with example `{rows[0].id}`", fix="Lower the learning rate."
            )
        self.parts = {name: float(normalised(term).detach()) for name, (term, _) in parts.items()}
        return (loss, out) if return_outputs else loss

    def _terms(self, logits: torch.Tensor, rows: Sequence[TrainingExample]) -> dict[str, tuple[Term, float]]:
        device, width = logits.device, logits.shape[1]
        flat = logits.reshape(-1, logits.shape[-1])
        forced, free, decided, tokens = [], [], [], []
        for i, row in enumerate(rows):
            start = i * width + width - len(row.targets.token_ids)
            for j, token in enumerate(row.targets.token_ids):
                tokens.append(token)
                place = (start + j, row, j)
                (forced if row.targets.forced[j] else free).append(place)
                if row.targets.field[j]:
                    decided.append(place)
        index = torch.tensor([p for p, _, _ in free], device=device, dtype=torch.long)
        chosen = flat[index]
        ids, logp, tail = _padded([(r.targets.ids[j], r.targets.logp[j], r.targets.log_tail[j]) for _, r, j in free], device)
        answers = torch.tensor([r.targets.token_ids[j] for _, r, j in free], device=device, dtype=torch.long)
        lone = torch.tensor([p for p, _, _ in forced], device=device, dtype=torch.long)
        lone_tokens = torch.tensor([r.targets.token_ids[j] for _, r, j in forced], device=device, dtype=torch.long)
        # Where one token is allowed, -log Z is that token's cross-entropy; no mask of the vocabulary is needed.
        penalty = cross_entropy(flat[lone], lone_tokens)
        masked = [k for k, (_, r, j) in enumerate(free) if r.masks[j] >= 0]
        if masked and self.losses.format:
            table = self.mask_table[[free[k][1].masks[free[k][2]] for k in masked]].to(device)
            rest = format_penalty(chosen[masked], table)
            penalty = Term(penalty.total + rest.total, penalty.count + rest.count)
        return {
            "soft": (soft_targets(chosen, ids, logp, tail, self.temperature), self.losses.soft),
            "hard": (cross_entropy(chosen, answers), self.losses.hard),
            "calibration": (self._calibration(flat, decided), self.losses.calibration),
            "format": (penalty, self.losses.format),
        }

    def _calibration(self, flat: torch.Tensor, decided: Sequence[tuple[int, TrainingExample, int]]) -> Term:
        index = torch.tensor([p for p, _, _ in decided], device=flat.device, dtype=torch.long)
        width = max((len(r.targets.ids[j]) for _, r, j in decided), default=1)
        ids = torch.zeros(len(decided), width, dtype=torch.long)
        target = torch.full((len(decided), width), -1.0)
        for k, (_, row, j) in enumerate(decided):
            tokens = row.targets.ids[j]
            ids[k, : len(tokens)] = torch.tensor(tokens)
            if row.truth:
                target[k, : len(tokens)] = torch.tensor([float(t == row.targets.token_ids[j]) for t in tokens])
            else:
                heated = torch.tensor(row.targets.logp[j]) * self.temperature
                target[k, : len(tokens)] = heated.softmax(0)
        return brier(flat[index], ids.to(flat.device), target.to(flat.device))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self.history.append({"step": float(self.state.global_step), "loss": float(logs["loss"]), **self.parts})


def _share(term: Term, count: int, whole: Any) -> float:
    """The term's count over the whole optimiser step, taken as proportional to the supervised tokens."""
    return term.count * float(whole) / max(count, 1)


def _padded(
    rows: Sequence[tuple[Sequence[int], Sequence[float], float | None]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width = max((len(ids) for ids, _, _ in rows), default=1)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    logp = torch.full((len(rows), width), float("-inf"))
    tail = torch.full((len(rows),), float("-inf"))
    for i, (tokens, values, rest) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(list(tokens))
        logp[i, : len(values)] = torch.tensor(list(values))
        if rest is not None:
            tail[i] = rest
    return ids.to(device), logp.to(device), tail.to(device)


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
        )
        trainer.remove_callback(_printer())
        trainer.train()
    student.eval()
    return trainer.history


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback
