"""Work in shards: cut by length, tried item by item where a shard fails, kept by content.

A shard's result is stored under the digest of who worked, how and on what. Killed work goes on where it stopped, and no result
of another model, another decoding or another item can be taken for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, DistillGovError
from distill_gov.records.files import read_json, write_json

__all__ = ["ENDS_THE_WORK", "Failed", "ShardStore", "cut", "tried"]

FORMAT = "shard"
Item = TypeVar("Item")

ENDS_THE_WORK = (DistillGovError, MemoryError)
"""What is no item's fault: bad input that says what to do, a machine without memory."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Stands for an item's result where the worker raised on it, also when it was tried alone."""

    cause: str
    """Class of the exception. Its message is not kept: it could quote the item."""


def cut(items: Sequence[Item], length: Callable[[Item], Any], size: int) -> list[list[int]]:
    """Indices of items in shards of like length; depends on the items only, never on what is left of them."""
    order = sorted(range(len(items)), key=lambda i: (length(items[i]), i))
    return [order[start : start + size] for start in range(0, len(order), size)]


def tried(
    work: Callable[[Sequence[Item]], Sequence[Any]],
    shard: Sequence[Item],
    *,
    ends: tuple[type[BaseException], ...] = ENDS_THE_WORK,
) -> list[Any]:
    """Results of a shard; where the work raises on the whole of it, or gives too few or too many, of its items one by one.

    Args:
        ends: exceptions that are passed on.
    """
    try:
        found = list(work(shard))
    except ends:
        raise
    except Exception:
        found = []
    return found if len(found) == len(shard) else [_alone(work, item, ends) for item in shard]


def _alone(work: Callable[[Sequence[Item]], Sequence[Any]], item: Item, ends: tuple[type[BaseException], ...]) -> Any:
    try:
        found = list(work([item]))
    except ends:
        raise
    except Exception as error:
        return Failed(type(error).__name__)
    return found[0] if len(found) == 1 else Failed("NoResult")


class ShardStore:
    """Results of shards in a directory. They are what the model said, as it said it: as private as the cases.

    Args:
        identity: digest of everything that shapes a result but the items.
    """

    def __init__(self, directory: Path, identity: str) -> None:
        self.directory, self.identity = directory, identity

    def get(self, kind: str, shard: Sequence[Mapping[str, Any]]) -> list[Any] | None:
        """The results of a shard; None where they are not there, or not whole: it is worked on again."""
        try:
            kept = read_json(self._place(kind, shard), format=FORMAT)
        except BadInputError:
            return None
        found = kept.get("results")
        whole = isinstance(found, list) and len(found) == len(shard) and kept.get("digest") == digest_json(found)
        return found if whole else None

    def put(self, kind: str, shard: Sequence[Mapping[str, Any]], results: Sequence[Any]) -> None:
        """Keep a shard's results, JSON values; those of a shard with a failed item are not kept."""
        if not any(isinstance(result, Failed) for result in results):
            found = list(results)
            write_json(self._place(kind, shard), {"digest": digest_json(found), "results": found}, format=FORMAT)

    def _place(self, kind: str, shard: Sequence[Mapping[str, Any]]) -> Path:
        digest = digest_json([self.identity, kind, list(shard)]).removeprefix("sha256:")
        return self.directory / kind / digest[:2] / f"{digest}.json"
