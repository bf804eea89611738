"""Distillation objectives: reference values, gradients, empty and extreme inputs; more of the divergences next door.

Reference values were computed in float64 from the definitions, apart from this code.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from distill_gov.trainer.losses import (
    Term,
    brier,
    cross_entropy,
    dense_divergence,
    format_penalty,
    normalised,
    sampled_divergence,
    sparse_divergence,
)

NO_SUPPORT = torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, 2), torch.zeros(0)
STUDENT = torch.tensor([[1.0, 1.5, -0.5, 0.0]], dtype=torch.float64)


def test_other_reference_values() -> None:
    z = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
    allowed = torch.tensor([[True, True, False, False]])
    assert format_penalty(z, allowed).total.item() == pytest.approx(0.1269280110, abs=1e-9)
    assert cross_entropy(z, torch.tensor([1])).total.item() == pytest.approx(1.4401897, abs=1e-6)
    target = torch.tensor([[0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    assert brier(z, target).total.item() == pytest.approx(1.0055953, abs=1e-6)


TERMS: dict[str, Callable[[torch.Tensor], Term]] = {
    "hard": lambda z: cross_entropy(z, torch.tensor([0, 3, 1])),
    "format": lambda z: format_penalty(z, torch.tensor([[True, True, False, False], [False, True, False, True], [True] * 4])),
    "calibration": lambda z: brier(
        z.gather(1, torch.tensor([[0, 1, 0], [1, 2, 3], [3, 1, 0]])),
        torch.tensor([[0.2, 0.8, -1.0], [0.1, 0.2, 0.7], [1.0, 0.0, -1.0]], dtype=torch.float64),
    ),
}


@pytest.mark.parametrize("name", TERMS)
def test_gradients_equal_finite_differences(name: str) -> None:
    z = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert gradcheck(lambda x: TERMS[name](x).total, (z,), eps=1e-6, atol=1e-6)
    assert TERMS[name](z).count == 3


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("extreme", [[1e4, -1e4, 0, 0], [-1e4, 1e4, 1e4, -1e4], [1e4] * 4, [0, 0, -1e4, 1e4]])
def test_extreme_logits_have_finite_losses_and_gradients(name: str, dtype: torch.dtype, extreme: list[float]) -> None:
    z = torch.tensor([extreme] * 3, dtype=dtype).requires_grad_()
    loss = TERMS[name](z).total
    loss.backward()
    assert torch.isfinite(loss)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize(
    "empty",
    [
        lambda z: cross_entropy(z, torch.zeros(0, dtype=torch.long)),
        lambda z: format_penalty(z, torch.zeros(0, 4, dtype=torch.bool)),
        lambda z: brier(z[:, :2], torch.zeros(0, 2)),
        lambda z: dense_divergence(z, torch.zeros(0, 4), 2.0),
        lambda z: sparse_divergence(z, *NO_SUPPORT, 2.0),
        lambda z: sampled_divergence(z, *NO_SUPPORT[:2], 2.0),
    ],
)
def test_no_position_is_zero_with_a_live_graph(empty: Callable[[torch.Tensor], Term]) -> None:
    parameter = torch.ones(5, 4, requires_grad=True)
    term = empty(parameter[:0])
    loss = normalised(term)
    loss.backward()
    assert loss.item() == 0.0
    assert term.count == 0
    assert parameter.grad is not None
    assert parameter.grad.abs().sum() == 0


def test_one_function_normalises() -> None:
    term = cross_entropy(STUDENT.repeat(4, 1), torch.tensor([0, 1, 2, 3]))
    assert normalised(term).item() == pytest.approx(term.total.item() / 4)
    assert normalised(term, 8).item() == pytest.approx(term.total.item() / 8)
    assert normalised(term, torch.tensor(8)).item() == pytest.approx(term.total.item() / 8)
    twice = cross_entropy(STUDENT.repeat(8, 1), torch.tensor([0, 1, 2, 3] * 2))
    assert normalised(twice).item() == pytest.approx(normalised(term).item())


def test_the_format_penalty_leaves_preferences_among_the_allowed_alone() -> None:
    """Its gradient is q minus q restricted to the allowed: the ratio of two allowed tokens does not move."""
    z = STUDENT.clone().requires_grad_()
    allowed = torch.tensor([[True, True, False, False]])
    format_penalty(z, allowed).total.backward()
    q = STUDENT.softmax(1)
    inside = torch.where(allowed, q, torch.zeros_like(q))
    assert z.grad is not None
    torch.testing.assert_close(z.grad, q - inside / inside.sum())


@given(st.lists(st.floats(0.05, 1), min_size=3, max_size=3))
def test_the_calibration_term_is_least_at_the_truth(weights: list[float]) -> None:
    """A proper score: the student with the target's own probabilities has the least loss."""
    target = torch.tensor([weights], dtype=torch.float64)
    target = target / target.sum()
    z = torch.full((1, 6), 3.0, dtype=torch.float64)
    ids = torch.tensor([[4, 2, 0]])
    z = z.scatter(1, ids, target.log()).requires_grad_()
    term = brier(z.gather(1, ids), target)
    term.total.backward()
    assert term.total.item() == pytest.approx(0.0, abs=1e-20)
    assert z.grad is not None
    assert z.grad.abs().max().item() < 1e-9
