"""The output head, made to work on supervised positions alone and inside the model's own forward.

The model is called as it is, with whatever is wrapped around it (DDP, FSDP): gradients are reduced, and a sharded head is
gathered, exactly when its own forward would have been.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["forward_replaced", "head_is_last", "head_on", "head_replaced", "output_head"]

_AFTER_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier_scale")
"""Settings with which families of models change their logits behind the head (Gemma 2, Cohere, Granite, Falcon-H1)."""


def output_head(model: Any) -> torch.nn.Module:
    """The module that makes logits of hidden states."""
    head = model.get_output_embeddings()
    assert isinstance(head, torch.nn.Module)
    return head


def head_is_last(model: Any) -> bool:
    """Whether the logits are the head's product and nothing else, so that a loss can take the head's place."""
    head = output_head(model)
    # A subclass (an adapter, a quantised layer) multiplies by more than its weight.
    if type(head) is not torch.nn.Linear:
        return False
    return all(getattr(model.config.get_text_config(), name, None) in (None, 1, 1.0) for name in _AFTER_THE_HEAD)


@contextmanager
def head_replaced(model: Any, instead: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """For one call: the head gives ``instead(hidden)``, which stands where the model's output has its logits."""
    with forward_replaced(output_head(model), instead):
        yield


@contextmanager
def forward_replaced(module: torch.nn.Module, instead: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """For as long as this is open: another forward. The one that the module was given before comes back at the end."""
    former = module.__dict__.get("forward")
    module.forward = instead
    try:
        yield
    finally:
        if former is None:
            del module.forward
        else:
            module.forward = former


@contextmanager
def head_on(model: Any, places: torch.Tensor) -> Iterator[None]:
    """For one call: the head sees only the given (row, position) pairs; its logits are of shape (1, pairs, vocabulary)."""

    def select(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0][places[:, 0], places[:, 1]].unsqueeze(0), *inputs[1:])

    handle = output_head(model).register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
