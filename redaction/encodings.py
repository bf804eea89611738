"""Texts that stand hidden in a text: decoded from base64 or hexadecimal, read from right to left, or broken over lines.

Other than the edits of `redaction.unicode`, these readings are guesses: they are looked at beside the text, not in its stead.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from redaction.findings import Span
from redaction.recognizers.rule import Hit

__all__ = ["ACROSS_LINES", "DEEPEST", "Hidden", "Joined", "hidden_texts", "joined_texts"]

DEEPEST = 2
"""How often a text is decoded that came from decoding."""
_LONGEST = 100_000
"""Characters of an encoded token that is decoded; longer ones are files."""
_PRINTABLE = 0.95
"""Least share of printable characters that makes a decoded token a text."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """A text that a stretch of another stands for as a whole."""

    text: str
    span: Span
    """The stretch, in the text it was found in."""
    rule: str


_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:(?:[A-Za-z0-9+/]{60,76}\r?\n[ \t]{0,8}){1,2000}[A-Za-z0-9+/]{1,76}|[A-Za-z0-9+/_-]{16,}+)={0,2}"
)
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}){12,}+(?![0-9A-Za-z])")
_PIECE = re.compile(r"[A-Za-z0-9+_-]{16,}={0,2}")


def hidden_texts(text: str, overridden: Sequence[Span] = ()) -> Iterator[Hidden]:
    """What a text hides, as written in it; the caller looks into what comes out in turn, at most `DEEPEST` times.

    Args:
        overridden: stretches that readers see from right to left.
    """
    for span in overridden:
        yield Hidden(text[span.start : span.end][::-1], span, "encoded/bidi")
    for match in _BASE64.finditer(text):
        yield from _decoded(match, _from_base64, "encoded/base64")
    for match in _HEX.finditer(text):
        yield from _decoded(match, _from_hex, "encoded/hex")


def _decoded(match: re.Match[str], decode: Callable[[str], str | None], rule: str) -> Iterator[Hidden]:
    if len(match[0]) > _LONGEST:
        return
    whole = decode(match[0])
    if whole is not None:
        yield Hidden(whole, Span(*match.span()), rule)
    elif "/" in match[0]:
        # A path with an encoded step.
        for piece in _PIECE.finditer(match.string, *match.span()):
            inner = decode(piece[0])
            if inner is not None:
                yield Hidden(inner, Span(*piece.span()), rule)


def _from_base64(token: str) -> str | None:
    bare = re.sub(r"[\s=]", "", token).translate({ord("-"): "+", ord("_"): "/"})
    if len(bare) % 4 == 1:
        return None
    try:
        return _text(base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True))
    except (binascii.Error, ValueError):
        return None


def _from_hex(token: str) -> str | None:
    return _text(bytes.fromhex(token))


def _text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    printable = sum(c.isprintable() or c in "\t\r\n" for c in text)
    return text if printable >= _PRINTABLE * len(text) else None


@dataclass(frozen=True, slots=True)
class Joined:
    """A text whose lines were joined where a value may have been broken."""

    text: str
    places: Sequence[int]
    """For each character, its place in the text with the breaks."""
    joints: Sequence[int]
    """Characters before which two lines meet."""
    soft: bool
    """Whether breaks simply went, rather than became spaces."""

    def mended(self, hit: Hit, rule: str) -> Hit | None:
        """A hit as one in the text with the breaks; None if it does not lie across one, or is less than certain."""
        if not any(hit.start < joint < hit.end for joint in self.joints) or not self._certain(hit):
            return None
        return Hit(
            entity=hit.entity,
            start=self.places[hit.start],
            end=self.places[hit.end - 1] + 1,
            score=hit.score,
            rule=rule,
            version=hit.version,
            value=self.text[hit.start : hit.end],
        )

    def _certain(self, hit: Hit) -> bool:
        if hit.entity == "PHONE":
            return hit.score >= 0.7 and self.text[hit.start] in "+0("
        if hit.entity in _ACROSS_LINES:
            return True
        return hit.score >= 0.8 and hit.entity in (() if self.soft else ("PERSON", "NATIONAL_ID"))


_ACROSS_LINES = frozenset({"EMAIL", "SECRET_URL", "IBAN", "CARD", "CRYPTO", "API_KEY", "IP_ADDRESS", "MAC_ADDRESS"})
ACROSS_LINES = _ACROSS_LINES | {"PHONE", "PERSON", "NATIONAL_ID"}
"""What is looked for across the end of a line: it has a check digit, a shape of its own, or stands after `my name is`."""

_BREAK = re.compile(r"[ \t]{0,3}\r?\n[ \t>]{0,8}(?=[^\s\ufffc])")
_NEAR = 64
_GROUP = re.compile(r"[A-Z0-9]{2,6}")
_KEY = re.compile(r"[\w+/.-]{8,}")
_NAME = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_ANCHOR = re.compile(r"\b(?:name|called|mr|mrs|ms|dr|herr|frau|señora?|madame|holder|contact)\b[^\n]{0,40}$", re.IGNORECASE)


def joined_texts(text: str) -> Iterator[Joined]:
    """A text with such breaks of lines taken out as values are broken at, and with spaces for them."""
    if "\n" not in text:
        return
    tight: list[tuple[int, int, str]] = []
    spaced: list[tuple[int, int, str]] = []
    for match in _BREAK.finditer(text):
        start, end = match.span()
        left = text[max(0, start - _NEAR) : start].rsplit(None, 1)[-1:]
        right = text[end : end + _NEAR].split(None, 1)[:1]
        if not left or not right:
            continue
        if left[0][-1] == "=" and left[0][-2:-1].isalnum() and match[0][0] in "\r\n":
            tight.append((start - 1, end, ""))  # quoted-printable (RFC 2045, 6.7)
        elif _broken(left[0], right[0]):
            tight.append((start, end, ""))
        if _set_apart(left[0], right[0]) or _named(text, start, left[0], right[0]):
            spaced.append((start, end, " "))
    if tight:
        yield _joined(text, tight, soft=True)
    if spaced:
        yield _joined(text, spaced, soft=False)


def _broken(left: str, right: str) -> bool:
    """Whether two pieces may be halves of one token."""
    last, first = left[-1], right[0]
    if "@" in left + right and (last in "@.-_+" or first in "@.-_+"):
        return not (last == "." and first.isupper())
    if last.isdigit() and first.isdigit():
        return True
    if (last in ".:-" and left[-2:-1].isalnum() and first.isalnum()) or (first in ".:-" and last.isalnum()):
        return any(c.isdigit() for c in left) and any(c.isdigit() for c in right)
    halves = last.isalnum() and first.isalnum() and any(c.isdigit() for c in left + right)
    return halves and (_KEY.search(left) is not None or _KEY.match(right) is not None)


def _set_apart(left: str, right: str) -> bool:
    """Whether two pieces may be groups of one number."""
    if left[-1].isdigit() and right[0].isdigit():
        return True
    return any(c.isdigit() for c in left + right) and bool(_GROUP.fullmatch(left)) and _GROUP.match(right) is not None


def _named(text: str, end: int, left: str, right: str) -> bool:
    capitals = left[0].isupper() and right[0].isupper() and _NAME.fullmatch(left) and _NAME.match(right)
    return bool(capitals) and _ANCHOR.search(text, max(0, end - 2 * _NEAR), end) is not None


def _joined(text: str, breaks: Sequence[tuple[int, int, str]], *, soft: bool) -> Joined:
    out: list[str] = []
    places: list[int] = []
    joints: list[int] = []
    position = 0
    for start, end, new in breaks:
        out += (text[position:start], new)
        places.extend(range(position, start))
        joints.append(len(places) + (1 if new else 0))
        places.extend([start] * len(new))
        position = end
    out.append(text[position:])
    places.extend(range(position, len(text)))
    return Joined("".join(out), places, joints, soft)
