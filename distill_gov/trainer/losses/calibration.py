"""Terms that train a decision's confidence."""

from __future__ import annotations

import torch

from distill_gov.trainer.losses.term import Term

__all__ = ["brier"]


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
