"""Raters' files in, case results out: everything is checked while still blind, then the key is opened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

from distill_gov.records.errors import (
    BadInputError,
    DuplicateIdError,
    HashMismatchError,
    IntegrityError,
    MissingFileError,
    NothingLeftError,
)
from distill_gov.records.ledger import Journal, LedgerEntry
from evals.evidence import CaseResult, Provenance
from evals.ratings.keytable import KeyRow, KeyTable, open_key
from evals.ratings.packets import CANNOT_JUDGE, PERSONAL_DATA, Packet, read_packets
from evals.ratings.responses import Response, Responses, read_responses

__all__ = ["RaterStats", "RatingsImport", "import_responses"]

STRAIGHT_LINE = 0.9
"""Share of one value from which a rater is reported for giving always the same."""
TOO_FAST = 2.0
"""Median seconds an answer under which a rater is reported for not reading."""
_ENOUGH = 10
"""Ratings from which the two say anything."""
_CLOCK = timedelta(minutes=10)
"""How far a rater's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class RaterStats:
    """How one rater worked, over the rater's packet."""

    alias: str
    items: int
    rated: int
    cannot_judge: int
    personal_data: int
    missing: int
    modal_share: float | None
    """Share of the most frequent value among the ratings."""
    median_seconds: float | None
    """Between one answer and the next; None without times."""
    repeats: int
    """Answers rated twice."""
    repeats_equal: int
    """Of these, rated the same both times."""


@dataclass(frozen=True, slots=True)
class RatingsImport:
    """Ratings, unblinded."""

    results: tuple[CaseResult, ...]
    """One for each subject and case that was in a packet, suite ``ratings``; ``errored`` where nobody's rating counts."""
    quarantined: tuple[tuple[str, str], ...]
    """(case, subject's name) in which a rater saw personal data: redaction misses, without ratings and without text."""
    cannot_judge: int
    missing: int
    """Items of packets without any answer of the rater, absent raters included."""
    problems: tuple[str, ...]
    """What a reviewer should know, by code: ``missing``, ``no_responses``, ``straight_lining``, ``too_fast``."""
    raters: tuple[RaterStats, ...]


def import_responses(
    files: Sequence[Path],
    *,
    packets: Path,
    key_path: Path,
    journal: Journal,
    expected_sealed_digest: str,
    simulated: bool,
    subjects: Mapping[str, str],
    dataset: str,
    earlier: Sequence[LedgerEntry] = (),
) -> RatingsImport:
    """Check raters' files, log the unsealing, open the key, and make case results. All or nothing.

    Args:
        files: the raters' JSON or CSV files, one a rater.
        packets: the directory that the packets were exported to.
        key_path: the key table.
        journal: gets ``ratings.unsealed`` first. If that fails the key is not opened.
        expected_sealed_digest: the key's digest as the ledger has it (``ratings.sealed``).
        simulated: whether the files were made by a script. It must be what every file says of itself.
        subjects: subject's name to the digest of its :class:`~evals.evidence.Subject`.
        dataset: digest of the suite's cases.
        earlier: ``ratings.unsealed`` entries that the ledger already has for this key. Whoever rates after an unsealing may
            no longer be blind: files that were not part of it must carry times before it.

    Raises:
        BadInputError: (or a subclass, exit code 2) a file cannot be used; names file and row.
        IntegrityError: (exit code 4) key or packets are not those that were sealed.
    """
    invited = read_packets(packets)
    received = [_mine(read_responses(path), invited, simulated) for path in files]
    _one_file_each(received)
    for responses in received:
        _check(responses, invited[responses.rater], earlier)
    if not any(responses.rows for responses in received):
        raise NothingLeftError("the responses hold no rating", where=str(files[0]) if files else str(packets))
    if not key_path.is_file():
        raise MissingFileError("no rating key", where=str(key_path), fix="It was written when the packets were exported.")

    facts = {"key": expected_sealed_digest, "responses": sorted(r.digest for r in received), "simulated": simulated}
    journal.append("ratings.unsealed", facts)
    table = open_key(key_path, expected_sealed_digest)
    _same_packets(table, invited, packets)
    names = {row.subject for row in table.rows}
    if names - set(subjects):
        raise BadInputError("a rated subject is not among the subjects given", where=str(packets))

    given = {row.item: row.value for responses in received for row in responses.rows}
    by_unit: dict[tuple[str, str], list[KeyRow]] = defaultdict(list)
    for row in table.rows:
        by_unit[row.case, row.subject].append(row)
    quarantined = tuple(
        sorted(unit for unit, rows in by_unit.items() if any(given.get(row.item) == PERSONAL_DATA for row in rows))
    )
    provenance: Provenance = "simulated" if simulated else "human"
    scale = next(iter(invited.values())).scale.name
    answers = {item.item: item.answer for packet in invited.values() for item in packet.items}
    results = []
    for (case, subject), rows in sorted(by_unit.items()):
        blank = (case, subject) in quarantined
        scores = {} if blank else _scores(rows, given, scale)
        results.append(
            CaseResult(
                subject=subjects[subject],
                dataset=dataset,
                case=case,
                suite="ratings",
                cluster=rows[0].cluster,
                slices=rows[0].slices,
                # Planned and without a rating: it must stay in the denominator, or raters could skip what is bad.
                status="ok" if scores else "errored",
                scores=scores,
                output="" if blank else answers[rows[0].item],
                provenance=provenance,
            )
        )
    stats = tuple(_stats(invited[alias], received, table, given) for alias in sorted(invited))
    return RatingsImport(
        results=tuple(results),
        quarantined=quarantined,
        cannot_judge=sum(s.cannot_judge for s in stats),
        missing=sum(s.missing for s in stats),
        problems=tuple(problem for s in stats for problem in _problems(s, simulated)),
        raters=stats,
    )


def _mine(responses: Responses, invited: Mapping[str, Packet], simulated: bool) -> Responses:
    where = str(responses.path)
    if responses.simulated and not simulated:
        raise BadInputError("these ratings are simulated and can never count as human", where=where)
    if simulated and not responses.simulated:
        raise BadInputError(
            "these ratings are not marked as simulated", where=where, fix="Never mix human and simulated ratings."
        )
    if responses.rater not in invited:
        raise BadInputError("the rater was not invited", where=where, fix="Import it with the packets it belongs to.")
    if responses.packet != invited[responses.rater].digest:
        raise BadInputError(
            "the answers belong to another packet", where=where, fix="Import it with the packets it belongs to."
        )
    return responses


def _one_file_each(received: Sequence[Responses]) -> None:
    first: dict[str, Path] = {}
    for responses in received:
        if responses.rater in first:
            raise DuplicateIdError(
                f"same rater as in {first[responses.rater]}", where=str(responses.path), fix="Import one file a rater."
            )
        first[responses.rater] = responses.path


def _check(responses: Responses, packet: Packet, earlier: Sequence[LedgerEntry]) -> None:
    known = {item.item for item in packet.items}
    seen: set[str] = set()
    for row in responses.rows:
        if row.item not in known:
            raise BadInputError("item is not in the rater's packet", where=row.where)
        if row.item in seen:
            raise DuplicateIdError("item is rated a second time", where=row.where, fix="Keep one rating.")
        seen.add(row.item)
        if isinstance(row.value, int) and not 1 <= row.value <= len(packet.scale.anchors):
            raise BadInputError(f"rating lies outside 1 to {len(packet.scale.anchors)}", where=row.where)
    latest = (datetime.now(UTC) + _CLOCK).strftime("%Y-%m-%dT%H:%M:%SZ")
    opened = [entry.at for entry in earlier if responses.digest not in entry.facts.get("responses", ())]
    if opened and responses.saved_at is None and responses.rows:
        raise BadInputError(
            "the ratings were opened before, and a table has no times", where=str(responses.path), fix="Use the page."
        )
    for at, where in [(responses.saved_at, str(responses.path)), *((row.at, row.where) for row in responses.rows)]:
        if at is None:
            continue
        if at < packet.created:
            raise BadInputError(
                "is dated before the packet was made", where=where, fix="Check the clock of the rater's device."
            )
        if at > latest:
            raise BadInputError("is dated in the future", where=where, fix="Check the clock of the rater's device.")
        if opened and at > min(opened):
            raise BadInputError("is dated after the ratings were opened", where=where, fix="Export new packets.")


def _same_packets(table: KeyTable, invited: Mapping[str, Packet], directory: Path) -> None:
    if set(table.packets) != set(invited):
        raise IntegrityError("packets are not those that were sealed: one is missing or added", where=str(directory))
    for alias, packet in invited.items():
        if packet.digest != table.packets[alias]:
            raise HashMismatchError(f"packet of {alias} was changed after it was sealed", where=str(directory))
        if {item.item for item in packet.items} != {row.item for row in table.rows if row.rater == alias}:
            raise IntegrityError(f"packet of {alias} and the rating key name different items", where=str(directory))


def _scores(rows: Sequence[KeyRow], given: Mapping[str, int | str], scale: str) -> dict[str, float]:
    ratings = {row.rater: float(value) for row in rows if not row.repeat and isinstance(value := given.get(row.item), int)}
    if not ratings:
        return {}
    return {scale: fmean(ratings.values()), **{f"rating.{alias}": ratings[alias] for alias in sorted(ratings)}}


def _stats(packet: Packet, received: Sequence[Responses], table: KeyTable, given: Mapping[str, int | str]) -> RaterStats:
    mine = next((responses.rows for responses in received if responses.rater == packet.rater), ())
    ratings = [row.value for row in mine if isinstance(row.value, int)]
    firsts = {(row.case, row.subject): row.item for row in table.rows if row.rater == packet.rater and not row.repeat}
    again = [row for row in table.rows if row.rater == packet.rater and row.repeat]
    pairs = [(given.get(firsts[row.case, row.subject]), given.get(row.item)) for row in again]
    twice = [(a, b) for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
    return RaterStats(
        alias=packet.rater,
        items=len(packet.items),
        rated=len(ratings),
        cannot_judge=sum(row.value == CANNOT_JUDGE for row in mine),
        personal_data=sum(row.value == PERSONAL_DATA for row in mine),
        missing=len(packet.items) - len(mine),
        modal_share=Counter(ratings).most_common(1)[0][1] / len(ratings) if ratings else None,
        median_seconds=_median_seconds(mine),
        repeats=len(twice),
        repeats_equal=sum(a == b for a, b in twice),
    )


def _median_seconds(rows: Sequence[Response]) -> float | None:
    times = sorted(datetime.fromisoformat(row.at) for row in rows if row.at is not None)
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    return median(gaps) if gaps else None


def _problems(stats: RaterStats, simulated: bool) -> list[str]:
    found = []
    if stats.missing == stats.items:
        found.append(f"no_responses: {stats.alias} sent nothing back")
    elif stats.missing:
        found.append(f"missing: {stats.alias} left {stats.missing} of {stats.items} items without an answer")
    if stats.rated >= _ENOUGH and stats.modal_share is not None and stats.modal_share >= STRAIGHT_LINE:
        found.append(f"straight_lining: {stats.alias} gave one value to {stats.modal_share:.0%} of {stats.rated} answers")
    hurried = stats.median_seconds is not None and stats.median_seconds < TOO_FAST
    if hurried and stats.rated >= _ENOUGH and not simulated:
        found.append(f"too_fast: {stats.alias} took a median of {stats.median_seconds:.0f} s an answer")
    return found
