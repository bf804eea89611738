"""What a rule is, and the plain kind: a pattern with a check and a context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import regex  # type: ignore[import-untyped]

from redaction.recognizers.gates import Needs, TextFacts
from redaction.recognizers.required import required

__all__ = ["CASE", "TIMEOUT_S", "Hit", "PatternRule", "PresidioPatternRule", "Rule", "compiled", "gate_of", "matches"]

TIMEOUT_S = 10.0
"""Seconds that one pattern may take on one text. A pattern that takes longer fails the text; it is not skipped."""


CASE = 0
"""Flag for `compiled`: capitals matter."""


def compiled(source: str, flags: int = regex.IGNORECASE) -> Any:
    """A verbose-mode pattern of the `regex` package, which knows timeouts; capitals do not matter unless told."""
    return regex.compile(source, flags | regex.VERBOSE)


def matches(pattern: Any, text: str, *, overlapped: bool = False) -> list[Any]:
    """All matches at once: the timeout runs on between matches that are taken one by one.

    A pattern is not tried on a text that has not what every match of it needs (`redaction.recognizers.required`).

    Raises:
        TimeoutError: the pattern took longer than `TIMEOUT_S`.
    """
    needs = _needs_of(pattern)
    if needs and len(text) > _SHORT:
        facts = _facts_of(text)
        if not all(facts.meet(part) for part in needs):
            return []
    return list(pattern.finditer(text, overlapped=overlapped, timeout=TIMEOUT_S))


_SHORT = 30
"""A pattern is tried on so few characters sooner than they are looked at."""


# By identity: a pattern's own hash reads all of it. Bounded, since a search makes a pattern of every value it has found.
_NEEDS: dict[int, tuple[Any, tuple[Needs, ...]]] = {}
_MOST_NEEDS = 4000


def _needs_of(pattern: Any) -> tuple[Needs, ...]:
    known = _NEEDS.get(id(pattern))
    if known is None or known[0] is not pattern:
        if len(_NEEDS) >= _MOST_NEEDS:
            _NEEDS.clear()
        known = _NEEDS[id(pattern)] = (pattern, required(pattern.pattern, pattern.flags))
    return known[1]


@lru_cache(maxsize=2)
def _facts_of(text: str) -> TextFacts:
    return TextFacts(text)


@dataclass(frozen=True, slots=True)
class Hit:
    """A value found in a normalised text: half-open span of characters, score in (0, 1]."""

    entity: str
    start: int
    end: int
    score: float
    rule: str
    version: str
    value: str = ""
    """The value in plain writing, where the text holds it in another."""


class Rule(Protocol):
    """Finds values of one entity. Raises on failure: the caller turns any exception into an error of the text.

    A rule may have an attribute ``needs``, a `Needs` that every text with a hit fulfils, and ``pattern``, a compiled one that
    matches in every text with a hit: it is not run on other texts.
    """

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def entity(self) -> str: ...

    def find(self, text: str, doc: Any) -> Iterable[Hit]:
        """Hits in ``text``; ``doc`` is the spaCy document of the same text."""
        ...


@dataclass(frozen=True, slots=True)
class PatternRule:
    """A compiled pattern; the group ``value`` is the hit where the pattern has one.

    Args:
        check: says of the matched value whether it is one (checksum, shape); None accepts all.
        context: searched within ``window`` characters before the value.
        after: matched from the end of the value on. One of ``context`` and ``after`` must match, if either is given.
        needs: what a text must have for a hit, where that is more than what follows from the patterns by themselves.
    """

    id: str
    version: str
    entity: str
    pattern: Any
    score: float
    check: Callable[[str], bool] | None = None
    context: Any | None = None
    after: Any | None = None
    window: int = 50
    needs: Needs | None = None

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        group: int | str = "value" if "value" in self.pattern.groupindex else 0
        for match in matches(self.pattern, text):
            start, end = match.span(group)
            if start == end or (self.check is not None and not self.check(text[start:end])):
                continue
            if not self._in_context(text, start, end):
                continue
            yield Hit(self.entity, start, end, self.score, self.id, self.version)

    def _in_context(self, text: str, start: int, end: int) -> bool:
        if self.context is None and self.after is None:
            return True
        # With positions and not with slices: a word that the window cuts in two is not taken for what is left of it.
        first, last = max(0, start - self.window), min(len(text), end + self.window)
        return (self.context is not None and self.context.search(text, first, start, timeout=TIMEOUT_S) is not None) or (
            self.after is not None and self.after.match(text, end, last, timeout=TIMEOUT_S) is not None
        )


def gate_of(rule: Rule) -> tuple[Needs, ...]:
    """What a text must have for a rule to be run on it: what the rule says itself, and what follows from its patterns.

    So no rule has to say that a card number needs digits, or that a password stands near the word.
    """
    said = getattr(rule, "needs", None)
    needs: tuple[Needs, ...] = () if said is None else (said,)
    pattern = getattr(rule, "pattern", None)
    if pattern is not None:
        needs += required(pattern.pattern, pattern.flags)
    return needs + (_words_around(rule) if isinstance(rule, PatternRule) else ())


def _words_around(rule: PatternRule) -> tuple[Needs, ...]:
    """What the context asks for. Where either side will do, a word of one side will."""
    sides = [required(p.pattern, p.flags) for p in (rule.context, rule.after) if p is not None]
    if len(sides) == 1:
        return sides[0]
    words = [[n.words for n in side if n.words] for side in sides]
    return (Needs(words=tuple(sorted({w for side in words for w in side[0]}))),) if words and all(words) else ()


class PresidioPatternRule:
    """The patterns and the validation of one of Presidio's recognisers, run by us.

    Presidio's own loop skips a pattern that times out, with a warning: fail open. Here a timeout is an error.
    """

    def __init__(self, recognizer: Any, entity: str, score: float | None = None, needs: Needs | None = None) -> None:
        self.needs = needs
        self.id = f"presidio/{recognizer.name}"
        self.version = str(recognizer.version)
        self.entity = entity
        self._recognizer = recognizer
        self._patterns = [
            (regex.compile(p.regex, recognizer.global_regex_flags), score if score is not None else p.score)
            for p in recognizer.patterns
        ]

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for pattern, score in self._patterns:
            for match in matches(pattern, text):
                valid = self._recognizer.validate_result(match[0])
                if not match[0] or valid is False or self._recognizer.invalidate_result(match[0]):
                    continue
                yield Hit(self.entity, match.start(), match.end(), 1.0 if valid else score, self.id, self.version)
