"""The gradient of tied weights: the same sum over all who read them, in the tensor that the head's loss made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.trainer.losses import head as fused
from distill_gov.trainer.tied_embeddings import tied_lookup
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
        # Twice by the head (its loss and the labels' rows), once by the lookup, once past all of them.
        return (found * slope).sum() + (weight * others).sum() + weight[3].sum() + (embeddings.weight * others).sum()

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


def test_one_tensor_is_the_gradient_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy, or a sum beside it, would be a second tensor as large as the vocabulary."""
    made: list[int] = []
    head = fused._all_chunks

    def watched(found: Any, plan: Any) -> torch.Tensor:
        made.append(found.weight_grad.data_ptr())
        return head(found, plan)

    monkeypatch.setattr(fused, "_all_chunks", watched)
    # The labels' rows of the head, which the calibration term reads, have a gradient of their own.
    run = trainer(tmp_path, ROWS, **{**LOSSES, "calibration": 0.0})
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


@pytest.mark.parametrize("case", ["untied", "frozen", "half", "renormalised", "scaled", "without gradient"])
def test_elsewhere_nothing_changes(case: str) -> None:
    model: Any = build_model(tied=case != "untied")
    embeddings = model.get_input_embeddings()
    if case == "frozen":
        embeddings.weight.requires_grad_(False)
    elif case == "half":
        model.bfloat16()
    elif case == "renormalised":
        embeddings.max_norm = 1.0
    elif case == "scaled":
        model.set_input_embeddings(_Scaled(8, 4))
        model.lm_head.weight = model.get_input_embeddings().weight
    with torch.set_grad_enabled(case != "without gradient"), tied_lookup(model) as weight:
        assert weight() is model.lm_head.weight
        assert "forward" not in model.get_input_embeddings().__dict__


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
