"""What taught traces hold beside plain turns, and which of it the teacher did not read or the student is not taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill_gov.stages.chats import asked
from distill_gov.traces import Trace
from distill_gov.turns import is_context

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["turns_taught"]


def turns_taught(project: Project, traces: Sequence[Trace], rationales: int = 0) -> dict[str, int]:
    """How many of the traces hold what: for the manifest and the datasheet.

    ``context``, ``tools``: documents, tool calls or results, which the student reads. ``reasoning_taught`` and
    ``reasoning_left_out``: whether the student sees it. ``unread_by_teacher``: turns that the student reads and a prompted
    teacher does not.

    Args:
        rationales: of how many of the traces the reasoning is taught by itself.
    """
    keeps = project.redactor.policy.keeps_reasoning
    counts = dict.fromkeys(("context", "tools", "reasoning_taught", "reasoning_left_out", "unread_by_teacher"), 0)
    for trace in traces:
        reasoned = [turn for turn in trace.messages if "reasoning" in turn]
        # A structured answer has no place for the reasoning before it.
        lost = bool(reasoned) and (not keeps or (project.answer_schema is not None and reasoned[-1] is trace.messages[-1]))
        counts["context"] += bool(trace.context)
        counts["tools"] += any("tool_calls" in turn or turn["role"] == "tool" for turn in trace.messages)
        counts["reasoning_taught"] += bool(reasoned) and not lost
        counts["reasoning_left_out"] += lost
        counts["unread_by_teacher"] += project.settings.teacher.kind == "prompted" and any(
            turn["role"] != "user" and not is_context(turn) for turn in asked(trace)
        )
    counts["reasoning_taught"] += rationales
    counts["reasoning_left_out"] -= rationales
    return counts
