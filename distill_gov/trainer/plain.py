"""The head's terms on logits that are there already, by autograd: for models that change their logits behind the head."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from distill_gov.trainer.losses import head as fused
from distill_gov.trainer.losses.divergence import soft_targets
from distill_gov.trainer.losses.grammar import format_penalty

__all__ = ["plain_loss"]


def plain_loss(
    logits: torch.Tensor,
    terms: Mapping[str, fused.HeadTerm],
    factors: Mapping[str, float],
    *,
    vocabulary: int | None = None,
) -> fused.HeadLoss:
    """What :func:`distill_gov.trainer.losses.head.head_loss` gives, of logits (positions, vocabulary)."""
    wide = logits[:, :vocabulary].float()
    total = wide.sum() * 0.0
    sums = {}
    for name, term in terms.items():
        value = _sum(wide[term.rows], term)
        total = total + factors[name] * value
        sums[name] = value.detach()
    return fused.HeadLoss(total, sums)


def _sum(z: torch.Tensor, term: fused.HeadTerm) -> torch.Tensor:
    match term:
        case fused.CrossEntropy():
            nll = z.logsumexp(1) - z.gather(1, term.tokens[:, None])[:, 0]
            if term.smoothing:
                nll = (1 - term.smoothing) * nll + term.smoothing * (z.logsumexp(1) - z.mean(1))
            return (nll if term.weights is None else nll * term.weights).sum()
        case fused.SparseDivergence():
            return soft_targets(z, term.ids, term.logp, term.log_tail, term.temperature).total
        case fused.GrammarMass():
            return format_penalty(z, term.table[term.index][:, : z.shape[1]]).total
        case fused.Unlikelihood():
            return -torch.log(-torch.expm1(z.log_softmax(1).gather(1, term.tokens[:, None])[:, 0])).sum()
        case fused.ConfidencePenalty():
            logp = z.log_softmax(1)
            return (logp.exp() * logp).sum()
        case fused.DenseDivergence():
            aim = (term.hidden @ term.weight.T)[:, : z.shape[1]].float() / term.temperature
            p, logq = aim.log_softmax(1), (z / term.temperature).log_softmax(1)
            return (p.exp() * (p - logq)).sum() * term.temperature**2
        case _:
            raise NotImplementedError(type(term).__name__)
