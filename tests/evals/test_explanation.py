"""Why an answer is not valid, in words that hold nothing of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.explanation import explain
from evals.structured import ERRORS, Judged, judge, make_schema

DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA = make_schema(
    {
        "$schema": DRAFT,
        "type": "object",
        "properties": {
            "intent": {"enum": ["refund"]},
            "reply": {"type": "string", "maxLength": 20, "pattern": "^[a-z]*$"},
            "mail": {"format": "email"},
            "list": {"uniqueItems": True, "items": {"type": "integer", "multipleOf": 2}},
            "either": {
                "anyOf": [{"type": "integer"}, {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"]}]
            },
            "map": {"additionalProperties": {"type": ["integer", "null"]}},
        },
        "required": ["intent"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "at the top: property `intent` is missing"),
        ([], "at the top: must be object, is array"),
        ({"intent": "zebra"}, "at `intent`: is not what `enum` allows"),
        ({"intent": "refund", "zebra": 1}, "at the top: has a property that the schema does not"),
        ({"intent": "refund", "reply": True}, "at `reply`: must be string, is boolean"),
        ({"intent": "refund", "reply": "z" * 21}, "at `reply`: `maxLength` is 20, which is not met"),
        ({"intent": "refund", "reply": "Z"}, "at `reply`: `pattern` is not met"),
        ({"intent": "refund", "mail": "zebra"}, "at `mail`: is no `email`"),
        ({"intent": "refund", "list": [2, 4, 2]}, "at `list`: `uniqueItems` is not met"),
        ({"intent": "refund", "list": [2, 3]}, "at `list[1]`: `multipleOf` is 2, which is not met"),
        ({"intent": "refund", "either": {"k": "zebra"}}, "at `either.k`: must be integer, is string"),
        ({"intent": "refund", "map": {"zebra": "x"}}, "at `map.*`: must be integer or null, is string"),
    ],
)
def test_words_of_the_schema(value: Any, said: str) -> None:
    assert explain(judge(json.dumps(value), SCHEMA), SCHEMA) == said


@pytest.mark.parametrize(
    "text", ["", "Sure, zebra!", '{"zebra": ', '{"a" zebra}', '{"a": 1, "a": 2}', "NaN", "[" * 99, b"\xff"]
)
def test_what_is_not_read_has_words_of_its_own(text: str | bytes) -> None:
    said = explain(judge(text, SCHEMA), SCHEMA)
    assert said
    assert "zebra" not in said


def test_every_error_of_the_text_has_words() -> None:
    said = {explain(Judged(False, error), SCHEMA) for error in ERRORS[: ERRORS.index("required")]}
    assert len(said) == ERRORS.index("required")


def test_of_a_valid_answer_there_is_nothing_to_say() -> None:
    assert explain(judge('{"intent": "refund"}', SCHEMA), SCHEMA) == ""


def test_what_would_take_for_ever_in_python_does_not() -> None:
    slow = make_schema(
        {
            "$schema": DRAFT,
            "patternProperties": {"^(a+)+$": {"type": "integer"}},
            "additionalProperties": False,
            "maxProperties": 1,
        }
    )
    said = explain(judge(json.dumps({"a" * 5000 + "!": 1}), slow), slow)
    assert said == "at the top: `additionalProperties` is not met"
    unique = make_schema({"$schema": DRAFT, "uniqueItems": True})
    many = [[n] if n % 2 else str(n) for n in range(20_000)]
    assert explain(judge(json.dumps([*many, "0"]), unique), unique) == "at the top: `uniqueItems` is not met"


inner = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just("zebra"),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.sampled_from(["zebra", "intent", "k", "map"]), part, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(inner | st.dictionaries(st.sampled_from([*SCHEMA.document["properties"], "zebra"]), inner, max_size=4))
def test_nothing_of_the_answer_is_quoted(value: Any) -> None:
    judged = judge(json.dumps(value), SCHEMA)
    said = explain(judged, SCHEMA)
    assert bool(said) != judged.valid
    assert "zebra" not in said
    assert "\n" not in said
