"""Ratings made by a script, for the demo and for trying the way of the files. They are marked as such and stay so.

This is the only place that reads the rating key without logging it, because no human ratings exist that could be unblinded by
it. It must not be used on packets that people are to rate: importing what it makes unseals the key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import BadInputError, IntegrityError
from distill_gov.records.files import write_json
from evals.ratings.keytable import KeyRow, open_key
from evals.ratings.packets import Packet, read_packets
from evals.ratings.responses import SIMULATED_FORMAT

__all__ = ["simulate_responses"]


def simulate_responses(
    packets: Path,
    key_path: Path,
    *,
    directory: Path,
    shift: float,
    seed: int,
    noise: float = 0.35,
    subject: str = "student",
) -> tuple[Path, ...]:
    """Write one simulated responses file a rater and return their paths. Only for the demo: it reads the key, see the module.

    An answer's quality is normal about 3.4 with standard deviation 0.9 by case and 0.2 by answer; a rater sees it with an
    error and rounds. So two raters agree well (alpha near 0.8) and subjects are equal but for ``shift``.

    Args:
        packets: the packets' directory.
        key_path: their key table.
        directory: for the files, ``simulated.<alias>.json``.
        shift: added to the quality of ``subject``'s answers, in points of the scale.
        seed: same seed and cases, same ratings.
        noise: standard deviation of a rater's error, in points.
        subject: whose answers are shifted.

    Raises:
        BadInputError: the subject was not rated, or shift or noise is no finite number.
    """
    if not (np.isfinite(shift) and np.isfinite(noise) and noise >= 0):
        raise BadInputError("shift and noise must be finite, noise not negative")
    invited, table = read_packets(packets), open_key(key_path, digest_file(key_path))
    if subject not in {row.subject for row in table.rows}:
        raise BadInputError("no answer of the subject to be shifted is in the packets", where=str(packets))
    by_rater: dict[str, dict[str, KeyRow]] = defaultdict(dict)
    for row in table.rows:
        by_rater[row.rater][row.item] = row
    rng = np.random.default_rng(seed)
    # In the order of cases and subjects, not of ids: another key gives the same qualities.
    of_case = {case: rng.normal(3.4, 0.9) for case in sorted({row.case for row in table.rows})}
    units = sorted({(row.case, row.subject) for row in table.rows})
    quality = {(case, who): of_case[case] + rng.normal(0, 0.2) + (shift if who == subject else 0) for case, who in units}
    paths = []
    for alias in sorted(invited):
        if set(by_rater[alias]) != {item.item for item in invited[alias].items}:
            raise IntegrityError("packets and rating key do not belong together", where=str(packets))
        path = directory / f"simulated.{alias}.json"
        values = _rate(invited[alias], by_rater[alias], quality, noise, rng)
        write_json(path, _file(invited[alias], values), format=SIMULATED_FORMAT)
        paths.append(path)
    return tuple(paths)


def _rate(
    packet: Packet,
    rows: Mapping[str, KeyRow],
    quality: Mapping[tuple[str, str], float],
    noise: float,
    rng: np.random.Generator,
) -> dict[str, int]:
    ordered = sorted(rows.values(), key=lambda row: (row.case, row.subject, row.repeat))
    seen = {row.item: quality[row.case, row.subject] + rng.normal(0, noise) for row in ordered}
    return {item: int(np.clip(np.rint(value), 1, len(packet.scale.anchors))) for item, value in seen.items()}


def _file(packet: Packet, values: Mapping[str, int]) -> dict[str, object]:
    answers = [{"item": item.item, "value": values[item.item], "at": packet.created} for item in packet.items]
    head = {"packet": packet.digest, "rater": packet.rater, "simulated": True, "saved_at": packet.created}
    return {**head, "answers": answers}
