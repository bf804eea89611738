"""Hard labels: the likelihood of given tokens."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses.term import Term, weighted, widened

__all__ = ["cross_entropy", "unlikelihood"]


def cross_entropy(
    logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor | None = None, smoothing: float = 0.0
) -> Term:
    """Negative log-likelihood of the answer's own tokens, with label smoothing (Szegedy et al. 2016, section 7).

    Per position, (1 - e) (-log q(token)) + e mean_v(-log q(v)): the cross-entropy from the token with e of its mass spread
    evenly over the vocabulary. Not on top of soft targets, which smooth already.

    Args:
        logits: shape (n, vocabulary); finite where ``smoothing`` is above 0.
        tokens: shape (n,).
        weights: of the positions, shape (n,), none negative. Their sum is the count; without them every position counts 1.
        smoothing: e.

    Raises:
        BadInputError: ``smoothing`` is not in [0, 1).
    """
    if not 0 <= smoothing < 1:
        raise BadInputError(f"label smoothing of {smoothing} is not in [0, 1)")
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    logits = widened(logits)
    aim = logits.gather(1, tokens[:, None])[:, 0]
    if smoothing:
        aim = (1 - smoothing) * aim + smoothing * logits.mean(1)
    return weighted(logits.logsumexp(1) - aim, weights)


def unlikelihood(logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor | None = None) -> Term:
    """-log(1 - q(token)) of tokens that should not have been said (Welleck et al. 2020, its token-level loss).

    Here: the first token of an answer of the student's own that its grammar refused. Computed as softplus(z - log sum exp of
    the other logits), which keeps value and gradient where q is so near to 1 that 1 - q has no digits.

    Args:
        logits: shape (n, vocabulary), of a vocabulary of at least two.
        tokens, weights: as for :func:`cross_entropy`.
    """
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    logits = widened(logits)
    others = logits.scatter(1, tokens[:, None], float("-inf")).logsumexp(1)
    return weighted(softplus(logits.gather(1, tokens[:, None])[:, 0] - others), weights)
