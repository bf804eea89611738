"""LangSmith: exports of runs, as JSON Lines of the SDK's or the command line's runs, or as Parquet of a bulk export.

Fields by https://docs.langchain.com/langsmith/run-data-format (2026). ``session_id`` of a run is its project: the conversation
is the thread, one of ``session_id``, ``thread_id`` and ``conversation_id`` in the run's metadata
(https://docs.langchain.com/langsmith/threads), else the trace.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from distill_gov.importers.exports import Dialect

__all__ = ["LANGSMITH", "is_langsmith"]

_THREADS = ("session_id", "thread_id", "conversation_id")


def is_langsmith(columns: Collection[str]) -> bool:
    """Whether columns are those of runs of LangSmith."""
    return {"run_type", "inputs", "outputs"} <= set(columns)


def _groups(held: Mapping[str, Any]) -> Sequence[Any]:
    extra = held.get("extra")
    inner = extra.get("metadata") if isinstance(extra, Mapping) else None
    found = [held.get("thread_id")]
    for metadata in (inner, held.get("metadata")):
        if isinstance(metadata, Mapping):
            found += [metadata.get(name) for name in _THREADS]
    return [*found, held.get("trace_id")]


def _is_root(held: Mapping[str, Any]) -> bool:
    return not held.get("parent_run_id") and not held.get("parent_run_ids")


LANGSMITH = Dialect(
    kind="LangSmith",
    given=("inputs",),
    answered=("outputs",),
    id=("id", "run_id"),
    groups=_groups,
    type=lambda held: str(held.get("run_type", "")).lower(),
    model_calls="llm",
    types=frozenset(("llm", "chain", "tool", "retriever", "embedding", "prompt", "parser")),
    is_root=_is_root,
    failed=lambda held: bool(held.get("error")) or held.get("status") == "error",
    objects=("extra", "metadata", "parent_run_ids"),
    used=("run_id", "run_type", "thread_id", "trace_id", "parent_run_id", "parent_run_ids", "error", "status"),
)
