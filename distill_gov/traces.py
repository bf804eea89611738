"""Traces: the conversations that come in, one JSON object a line, each with the papers that allow its use.

:data:`TRACE_SCHEMA` is the one statement of what a row may hold; reading, writing and importing all check against it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

from distill_gov.records.digest import canonical_json
from distill_gov.records.errors import DuplicateIdError, MalformedFileError, NothingLeftError, UnknownKeyError
from distill_gov.records.files import read_jsonl, write_jsonl
from distill_gov.turns import turn_text

__all__ = [
    "TRACE_SCHEMA",
    "Trace",
    "carried_answer",
    "located_traces",
    "made_by_a_machine",
    "parse_trace",
    "read_traces",
    "recorded_answer",
    "reference_answer",
    "shown_key",
    "trace_row",
    "write_traces",
]


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "pattern": r"\S", "description": description, **more}


# Every description reads on from "must be": errors quote it.
_CALL: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "an object with `function`, as OpenAI's chats have it",
    "required": ["function"],
    "additionalProperties": False,
    "properties": {
        "id": _text("text that is not blank"),
        "type": {"const": "function", "description": "`function`, or absent"},
        "function": {
            "type": "object",
            "description": "an object with `name` and `arguments`",
            "required": ["name", "arguments"],
            "additionalProperties": False,
            "properties": {
                "name": _text("text that is not blank"),
                "arguments": {"type": "string", "description": "text: the arguments as JSON"},
            },
        },
    },
}
# A tool may answer nothing, and who calls one need not say anything; every other turn says something.
_MESSAGE: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "an object with `role` and `content`",
    "required": ["role", "content"],
    "additionalProperties": False,
    "properties": {
        "role": {
            "type": "string",
            "enum": ["user", "assistant", "system", "tool"],
            "description": "one of user, assistant, system, tool",
        },
        "content": {"type": "string", "description": "text that is not blank"},
        "tool_calls": {
            "type": "array",
            "minItems": 1,
            "description": "a list of calls, or absent",
            "items": _CALL,
        },
        "tool_call_id": _text("text that is not blank: the call that a tool answers"),
        "name": _text("text that is not blank: the tool that answers"),
        "reasoning": _text("text that is not blank: what the model thought before it answered"),
    },
    "allOf": [
        {
            "if": {"anyOf": [{"required": ["tool_calls"]}, {"properties": {"role": {"const": "tool"}}}]},
            "else": {"properties": {"content": _text("text that is not blank")}},
        },
        *(
            {
                "if": {"required": [key]},
                "then": {"properties": {"role": {"const": role, "description": f"{role} where there is `{key}`"}}},
            }
            for key, role in (
                ("tool_calls", "assistant"),
                ("reasoning", "assistant"),
                ("tool_call_id", "tool"),
                ("name", "tool"),
            )
        ),
    ],
}

TRACE_SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:distill-gov:trace:1",
    "title": "distill-gov trace",
    "description": "one JSON object a line of a UTF-8 file",
    "type": "object",
    "required": ["id", "group", "messages", "consent", "licence", "retention_until", "tags"],
    "additionalProperties": False,
    "properties": {
        "id": _text("text of at most 200 characters, unique among all traces", maxLength=200),
        "group": _text("text of at most 200 characters; traces of one conversation share it", maxLength=200),
        "messages": {
            "type": "array",
            "description": "a list of turns, at least one of them by the user",
            "contains": {"type": "object", "properties": {"role": {"const": "user"}}, "required": ["role"]},
            "items": _MESSAGE,
        },
        "context": {
            "type": "array",
            "minItems": 1,
            "description": "a list of documents that the answer could draw on, or absent",
            "items": {
                "type": "object",
                "description": "an object with `text`, and `title` if it has one",
                "required": ["text"],
                "additionalProperties": False,
                "properties": {"title": _text("text that is not blank"), "text": _text("text that is not blank")},
            },
        },
        "reference": {
            "type": "object",
            "minProperties": 1,
            "description": 'an object of field to value ({"text": ...} for free text), or absent',
        },
        "consent": _text("text that is not blank: what the customer agreed to"),
        "licence": _text("text that is not blank: the terms under which the text may be used"),
        "retention_until": {
            "type": "string",
            "format": "date",
            "description": "a date such as 2027-12-31 (RFC 3339), the last day on which it may be kept",
        },
        "purpose": _text("text that is not blank, or absent"),
        "region": _text("text that is not blank, or absent"),
        "tenant": _text("text that is not blank, or absent"),
        "language": {
            "type": "string",
            "pattern": "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$",
            "description": "a language tag such as en or pt-BR (BCP 47), or absent",
        },
        "tags": {
            "type": "object",
            "description": "an object of name to text, true or false",
            "additionalProperties": {"type": ["string", "boolean"], "description": "text, true or false"},
        },
    },
}
"""The published JSON Schema of one trace (draft 2020-12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One conversation and the papers that allow its use."""

    id: str
    group: str
    """The conversation that it belongs to; the split never divides a group."""
    messages: tuple[Mapping[str, Any], ...]
    """``{"role": ..., "content": ...}`` a turn, oldest first; an assistant's may have ``tool_calls`` and ``reasoning``, a
    tool's ``tool_call_id`` and ``name``."""
    context: tuple[Mapping[str, str], ...] = ()
    """Documents that the answer could draw on: ``{"text": ...}``, and ``title`` where it has one."""
    reference: Mapping[str, Any] | None = None
    """The right answer, field to value; ``{"text": ...}`` for free text."""
    consent: str
    licence: str
    retention_until: date
    """The last day on which the trace may be kept."""
    purpose: str | None = None
    region: str | None = None
    tenant: str | None = None
    language: str | None = None
    """BCP 47."""
    tags: Mapping[str, str | bool] = field(default_factory=dict)


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(dict(TRACE_SCHEMA), validate_formats=True)


def parse_trace(row: Mapping[str, Any], *, where: str) -> Trace:
    """Check one row against :data:`TRACE_SCHEMA` and make the trace.

    Raises:
        UnknownKeyError: a key that the schema does not have, with the nearest that it has.
        MalformedFileError: anything else that is wrong, with ``where`` and the key, never the value.
    """
    try:
        # A row without a canonical form could not be digested later; that must show here, where the line is known.
        canonical_json(row)
        error = next(iter(sorted(_validator().iter_errors(row), key=_unknown_keys_first)), None)
    except MalformedFileError as refused:
        raise MalformedFileError(refused.what, where=where) from None
    except (RecursionError, ValueError):
        raise MalformedFileError("nested too deep, or a value that is no JSON", where=where) from None
    if error is not None:
        raise _explain(error, row, where)
    return Trace(
        id=row["id"],
        group=row["group"],
        messages=tuple(dict(message) for message in row["messages"]),
        context=tuple(dict(document) for document in row.get("context", ())),
        reference=row.get("reference"),
        consent=row["consent"],
        licence=row["licence"],
        retention_until=date.fromisoformat(row["retention_until"]),
        purpose=row.get("purpose"),
        region=row.get("region"),
        tenant=row.get("tenant"),
        language=row.get("language"),
        tags=dict(row["tags"]),
    )


def _unknown_keys_first(error: jsonschema_rs.ValidationError) -> bool:
    # A misspelt key is also a missing one; "did you mean" helps more than "is missing".
    return error.schema_path[-1] != "additionalProperties"


def _explain(error: jsonschema_rs.ValidationError, row: Mapping[str, Any], where: str) -> MalformedFileError | UnknownKeyError:
    path = list(error.instance_path)
    *steps, keyword = error.schema_path
    rule, held = _walk(TRACE_SCHEMA, steps), _walk(row, path)
    if keyword == "additionalProperties":
        unknown = next(key for key in held if key not in rule["properties"])
        near = difflib.get_close_matches(unknown, rule["properties"], n=1, cutoff=0.5)
        fix = f"Did you mean `{near[0]}`?" if near else "Remove it."
        return UnknownKeyError(f"unknown key `{_spelled([*path, unknown])}`", where=where, fix=fix)
    if keyword == "required":
        missing = next(key for key in rule["required"] if key not in held)
        return MalformedFileError(f"key `{_spelled([*path, missing])}` is missing", where=where, fix="Add it.")
    return MalformedFileError(f"key `{_spelled(path)}` must be {rule['description']}", where=where)


def _walk(value: Any, steps: Sequence[str | int]) -> Any:
    for step in steps:
        value = value[step]
    return value


_MADE_BY_A_MACHINE = re.compile(
    r"([A-Za-z]{1,12}[-_])?([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=([0-9]*[a-f]){3})[0-9a-f]{16,64})(-[0-9]{1,6})?",
    re.IGNORECASE,
)


def made_by_a_machine(id: str) -> bool:
    """Whether an id is a UUID or a digest, which say nothing about a person.

    One in some thousands has digits in it that look like a number of somebody's.
    """
    return _MADE_BY_A_MACHINE.fullmatch(id) is not None


HIDDEN_KEY = "(not shown: it may be personal)"
_DIGITS_SHOWN = 4


def shown_key(key: str) -> str:
    """A key or column name of a stranger's file as a message may show it: escaped and cut, so that it stays one line.

    One that looks like somebody's number or address is not shown: a table without a header has its first row taken for one.
    """
    if "@" in key or sum(character.isdigit() for character in key) > _DIGITS_SHOWN:
        return HIDDEN_KEY
    shown = json.dumps(key)[1:-1]
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _spelled(path: Sequence[str | int]) -> str:
    return shown_key(".".join(str(step) for step in path))


def trace_row(trace: Trace) -> dict[str, Any]:
    """The row of a trace as :data:`TRACE_SCHEMA` has it; absent fields are left out."""
    row = {
        "id": trace.id,
        "group": trace.group,
        "messages": [dict(message) for message in trace.messages],
        "context": [dict(document) for document in trace.context] or None,
        "reference": None if trace.reference is None else dict(trace.reference),
        "consent": trace.consent,
        "licence": trace.licence,
        "retention_until": trace.retention_until.isoformat(),
        "purpose": trace.purpose,
        "region": trace.region,
        "tenant": trace.tenant,
        "language": trace.language,
        "tags": dict(trace.tags),
    }
    return {key: value for key, value in row.items() if value is not None}


def read_traces(path: Path) -> list[Trace]:
    """Read a JSON Lines file of traces, in the order of the file. Nothing is skipped but blank lines.

    Raises:
        MissingFileError: no such file.
        MalformedFileError, UnknownKeyError: a line that is no trace, with file, line and key.
        DuplicateIdError: two lines carry one id.
        NothingLeftError: the file holds no trace.
    """
    return [trace for _, trace in located_traces(path)]


def located_traces(path: Path) -> list[tuple[str, Trace]]:
    """As :func:`read_traces`, each trace with its file and line."""
    rows = ((f"{path}:{number}", row) for number, row in read_jsonl(path))
    return _checked(rows, source=str(path))


def write_traces(path: Path, traces: Iterable[Trace]) -> None:
    """Write traces as JSON Lines, atomically. What :func:`read_traces` would refuse is refused before anything is written."""
    rows = [trace_row(trace) for trace in traces]
    _checked(((f"trace {number}", row) for number, row in enumerate(rows, start=1)), source=str(path))
    write_jsonl(path, rows)


def _checked(rows: Iterable[tuple[str, Mapping[str, Any]]], *, source: str) -> list[tuple[str, Trace]]:
    traces: list[tuple[str, Trace]] = []
    first: dict[str, str] = {}
    for where, row in rows:
        trace = parse_trace(row, where=where)
        if trace.id in first:
            raise DuplicateIdError(
                f"its id was taken by {first[trace.id]}", where=where, fix="Give each trace an id of its own."
            )
        first[trace.id] = where
        traces.append((where, trace))
    if not traces:
        raise NothingLeftError("no traces in it", where=source, fix="Make some with `distill-gov import`.")
    return traces


def recorded_answer(trace: Trace, *, reasoning: bool = False) -> str | None:
    """The answer that the trace already carries: its last turn, if the assistant's (``teacher: {kind: recorded}``).

    Args:
        reasoning: whether the answer's reasoning is part of it.
    """
    last = trace.messages[-1]
    return turn_text(last, reasoning=reasoning) if last["role"] == "assistant" else None


def reference_answer(trace: Trace) -> str | None:
    """A trace's reference as an answer: a JSON object."""
    return None if trace.reference is None else json.dumps(dict(trace.reference), ensure_ascii=False)


def carried_answer(trace: Trace) -> str | None:
    """The answer that a trace brings along: the recorded one, else its reference."""
    said = recorded_answer(trace)
    return reference_answer(trace) if said is None else said
