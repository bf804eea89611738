import json
import socket
import urllib.request

import jsonschema
import pytest
import referencing
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadSchemaError, MissingFileError
from evals.explanation import explain
from evals.structured import ERRORS, MAX_BYTES, judge, load_schema, make_schema, parse_answer

DRAFT = "https://json-schema.org/draft/2020-12/schema"
TRIAGE = make_schema(
    {
        "$schema": DRAFT,
        "type": "object",
        "properties": {
            "intent": {"enum": ["refund", "unclear"]},
            "action": {"const": "ask"},
            "reply": {"type": "string", "maxLength": 20, "pattern": "^[a-z ]*$"},
            "mail": {"format": "email"},
            "other": {"not": {}},
        },
        "required": ["intent"],
        "additionalProperties": False,
    }
)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        (b"", "empty"),
        (b"\xff{}", "not_utf8"),
        ('"\ud800"', "not_utf8"),
        ('"\\ud800"', "not_utf8"),
        ("```json\n{}\n```", "fenced_or_prose"),
        ("Sure! Here it is: {}", "fenced_or_prose"),
        ("{} I hope this helps", "fenced_or_prose"),
        ("{}\n```", "fenced_or_prose"),
        ("the answer is 3", "fenced_or_prose"),
        ('{"a": 1', "truncated"),
        ('{"a": tru', "truncated"),
        ('{"a": "x', "truncated"),
        ('{"a": "x\\', "truncated"),
        ('{"a": "\\u12', "truncated"),
        ('{"a": 1,', "truncated"),
        ('{"a": -', "truncated"),
        ('{"a": 1.', "truncated"),
        ('{"a"', "truncated"),
        ("[1, 2", "truncated"),
        ("{", "truncated"),
        ('{"a": 1}}', "syntax"),
        ("{a: 1}", "syntax"),
        ("{'a': 1}", "syntax"),
        ('{"a": 1,}', "syntax"),
        ('{"a" 1}', "syntax"),
        ('{"a": True}', "syntax"),
        ("}", "syntax"),
        ('{"a": 1, "a": 2}', "duplicate_key"),
        ('{"a": {"b": 1, "b": 1}}', "duplicate_key"),
        ('{"a": NaN}', "non_finite"),
        ("Infinity", "non_finite"),
        ('{"a": -Infinity}', "non_finite"),
        ('{"a": 1e999}', "non_finite"),
        ('{"a": ' + "9" * 5000 + "}", "non_finite"),
        ("[" * 100_000, "too_deep"),
        ("[" * 65 + "]" * 65, "too_deep"),
    ],
)
def test_first_error_of_the_text(text, error):
    found = parse_answer(text)
    assert (found.valid, found.error, found.value) == (False, error, None)
    assert judge(text, TRIAGE) == found


def test_what_is_too_large_is_not_parsed():
    text = json.dumps("é" * (MAX_BYTES // 2), ensure_ascii=False)
    for form in (text, text.encode()):
        assert parse_answer(form).error == "too_large"
        assert parse_answer(form, max_bytes=MAX_BYTES + 2).valid
        assert judge(form, TRIAGE).error == "too_large"
    assert parse_answer("[" * (MAX_BYTES + 1)).error == "too_large"
    assert parse_answer(" " * (MAX_BYTES + 1)).error == "empty"


def test_the_order_of_the_taxonomy():
    assert list(ERRORS) == [
        *("empty", "not_utf8", "too_large", "fenced_or_prose", "truncated", "syntax", "duplicate_key", "non_finite"),
        *("too_deep", "required", "type", "enum", "additionalProperties", "format", "pattern", "bounds", "other"),
    ]


def test_a_long_integer_is_read_whole_as_far_as_python_reads_it():
    assert parse_answer("9" * 4000).value == int("9" * 4000)
    assert judge("9" * 4000, make_schema({"$schema": DRAFT, "type": "integer"})).valid


def test_earlier_errors_come_first():
    assert parse_answer('{"a": NaN, "a": 1').error == "truncated"
    assert parse_answer('{"a": NaN, "a": 1}').error == "duplicate_key"


@pytest.mark.parametrize("text", ["{}", "true", "null", '"x"', "-0.5e3", " [1] ", "[" * 64 + "]" * 64, b'{"\xc3\xa9": 1}'])
def test_strict_json_passes(text):
    found = parse_answer(text)
    assert (found.valid, found.error) == (True, None)


@pytest.mark.parametrize(
    ("value", "error", "where"),
    [
        ({}, "required", ()),
        ({"intent": "refund", "reply": 3}, "type", ("reply",)),
        ([], "type", ()),
        ({"intent": "x"}, "enum", ("intent",)),
        ({"intent": "refund", "action": "x"}, "enum", ("action",)),
        ({"intent": "refund", "more": 1}, "additionalProperties", ()),
        ({"intent": "refund", "mail": "no mail"}, "format", ("mail",)),
        ({"intent": "refund", "reply": "UPPER"}, "pattern", ("reply",)),
        ({"intent": "refund", "reply": "a" * 21}, "bounds", ("reply",)),
        ({"intent": "refund", "other": 1}, "other", ("other",)),
        ({"intent": "x", "reply": "UPPER", "more": 1}, "enum", ("intent",)),
        ({"reply": "UPPER"}, "required", ()),
    ],
)
def test_first_error_of_the_schema(value, error, where):
    found = judge(json.dumps(value), TRIAGE)
    assert (found.valid, found.error, found.instance_path) == (False, error, where)
    assert found.schema_path
    assert found.value == value


def test_a_valid_answer():
    found = judge('{"intent": "refund", "mail": "a@example.com"}', TRIAGE)
    assert (found.valid, found.error) == (True, None)
    assert found.value == {"intent": "refund", "mail": "a@example.com"}


def test_what_an_answer_says_is_not_in_its_repr():
    assert "refund" not in repr(judge('{"intent": "refund"}', TRIAGE))


@settings(max_examples=200)
@given(st.one_of(st.text(), st.binary(), st.from_regex(r"[\[\]{}\",:0-9a-z\\ .-]*")))
def test_judge_is_total(text):
    found = judge(text, TRIAGE)
    assert found.valid == (found.error is None)
    assert found.error is None or found.error in ERRORS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda v: "\\ud" not in json.dumps(v))


@given(json_values)
def test_every_json_value_parses_and_every_prefix_of_an_object_does_not(value):
    text = json.dumps({"v": value}, ensure_ascii=False)
    assert parse_answer(text).value == {"v": value}
    for cut in range(1, len(text), max(1, len(text) // 8)):
        assert not parse_answer(text[:cut]).valid


@given(st.one_of(st.text(), st.binary(), json_values.map(json.dumps), st.from_regex(r"[\[\]{}\",:0-9eE.a-z\\ -]*")))
def test_what_is_valid_is_what_python_reads(text):
    found = parse_answer(text)
    if found.valid:
        assert found.value == json.loads(text)
        assert json.loads(json.dumps(found.value)) == found.value


JUDGED_BY = {
    "$schema": DRAFT,
    "type": ["object", "array", "string", "integer"],
    "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"enum": ["x", 1, None]}, "c": {"$ref": "#"}},
    "required": ["a"],
    "additionalProperties": {"type": "string", "maxLength": 3},
    "items": {"anyOf": [{"type": "number", "exclusiveMaximum": 5}, {"type": "array", "uniqueItems": True}]},
    "maxItems": 3,
    "pattern": "^[a-z]*$",
}
MADE = make_schema(JUDGED_BY)
PLAIN = jsonschema.Draft202012Validator(JUDGED_BY, registry=referencing.Registry())
members = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), json_values | st.integers(-1, 2) | st.just("x"), max_size=4)


@settings(max_examples=300)
@given(json_values | members | members.map(lambda m: {"a": 1, "c": m}) | st.lists(st.integers(0, 9) | json_values, max_size=4))
def test_the_verdict_is_that_of_jsonschema_and_every_fault_has_words(value):
    found = judge(json.dumps(value), MADE)
    assert found.valid == PLAIN.is_valid(value)
    said = explain(found, MADE)
    assert bool(said) != found.valid
    assert "\n" not in said


def test_a_pattern_that_backtracks_for_ever_is_bounded():
    slow = make_schema({"$schema": DRAFT, "properties": {"a": {"pattern": "^(a+)+$"}, "b": {"pattern": "(a+)+$"}}})
    for name in ("a", "b"):
        found = judge(json.dumps({name: "a" * 50_000 + "!"}), slow)
        assert found.error == "pattern"
        assert explain(found, slow) == f"at `{name}`: `pattern` is not met"


@pytest.mark.parametrize(
    ("text", "kind", "valid"),
    [
        ("1.0", "integer", True),
        ("1e2", "integer", True),
        ("1.5", "integer", False),
        ("true", "integer", False),
        ("true", "number", False),
        ("1", "number", True),
        ("1", "boolean", False),
        ("null", "object", False),
    ],
)
def test_types_are_those_of_json_and_not_of_python(text, kind, valid):
    assert judge(text, make_schema({"$schema": DRAFT, "type": kind})).valid == valid


# --- schemas


def write(tmp_path, text):
    path = tmp_path / "schema.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_load_schema(tmp_path):
    schema = load_schema(write(tmp_path, json.dumps({"$schema": DRAFT, "type": "integer"})))
    assert judge("1", schema).valid
    assert schema.digest.startswith("sha256:")


@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-07/schema#", DRAFT])
def test_formats_are_asserted_under_every_draft(draft):
    schema = make_schema({"$schema": draft, "format": "date"})
    assert judge('"2026-02-30"', schema).error == "format"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "true",
        "3",
        "not json",
        '{"type": "object"}',
        f'{{"$schema": "{DRAFT}", "type": "objct"}}',
        f'{{"$schema": "{DRAFT}", "required": "a"}}',
        f'{{"$schema": "{DRAFT}", "pattern": "("}}',
        f'{{"$schema": "{DRAFT}", "format": "no-such-format"}}',
        f'{{"$schema": "{DRAFT}", "$ref": "#/$defs/nothing"}}',
        f'{{"$schema": "{DRAFT}", "$schema": "{DRAFT}"}}',
        '{"$schema": "https://example.com/my-own-draft"}',
        '{"$schema": 7}',
    ],
)
def test_what_is_no_schema_is_refused(tmp_path, text):
    with pytest.raises(BadSchemaError) as caught:
        load_schema(write(tmp_path, text))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ref", ["https://example.com/s.json", "http://localhost:1/s.json", "file:///etc/hostname", "other.json"]
)
@pytest.mark.parametrize("draft", ["http://json-schema.org/draft-07/schema#", DRAFT])
@pytest.mark.parametrize("base", [{}, {"$id": "http://localhost:1/own.json"}])
def test_a_remote_reference_is_refused_and_never_fetched(tmp_path, monkeypatch, ref, draft, base):
    def never(*args, **kwargs):
        raise AssertionError("something was opened")

    (tmp_path / "other.json").write_text("{}")
    path = write(tmp_path, json.dumps({"$schema": draft, **base, "properties": {"a": {"$ref": ref}}}))
    for module, name in ((socket, "socket"), (socket, "create_connection"), (urllib.request, "urlopen")):
        monkeypatch.setattr(module, name, never)
    with pytest.raises(BadSchemaError, match="leads out of the schema, and nothing is ever fetched") as caught:
        load_schema(path)
    assert "\n" not in str(caught.value)


def test_a_reference_to_a_file_that_is_there_does_not_read_it(tmp_path):
    """An always-true file: were it read, the schema would load."""
    (tmp_path / "other.json").write_text("true")
    with pytest.raises(BadSchemaError, match="leads out"):
        load_schema(write(tmp_path, json.dumps({"$schema": DRAFT, "$ref": (tmp_path / "other.json").as_uri()})))


def test_a_number_that_has_no_canonical_form_is_no_schema():
    with pytest.raises(BadSchemaError, match="cannot be digested"):
        make_schema({"$schema": DRAFT, "const": 2**60})


def test_no_schema_file(tmp_path):
    with pytest.raises(MissingFileError):
        load_schema(tmp_path / "nothing.json")
