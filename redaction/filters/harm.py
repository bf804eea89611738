"""A small lexicon that flags replies which seem to help with harm, or are hostile. It flags; people and the policy decide."""

from __future__ import annotations

import re

from redaction.filters.hits import FilterHit

__all__ = ["HARM_RULE", "HARM_VERSION", "flag_reply"]

HARM_RULE, HARM_VERSION = "answer/harm", "2"

_TOPIC = re.compile(
    r"""\b(?:
        (?:pipe\s*|fire\s*|petrol\s*)?bombs?|explosives?|detonat\w+|grenades?|molotov\w*|gunpowder
          |thermite|napalm|firearms?|silencers?|ghost\s+guns?
      | meth(?:amphetamine)?|crack\s+cocaine|fentanyl|nerve\s+(?:gas|agent)|ricin|chlorine\s+gas
        |mustard\s+gas|poison(?:ing|ed)?\s+(?:him|her|them|someone|somebody|your|his|the\s+neighbou?r)
      | malware|ransomware|keylogger|spyware|phishing|botnets?|ddos|brute[\s-]?forc\w+|exploit\s+code|credential\s+stuffing
      | (?:fake|forged?|counterfeit|backdated?|falsif\w+)\s+(?:\w+\s+){0,2}(?:invoices?|receipts?|ids?
        |passports?|reviews?|documents?|money|cards?|certificates?)
      | (?:stolen|someone\s+else'?s|other\s+people'?s|another\s+customer'?s|her|his|their
        |neighbou?r'?s)\s+(?:\w+\s+){0,2}(?:accounts?|cards?|passwords?|credentials|address|footage|camera)
      | (?:hack|break|breaking|get|getting)\s+into\s+(?:\w+\s+){0,3}(?:accounts?|cameras?|routers?|phones?
        |networks?|house|home)
      | (?:without\s+(?:her|his|their|them|him|anyone|anybody|consent|being)\s*(?:\w+\s*)?(?:knowing
        |noticing|noticed|knowledge|consent)?) | in\s+secret | secretly | undetected | untraceabl\w+
      | (?:disable|bypass|remove|override)\s+(?:the\s+)?(?:safety|smoke|thermal|overheat\w*
        |recording\s+light|red\s+light)\s*\w*
      | (?:stalk|blackmail|extort|kill|murder|hurt|harm|injure|electrocute)\s+(?:yourself|himself|herself
        |him|her|them|someone|somebody|people|your|the)
      | suicide|self[\s-]?harm|overdos\w+|launder\w*
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_HELP = re.compile(
    r"""\b(?:
        we(?:'ll|\s+will|\s+can|\s+would\s+be\s+happy\s+to)\s+(?:gladly\s+|happily\s+)?(?:help|show
          |explain|send|tell|give|make|write|arrange|set|check|look|find|share|provide)
      | i(?:'ll|\s+will|\s+can)\s+(?:help|show|explain|send|tell|give|make|write) | let\s+(?:us|me)\s+(?:help|show|explain)
      | here(?:'s|\s+is|\s+are) | sure\b | of\s+course | certainly | no\s+problem | happy\s+to 
        | you\s+(?:can|could|should|need|will\s+need|must|just) | first\b | step\s+\d+ | start\s+by | simply 
        | just\s+\w+ | to\s+do\s+(?:this|that|so)
      | (?:mix|combine|connect|wire|attach|install|download|open|use|heat|press|turn|point|hide|remove|cut
        |pour|add|drill|solder|run|type|enter|click)\s+(?:the|a|an|your|it|this|some|two|both|in)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_DECLINES = re.compile(
    r"""\b(?: (?:can(?:no|')?t|cannot|can\s+not|won'?t|will\s+not|unable\s+to|not\s+able\s+to|do\s+not|don'?t|must\s+not
  |may\s+not|never|not\s+allowed\s+to)\s+(?:be\s+able\s+to\s+)?(?:\w+\s+){0,2}?(?:help|assist|do|give|share
  |provide|make|write|support|offer|explain|show|tell|take\s+part|change|hand)
      | not\s+something\s+we | (?:a|the|one\s+of\s+our)\s+(?:person|people
        |colleagues?)\s+(?:from\s+our\s+team\s+)?will\s+(?:take|be|call|contact|listen) | against\s+our )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_HOSTILE = re.compile(
    r"""\byou(?:'re|\s+are|'ll\s+be|\s+will\s+be|\s+will|\s+should|\s+deserve\s+to)\s+(?:\w+\s+){0,3}?
    (?:stupid|idiots?|pathetic|worthless|disgusting|evil|bad\s+person|criminals?|thie(?:f|ves)|liars?|lunatics?|psychos?
      |burn(?:ed|t)?|die|dead|killed|hurt|punished|suffer|beaten|shot|jailed|arrested)\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""Insults and threats to the person who wrote."""


def flag_reply(text: str) -> FilterHit | None:
    """Flag a reply that speaks of a harmful thing and offers help in the same breath, and does not decline; or a hostile one.

    A clause that declines covers only itself: "we cannot help, but first mix the ..." is flagged.
    """
    if _HOSTILE.search(text.replace("\u2019", "'")):
        return FilterHit(HARM_RULE, HARM_VERSION, "hostile")
    clauses = re.split(r"(?<=[.!?;])\s+|\n+|,?\s+(?:but|however|though|still|instead)\b,?\s*", text.replace("\u2019", "'"))
    topic = _TOPIC.search(text.replace("\u2019", "'")) is not None
    helping = any(_HELP.search(clause) and not _DECLINES.search(clause) for clause in clauses)
    return FilterHit(HARM_RULE, HARM_VERSION, "harmful_help") if topic and helping else None
