"""Reading one part of a run for a page: it is there, it was not made, or it cannot be relied on.

A page must never look good because a file could not be read. So nothing here raises over what a file holds: a file that is
damaged, changed since it was recorded, gone although recorded, or recorded nowhere comes back as a problem in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import DistillGovError, MalformedFileError
from distill_gov.records.purges import Purges

__all__ = ["Part", "RunFiles", "conforming"]

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A part of a run's record. Without content and without a problem it was not made."""

    content: T | None = None
    problem: str = ""
    """One line in words, free of values; empty where nothing is wrong."""

    @property
    def state(self) -> Literal["there", "absent", "broken"]:
        if self.problem:
            return "broken"
        return "absent" if self.content is None else "there"

    def then(self, step: Callable[[T], Part[U]], *, where: str) -> Part[U]:
        """The next part made from this one's content; a problem here stays, and one on the way becomes one."""
        if self.problem or self.content is None:
            return Part(problem=self.problem)
        content = self.content
        return _guarded(lambda: step(content), where)


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The files of a run, held against the digests that manifests and the verdict recorded of them."""

    root: Path
    recorded: Mapping[str, str] = field(default_factory=dict)
    """POSIX path below the run to SHA-256."""
    purges: Purges = field(default_factory=Purges)
    """What may differ from its record because it was purged."""
    _digests: dict[str, str] = field(default_factory=dict, repr=False)

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def digest(self, path: Path) -> str:
        """Digest of a file, computed once; empty where there is none."""
        name = self.name(path)
        if name not in self._digests:
            self._digests[name] = digest_file(path) if path.is_file() else ""
        return self._digests[name]

    def problem(self, path: Path) -> str:
        """How a file contradicts its record; empty where it does not."""
        name, found = self.name(path), self.digest(path)
        wanted = self.recorded.get(name)
        if wanted is None:
            return f"{name}: no manifest and no verdict lists this file" if found else ""
        may_be = self.may_be(name, wanted)
        if not found:
            return "" if "" in may_be else f"{name}: recorded, but no longer there"
        return "" if found in may_be else f"{name}: changed since it was recorded"

    def may_be(self, name: str, wanted: str) -> tuple[str, ...]:
        """The digests that a file may have which was recorded with one."""
        return self.purges.allowed(f"runs/{self.root.name}/{name}", wanted)

    def load(self, path: Path, read: Callable[[Path], T], *, must_be_recorded: bool = True) -> Part[T]:
        """Read a file after holding it against its record.

        Args:
            path: a file below the run.
            read: reads it; whatever it raises becomes a problem.
            must_be_recorded: False for manifests and verdicts, which record the others.
        """
        if must_be_recorded and (problem := self.problem(path)):
            return Part(problem=problem)
        if not path.exists():
            return Part()
        return _guarded(lambda: Part(read(path)), self.name(path))


def conforming(value: object, kind: Any, where: str) -> Any:
    """A value read from JSON as ``kind`` (a dataclass or any type that pydantic knows), every field checked strictly.

    Readers of stored dataclasses do not check the types of their fields; a page that formats them has to be sure.

    Raises:
        MalformedFileError: without the value.
    """
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    try:
        return _adapter(kind).validate_json(json.dumps(plain, allow_nan=False), strict=True)
    except ValueError as error:  # pydantic's ValidationError is one
        raise MalformedFileError("holds values of the wrong type", where=where) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _guarded(make: Callable[[], Part[T]], where: str) -> Part[T]:
    try:
        return make()
    except DistillGovError as error:
        # Not str(error): it would name absolute paths, and the same inputs must give the same page anywhere.
        return Part(problem=f"{where}: {error.what}")
    except Exception as error:  # whatever a damaged file provokes is a finding, and its message may hold values
        return Part(problem=f"{where}: cannot be read ({type(error).__name__})")
