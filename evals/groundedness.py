"""Whether a reply holds only what its input and context hold: facts of a few kinds, and the words of its statements.

Facts are found by patterns: numbers, dates, times, codes, addresses of the net, placeholders, and capitalised names inside a
sentence; a detector adds what it takes for personal data. What no pattern finds (an invented promise in plain words, a name
that opens a sentence) passes. Support of statements is lexical: words are compared, nothing is inferred, and a true paraphrase
counts as unsupported. Both are meant to be compared with the teacher's on the same cases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from distill_gov.records.errors import BadInputError
from evals.cases import Case
from evals.catalogue import UNGROUNDED, UNSUPPORTED_CLAIMS
from evals.leakage import Detect, placeholders_in, without_placeholders
from evals.suites import ReadAnswer

__all__ = ["Fact", "GroundednessSuite", "facts", "unsupported_claims", "unsupported_facts"]

Reading = tuple[str, ...]
"""Kind and normal form, in which two writings of one fact are equal."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something in a reply that its input either holds or not."""

    kind: str
    """``number``, ``date``, ``time``, ``code``, ``link``, ``placeholder``, ``name``, or ``detected``."""
    readings: frozenset[Reading]
    """What it may mean: 03/04 is the third of April, or the fourth of March."""
    known: frozenset[Reading]
    """What a reply may say of it where this is the input: of a date its day, of a code its digits."""


@dataclass(frozen=True, slots=True)
class GroundednessSuite:
    """Scores every reply for what it adds to its input."""

    detect: Detect | None = None
    """Finds personal values; what it finds in a reply must stand in the input."""
    context: str = ""
    """What every answer may rest on besides the case: the system prompt, a policy, opening hours."""
    allowed: frozenset[str] = frozenset()
    """Names that need no support: the company's and its products'."""
    support: float = 0.5
    """A statement is unsupported under this share of its content words."""

    def __post_init__(self) -> None:
        if isinstance(self.support, bool) or not 0 < self.support <= 1:
            raise BadInputError("groundedness: support must lie above 0 and up to 1")

    @property
    def name(self) -> str:
        return "groundedness"

    def derive(self, cases: Sequence[Case]) -> Sequence[Case]:
        return ()

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> Mapping[str, float]:
        if not _WORD.search(answer.reply):
            return self.worst(case)
        source = "\n".join((self.context, *(m["content"] for m in case.messages), shown))
        found = unsupported_facts(
            answer.reply, source, detect=self.detect, allowed=self.allowed, capitals=not _capitalises_nouns(case)
        )
        claims = unsupported_claims(answer.reply, source, support=self.support)
        return {UNGROUNDED: float(bool(found)), UNSUPPORTED_CLAIMS: claims}

    def worst(self, case: Case) -> Mapping[str, float]:
        return {UNGROUNDED: 1.0, UNSUPPORTED_CLAIMS: 1.0}


def _capitalises_nouns(case: Case) -> bool:
    return "language=de" in case.slices


def unsupported_facts(
    reply: str,
    source: str,
    *,
    detect: Detect | None = None,
    allowed: Iterable[str] = (),
    capitals: bool = True,
) -> list[Fact]:
    """The facts of a reply that its source does not hold.

    Args:
        source: all that the reply may rest on.
        detect: finds personal values in the reply, placeholders taken out.
        allowed: names that need no support.
        capitals: whether a capital inside a sentence makes a name; not in German.
    """
    known = {reading for fact in facts(source) for reading in fact.known}
    words = _words(source)
    known |= {("name", word) for word in (*words, *_words(" ".join(allowed)), *_NO_NAMES)} | {_ONE}
    found = [f for f in facts(reply) if (capitals or f.kind != "name") and f.readings.isdisjoint(known)]
    for value in detect(without_placeholders(reply)) if detect else ():
        parts = _words(value)
        if not parts or not any(words[i : i + len(parts)] == parts for i in range(len(words) - len(parts) + 1)):
            reading = frozenset({("detected", " ".join(parts))})
            found.append(Fact("detected", reading, reading))
    return found


def facts(text: str) -> list[Fact]:
    """The facts of a text, each part of it read as one kind only."""
    found = [_fact("placeholder", [one]) for one in placeholders_in(text)]
    rest = without_placeholders(text)
    for pattern, read in _KINDS:
        for match in pattern.finditer(rest):
            found += read(match)
        rest = pattern.sub(lambda match: " " * len(match[0]), rest)
    return [*found, *_names(rest)]


def _fact(kind: str, readings: Iterable[str], more: Iterable[Reading] = ()) -> Fact:
    """A fact that, where it stands in the input, supports its own readings and some more."""
    own = frozenset((kind, reading) for reading in readings)
    return Fact(kind, own, own | frozenset(more))


def _plain(number: str) -> Reading:
    """A bare number, as its digits are read."""
    return ("number", _normal(number), "")


def _normal(number: str) -> str:
    return format(Decimal(number).normalize(), "f")


# --- addresses of the net


def _link(match: re.Match[str]) -> list[Fact]:
    written = match[0].casefold().rstrip(".,;:!?)'\"")
    return [_fact("link", [re.sub(r"^(?:https?://)?(?:www\.)?", "", written).rstrip("/")])]


# --- dates and times

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sept", "sep"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        start=1,
    )
    for name in names
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"


def _named_date(match: re.Match[str]) -> list[Fact]:
    return [_date([(match["year"] or "", _MONTHS[match["month"].casefold()], int(match["day"]))])]


def _numeric_date(match: re.Match[str]) -> list[Fact]:
    first, second, year = int(match["first"]), int(match["second"]), match["year"]
    year = f"20{year}" if len(year) == 2 else year
    ways = [(year, month, day) for day, month in ((first, second), (second, first)) if 1 <= month <= 12 and 1 <= day <= 31]
    return [_date(ways) if ways else _coded(match[0])]


def _iso_date(match: re.Match[str]) -> list[Fact]:
    return [_date([(match["year"], int(match["month"]), int(match["day"]))])]


def _date(ways: Sequence[tuple[str, int, int]]) -> Fact:
    more: list[Reading] = [("date", f"-{month}-{day}") for _, month, day in ways]
    more += [_plain(str(part)) for year, _, day in ways for part in (year, day) if part]
    return _fact("date", [f"{year}-{month}-{day}" for year, month, day in ways], more)


def _time(match: re.Match[str]) -> list[Fact]:
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), (match["half"] or "").casefold()[:1]
    hours = {hour % 12 + 12} if half == "p" else {hour % 12} if half else {hour}
    known = hours if half else {hour, hour + 12} if hour < 12 else {hour}
    more: list[Reading] = [("time", f"{h}:{minute:02d}") for h in known] + [
        _plain(match["hour"]),
        _plain(match["minute"] or "0"),
    ]
    return [_fact("time", [f"{h}:{minute:02d}" for h in hours], more)]


# --- codes and numbers


def _code(match: re.Match[str]) -> list[Fact]:
    return [_coded(match[0])]


def _coded(written: str) -> Fact:
    runs = re.findall(r"\d+", written)
    # A reply may name an order by its digits alone.
    more = [_plain(run) for run in runs if len(run) <= _LONGEST] + [("code", run) for run in runs]
    return _fact("code", ["".join(c for c in written.casefold() if c.isalnum())], more)


def _joined(match: re.Match[str]) -> list[Fact]:
    """Digits with dashes or strokes between: a phone or order number, or, if they are few, a range."""
    runs = re.findall(r"\d+", match[0])
    return [_coded(match[0])] if sum(map(len, runs)) >= _FEWEST_OF_CODE else [_bare_number(run) for run in runs]


_FEWEST_OF_CODE = 5
_LONGEST = 15
"""Digits of what still is a number; what is longer names something."""

_UNITS = {"%": "%", "percent": "%", "€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR", "$": "USD", "usd": "USD"}
_UNITS |= {"dollar": "USD", "dollars": "USD", "£": "GBP", "gbp": "GBP", "pound": "GBP", "pounds": "GBP"}
_GROUPED = re.compile(r"\d{1,3}(?:(?P<mark>[.,'’ \u00a0\u202f])\d{3})(?:(?P=mark)\d{3})*(?P<decimals>[.,]\d+)?")


def _number(match: re.Match[str]) -> list[Fact]:
    written = match["digits"]
    if len(re.sub(r"\D", "", written)) > _LONGEST:
        return [_coded(written)]
    unit = _UNITS.get((match["before"] or match["after"] or "").casefold(), "")
    value, others = _values(written)
    own = frozenset({("number", value, unit)})
    known = own | {_plain(other) for other in (value, *others)} | {("number", o, unit) for o in others}
    return [Fact("number", own, known)]


def _values(written: str) -> tuple[str, tuple[str, ...]]:
    """What the digits mean in a reply, and what else an input may mean by them."""
    grouped = _GROUPED.fullmatch(written)
    if not grouped:
        return _normal(written.replace(",", ".")), ()
    mark, decimals = grouped["mark"], grouped["decimals"] or ""
    whole = re.sub(r"\D", "", written[: len(written) - len(decimals)])
    value = _normal(whole + decimals.replace(",", "."))
    if mark in ".," and not decimals and written.count(mark) == 1:
        return value, (_normal(written.replace(",", ".")),)  # 1.250 may be one and a quarter
    if mark in " \u00a0\u202f":
        return value, tuple(_normal(part.replace(",", ".")) for part in written.split(mark))
    return value, ()


_WORD_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        (
            *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
            *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
        )
    )
}


_ONE: Reading = ("number", "one")
"""The word in a reply, which mostly counts nothing ("one of us"); in an input it supports a 1."""


def _word_number(match: re.Match[str]) -> list[Fact]:
    number = _bare_number(_WORD_NUMBERS[match[0].casefold()])
    return [Fact("number", frozenset({_ONE}), number.known) if match[0].casefold() == "one" else number]


def _bare_number(digits: str) -> Fact:
    return Fact("number", frozenset({_plain(digits)}), frozenset({_plain(digits)}))


def _ordinal(match: re.Match[str]) -> list[Fact]:
    # First, second and third order a reply's own steps; a 22nd is a day.
    return [] if int(match[1]) <= 3 else [_bare_number(match[1])]


def _nothing(_: re.Match[str]) -> list[Fact]:
    return []


_KINDS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], list[Fact]]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), read)
    for pattern, read in (
        (r"(?m:^)[ \t]*\(?\d{1,2}[.)](?=\s)|\bstep\s+\d{1,2}\b|\b24/7\b", _nothing),
        (
            r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b(?:https?://|www\.)\S+"
            r"|(?<![\w.-])(?:[\w-]+\.)+(?:com|org|net|eu|io|de|uk)\b\S*",
            _link,
        ),
        (rf"\b{_YEAR}-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])\b", _iso_date),
        (
            r"(?<![\d./-])(?P<first>\d{1,2})(?P<mark>[./-])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})(?![\d/-])",
            _numeric_date,
        ),
        (rf"\b{_DAY}\.?\s+(?:of\s+)?(?P<month>{_MONTH})\b\.?(?:,?\s+{_YEAR}\b)?", _named_date),
        (rf"\b(?P<month>{_MONTH})\.?\s+{_DAY}\b(?!:)(?:,?\s+{_YEAR}\b)?", _named_date),
        (r"\b(?P<hour>[01]?\d|2[0-3])[:.](?P<minute>[0-5]\d)\s*(?P<half>[ap]\.?m\b\.?)", _time),
        (r"\b(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)\b(?P<half>)", _time),
        (r"\b(?P<hour>1[0-2]|[1-9])(?P<minute>)\s*(?P<half>[ap]\.?m\b\.?)", _time),
        (r"\b(\d{1,4})(?:st|nd|rd|th)\b", _ordinal),
        (r"#\s?[a-z]?\d+\b|(?<![\w+])\+\d(?:[\d ()/-]{4,24})\d\b", _code),
        (r"(?<![\w-])\d+(?:[-/]\d+)+\b", _joined),
        (r"(?<![\w-])(?!\d+[a-z]{1,3}\b)(?=[\w-]*\d)(?=[\w-]*[a-z])[a-z0-9]+(?:[-_][a-z0-9]+)*\b", _code),
        (
            r"(?:(?P<before>[€$£]|\b(?:EUR|USD|GBP))\s?)?(?<!\w)"
            r"(?P<digits>\d{1,3}(?:[.,'’ \u00a0\u202f]\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)?)"
            r"(?:\s?(?P<after>[€$£%]|(?:percent|EUR|USD|GBP|euros?|dollars?|pounds?)\b)|[a-z]{1,3}\b)?",
            _number,
        ),
        (rf"\b(?:{'|'.join(_WORD_NUMBERS)})\b", _word_number),
    )
)
"""Kinds in the order in which they are looked for; what one has read, the next does not see."""


# --- names

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_ENDS = ".!?:;\n"
_BETWEEN = " \t\"“”‘'(*•–-"
_REACH = 16
_NO_END = ("mr.", "mrs.", "ms.", "dr.", "e.g.", "i.e.")


def _opens(text: str, start: int) -> bool:
    """Whether a sentence begins here, where a capital names nobody."""
    before = text[max(0, start - _REACH) : start].rstrip(_BETWEEN)
    if not before:
        return start <= _REACH
    return before[-1] in _ENDS and not before.casefold().endswith(_NO_END)


def _words(text: str) -> list[str]:
    return [_bare(word) for word in _WORD.findall(text)]


def _bare(word: str) -> str:
    return re.sub(r"['’]s?$", "", word.casefold())


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NO_NAMES = _listed("""
    i i'm i'll i've i'd i’m i’ll i’ve i’d mr mrs ms miss mx dr sir madam customer customers team support service help desk care
    dear hello hi hey thank thanks regards kind best sincerely ok id pdf faq sms usb url pin app tv uk eu pc vat wifi wi fi
    internet english
""")
"""What is written with a capital and names nobody."""


def _names(text: str) -> Iterator[Fact]:
    """Words with a capital that open no sentence. A text that is mostly capitals says nothing by them."""
    letters = [c for c in text if c.isalpha()]
    if 2 * sum(c.isupper() for c in letters) > len(letters):
        return
    for match in _WORD.finditer(text):
        if match[0][0].isupper() and not _opens(text, match.start()):
            yield _fact("name", [_bare(match[0])])


# --- statements

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_FEWEST_WORDS = 3
"""Content words that make a statement; "Thank you very much" is none."""
_FEWEST_LETTERS = 4
_FUNCTION_WORDS = _listed("""
    about above after again also although always another because been before being below between both cannot could does doing
    down during each either else ever every from further have having here hers herself himself into itself just like many might
    more most much must myself neither nothing once only other ours ourselves over please same shall should since some such than
    that their theirs them themselves then there these they this those though through under until very want well were what when
    where whether which while whom whose will with within without would your yours yourself thank thanks sorry hello dear kind
    regards apologies apologise apologize happy glad sure soon
""")
"""English words that support nothing: function words and courtesies."""
_SUFFIX = re.compile(r"(?:ings?|ed|es|s|ly)$")


def unsupported_claims(reply: str, source: str, *, support: float = 0.5) -> float:
    """Share of a reply's statements under ``support`` of whose content words stand in the source; 0 where it states nothing.

    A statement is a sentence with three content words or more that asks nothing. Words are compared without the commonest
    English endings.
    """
    known = set(_content(source))
    claims = [
        words for s in _SENTENCE.split(reply) if not s.rstrip().endswith("?") and len(words := _content(s)) >= _FEWEST_WORDS
    ]
    return sum(sum(w in known for w in words) / len(words) < support for words in claims) / len(claims) if claims else 0.0


def _content(text: str) -> list[str]:
    words = [w for w in _words(without_placeholders(text)) if len(w) >= _FEWEST_LETTERS and w not in _FUNCTION_WORDS]
    return [_stem(w) for w in words]


def _stem(word: str) -> str:
    stem = _SUFFIX.sub("", word)
    return (stem if len(stem) >= _FEWEST_LETTERS - 1 else word).rstrip("e")
