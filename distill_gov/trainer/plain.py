"""The head's terms on logits that are there already, by autograd: for models that change their logits behind the head."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from distill_gov.trainer.losses import head as fused
from distill_gov.trainer.losses.divergence import dense_divergence, sampled_divergence, sparse_divergence
from distill_gov.trainer.losses.grammar import format_penalty
from distill_gov.trainer.losses.likelihood import cross_entropy, unlikelihood

__all__ = ["plain_loss"]


def plain_loss(
    logits: torch.Tensor,
    terms: Mapping[str, fused.HeadTerm],
    factors: Mapping[str, float],
    *,
    vocabulary: int | None = None,
) -> fused.HeadLoss:
    """What :func:`distill_gov.trainer.losses.head.head_loss` gives, of logits (positions, vocabulary)."""
    wide = logits[:, :vocabulary]
    total = wide.float().sum() * 0.0 if not terms else wide.new_zeros((), dtype=torch.float32)
    sums = {}
    for name, term in terms.items():
        value = _sum(wide[term.rows], term)
        total = total + factors[name] * value
        sums[name] = value.detach()
    return fused.HeadLoss(total, sums)


def _sum(z: torch.Tensor, term: fused.HeadTerm) -> torch.Tensor:
    match term:
        case fused.CrossEntropy():
            return cross_entropy(z, term.tokens, term.weights, term.smoothing).total
        case fused.SparseDivergence():
            return sparse_divergence(z, term.ids, term.logp, term.log_tail, term.temperature, term.kind, term.beta).total
        case fused.SampledDivergence():
            return sampled_divergence(z, term.ids, term.weights, term.temperature).total
        case fused.DenseDivergence():
            teacher = torch.nn.functional.linear(term.hidden, term.weight[: z.shape[1]])
            return dense_divergence(z, teacher, term.temperature, term.kind, term.beta).total
        case fused.GrammarMass():
            return format_penalty(z, term.table[term.index.to(term.table.device)].to(z.device)).total
        case fused.Unlikelihood():
            return unlikelihood(z, term.tokens).total
        case _:
            raise NotImplementedError(f"no dense form of {type(term).__name__}")
