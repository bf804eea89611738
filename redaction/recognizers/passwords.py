"""Passwords and PINs: assigned in code and settings, given to commands, or told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.recognizers.gates import Needs
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.rule import TIMEOUT_S, Hit, PatternRule, Rule, compiled, matches

__all__ = ["is_filler", "is_secret_shape", "password_rules"]

_WORD = (
    r"(?: pass?\s?w(?:or)?d?s? | passwords? | paswords? | passwrds? | passwort | kennwort | passw(?:ort)? | pwd? "
    r"| passwd | pswd"
    r" | pass(?:code|phrase)s? | contrase[ñn]a | clave | mot\sde\spasse | mdp | wachtwoord | has[łl]o | senha "
    r"| parola(?:\sd'ordine)?"
    r" | lösenord | adgangskode | salasana | пароль | şifre )"
)
# In names of variables the word may stand behind a mark or begin with a capital: DB_PASS, dbPassword, x.pwd.
_LEFT = r"(?: (?<![\p{L}\d]) | (?<=[\p{Ll}\d])(?=\p{Lu}) )"
_KEY = (
    rf"{_LEFT} (?: passwords? | passwd | pwd | pw | pass | passphrase | passcode | passwort | kennwort | contrase[ñn]a "
    rf"| clave | mdp"
    r" | wachtwoord | has[łl]o | senha | motdepasse | mot[_ ]de[_ ]passe | pswd | psw | sqlpassword )"
    r" (?: [_-]?(?:\d{1,2}|db|prod|dev|test|root|admin|user|confirm(?:ation)?|repeat|again|old|new|current|value|string"
    r"|text|plain|hash) )?"
)
_ASSIGN = r"[\"'`\]]{0,2} \s{0,3} (?: := | => | = | :(?!//) | -> ) \s{0,3}"
_QUOTED_VALUE = (
    r"(?: \"(?P<value>[^\"\n\ufffc]{2,100})\" | '(?P<value>[^'\n\ufffc]{2,100})' | `(?P<value>[^`\n\ufffc]{2,100})` )"
)
_ASSIGNED_QUOTED = compiled(rf"{_KEY} {_ASSIGN} (?:[bru]{{0,2}}(?=[\"']))? {_QUOTED_VALUE}")
_ASSIGNED_BARE = compiled(rf"{_KEY} {_ASSIGN} (?P<value>[^\s\"'`<>\ufffc]{{3,100}})")
_MARKUP = compiled(
    rf"< (?:[\w-]{{0,20}}:)? [\w-]{{0,20}}? {_KEY} (?:\s[^<>]{{0,80}})? > \s* (?P<value>[^<>\s\ufffc]{{2,100}}) \s* </"
)
_SQL = compiled(
    rf"\b (?: identified\s(?:with\s\S+\s)?by | (?:with|encrypted)\spassword | set\spassword\s(?:for\s\S+\s)?= "
    rf"| password ) \s {_QUOTED_VALUE}"
)
_OPTION = compiled(
    r"(?<!\S) (?: --(?:[a-z]{1,10}-)?pass(?:word|wd|phrase)?(?:=|\s) | sshpass\s+-p\s? | /p(?:ass(?:word)?)?: "
    r"| (?<=\bmysql\b[^\n]{0,80}\s)-p(?=\S)"
    r" | (?<=\bnet\suser\s\S{1,30}\s)(?=\S*[\d\W]) | -pw\s ) [\"']? (?P<value>[^\s\"'<>\ufffc]{3,100})"
)
_CURL = compiled(
    r"(?<!\S) (?:-u|--user|--proxy-user)(?:\s|=)? [\"']? [^\s:\"'<>\ufffc]{1,60} : (?P<value>[^\s\"'<>\ufffc]{3,100})"
)
_PAIR = compiled(
    r"\b (?: (?:login|user(?:name)?|account)(?=\s?[:=]) | (?:user(?:name)?|login|e-?mail)\s?(?:/|and|&|:"
    r"|\+)\s?pass(?:word)?(?:\s(?:is|are))? | credentials?(?:\sare)? | creds?(?:\sare)?"
    r" | log(?:in|ged\sin|s\sin)\s(?:with|as|is|using) ) \s?[:=]?\s (?P<user>[^\s/:,;\"'<>\ufffc]{2,60}) \s?(?:/|:|\|"
    r"|,)\s? (?P<value>[^\s,;\"'<>\ufffc]{4,100})"
)
_BASIC = compiled(r"\b authorization [\"']? \s? [:=] \s? [\"']? basic \s+ (?P<value>[a-z0-9+/]{8,200}={0,2})")
_HASHED = compiled(r"(?<![\w$]) \$(?:2[abxy]|1|5|6|y|argon2(?:id?|d)|apr1|scrypt|pbkdf2[\w-]*)\$[./$A-Za-z0-9,=+-]{20,200}")
_STATED = compiled(
    rf"\b {_WORD} \s (?: (?:for|of|to|on|at|zu|für|de|del|di|voor|do)\s(?:\w+\s){{1,3}} )? (?:(?:is|was|ist|war|lautet"
    rf"|es|est|è|to|jest|era|[eé])"
    r"\s(?:still\s|now\s|always\s|just\s|set\sto\s)?)? [\"'`]? (?P<value>[^\s\"'`<>\ufffc]{4,100})"
)
_QUOTED = compiled(rf"\b {_WORD} [^\"'\n<>\ufffc]{{0,20}} [\"'`](?P<value>[^\s\"'`<>\ufffc]{{4,60}})[\"'`]")
_BEFORE = compiled(
    rf"(?<!\S) [\"'`(]? (?P<value>[^\s\"'`<>\ufffc]{{5,100}}?) [\"'`)]? \s (?:(?:is|was|ist|es|est|è|as)\s)?(?:still\s"
    rf"|now\s|not\s)?"
    rf"(?:(?:my|the|our|his|her|your|their|mein|das|mi|la|mon|le|mia|mijn|een|a|an)\s){{0,2}}(?:\w+\s){{0,2}}? {_WORD} \b"
)
_TOKEN = compiled(r"(?<![^\s\"'`(\[=:,]) (?P<value>[^\s\"'`<>\ufffc()\[\],;]{6,60}) (?![\w])")
_NEAR = compiled(rf"\b {_WORD} \b [^\n]{{0,80}} $")
# "I type X": what one types at a login is a secret where it looks like one.
_TYPED = compiled(
    r"\b (?: types?d? | typing | enter(?:s|ed|ing)? | key(?:ed)?\sin | put\sin | try | tried | use[sd]? "
    r"| log(?:ged)?\s(?:in|on)\s(?:with|using) | gebe?\s? | eingegeben"
    r" | tippe | tape | escribo ) \s (?:\S+\s(?:and|or)\s)? [\"'`]? $"
)
_TYPED_SURELY = compiled(
    r"\b (?: type[sd]? | typing | enter(?:s|ed|ing) | key(?:ed)?\sin | log(?:ged)?\s(?:in|on)\s(?:with|using) ) \s [\"'`]? $"
)
_PIN = compiled(
    r"\b (?: pin | pin[ -]?code | passcode | (?:door|gate|alarm|entry|access|unlock|security|lock|safe|voicemail"
    r"|verification|confirmation|one[ -]?time|login|2fa|otp)"
    r"[ -](?:pin|code) | otp | code ) [\"']? \s? (?:(?:is|ist|es|was)\s|[:=]{1,2}\s?[\"']?) (?P<value>\d{4,8}) (?![\w]"
    r"|[.,:/-]\d)"
)
_PIN_WORD = compiled(r"\b (?:pin(?:-?code)?) \s (?P<value>\d{4,8}) \b")
_NO_SECRET = compiled(
    r"(?: v?\d+(?:\.\d+)+ | \d+(?:st|nd|rd|th|am|pm|x|h|min|gb|mb|ghz|mhz|kg|g|cm|mm|m|km|eur|usd|gbp|€|£|\$|%)? "
    r"| https?:.* | \d{1,2}[:h]\d{2}.* | [\d./:-]+ | [a-z_]+\(\S*\)?;? | [$%@]?[{(<]{1,2}.*[})>]{0,2} | \$[a-z_]+ "
    r"| [a-z_]{2,}=\S* )"
)
_FILLERS = frozenset(
    [
        "null",
        "none",
        "true",
        "false",
        "nil",
        "undefined",
        "''",
        '""',
        "invalid",
        "wrong",
        "incorrect",
        "expired",
        "missing",
        "required",
        "empty",
        "string",
        "str",
        "varchar",
        "hidden",
        "redacted",
        "masked",
        "changeme-not",
        "optional",
        "password",
        "passwd",
        "pass",
        "secret",
        "hash",
        "reset",
        "login",
        "error",
        "failed",
        "ok",
        "yes",
        "no",
        "is",
        "was",
        "input",
        "text",
        "field",
        "type",
        "number",
        "the",
        "a",
        "an",
        "and",
        "or",
        "not",
        "in",
        "for",
        "to",
        "your",
        "my",
        "here",
        "below",
        "protected",
        "encrypted",
        "env",
        "os.environ",
        "getenv",
        "process.env",
    ]
)
_MARKED = frozenset("!#$%&*?+@^~")


def is_filler(value: str) -> bool:
    """Whether a value in the place of a secret is none: a word of the language, stars, a variable."""
    bare = value.strip(".,;:'\"()[]{}").casefold()
    return (
        bare in _FILLERS
        or not any(c.isalnum() for c in bare)
        or bare.startswith(("os.", "process.", "env.", "getenv", "${", "$("))
    )


def is_secret_shape(value: str) -> bool:
    """Letters with a digit and a mark, a capital inside, or a digit among small letters: no word looks so."""
    value = value.rstrip(".,;:!?)")
    letters = [c for c in value if c.isalpha()]
    digit = any(c.isdigit() for c in value)
    mark = any(not c.isalnum() for c in value)
    inner_capital = any(c.isupper() for c in value[1:]) and any(c.islower() for c in value)
    if len(value) < 5 or not letters or ("@" in value[1:-1] and "." in value.rsplit("@", 1)[1]):
        return False
    return (digit and (mark or inner_capital or len(letters) >= 4)) or (inner_capital and any(c in "_!$%&#*?+" for c in value))


def _strong(value: str) -> bool:
    return is_secret_shape(value) and not _NO_SECRET.fullmatch(value, timeout=TIMEOUT_S)


def _very_strong(value: str) -> bool:
    """Capital, small letter, digit and a mark that joins no words: nothing else is written so."""
    return (
        _strong(value)
        and any(c in _MARKED for c in value[1:-1])
        and any(c.isupper() for c in value)
        and any(c.islower() for c in value)
        and any(c.isdigit() for c in value)
    )


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while end > start and text[end - 1] in ".,;:?)]}":
        end -= 1
    return start, end


class AssignedPasswords:
    """`DB_PASS = "..."`, `pass: ...`, `<password>...</password>`: after the bare word `pass`, no ordinary word is taken."""

    id = "password/assigned"
    version = "2"
    entity = "PASSWORD"
    needs = Needs(like=r"pass|pwd|pw|kennwort|contrase|clave|mdp|wachtwoord|has[lł]o|senha|psw")

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for pattern, quoted in ((_ASSIGNED_QUOTED, True), (_MARKUP, True), (_ASSIGNED_BARE, False)):
            for match in matches(pattern, text):
                start, end = match.span("value") if quoted else _bare_end(text, *match.span("value"))
                if self._secret(text[start:end], text[match.start() : start].casefold(), quoted=quoted):
                    yield Hit(self.entity, start, end, 0.9, self.id, self.version)

    def _secret(self, value: str, key: str, *, quoted: bool) -> bool:
        if (
            is_filler(value)
            or len(value) < 3
            or ("(" in value and value.endswith(")"))
            or value.startswith(("${", "{{", "$(", "<%"))
        ):
            return False
        short = key.startswith("pass") and not key.startswith(("passw", "passp", "passc"))
        if short or key.startswith("pw"):
            return _strong(value) or (quoted and " " not in value and not self._lexicon.is_word(value))
        return quoted or not (self._lexicon.is_common(value) or (value.endswith(("(", "{", "[")) and len(value) < 6))


_NEXT_FIELD = compiled(r"(?<=.{3}) ;(?:\p{L}[\w ]{0,30}=|$)")


def _bare_end(text: str, start: int, end: int) -> tuple[int, int]:
    """An unquoted value ends before the mark that closes the call, list or address parameter around it."""
    value = text[start:end]
    for stop in ("&", ");", "};", "],"):
        cut = value.find(stop)
        if cut > 2:
            value = value[:cut]
    field = _NEXT_FIELD.search(value, timeout=TIMEOUT_S)
    if field is not None:
        value = value[: field.start()]
    while len(value) > 1 and value[-1] in ",;)]}." and not (value[-1] in ")]}" and "([{"[")]}".index(value[-1])] in value):
        value = value[:-1]
    return start, start + len(value)


class ToldPasswords:
    """A token that no word looks like: after a word for password in its line, right beside one, or after a verb of typing."""

    id = "password/near"
    version = "2"
    entity = "PASSWORD"
    needs = Needs(
        like=r"pas+|pw|kennwort|contrase|clave|mdp|wachtwoord|has[lł]o|senha|parola|l.senord|adgang|salasana|пароль|ifre|typ|enter|tr[yi]|use|log|put\sin|key"
        r"|geb|tip|tape|escrib"
    )

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        told = _TOLD.search(text, timeout=TIMEOUT_S) is not None
        if told:
            yield from self._beside(text)
        for match in matches(_TOKEN, text):
            start, end = _stripped(text, *match.span("value"))
            value = text[start:end]
            if not _strong(value):
                continue
            if told and _NEAR.search(text, max(0, start - 90), start, timeout=TIMEOUT_S):
                yield Hit(self.entity, start, end, 0.6, self.id, self.version)
            verb = _TYPED if told else _TYPED_SURELY
            if (told or _very_strong(value)) and verb.search(text, max(0, start - 40), start, timeout=TIMEOUT_S):
                yield Hit(self.entity, start, end, 0.6, self.id, self.version)

    def _beside(self, text: str) -> Iterator[Hit]:
        for pattern in (_STATED, _BEFORE, _QUOTED):
            for match in matches(pattern, text, overlapped=True):
                start, end = _stripped(text, *match.span("value"))
                if self._is_secret(text[start:end], certain=pattern is not _BEFORE):
                    yield Hit(self.entity, start, end, 0.8, self.id, self.version)

    @staticmethod
    def _is_secret(value: str, *, certain: bool) -> bool:
        if _strong(value):
            return True
        letters = value.isalpha() or value.replace("-", "").replace("'", "").isalpha()
        return (
            certain
            and len(value) >= 6
            and not letters
            and any(c.isalpha() for c in value)
            and not _NO_SECRET.fullmatch(value, timeout=TIMEOUT_S)
        )


_TOLD = compiled(rf"\b {_WORD} \b")


def _no_filler(value: str) -> bool:
    return not is_filler(value)


def password_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    entity = "PASSWORD"
    return (
        AssignedPasswords(lexicon),
        ToldPasswords(),
        PatternRule("password/sql", "1", entity, _SQL, 0.9, _no_filler),
        PatternRule(
            "password/option", "1", entity, _OPTION, 0.9, _no_filler, needs=Needs(like=r"--|\s-p|/p|sshpass|net\suser|^-p")
        ),
        PatternRule("password/curl", "1", entity, _CURL, 0.9, _no_filler),
        PatternRule("password/pair", "1", entity, _PAIR, 0.7, is_secret_shape),
        PatternRule("password/basic", "1", entity, _BASIC, 0.9),
        PatternRule("password/hashed", "1", entity, _HASHED, 0.8),
        PatternRule("password/pin", "2", entity, _PIN, 0.7),
        PatternRule("password/pin_word", "1", entity, _PIN_WORD, 0.6),
    )
