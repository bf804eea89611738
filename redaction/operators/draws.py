"""Choices that a key makes: the same for the same parts, whoever asks, in whatever order, in whatever process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from distill_gov.records.keys import Subkey

__all__ = ["Draws"]

_Choice = TypeVar("_Choice")
_BYTES = 8


class Draws:
    """A stream of numbers from HMAC-SHA256 in counter mode over the given parts."""

    def __init__(self, key: Subkey, *parts: str) -> None:
        self._key, self._parts = key, parts
        self._block, self._counter = b"", 0

    def below(self, bound: int) -> int:
        """A number of 0 to ``bound - 1``, from 64 bits: no number is likelier than another by more than bound / 2**64."""
        if len(self._block) < _BYTES:
            self._block = bytes.fromhex(self._key.mac(*self._parts, str(self._counter)))
            self._counter += 1
        number, self._block = int.from_bytes(self._block[:_BYTES], "big"), self._block[_BYTES:]
        return number % bound

    def of(self, choices: Sequence[_Choice]) -> _Choice:
        return choices[self.below(len(choices))]

    def digits(self, count: int) -> str:
        return "".join(str(self.below(10)) for _ in range(count))
