"""What a rule is, and the plain kind: a pattern with a check and a context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import regex  # type: ignore[import-untyped]

__all__ = ["CASE", "TIMEOUT_S", "Hit", "PatternRule", "PresidioPatternRule", "Rule", "compiled", "matches"]

TIMEOUT_S = 10.0
"""Seconds that one pattern may take on one text. A pattern that takes longer fails the text; it is not skipped."""


CASE = 0
"""Flag for `compiled`: capitals matter."""


def compiled(source: str, flags: int = regex.IGNORECASE) -> Any:
    """A verbose-mode pattern of the `regex` package, which knows timeouts; capitals do not matter unless told."""
    return regex.compile(source, flags | regex.VERBOSE)


def matches(pattern: Any, text: str, *, overlapped: bool = False) -> list[Any]:
    """All matches at once: the timeout runs on between matches that are taken one by one.

    Raises:
        TimeoutError: the pattern took longer than `TIMEOUT_S`.
    """
    return list(pattern.finditer(text, overlapped=overlapped, timeout=TIMEOUT_S))


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
    """Finds values of one entity. Raises on failure: the caller turns any exception into an error of the text."""

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
        before, behind = text[max(0, start - self.window) : start], text[end : end + self.window]
        return (self.context is not None and self.context.search(before, timeout=TIMEOUT_S) is not None) or (
            self.after is not None and self.after.match(behind, timeout=TIMEOUT_S) is not None
        )


class PresidioPatternRule:
    """The patterns and the validation of one of Presidio's recognisers, run by us.

    Presidio's own loop skips a pattern that times out, with a warning: fail open. Here a timeout is an error.
    """

    def __init__(self, recognizer: Any, entity: str, score: float | None = None) -> None:
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
