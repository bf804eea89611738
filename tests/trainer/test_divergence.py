"""Divergences: reference values, optima, gradients, vocabularies, empty and extreme inputs.

Reference values were computed in float64 from the definitions, apart from this code, for the teacher ``[2, 1, 0, -1]`` and the
student ``[1, 1.5, -0.5, 0]``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses import (
    Term,
    dense_divergence,
    draw_targets,
    sampled_divergence,
    shared_logits,
    sparse_divergence,
)
from distill_gov.trainer.losses.divergence import Kind

TEACHER = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
STUDENT = torch.tensor([[1.0, 1.5, -0.5, 0.0]], dtype=torch.float64)
KINDS: tuple[Kind, ...] = get_args(Kind)
FORWARD, REVERSE = 0.2722869705, 0.2896011951
SCORES = st.lists(st.floats(-8, 8), min_size=5, max_size=5)


def top(teacher: torch.Tensor, k: int, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The k likeliest tokens, their log-probabilities, and the log of the rest's mass."""
    logp = torch.log_softmax(teacher / temperature, 1)
    best = logp.topk(k, 1)
    return best.indices, best.values, logp.scatter(1, best.indices, -math.inf).logsumexp(1)


def bucketed(
    student: torch.Tensor,
    k: int,
    temperature: float = 1.0,
    teacher: torch.Tensor = TEACHER,
    kind: Kind = "forward_kl",
    beta: float = 0.5,
) -> torch.Tensor:
    return sparse_divergence(student, *top(teacher, k, temperature), temperature, kind, beta).total


def dense(
    student: torch.Tensor, teacher: torch.Tensor, kind: Kind, temperature: float = 1.0, beta: float = 0.5
) -> torch.Tensor:
    return dense_divergence(student, teacher, temperature, kind, beta).total


def gradient(of: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> torch.Tensor:
    z = at.clone().requires_grad_()
    return torch.autograd.grad(of(z), z)[0]


# --- values


@pytest.mark.parametrize(
    ("kind", "beta", "value"),
    [
        ("forward_kl", 0.5, FORWARD),
        ("reverse_kl", 0.5, REVERSE),
        ("jsd", 0.1, 0.0244066302),
        ("jsd", 0.5, 0.0681479736),
        ("jsd", 0.9, 0.0255895178),
    ],
)
def test_reference_values(kind: Kind, beta: float, value: float) -> None:
    """Over the vocabulary, and equal to it with all tokens but one in the support: there the bucket is that token."""
    assert dense(STUDENT, TEACHER, kind, beta=beta).item() == pytest.approx(value, abs=1e-9)
    assert dense(STUDENT, TEACHER.log_softmax(1), kind, beta=beta).item() == pytest.approx(value, abs=1e-9)
    for k in (3, 4):
        assert bucketed(STUDENT, k, kind=kind, beta=beta).item() == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(("temperature", "value"), [(2.0, 0.3003235894), (4.0, 0.3092719941)])
def test_reference_values_times_the_square_of_the_temperature(temperature: float, value: float) -> None:
    assert dense(STUDENT, TEACHER, "forward_kl", temperature).item() == pytest.approx(value, abs=1e-9)
    assert bucketed(STUDENT, 3, temperature).item() == pytest.approx(value, abs=1e-9)


def test_the_tail_is_a_bucket() -> None:
    """Neither truncated (0.2923), nor the teacher renormalised (0.4588), nor both (0.2574)."""
    assert bucketed(STUDENT, 2).item() == pytest.approx(0.2416037612, abs=1e-9)


def test_a_truncated_divergence_would_be_negative() -> None:
    """The trap: here the top-1 sum alone is -0.26, though the distributions differ by 0.383. With the bucket it is positive."""
    t = torch.tensor([[1.0, 0.9, 0.8, 0.7]], dtype=torch.float64)
    s = torch.tensor([[2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    logp, logq = t.log_softmax(1)[0, 0], s.log_softmax(1)[0, 0]
    assert (logp.exp() * (logp - logq)).item() == pytest.approx(-0.2603008, abs=1e-6)
    assert dense(s, t, "forward_kl").item() == pytest.approx(0.3833794, abs=1e-6)
    assert 0 < bucketed(s, 1, teacher=t).item() < 0.3833794


def test_forward_kl_is_no_cross_entropy() -> None:
    """Cross-entropy with soft labels (1.2198 here) lies above the divergence by the teacher's entropy."""
    logp = TEACHER.log_softmax(1)
    entropy = -(logp.exp() * logp).sum().item()
    soft = -(logp.exp() * STUDENT.log_softmax(1)).sum().item()
    assert entropy == pytest.approx(0.9475369640, abs=1e-9)
    assert dense(STUDENT, TEACHER, "forward_kl").item() == pytest.approx(soft - entropy, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("k", [1, 2, 3, 4, None])
def test_a_student_equal_to_the_teacher_costs_nothing_and_feels_nothing(k: int | None, temperature: float, kind: Kind) -> None:
    def loss(z: torch.Tensor) -> torch.Tensor:
        return dense(z, TEACHER, kind, temperature, 0.3) if k is None else bucketed(z, k, temperature, kind=kind, beta=0.3)

    assert loss(TEACHER).item() == pytest.approx(0.0, abs=1e-12)
    assert gradient(loss, TEACHER).abs().max().item() < 1e-12


@given(SCORES, SCORES, st.integers(1, 5), st.sampled_from(KINDS), st.floats(0.05, 0.95))
def test_never_negative_and_at_most_the_whole_divergence(
    teacher: list[float], student: list[float], k: int, kind: Kind, beta: float
) -> None:
    """Data processing: merging the tail into one bucket can only lower a divergence."""
    t, s = (torch.tensor([x], dtype=torch.float64) for x in (teacher, student))
    whole, less = dense(s, t, kind, beta=beta).item(), bucketed(s, k, teacher=t, kind=kind, beta=beta).item()
    assert -1e-9 <= less <= whole + 1e-7


@given(SCORES, SCORES, st.floats(0.05, 0.95))
def test_exchanging_teacher_and_student_exchanges_the_shares(teacher: list[float], student: list[float], beta: float) -> None:
    t, s = (torch.tensor([x], dtype=torch.float64) for x in (teacher, student))
    assert dense(s, t, "jsd", beta=beta).item() == pytest.approx(dense(t, s, "jsd", beta=1 - beta).item(), abs=1e-9)
    assert dense(s, t, "forward_kl").item() == pytest.approx(dense(t, s, "reverse_kl").item(), abs=1e-9)


def test_the_generalised_jsd_jumps_at_its_ends() -> None:
    """It goes to 0 where others special-case the whole KL; so its ends are refused."""
    for beta in (1e-6, 1 - 1e-6):
        assert dense(STUDENT, TEACHER, "jsd", beta=beta).item() < 1e-5
    for beta in (0.0, 1.0, math.nan):
        with pytest.raises(BadInputError, match="beta"):
            dense(STUDENT, TEACHER, "jsd", beta=beta)


# --- optima and gradients


def fitted(loss: Callable[[torch.Tensor], torch.Tensor], width: int) -> torch.Tensor:
    """Distribution of a student that is free to take any, after training on the loss alone."""
    student = torch.zeros(1, width, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([student], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(student)
        value.backward()
        return value

    optimiser.step(closure)
    return student.detach().softmax(1)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fitted_student_has_the_teachers_mass_on_its_top_tokens(kind: Kind) -> None:
    """What truncating or renormalising the top k gets wrong."""
    teacher = torch.linspace(2, 0, 60, dtype=torch.float64)[None]
    ids, logp, tail = top(teacher, 10)
    q = fitted(lambda z: sparse_divergence(z, ids, logp, tail, 1.0, kind).total, 60)
    assert q[ids[0]].sum().item() == pytest.approx(logp.exp().sum().item(), abs=1e-3)
    torch.testing.assert_close(q[ids[0]], logp[0].exp(), atol=1e-3, rtol=1e-2)


def test_a_student_fitted_to_samples_has_the_teachers_distribution() -> None:
    """Of 4,000 positions with 50 draws each: a token's share errs by sqrt(p (1 - p) / 200,000); 5 such errors are allowed."""
    teacher = torch.linspace(2, 0, 60, dtype=torch.float64)[None]
    ids, weights = draw_targets(teacher.expand(4000, 60), 50, 1.0, torch.Generator().manual_seed(7))
    q = fitted(lambda z: sampled_divergence(z.expand(4000, 60), ids, weights, 1.0).total / 4000, 60)
    p = teacher.softmax(1)[0]
    assert ((q - p).abs() < 5 * (p * (1 - p) / 200_000).sqrt() + 1e-6).all()
    best = top(teacher, 10)[0][0]
    assert q[best].sum().item() == pytest.approx(p[best].sum().item(), abs=5 * math.sqrt(0.25 / 200_000))


def test_the_square_of_the_temperature_keeps_the_gradients_size() -> None:
    """0.4397 at T = 1 and 0.3957 at T = 16; without the square they would differ 284 times."""
    first, last = (gradient(lambda z, t=t: dense(z, TEACHER, "forward_kl", t), STUDENT).norm().item() for t in (1.0, 16.0))
    assert first == pytest.approx(0.4397, abs=1e-4)
    assert last == pytest.approx(0.3957, abs=1e-4)
    assert (first / last) * 16**2 == pytest.approx(284, abs=1)
    sizes = [gradient(lambda z, t=t: bucketed(z, 3, t), STUDENT).norm().item() for t in (1.0, 2.0, 4.0, 8.0, 16.0)]
    assert max(sizes) / min(sizes) < 1.2


PADDED = (
    torch.tensor([[1, 0, 0], [2, 3, 0], [3, 0, 1]]),
    torch.tensor([[0.0, -math.inf, -math.inf], [-0.5, -1.5, -math.inf], [-1.0, -1.0, -2.0]], dtype=torch.float64),
    torch.tensor([-math.inf, -1.742, -2.053], dtype=torch.float64),
)
SAMPLE = torch.tensor([[1, 0], [2, 0], [3, 1]]), torch.tensor([[0.75, 0.25], [1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
EXCLUDING = torch.tensor([[2.0, 1.0, -math.inf, 0.0]] * 3, dtype=torch.float64)
CASES: dict[str, Callable[[torch.Tensor, Kind], Term]] = {
    "dense": lambda z, kind: dense_divergence(z, TEACHER.to(z.dtype).repeat(3, 1), 2.0, kind, 0.3),
    "dense, some excluded": lambda z, kind: dense_divergence(z, EXCLUDING.to(z.dtype), 1.0, kind, 0.3),
    "all tokens": lambda z, kind: sparse_divergence(z, *top(TEACHER.repeat(3, 1), 4), 1.0, kind, 0.3),
    "tail": lambda z, kind: sparse_divergence(z, *top(TEACHER.repeat(3, 1), 2, 2.0), 2.0, kind, 0.3),
    "padded": lambda z, kind: sparse_divergence(z, *PADDED, 2.0, kind, 0.3),
    "sampled": lambda z, _: sampled_divergence(z, *SAMPLE, 2.0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_finite_differences(name: str, kind: Kind) -> None:
    z = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert gradcheck(lambda x: CASES[name](x, kind).total, (z,), eps=1e-6, atol=1e-6)
    assert CASES[name](z, kind).count == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "extreme", [[1e4, -1e4, 0, 0], [-1e4, 1e4, 1e4, -1e4], [1e4] * 4, [0, 0, -1e4, 1e4], [0, 1, -math.inf, 2]]
)
def test_extreme_logits_have_finite_losses_and_gradients(
    name: str, dtype: torch.dtype, extreme: list[float], kind: Kind
) -> None:
    z = torch.tensor([extreme] * 3, dtype=dtype).requires_grad_()
    loss = CASES[name](z, kind).total
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_low_temperature_is_finite(kind: Kind) -> None:
    for teacher, student in [(TEACHER * 1e4, STUDENT * 1e4), (TEACHER, TEACHER), (STUDENT * 1e4, TEACHER * -1e4)]:
        for of in (
            lambda z, t=teacher: dense(z, t.float(), kind, 0.05),
            lambda z, t=teacher: bucketed(z, 2, 0.05, teacher=t.float(), kind=kind),
        ):
            assert torch.isfinite(of(student.float()))
            assert torch.isfinite(gradient(of, student.float())).all()


def test_what_the_teacher_excludes_costs_a_bounded_reverse_kl() -> None:
    """All of the student's mass there: NOTHING nats, and no infinity."""
    sure = torch.tensor([[-50.0, -50.0, 50.0, -50.0]], dtype=torch.float64)
    assert dense(sure, EXCLUDING[:1], "reverse_kl").item() == pytest.approx(20.0, abs=1e-6)
    complete = torch.tensor([[0, 1]]), torch.log(torch.tensor([[0.7, 0.3]], dtype=torch.float64)), torch.tensor([-math.inf])
    assert sparse_divergence(sure, *complete, 1.0, "reverse_kl").total.item() == pytest.approx(20.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_of_a_large_vocabulary_are_summed_in_single(dtype: torch.dtype) -> None:
    logits = torch.randn(2, 150_000, generator=torch.Generator().manual_seed(3)).mul_(3).to(dtype)
    ids, logp, tail = top(logits.double().flip(1), 4)
    exact = sparse_divergence(logits.double(), ids, logp, tail, 1.0).total.item()
    ours = sparse_divergence(logits, ids, logp, tail, 1.0).total
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(exact, rel=1e-5)


def test_a_sure_student_is_still_pulled_back_to_the_tail() -> None:
    """With (nearly) no mass left outside the top k, the teacher's tail must still be felt."""
    sparse = torch.tensor([[0]]), torch.tensor([[math.log(0.9)]]), torch.tensor([math.log(0.1)])
    slope = gradient(lambda z: sparse_divergence(z, *sparse, 1.0).total, torch.tensor([[30.0, 0.0, 0.0, 0.0]]))
    assert slope[0, 0].item() == pytest.approx(0.1, abs=1e-3)
    assert slope[0, 1:].sum().item() == pytest.approx(-0.1, abs=1e-3)


def test_padding_of_the_support_is_not_a_target() -> None:
    """Padded entries point at token 0; token 0 must not be touched by them."""
    ids, logp, tail = torch.tensor([[2, 1]]), torch.tensor([[-0.3, -1.3501]]), torch.tensor([-math.inf])
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], 1), torch.cat([logp, torch.full((1, 3), -math.inf)], 1)
    one = gradient(lambda z: sparse_divergence(z, ids, logp, tail, 1.0).total, STUDENT.float())
    other = gradient(lambda z: sparse_divergence(z, *padded, tail, 1.0).total, STUDENT.float())
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [0, 1])
def test_a_position_without_support_costs_nothing(width: int, kind: Kind) -> None:
    """A recorded answer carries no distribution at all: every row of the support is empty."""
    nothing = torch.zeros(1, width, dtype=torch.long), torch.full((1, width), -math.inf), torch.full((1,), -math.inf)
    z = STUDENT.clone().requires_grad_()
    term = sparse_divergence(z, *nothing, 1.0, kind)
    term.total.backward()
    assert term.total.item() == 0.0
    assert z.grad is not None
    assert z.grad.abs().sum() == 0


# --- samples


def test_drawn_targets_are_merged_and_add_up() -> None:
    ids, weights = draw_targets(TEACHER.repeat(50, 1), 6, 1.0, torch.Generator().manual_seed(0))
    assert ids.shape == weights.shape == (50, 6)
    torch.testing.assert_close(weights.sum(1), torch.ones(50))
    torch.testing.assert_close(weights * 6, (weights * 6).round())
    for row, share in zip(ids, weights, strict=True):
        named = row[share > 0].tolist()
        assert len(set(named)) == len(named)
    again = draw_targets(TEACHER.repeat(50, 1), 6, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(ids, again[0])
    assert torch.equal(weights, again[1])


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_sampled_gradient_is_unbiased(temperature: float) -> None:
    """Its mean over 20,000 positions is the dense gradient within 5 standard errors; so are differences of values."""
    n, draws = 20_000, 5
    ids, weights = draw_targets(TEACHER.repeat(n, 1), draws, temperature, torch.Generator().manual_seed(2))
    p = (TEACHER / temperature).softmax(1)
    error = temperature * (p * (1 - p) / (n * draws)).sqrt()
    exact = gradient(lambda z: dense(z, TEACHER, "forward_kl", temperature), STUDENT)
    ours = gradient(lambda z: sampled_divergence(z.expand(n, 4), ids, weights, temperature).total / n, STUDENT)
    assert ((ours - exact).abs() < 5 * error).all()
    # One draw fewer than infinitely many is biased for a truncated support: the top 2 renormalised miss by far more.
    best = top(TEACHER, 2, temperature)
    wrong = gradient(lambda z: sampled_divergence(z, best[0], best[1].softmax(1), temperature).total, STUDENT)
    assert ((wrong - exact).abs() > 5 * error).any()

    def gap(of: Callable[[torch.Tensor], torch.Tensor]) -> float:
        return float(of(STUDENT) - of(-STUDENT))

    sampled = gap(lambda z: sampled_divergence(z.expand(n, 4), ids, weights, temperature).total / n)
    assert sampled == pytest.approx(gap(lambda z: dense(z, TEACHER, "forward_kl", temperature)), abs=0.03)


def test_a_sample_that_the_student_matches_costs_nothing() -> None:
    ids, weights = torch.tensor([[0, 2, 1]]), torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    z = torch.tensor([[3.0, -1e4, 3.0, -1e4]], dtype=torch.float64)
    assert sampled_divergence(z, ids, weights, 1.0).total.item() == pytest.approx(0.0, abs=1e-12)
    assert gradient(lambda x: sampled_divergence(x, ids, weights, 1.0).total, z).abs().max().item() < 1e-12


# --- vocabularies


def test_padded_vocabularies_are_cut_before_the_softmax() -> None:
    """Heads of 6 and 8 for 4 tokens: whatever the padding scores, the loss is that of the 4 tokens."""
    for fill in (-20.0, 0.0, 50.0):
        student = torch.cat([STUDENT, torch.full((1, 2), fill, dtype=torch.float64)], 1)
        teacher = torch.cat([TEACHER, torch.full((1, 4), fill, dtype=torch.float64)], 1)
        s, t = shared_logits(student, teacher, 4, torch.tensor([0, 3]))
        assert dense(s, t, "forward_kl").item() == pytest.approx(FORWARD, abs=1e-9)
        with pytest.raises(BadInputError, match="6 tokens"):
            dense(student, teacher, "forward_kl")


def test_ids_and_vocabularies_out_of_range_are_refused() -> None:
    with pytest.raises(BadInputError, match="outside the 4"):
        shared_logits(torch.zeros(1, 6), torch.zeros(1, 8), 4, torch.tensor([4]))
    with pytest.raises(BadInputError, match="one tokenizer"):
        shared_logits(torch.zeros(1, 6), torch.zeros(1, 8), 7)
    for ids in (torch.tensor([[4]]), torch.tensor([[-1]])):
        with pytest.raises(BadInputError, match="outside the 4"):
            sparse_divergence(STUDENT, ids, torch.zeros(1, 1), torch.zeros(1), 1.0)
        with pytest.raises(BadInputError, match="outside the 4"):
            sampled_divergence(STUDENT, ids, torch.ones(1, 1), 1.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_temperatures_out_of_range_are_refused(temperature: float) -> None:
    for of in (
        lambda: dense(STUDENT, TEACHER, "forward_kl", temperature),
        lambda: sparse_divergence(STUDENT, *top(TEACHER, 2), temperature),
        lambda: sampled_divergence(STUDENT, SAMPLE[0][:1], SAMPLE[1][:1], temperature),
        lambda: draw_targets(TEACHER, 3, temperature),
    ):
        with pytest.raises(BadInputError, match="temperature"):
            of()


def test_no_draw_and_no_such_divergence_are_refused() -> None:
    with pytest.raises(BadInputError, match="at least one"):
        draw_targets(TEACHER, 0, 1.0)
    with pytest.raises(BadInputError, match="forward_kl, reverse_kl, jsd"):
        dense_divergence(STUDENT, TEACHER, 1.0, "tvd")
