"""JSON stays JSON, as a value and as text."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import MalformedFileError
from redaction import Redactor
from redaction.documents import JsonLeaf, NestedTooDeepError, is_json_text, mapped, mapped_text, pointer

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), st.text(max_size=8), st.sampled_from(["Ann", '"', "\\"])
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4), max_leaves=12
)
containers = st.one_of(st.lists(documents, max_size=4), st.dictionaries(st.text(max_size=5), documents, max_size=4))


def _leaves(value: Any) -> list[tuple[str, str, str]]:
    seen: list[JsonLeaf] = []

    def visit(leaf: JsonLeaf) -> str:
        seen.append(leaf)
        return leaf.text

    assert repr(mapped(value, visit, into_text=False)) == repr(value)
    return [(pointer(leaf.path), leaf.text, leaf.kind) for leaf in seen]


@given(containers, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_text_has_the_leaves_of_its_value(value: Any, ascii_only: bool, indent: int | str | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    seen: list[JsonLeaf] = []

    def visit(leaf: JsonLeaf) -> str:
        seen.append(leaf)
        return leaf.text

    assert mapped_text(text, visit) == text
    # NaN and the infinities are words to a text and numbers to Python.
    numbers = [leaf for leaf in _leaves(value) if leaf[2] != "number" or leaf[1] not in ("nan", "inf", "-inf")]
    written = [(pointer(leaf.path), leaf.text, leaf.kind) for leaf in seen]
    assert [(p, k) for p, _, k in written] == [(p, k) for p, _, k in numbers]
    assert [t for _, t, k in written if k != "number"] == [t for _, t, k in numbers if k != "number"]


@given(st.text(max_size=30) | st.text(alphabet='{}[],:"\\ 01-.eEtrufalsnNI', max_size=12))
@example('{"a":1,}')
@example("[1 2]")
@example("[01]")
@example('["a" "b"]')
@example("[1}")
@example('{"a" 1}')
@example("[],[]")
@example("[-Infinity]")
@example('{"a":1]')
@example("[1.5e+3,-0]")
def test_text_is_json_when_python_says_so(text: str) -> None:
    try:
        expected = isinstance(json.loads(text), dict | list)
    except ValueError:
        expected = False
    assert is_json_text(text) == expected


@given(containers)
def test_changed_strings_are_the_only_change(value: Any) -> None:
    text = json.dumps(value)

    def visit(leaf: JsonLeaf) -> str:
        return leaf.text + "'\"é" if leaf.kind == "string" else leaf.text

    done = mapped_text(text, visit)
    assert done is not None
    assert repr(json.loads(done)) == repr(mapped(json.loads(text), visit, into_text=False))


WRITTEN = """ {"b": 1.0, "a":1e5, "b" : [12345678901234567890123, -0.10],
\t"mail": "Write to a@example.org\\n\\u00fc", "n": NaN, "x": "\\/"} """


def test_what_is_written_stays_written(redactor: Redactor) -> None:
    done = redactor.redact_json_text(WRITTEN, item="t")
    assert done.value == WRITTEN.replace("a@example.org", "<EMAIL_1>")
    assert [(f.field, f.action) for f in done.findings] == [("/mail", "placeholder")]
    pairs = json.loads(done.value, object_pairs_hook=list, parse_float=Decimal)
    assert [key for key, _ in pairs] == ["b", "a", "b", "mail", "n", "x"]
    assert redactor.redact_json_text(done.value) == type(done)(
        done.value, (), redactor.redact_json_text(done.value).issued, redactor.redact_json_text(done.value).parts
    )


def test_no_json_is_text(redactor: Redactor) -> None:
    for text in ('{"mail": "a@example.org"', "mail a@example.org", '"a@example.org"'):
        assert redactor.redact_json_text(text).value == text.replace("a@example.org", "<EMAIL_1>")


def test_arguments_and_answers_of_a_chat(redactor: Redactor) -> None:
    arguments = '{"to": "a@example.org", "password": "hunter2x", "n": 3, "cc": ["b@example.org"]}'
    call: dict[str, Any] = {
        "id": "call_9fK2mQ7xT4vB8nZ1cR5w",
        "type": "function",
        "function": {"name": "Rose", "arguments": arguments},
    }
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": "write to a@example.org"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "name": "Rose", "content": '{"sent_to": "b@example.org"}'},
    ]
    done = redactor.redact_messages(chat)
    inner = done.messages[1]["tool_calls"][0]
    assert (inner["id"], inner["function"]["name"]) == (call["id"], "Rose")
    assert inner["function"]["arguments"] == ('{"to": "<EMAIL_1>", "password": "<PASSWORD_1>", "n": 3, "cc": ["<EMAIL_2>"]}')
    assert done.messages[2]["content"] == '{"sent_to": "<EMAIL_2>"}'
    assert "/1/tool_calls/0/function/arguments/cc/0" in {f.field for f in done.findings}
    again = redactor.redact_messages(done.messages)
    assert (again.messages, again.findings) == (done.messages, ())


def test_json_in_json_in_json(redactor: Redactor) -> None:
    text = json.dumps({"a": json.dumps({"b": json.dumps(["a@example.org", 1.0])})})
    done = redactor.redact_json_text(text)
    assert json.loads(json.loads(json.loads(done.value)["a"])["b"]) == ["<EMAIL_1>", 1.0]
    assert [f.field for f in done.findings] == ["/a/b/0"]


def test_a_personal_key_goes_and_takes_the_record_along(redactor: Redactor) -> None:
    value = {"a@example.org": {"mail": "A@example.org"}, "order": "b@example.org"}
    done = redactor.redact_json(value)
    assert done.value == {"<EMAIL_1>": {"mail": "<EMAIL_1>"}, "order": "<EMAIL_2>"}
    assert [(f.field, f.action) for f in done.findings] == [
        ("/<EMAIL_1>", "drop"),
        ("/<EMAIL_1>/mail", "placeholder"),
        ("/order", "placeholder"),
    ]
    assert "example.org" not in repr(done)
    text = redactor.redact_json_text(json.dumps(value))
    assert json.loads(text.value) == done.value
    assert "example.org" not in repr(text)


def test_a_personal_number_goes_and_takes_the_record_along(redactor: Redactor) -> None:
    value = {"card": 4111111111111111, "phone": 447700900123, "amount": 129900.5, "year": 2031, "order_total": 1234567}
    done = redactor.redact_json(value)
    assert done.value == {**value, "card": "<CARD_1>", "phone": "<PHONE_1>"}
    assert {f.action for f in done.findings} == {"drop"}
    assert json.loads(redactor.redact_json_text(json.dumps(value)).value) == done.value
    assert (
        redactor.redact_messages([{"role": "user", "content": "[4111111111111111]"}]).messages[0]["content"] == '["<CARD_1>"]'
    )


SCHEMA = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "minLength": 3},
        "cc": {"type": "array", "items": {"type": "string"}},
        "n": {"type": "integer"},
    },
    "required": ["to", "n"],
    "additionalProperties": False,
}
bodies = st.fixed_dictionaries(
    {"to": st.sampled_from(["a@example.org", "Dana Whitfield", "nobody"]), "n": st.integers(-99, 99)},
    optional={"cc": st.lists(st.sampled_from(["call +44 7700 900123", "x"]), max_size=2)},
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies)
def test_what_fits_a_schema_still_does(redactor: Redactor, body: dict[str, Any]) -> None:
    validator = jsonschema_rs.Draft202012Validator(SCHEMA)
    done = json.loads(redactor.redact_json_text(json.dumps(body)).value)
    assert validator.is_valid(body)
    assert validator.is_valid(done)
    assert (list(done), done["n"]) == (list(body), body["n"])


def test_the_deep_is_refused_not_recursed_into(redactor: Redactor) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for value in (deep, {"a": deep}):
        with pytest.raises(NestedTooDeepError, match="deeper than 200"):
            redactor.redact_json(value)
    nested: Any = "x"
    for _ in range(5_000):
        nested = [nested]
    with pytest.raises(NestedTooDeepError):
        redactor.redact_json(nested)
    assert redactor.redact_json_text("[" * 100_000).value == "[" * 100_000


@pytest.mark.parametrize("value", [{1: "a"}, [b"x"]])
def test_no_json_value(value: Any) -> None:
    with pytest.raises(MalformedFileError):
        mapped(value, lambda leaf: leaf.text)
