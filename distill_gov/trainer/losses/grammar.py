"""The format penalty: the student's mass outside what the schema's grammar allows."""

from __future__ import annotations

import torch

from distill_gov.trainer.losses.term import Term

__all__ = ["format_penalty"]


def format_penalty(logits: torch.Tensor, allowed: torch.Tensor) -> Term:
    """-log Z, Z the student's mass on what the grammar allows (``allowed``: bool, shape (positions, vocabulary)).

    It is KL(q restricted to the allowed || q): preferences among allowed tokens are left alone.
    """
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    inside = logits.masked_fill(~allowed, float("-inf")).logsumexp(1)
    return Term((logits.logsumexp(1) - inside).sum(), len(logits))
