"""Rows read out of weights that somebody else reads too: one gradient as large as the vocabulary, not one a reader.

Left to itself a lookup makes a gradient of its own, all zeros but for the rows that it read, only for the head's to be added.
Here it hands the weights on, and who reads them next takes them from there. So their gradient comes back through the lookup,
which adds its rows in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from distill_gov.trainer.supervised_head import forward_replaced, output_head

__all__ = ["look_up", "tied_lookup"]


def look_up(ids: torch.Tensor, weight: torch.Tensor, padding: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows ``ids`` of the weights, shape (*ids, width), and the weights as they are to be read from here on.

    Where they are not trained, or are in half precision, it is an ordinary lookup: added one by one, rows would lose digits.

    Args:
        padding: a row without gradient.
    """
    if not (torch.is_grad_enabled() and weight.requires_grad and weight.dtype == torch.float32):
        return torch.nn.functional.embedding(ids, weight, padding), weight
    rows, handed_on = _Lookup.apply(ids, weight, padding)  # type: ignore[no-untyped-call]
    return rows, handed_on


@contextmanager
def tied_lookup(model: Any) -> Iterator[Callable[[], torch.Tensor]]:
    """For one call of the model: its embeddings look up by :func:`look_up`, and its head has its weights from what this gives.

    Nothing changes where the two are not one, or where the lookup does more than look up.
    """
    embeddings: Any = model.get_input_embeddings()
    head: Any = output_head(model)
    if not _only_looks_up(embeddings) or getattr(head, "weight", None) is not embeddings.weight:
        yield lambda: head.weight
        return
    handed_on: list[torch.Tensor] = []

    def forward(ids: torch.Tensor) -> torch.Tensor:
        found, weight = look_up(ids, embeddings.weight, embeddings.padding_idx)
        handed_on[:] = [weight]
        return found

    with forward_replaced(embeddings, forward):
        # A model that was given its embeddings never looked up.
        yield lambda: handed_on[0] if handed_on else head.weight


def _only_looks_up(embeddings: Any) -> bool:
    if type(embeddings) is not torch.nn.Embedding or type(embeddings.weight) is not torch.nn.Parameter:
        return False
    return embeddings.max_norm is None and not embeddings.scale_grad_by_freq and not embeddings.sparse


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ids: torch.Tensor, weight: torch.Tensor, padding: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.ids, ctx.shape, ctx.padding = ids, weight.shape, padding
        ctx.set_materialize_grads(False)
        return torch.nn.functional.embedding(ids, weight), weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor | None, of_weight: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        if slope is None:
            return None, of_weight, None
        ids, rows = ctx.ids.flatten(), slope.flatten(0, -2)
        if ctx.padding is not None:
            rows = rows * (ids != ctx.padding)[:, None]
        # The head's gradient is nobody else's: its loss made it, and keeps no reference.
        gradient = rows.new_zeros(ctx.shape) if of_weight is None else of_weight
        # Unlike `index_add_` it has one order of summation on every device.
        return None, gradient.index_put_((ids,), rows, accumulate=True), None
