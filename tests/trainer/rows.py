"""Rows, masks and trainers small enough for every test of the trainer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill_gov.settings import LossSettings
from distill_gov.teachers.soft_targets import SoftTargets
from distill_gov.trainer.batches import Collator, TeachingRows
from distill_gov.trainer.examples import TrainingExample
from distill_gov.trainer.trainer import DistillationArguments, DistillationTrainer
from tests.tiny import build_model, tokenizer

PAD = int(tokenizer().pad_token_id)
END = int(tokenizer().eos_token_id)
VOCABULARY = build_model().config.vocab_size
TEMPERATURE = 2.0
LOSSES = {"soft_decisions": 1.0, "hard_decisions": 0.6, "soft_text": 0.9, "hard_text": 0.7, "calibration": 0.5, "format": 0.3}
SILENT = dict.fromkeys(LOSSES, 0.0)


def example(
    name: str, prompt: int, answer: int, *, forced: Sequence[int] = (), decided: Sequence[int] = (), **options: Any
) -> TrainingExample:
    """Random ids; its last answer token is the end. Positions are free unless they are named."""
    rng = np.random.default_rng(sum(name.encode()))
    tokens = (*rng.integers(10, 300, answer - 1).tolist(), END)
    ids: list[tuple[int, ...]] = []
    logp: list[tuple[float, ...]] = []
    tail: list[float | None] = []
    for j, token in enumerate(tokens):
        others = rng.choice(np.arange(301, 380), 2, replace=False).tolist()
        if j in forced:
            ids, logp, tail = [*ids, ()], [*logp, ()], [*tail, None]
        elif j in decided:
            ids, logp, tail = [*ids, (token, *others)], [*logp, tuple(np.log([0.6, 0.3, 0.1]))], [*tail, None]
        else:
            ids, logp, tail = [*ids, (token, *others)], [*logp, tuple(np.log([0.6, 0.2, 0.1]))], [*tail, math.log(0.1)]
    targets = SoftTargets.ragged(
        name, "id", "grammar", TEMPERATURE, token_ids=tokens, field=["intent" if j in decided else "" for j in range(answer)],
        forced=[j in forced for j in range(answer)], ids=ids, logp=logp, log_tail=tail, log_allowed=[0.0] * answer,
    )  # fmt: skip
    masks = tuple(-1 if j in forced else j % 2 for j in range(answer))
    prompt_ids = tuple(rng.integers(10, 300, prompt).tolist())
    return TrainingExample(name, prompt_ids, targets, masks, **{"truth": False, **options})


ROWS = [
    example("a", 4, 5, forced=[0, 1], decided=[2]),
    example("bb", 9, 12, forced=[0, 3], decided=[1, 2]),
    example("c", 2, 1),
    example("dddd", 13, 3, decided=[0]),
]


def mask_table() -> torch.Tensor:
    table = torch.zeros(2, VOCABULARY, dtype=torch.bool)
    table[0, :200], table[1, 100:] = True, True
    table[:, END] = True
    return table


def arguments(path: Path, losses: LossSettings, **options: Any) -> DistillationArguments:
    """One optimiser step of plain gradient descent with rate 1: the weights move by exactly the gradient."""
    given: dict[str, Any] = {
        "max_steps": 1, "learning_rate": 1.0, "lr_scheduler_type": "constant", "optim": "sgd", "max_grad_norm": 0.0,
        "save_strategy": "no", "report_to": [], "disable_tqdm": True, "use_cpu": True, "temperature": TEMPERATURE,
    }  # fmt: skip
    return DistillationArguments(output_dir=str(path), losses=losses, **(given | options))


def trainer(
    path: Path,
    rows: Sequence[TrainingExample] = ROWS,
    *,
    batch: int = 4,
    accumulate: int = 1,
    model: Any = None,
    teacher: Any = None,
    taken: Sequence[int] | None = None,
    options: dict[str, Any] | None = None,
    **losses: Any,
) -> DistillationTrainer:
    """A trainer of one step; ``losses`` on top of all six terms."""
    settings = LossSettings(**(LOSSES | losses))
    told = arguments(
        path, settings, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulate, **(options or {})
    )
    student = build_model(5).train() if model is None else model
    return DistillationTrainer(student, told, rows, masks=mask_table(), teacher=teacher, taken=taken, pad=PAD)


def step(path: Path, rows: Sequence[TrainingExample] = ROWS, **options: Any) -> dict[str, torch.Tensor]:
    """The gradient of one optimiser step over all rows."""
    run = trainer(path, rows, **options)
    model: Any = run.model
    before = {k: p.detach().clone() for k, p in model.named_parameters()}
    run.train()
    return {k: before[k] - p.detach() for k, p in model.named_parameters()}


def batch(rows: Sequence[TrainingExample], every: int = 1) -> dict[str, Any]:
    made = TeachingRows(rows, forced_every=every)
    return Collator(PAD, forced_every=every)([made[i] for i in range(len(made))])


def parts(run: DistillationTrainer, rows: Sequence[TrainingExample]) -> dict[str, float]:
    """The mean of each term over the rows, after one reckoning of their loss."""
    counts = run.objective.counts(batch(rows)["counts"], 0)
    run._window.count(counts, run.objective.weights(0.0))
    found = run._window.flush(lambda sums: sums)
    return {name: value for name, value in found.items() if name != "loss" and "." not in name}
