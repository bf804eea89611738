"""What a tokenizer's ids mean: two vocabularies are one only if every id stands for the same bytes in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill_gov.records.digest import digest_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["vocabulary_digest"]


def vocabulary_digest(tokenizer: PreTrainedTokenizerFast) -> str:
    """Digest of the map from ids to bytes, and of which ids are special and which one ends an answer.

    Sizes say nothing (two vocabularies of one size may share no id), and neither do the tokenizers' files: the same map is
    spelled in many ways. Places that a model's head has beyond the tokenizer's ids are padding and do not count.
    """
    import llguidance.hf

    known = llguidance.hf.from_tokenizer(tokenizer)
    ids = range(len(tokenizer))
    spelled = [[known.decode_bytes([i]).hex(), known.is_special_token(i)] for i in ids]
    return digest_json([spelled, int(tokenizer.eos_token_id)])
