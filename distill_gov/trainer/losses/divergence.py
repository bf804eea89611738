"""Soft targets: how far a student's distribution is from the teacher's."""

from __future__ import annotations

import torch

from distill_gov.trainer.losses.term import Term

__all__ = ["soft_targets"]


def soft_targets(
    logits: torch.Tensor, ids: torch.Tensor, logp: torch.Tensor, log_tail: torch.Tensor, temperature: float
) -> Term:
    """Forward KL from the teacher's top k and tail bucket to the student, times T squared (Hinton et al. 2015, section 2.1).

    The student's mass outside ``ids`` is one bucket against the teacher's tail. Where the teacher has no tail (its support is
    complete under the grammar) the bucket costs nothing by itself, but the mass in it is missing on the support.

    Args:
        logits: the student's, at temperature 1.
        ids, logp: the teacher's tokens and log-probabilities at ``temperature``, shape (positions, k).
        log_tail: log of the teacher's mass outside ``ids``, shape (positions,); ``-inf`` for none.
    """
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    scaled = logits / temperature
    whole = scaled.logsumexp(1)
    logq = scaled.gather(1, ids) - whole[:, None]
    present = torch.isfinite(logp)
    # 0 * inf is NaN in the backward pass even where the forward is masked, so absent entries get a finite stand-in first.
    gap = torch.where(present, logp - logq, torch.zeros_like(logp))
    inside = torch.where(present, logp.exp(), torch.zeros_like(logp)) * gap
    tailed = torch.isfinite(log_tail)
    log_rest = _outside(scaled[tailed], ids[tailed], present[tailed]) - whole[tailed]
    tail = log_tail[tailed].exp() * (log_tail[tailed] - log_rest)
    return Term((inside.sum() + tail.sum()) * temperature**2, len(logits))


def _outside(scaled: torch.Tensor, ids: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Log-sum-exp of the scores outside the support, shape (positions,).

    Summed over the tokens themselves: ``1 - mass`` would lose all its digits, and its gradient, where a student is sure.
    """
    support = torch.zeros_like(scaled, dtype=torch.bool)
    row, column = present.nonzero(as_tuple=True)
    support[row, ids[row, column]] = True
    return scaled.masked_fill(support, torch.finfo(scaled.dtype).min).logsumexp(1)
