"""A tokenizer and random models small enough for every test: byte-level BPE, hidden size 32, grouped-query attention."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["refund", "order status", "other"]},
        "action": {"type": "string", "enum": ["auto", "escalate"]},
        "reply": {"type": "string", "minLength": 1, "maxLength": 24},
    },
    "required": ["intent", "action", "reply"],
    "additionalProperties": False,
}
WORDS = ("refund", "order", "status", "other", "auto", "escalate", "intent", "action", "reply", "user", "system", "Message")
SPACE = "Ġ"
"""How byte-level BPE writes a space."""
BOS, EOS, PAD = "<|start|>", "<|end|>", "<|pad|>"


def _merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Merges that build each word from its left end, as BPE would, and then put a space before it."""
    pairs: dict[tuple[str, str], None] = {}
    for word in words:
        for end in range(1, len(word)):
            pairs[word[:end], word[end]] = None
        pairs[SPACE, word] = None
    return list(pairs)


def build_tokenizer(words: tuple[str, ...] = WORDS) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in which each of the words is one token, with a space before it or without.

    Every byte is a token, so that any text can be encoded; ``", `` and its like are merged too, as large tokenizers do.
    """
    pairs = _merges((*words, '",', '"', '":', '"}', '{"'))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {
        piece: number for number, piece in enumerate(dict.fromkeys([PAD, BOS, EOS, *alphabet, *(a + b for a, b in pairs)]))
    }
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, pad_token=PAD)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def build_model(seed: int = 0, *, layers: int = 2, vocabulary: int | None = None, tied: bool = True) -> LlamaForCausalLM:
    """A random Llama: hidden 32, 4 query heads on 2 key heads. Its vocabulary is padded beyond the tokenizer's by default."""
    vocabulary = vocabulary or -(-len(tokenizer()) // 32) * 32 + 32
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.3,
        tie_word_embeddings=tied,
        pad_token_id=tokenizer().pad_token_id,
        bos_token_id=tokenizer().bos_token_id,
        eos_token_id=tokenizer().eos_token_id,
        attention_bias=False,
    )
    return LlamaForCausalLM(config).eval()


def save(directory: Path, seed: int = 0, *, layers: int = 2) -> Path:
    """A Hugging Face directory with a tiny model and its tokenizer."""
    build_model(seed, layers=layers).save_pretrained(str(directory))
    tokenizer().save_pretrained(str(directory))
    return directory


def canonical(intent: str, action: str, reply: str) -> str:
    """An answer under :data:`SCHEMA`."""
    return json.dumps({"intent": intent, "action": action, "reply": reply}, ensure_ascii=False)
