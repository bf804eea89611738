"""Normalised text for detection, with a map back to the characters that were really written.

Detectors know plain writing. What people and programs do to it (and what serves to slip a value past a detector) is undone
here before they look: compatibility forms, invisible and combining characters, letters of other scripts, HTML entities, percent
and backslash escapes, ``[at]`` and ``dot``, letters and digits set apart. Each step is a list of edits; a character of the
result knows the span of the original that it came from. Plain ASCII passes untouched, but for one search.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import regex  # type: ignore[import-untyped]

from redaction.confusables import CONFUSABLES, LATIN_LOOKALIKES
from redaction.findings import Span

__all__ = ["MASK", "DetectionText", "detection_text"]

MASK = "\ufffc"
"""Stands for one masked span. No rule matches it, and it never comes from the text: see `_fold`."""

_SAME = {"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "−": "-"}
_SAME |= LATIN_LOOKALIKES


@dataclass(frozen=True, slots=True)
class DetectionText:
    """What detectors see. Character ``i`` of ``text`` came from ``original[starts[i]:ends[i]]``."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    overridden: tuple[Span, ...] = ()
    """Spans of ``text`` that readers see from right to left, since a control character says so (U+202E)."""

    def original(self, start: int, end: int) -> Span:
        """The span of the original text that a non-empty span of the normalised text came from."""
        return Span(self.starts[start], self.ends[end - 1])


Edit = tuple[int, int, str]
"""Characters ``[start, end)`` of a text, and what stands in their place."""


def detection_text(text: str, masked: Sequence[Span], lead: str = "") -> DetectionText:
    """Normalise for detection, with each masked span as one `MASK`.

    Each stretch between masked spans is normalised on its own: so a text with its values masked, and the same text with
    placeholders in their stead, look alike to every detector. Idempotence rests on this.

    Args:
        text: the text as written.
        masked: spans in order, not overlapping.
        lead: plain words that the detectors read first; nothing in it is a value, and it maps to nowhere.
    """
    if not masked and not lead and not _tricky(text):
        return DetectionText(text, range(len(text)), range(1, len(text) + 1))
    out: list[str] = [lead]
    starts: list[int] = [0] * len(lead)
    ends: list[int] = [0] * len(lead)
    overridden: list[Span] = []
    position = 0
    for span in (*masked, Span(len(text), len(text))):
        if position < span.start:
            form = _normalised(text[position : span.start], position)
            overridden += (Span(len(starts) + s.start, len(starts) + s.end) for s in form.overridden)
            out.append(form.text)
            starts.extend(form.starts)
            ends.extend(form.ends)
        if span.end > span.start:
            out.append(MASK)
            starts.append(span.start)
            ends.append(span.end)
        position = span.end
    return DetectionText("".join(out), starts, ends, tuple(overridden))


def _normalised(piece: str, offset: int) -> DetectionText:
    form = DetectionText(piece, range(offset, offset + len(piece)), range(offset + 1, offset + len(piece) + 1))
    if not _tricky(piece):
        return form
    for gate, step in _STEPS:
        if gate(form.text):
            edits = list(step(form.text))
            form = _edited(form, edits) if edits else form
    if _OVERRIDE not in piece:
        return form
    spans = ((offset + match.start(), offset + match.end()) for match in _OVERRIDDEN.finditer(piece))
    seen = (Span(bisect_left(form.starts, start), bisect_left(form.starts, end)) for start, end in spans)
    return replace(form, overridden=tuple(span for span in seen if span.start < span.end))


def _tricky(text: str) -> bool:
    return any(gate(text) for gate, _ in _STEPS)


def _edited(form: DetectionText, edits: Iterable[Edit]) -> DetectionText:
    """A form with some of its characters replaced; edits are in order and do not overlap."""
    out: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for start, end, new in edits:
        out += (form.text[position:start], new)
        starts.extend(form.starts[position:start])
        ends.extend(form.ends[position:start])
        starts.extend([form.starts[start]] * len(new))
        ends.extend([form.ends[end - 1]] * len(new))
        position = end
    out.append(form.text[position:])
    starts.extend(form.starts[position:])
    ends.extend(form.ends[position:])
    return DetectionText("".join(out), starts, ends)


_OVERRIDE = "\u202e"
_OVERRIDDEN = re.compile("\u202e[^\u202c\n]*")
"""What stands between RIGHT-TO-LEFT OVERRIDE and POP DIRECTIONAL FORMATTING, or the end of the line (UAX #9)."""

_AT = r"(?:at|@|ät|arroba|chiocciola)"
_DOT = r"(?:d ?o ?t|punkt|punto|point|\.)"
_OPEN, _CLOSE = r"[\[({<]\s?", r"\s?[\])}>]"
_APART = r"(?<![^\s\ufffc])(?:[^\s\ufffc] ){4}"
_DIGITS_APART = r"(?<![\w.])\d(?:[ ._*-]{1,3}\d(?!\d)){6,}(?!\w)"

_ENTITY = re.compile(r"&(?:amp;){0,3}(?:#[0-9]{1,7};?|#x[0-9a-f]{1,6};?|[a-z][a-z0-9]{1,30};)", re.IGNORECASE)
_AMPERSANDS = re.compile(r"^&(?:amp;)+(?=#|\w+;)", re.IGNORECASE)
_PERCENT = re.compile(r"(?:%(?:25){0,2}[0-9a-f]{2})+", re.IGNORECASE)
_DOUBLE = re.compile(r"%(?:25)+(?=[0-9a-f]{2})", re.IGNORECASE)
_BACKSLASH = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|(?:\\x[0-9a-fA-F]{2})+")


def _entities(text: str) -> Iterator[Edit]:
    """HTML character references, escaped ones too."""
    for match in _ENTITY.finditer(text):
        plain = html.unescape(_AMPERSANDS.sub("&", match[0]))
        if plain != match[0] and not plain.startswith("&#"):
            yield match.start(), match.end(), plain


def _percent(text: str) -> Iterator[Edit]:
    """Percent-encoding (RFC 3986) of UTF-8, escaped ones too."""
    for match in _PERCENT.finditer(text):
        try:
            plain = unquote_to_bytes(_DOUBLE.sub("%", match[0])).decode("utf-8")
        except UnicodeDecodeError:
            continue
        # A space between a letter and a digit would cut a password such as `Walnut%2077` in two.
        cuts = text[match.start() - 1 : match.start()].isalpha() and text[match.end() : match.end() + 1].isdigit()
        if not (plain.isspace() and cuts):
            yield match.start(), match.end(), plain


def _backslashes(text: str) -> Iterator[Edit]:
    r"""``\u0040`` and ``\x40``, as JSON and programming languages write characters."""
    for match in _BACKSLASH.finditer(text):
        width = 4 if match[0][1] == "u" else 2
        codes = (int(match[0][at : at + width], 16) for at in range(2, len(match[0]), width + 2))
        plain = b"".join(code.to_bytes(2, "big") for code in codes).decode("utf-16-be", "surrogatepass")
        if not any("\ud800" <= c <= "\udfff" for c in plain):
            yield match.start(), match.end(), plain


_OTHER = re.compile(r"[^\x00-\x7f]+")
_CLUSTER = regex.compile(r"\P{M}?\p{M}+|.", regex.DOTALL)
_HIDDEN = regex.compile(r"[\p{Cf}\p{Default_Ignorable_Code_Point}\u2800\ufffc]")


def _folds(text: str) -> Iterator[Edit]:
    """Each character that is not plain, with its marks, in its simplest form; what nobody sees vanishes."""
    for run in _OTHER.finditer(text):
        # A mark belongs to the character before it.
        start = run.start() - 1 if run.start() and unicodedata.category(run[0][0])[0] == "M" else run.start()
        for match in _CLUSTER.finditer(text, start, run.end()):
            folded = _fold(match[0])
            if folded != match[0]:
                yield match.start(), match.end(), folded


@lru_cache(maxsize=4096)
def _fold(cluster: str) -> str:
    """One character with its combining marks in NFKC.

    Zero-width, BiDi, soft hyphen, tag and filler characters serve to split a value so that no pattern matches it.
    """
    bare = _HIDDEN.sub("", cluster)
    bare = "".join(_SAME.get(c, c) for c in bare) if bare else bare
    plain = "".join(_plain(c) for c in unicodedata.normalize("NFKC", bare))
    # Marks that make up no letter with the Latin letter or digit before them are scribble; in other scripts they are vowels.
    if len(plain) > 1 and (plain[0].isascii() or _LATIN.match(plain)):
        plain = "".join(c for c in plain if not unicodedata.category(c).startswith("M"))
    return plain.replace(MASK, "")


def _plain(c: str) -> str:
    if c.isascii():
        return c
    if c.isdecimal():
        return str(unicodedata.digit(c))
    if c.isspace() and unicodedata.category(c) == "Zs":
        return " "
    return _SAME.get(c, c)


_TOKEN = re.compile(r"[\w@.%+-]+")
_WORD = re.compile(r"[^\W_]+")
_FOREIGN = regex.compile(f"[{''.join(CONFUSABLES)}]")
_LATIN = regex.compile(r"\p{Latin}")
_MARKED = regex.compile(r"[\p{Latin}--[a-zA-Z]]", regex.V1)
_FULL_STOP = regex.compile(r"(?<=[a-zA-Z0-9])[\u3002\u00b7\u2219\u2022](?=[a-zA-Z0-9])")


def _lookalikes(text: str) -> Iterator[Edit]:
    """Letters of other scripts in words that are Latin, or a number; in addresses and numbers, accents go as well."""
    for token in _TOKEN.finditer(text):
        if token[0].isascii():
            continue
        for word in [token] if "@" in token[0] else _WORD.finditer(text, token.start(), token.end()):
            plain = _latin(word[0])
            start = word.start()
            yield from ((start + i, start + i + 1, b) for i, (a, b) in enumerate(zip(word[0], plain, strict=True)) if a != b)


def _latin(word: str) -> str:
    shaped = "@" in word or any(c in "0123456789" for c in word)
    latin = _LATIN.search(word) is not None
    if _FOREIGN.search(word) and (latin or (shaped and all(c in CONFUSABLES for c in word if c.isalpha()))):
        word = "".join(CONFUSABLES.get(c, c) for c in word)
    if shaped:
        word = "".join(unicodedata.normalize("NFD", c)[0] if _MARKED.match(c) else c for c in word)
    return word


def _full_stops(text: str) -> Iterator[Edit]:
    yield from ((match.start(), match.end(), ".") for match in _FULL_STOP.finditer(text))


_BRACKETED = re.compile(rf"(?<=[\w.-])\s?{_OPEN}(?:(?P<at>{_AT})|{_DOT}){_CLOSE}\s?(?=[\w-])", re.IGNORECASE)
_WORDED = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}(?P<at> ?@ ?| at )[\w-]{1,63}(?:(?:\.| d ?o ?t )[\w-]{1,63}){0,4} d ?o ?t [\w-]{2,24}\b",
    re.IGNORECASE,
)
_WORDED_DOT = re.compile(r" d ?o ?t ", re.IGNORECASE)


def _spelt(text: str) -> Iterator[Edit]:
    """``dana [at] example (dot) org`` and ``dana at example dot org``, as an address of e-mail is written."""
    for match in _BRACKETED.finditer(text):
        yield match.start(), match.end(), "@" if match["at"] else "."


def _worded(text: str) -> Iterator[Edit]:
    for match in _WORDED.finditer(text):
        yield *match.span("at"), "@"
        for dot in _WORDED_DOT.finditer(text, match.end("at"), match.end()):
            yield *dot.span(), "."


_LETTERS_APART = re.compile(rf"{_APART}(?:[^\s\ufffc] )*[^\s\ufffc](?=[.,;:!?)]?(?![^\s\ufffc]))")
_NUMBER_APART = re.compile(_DIGITS_APART)
_GAP = re.compile(r"(?<=\d)[ ._*-]{1,3}(?=\d)")


def _letters_apart(text: str) -> Iterator[Edit]:
    """``d a n a @ e x a m p l e . o r g``: five characters and more, one space between each two."""
    for match in _LETTERS_APART.finditer(text):
        if sum(c.isalnum() for c in match[0]) * 3 > len(match[0]):
            yield from ((at, at + 1, "") for at in range(match.start() + 1, match.end(), 2))


def _digits_apart(text: str) -> Iterator[Edit]:
    """``4 1 1 1 - 1 1 1 1``: seven single digits and more."""
    for match in _NUMBER_APART.finditer(text):
        yield from ((gap.start(), gap.end(), "") for gap in _GAP.finditer(text, match.start(), match.end()))


def _holds(*marks: str) -> Callable[[str], bool]:
    return lambda text: any(mark in text for mark in marks)


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.search(text) is not None


def _not_ascii(text: str) -> bool:
    return not text.isascii()


# Each begins with a plain character or a set of some, so that the search skips what cannot match.
_BRACKET_GATE = re.compile(rf"{_OPEN}(?:{_AT}|{_DOT}){_CLOSE}", re.IGNORECASE)
_WORDED_GATE = re.compile(r" [dD] ?[oO] ?[tT] ")
_LETTERS_GATE = re.compile(r" [^\s\ufffc] [^\s\ufffc] [^\s\ufffc] ")
_NUMBER_GATE = re.compile(r"[0-9][ ._*-]{1,3}[0-9][ ._*-]{1,3}[0-9][ ._*-]{1,3}[0-9][ ._*-]")

_STEPS: Sequence[tuple[Callable[[str], bool], Callable[[str], Iterator[Edit]]]] = (
    (_holds("&"), _entities),
    (_holds("%"), _percent),
    (_holds("\\u", "\\x"), _backslashes),
    (_not_ascii, _folds),
    (_not_ascii, _lookalikes),
    (_not_ascii, _full_stops),
    (_matches(_LETTERS_GATE), _letters_apart),
    (_matches(_NUMBER_GATE), _digits_apart),
    (_matches(_BRACKET_GATE), _spelt),
    (_matches(_WORDED_GATE), _worded),
)
"""What is undone, in order, each with a quick look that says whether there may be some of it."""
