"""The schema's grammar as token masks (llguidance), in the canonical spacing of ``json.dumps``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import llguidance
import llguidance.hf
import llguidance.numpy
import numpy as np

from distill_gov.records.errors import BadSchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

__all__ = ["Grammar", "GrammarState"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """A compiled schema for one tokenizer."""

    source: str
    tokenizer: llguidance.LLTokenizer
    vocabulary: int
    """Number of token ids a mask covers; ids beyond are forbidden."""

    @classmethod
    def compile(cls, schema: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast, vocabulary: int) -> Grammar:
        spaced = {**schema, "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}
        source = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(spaced))
        wrapped = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=tokenizer.eos_token_id)
        grammar = cls(source, wrapped, vocabulary)
        grammar.start()
        return grammar

    def start(self) -> GrammarState:
        matcher = llguidance.LLMatcher(self.tokenizer, self.source)
        if matcher.is_error():
            raise BadSchemaError("the schema has no grammar that can be decoded under", fix="Simplify it, or decode freely.")
        return GrammarState(self, matcher)

    def masks(self, tokens: Sequence[int]) -> list[NDArray[np.bool_]]:
        """What is allowed at each position of a text that the grammar accepts: one mask of shape (vocabulary,) a token.

        Raises:
            BadSchemaError: the text leaves the grammar.
        """
        state, found = self.start(), []
        for token in tokens:
            found.append(state.mask())
            state.accept(token)
        return found


class GrammarState:
    """How far one answer has come."""

    def __init__(self, grammar: Grammar, matcher: llguidance.LLMatcher) -> None:
        self._grammar, self._matcher = grammar, matcher
        self._bits = llguidance.numpy.allocate_token_bitmask(1, grammar.vocabulary)

    def mask(self) -> NDArray[np.bool_]:
        """Allowed next tokens, shape (vocabulary,)."""
        llguidance.numpy.fill_next_token_bitmask(self._matcher, self._bits)
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._grammar.vocabulary]
        allowed: NDArray[np.bool_] = bits.astype(bool)
        if not allowed.any():
            raise BadSchemaError("the grammar allows no token here")
        return allowed

    def forced(self) -> list[int]:
        """The run of tokens that the grammar leaves no choice about."""
        return list(self._matcher.compute_ff_tokens())

    def accept(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise BadSchemaError("a token left the grammar")

    def accepts(self, token: int) -> bool:
        return bool(self._matcher.validate_tokens([token]))

    @property
    def complete(self) -> bool:
        return bool(self._matcher.is_accepting())
