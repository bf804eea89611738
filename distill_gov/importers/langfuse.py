"""Langfuse: exports of its traces and observations tables, from the UI (``sessionId``) or to blob storage (``session_id``).

Fields by https://langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields (2026): inputs and outputs are
texts that may hold JSON, ``type`` is GENERATION for a model's call, a root's ``parent_observation_id`` is empty, failures have
the level ERROR.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from distill_gov.importers.exports import Dialect

__all__ = ["LANGFUSE", "is_langfuse"]

_GROUPS = ("sessionId", "session_id", "userId", "user_id", "traceId", "trace_id")
"""A session is a conversation; without one, all of a user's traces go together, so that none is split from another."""
_PARENTS = ("parentObservationId", "parent_observation_id")


def is_langfuse(columns: Collection[str]) -> bool:
    """Whether columns are those of an export of Langfuse."""
    if not {"id", "input", "output"} <= set(columns):
        return False
    observation = "type" in columns and bool({"traceId", "trace_id"} & set(columns))
    trace = bool({"sessionId", "session_id"} & set(columns)) and bool({"userId", "user_id"} & set(columns))
    return observation or trace


def _groups(held: Mapping[str, Any]) -> Sequence[Any]:
    return [held.get(name) for name in _GROUPS]


def _is_root(held: Mapping[str, Any]) -> bool:
    return not any(held.get(name) for name in _PARENTS)


LANGFUSE = Dialect(
    kind="Langfuse",
    given=("input",),
    answered=("output",),
    id=("id",),
    groups=_groups,
    type=lambda held: str(held.get("type", "")).upper(),
    model_calls="GENERATION",
    types=frozenset(
        ("SPAN", "GENERATION", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL")
    ),
    is_root=_is_root,
    failed=lambda held: held.get("level") == "ERROR",
    objects=("metadata",),
    used=(*_GROUPS, *_PARENTS, "type", "level"),
)
