"""Login names and handles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.passwords import is_filler
from redaction.recognizers.rule import TIMEOUT_S, Hit, PatternRule, Rule, compiled, matches

__all__ = ["username_rules"]

_WORD = (
    r"(?: user(?:\s?(?:name|id|nm))? | usr(?:\s?name)? | usern?name | log-?in(?:\s?(?:name|id))? | sign-?in\sname "
    r"| account(?:\s?(?:name|id))? | acc(?:t|ount)?\sname | acct? | handle | nick(?:name)? | screen\s?name | gamer\s?tag"
    r"| member\s?id | uid"
    r"| benutzer(?:name)? | nutzername | anmeldename | usuario | nombre\sde\susuario | utilisateur | identifiant "
    r"| pseudo | gebruiker(?:snaam)? | nome\sutente | utente | u[żz]ytkownik | nazwa\su[żz]ytkownika | login )"
)
_LEFT = r"(?: (?<![\p{L}\d]) | (?<=[\p{Ll}\d])(?=\p{Lu}) )"
_KEY = (
    rf"{_LEFT} (?: user(?:[_-]?(?:name|id|nm|login))? | usr(?:[_-]?name)? | usern?name | log-?in(?:[_-]?(?:name|id"
    rf"|user))? | account[_-]?name"
    r" | acct?[_-]?name | nick(?:name)? | screen[_-]?name | gamer[_-]?tag | uid | benutzer(?:name)? | usuario "
    r"| utilisateur | identifiant"
    r" | gebruiker(?:snaam)? | utente | u[żz]ytkownik | owner | author | assignee | principal | sam[_-]?account[_-]?name )"
)
_HANDLE = r"[\p{L}\d](?:[\p{L}\d]|[._+-](?=[\p{L}\d_-])|_){1,40}"
_ASSIGNED = compiled(
    rf"{_KEY} [\"'`\]]{{0,2}} \s{{0,3}} (?: := | => | = "
    rf"| :(?!/) ) \s{{0,3}} (?P<quote>[\"'`]?) (?P<value>{_HANDLE}) (?![@(]|['’]\w)"
)
_STATED = compiled(
    rf"\b {_WORD} \s (?:(?:is|was|ist|war|es|est|è|jest|called|named|to|under"
    rf"|as)\s)? [\"'`(]? (?P<value>{_HANDLE}) (?!@|['’]\w|\w)"
)
_TOKEN = compiled(rf"(?<![\w@./:=-]) (?P<value>{_HANDLE}) (?![\w@/:=-]|\.\w)")
_NEAR = compiled(
    rf"\b (?: {_WORD} | accounts | logins | users | usernames | konto | compte | cuenta | conto "
    rf"| profile? ) \b [^\n]{{0,60}} $"
)
_AT = compiled(r"(?<![\w.@/]) @ (?P<value>[a-z\d_][\w.]{2,30}) (?<!\.) (?![\w@/]|\.\w)")
_SQL = compiled(
    r"\b (?: (?:create|alter|drop)\s(?:user|role|login)(?:\sif\s(?:not\s)?exists)? | (?:grant"
    r"|revoke)\s[^;\n]{1,120}?\s(?:to|from) | set\spassword\sfor ) \s [\"'`\[]? (?P<value>[\w.$-]{2,60})"
)
_PATH = compiled(
    r"(?: (?<![\w.])/(?:home|users)/ | \\(?:users|documents\sand\ssettings)\\ "
    r"| (?<![\w/])~(?=[\w.-]{2,40}/) ) (?P<value>[\w.-]{2,40}) (?=[/\\\s\"':;,)]|$)"
)
_SHARED = frozenset(
    [
        "public",
        "shared",
        "default",
        "all",
        "admin",
        "administrator",
        "user",
        "users",
        "ubuntu",
        "runner",
        "runneradmin",
        "root",
        "guest",
        "node",
        "app",
        "vagrant",
        "ec2-user",
        "git",
        "www",
    ]
)
_LOG = compiled(
    r"\b (?: (?:for|by|from|as|of)\s(?:invalid\s)?user | (?:accepted|failed)\s(?:password|publickey|login"
    r"|logon)\sfor(?:\s(?:invalid\s)?user)? | session\s(?:opened|closed)\sfor\suser | user(?:name)?\s?= | su: | sudo:\s{1,5}"
    r" | uid=\d+\( | user\sdn: ) \s? [\"'\[]? (?P<value>[a-z_][\w.-]{1,40}?) (?=[\"'\])\s:;,]|$|\.\s)"
)
_SSH = compiled(r"\b (?:ssh|scp|sftp|rsync|ssh-copy-id) \s (?:-\w+\s(?:[^\s@-]\S*\s)?)* (?P<value>[\w.-]{2,40}) @")
_CLI = compiled(
    r"(?<!\S) (?: --(?:[a-z]{1,10}-)?user(?:name)?(?:=|\s) | -U\s | (?:-u"
    r"|--user)\s(?=[^\s:]+:\S) ) [\"']? (?P<value>[\w.-]{2,40})"
)
_ROLE_NUMBER = compiled(
    r"(?<![\w@./-]) (?: user | usr | admin | adm | guest | member | player | client | customer | acct | account "
    r"| login | test | tester | dev | ops | sys | mgr | svc | staff | student"
    r" | emp | agent | op ) [_.-]? \d{2,8} (?![\w@/-]|\.\w)"
)
_DISCORD = compiled(r"(?<![\w@]) (?P<value>[\w.]{2,32}\#\d{4}) (?!\w)")
_NETWORK = compiled(
    r"\b (?: twitter | instagram | insta | ig | tiktok | snap(?:chat)? | telegram | discord | reddit | twitch | steam "
    r"| skype | github | gitlab | linkedin | facebook | fb | xbox | psn"
    r" | youtube | mastodon | bluesky | venmo | cash\s?app | wechat | kik | signal ) (?:\s(?:user(?:name)?|handle|id"
    r"|name|account|profile|tag))? \s? (?:is\s|:\s?|=\s?|-\s|@)"
    rf" @? (?P<value>{_HANDLE})"
)
# A message signed with a handle: two words joined by an underscore are no end of a sentence.
_SIGNED = compiled(r"[,.!?\n]\s?-?\s?(?P<value>\p{L}{2,20}(?:_[\p{L}\d]{1,20}){1,3})\s*$")
_REDDIT = compiled(r"(?<![\w/]) /?u/(?P<value>[\w-]{3,20}) (?![\w/])")
_FILE_OR_HOST = compiled(
    r".*\.(?:com|org|net|io|de|fr|es|it|nl|pl|eu|uk|example|local|test|html?|json|ya?ml|txt|log|py|js|pdf|png"
    r"|jpe?g|csv|exe|zip|apk|mp[34]|conf|cfg|ini|xml|php|draw|java)"
)
_VERSION = compiled(r"v?\d+(?:\.\d+)+ | \d+(?:st|nd|rd|th|am|pm|x|h|min|gb|mb|ghz|mhz|kg|g|cm|mm|m|km)? | [\d./:-]+")


class UserNames:
    """What follows `user=`, `login is`, or looks like a handle near a word for account."""

    id = "username/named"
    version = "2"
    entity = "USERNAME"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for match in matches(_ASSIGNED, text):
            if self._assigned(
                match["value"], quoted=bool(match["quote"]), spoken=": " in text[match.start() : match.start("value")]
            ):
                yield self._hit(match.span("value"), 0.8)
        if _ANY_WORD.search(text, timeout=TIMEOUT_S) is not None:
            english = self._lexicon.language(text) == "en"
            for match in matches(_STATED, text, overlapped=True):
                if self._stated(match["value"], english):
                    yield self._hit(match.span("value"), 0.7)
        yield from self._tokens(text)

    def _tokens(self, text: str) -> Iterator[Hit]:
        for match in matches(_TOKEN, text):
            value, start = match["value"], match.start("value")
            if value.isalpha() or value.isdigit():
                continue
            if self._named(value) or (self._shaped(value) and _NEAR.search(text, max(0, start - 70), start, timeout=TIMEOUT_S)):
                yield self._hit(match.span("value"), 0.5)

    def _hit(self, span: tuple[int, int], score: float) -> Hit:
        return Hit(self.entity, *span, score, self.id, self.version)

    def _assigned(self, value: str, *, quoted: bool, spoken: bool) -> bool:
        if is_filler(value) or value.isdigit() or (value[0].isupper() and self._lexicon.may_be_given_name(value)):
            return False
        # "User: What is ..." is a speaker of a chat, and "author: unknown" no login.
        return quoted or not spoken or not self._lexicon.is_word(value)

    def _shaped(self, value: str) -> bool:
        """A handle by its looks: pieces joined by a dot or underscore, or letters with digits; not words, hosts or versions."""
        if (
            not any(c.isalpha() for c in value)
            or _FILE_OR_HOST.fullmatch(value, timeout=TIMEOUT_S)
            or _VERSION.fullmatch(value, timeout=TIMEOUT_S)
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
        if len(pieces) < 2 or any(len(piece) < 2 or not piece.isalpha() for piece in pieces) or not self._shaped(value):
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


_ANY_WORD = compiled(rf"\b {_WORD} \s")


def username_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    entity = "USERNAME"

    def no_word(value: str) -> bool:
        return not lexicon.is_word(value) and not is_filler(value)

    def personal(value: str) -> bool:
        return value.casefold() not in _SHARED

    return (
        UserNames(lexicon),
        PatternRule("username/at", "1", entity, _AT, 0.5, no_word),
        PatternRule("username/sql", "1", entity, _SQL, 0.8, no_word),
        PatternRule("username/path", "1", entity, _PATH, 0.6, personal),
        PatternRule("username/log", "1", entity, _LOG, 0.5, no_word),
        PatternRule("username/ssh", "1", entity, _SSH, 0.8, personal),
        PatternRule("username/option", "1", entity, _CLI, 0.8, no_word),
        PatternRule("username/role_number", "1", entity, _ROLE_NUMBER, 0.5),
        PatternRule("username/discord", "1", entity, _DISCORD, 0.6),
        PatternRule("username/network", "1", entity, _NETWORK, 0.6, no_word),
        PatternRule("username/signed", "1", entity, _SIGNED, 0.5),
        PatternRule("username/reddit", "1", entity, _REDDIT, 0.6),
    )
