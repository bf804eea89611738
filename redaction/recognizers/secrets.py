"""API keys and tokens: the provider's shape, a keyword, and entropy."""

from __future__ import annotations

import math
from collections import Counter

from redaction.recognizers.rule import PatternRule, Rule, compiled

__all__ = ["api_key_rules"]

_PROVIDERS = compiled(
    r"(?<![\w-]) (?: (?:sk|pk|rk)_(?:live|test)_[0-9a-z]{8,} | sk-(?:proj-|ant-|or-)?[\w-]{16,} "
    r"| gh[pousr]_[0-9a-z]{20,} | github_pat_\w{22,} | glpat-[\w-]{16,}"
    r"| (?:AKIA|ASIA|AGPA|AROA)[0-9A-Z]{12,20} | xox[abeprs]-[\w-]{10,} | AIza[\w-]{25,45} | ya29\.[\w-]{20,} "
    r"| SG\.[\w-]{16,}\.[\w-]{16,} | hf_[a-z0-9]{16,} | npm_[a-z0-9]{20,}"
    r"| pypi-[\w-]{16,} | shp(?:at|ca|pa|ss)_[a-f0-9]{16,} | sq0[a-z]{3}-[\w-]{16,} | dop_v1_[a-f0-9]{16,} "
    r"| AC[a-f0-9]{32} | SK[a-f0-9]{32} | key-[a-f0-9]{32}"
    r"| (?:whsec|rzp_live|rzp_test|lk|lf|lark|pat|tok|key|api|app|sec|dev|live"
    r"|test)[_-](?=[\w-]*\d)[a-z0-9_-]{12,} | EAA[a-z0-9]{20,} | lin_api_[a-z0-9]{20,} )"
)
_JWT = compiled(r"(?<![\w-]) eyJ[\w-]{8,} \. [\w-]{8,} (?:\.[\w-]{5,})?")
_PRIVATE_KEY = compiled(
    r"-----BEGIN[ ][A-Z ]{0,20}PRIVATE[ ]KEY-----[A-Za-z0-9+/=\s]{0,8000}(?:-----END[ ][A-Z ]{0,20}PRIVATE[ ]KEY-----)?"
)
_NAMED = compiled(
    r"\b (?: [\w-]{0,20}?(?:api[ _-]?key|access[ _-]?key|secret[ _-]?key|secret|token|auth|credential"
    r"|client[ _-]?secret|licen[cs]e[ _-]?key|webhook) | key | bearer | authorization )"
    r" [\"']? \s* (?: (?:is|was|ist|in\sthe\sconfig\sis) \s | [:=>]{1,2} \s* "
    r"| \s (?:bearer\s)? ) (?:bearer\s)? [\"'`]? (?P<value>[\w+/.~-]{8,200}={0,2}) (?<![.]) (?!=)"
)
_BARE = compiled(r"(?<![\w/@.-]) (?P<value>[\w+/-]{20,200}={0,2}) (?![\w@=]|\.\w)")
_HEX = compiled(r"(?<![\w-]) [0-9a-f]{32,128} (?![\w-])")


def _entropy(value: str) -> float:
    """Shannon entropy in bits per character."""
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


def _named_key(value: str) -> bool:
    has_digit, has_letter = any(c.isdigit() for c in value), any(c.isalpha() for c in value)
    return has_digit and has_letter and _entropy(value) > 2.5


def _bare_key(value: str) -> bool:
    pieces = [piece for piece in value.replace("_", "-").replace("/", "-").split("-") if piece]
    mixed = [p for p in pieces if any(c.isdigit() for c in p) and any(c.isalpha() for c in p)]
    return _named_key(value) and _entropy(value) > 3.4 and max((len(p) for p in mixed), default=0) >= 10


def api_key_rules() -> tuple[Rule, ...]:
    entity = "API_KEY"
    return (
        PatternRule("api_key/provider", "1", entity, _PROVIDERS, 1.0, lambda v: any(c.isdigit() for c in v)),
        PatternRule("api_key/jwt", "1", entity, _JWT, 1.0),
        PatternRule("api_key/private_key", "1", entity, _PRIVATE_KEY, 1.0),
        PatternRule("api_key/named", "1", entity, _NAMED, 0.8, _named_key),
        PatternRule("api_key/entropy", "1", entity, _BARE, 0.6, _bare_key),
        PatternRule("api_key/hex", "1", entity, _HEX, 0.6, _named_key),
    )
