"""JSON documents: leaves and pointers, and the JSON that tool calls hold in a string."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import MalformedFileError
from redaction.documents import string_leaves, with_leaves

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT | st.just("arguments"), inner, max_size=3),
    max_leaves=12,
)
CONTAINER = st.lists(VALUE, max_size=3) | st.dictionaries(TEXT | st.just("arguments"), VALUE, max_size=3)


def shape(value: Any) -> Any:
    """A value with its strings taken out: keys in order, types of what they hold, also of JSON in ``arguments``."""
    if isinstance(value, dict):
        return [(key, shape(_inner(key, child))) for key, child in value.items()]
    if isinstance(value, list):
        return [shape(child) for child in value]
    return "a string" if isinstance(value, str) else (type(value).__name__, value)


def _inner(key: str, child: Any) -> Any:
    if key == "arguments" and isinstance(child, str):
        try:
            inner = json.loads(child)
        except ValueError:
            return child
        return ["in a string", inner] if isinstance(inner, dict | list) else child
    return child


@given(CONTAINER, st.booleans())
def test_arguments_keep_keys_types_and_order_whatever_their_strings_become(inner: Any, ascii_only: bool) -> None:
    call = {"function": {"name": "f", "arguments": json.dumps(inner, ensure_ascii=ascii_only)}}
    leaves = dict(string_leaves(call))
    assert with_leaves(call, leaves) == call
    changed = with_leaves(call, dict.fromkeys(leaves, 'she said "no"\\\n<PERSON_1>'))
    assert shape(changed) == shape(call)
    assert all(text == 'she said "no"\\\n<PERSON_1>' for _, text in string_leaves(changed))
    assert list(dict(string_leaves(changed))) == list(leaves)


@given(VALUE)
def test_what_is_not_replaced_comes_back_as_it_was(value: Any) -> None:
    assert with_leaves(value, {}) == json.loads(json.dumps(value))


def test_a_pointer_goes_on_into_arguments() -> None:
    call = {"arguments": '{ "who": {"name": "Kim"},  "n": [1, "x"] }'}
    assert dict(string_leaves(call)) == {"/arguments/who/name": "Kim", "/arguments/n/1": "x"}
    assert with_leaves(call, {"/arguments/who/name": "Kim"}) == call  # unchanged, so not even its spaces are
    assert with_leaves(call, {"/arguments/who/name": "<P>"}) == {"arguments": '{"who": {"name": "<P>"}, "n": [1, "x"]}'}


@pytest.mark.parametrize(
    "text",
    ['{"a": "Kim"', '{"a": 1, "a": "Kim"}', '"Kim"', "Kim", "", "[" * 150 + '"Kim"' + "]" * 150, "[" * 100_000, '{"a": NaN}'],
)
def test_arguments_that_are_no_plain_json_are_text(text: str) -> None:
    deep: Any = {"arguments": text}
    for _ in range(60):
        deep = [deep]
    [(pointer, found)] = string_leaves(deep)
    assert (pointer, found) == ("/0" * 60 + "/arguments", text)
    assert "Kim" not in str(with_leaves(deep, {pointer: "-"}))


def test_only_arguments_are_looked_into() -> None:
    """Keys of JSON are left alone, so what a person wrote is never taken for JSON."""
    assert dict(string_leaves({"content": '{"Kim": "x"}'})) == {"/content": '{"Kim": "x"}'}


def test_json_that_is_too_deep_or_none_is_refused() -> None:
    deep: Any = "x"
    for _ in range(201):
        deep = [deep]
    with pytest.raises(MalformedFileError, match="deeper than 200"):
        list(string_leaves(deep))
    with pytest.raises(MalformedFileError, match="bytes is no JSON"):
        list(string_leaves([b"x"]))
