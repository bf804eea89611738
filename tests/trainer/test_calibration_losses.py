"""Terms that train a decision's confidence: reference values, statistics over a queue, that they calibrate.

Every statistic is written a second time here, as loops over Python floats, from the papers' definitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses import (
    DecisionQueue,
    Term,
    brier,
    confidence_penalty,
    decided,
    label_binned_ece,
    mmce,
    mmce_weighted,
    normalised,
    sb_ece,
)

R = [0.95, 0.9, 0.8, 0.7, 0.6, 0.55]
C = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]

Statistic = Callable[..., Term]
Loop = Callable[[Sequence[float], Sequence[float]], float]


def shares(r: float, bins: int, temperature: float) -> list[float]:
    near = [math.exp(-((r - (m + 0.5) / bins) ** 2) / temperature) for m in range(bins)]
    return [x / sum(near) for x in near]


def loop_sb_ece(r: Sequence[float], c: Sequence[float], bins: int = 15, temperature: float = 0.01) -> float:
    g = [shares(x, bins, temperature) for x in r]
    total = 0.0
    for m in range(bins):
        size = sum(row[m] for row in g)
        if size > 0:
            confidence = sum(row[m] * x for row, x in zip(g, r, strict=True)) / size
            accuracy = sum(row[m] * x for row, x in zip(g, c, strict=True)) / size
            total += size / len(r) * (confidence - accuracy) ** 2
    return math.sqrt(total)


def loop_label_binned(r: Sequence[float], c: Sequence[float], bins: int = 15, temperature: float = 0.01) -> float:
    g = [shares(x, bins, temperature) for x in r]
    total = 0.0
    for m in range(bins):
        size = sum(row[m] for row in g)
        if size > 0:
            accuracy = sum(row[m] * x for row, x in zip(g, c, strict=True)) / size
            total += sum(row[m] * (accuracy - x) ** 2 for row, x in zip(g, r, strict=True)) / len(r)
    return math.sqrt(total)


def loop_mmce(r: Sequence[float], c: Sequence[float]) -> float:
    pairs = [(i, j) for i in range(len(r)) for j in range(len(r))]
    return sum((c[i] - r[i]) * (c[j] - r[j]) * math.exp(-abs(r[i] - r[j]) / 0.4) for i, j in pairs) / len(r) ** 2


def loop_mmce_weighted(r: Sequence[float], c: Sequence[float]) -> float:
    right, wrong = sum(c), len(c) - sum(c)
    total = 0.0
    for i in range(len(r)):
        for j in range(len(r)):
            kernel = math.exp(-abs(r[i] - r[j]) / 0.4)
            if right:
                total += kernel * c[i] * c[j] * (1 - r[i]) * (1 - r[j]) / right**2
            if wrong:
                total += kernel * (1 - c[i]) * (1 - c[j]) * r[i] * r[j] / wrong**2
            if right and wrong:
                total -= 2 * kernel * c[i] * (1 - c[j]) * (1 - r[i]) * r[j] / (right * wrong)
    return total


STATISTICS: dict[str, tuple[Statistic, Loop]] = {
    "sb_ece": (sb_ece, loop_sb_ece),
    "label_binned_ece": (label_binned_ece, loop_label_binned),
    "mmce": (mmce, loop_mmce),
    "mmce_weighted": (mmce_weighted, loop_mmce_weighted),
}
every_statistic = pytest.mark.parametrize(("term", "loop"), list(STATISTICS.values()), ids=list(STATISTICS))


def floats(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Confidences in (0.3, 1) and correctness, independent of them."""
    generator = torch.Generator().manual_seed(seed)
    confidence = 0.3 + 0.7 * torch.rand(n, generator=generator, dtype=torch.float64)
    return confidence, (torch.rand(n, generator=generator) < 0.6).double()


def filled(size: int, confidence: torch.Tensor, correct: torch.Tensor) -> DecisionQueue:
    queue = DecisionQueue(size)
    queue.collect(confidence, correct)
    queue.step()
    return queue


@pytest.mark.parametrize(
    ("term", "options", "value"),
    [
        (mmce, {}, 0.0134558848),
        (mmce_weighted, {}, 0.2232753750),
        (sb_ece, {"temperature": 0.01}, 0.1907567),
        (sb_ece, {"temperature": 0.001}, 0.4155045),
        (label_binned_ece, {"temperature": 0.01}, 0.1997087),
    ],
)
def test_reference_values(term: Statistic, options: dict[str, float], value: float) -> None:
    """Computed in float64 from the papers' definitions, 15 bins, apart from this code and from the loops above."""
    got = term(floats(R), floats(C), **options)
    assert normalised(got).item() == pytest.approx(value, abs=1e-7)
    assert got.count == 6


decisions = st.lists(st.tuples(st.floats(0.01, 1), st.sampled_from([0.0, 1.0, 0.3])), min_size=1, max_size=8)


@every_statistic
@settings(max_examples=25)
@given(decisions)
def test_statistics_equal_loops_in_any_order(term: Statistic, loop: Loop, pairs: list[tuple[float, float]]) -> None:
    r, c = (list(x) for x in zip(*pairs, strict=True))
    value = normalised(term(floats(r), floats(c))).item()
    # The roots are 1e-7 and less where the loop has exactly 0.
    assert value == pytest.approx(loop(r, c), abs=1e-7)
    assert value >= -1e-12
    assert normalised(term(floats(r[::-1]), floats(c[::-1]))).item() == pytest.approx(value, abs=1e-9)


@every_statistic
def test_gradients_equal_finite_differences(term: Statistic, loop: Loop) -> None:
    r, c = drawn(7)
    assert gradcheck(lambda x: term(x, c).total, (r.requires_grad_(),), eps=1e-6, atol=1e-6)
    scores = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    target = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1]]
    assert gradcheck(lambda x: term(*decided(x, target)).total, (scores,), eps=1e-6, atol=1e-6)


@every_statistic
def test_over_a_queue_each_decision_is_put_to_it_by_itself(term: Statistic, loop: Loop) -> None:
    """Value: the statistic over queue and decision. Gradient: its slope times all of those decisions, here by differences."""
    old, live = drawn(20, 1), drawn(4, 2)
    queue = filled(20, *old)
    confidence = live[0].clone().requires_grad_()
    got = term(confidence, live[1], queue)

    def alone(r: float, c: float) -> float:
        return loop([*old[0].tolist(), r], [*old[1].tolist(), c])

    pairs = list(zip(live[0].tolist(), live[1].tolist(), strict=True))
    assert got.count == 4
    assert got.total.item() == pytest.approx(sum(alone(r, c) for r, c in pairs), abs=1e-9)
    got.total.backward()
    assert confidence.grad is not None
    slopes = [21 * (alone(r + 1e-6, c) - alone(r - 1e-6, c)) / 2e-6 for r, c in pairs]
    assert confidence.grad.tolist() == pytest.approx(slopes, abs=1e-6)


@every_statistic
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_step_is_the_same_however_it_is_split_and_ordered(term: Statistic, loop: Loop, parts: int) -> None:
    """Two steps of 11 and 16 decisions in one piece, against 2, 4 and 8 ragged micro-batches in another order."""

    def run(split: int, order: Callable[[int], torch.Tensor]) -> tuple[list[float], list[torch.Tensor], DecisionQueue]:
        queue, values, slopes = filled(20, *drawn(20, 1)), [], []
        for step, n in enumerate((11, 16)):
            confidence, correct = drawn(n, 5 + step)
            confidence.requires_grad_()
            pieces = order(n).tensor_split(split)
            terms = []
            for piece in pieces:
                terms.append(term(confidence[piece], correct[piece], queue))
                queue.collect(confidence[piece], correct[piece])
            loss = sum((normalised(t, n) for t in terms), torch.zeros(()))
            loss.backward()
            queue.step()
            assert confidence.grad is not None
            values, slopes = [*values, loss.item()], [*slopes, confidence.grad]
        return values, slopes, queue

    whole, split = run(1, torch.arange), run(parts, lambda n: torch.arange(n).flip(0))
    assert whole[0] == pytest.approx(split[0], abs=1e-12)
    for one, other in zip(whole[1], split[1], strict=True):
        assert one.abs().max() > 1e-4
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
    assert sorted(whole[2].decisions.tolist()) == sorted(split[2].decisions.tolist())


@every_statistic
def test_the_length_of_the_queue_does_not_scale_the_gradient(term: Statistic, loop: Loop) -> None:
    """Of the same decisions four times over, the gradient is the same but for the decision's own share."""
    old, live = drawn(250, 1), drawn(6, 2)
    slopes = []
    for times in (1, 4):
        queue = filled(250, old[0].repeat(times), old[1].repeat(times))
        confidence = live[0].clone().requires_grad_()
        term(confidence, live[1], queue).total.backward()
        assert confidence.grad is not None
        slopes.append(confidence.grad)
    assert slopes[0].norm() > 0.05
    assert (slopes[1] - slopes[0]).norm() < 0.1 * slopes[0].norm()


@every_statistic
def test_the_gradient_over_a_queue_agrees_with_that_of_all_decisions(term: Statistic, loop: Loop) -> None:
    """Where the queue's confidences are the present ones, a step's mean gradient is the whole statistic's, nearly."""
    confidence, correct = drawn(400, 3)
    queue = filled(400, confidence, correct)
    apart, whole = confidence.clone().requires_grad_(), confidence.clone().requires_grad_()
    normalised(term(apart, correct, queue)).backward()
    normalised(term(whole, correct)).backward()
    assert apart.grad is not None
    assert whole.grad is not None
    assert (apart.grad - whole.grad).norm() < 0.05 * whole.grad.norm()


@every_statistic
def test_until_the_queue_is_full_a_statistic_is_silent(term: Statistic, loop: Loop) -> None:
    confidence, correct = drawn(5)
    confidence.requires_grad_()
    for queue in (DecisionQueue(6), filled(6, *drawn(5, 1))):
        got = term(confidence, correct, queue)
        got.total.backward()
        assert (got.total.item(), got.count) == (0.0, 5)
        assert confidence.grad is not None
        assert confidence.grad.abs().sum() == 0
    term(confidence, correct, filled(5, *drawn(5, 1))).total.backward()
    assert confidence.grad.abs().sum() > 0


EMPTY: dict[str, Callable[[torch.Tensor], Term]] = {
    "brier": lambda z: brier(z, torch.zeros(len(z), 3) - 1),
    "confidence_penalty": lambda z: confidence_penalty(z * 0 + torch.full_like(z, -math.inf)),
    **{name: lambda z, t=t: t(*decided(z, torch.zeros(len(z), 3) - 1)) for name, (t, _) in STATISTICS.items()},
    **{
        name + " over a queue": lambda z, t=t: t(*decided(z, torch.zeros(len(z), 3) - 1), filled(5, *drawn(5)))
        for name, (t, _) in STATISTICS.items()
    },
}


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("rows", [0, 2])
def test_no_decision_is_zero_with_a_live_graph(name: str, rows: int) -> None:
    """No row, or rows that hold padding only."""
    parameter = torch.ones(4, 3, requires_grad=True)
    term = EMPTY[name](parameter[:rows])
    loss = normalised(term)
    loss.backward()
    assert (loss.item(), term.count) == (0.0, 0)
    assert parameter.grad is not None
    assert parameter.grad.abs().sum() == 0


TARGETS = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0.1, 0.2, 0.7, -1], [0.5, 0.5, -1, -1], [1, -1, -1, -1]])
SCORED: dict[str, Callable[[torch.Tensor], Term]] = {
    "brier": lambda z: brier(z, TARGETS),
    "confidence_penalty": lambda z: confidence_penalty(z.masked_fill(TARGETS < 0, -math.inf)),
    **{name: lambda z, t=t: t(*decided(z, TARGETS)) for name, (t, _) in STATISTICS.items()},
    **{
        name + " over a queue": lambda z, t=t: t(*decided(z, TARGETS), filled(5, *drawn(5)))
        for name, (t, _) in STATISTICS.items()
    },
}


@pytest.mark.parametrize("name", SCORED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_scores_have_finite_losses_and_gradients(name: str, dtype: torch.dtype) -> None:
    for extreme in ([1e4, -1e4, 0, 0], [-1e4, 1e4, 1e4, -1e4], [1e4] * 4, [0, 0, -1e4, 1e4], [0.0] * 4):
        z = torch.tensor([extreme] * 5, dtype=dtype).requires_grad_()
        term = SCORED[name](z)
        term.total.backward()
        assert term.count == 5
        assert torch.isfinite(term.total)
        assert z.grad is not None
        assert z.grad.dtype == dtype
        assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("name", SCORED)
def test_narrow_types_lose_only_the_scores_digits(name: str) -> None:
    """Summed in at least float32: a bfloat16 input gives what its rounded scores give in float64."""
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert SCORED[name](z).total.item() == pytest.approx(SCORED[name](z.double()).total.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", SCORED)
def test_a_score_that_is_not_a_number_stays_visible(name: str) -> None:
    """The trainer stops at such a loss; a term that masked it would let the run go on."""
    z = torch.zeros(5, 4)
    z[1, 2] = math.nan
    assert torch.isnan(SCORED[name](z).total)


@pytest.mark.parametrize("name", SCORED)
def test_padding_is_no_label_and_a_row_of_it_no_decision(name: str) -> None:
    """Whatever stands in padded scores, value and gradient are the same; wider padding changes nothing."""
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    one = z.masked_fill(TARGETS < 0, -math.inf).requires_grad_()
    other = z.masked_fill(TARGETS < 0, 50.0).requires_grad_()
    values = [SCORED[name](x).total for x in (one, other)]
    for value in values:
        value.backward()
    assert values[0].item() == pytest.approx(values[1].item(), abs=1e-12)
    assert one.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(one.grad, other.grad)
    assert one.grad[TARGETS < 0].abs().sum() == 0


def test_decisions_without_labels_are_left_out() -> None:
    scores = torch.tensor([[1.0, 2.0], [-math.inf, -math.inf], [0.0, -math.inf]])
    target = torch.tensor([[0.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    confidence, correct = decided(scores, target)
    assert confidence.tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1.0])
    assert correct.tolist() == [1.0, 1.0]
    assert brier(scores, target).count == 2
    assert confidence_penalty(scores).count == 2


def test_confidence_is_of_the_chosen_label_and_correctness_what_the_target_gives_it() -> None:
    scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, -math.inf]], requires_grad=True)
    target = torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, -1.0]], requires_grad=True)
    confidence, correct = decided(scores, target)
    assert confidence.tolist() == pytest.approx([math.exp(2) / (math.exp(2) + 2), math.exp(3) / (math.exp(3) + 1)])
    assert correct.tolist() == [0.25, 0.0]
    assert confidence.requires_grad
    assert not correct.requires_grad


def test_a_right_label_without_any_score_is_a_miss() -> None:
    """The target decides what a label is: one that the student cannot say is not padding."""
    term = brier(torch.tensor([[0.0, -math.inf]]), torch.tensor([[0.0, 1.0]]))
    assert term.total.item() == pytest.approx(2.0)


def test_shapes_that_differ_are_refused() -> None:
    for score in (brier, decided):
        with pytest.raises(BadInputError, match=r"shape \(2, 3\) have targets of shape \(2, 2\)"):
            score(torch.zeros(2, 3), torch.zeros(2, 2))


@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_the_brier_score_is_proper(truth: float, said: float) -> None:
    """Over outcomes with the true probability, nothing said costs less than the truth; the difference is 2 (said - truth)^2."""

    def expected(p: float) -> float:
        scores = torch.log(floats([[p, 1 - p]] * 2))
        outcomes = torch.eye(2, dtype=torch.float64)
        each = [brier(scores[i : i + 1], outcomes[i : i + 1]).total.item() for i in range(2)]
        return truth * each[0] + (1 - truth) * each[1]

    assert expected(said) - expected(truth) == pytest.approx(2 * (said - truth) ** 2, abs=1e-9)


@given(st.lists(st.floats(-6, 6), min_size=2, max_size=5))
def test_the_confidence_penalty_is_negative_entropy(row: list[float]) -> None:
    scores = floats([row])
    p = scores.softmax(1)[0].tolist()
    term = confidence_penalty(scores)
    assert term.total.item() == pytest.approx(sum(x * math.log(x) for x in p))
    assert -math.log(len(row)) - 1e-9 <= term.total.item() <= 0


def test_the_confidence_penaltys_gradient() -> None:
    z = torch.tensor([[1.0, 0.5, -1.0], [0.3, 0.1, -math.inf]], dtype=torch.float64)
    live = z[:, :2].clone().requires_grad_()
    assert gradcheck(lambda x: confidence_penalty(torch.cat([x, z[:, 2:]], 1)).total, (live,))


@pytest.mark.parametrize("term", [sb_ece, label_binned_ece])
def test_soft_bins_become_hard_ones(term: Statistic) -> None:
    """Confidences at bin centres, temperature towards 0: the L2 error of the bins, worked out by hand.

    Bin 9 of 15 (centre 19/30) has 3 decisions of which 1 is right, bin 14 (29/30) has 5 of which 4 are. Within a bin all
    confidences are one, so that both kinds agree.
    """
    r = [19 / 30] * 3 + [29 / 30] * 5
    c = [1.0, 0, 0, 1, 1, 1, 1, 0]
    hard = math.sqrt(3 / 8 * (19 / 30 - 1 / 3) ** 2 + 5 / 8 * (29 / 30 - 4 / 5) ** 2)
    errors = [abs(normalised(term(floats(r), floats(c), temperature=t)).item() - hard) for t in (1e-1, 1e-2, 1e-3, 1e-5)]
    assert errors[0] > 1e-3
    assert errors[0] > errors[1] > errors[2]
    assert max(errors[2:]) < 1e-9
    assert normalised(term(floats(r).float(), floats(c).float(), temperature=1e-6)).item() == pytest.approx(hard, abs=1e-6)


def test_sb_ece_of_one_bin_is_the_gap_of_the_means() -> None:
    assert normalised(sb_ece(floats(R), floats(C), bins=1)).item() == pytest.approx(0.0833333, abs=1e-7)


@pytest.mark.parametrize("options", [{"bins": 0}, {"temperature": 0.0}, {"temperature": math.nan}])
def test_impossible_bins_are_refused(options: dict[str, float]) -> None:
    for term in (sb_ece, label_binned_ece):
        with pytest.raises(BadInputError, match="at least one bin and a temperature above 0"):
            term(floats(R), floats(C), **options)


def test_perfect_calibration_has_no_slope() -> None:
    """The root's slope at 0 would be infinite, and 0 times it not a number."""
    r = floats([0.5] * 2).requires_grad_()
    for term in (sb_ece, label_binned_ece, mmce):
        got = normalised(term(r, floats([1, 0]), **({} if term is mmce else {"bins": 1})))
        got.backward()
        assert got.item() == pytest.approx(0.0, abs=1e-12)
        assert r.grad is not None
        assert r.grad.abs().max() < 1e-12


# The queue.


def test_a_queue_holds_the_last_whole_steps() -> None:
    queue = DecisionQueue(4)
    assert not queue.full
    for step, n in enumerate((3, 2, 0, 2, 1)):
        if n:
            queue.collect(torch.full((n,), step / 10, requires_grad=True), torch.ones(n))
        queue.step()
    # Steps of 2, 2 and 1: without the first of them there would be only 3.
    assert queue.decisions[:, 0].tolist() == pytest.approx([0.1, 0.1, 0.3, 0.3, 0.4])
    assert (len(queue), queue.full, queue.decisions.requires_grad) == (5, True, False)


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 12))
def test_a_full_queue_never_has_less_than_its_size_nor_a_step_too_many(steps: list[int], size: int) -> None:
    queue = DecisionQueue(size)
    for n in steps:
        queue.collect(torch.zeros(n), torch.zeros(n))
        queue.step()
    assert queue.full == (sum(steps) >= size)
    assert len(queue) < size + max([9, *steps])
    assert len(queue) >= min(size, sum(steps))


def test_the_queue_changes_at_the_end_of_a_step_only() -> None:
    queue = filled(3, *drawn(3))
    before = queue.decisions.clone()
    queue.collect(*drawn(2, 7))
    assert torch.equal(queue.decisions, before)
    queue.step()
    assert len(queue) == 5
    queue.step()
    assert len(queue) == 5


def test_several_processes_hold_the_same_queue() -> None:
    """One that had no decision takes the others' all the same."""
    first = drawn(3, 1)
    whole = torch.stack(first, 1)
    asked: list[int] = []

    def gather(own: torch.Tensor) -> torch.Tensor:
        asked.append(len(own))
        return whole

    one, other = DecisionQueue(2), DecisionQueue(2)
    one.collect(*first)
    for queue in (one, other):
        queue.step(gather)
        assert torch.equal(queue.decisions, whole)
    assert asked == [3, 0]


@every_statistic
def test_a_resumed_run_has_the_same_losses(term: Statistic, loop: Loop) -> None:
    one = filled(6, *drawn(4, 1))
    one.collect(*drawn(5, 2))
    one.step()
    other = DecisionQueue(6)
    other.collect(*drawn(2, 9))
    other.load_state_dict(one.state_dict())
    for queue in (one, other):
        queue.collect(*drawn(3, 3))
        queue.step()
    assert torch.equal(one.decisions, other.decisions)
    live = drawn(4, 4)
    assert term(*live, one).total.item() == term(*live, other).total.item()


def test_an_empty_queues_state_comes_back() -> None:
    queue = filled(2, *drawn(3))
    queue.load_state_dict(DecisionQueue(2).state_dict())
    assert len(queue) == 0


def test_a_state_that_does_not_fit_is_refused() -> None:
    state = filled(2, *drawn(3)).state_dict()
    with pytest.raises(BadInputError, match="is of 2 decisions, the settings ask for 5"):
        DecisionQueue(5).load_state_dict(state)
    for damaged in ({}, {**state, "lengths": [2]}, {"size": 2}):
        with pytest.raises(BadInputError, match="damaged"):
            DecisionQueue(2).load_state_dict(damaged)
    with pytest.raises(BadInputError, match="holds none"):
        DecisionQueue(0)


# That they do what they are for.

ACCURACY = torch.tensor([0.55, 0.65, 0.75, 0.85])


def trained(loss: Callable[[torch.Tensor, torch.Tensor, DecisionQueue], Term]) -> tuple[torch.Tensor, torch.Tensor]:
    """Confidence and correctness of 512 decisions of 4 kinds, each kind with a logit of its own, after training at 32 a step.

    All start with a confidence of 0.98; of the kinds, 55, 65, 75 and 85 in a hundred are right.
    """
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(512) % 4
    right = torch.rand(512, generator=generator) < ACCURACY[kind]
    target = torch.stack([right.float(), 1 - right.float()], 1)
    logit = torch.full((4,), 4.0, requires_grad=True)
    optimiser = torch.optim.Adam([logit], lr=0.05)
    queue = DecisionQueue(256)
    for _ in range(12):
        for batch in torch.randperm(512, generator=generator).split(32):
            scores = torch.stack([logit[kind[batch]], torch.zeros(len(batch))], 1)
            optimiser.zero_grad()
            normalised(loss(scores, target[batch], queue)).backward()
            optimiser.step()
            queue.collect(*decided(scores, target[batch]))
            queue.step()
    return torch.sigmoid(logit.detach())[kind], right.float()


def hard_ece(confidence: torch.Tensor, correct: torch.Tensor) -> float:
    """15 bins of equal width, as it is usually reported."""
    bins = (confidence * 15).long().clamp_max(14)
    of = [bins == m for m in range(15)]
    return sum(float((confidence[b].mean() - correct[b].mean()).abs() * b.float().mean()) for b in of if b.any())


BY: dict[str, Callable[[torch.Tensor, torch.Tensor, DecisionQueue], Term]] = {
    "brier": lambda scores, target, _: brier(scores, target),
    **{name: lambda z, y, queue, t=t: t(*decided(z, y), queue) for name, (t, _) in STATISTICS.items()},
}


@pytest.mark.parametrize("name", ["brier", "sb_ece", "label_binned_ece", "mmce"])
def test_overconfident_decisions_become_calibrated(name: str) -> None:
    """From 0.28, what a confidence of 0.98 at 70 right in a hundred is; on average the confidence becomes right."""
    confidence, correct = trained(BY[name])
    assert hard_ece(confidence, correct) < 0.1
    assert confidence.mean().item() == pytest.approx(correct.mean().item(), abs=0.03)
    if name == "brier":
        # A score of each decision finds each kind's own accuracy; kinds of one confidence look the same to a statistic.
        assert (confidence[:4] - ACCURACY).abs().max() < 0.03
    else:
        assert (confidence[:4] - ACCURACY).abs().max() > 0.08


def test_weighted_mmce_by_itself_goes_too_far() -> None:
    """Why the settings do not offer it: with right and wrong weighted equally, it is least where a confidence is near 1/2."""
    confidence, correct = trained(BY["mmce_weighted"])
    assert confidence.mean().item() == pytest.approx(0.5, abs=0.08)
    assert hard_ece(confidence, correct) > 0.1
