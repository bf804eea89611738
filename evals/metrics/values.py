"""Equality of JSON values. Python says that ``true`` is 1; JSON does not."""

from __future__ import annotations

from typing import Any

__all__ = ["same_value"]


def same_value(one: Any, other: Any) -> bool:
    """Whether two parsed JSON values are the same; numbers by value, 1 and 1.0 alike."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same_value(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
