"""Distillation objectives: reference values, gradients, empty and extreme inputs.

Reference values were computed in float64 from the definitions, apart from this code, for the teacher ``[2, 1, 0, -1]`` and the
student ``[1, 1.5, -0.5, 0]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from distill_gov.trainer.losses import Term, brier, cross_entropy, format_penalty, normalised, soft_targets

TEACHER = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
STUDENT = torch.tensor([[1.0, 1.5, -0.5, 0.0]], dtype=torch.float64)
NO_TAIL = torch.tensor([-math.inf], dtype=torch.float64)


def top(teacher: torch.Tensor, k: int, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The k likeliest tokens, their log-probabilities, and the log of the rest's mass."""
    logp = torch.log_softmax(teacher / temperature, 1)
    best = logp.topk(k, 1)
    rest = logp.scatter(1, best.indices, -math.inf).logsumexp(1)
    return best.indices, best.values, rest


def kd(student: torch.Tensor, k: int, temperature: float = 1.0, teacher: torch.Tensor = TEACHER) -> torch.Tensor:
    return soft_targets(student, *top(teacher, k, temperature), temperature).total


@pytest.mark.parametrize(
    ("k", "temperature", "value"),
    [(4, 1.0, 0.2722869705), (2, 1.0, 0.2416037612), (3, 1.0, 0.2722869705), (4, 2.0, 0.3003235894), (4, 4.0, 0.3092719941)],
)
def test_kl_reference_values(k: int, temperature: float, value: float) -> None:
    """Full support, tail bucket, and temperature times its square; k = V - 1 with a bucket is the full KL."""
    assert kd(STUDENT, k, temperature).item() == pytest.approx(value, abs=1e-9)


def test_other_reference_values() -> None:
    z = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
    allowed = torch.tensor([[True, True, False, False]])
    assert format_penalty(z, allowed).total.item() == pytest.approx(0.1269280110, abs=1e-9)
    assert cross_entropy(z, torch.tensor([1])).total.item() == pytest.approx(1.4401897, abs=1e-6)
    target = torch.tensor([[0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    assert brier(z, target).total.item() == pytest.approx(1.0055953, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_student_equal_to_the_teacher_costs_nothing_and_feels_nothing(k: int, temperature: float) -> None:
    student = TEACHER.clone().requires_grad_()
    loss = kd(student, k, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert student.grad is not None
    assert student.grad.abs().max().item() < 1e-12


@given(
    st.lists(st.floats(-8, 8), min_size=5, max_size=5), st.lists(st.floats(-8, 8), min_size=5, max_size=5), st.integers(1, 5)
)
def test_never_negative_and_at_most_the_full_divergence(teacher: list[float], student: list[float], k: int) -> None:
    """Data processing: merging the tail into one bucket can only lower the divergence."""
    t, s = (torch.tensor([x], dtype=torch.float64) for x in (teacher, student))
    whole, bucketed = kd(s, 5, teacher=t).item(), kd(s, k, teacher=t).item()
    assert -1e-9 <= bucketed <= whole + 1e-7


def test_a_truncated_divergence_without_its_tail_would_be_negative() -> None:
    """The trap: here the top-1 sum alone is -0.26, though the distributions differ by 0.383."""
    t = torch.tensor([[1.0, 0.9, 0.8, 0.7]], dtype=torch.float64)
    s = torch.tensor([[2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert kd(s, 4, teacher=t).item() == pytest.approx(0.3833794, abs=1e-6)
    assert kd(s, 1, teacher=t).item() > 0


def test_a_fitted_student_has_the_teachers_mass_on_its_top_tokens() -> None:
    """What renormalising the top k gets wrong: there the fitted student puts nearly all of its mass on them."""
    teacher = torch.linspace(2, 0, 60, dtype=torch.float64)[None]
    ids, logp, tail = top(teacher, 10)
    student = torch.zeros(1, 60, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([student], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = soft_targets(student, ids, logp, tail, 1.0).total
        loss.backward()
        return loss

    optimiser.step(closure)
    fitted = student.detach().softmax(1)
    assert fitted[0, ids[0]].sum().item() == pytest.approx(logp.exp().sum().item(), abs=1e-3)
    torch.testing.assert_close(fitted[0, ids[0]], logp[0].exp(), atol=1e-3, rtol=1e-2)


def test_the_square_of_the_temperature_keeps_the_gradients_size() -> None:
    sizes = []
    for temperature in (1.0, 2.0, 4.0, 16.0):
        student = STUDENT.clone().requires_grad_()
        kd(student, 4, temperature).backward()
        assert student.grad is not None
        sizes.append(student.grad.norm().item())
    assert max(sizes) / min(sizes) < 1.2


TERMS: dict[str, Callable[[torch.Tensor], Term]] = {
    "soft, full": lambda z: soft_targets(z, *top(TEACHER.repeat(3, 1), 4), 1.0),
    "soft, tail": lambda z: soft_targets(z, *top(TEACHER.repeat(3, 1), 2, 2.0), 2.0),
    "soft, padded": lambda z: soft_targets(
        z,
        torch.tensor([[1, 0, 0], [2, 3, 0], [3, 0, 1]]),
        torch.tensor([[0.0, -math.inf, -math.inf], [-0.5, -1.5, -math.inf], [-1.0, -1.0, -2.0]], dtype=torch.float64),
        torch.tensor([-math.inf, -1.742, -2.053], dtype=torch.float64),
        2.0,
    ),
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


def test_a_sure_student_is_still_pulled_back_to_the_tail() -> None:
    """With (nearly) no mass left outside the top k, the teacher's tail must still be felt."""
    student = torch.tensor([[30.0, 0.0, 0.0, 0.0]]).requires_grad_()
    soft_targets(
        student, torch.tensor([[0]]), torch.tensor([[math.log(0.9)]]), torch.tensor([math.log(0.1)]), 1.0
    ).total.backward()
    assert student.grad is not None
    assert student.grad[0, 0].item() == pytest.approx(0.1, abs=1e-3)
    assert student.grad[0, 1:].sum().item() == pytest.approx(-0.1, abs=1e-3)


def test_padding_of_the_support_is_not_a_target() -> None:
    """Padded entries point at token 0; token 0 must not be touched by them."""
    ids, logp = torch.tensor([[2, 1]]), torch.tensor([[-0.3, -1.3501]])
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], 1), torch.cat([logp, torch.full((1, 3), -math.inf)], 1)
    tail = torch.tensor([-math.inf])
    z = STUDENT.float()
    one, other = z.clone().requires_grad_(), z.clone().requires_grad_()
    soft_targets(one, ids, logp, tail, 1.0).total.backward()
    soft_targets(other, *padded, tail, 1.0).total.backward()
    assert one.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    "empty",
    [
        lambda z: soft_targets(z, torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, 2), torch.zeros(0), 2.0),
        lambda z: cross_entropy(z, torch.zeros(0, dtype=torch.long)),
        lambda z: format_penalty(z, torch.zeros(0, 4, dtype=torch.bool)),
        lambda z: brier(z[:, :2], torch.zeros(0, 2)),
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


def test_a_position_without_support_costs_nothing() -> None:
    """A recorded answer carries no distribution at all: every row of the support is empty."""
    z = STUDENT.clone().requires_grad_()
    for width in (0, 1):
        term = soft_targets(
            z, torch.zeros(1, width, dtype=torch.long), torch.full((1, width), -math.inf, dtype=torch.float64), NO_TAIL, 1.0
        )
        term.total.backward()
        assert term.total.item() == 0.0
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()


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
