"""Answers in words: what a rater reads instead of JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import loads_strict

__all__ = ["answer_in_words", "normalise"]

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Characters that nobody sees and that could mark whose text it is. Joiners stay: scripts and emoji need them."""


def normalise(text: str) -> str:
    """One spelling of white space for every author: NFC, single spaces, no empty lines, no control characters."""
    visible = "".join(c for c in text.translate(_INVISIBLE) if c.isspace() or unicodedata.category(c) != "Cc")
    lines = (" ".join(line.split()) for line in unicodedata.normalize("NFC", visible).splitlines())
    return "\n".join(line for line in lines if line)


def answer_in_words(json_text: str, schema: Mapping[str, Any]) -> str:
    """Short labelled lines, one a field, in the schema's order.

    A field is called by its ``title`` or its name in words; a value of an enumeration by the ``title`` beside its ``const`` or
    its name in words. Text that is no JSON object is returned as it is, with white space normalised.
    """
    try:
        value = loads_strict(json_text, where="answer")
        lines = _lines(value, schema, ()) if isinstance(value, dict) else []
    except (MalformedFileError, RecursionError):
        lines = []
    return normalise("\n".join(lines) or json_text)


def _lines(value: Mapping[str, Any], schema: Mapping[str, Any], above: tuple[str, ...]) -> list[str]:
    properties = _mapping(schema.get("properties"))
    # The schema's order for every author: the order in which a model wrote its keys would tell who it was.
    names = [name for name in properties if name in value] + sorted(name for name in value if name not in properties)
    lines = []
    for name in names:
        field = _mapping(properties.get(name))
        label = (*above, str(field.get("title") or _spaced(name)))
        child = value[name]
        if isinstance(child, dict):
            lines += _lines(child, field, label)
        else:
            lines.append(f"{_capital(', '.join(label))}: {_value(child, field)}")
    return lines


def _value(value: Any, field: Mapping[str, Any]) -> str:
    if value is None or value in ("", []):
        return "(nothing)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_value(part, _mapping(field.get("items"))) for part in value)
    if isinstance(value, dict):
        return "; ".join(_lines(value, field, ()))
    for choice in (*field.get("oneOf", ()), *field.get("anyOf", ())):
        if isinstance(choice, Mapping) and choice.get("const") == value and "title" in choice:
            return str(choice["title"])
    return _spaced(value) if isinstance(value, str) and ("enum" in field or "const" in field) else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _spaced(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
