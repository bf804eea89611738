"""What a term of the objective comes to, and the one place where it is divided by anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Term", "normalised", "weighted", "widened"]


@dataclass(frozen=True, slots=True)
class Term:
    """A loss summed over positions, and how many positions, or how much weight of them."""

    total: torch.Tensor
    count: float


def normalised(term: Term, count: float | torch.Tensor | None = None) -> torch.Tensor:
    """Mean over positions. ``count``: that of the whole optimiser step, where a batch is only a part of it.

    An empty term is 0 with a live graph, so that a batch without such positions neither fails nor gives NaN.
    """
    divisor = float(term.count if count is None else count)
    return term.total / (divisor if divisor > 0 else 1.0)


def widened(values: torch.Tensor) -> torch.Tensor:
    """The values in float32 where they are narrower: a sum of exponentials in bfloat16 has two or three digits."""
    return values.float() if torch.finfo(values.dtype).bits < 32 else values


def weighted(losses: torch.Tensor, weights: torch.Tensor | None) -> Term:
    """Losses of positions, shape (n,), as a term: their weighted sum, and the sum of the weights."""
    if weights is None:
        return Term(losses.sum(), len(losses))
    return Term((losses * weights.to(losses)).sum(), float(weights.sum()))
