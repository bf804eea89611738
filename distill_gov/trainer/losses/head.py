"""The language-model head and every term that reads its logits, in one pass that never holds them all.

A head's logits are by far the largest tensor of a training step: positions x vocabulary, and autograd keeps several of them.
Here a chunk of positions is scored, every term adds what it costs and its gradient with respect to those scores, both in
closed form, and that gradient is at once multiplied through the head. What is kept are the gradients of the hidden states and
of the head's weights (these only where they train), as in Liger's fused losses (Hsu et al. 2024), but without compiled
kernels: the same code runs on every device.

Every term is a function of few numbers of a row: scores picked at given tokens, and the log-sum-exp of all scores, of those
outside a support, or of those inside a mask. So its gradient is a scatter at the tokens plus a softmax over such a set, times
a number.

Gradients are computed with the value: there is no second derivative, and backward runs once a call.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses.block import At, Block, Scratch, bucketed, closed_form, exponentials, places
from distill_gov.trainer.losses.divergence import (
    LEAST,
    Kind,
    at_least_float,
    check_divergence,
    check_ids,
    shared_vocabulary,
)

__all__ = [
    "CrossEntropy",
    "DenseDivergence",
    "GrammarMass",
    "HeadLoss",
    "HeadTerm",
    "SampledDivergence",
    "SparseDivergence",
    "Unlikelihood",
    "head_loss",
]

WORKED_ON = 2**19
"""Scores of a chunk that the terms work on at a time, on a CPU: what they write beside them then stays in its cache."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadTerm(ABC):
    """A term of the objective that reads the head's logits.

    ``rows``, shape (n,), ascending: which position each of its n entries is about.
    """

    rows: torch.Tensor

    @property
    def count(self) -> float:
        """How many entries, or how much weight of them: what the sum is to be divided by."""
        return float(len(self.rows))

    def check(self, vocabulary: int) -> None:  # noqa: B027
        """Refuse what cannot be computed over so many tokens (BadInputError)."""

    @abstractmethod
    def add(self, block: Block, part: slice, at: At, factor: float) -> torch.Tensor:
        """Add ``factor`` times the gradient of the entries ``part``, which lie ``at`` rows of the block; return their sum."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossEntropy(HeadTerm):
    """Negative log-likelihood of given tokens; ``smoothing`` e: (1 - e) of it plus e times the mean over all tokens.

    Szegedy et al. 2016. A token that cannot be (``-inf``) takes no part in that mean.
    """

    tokens: torch.Tensor
    weights: torch.Tensor | None = None
    smoothing: float = 0.0

    @property
    def count(self) -> float:
        return float(len(self.rows)) if self.weights is None else float(self.weights.sum())

    def check(self, vocabulary: int) -> None:
        check_ids(self.tokens, vocabulary)
        if not 0 <= self.smoothing < 1:
            raise BadInputError(f"label smoothing of {self.smoothing}", fix="It lies between 0 and 1.")

    def add(self, block: Block, part: slice, at: At, factor: float) -> torch.Tensor:
        z, tokens = block.scores[at], self.tokens[part, None]
        value = block.whole[at] - (1 - self.smoothing) * z.gather(1, tokens)[:, 0]
        weight = torch.ones_like(value) if self.weights is None else self.weights[part].to(value.dtype)
        if self.smoothing:
            possible = z > LEAST
            share = self.smoothing / possible.sum(1, dtype=z.dtype)
            value = value - share * z.masked_fill(~possible, 0.0).sum(1)
            block.add(at, possible * (-factor * weight * share)[:, None])
        block.add_softmax(at, factor * weight)
        block.add_picked(at, tokens, (-factor * (1 - self.smoothing) * weight)[:, None])
        return (weight * value).sum()


@dataclass(frozen=True, slots=True, eq=False)
class SparseDivergence(HeadTerm):
    """From the teacher's top k and a tail bucket: :func:`~distill_gov.trainer.losses.divergence.sparse_divergence`."""

    ids: torch.Tensor
    logp: torch.Tensor
    log_tail: torch.Tensor
    temperature: float
    kind: Kind = "forward_kl"
    beta: float = 0.5

    def check(self, vocabulary: int) -> None:
        check_divergence(self.temperature, self.kind, self.beta)
        check_ids(self.ids, vocabulary)

    def add(self, block: Block, part: slice, at: At, factor: float) -> torch.Tensor:
        scaled = block.own(at, self.temperature)
        target = torch.cat([self.logp[part], self.log_tail[part, None]], 1).to(scaled.dtype)
        ids, present = self.ids[part], torch.isfinite(target[:, :-1])
        taught = torch.isfinite(target).any(1)
        scores, outside, mass = bucketed(scaled, ids, present)
        values, slope = closed_form(target, scores.log_softmax(1), self.kind, self.beta)
        slope.mul_(factor * self.temperature).mul_(taught[:, None])
        block.add(at, outside.mul_((slope[:, -1] / mass)[:, None]))
        block.add_picked(at, ids, slope[:, :-1])
        return (values * taught).sum() * self.temperature**2


@dataclass(frozen=True, slots=True, eq=False)
class SampledDivergence(HeadTerm):
    """From a sample of the teacher's tokens: :func:`~distill_gov.trainer.losses.divergence.sampled_divergence`."""

    ids: torch.Tensor
    weights: torch.Tensor
    temperature: float

    def check(self, vocabulary: int) -> None:
        check_divergence(self.temperature, "forward_kl", 0.5)
        check_ids(self.ids, vocabulary)

    def add(self, block: Block, part: slice, at: At, factor: float) -> torch.Tensor:
        scaled = block.own(at, self.temperature)
        ids, weights = self.ids[part], self.weights[part].to(scaled.dtype)
        picked = scaled.gather(1, ids)
        whole, shares, mass = exponentials(scaled)
        logq = (picked - whole[:, None]).clamp(min=LEAST)
        slope = factor * self.temperature
        block.add(at, shares.mul_((slope * weights.sum(1) / mass)[:, None]))
        block.add_picked(at, ids, -slope * weights)
        return (weights * (weights.log().clamp(min=LEAST) - logq)).sum() * self.temperature**2


@dataclass(frozen=True, slots=True, eq=False)
class DenseDivergence(HeadTerm):
    """From a teacher that is there: :func:`~distill_gov.trainer.losses.divergence.dense_divergence`.

    ``hidden`` (n, its width) are its last hidden states at the entries, ``weight`` (vocabulary, its width) its head. Its
    scores, too, exist only for a chunk at a time. It gets no gradient.
    """

    hidden: torch.Tensor
    weight: torch.Tensor
    temperature: float
    kind: Kind = "forward_kl"
    beta: float = 0.5

    def check(self, vocabulary: int) -> None:
        check_divergence(self.temperature, self.kind, self.beta)

    def add(self, block: Block, part: slice, at: At, factor: float) -> torch.Tensor:
        scaled = block.own(at, self.temperature), block.teacher.div_(self.temperature)
        logq, logp = (x.sub_(exponentials(block.room(x).copy_(x))[0][:, None]) for x in scaled)
        values, slope = closed_form(logp, logq, self.kind, self.beta, block.room)
        block.add(at, slope.mul_(factor * self.temperature))
        return values.sum() * self.temperature**2


@dataclass(frozen=True, slots=True, eq=False)
class GrammarMass(HeadTerm):
    """-log Z, Z the student's mass on what the grammar allows: KL(q restricted to the allowed || q).

    ``table`` (masks, vocabulary), bool, holds the masks and ``index`` (n,) says which is an entry's. Tokens beyond the table's
    width are forbidden. A mask that allows nothing costs infinity, which stops the training.
    """

    index: torch.Tensor
    table: torch.Tensor

    def add(self, block: Block, part: slice, at: At, factor: float) -> torch.Tensor:
        z = block.own(at)
        allowed = self.table[self.index[part].to(self.table.device)][:, : z.shape[1]].to(z.device)
        z[:, allowed.shape[1] :] = -math.inf
        z[:, : allowed.shape[1]].masked_fill_(~allowed, -math.inf)
        inside, shares, mass = exponentials(z)
        block.add_softmax(at, torch.full_like(inside, factor))
        block.add(at, shares.mul_((-factor / mass)[:, None]))
        inside = inside.masked_fill(inside <= LEAST, -math.inf)
        return (block.whole[at] - inside).sum()


@dataclass(frozen=True, slots=True, eq=False)
class Unlikelihood(HeadTerm):
    """-log(1 - q(token)) of tokens that should not be (Welleck et al. 2020)."""

    tokens: torch.Tensor

    def check(self, vocabulary: int) -> None:
        check_ids(self.tokens, vocabulary)

    def add(self, block: Block, part: slice, at: At, factor: float) -> torch.Tensor:
        tokens = self.tokens[part, None]
        # The others are summed themselves: 1 - q has no digits where it matters most.
        scores, outside, mass = bucketed(block.own(at), tokens, torch.ones_like(tokens, dtype=torch.bool))
        logq = scores.log_softmax(1)
        slope = factor * logq[:, 0].exp()
        block.add(at, outside.mul_((-slope / mass)[:, None]))
        block.add_picked(at, tokens, slope[:, None])
        return -logq[:, 1].sum()


@dataclass(frozen=True, slots=True)
class HeadLoss:
    """``total``: the weighted sum, differentiable. ``sums``: every term's own, for the log."""

    total: torch.Tensor
    sums: dict[str, torch.Tensor]


def head_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    terms: Mapping[str, HeadTerm],
    factors: Mapping[str, float],
    *,
    chunk: int = 256,
    vocabulary: int | None = None,
) -> HeadLoss:
    """Score positions and sum every term over its entries; differentiable, once, by hidden states, weights and bias.

    Scores are in single precision at least, whatever the inputs are in; under autocast the products are in its type. Beside the
    inputs and their gradients it holds one chunk of scores (two with :class:`DenseDivergence`). No term or no position: 0,
    with a live graph.

    Args:
        hidden: last hidden states at the positions, shape (positions, width).
        weight, bias: the head's, of shapes (vocabulary, width) and (vocabulary,).
        factors: of each term; what its sum counts in ``total``. That is its weight by the count over the whole optimiser step.
        chunk: positions scored at a time; never more than that. Each reads the whole head and its gradient, so small ones
            cost time (128 took a tenth more than 256 at 151,936 tokens), and large ones memory.
        vocabulary: tokens that exist; those beyond, with which heads are padded, take no part. Default: all.

    Raises:
        BadInputError: rows that are not ascending positions, ids outside the vocabulary, a teacher's head of another width and
            no ``vocabulary``, or another parameter out of its range.
    """
    if chunk < 1:
        raise BadInputError(f"chunks of {chunk} positions", fix="Take at least 1.")
    width = shared_vocabulary(len(weight), len(weight), vocabulary)
    for name, term in terms.items():
        _check_rows(name, term.rows, len(hidden))
        term.check(width)
        if isinstance(term, DenseDivergence):
            shared_vocabulary(len(weight), len(term.weight), vocabulary)
    plan = _Plan(terms, [float(factors[name]) for name in terms], chunk, width, torch.is_grad_enabled())
    total, sums = _FusedHead.apply(hidden, weight, bias, plan)  # type: ignore[no-untyped-call]
    return HeadLoss(total, dict(zip(terms, sums.unbind(), strict=True)))


def _check_rows(name: str, rows: torch.Tensor, positions: int) -> None:
    if len(rows) and not (int(rows[0]) >= 0 and int(rows[-1]) < positions and bool((rows[1:] >= rows[:-1]).all())):
        raise BadInputError(f"rows of a term are not ascending within {positions} positions", where=f"term `{name}`")


# --- chunks


@dataclass(frozen=True, slots=True)
class _Plan:
    terms: Mapping[str, HeadTerm]
    factors: Sequence[float]
    chunk: int
    vocabulary: int
    with_gradient: bool


class _FusedHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, plan: _Plan
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = [plan.with_gradient and needed for needed in ctx.needs_input_grad[:3]]
        kind = hidden.device.type
        dtype = torch.promote_types(hidden.dtype, weight.dtype)
        if torch.is_autocast_enabled(kind) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(kind)
        with torch.autocast(kind, enabled=False):
            head = _Head(hidden.to(dtype), weight[: plan.vocabulary].to(dtype), bias, wanted, len(weight))
            sums = _all_chunks(head, plan)
        total = sums.new_zeros(())
        for factor, value in zip(plan.factors, sums, strict=True):
            # A term that counts nothing stays out of the total even where it is infinite.
            total = total + factor * value if factor else total
        kept = zip((head.hidden_grad, head.weight_grad, head.bias_grad), (hidden, weight, bias), strict=True)
        ctx.gradients = [None if found is None or of is None else found.to(of.dtype) for found, of in kept]
        ctx.mark_non_differentiable(sums)
        return total, sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("head_loss keeps its gradients for one backward pass; call it again for another")
        gradients, ctx.gradients = ctx.gradients, None
        if slope.device.type == "cpu" and slope.item() == 1.0:
            return (*gradients, None)
        # In place, and no reference kept: the head's gradient is as large as the head, and need not exist twice.
        return (*(None if g is None else g.mul_(slope.to(g.dtype)) for g in gradients), None)


class _Head:
    """The head in the type its products have, and the gradients as they add up."""

    def __init__(
        self, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, wanted: Sequence[bool], rows: int
    ) -> None:
        self.hidden, self.weight, self.bias = hidden, weight, bias
        self.dtype = torch.promote_types(hidden.dtype, torch.float32)

        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=self.dtype, device=hidden.device)

        self.hidden_grad = zeros(*hidden.shape) if wanted[0] else None
        # Nothing is in it before the first product: to fill so much with zeros takes time.
        self.weight_grad = hidden.new_empty(rows, weight.shape[1], dtype=self.dtype) if wanted[1] else None
        self.bias_grad = zeros(rows) if wanted[2] else None
        self._begun = False

    def scores(self, rows: slice, scratch: Scratch) -> torch.Tensor:
        scores = _scored(self.hidden[rows], self.weight, scratch)
        return scores if self.bias is None else scores.add_(self.bias[: len(self.weight)].to(self.dtype))

    def take(self, rows: slice, slope: torch.Tensor) -> None:
        """Multiply the gradient of the scores of these positions through the head."""
        if self.bias_grad is not None:
            self.bias_grad[: len(self.weight)] += slope.sum(0)
        scale = None
        if self.hidden.dtype != self.dtype:
            # Half precision has no numbers as small as a softmax over many tokens, so the largest is brought to 1.
            scale = slope.abs().amax().clamp_(min=torch.finfo(self.dtype).tiny)
            slope = slope.div_(scale).to(self.hidden.dtype)
        if self.hidden_grad is not None:
            _add_product(self.hidden_grad[rows], slope, self.weight, scale, first=True)
        if self.weight_grad is not None:
            _add_product(self.weight_grad[: len(self.weight)], slope.t(), self.hidden[rows], scale, first=not self._begun)
        self._begun = True

    def finish(self) -> None:
        """What no position reached has no gradient."""
        if self.weight_grad is not None:
            self.weight_grad[len(self.weight) if self._begun else 0 :] = 0.0


def _add_product(into: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor | None, *, first: bool) -> None:
    """Add the product; ``first``: nothing is there to add it to."""
    if scale is None:
        into.addmm_(a, b, beta=0 if first else 1)
    elif first:
        torch.mul((a @ b).to(into.dtype), scale, out=into)
    else:
        into.add_((a @ b).to(into.dtype).mul_(scale))


def _scored(hidden: torch.Tensor, weight: torch.Tensor, scratch: Scratch) -> torch.Tensor:
    if torch.promote_types(hidden.dtype, torch.float32) != hidden.dtype:
        return at_least_float(hidden @ weight.t())
    return torch.mm(hidden, weight.t(), out=scratch.of(len(hidden), hidden))


def _all_chunks(head: _Head, plan: _Plan) -> torch.Tensor:
    """Sums of the terms; the gradients are added up in ``head``."""
    positions, names = len(head.hidden), list(plan.terms)
    chunk = min(plan.chunk, max(1, positions))
    sums = torch.zeros(len(names), dtype=head.dtype, device=head.hidden.device)
    on_cpu = head.hidden.device.type == "cpu"
    step = max(1, min(chunk, WORKED_ON // max(1, plan.vocabulary))) if on_cpu else chunk
    # Elsewhere a block is a whole chunk, and what is freed stays at hand: a term's tensors need not wait for the others.
    of_chunk, of_block = Scratch(chunk, plan.vocabulary, kept=True), Scratch(step, plan.vocabulary, kept=on_cpu)
    chunks = [list(range(start, min(start + chunk, positions), step)) for start in range(0, positions, chunk)]
    edges = [*(edge for starts in chunks for edge in starts), positions]
    # For every term: which of its entries lie before each edge. One reading for all chunks, since a device must be waited for.
    entries = {name: _before(term.rows, edges) for name, term in plan.terms.items()}
    first = 0
    for starts in chunks:
        last = first + len(starts)
        rows = slice(edges[first], edges[last])
        parts = {name: slice(counts[first], counts[last]) for name, counts in entries.items()}
        if any(part.start < part.stop for part in parts.values()):
            of_chunk.again()
            scores = head.scores(rows, of_chunk)
            teachers = {
                name: _teacher_scores(term, parts[name], plan.vocabulary, of_chunk, head.dtype)
                for name, term in plan.terms.items()
                if isinstance(term, DenseDivergence)
            }
            for i in range(first, last):
                block = Block(scores[edges[i] - rows.start : edges[i + 1] - rows.start], of_block)
                for j, name in enumerate(names):
                    part = slice(entries[name][i], entries[name][i + 1])
                    if part.start == part.stop:
                        continue
                    if name in teachers:
                        block.teacher = teachers[name][part.start - parts[name].start : part.stop - parts[name].start]
                    at = places(plan.terms[name].rows[part] - edges[i], scores.device)
                    sums[j] += plan.terms[name].add(block, part, at, plan.factors[j])
                block.finish()
            head.take(rows, scores)
        first = last
    head.finish()
    return sums


def _before(rows: torch.Tensor, edges: Sequence[int]) -> list[int]:
    found: list[int] = torch.searchsorted(rows, torch.tensor(edges, dtype=rows.dtype, device=rows.device)).tolist()
    return found


def _teacher_scores(term: DenseDivergence, part: slice, vocabulary: int, scratch: Scratch, dtype: torch.dtype) -> torch.Tensor:
    with torch.no_grad():
        return _scored(term.hidden[part], term.weight[:vocabulary].to(term.hidden.dtype), scratch).to(dtype)
