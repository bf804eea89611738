"""The project's ledger: an append-only, hash-chained JSON Lines file.

An append is one write and one fsync under a lock. A torn last line (the machine died while writing) is removed by the next
append, which says so; verification never repairs. A chain without an outside copy of its head proves only that it is
consistent, so every command that appends shows the head.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import ChainBrokenError, MalformedFileError
from distill_gov.records.files import loads_strict
from distill_gov.records.manifest import now
from distill_gov.records.typed import require_types

__all__ = ["GENESIS", "Journal", "Ledger", "LedgerEntry"]

GENESIS = "sha256:" + "0" * 64
"""What the first entry names as its predecessor."""

_FORMAT = "distill-gov/ledger/1"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One event, chained to the one before by ``prev``."""

    seq: int
    prev: str
    at: str
    actor: str
    event: str
    facts: Mapping[str, Any]
    digest: str


class Journal(Protocol):
    """Where an act is logged before it happens. If ``append`` raises, the act must not happen."""

    def append(self, event: str, facts: Mapping[str, Any]) -> LedgerEntry: ...


class Ledger:
    """A ledger file. Implements :class:`Journal`."""

    def __init__(self, path: Path, *, actor: str | None = None) -> None:
        self.path = path
        self.actor = actor or os.environ.get("DISTILL_GOV_ACTOR") or _account()

    def append(self, event: str, facts: Mapping[str, Any]) -> LedgerEntry:
        """Add one entry and return it.

        Raises:
            ChainBrokenError: the existing chain does not hold; nothing is appended to a broken chain.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(str(self.path) + ".lock"):
            torn = self._remove_torn_line()
            entries = self.entries()
            if torn:
                entries.append(self._write(entries, "ledger.torn_line_removed", {"bytes": torn}))
            return self._write(entries, event, facts)

    def entries(self) -> list[LedgerEntry]:
        """All entries, checked.

        Raises:
            ChainBrokenError: a digest, a sequence number or a link does not hold, or the last line is torn.
        """
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            raise ChainBrokenError("last line is torn", where=str(self.path), fix="The next append will remove it and say so.")
        entries: list[LedgerEntry] = []
        for number, line in enumerate(data.split(b"\n")[:-1], start=1):
            entry = _parse(line, f"{self.path}:{number}")
            previous = entries[-1].digest if entries else GENESIS
            if entry.seq != number - 1 or entry.prev != previous:
                raise ChainBrokenError("entry does not follow the one before it", where=f"{self.path}:{number}")
            entries.append(entry)
        return entries

    def find(self, event: str) -> list[LedgerEntry]:
        return [entry for entry in self.entries() if entry.event == event]

    @property
    def head(self) -> str:
        """Digest of the last entry; keep a copy elsewhere."""
        entries = self.entries()
        return entries[-1].digest if entries else GENESIS

    def _write(self, entries: list[LedgerEntry], event: str, facts: Mapping[str, Any]) -> LedgerEntry:
        body = {
            "format": _FORMAT,
            "seq": len(entries),
            "prev": entries[-1].digest if entries else GENESIS,
            "at": now(),
            "actor": self.actor,
            "event": event,
            "facts": dict(facts),
        }
        line = _line({**body, "digest": digest_json(body)})
        entry = _parse(line, str(self.path))
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # A full disk may take a part of the line and report no error. What was not logged must not happen.
            if os.write(handle, line + b"\n") != len(line) + 1:
                raise ChainBrokenError("the entry was not written whole", where=str(self.path), fix="Make room on the disk.")
            os.fsync(handle)
        finally:
            os.close(handle)
        return entry

    def _remove_torn_line(self) -> int:
        if not self.path.exists():
            return 0
        data = self.path.read_bytes()
        if not data or data.endswith(b"\n"):
            return 0
        whole = data.rfind(b"\n") + 1
        os.truncate(self.path, whole)
        return len(data) - whole


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")


def _parse(line: bytes, where: str) -> LedgerEntry:
    try:
        value = loads_strict(line, where=where)
        # The digest is of the values; spaces and escapes are compared with what would be written.
        same = _line(value) == line
        digest = value.pop("digest")
        tag = value.pop("format")
        if not same or tag != _FORMAT or digest_json({"format": tag, **value}) != digest:
            raise ChainBrokenError("entry was changed after it was written", where=where)
        entry = LedgerEntry(digest=digest, **value)
        require_types(entry, where=where)
        return entry
    except (MalformedFileError, KeyError, TypeError, AttributeError) as error:
        raise ChainBrokenError("not a ledger entry", where=where) from error
