"""The schema's grammar as token masks (llguidance), in the canonical spacing of ``json.dumps``, and a model's mass under it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import llguidance
import llguidance.hf
import llguidance.numpy
import numpy as np

from distill_gov.records.errors import BadInputError, BadSchemaError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

__all__ = ["Grammar", "GrammarMass", "GrammarState", "allowed_log_mass"]


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


@dataclass(frozen=True, slots=True)
class GrammarMass:
    """How much of a model's probability lies within the grammar along one answer.

    With p the model at temperature 1 and Z_t the sum of p(v | tokens before t) over the tokens v that the grammar allows at t,
    decoding under the grammar draws token t from p / Z_t. So an answer x has the probability q(x) = p(x) / prod_t Z_t there,
    and the mean of prod_t Z_t over answers drawn from q is the probability that sampling freely gives an answer of the
    grammar: it is the importance weight of locally constrained decoding (Lipkin et al. 2025, "Fast Controlled Generation from
    Language Models with Adaptive Weighted Rejection Sampling", arXiv:2504.05410). Along one given answer, written greedily or
    by a person, the product is the probability that none of so many free draws, each after the answer's own tokens, leaves
    the grammar.

    The grammar is the schema's in the spacing of ``json.dumps`` and the order of its properties: a free answer that is spaced
    or ordered otherwise may be valid and counts as outside, so that the mass is at most the validity.
    """

    log_mass: tuple[float, ...]
    """log Z_t of every token, those that the grammar forces and the end among them; at most 0."""

    @property
    def product(self) -> float:
        """prod_t Z_t, in [0, 1]."""
        return math.exp(math.fsum(self.log_mass))

    @property
    def per_token(self) -> float:
        """Geometric mean of Z_t, in [0, 1]: comparable between answers of different length."""
        return math.exp(math.fsum(self.log_mass) / len(self.log_mass))


def allowed_log_mass(logits: NDArray[np.floating[Any]], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """log Z_t: the logarithm of the probability that each mask allows, at temperature 1.

    Args:
        logits: shape (tokens, vocabulary); finite, or minus infinity where the model itself rules a token out.
        masks: one of shape (vocabulary,) a token.

    Returns:
        Shape (tokens,), at most 0; minus infinity where nothing that is allowed has any probability.

    Raises:
        BadInputError: the shapes do not go together, no token, or a logit is NaN or plus infinity.
    """
    wide, allowed = np.asarray(logits, dtype=np.float64), np.asarray(masks, dtype=bool)
    if wide.ndim != 2 or not wide.size or wide.shape != allowed.shape:
        raise BadInputError("logits and masks must both be of shape (tokens, vocabulary), with a token at least")
    highest = wide.max(1, keepdims=True)
    if not np.isfinite(highest).all():
        raise BadInputError("logits must be finite, or minus infinity for some tokens")
    weights = np.exp(wide - highest)
    with np.errstate(divide="ignore"):
        # Both sums are of the same numbers, so that everything allowed gives exactly 0.
        found: NDArray[np.float64] = np.log(np.where(allowed, weights, 0.0).sum(1)) - np.log(weights.sum(1))
    return np.minimum(found, 0.0)
