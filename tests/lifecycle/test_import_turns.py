"""Turns as strangers write them: tool calls, results, reasoning and lists of parts in every dialect."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.importers.turns import turn
from distill_gov.records.errors import DistillGovError, MalformedFileError, UnknownKeyError

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
LC_CALL = {"name": "find", "args": {"n": 1}, "id": "c1", "type": "tool_call"}


@pytest.mark.parametrize(
    ("given_turn", "expected"),
    [
        ({"role": "developer", "content": "x"}, {"role": "system", "content": "x"}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "ab"},
        ),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
        ),
        ({"role": "tool", "content": "", "tool_call_id": "c1"}, {"role": "tool", "content": "", "tool_call_id": "c1"}),
        ({"role": "tool", "content": "5", "name": "find"}, {"role": "tool", "content": "5", "name": "find"}),
        (
            {"role": "assistant", "content": "x", "reasoning_content": "r"},
            {"role": "assistant", "content": "x", "reasoning": "r"},
        ),
        ({"from": "observation", "value": "5"}, {"role": "tool", "content": "5"}),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "r"}, {"type": "text", "text": "x"}]},
            {"role": "assistant", "content": "x", "reasoning": "r"},
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "find", "input": {"n": 1}}]},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
        ),
        (
            {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "HumanMessage"],
             "kwargs": {"content": "x", "type": "human"}},
            {"role": "user", "content": "x"},
        ),
        (
            {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", "AIMessageChunk"],
             "kwargs": {"content": "", "tool_calls": [LC_CALL], "additional_kwargs": {"tool_calls": [CALL]}}},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
        ),
        (
            {"type": "ai", "data": {"content": "x", "additional_kwargs": {"reasoning_content": "r"}, "tool_calls": []}},
            {"role": "assistant", "content": "x", "reasoning": "r"},
        ),
        (
            {"type": "tool", "content": "5", "tool_call_id": "c1", "name": "find"},
            {"role": "tool", "content": "5", "tool_call_id": "c1", "name": "find"},
        ),
    ],
)  # fmt: skip
def test_every_dialect_becomes_ours(given_turn: dict[str, Any], expected: dict[str, Any]) -> None:
    left_out: Counter[str] = Counter()
    assert turn(given_turn, "row 1", left_out) == expected
    assert not left_out
    assert turn(given_turn, "row 1") == expected


def test_what_has_no_place_is_an_error_or_counted() -> None:
    given_turn = {"role": "user", "content": "x", "name": "Kim", "additional_kwargs": {"refusal": "no", "audio": None}}
    with pytest.raises(UnknownKeyError, match="a trace has no place for `name` of a turn"):
        turn(given_turn, "row 1")
    left_out: Counter[str] = Counter()
    assert turn(given_turn, "row 1", left_out) == {"role": "user", "content": "x"}
    assert left_out == {"name": 1, "additional_kwargs.refusal": 1}


@pytest.mark.parametrize(
    ("given_turn", "says"),
    [
        ({"role": "assistant", "content": None}, "a turn needs a role and a text"),
        ({"content": "x"}, "a turn needs a role and a text"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": "kim"}]}, "something other than text"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "kim": 1}]}, "something other than text"),
        ({"role": "assistant", "content": "x", "tool_calls": "kim"}, "tool calls are a list"),
        ({"role": "assistant", "content": "x", "tool_calls": ["kim"]}, "not a JSON object"),
        ({"role": "assistant", "content": "x", "tool_calls": [{"function": {"arguments": "kim"}}]}, "the name of a function"),
        ({"role": "assistant", "content": "x", "tool_calls": [{"name": "f", "args": {"kim": float("nan")}}]}, "no JSON"),
        ({"role": "assistant", "content": "x", "tool_calls": [{"name": "f", "args": 5}]}, "the name of a function"),
    ],
)
def test_a_turn_that_cannot_be_read_is_refused(given_turn: dict[str, Any], says: str) -> None:
    with pytest.raises(MalformedFileError, match=says) as caught:
        turn(given_turn, "row 1")
    assert str(caught.value).startswith("row 1: ")
    assert "kim" not in str(caught.value)


KEYS = st.sampled_from(
    ["role", "content", "from", "value", "type", "data", "lc", "id", "kwargs", "tool_calls", "name", "args", "function",
     "arguments", "text", "thinking", "additional_kwargs", "reasoning"]
)  # fmt: skip
TEXT = st.sampled_from(["human", "ai", "tool", "assistant", "text", "constructor", "tool_use", "HumanMessage", ""])
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@given(VALUE, st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_value_is_a_turn_or_one_of_our_errors(value: Any, counting: bool) -> None:
    try:
        made = turn(value, "row 1", Counter() if counting else None)
    except DistillGovError:
        return
    assert {"role", "content"} <= made.keys() <= {"role", "content", "tool_calls", "reasoning", "tool_call_id", "name"}
