"""Policy filters: each says of one item why it should be dropped, or nothing; never with text of the item."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redaction.filters.answers import AnswerItem, answer_filters
    from redaction.filters.harm import flag_reply
    from redaction.filters.hits import Filter, FilterHit, first_hit
    from redaction.filters.prompts import PromptItem, prompt_filters

__all__ = ["AnswerItem", "Filter", "FilterHit", "PromptItem", "answer_filters", "first_hit", "flag_reply", "prompt_filters"]

_MODULES = {
    "AnswerItem": "redaction.filters.answers",
    "Filter": "redaction.filters.hits",
    "FilterHit": "redaction.filters.hits",
    "PromptItem": "redaction.filters.prompts",
    "answer_filters": "redaction.filters.answers",
    "first_hit": "redaction.filters.hits",
    "flag_reply": "redaction.filters.harm",
    "prompt_filters": "redaction.filters.prompts",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
