"""Rows that a model runs together: their cache, their padding, their positions, and the output head where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from evals.models.attention import SharedPrefix

__all__ = ["Batch", "lay_out", "plain_head"]

ROOM = 48
"""Tokens that a row's cache can take before it is copied to a longer one."""


def lay_out(model: PreTrainedModel) -> None:
    """Store the weights of linear layers column by column; their values and shapes stay.

    On a CPU a product with few rows, as in every step of decoding, is then up to twice as fast: MKL reads the weights as they
    stand, where it would first bring them into this order.
    """
    if model.device.type != "cpu" or model.training:
        return
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module.weight.is_contiguous():
            module.weight.data = module.weight.data.t().contiguous().t()


def plain_head(model: PreTrainedModel) -> torch.nn.Linear | None:
    """The output head, if the model's logits are nothing but its product with the last hidden states; else None.

    Some families cap or scale their logits after the head: whether this one does is tried out on two tokens.
    """
    head, base = model.get_output_embeddings(), model.base_model  # type: ignore[no-untyped-call]
    if not isinstance(head, torch.nn.Linear) or base is model:
        return None
    probe = torch.tensor([[0, 1]], device=model.device)
    with torch.inference_mode():
        states = base(input_ids=probe, use_cache=False).last_hidden_state
        return head if torch.equal(head(states), model(input_ids=probe, use_cache=False).logits) else None


class _RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values in buffers with room: new ones are written in place, where the parent copies all that came before."""

    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._buffers is None or self._buffers[0].shape[-2] < end:
            self._buffers = (self._longer(self.keys, key_states, end), self._longer(self.values, value_states, end))
        keys, values = self._buffers
        keys[:, :, start:end], values[:, :, start:end] = key_states, value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    @staticmethod
    def _longer(held: torch.Tensor | None, new: torch.Tensor, end: int) -> torch.Tensor:
        buffer = new.new_empty(*new.shape[:2], end + ROOM, new.shape[3])
        if held is not None and held.numel():
            buffer[:, :, : held.shape[-2]] = held
        return buffer

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self._buffers = None


class Batch:
    """Rows that are decoded together.

    Args:
        shared: a prefix that stands before every row.
        pad: id of the token that fills a row up.
        head: of :func:`plain_head`. Without it the model's own logits are taken at every position, whatever is asked of them.
    """

    def __init__(
        self, model: PreTrainedModel, shared: SharedPrefix | None, pad: int, head: torch.nn.Linear | None = None
    ) -> None:
        self.model, self.shared, self.pad, self.head = model, shared, pad, head
        self.offset = len(shared.tokens) if shared else 0
        self.cache = Cache(layer_class_to_replicate=_RoomyLayer)
        self.mask: torch.Tensor | None = None

    def feed(self, rows: Sequence[Sequence[int]], *, keep: int) -> torch.Tensor:
        """Add tokens to each row (ragged, left-padded) and return logits of the last ``keep`` positions."""
        return self.logits(self.states(rows, keep=keep))

    def states(self, rows: Sequence[Sequence[int]], *, keep: int) -> torch.Tensor:
        """Add tokens to each row and return what :meth:`logits` takes, of the last ``keep`` positions: (rows, keep, width)."""
        if self.head is None:
            logits: torch.Tensor = self._run(self.model, rows, logits_to_keep=keep).logits
            return logits
        states: torch.Tensor = self._run(self.model.base_model, rows).last_hidden_state
        return states[:, -keep:]

    def logits(self, states: torch.Tensor, tokens: Sequence[int] | None = None) -> torch.Tensor:
        """Logits (..., vocabulary) of some states, or (..., tokens) of some tokens alone."""
        if self.head is None:
            return states if tokens is None else states[..., list(tokens)]
        if tokens is None:
            found: torch.Tensor = self.head(states)
            return found
        index = torch.tensor(tokens, device=states.device)
        bias = None if self.head.bias is None else self.head.bias[index]
        return torch.nn.functional.linear(states, self.head.weight[index], bias)

    def feed_and_look(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Add tokens and return, of the last position, the logits (rows, vocabulary) and the hidden state that the output
        head sees (rows, width)."""
        if self.head is None:
            out = self._run(self.model, rows, logits_to_keep=1, output_hidden_states=True)
            return out.logits[:, -1], out.hidden_states[-1][:, -1]
        states = self.states(rows, keep=1)[:, -1]
        return self.logits(states), states

    def _run(self, model: Any, rows: Sequence[Sequence[int]], **asked: Any) -> Any:
        width = max(len(r) for r in rows)
        ids = torch.tensor([[self.pad] * (width - len(r)) + list(r) for r in rows])
        real = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
        before = torch.zeros(len(rows), 1, dtype=torch.long) if self.mask is None else self.mask.sum(1, keepdim=True)
        self.mask = real if self.mask is None else torch.cat([self.mask, real], 1)
        positions = (self.offset + before + real.cumsum(1) - 1).clamp_min(0)
        device = self.model.device
        extra = {"shared_prefix": self.shared} if self.shared else {}
        return model(
            input_ids=ids.to(device),
            attention_mask=self.mask.to(device),
            position_ids=positions.to(device),
            past_key_values=self.cache,
            use_cache=True,
            **extra,
            **asked,
        )

    def repeated(self, rows: Sequence[int]) -> Batch:
        """A batch of its own whose rows go on from these rows of this one; a row may stand there several times."""
        other = Batch(self.model, self.shared, self.pad, self.head)
        index = torch.tensor(rows)
        for number, layer in enumerate(cast("list[DynamicLayer]", self.cache.layers)):
            keys, values = cast(torch.Tensor, layer.keys), cast(torch.Tensor, layer.values)
            other.cache.update(keys[index.to(keys.device)], values[index.to(values.device)], number)
        other.mask = None if self.mask is None else self.mask[index]
        return other

    def forget(self, row: int, count: int) -> None:
        """Take back the last ``count`` tokens of a row: nothing will look at them, and the next ones take their positions."""
        if count and self.mask is not None:
            self.mask[row, -count:] = 0

    def keep_rows(self, rows: Sequence[int]) -> None:
        if rows and self.mask is not None:
            index = torch.tensor(rows)
            self.cache.batch_select_indices(index.to(self.model.device))
            self.mask = self.mask[index]
