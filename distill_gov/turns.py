"""How a turn stands as text: what a student reads and writes of tool calls, tool results, reasoning and context documents.

Models read roles and texts. Calls are written as Hermes and Qwen write them (``<tool_call>`` around ``{"name", "arguments"}``),
reasoning as DeepSeek-R1 does (``<think>``), context documents as one leading system turn. Nothing else of a turn is read: ids
of calls only tie results to them, so a result is told by its tool's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import loads_strict

__all__ = ["Turn", "context_turn", "is_context", "named_results", "turn_text"]

Turn = Mapping[str, Any]
"""``role`` and ``content``, and what else :data:`distill_gov.traces.TRACE_SCHEMA` lets a message hold."""

_CONTEXT = "Context documents:"


def context_turn(documents: Sequence[Mapping[str, str]]) -> Turn | None:
    """The system turn that shows the documents; None where there are none."""
    if not documents:
        return None
    shown = [f"[{number}] {document.get('title', '')}".rstrip() for number, document in enumerate(documents, start=1)]
    texts = [f"{head}\n{document['text']}" for head, document in zip(shown, documents, strict=True)]
    return {"role": "system", "content": "\n\n".join([_CONTEXT, *texts])}


def is_context(turn: Turn) -> bool:
    """Whether a turn is what :func:`context_turn` makes."""
    return bool(turn["role"] == "system" and str(turn["content"]).startswith(_CONTEXT))


def named_results(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with each tool result named after the call that it answers, where it does not say itself."""
    names = {call["id"]: call["function"]["name"] for turn in turns for call in turn.get("tool_calls", ()) if call.get("id")}
    return [
        {**turn, "name": names[turn["tool_call_id"]]}
        if turn["role"] == "tool" and "name" not in turn and turn.get("tool_call_id") in names
        else turn
        for turn in turns
    ]


def turn_text(turn: Turn, *, reasoning: bool = False) -> str:
    """A turn as one text.

    Args:
        reasoning: whether its reasoning stands before it; else it is left out.
    """
    thought = turn.get("reasoning") if reasoning else None
    said = f"{turn['name']}: {turn['content']}" if turn["role"] == "tool" and turn.get("name") else turn["content"]
    calls = [f"<tool_call>\n{_call(call['function'])}\n</tool_call>" for call in turn.get("tool_calls", ())]
    return "\n".join(part for part in ([f"<think>\n{thought}\n</think>"] if thought else []) + [said, *calls] if part)


def _call(function: Mapping[str, str]) -> str:
    return json.dumps({"name": function["name"], "arguments": _arguments(function["arguments"])}, ensure_ascii=False)


def _arguments(text: str) -> Any:
    try:
        return loads_strict(text, where="arguments")
    except MalformedFileError:
        return text
