"""Turns as strangers write them: OpenAI's and its likes', ShareGPT's, and LangChain's messages in their three forms.

LangChain writes ``{"lc": 1, "type": "constructor", "id": [..., "HumanMessage"], "kwargs": {...}}``, ``{"type": "human", "data":
{...}}`` or ``{"type": "human", "content": ...}``; OpenAI's compatible servers write reasoning as ``reasoning_content`` or
``reasoning``; Anthropic's contents are lists of parts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from distill_gov.importers.rows import filled, json_object
from distill_gov.records.errors import MalformedFileError, UnknownKeyError
from distill_gov.traces import shown_key

__all__ = ["is_turn", "turn", "turns"]

_ROLES = {"human": "user", "gpt": "assistant", "ai": "assistant", "developer": "system", "observation": "tool"}
_TYPES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool", "developer": "system"}
"""What LangChain calls its messages: ``HumanMessage`` is of type ``human``."""
_REASONING = ("reasoning", "reasoning_content")
_TEXT_PARTS = ("text", "input_text", "output_text")


def turns(value: Any, role: str, where: str, left_out: Counter[str] | None = None) -> list[dict[str, Any]]:
    """The turns of a list, or one turn by ``role`` of a text.

    Args:
        left_out: counts what a turn holds beyond what a trace has a place for; None: that is an error.

    Raises:
        MalformedFileError, UnknownKeyError: a turn that cannot be read, never its text.
    """
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list):
        raise MalformedFileError("the conversation is neither text nor a list of turns", where=where)
    return [turn(one, f"{where}: turn {number}", left_out) for number, one in enumerate(value, start=1)]


def is_turn(value: Any) -> bool:
    """Whether a value is a turn in one of the forms."""
    if not isinstance(value, dict):
        return False
    return "role" in value or ("from" in value and "value" in value) or _langchain(value) is not None


def turn(value: Any, where: str, left_out: Counter[str] | None = None) -> dict[str, Any]:
    """One turn as a trace has it; who checks the trace checks its values."""
    given = json_object(value, where)
    held = {key: part for key, part in (_langchain(given) or given).items() if filled(part)}
    role_key, content_key = ("from", "value") if "from" in held else ("role", "content")
    role = held.pop(role_key, None)
    role = _ROLES.get(role, role) if isinstance(role, str) else role
    more = _object_in(held, "additional_kwargs")
    made: dict[str, Any] = {"role": role}
    made |= _content(held.pop(content_key, None), where, left_out)
    # LangChain keeps the same calls twice, as it reads them and as the server sent them.
    calls = [held.pop("tool_calls", None), more.pop("tool_calls", None), made.get("tool_calls")]
    if found := next(filter(filled, calls), None):
        made["tool_calls"] = _calls(found, where)
    thoughts = [part.pop(key, None) for part in (held, more) for key in _REASONING]
    if thought := next(filter(filled, thoughts), None):
        made["reasoning"] = thought
    for key in ("tool_call_id", "name"):
        if role == "tool" and key in held:
            made[key] = held.pop(key)
    _refuse(held, {f"additional_kwargs.{key}" for key in more if filled(more[key])}, where, left_out)
    if role is None or ("content" not in made and "tool_calls" not in made and role != "tool"):
        raise MalformedFileError("a turn needs a role and a text (`role`, `content` or `from`, `value`)", where=where)
    made.setdefault("content", "")
    return made


def _refuse(held: Mapping[str, Any], more: set[str], where: str, left_out: Counter[str] | None) -> None:
    unknown = [*held, *sorted(more)]
    if unknown and left_out is None:
        fix = "Take it or the row out; nothing is dropped in silence."
        raise UnknownKeyError(f"a trace has no place for `{shown_key(unknown[0])}` of a turn", where=where, fix=fix)
    if left_out is not None:
        left_out.update(unknown)


def _object_in(held: dict[str, Any], key: str) -> dict[str, Any]:
    value = held.get(key)
    if not isinstance(value, dict):
        return {}
    del held[key]
    return dict(value)


def _langchain(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """One of LangChain's messages with a ``role``; None where it is none."""
    kind, inner = value.get("type"), dict(value)
    if kind == "constructor" and isinstance(value.get("kwargs"), dict) and isinstance(value.get("id"), list) and value["id"]:
        name = str(value["id"][-1])
        kind = name.removesuffix("Chunk").removesuffix("Message").lower()
        inner = {**value["kwargs"]}
    elif isinstance(value.get("data"), dict):
        inner = {**value["data"]}
    elif "role" in value or "content" not in value:
        return None
    if not isinstance(kind, str) or kind not in _TYPES:
        return None
    inner.pop("type", None)
    return {**inner, "role": _TYPES[kind]}


def _content(value: Any, where: str, left_out: Counter[str] | None) -> dict[str, Any]:
    """Text, also where it comes as a list of parts: texts are joined, thinking and tool use go where they belong."""
    if value is None:
        return {}
    if not isinstance(value, list):
        return {"content": value}
    texts: list[str] = []
    made: dict[str, Any] = {}
    for part in value:
        held = {"type": "text", "text": part} if isinstance(part, str) and left_out is not None else json_object(part, where)
        kind = held.get("type")
        if (
            kind in _TEXT_PARTS
            and isinstance(held.get("text"), str)
            and (left_out is not None or set(held) == {"type", "text"})
        ):
            texts.append(held["text"])
        elif kind == "thinking" and isinstance(held.get("thinking"), str):
            made["reasoning"] = "\n".join(filter(None, [made.get("reasoning"), held["thinking"]]))
        elif kind == "tool_use":
            made.setdefault("tool_calls", []).append(held)
        else:
            raise MalformedFileError("a turn holds something other than text", where=where, fix="Only text can be imported.")
    text = "".join(texts)
    return {**made, "content": text} if text.strip() else made


def _calls(value: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise MalformedFileError("tool calls are a list", where=where)
    return [_call(json_object(one, where), where) for one in value]


def _call(held: Mapping[str, Any], where: str) -> dict[str, Any]:
    """OpenAI's ``{id, function: {name, arguments}}``, LangChain's ``{id, name, args}``, Anthropic's ``{id, name, input}``."""
    inner = held.get("function")
    function = inner if isinstance(inner, dict) else held
    arguments: Any = next((function[key] for key in ("arguments", "args", "input") if function.get(key) is not None), {})
    name = function.get("name")
    if not isinstance(name, str) or not isinstance(arguments, str | dict | list):
        raise MalformedFileError("a tool call needs the name of a function and its arguments", where=where)
    made: dict[str, Any] = {"function": {"name": name, "arguments": _as_json(arguments, where)}, "type": "function"}
    return {"id": held["id"], **made} if filled(held.get("id")) else made


def _as_json(arguments: Any, where: str) -> str:
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise MalformedFileError("arguments of a tool call that are no JSON", where=where) from None
