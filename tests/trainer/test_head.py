"""The head in chunks: its terms against autograd over all logits, chunks, gradients, precision, empty and extreme inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses import (
    cross_entropy,
    dense_divergence,
    draw_targets,
    format_penalty,
    sampled_divergence,
    sparse_divergence,
)
from distill_gov.trainer.losses import head as heads
from distill_gov.trainer.losses.block import Scratch
from distill_gov.trainer.losses.divergence import Kind
from distill_gov.trainer.losses.head import (
    CrossEntropy,
    DenseDivergence,
    GrammarMass,
    HeadTerm,
    SampledDivergence,
    SparseDivergence,
    Unlikelihood,
    head_loss,
)
from tests.trainer.test_divergence import top

KINDS: tuple[Kind, ...] = get_args(Kind)
TERMS = [
    *(f"sparse, {kind}" for kind in KINDS),
    *(f"dense, {kind}" for kind in KINDS),
    "sparse, at 1",
    "sampled",
    "hard",
    "hard, weighted and smoothed",
    "grammar",
    "unlikelihood",
]
Made = tuple[HeadTerm, Callable[[torch.Tensor], torch.Tensor]]


class Case:
    """A head, positions, and every term with the same computed by autograd from all logits."""

    def __init__(self, positions: int, vocabulary: int, seed: int, dtype: torch.dtype = torch.float64, every: int = 1) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.vocabulary, self.dtype = vocabulary, dtype
        self.hidden, self.weight, self.bias = (
            self.normal(*shape) for shape in ((positions, 5), (vocabulary, 5), (vocabulary,))
        )
        self.rows = torch.arange(0, positions, every)
        n = len(self.rows)
        self.teacher, self.teacher_weight = self.normal(n, 3), self.normal(vocabulary, 3)
        self.tokens = torch.randint(0, vocabulary, (n,), generator=self.random)
        self.table = torch.rand(3, vocabulary, generator=self.random) < 0.5
        self.table[:, 0] = True
        self.masks = torch.randint(0, 3, (n,), generator=self.random)
        self.weights = torch.rand(n, generator=self.random, dtype=torch.float64)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.random, dtype=torch.float64).to(self.dtype).requires_grad_()

    def leaves(self) -> list[torch.Tensor]:
        return [self.hidden, self.weight, self.bias]

    def logits(self) -> torch.Tensor:
        return self.hidden @ self.weight.t() + self.bias

    def made(self, name: str) -> Made:
        rows, tokens = self.rows, self.tokens
        taught = (self.teacher @ self.teacher_weight.t()).detach()
        kind: Kind = next((k for k in KINDS if name.endswith(k)), "forward_kl")
        temperature = 1.0 if name == "sparse, at 1" else 2.0
        if name.startswith("sparse"):
            sparse = top(taught, min(3, self.vocabulary), temperature)
            # A padded row, one without tail, one without anything: what a cache holds beside full ones.
            sparse[1][::3, -1] = -math.inf
            sparse[2][1::3] = -math.inf
            sparse[1][2::4], sparse[2][2::4] = -math.inf, -math.inf
            return SparseDivergence(
                rows, *sparse, temperature, kind, 0.3
            ), lambda z: sparse_divergence(z, *sparse, temperature, kind, 0.3).total
        if name.startswith("dense"):
            term = DenseDivergence(rows, self.teacher, self.teacher_weight, 2.0, kind, 0.3)
            return term, lambda z: dense_divergence(z, taught, 2.0, kind, 0.3).total
        if name == "sampled":
            drawn = draw_targets(taught, 4, 2.0, torch.Generator().manual_seed(5))
            return SampledDivergence(rows, *drawn, 2.0), lambda z: sampled_divergence(z, *drawn, 2.0).total
        if name == "hard":
            return CrossEntropy(rows, tokens), lambda z: cross_entropy(z, tokens).total
        if name == "hard, weighted and smoothed":
            return CrossEntropy(rows, tokens, self.weights, 0.1), lambda z: (
                self.weights.to(z.dtype) * functional.cross_entropy(z, tokens, reduction="none", label_smoothing=0.1)
            ).sum()
        if name == "grammar":
            return GrammarMass(rows, self.masks, self.table), lambda z: format_penalty(z, self.table[self.masks]).total
        return Unlikelihood(rows, tokens), lambda z: -torch.log1p(-z.softmax(1).gather(1, tokens[:, None])).sum()

    def dense(self, made: Mapping[str, Made], factors: Mapping[str, float]) -> torch.Tensor:
        z = self.logits()[self.rows]
        return sum((factors[name] * of(z) for name, (_, of) in made.items()), z.sum() * 0.0)

    def chunked(self, made: Mapping[str, Made], factors: Mapping[str, float], chunk: int) -> torch.Tensor:
        return head_loss(*self.leaves(), {name: term for name, (term, _) in made.items()}, factors, chunk=chunk).total


def same(case: Case, names: list[str], chunk: int) -> None:
    made = {name: case.made(name) for name in names}
    factors = {name: 0.5 + i for i, name in enumerate(names)}
    exact, ours = case.dense(made, factors), case.chunked(made, factors, chunk)
    torch.testing.assert_close(ours, exact)
    wanted = torch.autograd.grad(exact, case.leaves(), allow_unused=True, materialize_grads=True)
    for one, other in zip(torch.autograd.grad(ours, case.leaves()), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("chunk", [1, 7, 11, 12])
@pytest.mark.parametrize("name", TERMS)
def test_chunks_give_what_autograd_gives(name: str, chunk: int) -> None:
    same(Case(11, 13, 1), [name], chunk)


@pytest.mark.parametrize("chunk", [1, 7, 11, 12])
def test_all_terms_at_once(chunk: int) -> None:
    same(Case(11, 13, 2), TERMS, chunk)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 9),
    st.integers(2, 9),
    st.integers(1, 3),
    st.integers(1, 10),
    st.sampled_from([1, 20, 2**20]),
    st.lists(st.sampled_from(TERMS), unique=True, max_size=4),
)
def test_any_shape(positions: int, vocabulary: int, every: int, chunk: int, worked_on: int, names: list[str]) -> None:
    """Rows at some positions only, blocks of a row and of many, no position, no term."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "WORKED_ON", worked_on)
        same(Case(positions, vocabulary, 3, every=every), names, chunk)


@pytest.mark.parametrize("name", TERMS)
def test_gradients_equal_finite_differences(name: str) -> None:
    case = Case(4, 5, 4)
    made, step = {name: case.made(name)}, 1e-6
    gradients = torch.autograd.grad(case.chunked(made, {name: 1.0}, 3), case.leaves())
    for leaf, slope in zip(case.leaves(), gradients, strict=True):
        flat = leaf.detach().view(-1)
        for i in range(0, len(flat), 3):
            middle, values = flat[i].item(), []
            for moved in (middle + step, middle - step):
                flat[i] = moved
                values.append(case.chunked(made, {name: 1.0}, 3).item())
            flat[i] = middle
            assert slope.reshape(-1)[i].item() == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-5)


def test_rows_may_be_named_twice_and_by_several_terms() -> None:
    case = Case(6, 8, 5)
    case.rows = torch.tensor([0, 2, 2, 3, 5, 5])
    for chunk in (1, 4):
        same(case, TERMS, chunk)
    # More entries than there are positions in a chunk, or at all.
    case.rows = torch.tensor([2, 2, 2, 2, 2, 2])
    for chunk in (1, 2, 6):
        same(case, TERMS, chunk)


def test_sums_are_unweighted_and_detached() -> None:
    case = Case(7, 9, 6)
    made = {name: case.made(name) for name in TERMS}
    found = head_loss(*case.leaves(), {n: t for n, (t, _) in made.items()}, dict.fromkeys(TERMS, 0.25), chunk=3)
    z = case.logits()[case.rows]
    for name, (_, of) in made.items():
        assert found.sums[name].item() == pytest.approx(of(z).item(), rel=1e-6)
        assert not found.sums[name].requires_grad
    assert found.total.item() == pytest.approx(0.25 * sum(float(s) for s in found.sums.values()))


def test_counts() -> None:
    case = Case(7, 9, 6)
    for name in TERMS:
        expected = case.weights.sum().item() if name.startswith("hard, w") else 7
        assert case.made(name)[0].count == pytest.approx(expected)


# --- no more than needed


def test_no_tensor_is_larger_than_a_chunk() -> None:
    """What the forward pass makes: at most chunk x vocabulary at once, exactly as asked and not once more."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func: object, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                Largest.seen = max(Largest.seen, out.numel())
            return out

    case = Case(100, 300, 7)
    made = {name: case.made(name) for name in TERMS}
    for chunk in (7, 33):
        Largest.seen = 0
        with Largest():
            case.chunked(made, dict.fromkeys(TERMS, 1.0), chunk).backward()
        assert Largest.seen == max(chunk, 5) * 300


def test_a_frozen_head_gets_no_gradient() -> None:
    case = Case(6, 8, 8)
    made = {name: case.made(name) for name in TERMS}
    whole = torch.autograd.grad(case.chunked(made, dict.fromkeys(TERMS, 1.0), 4), case.hidden)[0]
    case.weight.requires_grad_(False)
    case.bias.requires_grad_(False)
    case.chunked(made, dict.fromkeys(TERMS, 1.0), 4).backward()
    assert case.weight.grad is None
    assert case.bias.grad is None
    torch.testing.assert_close(case.hidden.grad, whole)
    with torch.no_grad():
        assert not case.chunked(made, dict.fromkeys(TERMS, 1.0), 4).requires_grad


def test_backward_runs_once() -> None:
    case = Case(3, 4, 9)
    loss = case.chunked({"hard": case.made("hard")}, {"hard": 1.0}, 2)
    (3.0 * loss).backward(retain_graph=True)
    assert case.hidden.grad is not None
    expected = torch.autograd.grad(3.0 * case.dense({"hard": case.made("hard")}, {"hard": 1.0}), case.hidden)[0]
    torch.testing.assert_close(case.hidden.grad, expected)
    with pytest.raises(RuntimeError, match="one backward pass"):
        loss.backward()


@pytest.mark.parametrize("positions", [0, 3])
def test_no_entry_is_zero_with_a_live_graph(positions: int) -> None:
    """An all-masked batch: no term has an entry, or there is no position at all."""
    case = Case(positions, 4, 10)
    case.rows = torch.zeros(0, dtype=torch.long)
    none = CrossEntropy(case.rows, torch.zeros(0, dtype=torch.long))
    for terms in ({}, {"hard": none}):
        for leaf in case.leaves():
            leaf.grad = None
        found = head_loss(*case.leaves(), terms, dict.fromkeys(terms, 1.0))
        found.total.backward()
        assert found.total.item() == 0.0
        assert set(found.sums) == set(terms)
        for leaf in case.leaves():
            assert leaf.grad is not None
            assert leaf.grad.abs().sum() == 0


def test_a_student_equal_to_its_teacher_feels_nothing() -> None:
    case = Case(6, 8, 11)
    for kind in KINDS:
        term = DenseDivergence(torch.arange(6), case.hidden.detach(), case.weight.detach(), 2.0, kind)
        loss = head_loss(case.hidden, case.weight, None, {"soft": term}, {"soft": 1.0}).total
        assert loss.item() == pytest.approx(0.0, abs=1e-12)
        assert torch.autograd.grad(loss, case.hidden)[0].abs().max().item() < 1e-12


# --- precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize("scores", [[1e4, -1e4, 0, 0], [-1e4, 1e4, 1e4, -1e4], [1e4] * 4, [0, 1, -math.inf, 2]])
def test_extreme_scores_have_finite_losses_and_gradients(dtype: torch.dtype, temperature: float, scores: list[float]) -> None:
    """The scores come in as a bias, which alone can be infinite."""
    hidden = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    weight = torch.zeros(4, 3, dtype=dtype, requires_grad=True)
    bias = torch.tensor(scores, dtype=dtype, requires_grad=True)
    rows, tokens = torch.arange(2), torch.tensor([0, 1])
    taught = torch.tensor([[3.0, 0.0, -1e4, 1.0]] * 2)
    terms: dict[str, HeadTerm] = {
        "hard": CrossEntropy(rows, tokens, smoothing=0.1),
        "grammar": GrammarMass(rows, torch.zeros(2, dtype=torch.long), torch.tensor([[True, True, False, False]])),
        "unlikelihood": Unlikelihood(rows, tokens),
        "sampled": SampledDivergence(rows, *draw_targets(taught, 3, temperature), temperature),
    }
    for kind in KINDS:
        terms[f"sparse {kind}"] = SparseDivergence(rows, *top(taught, 2, temperature), temperature, kind)
        terms[f"dense {kind}"] = DenseDivergence(rows, torch.ones(2, 1), taught[0][:, None], temperature, kind)
    for name, term in terms.items():
        loss = head_loss(hidden, weight, bias, {name: term}, {name: 1.0}).total
        assert torch.isfinite(loss), name
        for slope, leaf in zip(torch.autograd.grad(loss, [hidden, weight, bias]), (hidden, weight, bias), strict=True):
            assert torch.isfinite(slope).all(), name
            assert slope.dtype == leaf.dtype


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_double(name: str, dtype: torch.dtype) -> None:
    """Scores are rounded once, as a model's own are; losses and gradients are summed in single precision."""
    exact, half = Case(9, 20, 12), Case(9, 20, 12, dtype)
    for one, other in zip(exact.leaves(), half.leaves(), strict=True):
        one.data.copy_(other.data)
    exact.teacher, exact.teacher_weight = half.teacher.double().detach(), half.teacher_weight.double().detach()
    made = {name: exact.made(name)}
    factor = {name: 1e-5 / 9}
    wanted = torch.autograd.grad(exact.chunked(made, factor, 4), exact.leaves())
    if name.startswith("dense"):
        made = {name: half.made(name)}
    loss = half.chunked(made, factor, 4)
    assert loss.dtype == torch.float32
    found = torch.autograd.grad(loss, half.leaves())
    for one, other in zip(found, wanted, strict=True):
        # So small a factor would vanish in half precision (5.96e-8 is its least number) were gradients not scaled on their way.
        floor = 6e-8 if dtype == torch.float16 else 0.0
        assert (one.double() - other).abs().max() <= 0.05 * other.abs().max() + floor


def test_the_log_sum_exp_of_a_large_vocabulary_has_all_digits_of_single_precision() -> None:
    """Of bfloat16 inputs, against float64; the product is one number wide, so that it rounds nothing."""
    weight = torch.randn(150_000, 1, generator=torch.Generator().manual_seed(13)).mul_(3).bfloat16()
    hidden = torch.ones(2, 1, dtype=torch.bfloat16)
    exact = weight.double()[:, 0].logsumexp(0).item() - weight.double()[7, 0].item()
    found = head_loss(hidden, weight, None, {"hard": CrossEntropy(torch.arange(2), torch.tensor([7, 7]))}, {"hard": 0.5})
    assert found.total.dtype == torch.float32
    assert found.total.item() == pytest.approx(exact, rel=2e-7)


def test_under_autocast_products_are_in_its_type_and_sums_in_single() -> None:
    case = Case(6, 40, 14, torch.float32)
    made = {name: case.made(name) for name in TERMS}
    factors = dict.fromkeys(TERMS, 1.0)
    exact = torch.autograd.grad(case.chunked(made, factors, 4), case.leaves())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = case.chunked(made, factors, 4)
    assert loss.dtype == torch.float32
    for one, other in zip(torch.autograd.grad(loss, case.leaves()), exact, strict=True):
        assert one.dtype == torch.float32
        assert not torch.equal(one, other)
        assert (one - other).norm() < 0.05 * other.norm()


# --- vocabularies and refusals


def test_padding_of_the_head_takes_no_part() -> None:
    """Heads of 13 and 16 for 11 tokens: value and gradients are those of 11, and the padding's gradient is 0."""
    case = Case(6, 11, 15)
    names = ["hard, weighted and smoothed", "dense, jsd", "grammar", "unlikelihood"]
    made = {name: case.made(name) for name in names}
    exact = case.chunked(made, dict.fromkeys(names, 1.0), 4)
    slopes = torch.autograd.grad(exact, case.leaves())
    case.weight, case.bias = (
        torch.cat([x.detach(), torch.full((2, *x.shape[1:]), 9.0, dtype=x.dtype)]).requires_grad_()
        for x in (case.weight, case.bias)
    )
    padded = torch.cat([case.teacher_weight.detach(), torch.full((5, 3), 9.0, dtype=torch.float64)])
    terms: dict[str, HeadTerm] = {name: term for name, (term, _) in made.items()}
    terms["dense, jsd"] = DenseDivergence(case.rows, case.teacher, padded, 2.0, "jsd", 0.3)
    found = head_loss(*case.leaves(), terms, dict.fromkeys(names, 1.0), chunk=4, vocabulary=11).total
    torch.testing.assert_close(found, exact)
    for one, other in zip(torch.autograd.grad(found, case.leaves()), slopes, strict=True):
        torch.testing.assert_close(one[: len(other)], other)
        assert one[len(other) :].abs().sum() == 0
    with pytest.raises(BadInputError, match="tokenizer"):
        head_loss(*case.leaves(), terms, dict.fromkeys(names, 1.0))


def test_tokens_beyond_a_mask_are_forbidden() -> None:
    case = Case(2, 6, 16)
    narrow = GrammarMass(torch.arange(2), torch.zeros(2, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))
    found = head_loss(*case.leaves(), {"grammar": narrow}, {"grammar": 1.0}).total
    allowed = torch.tensor([[True] * 4 + [False] * 2] * 2)
    torch.testing.assert_close(found, format_penalty(case.logits(), allowed).total)


def test_a_mask_that_allows_nothing_is_infinite() -> None:
    """So that training stops there; its gradient would be that of no objective."""
    case = Case(2, 6, 16)
    none = GrammarMass(torch.arange(2), torch.zeros(2, dtype=torch.long), torch.zeros(1, 6, dtype=torch.bool))
    assert head_loss(*case.leaves(), {"grammar": none}, {"grammar": 1.0}).total.item() == math.inf


ZERO = torch.zeros(1, dtype=torch.long)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (CrossEntropy(ZERO, ZERO + 6), "outside the 6"),
        (CrossEntropy(ZERO, ZERO - 1), "outside the 6"),
        (CrossEntropy(ZERO, ZERO, smoothing=1.0), "smoothing"),
        (Unlikelihood(ZERO, ZERO + 6), "outside the 6"),
        (SparseDivergence(ZERO, ZERO[None] + 6, torch.zeros(1, 1), torch.zeros(1), 1.0), "outside the 6"),
        (SparseDivergence(ZERO, ZERO[None], torch.zeros(1, 1), torch.zeros(1), 0.0), "temperature"),
        (SparseDivergence(ZERO, ZERO[None], torch.zeros(1, 1), torch.zeros(1), 1.0, "jsd", 1.0), "beta"),
        (SampledDivergence(ZERO, ZERO[None] + 6, torch.ones(1, 1), 1.0), "outside the 6"),
        (DenseDivergence(ZERO, torch.zeros(1, 2), torch.zeros(5, 2), 1.0), "tokenizer"),
        (CrossEntropy(ZERO + 2, ZERO), "ascending"),
        (CrossEntropy(torch.tensor([1, 0]), torch.tensor([0, 0])), "ascending"),
    ],
)
def test_what_cannot_be_is_refused(term: HeadTerm, words: str) -> None:
    case = Case(2, 6, 17)
    with pytest.raises(BadInputError, match=words):
        head_loss(*case.leaves(), {"term": term}, {"term": 1.0})
    with pytest.raises(BadInputError, match="chunks"):
        head_loss(*case.leaves(), {}, {}, chunk=0)


def test_buffers_that_are_kept_are_given_again_and_others_never() -> None:
    like = torch.zeros(0, 3)
    for kept in (True, False):
        scratch = Scratch(2, 3, kept=kept)
        first = [scratch.of(2, like), scratch.of(1, like)]
        assert first[0].data_ptr() != first[1].data_ptr(), "both are in use"
        scratch.again()
        again = [scratch.of(1, like), scratch.of(2, like), scratch.of(5, like)]
        assert [len(x) for x in again] == [1, 2, 5]
        assert [a.data_ptr() == b.data_ptr() for a, b in zip(first, again, strict=False)] == [kept, kept]
