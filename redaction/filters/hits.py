"""What a filter is and what it says. Filters tag first; which tags drop an item is the policy's decision, taken afterwards.

The idea is dolma's (Soldaini et al. 2024): a tagger never changes or removes anything, so every rule that fired is on record
and another policy can decide again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from distill_gov.records.errors import BadInputError, DistillGovError

__all__ = ["FAILED", "Decided", "Filter", "FilterBrokenError", "FilterHit", "Tag", "decide", "decide_all"]

Item = TypeVar("Item")

FAILED = "failed"
"""Reason code where a filter could not judge an item: the item is dropped, whatever the policy says of the filter."""

_REASON = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,39}")


class FilterBrokenError(BadInputError):
    """A filter can judge nothing, so that going on would drop everything."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One thing that a filter noticed: a code of its own, never text of the item.

    Raises:
        ValueError: the code is none (letters, digits, underscores, at most 40), or the score is not finite.
    """

    reason: str
    score: float = 1.0
    """How sure, how much or how many, in the filter's own unit."""
    action: Literal["flag", "drop"] | None = None
    """What this tag does whatever the policy says: a lexicon's word only flags, an item that cannot be judged is dropped."""

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str) or not _REASON.fullmatch(self.reason):
            raise ValueError("not a reason code")
        if not isinstance(self.score, int | float) or not math.isfinite(self.score):
            raise ValueError("the score is not finite")


@dataclass(frozen=True, slots=True)
class FilterHit:
    """A rule that fired on an item: its id, version and reason code, and what the policy makes of it."""

    rule: str
    version: str
    reason_code: str
    score: float = 1.0
    action: Literal["flag", "drop"] = "drop"

    def __str__(self) -> str:
        """As the books record it: ``rule@version:reason``."""
        return f"{self.rule}@{self.version}:{self.reason_code}"


@dataclass(frozen=True, slots=True)
class Filter(Generic[Item]):
    """A named rule and the policy's word on it.

    Args:
        tags: what the rule notices in one item.
        action: what the policy makes of that.
        together: the same for many items where that is cheaper than one by one; it may raise a `DistillGovError`, then they go
            one by one.
    """

    rule: str
    version: str
    tags: Callable[[Item], Iterable[Tag]]
    action: Literal["flag", "drop"] = "drop"
    together: Callable[[Sequence[Item]], Sequence[Iterable[Tag]]] | None = None

    def __call__(self, item: Item) -> tuple[FilterHit, ...]:
        """What fired. An item that could not be judged (a `DistillGovError`) is dropped.

        Raises:
            FilterBrokenError: no item can be judged. Faults of our own are raised as they are.
        """
        try:
            return self._hits(self.tags(item))
        except FilterBrokenError:
            raise
        except DistillGovError:
            return (FilterHit(self.rule, self.version, FAILED),)

    def many(self, items: Sequence[Item]) -> list[tuple[FilterHit, ...]]:
        """As one by one."""
        if self.together is not None:
            # One of them may be the cause of an error, and only that one is to suffer from it.
            with suppress(DistillGovError):
                return [self._hits(tags) for tags in self.together(items)]
        return [self(item) for item in items]

    def _hits(self, tags: Iterable[Tag]) -> tuple[FilterHit, ...]:
        return tuple(FilterHit(self.rule, self.version, tag.reason, tag.score, tag.action or self.action) for tag in tags)


@dataclass(frozen=True, slots=True)
class Decided:
    """Every rule that fired on an item, in the order of the filters, and the one that decided."""

    fired: tuple[FilterHit, ...] = ()

    @property
    def deciding(self) -> FilterHit | None:
        """The first that drops; None where the item stays."""
        return next((hit for hit in self.fired if hit.action == "drop"), None)


def decide(filters: Iterable[Filter[Item]], item: Item) -> Decided:
    """Let every filter look at an item."""
    return Decided(tuple(hit for judge in filters for hit in judge(item)))


def decide_all(filters: Iterable[Filter[Item]], items: Sequence[Item], batch: int = 256) -> Iterator[Decided]:
    """As :func:`decide`, of many, lazily and in order."""
    judges = tuple(filters)
    for start in range(0, len(items), batch):
        part = items[start : start + batch]
        found = [judge.many(part) for judge in judges]
        yield from (Decided(tuple(hit for hits in found for hit in hits[place])) for place in range(len(part)))
