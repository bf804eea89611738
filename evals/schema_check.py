"""What is wrong with a JSON Schema although it is one: keywords misspelt or ignored under its draft, patterns without bound.

A validator passes over each of these in silence, so that answers would be held against less than their author wrote.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema
import jsonschema_rs
import referencing

from distill_gov.records.errors import BadSchemaError

__all__ = ["LINEAR", "NOT_HERE", "check_schema", "is_pattern", "never_fetch", "property_names"]

LINEAR = jsonschema_rs.RegexOptions()
"""Patterns are matched in time linear in the text; look-around and back-references cannot be, and are refused."""

_DRAFTS: Mapping[str, str] = {
    "http://json-schema.org/draft-04/schema": "draft 4",
    "http://json-schema.org/draft-06/schema": "draft 6",
    "http://json-schema.org/draft-07/schema": "draft 7",
    "https://json-schema.org/draft/2019-09/schema": "draft 2019-09",
    "https://json-schema.org/draft/2020-12/schema": "draft 2020-12",
}
_REF_STANDS_ALONE = frozenset({"draft 4", "draft 6", "draft 7"})

_OF_6 = frozenset({"const", "contains", "propertyNames"})
_OF_7 = frozenset({"if", "then", "else"})
_OF_2019 = frozenset(
    {
        *("dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties"),
        *("minContains", "maxContains", "$recursiveRef"),
    }
)
_OF_2020 = frozenset({"prefixItems", "$dynamicRef"})
_GONE = frozenset({"dependencies", "additionalItems", "$recursiveRef"})
_IGNORED: Mapping[str, frozenset[str]] = {
    "draft 4": _OF_6 | _OF_7 | _OF_2019 | _OF_2020,
    "draft 6": _OF_7 | _OF_2019 | _OF_2020,
    "draft 7": _OF_2019 | _OF_2020,
    "draft 2019-09": _OF_2020 | {"dependencies"},
    "draft 2020-12": _GONE,
}
"""By draft, the keywords of other drafts that would assert something there and do not here."""

_ASSERTING = (
    frozenset(
        {
            *("$ref", "type", "enum", "format", "pattern", "required", "properties", "patternProperties"),
            *("additionalProperties", "items", "allOf", "anyOf", "oneOf", "not", "multipleOf", "minimum", "maximum"),
            *("exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
            *("minProperties", "maxProperties"),
        }
    )
    | _OF_6
    | _OF_7
    | _OF_2019
    | _OF_2020
    | _GONE
)
_SILENT = frozenset(
    {
        *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$defs", "definitions"),
        *("$comment", "title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly"),
        *("contentEncoding", "contentMediaType", "contentSchema"),
    }
)
_TYPO = 0.8
"""How alike (``difflib`` ratio) an unknown keyword must be to one that asserts to count as misspelt."""

_ONE = (
    *("additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames"),
    *("then", "unevaluatedItems", "unevaluatedProperties"),
)
_LISTED = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties")


NOT_HERE = "not present in a registry"
"""How ``jsonschema_rs`` begins to say that a reference leads out of the schema."""


def never_fetch(uri: str) -> Any:
    raise ValueError("references outside the schema are never fetched")


def check_schema(document: Mapping[str, Any], *, where: str) -> None:
    """Check a schema against its draft, and for what a validator would pass over.

    Raises:
        BadSchemaError: one line, with the place in the schema.
    """
    draft = _DRAFTS.get(str(document["$schema"]).removesuffix("#"))
    if draft is None:
        raise BadSchemaError(
            "`$schema` names no draft that is known here", where=where, fix=f"Use one of: {', '.join(_DRAFTS)}."
        )
    try:
        for place, schema in _subschemas(document):
            _check_one(schema, _DRAFTS.get(str(schema.get("$schema", "")).removesuffix("#"), draft), f"{where}: {place}")
        wrong = jsonschema.exceptions.best_match(_of_metaschema(document["$schema"]).iter_errors(document))
    except RecursionError:
        raise BadSchemaError("a schema nested too deep", where=where) from None
    if wrong is not None:
        place = "#" + "".join(f"/{part}" for part in wrong.absolute_path)
        raise BadSchemaError(f"not a JSON Schema of {draft} ({wrong.message.splitlines()[0][:160]})", where=f"{where}: {place}")


@lru_cache
def _of_metaschema(uri: str) -> Any:
    of_draft = jsonschema.validators.validator_for({"$schema": uri})
    # The default registry opens sockets and files for what it does not know.
    return jsonschema.validators.validator_for(of_draft.META_SCHEMA)(of_draft.META_SCHEMA, registry=referencing.Registry())


def _check_one(schema: Mapping[str, Any], draft: str, where: str) -> None:
    for keyword in schema:
        if keyword in _IGNORED[draft]:
            raise BadSchemaError(f"`{keyword}` does nothing under {draft}", where=where, fix="Change the draft or the keyword.")
        if keyword not in _ASSERTING | _SILENT and not keyword.startswith("x-"):
            near = difflib.get_close_matches(keyword, sorted(_ASSERTING), n=1, cutoff=_TYPO)
            if near:
                raise BadSchemaError(f"no keyword `{keyword}`; the nearest is `{near[0]}`", where=where)
    if draft == "draft 2020-12" and isinstance(schema.get("items"), list):
        raise BadSchemaError("a list of `items` is `prefixItems` under draft 2020-12", where=where, fix="Rename it.")
    beside = sorted(_ASSERTING & schema.keys() - {"$ref"})
    if isinstance(schema.get("$ref"), str) and draft in _REF_STANDS_ALONE and beside:
        raise BadSchemaError(
            f"`{beside[0]}` beside `$ref` does nothing under {draft}",
            where=where,
            fix="Wrap the reference in `allOf`, or use draft 2020-12.",
        )
    for pattern in (schema.get("pattern"), *_keys(schema.get("patternProperties"))):
        if isinstance(pattern, str) and not is_pattern(pattern):
            raise BadSchemaError(
                "a pattern is no regular expression that can be matched in linear time",
                where=where,
                fix="Write it without look-around and back-references.",
            )


def is_pattern(pattern: str) -> bool:
    """Whether it is a regular expression that is matched in linear time."""
    try:
        jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=LINEAR)
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True


def property_names(document: Mapping[str, Any]) -> frozenset[str]:
    """Every name that the schema itself gives a property."""
    return frozenset(name for _, schema in _subschemas(document) for name in _keys(schema.get("properties")))


def _keys(value: Any) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, dict) else ()


def _subschemas(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schema and every schema in it, each with its JSON pointer, whether something leads to it or not."""
    waiting: list[tuple[str, Any]] = [("#", document)]
    while waiting:
        place, schema = waiting.pop()
        if not isinstance(schema, dict):
            continue
        yield place, schema
        waiting += [(f"{place}/{k}", schema[k]) for k in _ONE if k in schema]
        for k in _LISTED:
            if isinstance(schema.get(k), list):
                waiting += [(f"{place}/{k}/{n}", part) for n, part in enumerate(schema[k])]
        for k in _NAMED:
            waiting += [(f"{place}/{k}/{name}", schema[k][name]) for name in _keys(schema.get(k))]
