"""Why an answer is not valid, in one line of words that quote nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema
import jsonschema_rs
import referencing

from evals.schema_check import LINEAR, property_names
from evals.structured import Error, Judged, Schema

__all__ = ["explain"]

_UNREADABLE: Mapping[Error, str] = {
    "empty": "the answer is empty",
    "not_utf8": "the answer is no UTF-8 text",
    "too_large": "the answer is longer than it may be",
    "fenced_or_prose": "there is prose or a Markdown fence about the JSON, or no JSON at all",
    "truncated": "the JSON breaks off",
    "syntax": "the text is not JSON",
    "duplicate_key": "an object has the same key twice",
    "non_finite": "a number is NaN, infinite or too long",
    "too_deep": "the JSON is nested too deep",
}
_TYPES: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def explain(judged: Judged, schema: Schema) -> str:
    """What is wrong, where; empty where nothing is.

    Of ``anyOf`` and the like the branch that comes nearest is explained. Names of properties are shown where the schema has
    them, and as ``*`` where only the answer does: they may be personal data.
    """
    if judged.valid:
        return ""
    if judged.error is not None and judged.error in _UNREADABLE:
        return _UNREADABLE[judged.error]
    known = property_names(schema.document)
    wrong = _nearest(judged.value, schema)
    if wrong is None:
        keyword = str(judged.schema_path[-1]) if judged.schema_path else str(judged.error)
        return f"at {_place(judged.instance_path, known)}: `{keyword}` is not met"
    return f"at {_place(wrong.absolute_path, known)}: {_words(wrong)}"


def _place(path: Iterable[str | int], known: frozenset[str]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part if part in known else '*'}" for part in path]
    return f"`{''.join(parts).lstrip('.')}`" if parts else "the top"


def _words(wrong: Any) -> str:
    keyword, wanted, value = str(wrong.validator), wrong.validator_value, wrong.instance
    if keyword == "required":
        return f"property `{next(name for name in wanted if name not in value)}` is missing"
    if keyword == "type":
        names = wanted if isinstance(wanted, str) else " or ".join(wanted)
        return f"must be {names}, is {_TYPES[type(value)]}"
    if keyword in ("enum", "const"):
        return f"is not what `{keyword}` allows"
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        return "has a property that the schema does not"
    if keyword == "format":
        return f"is no `{wanted}`"
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return f"`{keyword}` is {wanted}, which is not met"
    return f"`{keyword}` is not met"


# --- the schema in jsonschema's hands


def _nearest(value: Any, schema: Schema) -> Any:
    """The error that explains most, as ``jsonschema`` orders them; None where it sees none or cannot say."""
    validator = _validator(json.dumps(schema.document))
    if validator is None:
        return None
    try:
        return jsonschema.exceptions.best_match(validator.iter_errors(value))
    except (RecursionError, ArithmeticError, ValueError, TypeError, referencing.exceptions.Unresolvable):
        return None


@lru_cache(maxsize=64)
def _validator(text: str) -> Any:
    if '"patternProperties"' in text:
        # Python's `re`, which backtracks, would see these patterns.
        return None
    document = json.loads(text)
    plain = jsonschema.validators.validator_for(document)
    bounded = {keyword: _left_to_rust(keyword) for keyword in ("pattern", "format", "uniqueItems", "multipleOf")}
    return jsonschema.validators.extend(plain, bounded)(document, registry=referencing.Registry())


def _left_to_rust(keyword: str) -> Callable[..., Iterator[jsonschema.ValidationError]]:
    """A keyword that may take for ever in Python, or that asserts less there."""

    def check(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
        if not jsonschema_rs.is_valid({keyword: wanted}, value, validate_formats=True, pattern_options=LINEAR):
            yield jsonschema.ValidationError(f"`{keyword}` is not met")

    return check
