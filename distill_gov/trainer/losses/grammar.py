"""The format penalty: the student's mass outside what the schema's grammar allows."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses.term import Term, weighted, widened

__all__ = ["format_penalty", "structural_weights"]


def format_penalty(logits: torch.Tensor, allowed: torch.Tensor, weights: torch.Tensor | None = None) -> Term:
    """-log Z of each position, Z the student's mass on what the grammar allows after the tokens before.

    It is KL(q restricted to the allowed || q), the tax that decoding under the grammar takes (DCCD, arXiv 2603.03305). Its
    gradient is q - q restricted to the allowed and renormalised: with Z = sum of q over the allowed A,

        dL/dz_v = q_v - 1[v in A] q_v / Z = -q_v (1 - Z) / Z inside A, q_v outside,

    so the allowed ones grow in proportion: preferences among them are left alone. Computed as softplus(log-sum-exp of the
    forbidden - that of the allowed), which is never negative and keeps its digits where Z is nearly 1.

    Args:
        logits: shape (n, vocabulary).
        allowed: bool, shape (n, tokens of the tokenizer). Columns that the vocabulary was padded with may be missing: they
            are forbidden.
        weights: of the positions, shape (n,); see :func:`structural_weights`. Their sum is the count.

    Raises:
        BadInputError: a position allows no token, or one that the model does not have.
    """
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    logits, width = widened(logits), logits.shape[1]
    if allowed.shape[1] > width and bool(allowed[:, width:].any()):
        raise BadInputError(
            "the grammar allows tokens that the model does not have", fix="Use masks of the student's tokenizer."
        )
    allowed = torch.nn.functional.pad(allowed[:, :width], (0, width - min(width, allowed.shape[1])))
    if not bool(allowed.any(1).all()):
        raise BadInputError(
            "the grammar allows no token at a position", fix="Make the teaching set anew: its masks are damaged."
        )
    inside = logits.masked_fill(~allowed, float("-inf")).logsumexp(1)
    outside = logits.masked_fill(allowed, float("-inf")).logsumexp(1)
    return weighted(softplus(outside - inside), weights)


def structural_weights(popcounts: torch.Tensor, structure: float) -> torch.Tensor:
    """Weights of positions by how many tokens the grammar allows there: ``structure`` where it is one, 1 where there is a
    choice.

    Args:
        popcounts: tokens allowed at each position, shape (n,).
        structure: weight of a forced token; 0 leaves it to the grammar, where decoding is constrained.

    Raises:
        BadInputError: a position allows none, or the weight is negative.
    """
    if not structure >= 0:
        raise BadInputError(f"a weight of {structure} for forced tokens is negative")
    if bool((popcounts < 1).any()):
        raise BadInputError(
            "the grammar allows no token at a position", fix="Make the teaching set anew: its masks are damaged."
        )
    return torch.where(popcounts == 1, float(structure), 1.0)
