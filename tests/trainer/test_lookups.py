"""The gradient of tied weights: the same sum over all who read them, in the tensor that the head's loss made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.trainer.lookups import look_up, tied_lookup
from distill_gov.trainer.losses import head as fused
from tests.tiny import build_model
from tests.trainer.rows import LOSSES, PAD, ROWS, batch, trainer


@given(st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=4), st.sampled_from([None, 0, 5]))
def test_the_gradient_is_that_of_all_who_read_the_weights(rows: list[list[int]], padding: int | None) -> None:
    ids, slope, others = torch.tensor(rows), torch.randn(len(rows), 3, 4), torch.randn(7, 4)
    model: Any = build_model()
    embeddings = torch.nn.Embedding(7, 4, padding_idx=padding)
    model.set_input_embeddings(embeddings)
    model.lm_head.weight = embeddings.weight

    def read(found: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        # By the model's lookup, another one, the head twice, and once past all of them.
        again, weight = look_up(ids.flatten()[:2], weight)
        past = embeddings.weight * others
        return (found * slope).sum() + again.square().sum() + (weight * others).sum() + weight[3].sum() + past.sum()

    (wanted,) = torch.autograd.grad(read(embeddings(ids), embeddings.weight), embeddings.weight)
    with tied_lookup(model) as weight:
        found = embeddings(ids)
        total = read(found, weight())
    assert torch.equal(found, embeddings(ids))
    assert torch.equal(weight(), embeddings.weight)
    total.backward()
    torch.testing.assert_close(embeddings.weight.grad, wanted)


@pytest.mark.parametrize("read", ["lookup", "head"])
def test_one_of_the_two_may_stay_unread(read: str) -> None:
    model: Any = build_model()
    weights = model.lm_head.weight
    with tied_lookup(model) as weight:
        found = model.get_input_embeddings()(torch.tensor([[4, 4]]))
        (found.sum() if read == "lookup" else weight()[4].sum() * 2).backward()
    wanted = torch.zeros_like(weights)
    wanted[4] = 2.0
    assert torch.equal(weights.grad, wanted)


@pytest.mark.parametrize("tied", [True, False])
def test_one_tensor_is_the_gradient_of_all(tied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy, or a sum beside it, would be a second tensor as large as the vocabulary."""
    made: list[int] = []
    head = fused._all_chunks

    def watched(found: Any, plan: Any) -> torch.Tensor:
        made.append(found.weight_grad.data_ptr())
        return head(found, plan)

    monkeypatch.setattr(fused, "_all_chunks", watched)
    assert LOSSES["calibration"], "it reads rows of the head, too"
    run = trainer(tmp_path, ROWS, model=build_model(5, tied=tied).train(), **LOSSES)
    model: Any = run.model
    run.compute_loss(model, batch(ROWS)).backward()
    assert made == [model.lm_head.weight.grad.data_ptr()]


def test_several_batches_add_up(tmp_path: Path) -> None:
    run = trainer(tmp_path, ROWS, **LOSSES)
    model: Any = run.model
    parts = []
    for row in ROWS:
        model.zero_grad()
        run.compute_loss(model, batch([row])).backward()
        parts.append(model.lm_head.weight.grad.clone())
    model.zero_grad()
    for row in ROWS:
        run.compute_loss(model, batch([row])).backward()
    torch.testing.assert_close(model.lm_head.weight.grad, torch.stack(parts).sum(0), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("case", ["untied", "renormalised", "scaled"])
def test_a_lookup_that_is_not_the_heads_or_does_more_is_left_alone(case: str) -> None:
    model: Any = build_model(tied=case != "untied")
    embeddings = model.get_input_embeddings()
    if case == "renormalised":
        embeddings.max_norm = 1.0
    elif case == "scaled":
        model.set_input_embeddings(_Scaled(8, 4))
        model.lm_head.weight = model.get_input_embeddings().weight
    with tied_lookup(model) as weight:
        assert weight() is model.lm_head.weight
        assert "forward" not in model.get_input_embeddings().__dict__


@pytest.mark.parametrize("case", ["frozen", "half", "without gradient"])
def test_what_is_not_trained_in_single_precision_is_looked_up_as_ever(case: str) -> None:
    weight = torch.randn(5, 3, dtype=torch.bfloat16 if case == "half" else torch.float32, requires_grad=case != "frozen")
    with torch.set_grad_enabled(case != "without gradient"):
        rows, same = look_up(torch.tensor([1, 1, 4]), weight)
    assert same is weight
    assert torch.equal(rows, weight[[1, 1, 4]])
    assert rows.requires_grad == (case == "half")


class _Scaled(torch.nn.Embedding):
    """As Gemma's: it multiplies what it looks up."""


def test_the_lookup_is_given_back_as_it_was(tmp_path: Path) -> None:
    model: Any = build_model()
    embeddings = model.get_input_embeddings()
    with pytest.raises(ZeroDivisionError), tied_lookup(model):
        raise ZeroDivisionError
    assert "forward" not in embeddings.__dict__
    own = torch.nn.Embedding.forward.__get__(embeddings)
    embeddings.forward = own
    with tied_lookup(model):
        assert embeddings.forward is not own
    assert embeddings.forward is own
    assert embeddings(torch.tensor([PAD])).shape == (1, 32)
