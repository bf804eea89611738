"""Checkpoints that are known to be whole: the last thing written into one is the digest of everything else in it."""

from __future__ import annotations

from pathlib import Path

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import HashMismatchError, MissingFileError
from distill_gov.records.files import read_json, write_json

__all__ = ["check_checkpoint", "is_finished", "last_checkpoint", "seal_checkpoint"]

COMPLETE = "complete.json"
FORMAT = "checkpoint"


def seal_checkpoint(directory: Path) -> None:
    """Say that a checkpoint is whole."""
    write_json(directory / COMPLETE, {"files": _digests(directory)}, format=FORMAT)


def is_finished(directory: Path) -> bool:
    """Whether it was written to its end."""
    return (directory / COMPLETE).exists()


def check_checkpoint(directory: Path) -> None:
    """Refuse a checkpoint that is not there or not as it was written.

    Raises:
        MissingFileError: it is not there, or was never finished.
        HashMismatchError: a file of it is missing or changed.
    """
    if not directory.is_dir():
        raise MissingFileError("no such checkpoint", where=str(directory), fix="Name another, or train from the start.")
    if not is_finished(directory):
        raise MissingFileError(
            "this checkpoint was never finished", where=str(directory), fix="Name an earlier one, or train from the start."
        )
    found, written = _digests(directory), read_json(directory / COMPLETE, format=FORMAT).get("files")
    if found != written:
        raise HashMismatchError(
            "this checkpoint is damaged", where=str(directory), fix="Remove it: training goes on from the one before."
        )


def last_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint that was finished; a killed process leaves unfinished ones behind."""
    numbered = {
        int(p.name.removeprefix("checkpoint-")): p
        for p in directory.glob("checkpoint-*")
        if p.name.removeprefix("checkpoint-").isdigit() and is_finished(p)
    }
    return numbered[max(numbered)] if numbered else None


def _digests(directory: Path) -> dict[str, str]:
    files = sorted(p for p in directory.rglob("*") if p.is_file() and p.name != COMPLETE)
    return {str(p.relative_to(directory)): digest_file(p) for p in files}
