"""API keys, tokens, private keys and webhooks: the provider's shape, a keyword, and entropy."""

from __future__ import annotations

import math
from collections import Counter

from redaction.recognizers.checksums import iban_valid
from redaction.recognizers.gates import Needs
from redaction.recognizers.provider_keys import PROVIDERS
from redaction.recognizers.rule import CASE, PatternRule, Rule, compiled

__all__ = ["api_key_rules"]

# Formats of the form `word_random`, of whom nobody knows whose they are.
_PREFIXED = compiled(
    r"(?<![\w-]) (?: whsec | lk | lf | lark | pat | tok | token | key | api | app | sec | secret | sk | pk | ak | rk "
    r"| dev | live | prod | test | auth | access"
    r" | client | session | sess | bot | svc ) [_-] (?=[\w-]*\d) [a-z0-9_-]{12,200} (?![\w-])"
)
_JWT = compiled(r"(?<![\w-]) eyJ[\w-]{8,4000} \. [\w-]{8,8000} (?:\.[\w-]{0,2000}){0,3} (?<=[\w-])", CASE)
_PEM = compiled(
    r"-{4,5}[ ]?BEGIN[ ][A-Z0-9 ]{0,30}(?:PRIVATE[ ]KEY|SECRET[ ]KEY)[A-Z ]{0,10}[ ]?-{4,5} (?:[^-]"
    r"|-(?!---)){0,20000} (?:-{4,5}[ ]?END[ ][A-Z0-9 ]{0,50}-{4,5})?"
)
_PUTTY = compiled(
    r"PuTTY-User-Key-File-\d{1,2}: [^\n]{1,80} (?:\n[^\n]{0,300}){0,120}? \nPrivate-(?:MAC|Hash):[ ]?[0-9a-f]{20,128}"
)
_PUTTY_OPEN = compiled(
    r"PuTTY-User-Key-File-\d{1,2}: [^\n]{1,80} (?:\n(?:[A-Z][\w-]{1,30}:[^\n]{0,200}|[A-Za-z0-9+/=]{1,80}(?=\n|$))){1,120}"
)

_KEY_WORD = (
    r"(?: api[ _-]?keys? | api[ _-]?secret | access[ _-]?keys?(?:[ _-]?id)? | secret[ _-]?(?:access[ _-]?)?keys? "
    r"| secret | (?:access|auth|refresh|bearer|session|id|bot|csrf"
    r"|api|personal|oauth|push|device|service)?[ _-]?token | auth | authorization | credential | client[ _-]?secret "
    r"| consumer[ _-]?(?:key|secret) | signing[ _-]?(?:key|secret)"
    r" | encryption[ _-]?key | private[ _-]?key | master[ _-]?key | shared[ _-]?key | account[ _-]?key "
    r"| app[ _-]?(?:key|secret) | (?:product|activation|license|licence|serial)[ _-]?key"
    r" | webhook(?:[ _-]?(?:secret|url))? | x-api-key | x-auth-token | salt | seed[ _-]?phrase )"
)
_NAMED = compiled(
    rf"(?: (?<![\p{{L}}\d]) | (?<=[\p{{Ll}}\d])(?=\p{{Lu}}) ) (?: {_KEY_WORD} | key | bearer | basic ) (?:[_-](?:v?\d"
    rf"|prod|live|dev|test|id|value))?"
    r" [\"'\]]{0,2} \s{0,3} (?: (?:is|was|ist|in\sthe\sconfig\sis)\s | (?::=|=>|->|:|=|>) \s{0,3} | \s )"
    r" (?:(?:bearer|token|basic)\s)? [\"'`]? (?P<value>[\w+/.~-]{8,400}={0,2}) (?<![.]) (?!=|\()"
)
# `_named_key` wants a digit in the value.
_KEY_NEEDS = Needs(
    digits=1, words=("key", "secret", "token", "auth", "credential", "bearer", "basic", "webhook", "salt", "seed")
)
_NAMED_FAR = compiled(
    rf"\b (?: {_KEY_WORD} | key ) \b (?:\s\w{{1,12}}){{1,5}} \s? [:=]"
    rf" \s? [\"'`]? (?P<value>[\w+/.~-]{{12,400}}={{0,2}}) (?<![.]) (?!=|\()"
)
# A digest or an id of a device is said to be one right before.
_NO_DIGEST = (
    r"(?<! (?: \b(?:commit|sha-?\d{0,3}|md5|digest|checksum|hash|etag|rev(?:ision)?|blob|tree|parent|fingerprint"
    r"|integrity|object|layer|image"
    r"|session(?:[ _-]?id)?|device(?:[ _-]?id)?|uuid|guid|(?:trace|span|request"
    r"|correlation)[ _-]?id) [\"']? \s?[:=\#@]?\s? [\"']?"
    r" | \b(?:sha1|sha256|sha512|md5)[-:_] ) )"
)
_BARE = compiled(rf"(?<![\w/@.-]) (?=[\w+/-]{{20}}) {_NO_DIGEST} (?P<value>[\w+/-]{{20,400}}={{0,2}}) (?![\w@=]|\.\w)")
_HEX = compiled(rf"(?<![\w-]) (?=[0-9a-f]{{32}}) {_NO_DIGEST} [0-9a-f]{{32,128}} (?![\w-])")
_UUID = compiled(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


_PROVIDER_NEEDS = Needs(token=15)
"""No provider's key is shorter, and none has white space in it; a test holds the table to it."""


def _entropy(value: str) -> float:
    """Shannon entropy in bits per character."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


def _mixed(value: str) -> int:
    """Length of the longest piece, between joining marks, that has both letters and digits."""
    pieces = value.replace("_", "-").replace("/", "-").replace(".", "-").split("-")
    return max((len(p) for p in pieces if any(c.isdigit() for c in p) and any(c.isalpha() for c in p)), default=0)


def _named_key(value: str) -> bool:
    return _mixed(value) > 0 and _entropy(value) > 2.5 and _UUID.fullmatch(value) is None


def _far_key(value: str) -> bool:
    return _mixed(value) >= 6 and _entropy(value) > 3


def _prefixed_key(value: str) -> bool:
    return _mixed(value) >= 8 and _entropy(value) > 2.5


def _bare_key(value: str) -> bool:
    """As random as a key: not a path or a slug of words, no UUID (a device's), no bank account."""
    return _mixed(value) >= 10 and _entropy(value) > 3.4 and _UUID.fullmatch(value) is None and not iban_valid(value)


def api_key_rules() -> tuple[Rule, ...]:
    entity = "API_KEY"
    providers = tuple(
        PatternRule(
            f"api_key/{p.name}", "1", entity, compiled(rf"(?<![\w-])(?:{p.pattern})(?![\w-])", CASE), 1.0, needs=_PROVIDER_NEEDS
        )
        for p in PROVIDERS
    )
    return (
        *providers,
        PatternRule("api_key/jwt", "2", entity, _JWT, 1.0, needs=Needs(token=16)),
        PatternRule("api_key/private_key", "2", entity, _PEM, 1.0),
        PatternRule("api_key/putty", "1", entity, _PUTTY, 1.0),
        PatternRule("api_key/putty_open", "1", entity, _PUTTY_OPEN, 0.9),
        PatternRule("api_key/prefixed", "1", entity, _PREFIXED, 0.9, _prefixed_key),
        PatternRule("api_key/named", "2", entity, _NAMED, 0.8, _named_key, needs=_KEY_NEEDS),
        PatternRule("api_key/named_far", "1", entity, _NAMED_FAR, 0.7, _far_key),
        PatternRule("api_key/entropy", "2", entity, _BARE, 0.6, _bare_key, needs=Needs(digits=1, token=20)),
        PatternRule("api_key/hex", "2", entity, _HEX, 0.6, _named_key, needs=Needs(digits=1, token=32)),
    )
