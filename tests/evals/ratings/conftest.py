"""A small set of packets, and the ways in which a rater answers them. All people and messages are invented."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from distill_gov.records.keys import KeyRing
from distill_gov.records.ledger import Ledger
from evals.ratings import ExportedPackets, RatingItem, RatingsImport, export_packets, import_responses, read_packets
from evals.ratings.keytable import KeyTable, open_key
from evals.ratings.packets import Packet

KEY = KeyRing(bytes(range(32))).subkey("ratings")
SUBJECTS = {"student": "sha256:" + "5" * 64, "teacher": "sha256:" + "7" * 64}
DATASET = "sha256:" + "d" * 64


def make_items(n: int = 6, subjects: Sequence[str] = ("student", "teacher")) -> list[RatingItem]:
    return [
        RatingItem(
            case=f"case-{i:03}",
            prompt=f"Message number {i}:\n where is my   kettle?",
            answers={name: f"Topic: delivery\nReply: version {v} of reply {i}." for v, name in enumerate(subjects)},
            cluster=f"cluster-{i // 2:03}",
            slices=("slice-plain",),
        )
        for i in range(n)
    ]


@dataclass
class Desk:
    """A project in a temporary directory."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "runs" / "r1"

    @property
    def packets_directory(self) -> Path:
        return self.run / "ratings" / "packets"

    @property
    def key_path(self) -> Path:
        return self.root / "keys" / "r1.json"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.root / "ledger.jsonl", actor="tester")

    def export(self, items: Sequence[RatingItem] | None = None, **changes: Any) -> ExportedPackets:
        arguments: dict[str, Any] = {
            "raters": ("ann@desk.invalid", "bob@desk.invalid"),
            "directory": self.packets_directory,
            "run": self.run,
            "key": KEY,
            "key_path": self.key_path,
            "journal": self.ledger,
        }
        return export_packets(make_items() if items is None else items, **{**arguments, **changes})

    @property
    def packets(self) -> dict[str, Packet]:
        return read_packets(self.packets_directory)

    @property
    def table(self) -> KeyTable:
        return open_key(self.key_path, self.sealed)

    @property
    def sealed(self) -> str:
        return str(self.ledger.find("ratings.sealed")[-1].facts["key"])

    def take(self, files: Iterable[Path], **changes: Any) -> RatingsImport:
        arguments: dict[str, Any] = {
            "packets": self.packets_directory,
            "key_path": self.key_path,
            "journal": self.ledger,
            "expected_sealed_digest": self.sealed,
            "simulated": False,
            "subjects": SUBJECTS,
            "dataset": DATASET,
        }
        return import_responses(list(files), **{**arguments, **changes})

    def answer(self, alias: str, values: Mapping[str, Any], *, pace: int = 5, **changes: Any) -> Path:
        """The file that the page would save; an answer every ``pace`` seconds."""
        packet = self.packets[alias]
        start = datetime.fromisoformat(packet.created)
        times = ((start + timedelta(seconds=pace * i)).strftime("%Y-%m-%dT%H:%M:%SZ") for i in range(len(values)))
        answers = [{"item": item, "value": values[item], "at": at} for item, at in zip(values, times, strict=True)]
        body = {
            "format": "distill-gov/rating-responses/1",
            "packet": packet.digest,
            "rater": alias,
            "simulated": False,
            "saved_at": answers[-1]["at"] if answers else packet.created,
            "answers": answers,
        }
        return self.save(f"answers.{alias}.json", json.dumps({**body, **changes}))

    def save(self, name: str, text: str | bytes) -> Path:
        path = self.root / "responses" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def all_answers(self, value: Callable[[str, str, str], Any] = lambda case, subject, alias: 4, **changes: Any) -> list[Path]:
        """Every rater's file; ``value`` is given case, subject and alias."""
        rows = self.table.rows
        return [
            self.answer(alias, {r.item: value(r.case, r.subject, alias) for r in rows if r.rater == alias}, **changes)
            for alias in self.packets
        ]

    def fill_table(self, alias: str, value: Callable[[str], str], *, delimiter: str = ",", encoding: str = "utf-8-sig") -> Path:
        """The CSV as a spreadsheet would save it."""
        text = (self.packets_directory / f"{alias}.csv").read_text("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        sink = io.StringIO(newline="")
        writer = csv.DictWriter(sink, fieldnames=list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows({**row, "rating": value(row["item"])} for row in rows)
        return self.save(f"{alias}.csv", sink.getvalue().encode(encoding))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)
