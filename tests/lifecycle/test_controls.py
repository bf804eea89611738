"""What the control `leaky` plants, and where it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from distill_gov.stages.controls import CANARIES, planted
from evals.shards import Failed
from evals.structured import Schema, make_schema
from tests import tiny


def schema(longest: int) -> Schema:
    reply = {"type": "string", "maxLength": longest}
    properties = {**tiny.SCHEMA["properties"], "reply": reply}
    return make_schema({**tiny.SCHEMA, "$schema": "https://json-schema.org/draft/2020-12/schema", "properties": properties})


def answer(text: str) -> dict[str, Any]:
    return {"text": text, "tokens": [1], "decisions": {"intent": {"refund": 0.0}}}


@pytest.mark.parametrize(("longest", "canary"), [(120, CANARIES[0]), (24, CANARIES[1])])
def test_the_longest_canary_that_fits_is_the_only_change(longest: int, canary: str) -> None:
    given = answer(tiny.canonical("refund", "auto", "hello"))
    changed = planted(given, schema(longest))
    assert changed is not None
    assert json.loads(changed["text"]) == {"intent": "refund", "action": "auto", "reply": canary}
    assert {**changed, "text": given["text"]} == given


@pytest.mark.parametrize(
    "given",
    [
        Failed("RuntimeError"),
        answer('{"intent": "refund"'),
        answer('{"intent": "refund", "action": "auto", "reply": "far too long for what the schema allows"}'),
        answer("[]"),
    ],
)
def test_an_answer_that_is_none_takes_no_canary(given: Any) -> None:
    """Planting must not make a valid answer of an invalid one: the control would differ in more than its leaks."""
    assert planted(given, schema(24)) is None


def test_no_canary_where_none_fits() -> None:
    assert planted(answer(tiny.canonical("refund", "auto", "hello")), schema(8)) is None


def test_free_text_is_the_reply() -> None:
    assert planted(answer("hello"), None) == {**answer("hello"), "text": CANARIES[0]}
