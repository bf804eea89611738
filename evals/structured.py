"""Structured output: is a model's answer strict JSON, and valid under a schema? If not, what is the first thing wrong?

RFC 8259 strictly: no duplicate keys, no NaN or infinities, nothing before or after the value. JSON Schema by ``jsonschema-rs``,
formats asserted, patterns matched in linear time, nothing fetched; ``jsonschema`` says in words what was not met.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jsonschema_rs

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadSchemaError, MalformedFileError, MissingFileError
from distill_gov.records.files import loads_strict
from evals.schema_check import LINEAR, NOT_HERE, check_schema, never_fetch

__all__ = [
    "ERRORS",
    "MAX_BYTES",
    "MAX_DEPTH",
    "Error",
    "Judged",
    "Schema",
    "TextError",
    "compile_validator",
    "judge",
    "load_schema",
    "make_schema",
    "parse_answer",
]

TextError = Literal[
    "empty",
    "not_utf8",
    "too_large",
    "fenced_or_prose",
    "truncated",
    "syntax",
    "duplicate_key",
    "non_finite",
    "too_deep",
]
"""What may be wrong with a text before anything is asked of its content, in the order in which it is looked for."""

Error = Literal[
    TextError,
    "required",
    "type",
    "enum",
    "additionalProperties",
    "format",
    "pattern",
    "bounds",
    "other",
]

ERRORS: tuple[Error, ...] = Error.__args__  # type: ignore[attr-defined]
"""The taxonomy, in the order in which the first error is looked for; from ``required`` on they are the schema's."""

MAX_DEPTH = 64
"""Levels of nesting that an answer may have."""
MAX_BYTES = 1 << 20
"""Bytes of UTF-8 that an answer may have; what is longer is not parsed."""

_BOUNDS = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    }
)


@dataclass(frozen=True, slots=True)
class Schema:
    """A JSON Schema that was checked and compiled."""

    document: dict[str, Any]
    digest: str
    validator: Any = field(repr=False, compare=False)
    """A validator of ``jsonschema_rs``."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer's validity."""

    valid: bool
    error: Error | None
    """The first error; None exactly where ``valid``."""
    value: Any = field(default=None, repr=False)
    """The parsed value, also where only the schema was not met; None where nothing parsed."""
    instance_path: tuple[str | int, ...] = ()
    """Where in the answer the schema was not met."""
    schema_path: tuple[str | int, ...] = ()
    """Which keyword of the schema was not met."""


def load_schema(path: Path) -> Schema:
    """Read a JSON Schema.

    Raises:
        MissingFileError: no such file.
        BadSchemaError: not a JSON Schema of a known draft, ``$schema`` absent, an unknown format, a reference that leads
            out of the file (it is never fetched) or nowhere, a misspelt keyword, a keyword that its draft ignores, a pattern
            that cannot be matched in linear time.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError("no such schema", where=str(path)) from error
    try:
        document = loads_strict(data, where=str(path))
    except MalformedFileError as error:
        raise BadSchemaError(error.what, where=str(path)) from error
    return make_schema(document, where=str(path))


def make_schema(document: Any, *, where: str = "schema") -> Schema:
    """Check and compile a JSON Schema that is already parsed. Raises as :func:`load_schema`."""
    if not isinstance(document, dict):
        raise BadSchemaError("a schema must be a JSON object", where=where)
    if not isinstance(document.get("$schema"), str):
        raise BadSchemaError(
            "key `$schema` is missing, so its draft is unknown",
            where=where,
            fix='Add "$schema": "https://json-schema.org/draft/2020-12/schema".',
        )
    check_schema(document, where=where)
    try:
        validator = compile_validator(document)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        # Only the first line: what follows repeats the schema.
        said = str(error).splitlines()[0]
        if NOT_HERE in said:
            raise BadSchemaError(
                "a `$ref` leads out of the schema, and nothing is ever fetched",
                where=where,
                fix="Copy what it refers to into `$defs`.",
            ) from None
        raise BadSchemaError(f"not a usable JSON Schema ({said[:200]})", where=where) from None
    try:
        digest = digest_json(document)
    except MalformedFileError as error:
        raise BadSchemaError(f"a schema that cannot be digested ({error.what})", where=where) from None
    return Schema(document, digest, validator)


def compile_validator(document: Any, *, formats: bool = True, fetch: Callable[[str], Any] = never_fetch) -> Any:
    """A validator of ``jsonschema_rs`` with the options that answers are judged by.

    Args:
        document: a schema; unlike :func:`make_schema` it is not looked through first.
        formats: whether they are asserted, and unknown ones refused.
        fetch: gives the document at a URI that the schema refers to.
    """
    return jsonschema_rs.validator_for(
        document,
        validate_formats=formats,
        ignore_unknown_formats=not formats,
        retriever=fetch,
        pattern_options=LINEAR,
    )


def judge(text: str | bytes, schema: Schema, *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> Judged:
    """Parse an answer and hold it against the schema. Never raises over what the text is."""
    parsed = parse_answer(text, max_depth=max_depth, max_bytes=max_bytes)
    if not parsed.valid or schema.validator.is_valid(parsed.value):
        return parsed
    found = [
        (ERRORS.index(_keyword(error.kind.name)), _path(error.instance_path), _path(error.schema_path))
        for error in schema.validator.iter_errors(parsed.value)
    ]
    if not found:  # pragma: no cover - the two ways of asking agree
        return Judged(False, "other", parsed.value)
    rank, instance_path, schema_path = min(found, key=lambda e: (e[0], str(e[1]), str(e[2])))
    return Judged(False, ERRORS[rank], parsed.value, instance_path, schema_path)


def _path(parts: list[str | int]) -> tuple[str | int, ...]:
    return tuple(parts)


def _keyword(name: str) -> Error:
    if name in _BOUNDS:
        return "bounds"
    if name in ("required", "type", "enum", "additionalProperties", "format", "pattern"):
        return name  # type: ignore[return-value]
    return "enum" if name == "const" else "other"


# --- parsing


class _Seen:
    """What the parser met that JSON does not allow although Python does."""

    def __init__(self) -> None:
        self.duplicate_key = self.non_finite = False

    def pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        self.duplicate_key |= len(found) != len(pairs)
        return found

    def constant(self, name: str) -> float:
        self.non_finite = True
        return 0.0

    def number(self, text: str) -> float:
        value = float(text)
        self.non_finite |= value in (float("inf"), float("-inf"))
        return value

    def integer(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:  # Python refuses integers of thousands of digits
            self.non_finite = True
            return 0


class _OddError(Exception):
    """Python reads it and JSON has it not, or not certainly."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _OddError
    return found


def _no_constant(name: str) -> float:
    raise _OddError


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _OddError
    return value


_PLAIN = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite)


def parse_answer(text: str | bytes, *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES) -> Judged:
    """Parse an answer as strict JSON; ``error`` is then one of the kinds before ``required``."""
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        size = len(text) if text.isascii() else len(text.encode("utf-8"))
    except UnicodeError:
        return Judged(False, "not_utf8")
    if not text or text.isspace():
        return Judged(False, "empty")
    if size > max_bytes:
        return Judged(False, "too_large")
    # Most answers are plain JSON; only of the others the first error has to be found. An escape may be half a character.
    if text.count("[") + text.count("{") <= max_depth and "\\u" not in text:
        try:
            return Judged(True, None, _PLAIN.decode(text))
        except (_OddError, ValueError):
            pass
    return _parsed(text, max_depth)


def _parsed(text: str, max_depth: int) -> Judged:
    seen = _Seen()
    try:
        value = json.loads(
            text,
            object_pairs_hook=seen.pairs,
            parse_constant=seen.constant,
            parse_float=seen.number,
            parse_int=seen.integer,
        )
        # Escaped lone surrogates parse, but are no text.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        return Judged(False, _syntax_error(text, error))
    except UnicodeError:
        return Judged(False, "not_utf8")
    except RecursionError:
        return Judged(False, "too_deep")
    if seen.duplicate_key:
        return Judged(False, "duplicate_key")
    if seen.non_finite:
        return Judged(False, "non_finite")
    if _deeper_than(value, max_depth):
        return Judged(False, "too_deep")
    return Judged(True, None, value)


_LITERALS = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
_BEGUN = re.compile(r"-?|\.\d*|[eE][+-]?\d*|\\?(u[0-9a-fA-F]{0,4})?")
_PROSE = re.compile(r"[^\W\d_]|`")


def _syntax_error(text: str, error: json.JSONDecodeError) -> Error:
    start, rest = text.lstrip(), text[error.pos :].strip()
    literal = bool(rest) and any(word.startswith(rest) for word in _LITERALS)
    if error.msg == "Extra data":
        # A whole value came first: "{...} I hope this helps", or a fence closed behind it.
        return "fenced_or_prose" if _PROSE.match(rest) else "syntax"
    if _PROSE.match(start) and not literal:
        return "fenced_or_prose"
    if error.msg.startswith("Unterminated string") or literal or _BEGUN.fullmatch(rest):
        return "truncated"
    return "syntax"


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [item for v in level if isinstance(v, dict | list) for item in (v.values() if isinstance(v, dict) else v)]
    return any(isinstance(v, dict | list) for v in level)
