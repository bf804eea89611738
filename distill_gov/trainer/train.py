"""A student's whole training: its stages in order, each with an optimiser, a schedule and losses of its own; resumable."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, TrainerCallback, set_seed
from transformers.trainer_callback import PrinterCallback

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import NothingLeftError
from distill_gov.records.files import read_json, write_json
from distill_gov.settings import LossSettings, StageSettings, TrainSettings
from distill_gov.trainer.checkpoints import check_checkpoint, is_finished, last_checkpoint, seal_checkpoint
from distill_gov.trainer.examples import TrainingExample
from distill_gov.trainer.lora import merged, with_lora
from distill_gov.trainer.objective import is_zero, weight_at
from distill_gov.trainer.trainer import DistillationArguments, DistillationTrainer, TrainingStoppedError

__all__ = ["TrainingExample", "TrainingStoppedError", "in_turn", "stages_of", "train_student", "training_steps", "weight_at"]

WHOLE = "training"
"""Name of the one stage of a training without stages."""
LOGGED_EVERY = 10
_STATE, _HISTORY, _IDENTITY = "student.pt", "history.json", "identity.json"

History = list[dict[str, Any]]


def stages_of(settings: TrainSettings) -> list[StageSettings]:
    """The stages in order; one of all examples where none are named."""
    return settings.stages or [StageSettings(name=WHOLE, epochs=settings.epochs, losses=settings.losses)]


def taught_in(stage: StageSettings, examples: Sequence[TrainingExample]) -> list[TrainingExample]:
    """The examples of a stage. Gold ones are taught where they are asked for and nowhere else; rows of a kind of their own
    wherever all examples are and their term has a weight.

    Raises:
        NothingLeftError: there are none.
    """
    kinds = {"answer"} | {kind for kind, weight in _kinds(stage.losses).items() if not is_zero(weight)}
    chosen = {
        "all": [e for e in examples if not e.gold and e.kind in kinds],
        "references": [e for e in examples if not e.gold and e.truth and e.kind == "answer"],
        "gold": [e for e in examples if e.gold],
    }[stage.examples]
    if not chosen:
        what = "the teaching set is empty" if not examples else f"no example is of `{stage.examples}`"
        raise NothingLeftError(f"nothing to train on: {what}", where="" if not examples else f"stage `{stage.name}`")
    return chosen


def in_turn(examples: Sequence[TrainingExample], epochs: int) -> tuple[list[TrainingExample], int]:
    """The examples and the epochs over them, such that a prompt with several answers counts as one with one: in each epoch it
    is taught by one of them, in turn. Then all epochs are laid out as one, in which every prompt comes as often as before.
    """
    answers: dict[tuple[str, ...], list[TrainingExample]] = {}
    for e in examples:
        answers.setdefault((e.kind, e.of) if e.of else (e.kind, "", e.id), []).append(e)
    if all(len(same) == 1 for same in answers.values()):
        return list(examples), epochs
    return [same[epoch % len(same)] for epoch in range(epochs) for same in answers.values()], 1


def _kinds(losses: LossSettings) -> Mapping[str, Any]:
    return {"rationale": losses.rationale, "rejected": losses.unlikelihood}


def training_steps(settings: TrainSettings, examples: Sequence[TrainingExample]) -> int:
    """Optimiser steps of the whole training, in one process."""
    return sum(_steps(settings, stage, examples) for stage in stages_of(settings))


def _steps(settings: TrainSettings, stage: StageSettings, examples: Sequence[TrainingExample]) -> int:
    rows, epochs = in_turn(taught_in(stage, examples), stage.epochs)
    batches = -(-len(rows) // settings.batch_size)
    return epochs * -(-batches // settings.accumulate)


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
    teacher: PreTrainedModel | None = None,
    taken: Sequence[int] | None = None,
    vocabulary: int | None = None,
    scratch: Path | None = None,
    sample: Callable[[Any, StageSettings], list[TrainingExample]] | None = None,
) -> History:
    """Train in place and return the logged losses, one dict a log step: ``stage``, ``step``, ``loss``, every term's mean under
    its name and what it counted in the loss under ``weighted.<name>``.

    Args:
        masks: table of grammar masks, shape (masks, vocabulary).
        temperature: at which the soft targets were captured.
        teacher: a model that runs along, for hints and online soft targets.
        taken: the teacher's layers, from 0, that the student was cut from.
        vocabulary: tokens that exist, where teacher and student pad their heads differently.
        scratch: directory for checkpoints, taken away at the end. The same call after a kill goes on from the last one, with
            the losses of an uninterrupted run; what another training left there is thrown away.
        sample: rows (:func:`~distill_gov.trainer.examples.rejected`) from the student as it stands when a stage with
            ``unlikelihood`` begins. The same student has to give the same ones.

    Raises:
        NothingLeftError: no example.
        TrainingStoppedError: a loss was not finite.
        HashMismatchError: a checkpoint is damaged.
    """
    stages = stages_of(settings)
    steps = training_steps(settings, examples)
    set_seed(seed)
    if settings.freeze_embeddings:
        student.get_input_embeddings().weight.requires_grad_(False)
    model = with_lora(student, settings.lora)

    def trainer_of(number: int, directory: Path, saves: bool) -> DistillationTrainer:
        stage = stages[number]
        own = sample(model, stage) if sample is not None and not is_zero(stage.losses.unlikelihood) else []
        rows, epochs = in_turn(taught_in(stage, [*examples, *own]), stage.epochs)
        arguments = DistillationArguments(
            output_dir=str(directory),
            num_train_epochs=epochs,
            per_device_train_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.accumulate,
            learning_rate=stage.learning_rate or settings.learning_rate,
            warmup_steps=settings.warmup,
            max_grad_norm=settings.max_grad_norm,
            lr_scheduler_type="cosine",
            weight_decay=0.0,
            logging_steps=LOGGED_EVERY,
            save_strategy="steps" if saves else "no",
            save_steps=settings.checkpoint_every or 1,
            # Two, so that a kill while one is written leaves the one before.
            save_total_limit=2,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=torch.accelerator.is_available(),
            train_sampling_strategy="group_by_length" if settings.group_by_length else "random",
            seed=seed + number,
            data_seed=seed + number,
            losses=stage.losses,
            temperature=temperature,
            soft=settings.soft,
            chunk=settings.chunk,
            forced_every=settings.forced_every,
            vocabulary=vocabulary,
        )
        trainer = DistillationTrainer(
            model, arguments, rows, masks=torch.from_numpy(masks), teacher=teacher, taken=taken, pad=pad,
            callbacks=[_Advance(advance)],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        return trainer

    with tempfile.TemporaryDirectory() as temporary:
        saves = scratch is not None and 0 < settings.checkpoint_every <= steps
        place = scratch if scratch is not None and saves else Path(temporary)
        if saves:
            _claim(place, _identity(student, examples, masks, settings, seed, temperature, vocabulary))
        history: History = []
        former: Path | None = None
        for number, stage in enumerate(stages):
            directory, done = place / f"stage-{number}", place / f"stage-{number}-done"
            if saves and is_finished(done):
                history, former = _left(done), done
                advance(_steps(settings, stage, examples))
                continue
            if former is not None:
                _load(model, former)
                former = None
            trainer = trainer_of(number, directory, saves)
            trainer.train(resume_from_checkpoint=last_checkpoint(directory) or False)
            history = [*history, *({"stage": stage.name, **row} for row in trainer.history)]
            if saves and number + 1 < len(stages):
                _leave(model, history, done)
                shutil.rmtree(directory, ignore_errors=True)
        if saves:
            shutil.rmtree(place)
    merged(model, student)
    student.train(False)
    return history


class _Advance(TrainerCallback):
    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.global_step:
            self.advance(state.global_step)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.advance(1)


# -- what a killed training leaves ------------------------------------------------------------------------------------------


def _identity(
    student: PreTrainedModel, examples: Sequence[TrainingExample], masks: np.ndarray[Any, Any], settings: TrainSettings,
    seed: int, temperature: float, vocabulary: int | None,
) -> str:  # fmt: skip
    """Digest of everything that shapes a training."""
    found = sha256()
    for name, weights in sorted(student.state_dict().items()):
        found.update(name.encode())
        found.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    for e in examples:
        t = e.targets
        found.update(
            repr((e.id, e.of, e.prompt, e.masks, e.truth, e.kind, e.gold, t.identity, t.field, t.temperature)).encode()
        )
        for array in (t.token_ids, t.forced, t.starts, t.ids, t.logp, t.log_tail):
            found.update(array.tobytes())
    found.update(np.packbits(masks).tobytes())
    told = settings.model_dump(mode="json", exclude={"accepted_risk", "checkpoint_every"})
    return digest_json([found.hexdigest(), told, seed, temperature, vocabulary])


def _claim(place: Path, identity: str) -> None:
    """Make the scratch directory this training's own."""
    path = place / _IDENTITY
    if place.exists() and not (path.exists() and read_json(path, format="training-scratch").get("identity") == identity):
        shutil.rmtree(place)
    if not path.exists():
        write_json(path, {"identity": identity}, format="training-scratch")


def _leave(model: torch.nn.Module, history: History, done: Path) -> None:
    shutil.rmtree(done, ignore_errors=True)
    done.mkdir(parents=True)
    torch.save(model.state_dict(), done / _STATE)
    write_json(done / _HISTORY, {"rows": history}, format="training-history")
    seal_checkpoint(done)


def _left(done: Path) -> History:
    check_checkpoint(done)
    rows: History = read_json(done / _HISTORY, format="training-history")["rows"]
    return rows


def _load(model: torch.nn.Module, done: Path) -> None:
    model.load_state_dict(torch.load(done / _STATE, map_location="cpu", weights_only=True))
