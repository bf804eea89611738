"""The trainer as a ``transformers.Trainer``: the loss in the head's place, teachers beside it, resumed and distributed runs."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, TrainerCallback

from distill_gov.records.errors import (
    BadInputError,
    HashMismatchError,
    IntegrityError,
    MissingExtraError,
    MissingFileError,
    NothingLeftError,
)
from distill_gov.settings import LossSettings, Schedule, StageSettings, TrainSettings
from distill_gov.settings.train import HintSettings, LoraSettings
from distill_gov.trainer.examples import TrainingExample, rationale, rejected
from distill_gov.trainer.online import OnlineTeacher
from distill_gov.trainer.supervised_head import head_is_last
from distill_gov.trainer.train import TrainingStoppedError, train_student, weight_at
from distill_gov.trainer.trainer import DistillationTrainer
from tests.tiny import build_model, tokenizer
from tests.trainer.rows import (
    END,
    LOSSES,
    PAD,
    ROWS,
    SILENT,
    TEMPERATURE,
    VOCABULARY,
    batch,
    example,
    mask_table,
    step,
    trainer,
)

EVERY = {**LOSSES, "confidence_penalty": 0.2, "rationale": 0.4, "unlikelihood": 0.3, "label_smoothing": 0.1, "structure": 0.5}
MIXED = [*ROWS, rationale("r", [11, 12, 13], [50, 51, END]), rejected("x", [14, 15], [60, 61], 62)]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, atol: float = 2e-6) -> None:
    assert max(g.abs().max().item() for g in one.values()) > 1e-3
    for name, gradient in one.items():
        torch.testing.assert_close(other[name], gradient, atol=atol, rtol=1e-3)


# -- the loss in the head's place -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
def test_the_fused_way_is_the_plain_one(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = step(tmp_path, MIXED, batch=6, divergence=kind, options={"chunk": 3}, **EVERY)
    monkeypatch.setattr("distill_gov.trainer.trainer.head_is_last", lambda _: False)
    same(fused, step(tmp_path, MIXED, batch=6, divergence=kind, **EVERY))


def test_logits_that_are_changed_behind_the_head_are_what_is_trained(tmp_path: Path) -> None:
    """Gemma 2 caps its logits: a loss in the head's place would not see it."""
    config = Gemma2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, head_dim=8,
        num_key_value_heads=2, final_logit_softcapping=0.5, pad_token_id=PAD, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(config)
    assert not head_is_last(model)
    run = trainer(tmp_path, [ROWS[2]], batch=1, model=model.train(), **{**SILENT, "hard_text": 1.0})
    loss = run.compute_loss(run.model, batch([ROWS[2]])).item()
    with torch.inference_mode():
        capped = model(input_ids=torch.tensor([ROWS[2].prompt])).logits[0, -1]
    assert capped.abs().max() <= 0.5
    assert loss == pytest.approx(-capped.log_softmax(0)[END].item(), rel=1e-4)


def test_the_head_is_called_as_it_was_before(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    model: Any = run.model
    run.compute_loss(model, batch(ROWS))
    assert "forward" not in model.get_output_embeddings().__dict__
    assert model(input_ids=torch.tensor([[5, 6]])).logits.shape == (1, 2, VOCABULARY)


@pytest.mark.parametrize(("size", "accumulate"), [(3, 2), (1, 6), (2, 3)])
def test_every_term_is_the_same_however_a_step_is_cut(size: int, accumulate: int, tmp_path: Path) -> None:
    options = {"forced_every": 2}
    whole = step(tmp_path, MIXED, batch=6, options=options, **EVERY)
    same(whole, step(tmp_path, MIXED, batch=size, accumulate=accumulate, options=options, **EVERY))


def test_eight_batches_are_one(tmp_path: Path) -> None:
    rows = [*ROWS, *(replace(row, id=f"{row.id}{row.id}") for row in ROWS[::-1])]
    same(step(tmp_path, rows, batch=8), step(tmp_path, rows, batch=1, accumulate=8))


def test_a_rejected_token_is_unlearnt_at_its_own_position(tmp_path: Path) -> None:
    run = trainer(tmp_path, MIXED, **{**SILENT, "unlikelihood": 1.0})
    loss = run.compute_loss(run.model, batch([MIXED[-1]])).item()
    with torch.inference_mode():
        q = build_model(5)(input_ids=torch.tensor([[14, 15, 60, 61]])).logits[0, -1].softmax(0)[62]
    assert loss == pytest.approx(-math.log1p(-q.item()), rel=1e-3)


def test_reasoning_is_taught_by_a_term_of_its_own(tmp_path: Path) -> None:
    run = trainer(tmp_path, MIXED, **{**SILENT, "rationale": 1.0})
    loss = run.compute_loss(run.model, batch([MIXED[-2]])).item()
    with torch.inference_mode():
        logp = build_model(5)(input_ids=torch.tensor([[11, 12, 13, 50, 51]])).logits[0].log_softmax(1)
    assert loss == pytest.approx(-(logp[2, 50] + logp[3, 51] + logp[4, END]).item() / 3, rel=1e-4)
    assert run.compute_loss(run.model, batch([ROWS[0]])).item() == 0.0


def test_forced_positions_come_round(tmp_path: Path) -> None:
    """Of the positions without a choice one in three is taught at a step, and each of them at one step of three."""
    row = example("forced", 3, 7, forced=range(7))
    run = trainer(tmp_path, [row], options={"forced_every": 3}, **{**SILENT, "format": 1.0})
    seen: Counter[int] = Counter()
    for number in range(3):
        run.state.global_step = number
        chosen = run.objective.select(batch([row], 3), {"format": 1.0}, number)
        assert len(chosen.places) == run.objective.counts(batch([row], 3)["counts"], number)["format"]
        seen.update(chosen.places[:, 1].tolist())
    assert seen == Counter(range(2, 9))


def test_the_supervised_span_is_the_answer_byte_for_byte() -> None:
    """Also where the padding is the end's own token."""
    from distill_gov.trainer.batches import Collator, TeachingRows

    texts = ['{"intent": "refund", "reply": "Grüße, 你好 👋"}', "x"]
    own = tokenizer()
    answers = [[*own(text, add_special_tokens=False)["input_ids"], END] for text in texts]
    rows = [
        TrainingExample(f"e{i}", (7, 8, 9), replace_tokens(ids), (-1,) * len(ids), truth=True) for i, ids in enumerate(answers)
    ]
    made = TeachingRows(rows)
    found = Collator(END)([made[0], made[1]])
    for i, text in enumerate(texts):
        at = found["text_places"][found["text_places"][:, 0] == i][:, 1] + 1
        supervised = found["input_ids"][i, at].tolist()
        assert supervised[-1] == END
        assert supervised.count(END) == 1
        assert own.decode(supervised[:-1]).encode() == text.encode()


def replace_tokens(ids: Sequence[int]) -> Any:
    return rationale("e", [1], ids).targets


def test_a_term_of_weight_0_is_absent(tmp_path: Path) -> None:
    for name in ("soft_text", "calibration"):
        run = trainer(tmp_path, options={"logging_steps": 1}, **{**LOSSES, name: 0.0})
        run.train()
        [row] = run.history
        assert name not in row
        assert set(LOSSES) - {name} <= set(row)
        assert math.fsum(row[f"weighted.{term}"] for term in LOSSES if term != name) == pytest.approx(row["loss"])


def test_no_term_is_no_loss_with_a_live_graph(tmp_path: Path) -> None:
    run = trainer(tmp_path, **SILENT)
    loss = run.compute_loss(run.model, batch(ROWS))
    loss.backward()
    assert loss.item() == 0.0
    with pytest.raises(NothingLeftError, match="no term of the objective"):
        run.train()


@pytest.mark.parametrize("weight", [Schedule(start=0.0, end=1.0, until=0.5), Schedule(start=1.0, end=0.0, shape="cosine")])
def test_schedules(weight: Schedule, tmp_path: Path) -> None:
    assert weight_at(weight, 0.0) == weight.start
    assert weight_at(weight, weight.until / 2) == pytest.approx(0.5)
    assert weight_at(weight, weight.until) == pytest.approx(weight.end) == weight_at(weight, 1.0)
    run = trainer(tmp_path, **{**SILENT, "hard_text": weight})
    run.state.max_steps = 10
    losses = []
    for number in range(10):
        run.state.global_step = number
        losses.append(run.compute_loss(run.model, batch(ROWS)).item())
    plain = trainer(tmp_path, **{**SILENT, "hard_text": 1.0})
    full = plain.compute_loss(plain.model, batch(ROWS)).item()
    assert losses == pytest.approx([full * weight_at(weight, n / 10) for n in range(10)], rel=1e-5, abs=1e-7)


def test_evaluation_gives_the_loss_and_leaves_no_trace(tmp_path: Path) -> None:
    run = trainer(tmp_path, calibration_by="mmce")
    run.eval_dataset = run.train_dataset
    found = run.evaluate()
    assert found["eval_loss"] > 0
    assert run.history == []
    assert run.queue is not None
    assert len(run.queue) == 0


def test_a_sharded_head_is_gathered_where_the_loss_uses_it(tmp_path: Path) -> None:
    """FSDP: outside of its own forward a module's weights are shards, so a loss computed there would not see them whole."""
    from torch.distributed.fsdp import fully_shard

    plain = trainer(tmp_path, model=build_model(5, tied=False).train())
    own: Any = plain.model
    wanted = plain.compute_loss(own, batch(ROWS))
    wanted.backward()
    gradients = {name: p.grad.clone() for name, p in own.named_parameters()}
    model: Any = build_model(5, tied=False).train()
    run = trainer(tmp_path, model=model)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        for part in (*model.model.layers, model.lm_head, model):
            fully_shard(part, mesh=mesh)
        loss = run.compute_loss(model, batch(ROWS))
        loss.backward()
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad.full_tensor(), gradients[name], atol=1e-5, rtol=1e-4)
    finally:
        torch.distributed.destroy_process_group()


# -- teachers that run along ------------------------------------------------------------------------------------------------


def test_a_teacher_has_no_gradient_and_no_dropout(tmp_path: Path) -> None:
    teacher = build_model(9, layers=3).train()
    for module in teacher.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
    run = trainer(tmp_path, teacher=teacher, hints=1.0, options={"soft": "online"})
    inputs = batch(ROWS)
    assert isinstance(run.teacher, OnlineTeacher)
    one, two = (run.teacher.states(inputs["input_ids"], inputs["text_places"], layers=True) for _ in range(2))
    assert torch.equal(one.at_head, two.at_head)
    assert all(torch.equal(a, b) for a, b in zip(one.layers, two.layers, strict=True))
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    run.train()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(v, teacher.state_dict()[k]) for k, v in before.items())


def test_a_student_that_is_its_teacher_has_nothing_to_learn(tmp_path: Path) -> None:
    only = {**SILENT, "soft_decisions": 1.0, "soft_text": 1.0, "hints": 1.0}
    run = trainer(tmp_path, teacher=build_model(5), options={"soft": "online"}, **only)
    loss = run.compute_loss(run.model, batch(ROWS))
    loss.backward()
    model: Any = run.model
    assert loss.item() == pytest.approx(0.0, abs=1e-5)
    assert max(p.grad.abs().max().item() for p in model.parameters()) < 1e-5


def test_online_soft_targets_are_the_divergence_from_the_teachers_logits(tmp_path: Path) -> None:
    run = trainer(tmp_path, teacher=build_model(8), options={"soft": "online"}, **{**SILENT, "soft_text": 1.0})
    loss = run.compute_loss(run.model, batch(ROWS)).item()
    total, count = 0.0, 0
    for row in ROWS:
        ids = torch.tensor([[*row.prompt, *row.targets.token_ids]])
        with torch.inference_mode():
            q, p = ((m(input_ids=ids).logits[0] / TEMPERATURE).log_softmax(1) for m in (build_model(5), build_model(8)))
        for j in range(row.targets.n):
            if not row.targets.forced[j] and not row.targets.field[j]:
                at = len(row.prompt) + j - 1
                total += (p[at].exp() * (p[at] - q[at])).sum().item() * TEMPERATURE**2
                count += 1
    assert loss == pytest.approx(total / count, rel=1e-4)


def test_padded_vocabularies_are_cut_to_the_tokens_that_exist(tmp_path: Path) -> None:
    wide = build_model(8, vocabulary=VOCABULARY + 32)
    with pytest.raises(BadInputError, match="heads of"):
        trainer(tmp_path, teacher=wide, options={"soft": "online"})
    real = VOCABULARY - 4
    run = trainer(tmp_path, teacher=wide, options={"soft": "online", "vocabulary": real})
    loss = run.compute_loss(run.model, batch(ROWS))
    loss.backward()
    with torch.no_grad():
        wide.get_output_embeddings().weight[real:] += 100.0
    assert torch.isfinite(loss)
    assert run.compute_loss(run.model, batch(ROWS)).item() == loss.item()


@pytest.mark.parametrize("by", ["mse", "cosine"])
def test_hints_reach_the_mapped_layers_and_train_their_projections(by: str, tmp_path: Path) -> None:
    hidden = HintSettings(by=by, layers={1: 2})  # type: ignore[arg-type]
    run = trainer(tmp_path, teacher=wide_teacher(), hidden=hidden, **{**SILENT, "hints": 1.0, "contrastive": 0.5})
    assert run.layers == {1: 2}
    assert run.projections is not None
    before = {k: v.clone() for k, v in run.projections.state_dict().items()}
    run.train()
    assert run.history[-1]["hints"] > 0
    assert run.history[-1]["contrastive"] > 0
    assert all(not torch.equal(v, run.projections.state_dict()[k]) for k, v in before.items())
    assert not any("projection" in name for name in run.model.state_dict())  # type: ignore[union-attr]
    assert all(p.grad is None or not p.grad.any() for p in run.projections.parameters())


def test_hints_do_not_depend_on_how_a_step_is_cut(tmp_path: Path) -> None:
    options = {"teacher": build_model(8, layers=4), **SILENT, "hints": 1.0}
    same(step(tmp_path, ROWS, batch=4, **options), step(tmp_path, ROWS, batch=1, accumulate=4, **options), atol=1e-5)


# -- whole runs -------------------------------------------------------------------------------------------------------------

MANY = [example(f"{'n' * (i + 1)}", 2 + i % 5, 2 + i % 4, decided=[i % 2], truth=i % 3 == 0) for i in range(14)]
SETTINGS = TrainSettings(
    epochs=4, batch_size=2, accumulate=2, learning_rate=3e-3, forced_every=2, checkpoint_every=3, freeze_embeddings=False,
    losses=LossSettings(**LOSSES, calibration_by="mmce"),
)  # fmt: skip


class _KillError(Exception):
    pass


def train(settings: TrainSettings, scratch: Path | None = None, *, kill: int = 0, rows: Sequence[TrainingExample] = MANY,
          **options: Any) -> tuple[Any, list[dict[str, Any]]]:  # fmt: skip
    """A whole training; with ``kill``, one that dies after so many steps."""
    done = 0

    def advance(steps: int) -> None:
        nonlocal done
        done += steps
        if kill and done >= kill:
            raise _KillError

    model = build_model(5)
    history = train_student(
        model, rows, mask_table().numpy(), settings, seed=1, pad=PAD, temperature=TEMPERATURE, scratch=scratch, advance=advance,
        **options,
    )  # fmt: skip
    return model, history


@cache
def uninterrupted() -> tuple[Any, list[dict[str, Any]]]:
    return train(SETTINGS)


def equal(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("kill", [2, 8])
def test_a_killed_training_goes_on_as_if_nothing_had_been(kill: int, tmp_path: Path) -> None:
    model, history = uninterrupted()
    scratch = tmp_path / "scratch"
    with pytest.raises(_KillError):
        train(SETTINGS, scratch, kill=kill)
    again, resumed = train(SETTINGS, scratch)
    assert resumed == history
    assert equal(model, again)
    assert not scratch.exists()


def test_what_another_training_left_is_not_gone_on_from(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(_KillError):
        train(SETTINGS, scratch, kill=8)
    other = SETTINGS.model_copy(update={"learning_rate": 1e-3})
    assert train(other, scratch)[1] == train(other)[1]


def test_a_checkpoint_that_was_not_finished_is_passed_over_and_a_damaged_one_refused(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(_KillError):
        train(SETTINGS, scratch, kill=8)
    last = scratch / "stage-0" / "checkpoint-6"
    (last / "complete.json").unlink()
    assert train(SETTINGS, scratch)[1] == uninterrupted()[1]
    with pytest.raises(_KillError):
        train(SETTINGS, scratch, kill=8)
    weights = last / "model.safetensors"
    held = weights.read_bytes()
    weights.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    with pytest.raises(HashMismatchError, match="damaged"):
        train(SETTINGS, scratch)


def test_a_checkpoint_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    with pytest.raises(MissingFileError, match="no such checkpoint"):
        run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    with pytest.raises(MissingFileError, match="no finished checkpoint"):
        run.train(resume_from_checkpoint=True)


def test_a_short_training_writes_no_checkpoint(tmp_path: Path) -> None:
    assert TrainSettings().checkpoint_every == 500
    scratch = tmp_path / "scratch"
    with pytest.raises(_KillError):
        train(SETTINGS.model_copy(update={"checkpoint_every": 500}), scratch, kill=8)
    assert not scratch.exists()


STAGES = TrainSettings(
    batch_size=4, learning_rate=3e-3, checkpoint_every=2, freeze_embeddings=False,
    stages=[
        StageSettings(name="outputs", epochs=2, losses=LossSettings(**LOSSES)),
        StageSettings(name="hints", epochs=1, losses=LossSettings(**SILENT, hints=1.0)),
        StageSettings(name="gold", examples="gold", losses=LossSettings(**{**SILENT, "hard_text": 1.0}), learning_rate=1e-3),
    ],
)  # fmt: skip
GOLD = [replace(example("gold", 4, 6), gold=True, truth=True)]


@pytest.mark.parametrize("kill", [3, 11])
def test_stages_run_in_order_and_are_resumed(kill: int, tmp_path: Path) -> None:
    rows, teacher = [*MANY, *GOLD], build_model(8, layers=4)
    model, history = train(STAGES, rows=rows, teacher=teacher)
    assert [row["stage"] for row in history] == ["outputs", "hints", "gold"]
    assert [row["step"] for row in history] == [8, 4, 1]
    assert ["hints" in row for row in history] == [False, True, False]
    scratch = tmp_path / "scratch"
    with pytest.raises(_KillError):
        train(STAGES, scratch, kill=kill, rows=rows, teacher=teacher)
    again, resumed = train(STAGES, scratch, rows=rows, teacher=teacher)
    assert resumed == history
    assert equal(model, again)


def test_a_stage_without_examples_is_named() -> None:
    with pytest.raises(NothingLeftError, match="stage `gold`"):
        train(STAGES, teacher=build_model(8))


def test_a_record_has_the_same_loss_wherever_it_comes(tmp_path: Path) -> None:
    """Shuffled, accumulated and resumed: the sums of each record at untouched weights are those of the record alone."""

    class Seen(DistillationTrainer):
        seen: dict[str, list[float]]

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            if len(inputs["ids"]) == 1:
                alone = self._counts
                self._counts = None
                with torch.no_grad():
                    self.seen.setdefault(inputs["ids"][0], []).append(float(super().compute_loss(model, inputs)))
                self._counts = alone
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def run(path: Path, **options: Any) -> dict[str, list[float]]:
        told = trainer(path, MANY, batch=1, accumulate=3, options={"max_steps": 12, "learning_rate": 0.0, **options})
        seeing = Seen(build_model(5).train(), told.args, MANY, masks=mask_table(), pad=PAD)
        seeing.seen = {}
        seeing.train(resume_from_checkpoint=options.get("save_strategy") == "steps" and any(path.glob("checkpoint-*")))
        return seeing.seen

    alone = trainer(tmp_path, MANY)
    expected = {row.id: alone.compute_loss(alone.model, batch([row])).item() for row in MANY}
    saving = {"save_strategy": "steps", "save_steps": 4, "save_total_limit": 1}
    two = tmp_path / "two"
    for found in (run(tmp_path / "one", seed=3), run(two, seed=4, **saving), run(two, seed=4, **saving)):
        for id, losses in found.items():
            assert losses == pytest.approx([expected[id]] * len(losses), rel=1e-5)


def test_batches_of_like_length(tmp_path: Path) -> None:
    grouped = SETTINGS.model_copy(update={"group_by_length": True, "epochs": 1})
    model, history = train(grouped)
    assert history == train(grouped)[1]
    assert not equal(model, train(SETTINGS.model_copy(update={"epochs": 1}))[0])


# -- bad input --------------------------------------------------------------------------------------------------------------


class _Poison(TrainerCallback):
    """Makes one token's embedding no number before a step."""

    def __init__(self, model: Any, token: int, step: int) -> None:
        self.model, self.token, self.step = model, token, step

    def on_step_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.global_step == self.step:
            with torch.no_grad():
                self.model.get_input_embeddings().weight[self.token] = math.nan


def test_a_loss_that_is_no_number_names_its_record_and_the_last_good_checkpoint(tmp_path: Path) -> None:
    model = build_model(5, tied=False).train()
    rows = [replace(row, prompt=(9, *row.prompt)) if row.id == "dddd" else row for row in ROWS]
    run = trainer(
        tmp_path, rows, batch=2, accumulate=2, model=model,
        options={"max_steps": 5, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1, "learning_rate": 1e-3},
    )  # fmt: skip
    run.add_callback(_Poison(model, 9, 3))
    with pytest.raises(TrainingStoppedError) as caught:
        run.train()
    assert "example `dddd`" in str(caught.value)
    assert "step 4" in str(caught.value)
    assert str(tmp_path / "checkpoint-3") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "checkpoint-3" / "complete.json").exists()
    assert bool(torch.isfinite(model.model.layers[0].mlp.up_proj.weight).all())


def test_what_the_teacher_cannot_give_is_refused(tmp_path: Path) -> None:
    for losses, options in (({"hints": 1.0}, {}), ({"contrastive": Schedule(start=0, end=1)}, {}), ({}, {"soft": "online"})):
        with pytest.raises(BadInputError, match="need a teacher that runs along"):
            trainer(tmp_path, options=options, **losses)
    bare = [replace(row, targets=replace(row.targets, identity="")) for row in ROWS]
    with pytest.raises(BadInputError, match="nobody scored"):
        trainer(tmp_path, bare)
    trainer(tmp_path, bare, soft_decisions=0.0, soft_text=0.0)


def test_answers_that_nobody_scored_stay_out_of_the_soft_terms(tmp_path: Path) -> None:
    bare = replace(ROWS[1], id="bare", targets=replace(ROWS[1].targets, identity=""), truth=True)
    only = {**SILENT, "soft_decisions": 1.0, "soft_text": 1.0}
    run = trainer(tmp_path, [*ROWS, bare], **only)
    assert run.compute_loss(run.model, batch([*ROWS, bare])).item() == run.compute_loss(run.model, batch(ROWS)).item()


def test_soft_targets_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    def changed(**parts: Any) -> list[TrainingExample]:
        return [*ROWS[1:], replace(ROWS[0], targets=replace(ROWS[0].targets, **parts))]

    with pytest.raises(IntegrityError, match="several supports"):
        trainer(tmp_path, changed(support="full"))
    with pytest.raises(IntegrityError, match="several kinds"):
        trainer(tmp_path, changed(kind="sampled"))
    with pytest.raises(IntegrityError, match="captured at temperature 1, not 2"):
        trainer(tmp_path, changed(temperature=1.0))
    sampled = [replace(row, targets=replace(row.targets, kind="sampled")) for row in ROWS]
    with pytest.raises(BadInputError, match="biased"):
        trainer(tmp_path, sampled, divergence="reverse_kl")
    run = trainer(tmp_path, sampled)
    assert torch.isfinite(run.compute_loss(run.model, batch(sampled)))


def test_a_token_that_the_student_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="outside the"):
        trainer(tmp_path, [replace(ROWS[0], prompt=(VOCABULARY,))])
    with pytest.raises(BadInputError, match="without a prompt"):
        trainer(tmp_path, [replace(ROWS[0], prompt=())])


def test_adapters_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"distill-gov\[lora\]"):
        train(SETTINGS.model_copy(update={"lora": LoraSettings()}))


def test_adapters_are_trained_merged_and_gone() -> None:
    settings = SETTINGS.model_copy(update={"epochs": 12, "lora": LoraSettings(rank=4, alpha=8), "freeze_embeddings": False})
    (model, history), (_, again) = train(settings), train(settings)
    assert history == again
    assert history[-1]["loss"] < history[0]["loss"]
    before = build_model(5).state_dict()
    assert list(model.state_dict()) == list(before)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if "_proj" in name}


# -- several processes ------------------------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {"plain": {}, "beside": {"calibration_by": "mmce", "hints": 0.1}}
"""Runs that are held against themselves: of the six terms, and with a wider teacher's hints and a queue of decisions."""
WORKER = "import sys; from tests.trainer.test_trainer import in_processes; in_processes(sys.argv[1])"


def in_processes(directory: str) -> None:
    """What a process does, alone or as one of several: two steps over all rows of each kind; weights and log to a file."""
    rank, alone = os.environ.get("RANK", "0"), "RANK" not in os.environ
    found = {}
    for kind, losses in KINDS.items():
        run = trainer(
            Path(directory) / f"{kind}-{rank}-{alone}", MANY[:8], batch=4 if alone else 2, accumulate=2,
            teacher=wide_teacher(0.3) if "hints" in losses else None,
            options={"max_steps": 2, "logging_steps": 1, "ddp_backend": None if alone else "gloo", "learning_rate": 1e-3,
                     "train_sampling_strategy": "sequential"},
            **losses,
        )  # fmt: skip
        run.train()
        model: Any = run.accelerator.unwrap_model(run.model)
        decisions = run.queue.decisions if run.queue else torch.zeros(0, 2)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        found[kind] = {"weights": state, "history": run.history, "decisions": decisions}
    torch.save(found, Path(directory) / f"{rank}-{'one' if alone else 'two'}.pt")


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    together = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "PYTHONPATH": str(root),
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)], cwd=root, text=True,
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        in_processes(str(tmp_path))
        for process in running:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said[-3000:]
    finally:
        for process in running:
            process.kill()
    before = build_model(5).state_dict()
    alone = torch.load(tmp_path / "0-one.pt")
    for rank in range(2):
        shared = torch.load(tmp_path / f"{rank}-two.pt")
        for kind in KINDS:
            one, two = alone[kind], shared[kind]
            for name, weight in one["weights"].items():
                moved, other = weight - before[name], two["weights"][name] - before[name]
                torch.testing.assert_close(other, moved, atol=2e-3 * moved.abs().max().item(), rtol=0.0)
            for mine, its in zip(one["history"], two["history"], strict=True):
                assert its == pytest.approx(mine, rel=1e-4, abs=1e-6)
            assert len(one["decisions"]) == (16 if kind == "beside" else 0)
            confidences = (np.sort(held["decisions"][:, 0].numpy()) for held in (two, one))
            np.testing.assert_allclose(*confidences, rtol=1e-3, atol=1e-4)


def wide_teacher(spread: float = 0.02) -> Any:
    """A teacher of four layers, wider than the student."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=48, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
        initializer_range=spread,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def test_training_in_half_precision_is_near_single(tmp_path: Path) -> None:
    options = {"max_steps": 4, "logging_steps": 1, "learning_rate": 1e-3}
    single, half = (
        trainer(tmp_path / name, MIXED, teacher=build_model(9, layers=3), options={**options, "bf16": bf16}, **EVERY, hints=0.5)
        for name, bf16 in (("single", False), ("half", True))
    )
    for run in (single, half):
        run.train()
    assert [row["loss"] for row in half.history] == pytest.approx([row["loss"] for row in single.history], rel=0.03)
    assert half.history != single.history
    model: Any = half.model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
