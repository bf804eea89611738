"""Web addresses: with a scheme, or a domain under a public suffix."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from redaction.recognizers.rule import TIMEOUT_S, Hit, PatternRule, Rule, compiled, matches

__all__ = ["url_rules"]

_CREDENTIALS = compiled(
    r"\b [a-z][a-z0-9+.-]{1,15} :// [^\s/:@<>\ufffc]{0,200} : [^\s/@<>\ufffc]{1,200} @ [^\s<>\"'\ufffc]{1,500}"
)
_TOKEN = compiled(
    r"\b (?: https? | wss? | ftp | jdbc:[a-z]{2,12} | amqps? | mongodb(?:\+srv)? | postgres(?:ql)? | mysql "
    r"| redis ) :// [^\s<>\"'?\#;\ufffc]{1,500} [?\#;] [^\s<>\"'\ufffc]{0,500}?"
    r"\b (?:[a-z]{1,12}_?token|token|api_?key|key|secret|client_secret|password|pwd|pass|sig|signature|x-amz-signature"
    r"|session(?:_?id)?|sid|code|auth|jwt|otp|ticket|reset|invite|magic) = [^\s<>\"'\ufffc]{6,500}"
)
_SCHEME = compiled(
    r"(?<![\w]) (?: https? | ftps? | sftp | wss? | file | ssh | git | s3 | gs | rtmp | ldaps? | magnet | ipfs | market "
    r"| intent )"
    r" :(?://|(?=\?xt)) [^\s<>\"`|\\^\ufffc]{2,2000}"
)
_DOMAIN = compiled(
    r"(?<![\w@.+/\\$-]) (?: [a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])? \. ){1,8} (?P<top>[a-z]{2,24}|xn--[a-z0-9-]{2,59}) \.?"
    r" (?![\w@(=]|-\w|\.\w) (?::\d{2,5}(?!\d))? (?P<path>[/?\#][^\s<>\"`|\\^\ufffc]{0,1000})?"
)
_UNICODE_DOMAIN = compiled(
    r"(?<![\w@.+/\\$-]) (?: [\p{L}\d](?:[\p{L}\d-]{0,61}[\p{L}\d])? \. ){1,8} (?P<top>com|org|net|eu|de|at|ch|fr|es|pl"
    r"|cz|se|dk|no|fi|рф|中国)"
    r" (?![\w@(=]|-\w|\.\w) (?P<path>[/?\#][^\s<>\"`|\\^\ufffc]{0,1000})?"
)
_NAMED = compiled(
    r"\b (?: web\s?(?:site|page|seite|adres+e?)s? | sites? | url | link | domain | host(?:name)? | home\s?page | visit "
    r"| browse | blog"
    r" | hosted\s(?:at|on) | go\sto | log\s?in(?:to|\sto)? | www ) \b [^\n.]{0,25} $"
)

# Suffixes that are English words or common ends of file names: "read.me", "done.so", "main.rs", "build.sh".
_WORD_SUFFIXES = frozenset(
    [
        "ad",
        "ae",
        "ai",
        "am",
        "as",
        "at",
        "be",
        "by",
        "cc",
        "cd",
        "cv",
        "do",
        "gl",
        "hm",
        "id",
        "il",
        "im",
        "in",
        "is",
        "it",
        "la",
        "ma",
        "md",
        "me",
        "mk",
        "ml",
        "mm",
        "mo",
        "mp",
        "ms",
        "mt",
        "my",
        "no",
        "pa",
        "pf",
        "pg",
        "ph",
        "pl",
        "pm",
        "ps",
        "py",
        "rs",
        "sc",
        "sh",
        "so",
        "st",
        "tf",
        "tk",
        "to",
        "tv",
        "ve",
        "vi",
        "ws",
        "bz",
        "zip",
        "mov",
        "app",
        "cat",
        "name",
        "info",
        "pub",
        "rest",
        "run",
        "work",
        "works",
        "how",
        "now",
        "one",
        "page",
        "space",
        "fun",
        "free",
        "best",
        "bar",
        "ink",
        "box",
        "pro",
    ]
)
# Suffixes whose domains need no further sign: the old generic ones and the ones that services really use bare.
_SURE_GENERIC = frozenset(
    [
        "com",
        "org",
        "net",
        "edu",
        "gov",
        "mil",
        "int",
        "biz",
        "info",
        "dev",
        "cloud",
        "online",
        "shop",
        "store",
        "tech",
        "site",
        "xyz",
    ]
)
_SHORTENERS = frozenset(
    [
        "bit.ly",
        "t.co",
        "youtu.be",
        "goo.gl",
        "fb.me",
        "t.me",
        "wa.me",
        "is.gd",
        "ow.ly",
        "g.co",
        "amzn.to",
        "lnkd.in",
        "discord.gg",
        "redd.it",
    ]
)


@lru_cache(maxsize=1)
def _extract() -> Any:
    """The suffix list inside the tldextract package: with no URLs and no cache it never asks the network."""
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


@lru_cache(maxsize=4096)
def _registered(host: str) -> tuple[str, str, str]:
    """(subdomain, domain, suffix); the suffix is empty for a host under no public one."""
    found = _extract().extract_str(host)
    return found.subdomain, found.domain, found.suffix


def _end(text: str, start: int, end: int) -> int:
    """Without the punctuation of the sentence; a closing bracket stays if it was opened inside."""
    while end > start:
        last = text[end - 1]
        if last in ".,;:!?'*_\u2026" or (
            last in ")]}" and text.count(last, start, end) > text.count("([{"[")]}".index(last)], start, end)
        ):
            end -= 1
        else:
            break
    return end


class WebAddresses:
    """URLs, and domains without a scheme.

    A bare domain must lie under a suffix of the public list. Where the suffix is a word as well or ends file names, it needs
    ``www.``, a path, a shortener's name or a word before it that announces an address.
    """

    id = "url/address"
    version = "1"
    entity = "URL"

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        if "://" in text or "magnet:" in text:
            for match in matches(_SCHEME, text):
                yield self._hit(text, match, 0.9)
        if "." not in text:
            return
        for match in matches(_DOMAIN if text.isascii() else _UNICODE_DOMAIN, text) + (
            [] if text.isascii() else matches(_DOMAIN, text)
        ):
            if self._domain(text, match):
                yield self._hit(text, match, 0.6)

    def _hit(self, text: str, match: Any, score: float) -> Hit:
        return Hit(self.entity, match.start(), _end(text, *match.span()), score, self.id, self.version)

    @staticmethod
    def _domain(text: str, match: Any) -> bool:
        path = match["path"]
        host = match[0][: len(match[0]) - len(path or "")].split(":")[0].rstrip(".")
        subdomain, domain, suffix = _registered(host.lower())
        if not suffix or not domain:
            return False
        top = suffix.rsplit(".", 1)[-1]
        if top == "net" and host.endswith(".NET"):
            return False  # ASP.NET and its kin
        if (path and len(path) > 1 and path[0] == "/") or subdomain == "www" or host.lower() in _SHORTENERS:
            return True
        if top in _SURE_GENERIC or "." in suffix:
            return True
        named = _NAMED.search(text[max(0, match.start() - 45) : match.start()], timeout=TIMEOUT_S) is not None
        if len(top) == 2 and top not in _WORD_SUFFIXES:
            # "U.S.A.", "e.g.the": a capital suffix or a domain of one letter is an abbreviation or a lost space.
            return named or (len(domain) > 2 and host.rsplit(".", 1)[-1].islower())
        return named


def url_rules() -> tuple[Rule, ...]:
    return (
        PatternRule("url/credentials", "1", "SECRET_URL", _CREDENTIALS, 1.0),
        PatternRule("url/token", "1", "SECRET_URL", _TOKEN, 0.9),
        WebAddresses(),
    )
