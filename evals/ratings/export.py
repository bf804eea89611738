"""Packets for raters: one offline page and one CSV a rater, blinded, written after their key was sealed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill_gov.records.digest import digest_bytes
from distill_gov.records.errors import BadInputError, ForeignRunError
from distill_gov.records.files import write_bytes, write_text
from distill_gov.records.keys import Subkey
from distill_gov.records.ledger import Journal
from distill_gov.records.manifest import now
from evals.ratings.blinding import RatingItem, assign, rater_alias
from evals.ratings.keytable import KeyRow, KeyTable, parse_key, sealed_key, write_key
from evals.ratings.packets import HELPFULNESS, Packet, PacketItem, Scale, write_packet
from evals.ratings.page import render_page
from evals.ratings.words import normalise

__all__ = ["CSV_COLUMNS", "ExportedPackets", "RaterFiles", "export_packets"]

CSV_COLUMNS = ("packet", "rater", "item", "message", "answer", "rating", "how to rate")


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What starts a formula in a spreadsheet; the wide forms do in East Asian editions."""


@dataclass(frozen=True, slots=True)
class RaterFiles:
    """Where a rater's files are. Send one of the two: the page, or the table to who prefers a spreadsheet."""

    alias: str
    page: Path
    table: Path


@dataclass(frozen=True, slots=True)
class ExportedPackets:
    """What was exported."""

    sealed: str
    """SHA-256 of the key table, as the journal has it."""
    cases: int
    """Cases in the packets; fewer than the items where raters cannot see them all twice."""
    raters: Mapping[str, RaterFiles]
    """Rater's name as it was given, to files. No file holds the name."""


def export_packets(
    items: Sequence[RatingItem],
    *,
    raters: Sequence[str],
    directory: Path,
    run: Path,
    key: Subkey,
    key_path: Path,
    journal: Journal,
    items_per_rater: int | None = None,
    scale: Scale = HELPFULNESS,
    repeats: float = 0.0,
) -> ExportedPackets:
    """Write every rater's packet, after the digest of the key table is in the journal.

    Where raters cannot see every case, a keyed draw takes as many as two raters each can: nobody picks them. Repeated with
    the same inputs it writes the same files again and logs nothing new.

    Args:
        items: the cases; all answered by the same subjects.
        raters: at least two names or addresses. Files carry only aliases made from them.
        directory: for the packets; holds nothing else.
        run: the run's directory; the key must not lie below it.
        key: subkey for ratings; orders, ids and aliases come from it.
        key_path: where the key table goes, mode 0600.
        journal: gets ``ratings.sealed`` first. If that fails nothing is written.
        items_per_rater: most cases a rater gets, each with all its answers. None: all.
        scale: what is asked of each answer.
        repeats: share of answers shown a second time, at the end, for self-consistency; at most 0.5.

    Raises:
        NothingLeftError, DuplicateIdError, BadInputError: items, raters or paths cannot be used.
        ForeignRunError: other packets were exported to the same place before.
    """
    for room in (run, directory):
        if key_path.resolve().is_relative_to(room.resolve()):
            raise BadInputError(
                "the rating key would lie inside the run", where=str(key_path), fix="Keep it with the project's keys."
            )
    if not scale.name or len(scale.anchors) < 2:
        raise BadInputError("a rating scale needs a name and at least two anchors")
    plan = assign(items, raters=raters, key=key, items_per_rater=items_per_rater, repeats=repeats)
    # A key that is there was sealed: it is written only after the journal took its digest.
    before = key_path.read_bytes() if key_path.exists() else None
    if before is None and directory.exists() and any(directory.iterdir()):
        raise ForeignRunError(
            "packets are already there", where=str(directory), fix="Use a new run, or remove them if none was sent."
        )

    created = now() if before is None else parse_key(before, where=str(key_path)).created
    by_case = {item.case: item for item in items}
    packets = {alias: _packet(alias, created, scale, rows, by_case) for alias, rows in plan.items()}
    rows = tuple(row for rows in plan.values() for row in rows)
    digests = {alias: packet.digest for alias, packet in packets.items()}
    data = sealed_key(KeyTable(salt=key.mac("salt", created), created=created, packets=digests, rows=rows))
    cases = len({row.case for row in rows})
    if before is None:
        journal.append("ratings.sealed", {"key": digest_bytes(data), "packets": digests, "cases": cases, "scale": scale.name})
        write_key(key_path, data)
    elif before != data:
        raise ForeignRunError(
            "other packets were exported with this key", where=str(key_path), fix="Use a new run name (--run)."
        )
    files = {alias: _write(directory, packet) for alias, packet in packets.items()}
    return ExportedPackets(digest_bytes(data), cases, {rater: files[rater_alias(rater, key)] for rater in raters})


def _packet(alias: str, created: str, scale: Scale, rows: Sequence[KeyRow], by_case: Mapping[str, RatingItem]) -> Packet:
    shown = []
    for row in rows:
        item = by_case[row.case]
        message, answer = normalise(item.prompt), normalise(item.answers[row.subject])
        shown.append(PacketItem(row.item, message or "(no message)", answer or "(no answer)"))
    return Packet(alias, created, scale, tuple(shown))


def _write(directory: Path, packet: Packet) -> RaterFiles:
    files = RaterFiles(packet.rater, directory / f"{packet.rater}.html", directory / f"{packet.rater}.csv")
    write_packet(directory, packet)
    write_text(files.page, render_page(packet))
    # The byte order mark makes Excel read UTF-8.
    write_bytes(files.table, b"\xef\xbb\xbf" + _table(packet).encode("utf-8"))
    return files


def _table(packet: Packet) -> str:
    anchors = "; ".join(f"{number} = {anchor}" for number, anchor in enumerate(packet.scale.anchors, start=1))
    how = f"{packet.scale.question} {anchors}; or write: cannot judge; or write: personal data"
    sink = io.StringIO(newline="")
    table = csv.writer(sink, lineterminator="\r\n")
    table.writerow(CSV_COLUMNS)
    for item in packet.items:
        cells = (packet.digest, packet.rater, item.item, item.message, item.answer, "", how)
        table.writerow([_inert(cell) for cell in cells])
    return sink.getvalue()


def _inert(cell: str) -> str:
    """A cell that a spreadsheet shows instead of running it as a formula."""
    return "'" + cell if cell.startswith(_FORMULA) else cell
