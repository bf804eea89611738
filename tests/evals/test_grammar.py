"""Grammar masks: what is forced, what is allowed, when an answer may end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadSchemaError
from evals.grammar import Grammar
from tests.tiny import SCHEMA, canonical, tokenizer

SIZE = len(tokenizer()) + 50
GRAMMAR = Grammar.compile(SCHEMA, tokenizer(), SIZE)
END = int(tokenizer().eos_token_id)


def encode(text: str) -> list[int]:
    return list(tokenizer()(text, add_special_tokens=False)["input_ids"])


REPLY = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters='"\\\x7f'), min_size=1, max_size=24
)


@given(st.sampled_from(["refund", "order status", "other"]), st.sampled_from(["auto", "escalate"]), REPLY)
def test_every_canonical_answer_is_in_the_grammar(intent: str, action: str, reply: str) -> None:
    tokens = [*encode(canonical(intent, action, reply)), END]
    masks = GRAMMAR.masks(tokens)
    assert len(masks) == len(tokens)
    for token, mask in zip(tokens, masks, strict=True):
        assert mask.shape == (SIZE,)
        assert mask.dtype == np.bool_
        assert mask[token]
        assert not mask[len(tokenizer()) :].any(), "ids beyond the tokenizer's are padding and must be forbidden"
        assert mask[END] == (token == END), "the answer may end only where it is whole"


def test_the_end_is_forced_once_the_answer_is_whole() -> None:
    last = GRAMMAR.masks([*encode(canonical("other", "auto", "x")), END])[-1]
    assert np.flatnonzero(last).tolist() == [END]


def test_special_tokens_other_than_the_end_are_never_allowed() -> None:
    tokens = [*encode(canonical("other", "auto", "some text")), END]
    for mask in GRAMMAR.masks(tokens):
        assert not mask[tokenizer().bos_token_id]
        assert not mask[tokenizer().pad_token_id]


def test_decisions_allow_only_ways_to_spell_a_label() -> None:
    opening = encode('{"intent": "')
    state = GRAMMAR.start()
    for token in opening:
        state.accept(token)
    allowed = {tokenizer().decode([i]) for i in np.flatnonzero(state.mask())}
    assert {"refund", "order", "other"} <= allowed
    assert all(any(label.startswith(piece) for label in SCHEMA["properties"]["intent"]["enum"]) for piece in allowed)
    assert state.accepts(encode("refund")[0])
    assert not state.accepts(encode("auto")[0])
    assert not state.complete


def test_forced_runs_are_the_canonical_text() -> None:
    state = GRAMMAR.start()
    run = state.forced()
    assert '{"intent": "'.startswith(tokenizer().decode(run))
    assert run == encode('{"intent": "')[: len(run)]
    assert len(run) >= 3


def test_spacing_is_that_of_json_dumps() -> None:
    for text in ('{ "intent": "other"', '{"intent":"other"', '{"intent" : "other"', '{"intent": "other","action"'):
        with pytest.raises(BadSchemaError, match="left the grammar"):
            GRAMMAR.masks(encode(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"intent": "cancel"',
        '{"action": "auto"',
        '{"intent": "other", "action": "auto"}',
        canonical("other", "auto", "x" * 25),
        canonical("other", "auto", "x") + " ",
        "Sure! ",
    ],
)
def test_what_the_schema_forbids_leaves_the_grammar(text: str) -> None:
    with pytest.raises(BadSchemaError, match="left the grammar"):
        GRAMMAR.masks(encode(text))


def test_an_unfinished_answer_cannot_end() -> None:
    with pytest.raises(BadSchemaError):
        GRAMMAR.masks([*encode('{"intent": "other"'), END])


def test_the_message_of_a_text_outside_the_grammar_does_not_show_it() -> None:
    with pytest.raises(BadSchemaError) as caught:
        GRAMMAR.masks(encode('{"intent": "zebra7'))
    assert "zebra7" not in str(caught.value)


@pytest.mark.parametrize("schema", [{"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, {"type": "no such type"}])
def test_a_schema_without_a_grammar_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(BadSchemaError):
        Grammar.compile(schema, tokenizer(), SIZE)


def test_states_are_apart() -> None:
    one, other = GRAMMAR.start(), GRAMMAR.start()
    before = other.mask()
    for token in encode('{"intent": "'):
        one.accept(token)
    assert (other.mask() == before).all()
    assert not (one.mask() == before).all()


def test_a_mask_handed_out_does_not_change_later() -> None:
    state = GRAMMAR.start()
    first = state.mask()
    kept = first.copy()
    state.accept(encode('{"')[0])
    state.mask()
    assert (first == kept).all()


def test_the_grammar_leaves_the_schema_as_it_was() -> None:
    before = json.dumps(SCHEMA)
    Grammar.compile(SCHEMA, tokenizer(), SIZE)
    assert json.dumps(SCHEMA) == before
