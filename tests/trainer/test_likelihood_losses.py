"""Hard labels, what should not have been said, and the grammar: reference values, closed forms, extremes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses import Term, cross_entropy, format_penalty, normalised, structural_weights, unlikelihood

Z = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
ALLOWED = torch.tensor([[True, True, False, False]])
rows = st.lists(st.floats(-8, 8), min_size=4, max_size=4)


def leaf(values: torch.Tensor) -> torch.Tensor:
    return values.clone().requires_grad_()


def gradient(of: Callable[[torch.Tensor], Term], at: torch.Tensor) -> torch.Tensor:
    z = leaf(at)
    of(z).total.backward()
    assert z.grad is not None
    return z.grad


# Cross-entropy.


def test_label_smoothing_reference_values() -> None:
    """(1 - e) CE + e mean(-log p) at y = 1: CE 1.4401897, 1.4901897 with e = 0.1."""
    token = torch.tensor([1])
    assert cross_entropy(Z, token).total.item() == pytest.approx(1.4401897, abs=1e-7)
    assert cross_entropy(Z, token, smoothing=0.1).total.item() == pytest.approx(1.4901897, abs=1e-7)


@given(rows, st.integers(0, 3), st.floats(0, 0.99))
def test_label_smoothing_is_the_librarys(row: list[float], token: int, smoothing: float) -> None:
    z, y = torch.tensor([row], dtype=torch.float64), torch.tensor([token])
    theirs = torch.nn.functional.cross_entropy(z, y, label_smoothing=smoothing, reduction="sum")
    assert cross_entropy(z, y, smoothing=smoothing).total.item() == pytest.approx(theirs.item(), abs=1e-9)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_impossible_smoothing_is_refused(smoothing: float) -> None:
    with pytest.raises(BadInputError, match=r"not in \[0, 1\)"):
        cross_entropy(Z, torch.tensor([0]), smoothing=smoothing)


@pytest.mark.parametrize("by", [cross_entropy, unlikelihood, lambda z, y, w=None: format_penalty(z, z > z.mean(), w)])
def test_weights_count_positions(by: Callable[..., Term]) -> None:
    """A weight of 2 is the position twice, a weight of 0 is the position left out; their sum is the count."""
    z = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 2, 3])
    weighted, twice = by(z, y, torch.tensor([1.0, 2.0, 0.0])), [0, 1, 1]
    plain = Term(sum((by(z, y, torch.eye(3)[i]).total for i in twice), torch.zeros(())), 3)
    assert weighted.count == 3.0
    assert weighted.total.item() == pytest.approx(plain.total.item())
    assert by(z, y).total.item() == pytest.approx(by(z, y, torch.ones(3)).total.item())
    assert normalised(by(z, y, torch.zeros(3))).item() == 0.0


# Unlikelihood.


@given(rows, st.integers(0, 3))
def test_unlikelihood_is_minus_log_of_one_minus_q(row: list[float], token: int) -> None:
    z, y = torch.tensor([row], dtype=torch.float64), torch.tensor([token])
    value = unlikelihood(z, y).total.item()
    assert value == pytest.approx(-math.log1p(-z.softmax(1)[0, token].item()), rel=1e-6, abs=1e-12)
    assert value >= 0


def test_unlikelihood_keeps_its_digits_near_certainty() -> None:
    """At a margin of 50 in float32, 1 - q is 0, so that its log would be infinite; the loss is 50 and its slope 1."""
    z = torch.tensor([[50.0, 0.0]])
    assert 1 - z.softmax(1)[0, 0] == 0
    assert unlikelihood(z, torch.tensor([0])).total.item() == pytest.approx(50.0)
    assert gradient(lambda x: unlikelihood(x, torch.tensor([0])), z).tolist() == [pytest.approx([1.0, -1.0])]
    # And at the other end: a token with hardly any mass costs what it has, not a rounding error.
    assert unlikelihood(-z, torch.tensor([0])).total.item() == pytest.approx(math.exp(-50))


def test_unlikelihoods_gradient() -> None:
    """q at the token, -q(v) q(token) / (1 - q(token)) elsewhere."""
    q = Z.softmax(1)
    expected = -q * q[0, 1] / (1 - q[0, 1])
    expected[0, 1] = q[0, 1]
    torch.testing.assert_close(gradient(lambda x: unlikelihood(x, torch.tensor([1])), Z), expected)


# The format penalty.


def test_format_penalty_reference_values() -> None:
    """Z = [2, 1, 0, -1], the first two allowed: 0.1269280110, with 0.1192029 of the mass forbidden."""
    term = format_penalty(Z, ALLOWED)
    assert term.total.item() == pytest.approx(0.1269280110, abs=1e-10)
    assert 1 - math.exp(-term.total.item()) == pytest.approx(0.1192029, abs=1e-7)


@given(rows, st.lists(st.booleans(), min_size=4, max_size=4).filter(any))
def test_format_penaltys_value_and_closed_form_gradient(row: list[float], mask: list[bool]) -> None:
    """-log Z, and q - q restricted to the allowed; it moves along no direction that leaves Z as it is."""
    z, allowed = torch.tensor([row], dtype=torch.float64), torch.tensor([mask])
    q = z.softmax(1)
    inside = torch.where(allowed, q, torch.zeros_like(q))
    value = format_penalty(z, allowed).total.item()
    assert value == pytest.approx(-math.log(min(1.0, inside.sum().item())), abs=1e-9)
    assert value >= 0
    slope = gradient(lambda x: format_penalty(x, allowed), z)
    torch.testing.assert_close(slope, q - inside / inside.sum(), atol=1e-12, rtol=1e-7)
    assert slope.sum().item() == pytest.approx(0.0, abs=1e-12)


def test_a_little_forbidden_mass_keeps_its_digits() -> None:
    """In float32, log(1 - 1e-9) is 0: a penalty made from it would not be felt where students end up."""
    z = torch.tensor([[math.log(1e-9), 0.0]])
    allowed = torch.tensor([[False, True]])
    assert format_penalty(z, allowed).total.item() == pytest.approx(1e-9, rel=1e-5)
    assert gradient(lambda x: format_penalty(x, allowed), z)[0, 0].item() == pytest.approx(1e-9, rel=1e-5)


def test_everything_allowed_costs_and_moves_nothing() -> None:
    allowed = torch.ones(1, 4, dtype=torch.bool)
    assert format_penalty(Z, allowed).total.item() == 0.0
    assert gradient(lambda x: format_penalty(x, allowed), Z).abs().max() == 0


def test_a_vocabularys_padding_is_forbidden() -> None:
    """The model has two logits more than its tokenizer has tokens; masks know the tokens only."""
    padded = torch.cat([Z, torch.tensor([[3.0, 1.0]], dtype=torch.float64)], 1)
    explicit = torch.cat([ALLOWED, torch.zeros(1, 2, dtype=torch.bool)], 1)
    assert format_penalty(padded, ALLOWED).total.item() == format_penalty(padded, explicit).total.item()
    assert format_penalty(padded, ALLOWED).total.item() > format_penalty(Z, ALLOWED).total.item() + 1
    # The other way round: bits beyond the vocabulary do not matter while they are not set.
    assert format_penalty(Z, explicit).total.item() == format_penalty(Z, ALLOWED).total.item()


def test_masks_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadInputError, match="allows no token at a position"):
        format_penalty(Z.repeat(2, 1), torch.cat([ALLOWED, torch.zeros_like(ALLOWED)]))
    with pytest.raises(BadInputError, match="tokens that the model does not have"):
        format_penalty(Z, torch.ones(1, 5, dtype=torch.bool))


def test_structural_weights() -> None:
    weights = structural_weights(torch.tensor([1, 2, 1, 30_870]), 0.25)
    assert weights.tolist() == [0.25, 1.0, 0.25, 1.0]
    assert structural_weights(torch.tensor([1, 1]), 0.0).tolist() == [0.0, 0.0]
    with pytest.raises(BadInputError, match="no token"):
        structural_weights(torch.tensor([1, 0]), 1.0)
    for wrong in (-1.0, math.nan):
        with pytest.raises(BadInputError, match="forced tokens"):
            structural_weights(torch.tensor([1]), wrong)


# All of them.

ALL: dict[str, Callable[[torch.Tensor], Term]] = {
    "cross_entropy": lambda z: cross_entropy(z, torch.tensor([0, 3, 1])[: len(z)]),
    "smoothed": lambda z: cross_entropy(z, torch.tensor([0, 3, 1])[: len(z)], torch.tensor([1, 0.5, 2])[: len(z)], 0.2),
    "unlikelihood": lambda z: unlikelihood(z, torch.tensor([0, 3, 1])[: len(z)]),
    "format": lambda z: format_penalty(z, ALLOWED.expand(len(z), -1), torch.tensor([1, 0.5, 2])[: len(z)]),
}


@pytest.mark.parametrize("name", ALL)
def test_gradients_equal_finite_differences(name: str) -> None:
    z = leaf(torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    assert gradcheck(lambda x: ALL[name](x).total, (z,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_have_finite_losses_and_gradients(name: str, dtype: torch.dtype) -> None:
    for extreme in ([1e4, -1e4, 0, 0], [-1e4, 1e4, 1e4, -1e4], [1e4] * 4, [0, 0, -1e4, 1e4]):
        z = leaf(torch.tensor([extreme] * 3, dtype=dtype))
        term = ALL[name](z)
        term.total.backward()
        assert torch.isfinite(term.total)
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", ALL)
def test_narrow_types_lose_only_the_logits_digits(name: str) -> None:
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert ALL[name](z).total.item() == pytest.approx(ALL[name](z.double()).total.item(), rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_no_position_is_zero_with_a_live_graph(name: str) -> None:
    parameter = torch.ones(3, 4, requires_grad=True)
    term = ALL[name](parameter[:0])
    normalised(term).backward()
    assert (term.total.item(), term.count) == (0.0, 0)
    assert parameter.grad is not None
    assert parameter.grad.abs().sum() == 0


@pytest.mark.parametrize("name", ALL)
def test_a_logit_that_is_not_a_number_stays_visible(name: str) -> None:
    z = torch.zeros(3, 4)
    z[1, 2] = math.nan
    assert torch.isnan(ALL[name](z).total)
