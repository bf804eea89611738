"""JSON documents: the string leaves with their pointers, and the same document with other strings in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from distill_gov.records.errors import MalformedFileError

__all__ = ["JsonValue", "string_leaves", "with_leaves"]

JsonValue = Any
_DEEPEST = 200


def string_leaves(value: JsonValue, pointer: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(JSON pointer by RFC 6901, text) of every string that is a value; keys are left alone.

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
            yield from string_leaves(child, f"{pointer}/{_escaped(key)}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from string_leaves(child, f"{pointer}/{index}", depth + 1)
    elif value is not None and not isinstance(value, bool | int | float):
        raise MalformedFileError(f"{type(value).__name__} is no JSON value")


def with_leaves(value: JsonValue, texts: Mapping[str, str], pointer: str = "") -> JsonValue:
    """A copy with the strings at the given pointers replaced: same keys, types and order."""
    if isinstance(value, str):
        return texts.get(pointer, value)
    if isinstance(value, Mapping):
        return {key: with_leaves(child, texts, f"{pointer}/{_escaped(key)}") for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [with_leaves(child, texts, f"{pointer}/{index}") for index, child in enumerate(value)]
    return value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
