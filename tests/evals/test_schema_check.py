"""Schemas that a validator takes and that say less than they seem to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadSchemaError
from evals.schema_check import is_pattern, property_names
from evals.structured import judge, make_schema

D7, D19, D20 = (
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
)


@pytest.mark.parametrize(
    ("draft", "schema", "said"),
    [
        (D20, {"requred": ["a"]}, "no keyword `requred`; the nearest is `required`"),
        (D20, {"properties": {"a": {"minlength": 1}}}, "no keyword `minlength`; the nearest is `minLength`"),
        (D20, {"allOf": [{"not": {"aditionalProperties": False}}]}, "the nearest is `additionalProperties`"),
        (D7, {"definitions": {"x": {"propertes": {}}}}, "the nearest is `properties`"),
        (D20, {"ref": "#"}, "the nearest is `$ref`"),
        (D20, {"dependencies": {"a": ["b"]}}, "`dependencies` does nothing under draft 2020-12"),
        (D19, {"dependencies": {"a": ["b"]}}, "`dependencies` does nothing under draft 2019-09"),
        (D20, {"additionalItems": False}, "`additionalItems` does nothing under draft 2020-12"),
        (D20, {"items": [{"type": "integer"}]}, "a list of `items` is `prefixItems` under draft 2020-12"),
        (D7, {"prefixItems": [{}]}, "`prefixItems` does nothing under draft 7"),
        (D7, {"dependentRequired": {"a": ["b"]}}, "`dependentRequired` does nothing under draft 7"),
        (D7, {"unevaluatedProperties": False}, "`unevaluatedProperties` does nothing under draft 7"),
        (
            D7,
            {"definitions": {"a": {}}, "properties": {"x": {"$ref": "#/definitions/a", "maxLength": 1}}},
            "`maxLength` beside `$ref` does nothing under draft 7",
        ),
        ("http://json-schema.org/draft-04/schema#", {"const": 1}, "`const` does nothing under draft 4"),
        (D20, {"pattern": "^(?=a)b"}, "a pattern is no regular expression that can be matched in linear time"),
        (D20, {"patternProperties": {r"(a)\1": {}}}, "a pattern is no regular expression"),
        (D20, {"pattern": "(a{1000}){1000}"}, "a pattern is no regular expression"),
        (D20, {"type": "objct"}, "not a JSON Schema of draft 2020-12 ('objct' is not"),
        (D7, {"required": "a"}, "not a JSON Schema of draft 7 ('a' is not of type 'array'"),
        (D7, {"properties": {"a": {"minimum": "3"}}}, "not a JSON Schema of draft 7"),
        ("https://example.com/own", {}, "`$schema` names no draft that is known here"),
    ],
)
def test_traps_are_refused_in_one_line(draft: str, schema: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSchemaError) as caught:
        make_schema({"$schema": draft, **schema}, where="answer.schema.json")
    shown = str(caught.value)
    assert said in shown
    assert shown.count("\n") == 0
    assert "answer.schema.json" in shown


def test_the_place_in_the_schema_is_named() -> None:
    with pytest.raises(BadSchemaError, match=r"s\.json: #/properties/a/items/anyOf/1"):
        make_schema({"$schema": D20, "properties": {"a": {"items": {"anyOf": [{}, {"requred": []}]}}}}, where="s.json")


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": D20, "x-guidance": {}, "example": 3, "title": "t", "nullable": True, "foo": 1},
        {"$schema": D7, "$ref": "#/definitions/a", "description": "a", "definitions": {"a": {"type": "integer"}}},
        {"$schema": D20, "$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer"}}},
        {"$schema": D7, "items": [{"type": "integer"}], "additionalItems": False},
        {"$schema": D7, "dependencies": {"a": ["b"]}},
        {"$schema": D20, "properties": {"requred": {}, "dependencies": {}, "pattern": {}}},
        {"$schema": D20, "enum": [{"requred": 1}], "default": {"requred": 1}},
        {"$schema": D20, "properties": {"a": True, "b": False}},
        {"$schema": D20 + "#", "type": "integer"},
    ],
)
def test_what_only_looks_like_one_is_not(schema: dict[str, Any]) -> None:
    make_schema(schema)


def test_every_schema_that_may_be_reached_is_looked_at() -> None:
    for around in ("not", "if", "then", "else", "contains", "propertyNames", "additionalProperties", "items"):
        with pytest.raises(BadSchemaError, match="requred"):
            make_schema({"$schema": D20, around: {"requred": []}})
    for around in ("allOf", "anyOf", "oneOf", "prefixItems"):
        with pytest.raises(BadSchemaError, match="requred"):
            make_schema({"$schema": D20, around: [{"requred": []}]})
    for around in ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties"):
        with pytest.raises(BadSchemaError, match="requred"):
            make_schema({"$schema": D20, around: {"a": {"requred": []}}})


def test_a_schema_that_leads_back_to_itself_ends() -> None:
    for schema in ({"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"properties": {"a": {"$ref": "#"}}}):
        assert judge('{"a": {"a": {}}}', make_schema({"$schema": D20, **schema})).valid


def test_a_schema_nested_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"not": schema}
    with pytest.raises(BadSchemaError) as caught:
        make_schema({"$schema": D20, **schema})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("pattern", "linear"), [("^(a+)+$", True), ("é|\\p{L}", True), ("(?!a)", False), ("(", False)])
def test_patterns(pattern: str, linear: bool) -> None:
    assert is_pattern(pattern) == linear


def test_names_of_properties() -> None:
    document = {"properties": {"a": {"items": {"properties": {"b": {}}}}}, "$defs": {"c": {"properties": {"d": True}}}}
    assert property_names(document) == {"a", "b", "d"}


words = st.sampled_from(["type", "items", "properties", "$ref", "requred", "enum", "not", "allOf", "pattern", "x", "required"])
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["object", "string", "a", "#", "("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300)
@given(documents, st.sampled_from([D7, D20]))
def test_a_document_is_a_schema_or_is_refused_in_one_line(document: Any, draft: str) -> None:
    if isinstance(document, dict):
        document = {"$schema": draft, **document}
    said = ""
    try:
        judge(json.dumps(document), make_schema(document))
    except BadSchemaError as error:
        said = str(error)
    assert "\n" not in said
