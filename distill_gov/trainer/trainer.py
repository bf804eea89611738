"""The trainer: ``transformers.Trainer`` with distillation's losses.

What the library does, it does here as its users know it (Accelerate, DDP, FSDP, gradient accumulation and checkpointing,
schedules, callbacks, evaluation, LoRA): only the loss, its counts, and what a checkpoint must hold besides are ours.

One optimiser step minimises  sum over terms of  weight(progress) * (sum over the step's positions) / (their count in the step),
whatever micro-batches and processes the step is split over. The counts are known before the first micro-batch, so that each
of them adds its exact share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from distill_gov.records.errors import BadInputError, DistillGovError, IntegrityError, MissingFileError, NothingLeftError
from distill_gov.settings import LossSettings
from distill_gov.teachers.soft_targets import one_support
from distill_gov.trainer.batches import Collator, TeachingRows
from distill_gov.trainer.checkpoints import check_checkpoint, last_checkpoint, seal_checkpoint
from distill_gov.trainer.examples import TrainingExample
from distill_gov.trainer.lookups import look_up, tied_lookup
from distill_gov.trainer.losses.calibration import DecisionQueue, brier, confidence_penalty, decided, mmce, sb_ece
from distill_gov.trainer.losses.contrastive import info_nce, pooled
from distill_gov.trainer.losses.head import HeadLoss, HeadTerm, head_loss
from distill_gov.trainer.losses.hints import Projections, hidden_cosine, hidden_mse, layer_map
from distill_gov.trainer.objective import Objective, Selection
from distill_gov.trainer.online import OnlineTeacher, TeacherStates
from distill_gov.trainer.plain import plain_loss
from distill_gov.trainer.supervised_head import head_is_last, head_on, head_replaced, output_head

__all__ = ["DistillationArguments", "DistillationTrainer", "TrainingStoppedError"]


History = list[dict[str, float]]


class TrainingStoppedError(DistillGovError):
    """Training cannot go on (a loss that is not finite)."""

    exit_code = 2


@dataclass
class DistillationArguments(TrainingArguments):
    """``TrainingArguments`` and what distillation needs besides. ``temperature`` is that of the soft targets."""

    losses: LossSettings = field(default_factory=LossSettings, metadata={"help": "Weights and kinds of the loss terms."})
    temperature: float = field(default=1.0, metadata={"help": "At which the soft targets were captured, or are taken online."})
    soft: str = field(
        default="cached", metadata={"help": "Soft targets from the cache, or `online` from a teacher that runs along."}
    )
    chunk: int = field(default=128, metadata={"help": "Positions whose logits exist at a time."})
    forced_every: int = field(
        default=1, metadata={"help": "Of the positions without a choice, one in so many is taught at a step."}
    )
    vocabulary: int | None = field(
        default=None, metadata={"help": "Tokens that exist, where models pad their heads beyond them."}
    )

    def __post_init__(self) -> None:
        if self.soft not in ("cached", "online"):
            raise BadInputError("`soft` is `cached` or `online`")
        # The collator reads what no model's forward knows; a loss that is not finite must stop the run, not be averaged away.
        self.remove_unused_columns = False
        self.logging_nan_inf_filter = False
        self.label_names = []
        super().__post_init__()  # type: ignore[no-untyped-call]

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = super().to_dict()  # type: ignore[no-untyped-call]
        return {**found, "losses": self.losses.model_dump(mode="json")}


class DistillationTrainer(Trainer):
    """Trains a causal language model on :class:`~distill_gov.trainer.examples.TrainingExample` rows.

    Args:
        model: the student.
        args: settings of the run.
        train_dataset, eval_dataset: examples, or the rows made of them.
        masks: table of grammar masks, shape (masks, vocabulary), that the examples' ``masks`` point into.
        teacher: a causal model of the same tokenizer, which runs along; for hints, ``contrastive`` and ``soft="online"``.
        taken: the teacher's layers, from 0, that the student was cut from; hints map them to one another.
        options: further arguments of ``transformers.Trainer``.

    Raises:
        BadInputError: an objective needs what is not given (a teacher, soft targets), or a token lies outside the vocabulary.
        IntegrityError: soft targets of several supports, kinds or temperatures.
        NothingLeftError: nothing to learn from.
    """

    args: DistillationArguments
    objective: Objective
    history: History
    queue: DecisionQueue | None

    def __init__(
        self,
        model: PreTrainedModel,
        args: DistillationArguments,
        train_dataset: Sequence[TrainingExample] | TeachingRows | None = None,
        eval_dataset: Sequence[TrainingExample] | TeachingRows | None = None,
        *,
        masks: torch.Tensor | None = None,
        teacher: PreTrainedModel | None = None,
        taken: Sequence[int] | None = None,
        pad: int = 0,
        **options: Any,
    ) -> None:
        self._check(args, model, teacher, [*_examples(train_dataset), *_examples(eval_dataset)])
        every = args.forced_every
        super().__init__(
            model=model,
            args=args,
            train_dataset=_rows(train_dataset, every),
            eval_dataset=_rows(eval_dataset, every),
            data_collator=options.pop("data_collator", None) or Collator(pad, forced_every=every),
            **options,
        )
        if self.args.n_gpu > 1:
            raise BadInputError(
                "one process on several devices is not supported", fix="Start one process a device (`torchrun`)."
            )
        # Every term is divided by its count over the whole step, so the library must not divide by the number of batches.
        self.loss_is_scaled_for_ga = True
        table = masks if masks is not None else torch.zeros(1, model.config.get_text_config().vocab_size, dtype=torch.bool)
        self.objective = Objective(
            args.losses, table.to(args.device), args.temperature, every, args.soft == "online",
            any(e.targets.kind == "sampled" for e in _examples(train_dataset) if e.targets.identity),
        )  # fmt: skip
        self.history = []
        self._fused = head_is_last(model)
        self._counts: dict[str, float] | None = None
        self._window = _Window(self.objective.ever, args.device)
        self._step_loss = torch.zeros((), device=args.device)
        self._grad_norm: Any = None
        self._step_batches: Sequence[Mapping[str, Any]] = []
        by_queue = "calibration" in self.objective.ever and args.losses.calibration_by != "brier"
        self.queue = DecisionQueue(args.losses.queue) if by_queue else None
        self._set_teacher(model, teacher, taken)
        self.add_callback(_Steps(self))

    # -- what is given must be enough -----------------------------------------------------------------------------------------

    @staticmethod
    def _check(
        args: DistillationArguments,
        model: PreTrainedModel,
        teacher: PreTrainedModel | None,
        examples: Sequence[TrainingExample],
    ) -> None:
        ever = Objective(args.losses, torch.zeros(0), args.temperature).ever
        soft = {"soft_decisions", "soft_text"} & set(ever)
        running: list[str] = [name for name in ("hints", "contrastive") if name in ever]
        running += sorted(soft) if args.soft == "online" else []
        if running and teacher is None:
            raise BadInputError(
                f"{', '.join(f'`{n}`' for n in running)} need a teacher that runs along, and there is none",
                where="train.losses", fix="Set their weights to 0, or teach with a local teacher model.",
            )  # fmt: skip
        answers = [e for e in examples if e.kind == "answer"]
        if soft and args.soft == "cached":
            _check_cached(answers, args)
        width = args.vocabulary or model.config.get_text_config().vocab_size
        for e in examples:
            highest = max(max(e.prompt, default=0), int(e.targets.token_ids.max(initial=0)), int(e.targets.ids.max(initial=0)))
            if highest >= width:
                raise BadInputError(
                    f"a token outside the {width} of the vocabulary", where=f"example `{e.id}`",
                    fix="Make the teaching set with the student's tokenizer.",
                )  # fmt: skip

    def _set_teacher(self, model: PreTrainedModel, teacher: PreTrainedModel | None, taken: Sequence[int] | None) -> None:
        losses, ever = self.args.losses, self.objective.ever
        self.teacher: OnlineTeacher | None = None
        self.layers: dict[int, int] = {}
        self.projections: Projections | None = None
        if teacher is None:
            return
        self.teacher = OnlineTeacher(teacher, self.args.device)
        own, its = model.config.get_text_config(), teacher.config.get_text_config()
        if "hints" in ever:
            self.layers = layer_map(own.num_hidden_layers, its.num_hidden_layers, taken, losses.hidden.layers)
        hinted = sorted({*self.layers, *([own.num_hidden_layers] if "contrastive" in ever else [])})
        projections = Projections(hinted, own.hidden_size, its.hidden_size)
        if len(projections):
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise BadInputError(
                    "hints between states of different widths are not supported with sharded training",
                    fix="Set `hints` and `contrastive` to 0, or train without FSDP and DeepSpeed.",
                )
            self.projections = projections.to(self.args.device)
        if self.objective.online and its.vocab_size != own.vocab_size and self.args.vocabulary is None:
            raise BadInputError(
                f"heads of {own.vocab_size} (student) and {its.vocab_size} (teacher) tokens",
                fix="Give the size of their tokenizer as `vocabulary`.",
            )

    # -- the loss -------------------------------------------------------------------------------------------------------------

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The batch's share of the optimiser step's loss; by itself, or evaluated, a batch is taken for a whole step."""
        step, active = self.state.global_step, self.objective.weights(self._progress())
        taught = bool(model.training) and torch.is_grad_enabled()
        whole = self._counts if taught else None
        counts = whole or self.objective.counts(inputs["counts"], step)
        factors = {name: weight / counts[name] if counts[name] else 0.0 for name, weight in active.items()}
        selected = self.objective.select(inputs, active, step)
        states = self._teacher_states(inputs, selected, active)
        online = (states.at_head, self.teacher.weight) if states and self.teacher and self.objective.online else None
        terms = self.objective.head_terms(inputs, active, selected, online)
        asked = {"input_ids": inputs["input_ids"], "use_cache": False, "output_hidden_states": _hinted(active)}
        part = _Part(self, inputs, terms, {name: factors[name.partition(".")[0]] for name in terms} | factors, taught)
        bare = self.accelerator.unwrap_model(model)
        if self._fused:
            head: Any = output_head(bare)
            with (
                tied_lookup(bare) as weight,
                head_replaced(bare, lambda hidden: part.at_head(hidden, selected, weight(), head.bias)),
            ):
                out = model(**asked)
            loss = out.logits.sum()
        else:
            with head_on(bare, selected.places):
                out = model(**asked)
            loss = part.at_logits(out.logits[0], selected)
        if states and _hinted(active):
            loss = loss + part.hints(out.hidden_states, states.layers, active)
        if taught:
            self._window.add(part.sums, factors)
            self._step_loss += loss.detach()
        if whole:
            # The counts are summed over devices while their gradients are averaged.
            loss = loss * self.accelerator.num_processes
        return (loss, out) if return_outputs else loss

    def _progress(self) -> float:
        return self.state.global_step / max(1, self.state.max_steps)

    def _teacher_states(
        self, inputs: Mapping[str, Any], selected: Selection, active: Mapping[str, float]
    ) -> TeacherStates | None:
        soft = self.objective.online and {"soft_decisions", "soft_text"} & set(active)
        if self.teacher is None or not (soft or _hinted(active)):
            return None
        return self.teacher.states(inputs["input_ids"], selected.places, layers=_hinted(active))

    def get_batch_samples(self, *arguments: Any, **named: Any) -> Any:
        """The batches of one optimiser step. How many positions each term has in them, on all processes, is kept."""
        batches, items = super().get_batch_samples(*arguments, **named)
        names = sorted(batches[0]["counts"]) if batches else []
        found = {name: math.fsum(batch["counts"][name] for batch in batches) for name in names}
        if self.args.world_size > 1 and names:
            mine = torch.tensor([found[name] for name in names], device=self.args.device)
            every = self.accelerator.gather(mine).view(-1, len(names)).sum(0).tolist()
            found = dict(zip(names, every, strict=True))
        self._counts = self.objective.counts(found, self.state.global_step) if batches else None
        if self._counts:
            self._window.count(self._counts, self.objective.weights(self._progress()))
        self._step_batches = batches
        return batches, items

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """The batch's loss alone: there are no whole logits to give."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss: torch.Tensor = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach(), None, None

    # -- the optimiser's step -------------------------------------------------------------------------------------------------

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The library's, and the projections of hints as a group of their own."""
        fresh = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(*(() if model is None else (model,)))
        if fresh and self.projections is not None:
            optimizer.add_param_group({"params": list(self.projections.parameters()), "weight_decay": 0.0})
        return optimizer

    def _clip_grad_norm(self, model: Any) -> Any:
        self._grad_norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        return self._grad_norm

    def before_step(self) -> None:
        """All of a step's gradients are there: are they numbers?

        Raises:
            TrainingStoppedError: the loss or a gradient is not finite.
        """
        if self.projections is not None and self.args.world_size > 1:
            for p in self.projections.parameters():
                if p.grad is not None:
                    torch.distributed.all_reduce(p.grad)
                    p.grad /= self.args.world_size
        watched = self._step_loss
        # A scaler of half precision meets infinite gradients on its way and skips their steps by itself.
        if self._grad_norm is not None and self.accelerator.scaler is None:
            norm = self._grad_norm
            watched = watched + 0.0 * (norm.full_tensor() if hasattr(norm, "full_tensor") else torch.as_tensor(norm)).to(
                watched
            )
        if self.args.world_size > 1:
            watched = self.accelerator.gather(watched.reshape(1)).sum()
        if not bool(torch.isfinite(watched)):
            self._stop()

    def after_step(self) -> None:
        """The weights have moved."""
        self._step_loss = torch.zeros_like(self._step_loss)
        self._grad_norm, self._step_batches = None, []
        self._window.steps += 1
        if self.queue is not None:
            self.queue.step(self._gathered)
        if self.projections is not None:
            self.projections.zero_grad()

    def _gathered(self, decisions: torch.Tensor) -> torch.Tensor:
        """The decisions of all processes, for those of this one."""
        if self.args.world_size == 1:
            return decisions
        padded = self.accelerator.pad_across_processes(decisions.float().to(self.args.device), dim=0, pad_index=-1)
        every = self.accelerator.gather(padded)
        found: torch.Tensor = every[every[:, 0] >= 0]
        return found

    def _stop(self) -> None:
        batches, self._counts = self._step_batches, None
        name = self._culprit(batches)
        ids = [id for batch in batches for id in batch["ids"]]
        named = f"example `{name}`" if name else f"a batch of {len(ids)} examples with `{ids[0]}`" if ids else "a batch"
        kept = last_checkpoint(Path(str(self.args.output_dir)))
        raise TrainingStoppedError(
            "the loss is not finite",
            where=f"step {self.state.global_step + 1}, {named}",
            fix=f"Lower the learning rate. Last good checkpoint: {kept or 'none was kept'}.",
        )

    def _culprit(self, batches: Sequence[Mapping[str, Any]]) -> str | None:
        """The first example whose own loss or gradient is not finite. The weights are still those that made it so."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled or not isinstance(self.train_dataset, TeachingRows):
            return None
        model: Any = self.accelerator.unwrap_model(self.model)
        places = {id: i for i, id in enumerate(self.train_dataset.ids)}
        for id in (id for batch in batches for id in batch["ids"]):
            model.zero_grad()
            inputs = self._prepare_inputs(self.data_collator([self.train_dataset[places[id]]]))
            loss = self.compute_loss(model, inputs)
            if not torch.isfinite(loss):
                return str(id)
            loss.backward()
            if not all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None):
                return str(id)
        return None

    # -- the log --------------------------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Every term by itself goes along: its mean over the positions of the steps since the last log, and what it counted in
        the loss (``weighted.<term>``), so that a term that nothing is seen of is seen."""
        if "loss" in logs:
            logs |= self._flush()
        super().log(logs, start_time)

    def _flush(self) -> dict[str, float]:
        row = self._window.flush(lambda sums: self.accelerator.reduce(sums) if self.args.world_size > 1 else sums)
        self.history.append({"step": float(self.state.global_step), **row})
        return row

    def finish(self) -> None:
        """The last steps are logged too, however few."""
        if self._window.steps:
            self._flush()

    # -- checkpoints ----------------------------------------------------------------------------------------------------------

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, *arguments: Any, **named: Any) -> Any:
        """Train; from a checkpoint where one is named, or from the last one that is whole (True).

        Raises:
            MissingFileError, HashMismatchError: the checkpoint is not there, was never finished, or is damaged.
            NothingLeftError: no term of the objective has a position in the whole teaching set.
            TrainingStoppedError: a loss was not finite.
        """
        self._require_something()
        found = Path(resume_from_checkpoint) if isinstance(resume_from_checkpoint, str | Path) else None
        if resume_from_checkpoint is True:
            found = last_checkpoint(Path(str(self.args.output_dir)))
            if found is None:
                raise MissingFileError("no finished checkpoint to go on from", where=str(self.args.output_dir))
        if found is not None:
            check_checkpoint(found)
        return super().train(str(found) if found else None, *arguments, **named)

    def _require_something(self) -> None:
        rows: Any = self.train_dataset
        if not isinstance(rows, TeachingRows):
            return
        every = self.objective.forced_every
        counts = Collator(0, forced_every=every)([rows[i] for i in range(len(rows))])["counts"]
        of_step = [self.objective.counts(counts, step) for step in range(every)]
        if not any(found[name] for found in of_step for name in self.objective.ever):
            raise NothingLeftError(
                "no term of the objective has a token to learn from", where="train.losses",
                fix="Give a term a weight whose positions the teaching set has.",
            )  # fmt: skip

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        directory = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        state = {
            "history": self.history,
            "window": self._window.state_dict(),
            "queue": self.queue.state_dict() if self.queue is not None else None,
            "projections": self.projections.state_dict() if self.projections is not None else None,
        }
        directory.mkdir(parents=True, exist_ok=True)
        torch.save(state, directory / f"distillation_{self.args.process_index}.pt")
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            seal_checkpoint(directory)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / f"distillation_{self.args.process_index}.pt"
        if not path.exists():
            raise MissingFileError(
                "this checkpoint was written by fewer processes",
                where=checkpoint,
                fix="Resume with as many as it was started with.",
            )
        state = torch.load(path, map_location=self.args.device, weights_only=True)
        self.history = state["history"]
        self._window.load_state_dict(state["window"])
        if self.queue is not None and state["queue"] is not None:
            self.queue.load_state_dict(state["queue"])
        if self.projections is not None and state["projections"] is not None:
            self.projections.load_state_dict(state["projections"])


class _Part:
    """One batch's terms, as the model's forward comes to them."""

    def __init__(
        self, trainer: DistillationTrainer, inputs: Mapping[str, Any], terms: Mapping[str, HeadTerm],
        factors: Mapping[str, float], taught: bool,
    ) -> None:  # fmt: skip
        self.trainer, self.inputs, self.terms, self.factors, self.taught = trainer, inputs, terms, factors, taught
        self.sums: dict[str, torch.Tensor] = {}

    def at_head(
        self, hidden: torch.Tensor, selected: Selection, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """The loss in the head's place, from all hidden states (rows, positions, width)."""
        args, places = self.trainer.args, selected.places
        picked = hidden[places[:, 0], places[:, 1]]
        if scored := self._scored(selected):
            at, ids = scored
            # Only the labels' rows of the head: nothing as wide as the vocabulary.
            labels, weight = look_up(ids, weight)
        found = head_loss(picked, weight, bias, self.terms, self.factors, chunk=args.chunk, vocabulary=args.vocabulary)
        total = self._taken(found)
        if scored:
            scores = torch.bmm(labels, picked[at][:, :, None])[:, :, 0]
            total = total + self._labels(scores if bias is None else scores + bias[ids])
        # A tensor of its own, not a view: wrappers hang their hooks on what a forward returns.
        return torch.stack([total])

    def at_logits(self, logits: torch.Tensor, selected: Selection) -> torch.Tensor:
        """The loss from logits (positions, vocabulary)."""
        found = plain_loss(logits, self.terms, self.factors, vocabulary=self.trainer.args.vocabulary)
        total = self._taken(found)
        if scored := self._scored(selected):
            at, ids = scored
            total = total + self._labels(logits[at].gather(1, ids))
        return total

    def _taken(self, found: HeadLoss) -> torch.Tensor:
        for name, value in found.sums.items():
            base = name.partition(".")[0]
            self.sums[base] = self.sums[base] + value if base in self.sums else value
        return found.total

    def _scored(self, selected: Selection) -> tuple[torch.Tensor, torch.Tensor] | None:
        ids = self.inputs["decided_ids"]
        wanted = {"calibration", "confidence_penalty"} & set(self.factors)
        return (selected.rows["decided"], ids) if wanted and len(ids) else None

    def _labels(self, scores: torch.Tensor) -> torch.Tensor:
        aims, queue = self.inputs["decided_aims"], self.trainer.queue
        scores = scores.float().masked_fill(aims < 0, float("-inf"))
        total = scores.new_zeros(())
        if "calibration" in self.factors:
            term = brier(scores, aims)
            if queue is not None:
                confidence, correct = decided(scores, aims)
                statistic = sb_ece if self.trainer.args.losses.calibration_by == "sb_ece" else mmce
                term = statistic(confidence, correct, queue)
                if self.taught:
                    queue.collect(confidence, correct)
            total = total + self._weighted("calibration", term.total)
        if "confidence_penalty" in self.factors:
            total = total + self._weighted("confidence_penalty", confidence_penalty(scores).total)
        return total

    def hints(self, own: Sequence[torch.Tensor], its: Sequence[torch.Tensor], active: Mapping[str, float]) -> torch.Tensor:
        """Terms on hidden states, at every position of the answers."""
        places = torch.cat([self.inputs[f"{group}_places"] for group in ("decided", "text", "forced")])
        at = (places[:, 0], places[:, 1])
        total = own[0].new_zeros(())
        if "hints" in active:
            layers = self.trainer.layers
            by_mse = self.trainer.args.losses.hidden.by == "mse"
            found = total
            for mine, other in layers.items():
                student, teacher = self._projected(mine, own[mine][at]), its[other][at]
                term = hidden_mse(student, teacher, relative=True) if by_mse else hidden_cosine(student, teacher)
                found = found + term.total / len(layers)
            total = total + self._weighted("hints", found)
        if "contrastive" in active:
            answers = int(self.inputs["counts"]["answers"])
            mine = len(own) - 1
            student, teacher = self._projected(mine, own[mine][at]), its[-1][at]
            of = self.inputs["answer_of"]
            total = total + self._weighted(
                "contrastive", info_nce(pooled(student, of, answers), pooled(teacher, of, answers)).total
            )
        return total

    def _projected(self, layer: int, states: torch.Tensor) -> torch.Tensor:
        projections = self.trainer.projections
        if projections is None:
            return states
        projected: torch.Tensor = projections(layer, states)
        return projected

    def _weighted(self, name: str, total: torch.Tensor) -> torch.Tensor:
        self.sums[name] = total.detach()
        return self.factors[name] * total


class _Window:
    """What the terms came to since the last log. Sums stay on the device until then: reading one would make it wait."""

    def __init__(self, names: Sequence[str], device: torch.device) -> None:
        self.names, self.steps = list(names), 0
        self.sums = torch.zeros(
            len(self.names), 2, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device
        )
        self.counts = dict.fromkeys(self.names, 0.0)

    def add(self, sums: Mapping[str, torch.Tensor], factors: Mapping[str, float]) -> None:
        for i, name in enumerate(self.names):
            if name in sums:
                self.sums[i, 0] += sums[name]
                self.sums[i, 1] += factors[name] * sums[name]

    def count(self, counts: Mapping[str, float], active: Mapping[str, float]) -> None:
        for name in active:
            self.counts[name] += counts[name]

    def flush(self, summed: Any) -> dict[str, float]:
        """Means of the terms, their shares of the loss, and the loss a step; then begin anew."""
        values = dict(zip(self.names, summed(self.sums).tolist(), strict=True))
        steps = max(1, self.steps)
        row = {"loss": math.fsum(weighted for _, weighted in values.values()) / steps}
        row |= {name: raw / (self.counts[name] or 1.0) for name, (raw, _) in values.items()}
        row |= {f"weighted.{name}": weighted / steps for name, (_, weighted) in values.items()}
        self.sums.zero_()
        self.steps, self.counts = 0, dict.fromkeys(self.names, 0.0)
        return row

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums.cpu(), "steps": self.steps, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sums = state["sums"].to(self.sums)
        self.steps, self.counts = state["steps"], dict(state["counts"])


class _Steps(TrainerCallback):
    """Tells the trainer where in a step it is."""

    def __init__(self, trainer: DistillationTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.trainer.before_step()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.trainer.after_step()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.trainer.finish()


def _hinted(active: Mapping[str, float]) -> bool:
    return "hints" in active or "contrastive" in active


def _examples(given: Sequence[TrainingExample] | TeachingRows | None) -> Sequence[TrainingExample]:
    return () if given is None or isinstance(given, TeachingRows) else given


def _rows(given: Sequence[TrainingExample] | TeachingRows | None, every: int) -> TeachingRows | None:
    return given if given is None or isinstance(given, TeachingRows) else TeachingRows(given, forced_every=every)


def _check_cached(answers: Sequence[TrainingExample], args: DistillationArguments) -> None:
    scored = [e for e in answers if e.targets.identity]
    if answers and not scored:
        raise BadInputError(
            "the objective asks for soft targets, and nobody scored the answers", where="train.losses",
            fix="Set `soft_decisions` and `soft_text` to 0.",
        )  # fmt: skip
    for e in scored:
        if e.targets.temperature != args.temperature:
            raise IntegrityError(
                f"soft targets were captured at temperature {e.targets.temperature:g}, not {args.temperature:g}",
                where=f"example `{e.id}`", fix="Build again: a sparse distribution cannot be taken to another temperature.",
            )  # fmt: skip
    one_support(e.targets for e in scored)
    kinds = sorted({e.targets.kind for e in scored})
    if len(kinds) > 1:
        raise IntegrityError(
            f"soft targets of several kinds are mixed ({', '.join(kinds)})", fix="Build the teaching set anew."
        )
    if kinds == ["sampled"] and args.losses.divergence != "forward_kl":
        raise BadInputError(
            f"`{args.losses.divergence}` of sampled soft targets is biased",
            where="train.losses.divergence",
            fix="Use `forward_kl`.",
        )
