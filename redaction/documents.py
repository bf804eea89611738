"""JSON documents: the string leaves with their pointers, and the same document with other strings in their place.

Chats hold the arguments of a tool call as JSON in a string (OpenAI's and every compatible format). In a text, a redactor would
cut across its quotes; so a string under the key ``arguments`` that holds a JSON object or array counts as what it holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import loads_strict

__all__ = ["JsonValue", "string_leaves", "with_leaves"]

JsonValue = Any
_DEEPEST = 200
_EMBEDDING = "arguments"
"""The key whose strings may hold JSON. Any other string stays text, which is redacted whole: of JSON only the values are."""


def string_leaves(value: JsonValue, pointer: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(JSON pointer by RFC 6901, text) of every string that is a value; keys are left alone.

    A pointer goes on into the JSON that ``arguments`` hold: ``/function/arguments/city``.

    Raises:
        MalformedFileError: the value is no JSON, or nested deeper than 200.
    """
    if depth > _DEEPEST:
        raise MalformedFileError(f"JSON nested deeper than {_DEEPEST}")
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            if not isinstance(key, str):
                raise MalformedFileError("JSON object with a key that is no string")
            inner = _embedded(key, child, depth + 1)
            yield from string_leaves(child if inner is None else inner, f"{pointer}/{_escaped(key)}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from string_leaves(child, f"{pointer}/{index}", depth + 1)
    elif value is not None and not isinstance(value, bool | int | float):
        raise MalformedFileError(f"{type(value).__name__} is no JSON value")


def with_leaves(value: JsonValue, texts: Mapping[str, str], pointer: str = "", depth: int = 0) -> JsonValue:
    """A copy with the strings at the given pointers replaced: same keys, types and order.

    JSON in ``arguments`` in which nothing changes stays as it was written; else it is written anew, as `json.dumps` does.
    """
    if isinstance(value, str):
        return texts.get(pointer, value)
    if isinstance(value, Mapping):
        return {key: _child(key, child, texts, f"{pointer}/{_escaped(key)}", depth + 1) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [with_leaves(child, texts, f"{pointer}/{index}", depth + 1) for index, child in enumerate(value)]
    return value


def _child(key: str, child: JsonValue, texts: Mapping[str, str], pointer: str, depth: int) -> JsonValue:
    inner = _embedded(key, child, depth)
    if inner is None:
        return with_leaves(child, texts, pointer, depth)
    clean = with_leaves(inner, texts, pointer, depth)
    return child if clean == inner else json.dumps(clean, ensure_ascii=False)


def _embedded(key: str, value: JsonValue, depth: int) -> JsonValue:
    """The object or array that a string holds under the embedding key; None where it is text (also: cut off, doubled keys,
    nested too deep), which is then redacted as text."""
    if key != _EMBEDDING or not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return None
    try:
        inner = loads_strict(value, where=_EMBEDDING)
        for _ in string_leaves(inner, depth=depth):
            pass
    except (MalformedFileError, RecursionError):
        return None
    return inner


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
