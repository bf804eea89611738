"""Attention over a prefix that a whole batch shares.

A long prompt before many short messages would be copied into every row's key/value cache and again at each decoding step.
Here the prefix's keys and values are kept once; each layer attends to them and to the row's own cache apart, and the two are
joined by their log-sum-exp, which is exact (the identity behind FlashAttention's blocks: Dao et al. 2022, arXiv 2205.14135,
section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import sdpa_mask

__all__ = ["NAME", "SharedPrefix", "encode_prefix"]

NAME = "shared_prefix"


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Keys and values of a prompt, one pair a layer, each of shape (key heads, prefix tokens, head size)."""

    tokens: tuple[int, ...]
    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]


def encode_prefix(model: PreTrainedModel, tokens: list[int]) -> SharedPrefix:
    """Run the prompt once and keep its keys and values."""
    cache = DynamicCache()
    with torch.inference_mode():
        model(input_ids=torch.tensor([tokens], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = [cast(DynamicLayer, layer) for layer in cache.layers]
    keys = [cast(torch.Tensor, layer.keys)[0].contiguous() for layer in layers]
    values = [cast(torch.Tensor, layer.values)[0].contiguous() for layer in layers]
    return SharedPrefix(tuple(tokens), tuple(keys), tuple(values))


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    shared_prefix: SharedPrefix | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    batch, heads, queries, size = query.shape
    groups = heads // key.shape[1]
    if shared_prefix is None:
        if attention_mask is not None:
            attention_mask = attention_mask[..., : key.shape[2]]
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling,
            is_causal=attention_mask is None and queries > 1, enable_gqa=groups > 1,
        )  # fmt: skip
        return out.transpose(1, 2), None
    grouped = query.view(batch, -1, groups, queries, size)
    own = torch.matmul(grouped * scaling, key.unsqueeze(2).transpose(-1, -2))
    own = (
        own.masked_fill(~attention_mask[..., : key.shape[2]].unsqueeze(2), float("-inf")) if attention_mask is not None else own
    )
    index: int = module.layer_idx  # type: ignore[assignment]
    # One product for the whole batch: the prefix is read from memory once, not once a row.
    flat = (grouped * scaling).permute(1, 0, 2, 3, 4).reshape(key.shape[1], -1, size)
    past = torch.matmul(flat, shared_prefix.keys[index].transpose(-1, -2))
    past_total = past.logsumexp(-1, keepdim=True)
    past_out = torch.matmul((past - past_total).exp_(), shared_prefix.values[index])
    shape = (key.shape[1], batch, groups, queries)
    past_out = past_out.view(*shape, size).transpose(0, 1)
    past_total = past_total.view(*shape, 1).transpose(0, 1)
    own_total = own.logsumexp(-1, keepdim=True)
    # A padded query row sees nothing of its own: exp(-inf - -inf) would be NaN, so its own part is taken as empty.
    own = (own - own_total.clamp_min(torch.finfo(own.dtype).min)).exp_()
    own_out = torch.matmul(own, value.unsqueeze(2))
    share = torch.sigmoid(own_total - past_total)
    joined = own_out * share + past_out * (1 - share)
    return joined.reshape(batch, heads, queries, size).transpose(1, 2), None


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    # Always a real mask: with a prefix, "None means causal" would not hold for the joined attention.
    kwargs["allow_is_causal_skip"] = False
    return sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _mask)
