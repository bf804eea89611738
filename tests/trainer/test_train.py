"""One training run: what is supervised, how it is normalised, that it learns and repeats itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from distill_gov.records.errors import NothingLeftError
from distill_gov.settings import LossSettings, TrainSettings
from distill_gov.trainer.train import TrainingExample, TrainingStoppedError, in_turn, train_student, training_steps
from tests.tiny import build_model
from tests.trainer.rows import LOSSES, PAD, ROWS, SILENT, TEMPERATURE, batch, example, mask_table, parts, step, trainer

# -- which positions are supervised -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[2:3]])
def test_the_gradient_lands_exactly_where_answer_tokens_are_predicted(rows: list[TrainingExample], tmp_path: Path) -> None:
    """The first answer token is predicted by the last prompt token; the end is supervised; nothing follows it."""
    run = trainer(tmp_path, rows, batch=4)
    inputs = batch(rows)
    seen: dict[str, torch.Tensor] = {}

    def watch(_module: Any, _inputs: Any, out: Any) -> None:
        # The last hidden state meets the loss through the head only, so its gradient says which positions are supervised.
        out.last_hidden_state.retain_grad()
        seen["hidden"] = out.last_hidden_state

    run.model.base_model.register_forward_hook(watch)
    run.compute_loss(run.model, inputs).backward()
    grad = seen["hidden"].grad
    assert grad is not None
    for i, row in enumerate(rows):
        n = len(row.targets.token_ids)
        touched = grad[i].abs().sum(1).nonzero()[:, 0].tolist()
        assert touched == list(range(len(row.prompt) - 1, len(row.prompt) + n - 1))


@pytest.mark.parametrize("name", ["hard_decisions", "hard_text"])
def test_each_position_is_scored_against_its_own_token(name: str, tmp_path: Path) -> None:
    """A hard term alone is the plain cross-entropy of each row, unpadded, over free text or a reference's decisions."""
    rows = [*ROWS[:3], replace(ROWS[3], truth=True)]
    run = trainer(tmp_path, rows, batch=4, **{**SILENT, name: 1.0})
    loss = run.compute_loss(run.model, batch(rows)).item()
    total, count = 0.0, 0
    model = build_model(5)
    for row in rows:
        ids = torch.tensor([[*row.prompt, *row.targets.token_ids]])
        with torch.inference_mode():
            logp = model(input_ids=ids).logits[0].log_softmax(1)
        for j, token in enumerate(row.targets.token_ids):
            wanted = row.targets.field[j] and row.truth if name == "hard_decisions" else not row.targets.field[j]
            if not row.targets.forced[j] and wanted:
                total -= logp[len(row.prompt) + j - 1, token].item()
                count += 1
    assert count == (1 if name == "hard_decisions" else 13)
    assert loss == pytest.approx(total / count, rel=1e-4)


def test_all_terms_against_a_reckoning_by_hand(tmp_path: Path) -> None:
    rows = [*ROWS[:3], replace(ROWS[3], truth=True)]
    run = trainer(tmp_path, rows, batch=4)
    loss = run.compute_loss(run.model, batch(rows)).item()
    sums: dict[str, list[float]] = {name: [] for name in LOSSES}
    model = build_model(5)
    for row in rows:
        with torch.inference_mode():
            z = model(input_ids=torch.tensor([[*row.prompt, *row.targets.token_ids]])).logits[0].double()
        t = row.targets
        for j, token in enumerate(t.token_ids):
            here = z[len(row.prompt) + j - 1]
            if t.forced[j]:
                sums["format"].append(-here.log_softmax(0)[token].item())
                continue
            kind = "decisions" if t.field[j] else "text"
            if row.truth or not t.field[j]:
                sums[f"hard_{kind}"].append(-here.log_softmax(0)[token].item())
            sums["format"].append(-here.softmax(0)[mask_table()[row.masks[j]]].sum().log().item())
            ids, logp = (list(part.tolist()) for part in t.support_at(j))
            q = (here / TEMPERATURE).softmax(0)[ids].tolist()
            p = [math.exp(x) for x in logp]
            value = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
            rest = float(t.log_tail[j])
            if math.isfinite(rest):
                value += math.exp(rest) * (rest - math.log(1 - sum(q)))
            sums[f"soft_{kind}"].append(value * TEMPERATURE**2)
            if t.field[j]:
                aim = torch.tensor(logp).mul(TEMPERATURE).softmax(0)
                aim = torch.tensor([float(i == token) for i in ids]) if row.truth else aim
                own = here[ids].softmax(0)
                sums["calibration"].append((own - aim).square().sum().item())
    wanted = sum(LOSSES[name] * math.fsum(values) / len(values) for name, values in sums.items())
    assert loss == pytest.approx(wanted, rel=1e-4)
    assert parts(run, rows) == pytest.approx({name: math.fsum(values) / len(values) for name, values in sums.items()}, rel=1e-3)


def test_a_reference_aims_the_calibration_at_the_truth(tmp_path: Path) -> None:
    row = replace(ROWS[3], truth=True)
    run = trainer(tmp_path, [row], batch=1)
    run.compute_loss(run.model, batch([row]))
    with torch.inference_mode():
        z = build_model(5)(input_ids=torch.tensor([[*row.prompt, *row.targets.token_ids]])).logits[0, len(row.prompt) - 1]
    own = z[row.targets.support_at(0)[0].tolist()].softmax(0)
    assert parts(run, [row])["calibration"] == pytest.approx((own - torch.tensor([1.0, 0, 0])).square().sum().item(), rel=1e-4)


def test_terms_without_a_position_do_not_fail(tmp_path: Path) -> None:
    rows = [example("forced only", 3, 4, forced=range(4))]
    run = trainer(tmp_path, rows, batch=1)
    loss = run.compute_loss(run.model, batch(rows))
    loss.backward()
    assert torch.isfinite(loss)
    seen = parts(run, rows)
    assert {name for name, value in seen.items() if value} == {"format"}
    assert seen["format"] > 0
    silent = trainer(tmp_path, rows, batch=1, format=0)
    loss = silent.compute_loss(silent.model, batch(rows))
    loss.backward()
    assert loss.item() == 0.0


# -- normalisation over an optimiser step -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "accumulate"), [(1, 4), (2, 2), (3, 2)])
def test_gradients_do_not_depend_on_accumulation(batch: int, accumulate: int, tmp_path: Path) -> None:
    """Ragged rows: a mean of means would weigh the row of one token like the row of twelve."""
    whole = step(tmp_path, ROWS, batch=4)
    parts = step(tmp_path, ROWS, batch=batch, accumulate=accumulate)
    assert max(g.abs().max().item() for g in whole.values()) > 1e-3
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=2e-6, rtol=1e-3)


def test_a_batch_twice_over_has_the_same_gradient(tmp_path: Path) -> None:
    whole, twice = step(tmp_path, ROWS, batch=4), step(tmp_path, ROWS * 2, batch=8)
    for name, gradient in whole.items():
        torch.testing.assert_close(twice[name], gradient, atol=2e-6, rtol=1e-3)


def test_padding_changes_nothing(tmp_path: Path) -> None:
    """A short row beside a long one gives the gradient that both give one by one."""
    together = step(tmp_path, ROWS[1:3], batch=2)
    apart = step(tmp_path, ROWS[1:3], batch=1, accumulate=2)
    for name, gradient in together.items():
        torch.testing.assert_close(apart[name], gradient, atol=2e-6, rtol=1e-3)


# -- whole runs -------------------------------------------------------------------------------------------------------------

SETTINGS = TrainSettings(epochs=15, batch_size=2, learning_rate=3e-3, freeze_embeddings=False, losses=LossSettings(**LOSSES))


def train(settings: TrainSettings = SETTINGS, *, seed: int = 1, rows: Sequence[TrainingExample] = ROWS) -> tuple[Any, Any]:
    model = build_model(5)
    history = train_student(model, rows, mask_table().numpy(), settings, seed=seed, pad=PAD, temperature=TEMPERATURE)
    return model, history


def test_training_learns_and_repeats_itself_bit_by_bit() -> None:
    (one, history), (other, again) = train(), train()
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history == again
    assert {"step", "loss", *LOSSES} <= set(history[0])
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not one.training


def test_another_seed_gives_another_student() -> None:
    short = SETTINGS.model_copy(update={"epochs": 1})
    (one, _), (other, _) = train(short, seed=1), train(short, seed=2)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_frozen_embeddings_stay() -> None:
    model, _ = train(SETTINGS.model_copy(update={"epochs": 1, "freeze_embeddings": True}))
    before = build_model(5)
    assert torch.equal(model.get_input_embeddings().weight, before.get_input_embeddings().weight)
    assert not torch.equal(model.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight)


def test_progress_counts_the_steps() -> None:
    steps: list[int] = []
    train_student(
        build_model(5), ROWS, mask_table().numpy(), SETTINGS.model_copy(update={"epochs": 2}), seed=1, pad=PAD,
        temperature=TEMPERATURE, advance=steps.append,
    )  # fmt: skip
    assert steps == [1] * 4


def test_a_prompt_with_several_answers_counts_as_one_with_one() -> None:
    """Each epoch teaches one of them, in turn; a prompt with one answer comes as often."""
    rows = [replace(ROWS[0], id=f"{trace}/{n}", of=trace) for trace, n in (("a", 0), ("b", 0), ("a", 1), ("a", 2))]
    laid, epochs = in_turn(rows, 4)
    assert epochs == 1
    assert [e.id for e in laid] == ["a/0", "b/0", "a/1", "b/0", "a/2", "b/0", "a/0", "b/0"]
    thought = replace(ROWS[0], id="a/rationale", of="a", kind="rationale")
    assert [e.id for e in in_turn([*rows, thought], 1)[0]] == ["a/0", "b/0", "a/rationale"]
    alone = [rows[0], rows[1], *ROWS]
    assert in_turn(alone, 4) == (alone, 4), "where each prompt has one answer, nothing changes"
    several = SETTINGS.model_copy(update={"epochs": 2, "batch_size": 2})
    assert training_steps(several, rows) == 2


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(NothingLeftError, match="nothing to train on"):
        train(rows=[])


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    model = build_model(5)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.fill_(math.nan)
    with pytest.raises(TrainingStoppedError, match="not finite") as caught:
        train_student(model, ROWS, mask_table().numpy(), SETTINGS, seed=1, pad=PAD, temperature=TEMPERATURE)
    assert caught.value.exit_code == 2
