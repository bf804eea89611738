"""What a filter is and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Filter", "FilterHit", "first_hit"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class FilterHit:
    """Why an item should be dropped: the filter, its version and a reason code; never text of the item."""

    rule: str
    version: str
    reason_code: str


@dataclass(frozen=True, slots=True)
class Filter(Generic[Item]):
    """A named judgement on one item.

    Args:
        reason: gives the reason code, or None when the item may stay.
    """

    rule: str
    version: str
    reason: Callable[[Item], str | None]

    def __call__(self, item: Item) -> FilterHit | None:
        """Raises whatever the judgement raises: an item that could not be judged is not kept."""
        code = self.reason(item)
        return None if code is None else FilterHit(self.rule, self.version, code)


def first_hit(filters: Iterable[Filter[Item]], item: Item) -> FilterHit | None:
    """The first filter that objects decides."""
    return next((hit for judge in filters if (hit := judge(item)) is not None), None)
