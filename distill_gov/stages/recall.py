"""Redaction against ground truth: how much of what is known to be personal was found (``pii_spans`` of `distill.yaml`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import read_jsonl
from distill_gov.stages.chats import CleanChat, asked
from distill_gov.traces import Trace

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["redaction_recall"]


def redaction_recall(project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace]) -> dict[str, Any]:
    """Spans of the chats' first user messages, and how many of them redaction wholly covered.

    A span is covered when every letter and digit of it lies in some finding.

    Returns:
        ``spans``, ``covered``, ``covered_recall``, and ``by_entity``: entity to [spans, covered]. Empty without ground truth.

    Raises:
        MalformedFileError: a row is no span of the message it names.
    """
    name = project.settings.pii_spans
    if not name:
        return {}
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for finding in (f for chat in chats for f in chat.findings):
        found[finding.item, finding.field].update(range(finding.start, finding.end))
    seen = {chat.trace for chat in chats}
    tally: dict[str, list[int]] = {}
    for number, row in read_jsonl(project.file(name)):
        where = f"{name}:{number}"
        trace, start, end, entity = _span(row, where)
        if trace not in seen:
            continue
        place, text = _asked_first(traces[trace])
        if not 0 <= start < end <= len(text):
            raise MalformedFileError("the span does not lie in the trace's first user message", where=where)
        inside = found[trace, f"/{place}/content"]
        counts = tally.setdefault(entity, [0, 0])
        counts[0] += 1
        counts[1] += all(i in inside for i in range(start, end) if text[i].isalnum())
    spans, covered = (sum(counts[k] for counts in tally.values()) for k in (0, 1))
    if not spans:
        return {}
    return {"spans": spans, "covered": covered, "covered_recall": covered / spans, "by_entity": dict(sorted(tally.items()))}


def _span(row: Mapping[str, Any], where: str) -> tuple[str, int, int, str]:
    try:
        trace, start, end, entity = row["id"], row["start"], row["end"], row["type"]
    except KeyError as missing:
        raise MalformedFileError(f"key `{missing.args[0]}` is missing", where=where, fix="Add it.") from None
    if not isinstance(trace, str) or not isinstance(entity, str) or type(start) is not int or type(end) is not int:
        raise MalformedFileError("`id` and `type` must be text, `start` and `end` whole numbers", where=where)
    return trace, start, end, entity


def _asked_first(trace: Trace) -> tuple[int, str]:
    return next((i, m["content"]) for i, m in enumerate(asked(trace)) if m["role"] == "user")
