"""People who rate: from a packet to the file that its page would save. They see what the packet shows, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evals.ratings import read_packets


def _drawn(text: str, of: int) -> int:
    return hashlib.sha256(text.encode()).digest()[0] % of


def judge(item: str, message: str) -> int | str:
    """Agreed on the message to within a point, and blind to who answered."""
    return min(5, (1, 3, 4)[_drawn(message, 3)] + _drawn(item, 2))


def rate(run: Path, directory: Path, value: Callable[[str, str], int | str] = judge, **changes: Any) -> list[Path]:
    """Answer every packet of a run; ``value`` is given item and message."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for alias, packet in read_packets(run / "ratings" / "packets").items():
        answers = [{"item": i.item, "value": value(i.item, i.message), "at": packet.created} for i in packet.items]
        body = {
            "format": "distill-gov/rating-responses/1",
            "packet": packet.digest,
            "rater": alias,
            "simulated": False,
            "saved_at": packet.created,
            "answers": answers,
        }
        path = directory / f"{alias}.json"
        path.write_text(json.dumps({**body, **changes}), "utf-8")
        files.append(path)
    return files
