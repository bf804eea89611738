"""Distillation objectives as pure functions. Each returns a sum over positions and a count; one function normalises.

Shapes: ``logits`` (positions, vocabulary); ``ids`` and ``logp`` (positions, k), padded with ``-inf`` log-probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Term", "brier", "cross_entropy", "format_penalty", "normalised", "soft_targets"]


@dataclass(frozen=True, slots=True)
class Term:
    """A loss summed over positions, and how many positions."""

    total: torch.Tensor
    count: int


def normalised(term: Term, count: int | torch.Tensor | None = None) -> torch.Tensor:
    """Mean over positions. ``count``: that of the whole optimiser step, where a batch is only a part of it.

    An empty term is 0 with a live graph, so that a batch without such positions neither fails nor gives NaN.
    """
    divisor = term.count if count is None else count
    return term.total / max(float(divisor), 1.0)


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


def cross_entropy(logits: torch.Tensor, tokens: torch.Tensor) -> Term:
    """Negative log-likelihood of the answer's own tokens, shape (positions,)."""
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    return Term((logits.logsumexp(1) - logits.gather(1, tokens[:, None])[:, 0]).sum(), len(logits))


def format_penalty(logits: torch.Tensor, allowed: torch.Tensor) -> Term:
    """-log Z, Z the student's mass on what the grammar allows (``allowed``: bool, shape (positions, vocabulary)).

    It is KL(q restricted to the allowed || q): preferences among allowed tokens are left alone.
    """
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    inside = logits.masked_fill(~allowed, float("-inf")).logsumexp(1)
    return Term((logits.logsumexp(1) - inside).sum(), len(logits))


def brier(logits: torch.Tensor, ids: torch.Tensor, target: torch.Tensor) -> Term:
    """Brier score of a decision's labels (Brier 1950), the student's mass renormalised over the labels' tokens.

    A proper score: it is least where the student's confidence is right, which makes it a calibration term that trains.

    Args:
        ids: tokens of the labels, shape (decisions, k), padded where ``target`` is negative.
        target: probability of each label, shape (decisions, k).
    """
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    present = target >= 0
    scores = logits.gather(1, ids).masked_fill(~present, float("-inf"))
    gap = torch.where(present, scores.softmax(1) - target, torch.zeros_like(target))
    return Term((gap**2).sum(), len(logits))
