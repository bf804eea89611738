"""API keys and tokens, passwords, user names: keyword, shape, and entropy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.rule import TIMEOUT_S, Hit, PatternRule, Rule, compiled, matches

__all__ = ["api_key_rules", "password_rules", "username_rules"]

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


_PASSWORD_WORD = (
    r"(?: pass?\s?w(?:or)?d?s? | passwords? | paswords? | passwort | kennwort | passw(?:ort)? | pwd? | passwd "
    r"| pass(?:code|phrase) | contrase[ñn]a | clave | mot\sde\spasse | mdp | wachtwoord | has[łl]o | senha "
    r"| parola(?:\sd'ordine)? )"
)
_PASSWORD_ASSIGNED = compiled(
    rf"\b {_PASSWORD_WORD} [\"']? \s* (?: = | : | => ) \s* [\"'`]? (?P<value>[^\s\"'`<>\ufffc]{{3,100}})"
)
_PASSWORD_STATED = compiled(
    rf"\b {_PASSWORD_WORD} \s (?: (?:for|of|to|on|zu|für|de|del|di|voor|do)\s(?:\w+\s){{1,3}} )? (?:(?:is|was|ist"
    rf"|war|lautet|es|est|è|to|jest|era|[eé])\s(?:still\s|now\s|always\s)?)?"
    r"[\"'`]? (?P<value>[^\s\"'`<>\ufffc]{4,100})"
)
_PASSWORD_QUOTED = compiled(rf"\b {_PASSWORD_WORD} [^\"'\n<>\ufffc]{{0,20}} [\"'`](?P<value>[^\s\"'`<>\ufffc]{{4,60}})[\"'`]")
_PASSWORD_BEFORE = compiled(
    rf"(?<!\S) [\"'`(]? (?P<value>[^\s\"'`<>\ufffc]{{5,100}}?) [\"'`)]? \s (?:is|was|ist|es|est|è|as)\s(?:(?:my|the"
    rf"|our|his|her|your|mein|das|mi|la|mon|le|mia|mijn|een|a|an)\s){{0,2}}(?:\w+\s)? {_PASSWORD_WORD} \b"
)
_TOKEN = compiled(r"(?<![^\s\"'`(\[=:,]) (?P<value>[^\s\"'`<>\ufffc()\[\],;]{6,60}) (?![\w])")
_PASSWORD_NEAR = compiled(rf"\b {_PASSWORD_WORD} \b [^\n]{{0,80}} $")
_PIN = compiled(r"\b (?:pin|pin[ -]?code|passcode|code) \s? (?:(?:is|ist|es|was)\s|[:=]\s?) (?P<value>\d{4,8}) \b")
_PIN_WORD = compiled(r"\b (?:pin(?:-?code)?) \s (?P<value>\d{4,8}) \b")


def _secret_shape(value: str) -> bool:
    """Letters with a digit and a mark, a capital inside, or a digit among small letters: no word looks so."""
    value = value.rstrip(".,;:!?)")
    letters = [c for c in value if c.isalpha()]
    digit = any(c.isdigit() for c in value)
    mark = any(not c.isalnum() for c in value)
    inner_capital = any(c.isupper() for c in value[1:]) and any(c.islower() for c in value)
    if len(value) < 5 or not letters or ("@" in value[1:-1] and "." in value.rsplit("@", 1)[1]):
        return False
    return (digit and (mark or inner_capital or len(letters) >= 4)) or (inner_capital and any(c in "_!$%&#*?+" for c in value))


_NO_SECRET = compiled(
    r"(?: v?\d+(?:\.\d+)+ | \d+(?:st|nd|rd|th|am|pm|x|h|min|gb|mb|ghz|mhz|kg|g|cm|mm|m|km|eur|usd|gbp|€|£|\$|%)? "
    r"| https?:.* | \d{1,2}[:h]\d{2}.* | [\d./:-]+ )"
)


class PasswordsNear:
    """A token that no word looks like, after a word for password in the same line, or right beside one."""

    id = "password/near"
    version = "1"
    entity = "PASSWORD"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for pattern, score in ((_PASSWORD_STATED, 0.8), (_PASSWORD_BEFORE, 0.8), (_PASSWORD_QUOTED, 0.8)):
            for match in matches(pattern, text, overlapped=True):
                start, end = _stripped(text, *match.span("value"))
                if self._is_secret(text[start:end]):
                    yield Hit(self.entity, start, end, score, self.id, self.version)
        for match in matches(_TOKEN, text):
            start, end = _stripped(text, *match.span("value"))
            if self._strong(text[start:end]) and _PASSWORD_NEAR.search(text[max(0, start - 90) : start], timeout=TIMEOUT_S):
                yield Hit(self.entity, start, end, 0.6, self.id, self.version)

    def _strong(self, value: str) -> bool:
        return _secret_shape(value) and not _NO_SECRET.fullmatch(value, timeout=TIMEOUT_S)

    def _is_secret(self, value: str) -> bool:
        if self._strong(value):
            return True
        letters = value.isalpha() or value.replace("-", "").replace("'", "").isalpha()
        return (
            len(value) >= 6
            and not letters
            and any(c.isalpha() for c in value)
            and not _NO_SECRET.fullmatch(value, timeout=TIMEOUT_S)
        )


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while end > start and text[end - 1] in ".,;:?)]}":
        end -= 1
    return start, end


def _assigned(value: str) -> bool:
    return value.strip(".,;:").casefold() not in {
        "null",
        "none",
        "true",
        "false",
        "nil",
        "undefined",
        "''",
        '""',
        "***",
        "****",
        "invalid",
        "wrong",
        "incorrect",
        "expired",
    }


def password_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    entity = "PASSWORD"
    return (
        PatternRule("password/assigned", "1", entity, _PASSWORD_ASSIGNED, 0.9, _assigned),
        PasswordsNear(lexicon),
        PatternRule("password/pin", "1", entity, _PIN, 0.7),
        PatternRule("password/pin_word", "1", entity, _PIN_WORD, 0.6),
    )


_USER_WORD = (
    r"(?: user(?:\s?(?:name|id|nm))? | usr(?:\s?name)? | usern?name | log-?in(?:\s?(?:name|id))? | sign-?in\sname "
    r"| account(?:\s?(?:name|id))? | acc(?:t|ount)?\sname | acct? | handle | nick(?:name)? | screen\s?name "
    r"| member\s?id | uid"
    r"| benutzer(?:name)? | nutzername | anmeldename | usuario | nombre\sde\susuario | utilisateur | identifiant "
    r"| pseudo | gebruiker(?:snaam)? | nome\sutente | utente | u[żz]ytkownik | nazwa\su[żz]ytkownika | login )"
)
_HANDLE = r"[\p{L}\d](?:[\p{L}\d]|[._+-](?=[\p{L}\d_-])|_){1,40}"
_USER_ASSIGNED = compiled(rf"\b {_USER_WORD} [\"']? \s* (?: = | :(?!/) | => ) \s* [\"'`]? (?P<value>{_HANDLE}) (?!@)")
_USER_STATED = compiled(
    rf"\b {_USER_WORD} \s (?:(?:is|was|ist|war|es|est|è|jest|called|named|to|under"
    rf"|as)\s)? [\"'`(]? (?P<value>{_HANDLE}) (?!@|['’]\w|\w)"
)
_HANDLE_TOKEN = compiled(rf"(?<![\w@./:=-]) (?P<value>{_HANDLE}) (?![\w@/:=-]|\.\w)")
_ACCOUNT_NEAR = compiled(
    rf"\b (?: {_USER_WORD} | accounts | logins | users | usernames | konto | compte | cuenta | conto "
    rf"| profile? ) \b [^\n]{{0,60}} $"
)
_AT_HANDLE = compiled(r"(?<![\w.@]) @ (?P<value>[a-z\d_][\w.]{2,30}) (?![\w@])")
_FILE_OR_HOST = compiled(
    r".*\.(?:com|org|net|io|de|fr|es|it|nl|pl|eu|uk|example|local|test|html?|json|ya?ml|txt|log|py|js|pdf|png"
    r"|jpe?g|csv|exe|zip|apk|mp[34]|conf|cfg|ini|xml|php|draw|java)"
)


class UserNames:
    """What follows `user=`, `login is`, or looks like a handle near a word for account."""

    id = "username/named"
    version = "1"
    entity = "USERNAME"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for match in matches(_USER_ASSIGNED, text):
            named = match["value"][0].isupper() and self._lexicon.may_be_given_name(match["value"])
            if _assigned(match["value"]) and not match["value"].isdigit() and not named:
                yield self._hit(match.span("value"), 0.8)
        english = self._lexicon.language(text) == "en"
        for match in matches(_USER_STATED, text, overlapped=True):
            if self._stated(match["value"], english):
                yield self._hit(match.span("value"), 0.7)
        for match in matches(_HANDLE_TOKEN, text):
            start = match.start("value")
            if self._named(match["value"]) or (
                self._shaped(match["value"]) and _ACCOUNT_NEAR.search(text[max(0, start - 70) : start], timeout=TIMEOUT_S)
            ):
                yield self._hit(match.span("value"), 0.5)
        for match in matches(_AT_HANDLE, text):
            if not self._lexicon.is_word(match["value"]):
                yield self._hit(match.span("value"), 0.5)

    def _hit(self, span: tuple[int, int], score: float) -> Hit:
        return Hit(self.entity, *span, score, self.id, self.version)

    def _shaped(self, value: str) -> bool:
        """A handle by its looks: pieces joined by a dot or underscore, or letters with digits; not words, hosts or versions."""
        if (
            not any(c.isalpha() for c in value)
            or _FILE_OR_HOST.fullmatch(value, timeout=TIMEOUT_S)
            or _NO_SECRET.fullmatch(value, timeout=TIMEOUT_S)
        ):
            return False
        if value.isupper():
            return False
        pieces = [piece for piece in value.replace("_", ".").replace("-", ".").split(".") if piece]
        digit = any(c.isdigit() for c in value)
        if not any(mark in value for mark in "._"):
            return digit and len(value) >= 5 and sum(c.isalpha() for c in value) >= 3 and not value[0].isdigit()
        if digit:
            return sum(c.isalpha() for c in value) >= 2 and len(value) >= 4
        return len(value) >= 5 and not all(self._lexicon.is_word(piece) for piece in pieces)

    def _named(self, value: str) -> bool:
        """Joined by a dot or underscore, and one piece a given name, or all of them no words: a handle in any context."""
        pieces = [piece.rstrip("0123456789") for piece in value.replace("_", ".").split(".")]
        if len(pieces) < 2 or not self._shaped(value) or any(len(piece) < 2 or not piece.isalpha() for piece in pieces):
            return False
        if any(self._lexicon.is_given_name(piece) for piece in pieces):
            return True
        return value.islower() and all(len(piece) > 3 and not self._lexicon.is_word(piece) for piece in pieces)

    def _stated(self, value: str, english: bool) -> bool:
        if self._shaped(value):
            return True
        if value.isupper() or any(c.isdigit() for c in value) or _FILE_OR_HOST.fullmatch(value, timeout=TIMEOUT_S):
            return False
        if "_" in value:
            return True
        return english and len(value) >= 5 and value[0].islower() and not self._lexicon.is_word(value)


def username_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    return (UserNames(lexicon),)
