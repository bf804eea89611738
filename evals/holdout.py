"""The sealed holdout: its digest is committed before anything is built, and every opening is logged before it happens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_bytes, digest_file, digest_json
from distill_gov.records.errors import HashMismatchError, MissingFileError, NotSealedError
from distill_gov.records.files import read_jsonl
from distill_gov.records.ledger import Journal

__all__ = ["OPENED", "cases_digest", "open_holdout", "seal_digest"]

OPENED = "holdout.opened"
"""The ledger's event for an opening."""


def seal_digest(path: Path) -> str:
    """SHA-256 of the holdout's bytes: what the seal commits to.

    Raises:
        MissingFileError
    """
    return digest_file(path)


def cases_digest(path: Path) -> str:
    """Digest of what the holdout's cases ask, whatever their order, spacing, ids, labels and tags.

    Two files of one such digest are one holdout to whoever counts attempts on it: only other questions renew it.

    Raises:
        MissingFileError, MalformedFileError: with file and line.
    """
    return digest_json(sorted({digest_json(_asked(row)) for _, row in read_jsonl(path)}))


def _asked(row: Mapping[str, Any]) -> Any:
    messages = row.get("messages")
    if not isinstance(messages, list):
        return dict(row)
    texts = [str(m.get("content")) for m in messages if isinstance(m, dict) and m.get("role") == "user"]
    return [" ".join(text.split()).casefold() for text in texts] or messages


def open_holdout(path: Path, journal: Journal, expected_digest: str | None, facts: Mapping[str, Any]) -> bytes:
    """Log the opening, then read the holdout.

    Args:
        journal: the project's ledger. If it refuses the entry, nothing is read.
        expected_digest: the seal; None or empty where there is none.
        facts: why it is opened and by which run, without personal values.

    Returns:
        The bytes; :func:`evals.cases.parse_suite` makes cases of them.

    Raises:
        NotSealedError: there is no seal; nothing is logged or read.
        MissingFileError: there is no such file; nothing is logged.
        HashMismatchError: the holdout is not the one that was sealed. The opening stays logged: it was seen.
    """
    if not expected_digest:
        raise NotSealedError("the holdout has no seal", where=str(path), fix="Run `distill-gov seal` before `build`.")
    if not path.is_file():
        raise MissingFileError("no such holdout", where=str(path))
    journal.append(OPENED, {**facts, "file": path.name, "seal": expected_digest})
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError(f"the holdout cannot be read ({error.strerror})", where=str(path)) from error
    if digest_bytes(data) != expected_digest:
        raise HashMismatchError(
            "the holdout is not the one that was sealed", where=str(path), fix="Restore it; a changed holdout proves nothing."
        )
    return data
