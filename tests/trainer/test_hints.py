"""Hidden states against the teacher's, by position and by answer; which layers, and what stands between widths."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses import (
    Projections,
    Term,
    hidden_cosine,
    hidden_mse,
    info_nce,
    layer_map,
    normalised,
    pooled,
)


def states(n: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def relative_mse(student: torch.Tensor, teacher: torch.Tensor) -> Term:
    return hidden_mse(student, teacher, relative=True)


HINTS: dict[str, Callable[[torch.Tensor, torch.Tensor], Term]] = {
    "mse": hidden_mse,
    "relative": relative_mse,
    "cosine": hidden_cosine,
    "info_nce": info_nce,
}
every_hint = pytest.mark.parametrize("hint", HINTS.values(), ids=list(HINTS))


def test_values_by_hand() -> None:
    """Widths are averaged, positions summed."""
    student = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    teacher = torch.tensor([[1.0, 0.0], [4.0, 0.0]])
    assert hidden_mse(student, teacher).total.item() == pytest.approx((0 + 4) / 2 + (16 + 9) / 2)
    # The teacher's mean squares are 1/2 and 8.
    assert relative_mse(student, teacher).total.item() == pytest.approx(2 / 0.5 + 12.5 / 8)
    assert hidden_cosine(student, teacher).total.item() == pytest.approx((1 - 1 / math.sqrt(5)) + 1)
    assert {hidden_mse(student, teacher).count, hidden_cosine(student, teacher).count} == {2}


def test_info_nce_by_hand() -> None:
    """Written out over Python floats, from its definition."""
    student, teacher, temperature = states(4, 3), states(4, 3, 1), 0.5
    s, t = student.tolist(), teacher.tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    total = 0.0
    for i in range(4):
        scores = [math.exp(cosine(s[i], t[j]) / temperature) for j in range(4)]
        total -= math.log(scores[i] / sum(scores))
    term = info_nce(student, teacher, temperature=temperature)
    assert term.total.item() == pytest.approx(total)
    assert term.count == 4


@given(st.integers(0, 50), st.floats(0.1, 100))
def test_a_student_like_the_teacher_costs_nothing(seed: int, scale: float) -> None:
    """Mean squares at the teacher's own states; a cosine also at any multiple of them."""
    teacher = states(3, 5, seed)
    for hint in (hidden_mse, relative_mse):
        assert hint(teacher, teacher).total.item() == 0.0
        assert hint(teacher + 0.1, teacher).total.item() > 0
    assert hidden_cosine(scale * teacher, teacher).total.item() == pytest.approx(0.0, abs=1e-12)
    assert hidden_cosine(-teacher, teacher).total.item() == pytest.approx(6.0)


def test_a_relative_error_does_not_grow_with_the_layers_scale() -> None:
    student, teacher = states(3, 5), states(3, 5, 1)
    one, hundredfold = relative_mse(student, teacher), relative_mse(100 * student, 100 * teacher)
    assert one.total.item() == pytest.approx(hundredfold.total.item())


def test_info_nce_prefers_the_right_answer() -> None:
    teacher = states(6, 8)
    right, wrong = info_nce(teacher, teacher), info_nce(teacher.roll(1, 0), teacher)
    assert normalised(right).item() < 0.1 < math.log(6) < normalised(wrong).item()
    # States that say nothing of the answer: as good as guessing among six.
    assert normalised(info_nce(teacher[:1].expand(6, -1), teacher[:1].expand(6, -1))).item() == pytest.approx(math.log(6))


@every_hint
def test_gradients_equal_finite_differences_and_spare_the_teacher(hint: Callable[..., Term]) -> None:
    student, teacher = states(4, 3).requires_grad_(), states(4, 3, 1).requires_grad_()
    assert gradcheck(lambda x: hint(x, teacher).total, (student,), eps=1e-6, atol=1e-6)
    hint(student, teacher).total.backward()
    assert student.grad is not None
    assert teacher.grad is None


@every_hint
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("size", [0.0, 1e-2, 1e4])
def test_extreme_states_have_finite_losses_and_gradients(hint: Callable[..., Term], dtype: torch.dtype, size: float) -> None:
    """Squares of 1e4 are beyond float16; a state of zeros has no direction."""
    student = (size * states(4, 3)).to(dtype).requires_grad_()
    term = hint(student, (size * states(4, 3, 1)).to(torch.bfloat16))
    term.total.backward()
    assert torch.isfinite(term.total)
    assert student.grad is not None
    assert torch.isfinite(student.grad.float()).all()


@pytest.mark.parametrize(
    ("hint", "n"), [*((hint, 0) for hint in HINTS.values()), (info_nce, 1)], ids=[*HINTS, "info_nce of one answer"]
)
def test_nothing_to_compare_is_zero_with_a_live_graph(hint: Callable[..., Term], n: int) -> None:
    parameter = torch.ones(2, 3, requires_grad=True)
    term = hint(parameter[:n], torch.ones(n, 3))
    normalised(term).backward()
    assert (term.total.item(), term.count) == (0.0, n)
    assert parameter.grad is not None
    assert parameter.grad.abs().sum() == 0


@every_hint
def test_states_that_cannot_be_compared_are_refused(hint: Callable[..., Term]) -> None:
    for other in (torch.zeros(2, 4), torch.zeros(3, 3)):
        with pytest.raises(BadInputError, match=r"shape \(2, 3\) cannot be held against"):
            hint(torch.zeros(2, 3), other)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(BadInputError, match="not above 0"):
        info_nce(states(2, 3), states(2, 3), temperature=temperature)


def test_pooling_is_the_mean_of_each_answers_positions() -> None:
    rows = states(5, 3).requires_grad_()
    got = pooled(rows, torch.tensor([2, 0, 2, 2, 0]), 4)
    torch.testing.assert_close(got[0], rows[[1, 4]].mean(0))
    torch.testing.assert_close(got[2], rows[[0, 2, 3]].mean(0))
    assert got[[1, 3]].abs().sum() == 0
    got.sum().backward()
    assert rows.grad is not None
    assert rows.grad[0].tolist() == pytest.approx([1 / 3] * 3)
    assert pooled(rows[:0], torch.zeros(0, dtype=torch.long), 2).shape == (2, 3)


# Projections.


@pytest.mark.parametrize(("student", "teacher"), [(3, 5), (5, 3)])
def test_projections_start_orthogonal_and_learn(student: int, teacher: int) -> None:
    torch.manual_seed(0)
    between = Projections([1, 4], student, teacher)
    assert sorted(between) == ["1", "4"]
    for linear in between.values():
        weight = linear.weight.double()
        product = weight @ weight.T if student > teacher else weight.T @ weight
        torch.testing.assert_close(product, torch.eye(min(student, teacher), dtype=torch.float64), atol=1e-6, rtol=0)
    hidden_mse(between(4, torch.randn(2, student)), torch.randn(2, teacher)).total.backward()
    assert between["4"].weight.grad is not None
    assert between["1"].weight.grad is None


def test_the_wider_side_keeps_lengths_and_angles() -> None:
    between, rows = Projections([2], 4, 7), states(3, 4).float()
    got = between(2, rows)
    torch.testing.assert_close(got @ got.T, rows @ rows.T, atol=1e-5, rtol=1e-5)


def test_equal_widths_need_no_projection() -> None:
    between, rows = Projections([1, 2], 4, 4), states(2, 4)
    assert list(between.parameters()) == []
    assert between(2, rows) is rows


def test_projections_come_back_from_their_state() -> None:
    one, other = Projections([1], 3, 5), Projections([1], 3, 5)
    other.load_state_dict(one.state_dict())
    rows = torch.randn(2, 3)
    assert torch.equal(one(1, rows), other(1, rows))


def test_a_layer_without_projection_is_refused() -> None:
    with pytest.raises(BadInputError, match="no projection for layer 3"):
        Projections([1], 3, 5)(3, torch.zeros(1, 3))


# Layers.


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (4, 12, {1: 3, 2: 6, 3: 9, 4: 12}),
        (6, 30, {1: 5, 2: 10, 3: 15, 4: 20, 5: 25, 6: 30}),
        (1, 5, {1: 5}),
        (3, 3, {1: 1, 2: 2, 3: 3}),
        (4, 2, {1: 1, 2: 1, 3: 2, 4: 2}),
    ],
)
def test_layers_are_evenly_spaced(student: int, teacher: int, pairs: dict[int, int]) -> None:
    assert layer_map(student, teacher) == pairs


@given(st.integers(1, 40), st.integers(1, 80))
def test_evenly_spaced_layers_keep_order_and_end_at_the_last(student: int, teacher: int) -> None:
    pairs = layer_map(student, teacher)
    assert list(pairs) == list(range(1, student + 1))
    assert list(pairs.values()) == sorted(pairs.values())
    assert pairs[student] == teacher


def test_a_cut_students_layers_are_held_against_those_that_they_were() -> None:
    assert layer_map(3, 12, [0, 5, 11]) == {1: 1, 2: 6, 3: 12}
    assert layer_map(3, 12, [0, 5, 11], {}) == {1: 1, 2: 6, 3: 12}


def test_chosen_layers_come_first() -> None:
    assert layer_map(3, 12, [0, 5, 11], {3: 12, 1: 4}) == {1: 4, 3: 12}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 12, None, {4: 1}), "student's layer 4; it has layers 1 to 3"),
        ((3, 12, None, {0: 1}), "student's layer 0"),
        ((3, 12, None, {1: 13}), "teacher's layer 13; it has layers 1 to 12"),
        ((3, 12, None, {1: 0}), "teacher's layer 0"),
        ((3, 12, None, {1: 8, 2: 4}), "later layer of the student to an earlier one"),
        ((3, 12, [0, 5]), "has 3 layers but was cut from 2"),
        ((3, 12, [0, 5, 12]), "teacher's layer 13"),
        ((0, 12), "the student has 0"),
    ],
)
def test_impossible_layers_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        layer_map(*arguments)  # type: ignore[arg-type]
