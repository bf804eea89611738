"""Weights that are input embeddings and output head at once: one gradient as large as the vocabulary, not two.

Left to itself the lookup makes a gradient of its own, all zeros but for the batch's tokens, only for the head's to be added.
Here the lookup hands the weights on, and the head takes them from there. So their gradient comes back through the lookup, which
adds its rows in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from distill_gov.trainer.supervised_head import output_head

__all__ = ["tied_lookup"]


@contextmanager
def tied_lookup(model: Any) -> Iterator[Callable[[], torch.Tensor]]:
    """For one call of the model, whose head asks for its weights by what this gives.

    Nothing else changes where the weights are not tied, not trained or not in single precision (adding rows one by one would
    lose digits in half), or where the lookup does more than look up.
    """
    embeddings: Any = model.get_input_embeddings()
    head: Any = output_head(model)
    if not torch.is_grad_enabled() or not _only_looks_up(embeddings) or getattr(head, "weight", None) is not embeddings.weight:
        yield lambda: head.weight
        return
    handed_on: list[torch.Tensor] = []

    def look_up(ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor
        found, weight = _Lookup.apply(ids, embeddings.weight, embeddings.padding_idx)  # type: ignore[no-untyped-call]
        handed_on[:] = [weight]
        return found

    former = embeddings.__dict__.get("forward")
    embeddings.forward = look_up
    try:
        # A model that was given its embeddings never looked up.
        yield lambda: handed_on[0] if handed_on else head.weight
    finally:
        if former is None:
            del embeddings.forward
        else:
            embeddings.forward = former


def _only_looks_up(embeddings: Any) -> bool:
    if type(embeddings) is not torch.nn.Embedding or embeddings.max_norm is not None or embeddings.scale_grad_by_freq:
        return False
    weight = embeddings.weight
    trained = type(weight) is torch.nn.Parameter and weight.requires_grad and weight.dtype == torch.float32
    return trained and not embeddings.sparse


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
