"""Hard labels: the likelihood of given tokens."""

from __future__ import annotations

import torch

from distill_gov.trainer.losses.term import Term

__all__ = ["cross_entropy"]


def cross_entropy(logits: torch.Tensor, tokens: torch.Tensor) -> Term:
    """Negative log-likelihood of the answer's own tokens, shape (positions,)."""
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    return Term((logits.logsumexp(1) - logits.gather(1, tokens[:, None])[:, 0]).sum(), len(logits))
