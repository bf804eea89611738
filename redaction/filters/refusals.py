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

_WE = r"(?:i|we|our\s+(?:team|desk)|the\s+assistant)"
_ARE = r"(?:'m|'re|\s+am|\s+are|\s+is)"
_CANNOT = (
    r"(?:can\s?not|can'?t|could\s+not|couldn'?t|will\s+not|won'?t|would\s+not|wouldn'?t|shall\s+not|must\s+not|mustn't|cannot"
    r"|do\s+not|don'?t|never)"
)
_UNWILLING = r"(?:unable|not\s+(?:able|allowed|permitted|going|willing|prepared|comfortable|in\s+a\s+position))"
_DO = (
    r"(?:help|assist|support|provid|giv|shar|offer|writ|creat|generat|mak|draft|produc|explain|show|tell|teach|advis"
    r"|discuss|answer"
    r"|fulfil|comply|complying|engag|participat|tak(?:e|ing)\s+part|do(?:ing)?\s+(?:that|this|it|such)|go(?:ing)?\s+along"
    r"|encourag"
    r"|condon|promot|recommend|describ|sa(?:y|ying)|send|look(?:ing)?\s+up|hand|be\s+(?:part|able)|continu|facilitat"
    r"|process)l?(?:e|ing)?"
)
_UNLESS = r"(?!\s+(?:you\s+)?(?:until|unless|before|without\s+(?:the|your|an?)\s+(?:order|number|receipt|address|details)))"
"""What follows is a condition, and what was asked will be done."""
_REFUSES = re.compile(
    rf"""\b(?:
        {_WE}(?:'ll|'d)?\s+(?:really\s+|just\s+|simply\s+|also\s+)?{_CANNOT}\s+(?:\w+\s+){{0,3}}?{_DO}\b{_UNLESS}
      | (?:sorry|apolog\w+|afraid|regret|unfortunately|no)\b[^.!?\n]{{0,20}}[,;:.]?\s+(?:but\s+|that\s+)?{_WE}?\s*{_CANNOT}
          \s+(?:\w+\s+){{0,3}}?{_DO}\b{_UNLESS}
      | {_WE}{_ARE}\s+{_UNWILLING}\s+(?:to\s+|with\s+)?(?:\w+\s+){{0,2}}?{_DO}\b{_UNLESS}
      | {_WE}(?:\s+would|'d)\s+(?:rather|prefer)\s+not\b
      | {_WE}(?:'ll|\s+(?:must|will|have\s+to|need\s+to)|{_ARE}\s+going\s+to)?\s+(?:respectfully\s+|politely\s+)?
          (?:decline|refuse|have\s+to\s+pass|pass\s+on\s+this)\b
      | (?:not|n't)\s+(?:something|a\s+(?:thing|request|topic))\s+(?:that\s+)?{_WE}(?:'ll|'d|{_ARE}|\s+\w+)
      | (?:something|request|topic|thing|one)\s+(?:that\s+)?{_WE}(?:'ll|\s+will|\s+have\s+to|\s+must)\s+(?:not\s+\w+
        |turn\s+down|decline)
      | (?:it|this|that|which|request|so|doing\s+so)\s+(?:\w+\s+){{0,2}}(?:against|violates?|outside|falls?\s+outside
        |breach\w*)\s+
          (?:of\s+)?(?:(?:my|our|the|its)\s+(?:\w+\s+){{0,2}}(?:polic\w+|guidelines|rules|principles|programming|terms|values)
          |what\s+{_WE}{_ARE}\s+allowed)
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
