"""Replies that decline, and boilerplate of an assistant. Whether a refusal is wrong depends on what was asked."""

from __future__ import annotations

import re
from collections.abc import Iterator

from redaction.filters.hits import Tag

__all__ = ["REFUSAL_VERSION", "boilerplate", "refusal", "refuses"]

REFUSAL_VERSION = "1"

_BOILERPLATE = re.compile(
    r"\b(?:as|i(?:'|\u2019)?\s?a?m(?:\s+just)?)\s+an?\s+(?:ai|artificial\s+intelligence"
    r"|(?:large\s+)?language\s+model|chat\s?bot|virtual\s+assistant|automated\s+system)\b"
    r"|\bmy\s+(?:training\s+data|knowledge\s+cut-?\s?off)\b|\bi\s+(?:do\s+not|don(?:'"
    r"|\u2019)t)\s+have\s+(?:personal\s+)?(?:feelings|opinions|access\s+to\s+real-?time)\b"
    r"|\btrained\s+by\s+(?:openai|anthropic|google|meta)\b",
    re.IGNORECASE,
)

_I = r"(?:i|we|our\s+team|this\s+desk|the\s+assistant)"
_NOT = (
    r"(?:can(?:no|')?t|can\s*not|could\s?n(?:o|')?t|wo\s?n't|will\s+not|would\s?n(?:o|')?t|shall\s+not|must\s+not|mustn't"
    r"|(?:am|are|'m|'re)\s+(?:not\s+able|unable)\s+to"
    r"|(?:am|are|'m|'re)\s+not\s+(?:allowed|permitted|going|willing|comfortable|in\s+a\s+position)(?:\s+to)?|do\s?n(?:o"
    r"|')?t\s+(?:feel\s+comfortable)?|do\s+not"
    r"|(?:have|need|am\s+going)\s+to\s+(?:decline|refuse|pass)|must\s+(?:decline|refuse)|(?:respectfully\s+)?(?:decline"
    r"|refuse)\s+to)"
)
_TO_HELP = (
    r"(?:help|assist|support|provide|give|share|offer|write|create|generate|make|draft|produce|explain|show|tell|teach"
    r"|advise|discuss|answer|fulfil|fulfill|comply"
    r"|engage|participate|take\s+part|do\s+(?:that|this|it|such)|go\s+along|encourage|recommend|describe|say|send"
    r"|look\s+up|hand|be\s+part|continue|facilitate|process)"
)
_REFUSES = re.compile(
    rf"""\b(?:
        {_I}(?:'m|'re|\s+am|\s+are)?\s*(?:(?:really|very|so|truly)?\s*(?:sorry|afraid)\s*,?\s*(?:but
          |that)?\s*,?\s*{_I}?)?\s*{_NOT}\s+(?:\w+\s+){{0,3}}?{_TO_HELP}\b
          (?!\s+(?:you\s+)?(?:until|unless|before|without\s+(?:the|your|an?)\s+(?:order|number|receipt|address|details)))
      | (?:sorry|apologi[sz]e|afraid
        |regret)\b[^.!?\n]{{0,20}}[,;:\s]\s*(?:but\s+)?(?:that\s+)?{_I}?\s*{_NOT}\s+(?:\w+\s+){{0,3}}?{_TO_HELP}\b
          (?!\s+(?:you\s+)?(?:until|unless|before))
      | {_I}\s+(?:must|have\s+to|need\s+to|will|'ll)\s+(?:respectfully\s+|politely\s+)?(?:decline|refuse)\b
        | {_I}\s+(?:respectfully\s+)?(?:decline|refuse)\b
      | (?:is|'s)\s+(?:not|n't)\s+(?:something|a\s+thing)\s+(?:that\s+)?{_I}(?:'m|'re|\s+\w+|'ll|'d){{0,3}}?\s*(?:can|could
        |will|would|do|able|help|support|assist|discuss)\b
      | not\s+something\s+(?:that\s+)?{_I}\s+(?:can|could|will|would|do|are|am)\b
      | (?:against|violat\w+|outside|breach\w*\s+of)\s+(?:my|our|the|its)\s+(?:\w+\s+){{0,2}}(?:polic\w+|guidelines|rules
        |principles|programming|terms|values)\b
      | no\s+(?:help|advice|instructions?)\s+(?:with|on|for)\s+(?:that|this)\s+(?:from\s+(?:us|me)|here)
      | {_I}\s+(?:do\s?n(?:o|')?t|do\s+not|never)\s+(?:help|assist|support|condone|promote|encourage|provide|give
        |take\s+part)\b
      | (?:unable|not\s+able|not\s+possible\s+for\s+(?:me|us))\s+to\s+(?:help|assist|comply|fulfil+|provide|share|support
        |answer)\b(?!\s+(?:you\s+)?(?:until|unless|before))
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_HEDGED = re.compile(
    r"\b(?:can(?:no|')?t|cannot)\s+(?:promise|say|tell)\s+(?:you\s+)?(?:yet|exactly|when|how\s+long|for\s+sure|whether)\b",
    re.IGNORECASE,
)


def boilerplate(text: str) -> Iterator[Tag]:
    """ "As an AI language model" and the like: nothing that a company's desk says."""
    if _BOILERPLATE.search(text):
        yield Tag("boilerplate")


def refuses(text: str) -> bool:
    """Whether a reply declines what was asked, by its words. English only."""
    plain = text.replace("\u2019", "'")
    return _REFUSES.search(_HEDGED.sub(" ", plain)) is not None


def refusal(refused: bool, hazardous: bool) -> Iterator[Tag]:
    """``safe_refusal``, a good example and only recorded, where the prompt was hazardous; else ``over_refusal``."""
    if refused:
        yield Tag("safe_refusal", action="flag") if hazardous else Tag("over_refusal")
