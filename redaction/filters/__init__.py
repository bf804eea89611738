"""Policy filters: each says what it notices in one item, never with text of the item; the policy says what of that drops it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redaction.filters.answers import AnswerItem, answer_filters
    from redaction.filters.harm import flag_reply
    from redaction.filters.hits import Decided, Filter, FilterHit, Tag, decide, decide_all
    from redaction.filters.ngrams import shared_ngrams
    from redaction.filters.plugins import HazardScorer
    from redaction.filters.policy import FilterPolicy
    from redaction.filters.prompts import PromptItem, prompt_filters
    from redaction.filters.protected import build_index
    from redaction.filters.similarity import too_alike

__all__ = [
    "AnswerItem",
    "Decided",
    "Filter",
    "FilterHit",
    "FilterPolicy",
    "HazardScorer",
    "PromptItem",
    "Tag",
    "answer_filters",
    "build_index",
    "decide",
    "decide_all",
    "flag_reply",
    "prompt_filters",
    "shared_ngrams",
    "too_alike",
]

_MODULES = {
    "AnswerItem": "answers",
    "Decided": "hits",
    "Filter": "hits",
    "FilterHit": "hits",
    "FilterPolicy": "policy",
    "HazardScorer": "plugins",
    "PromptItem": "prompts",
    "Tag": "hits",
    "answer_filters": "answers",
    "build_index": "protected",
    "decide": "hits",
    "decide_all": "hits",
    "flag_reply": "harm",
    "prompt_filters": "prompts",
    "shared_ngrams": "ngrams",
    "too_alike": "similarity",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"redaction.filters.{_MODULES[name]}"), name)
