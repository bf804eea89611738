"""None of 500 planted values of 25 kinds, and no piece of one, is in anything that a run leaves, prints or logs."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.records.files import read_parquet
from redaction.entities import DEFAULT_ENTITIES
from tests.end_to_end.commands import command
from tests.end_to_end.decoding import decoded
from tests.end_to_end.planted_values import KINDS, Value, planted_values
from tests.end_to_end.test_planted_pii import files
from tests.end_to_end.tiny_project import policy, redaction_yaml, trace, write_jsonl

VALUES = tuple(planted_values())
_GRAM = 5


def _squeezed(text: str) -> str:
    return re.sub(r"[\s./():-]+", "", text).casefold()


def _pattern(piece: str) -> re.Pattern[str]:
    """The piece with any marks between its characters; one of digits alone not inside a longer figure."""
    body = r"[\s./():-]*".join(map(re.escape, _squeezed(piece)))
    return re.compile(rf"(?<![\d.]){body}(?!\d)" if _squeezed(piece).isdigit() else body, re.IGNORECASE)


PIECES = [(value, _squeezed(piece), _pattern(piece)) for value in VALUES for piece in value.pieces]


def leaks(texts: Iterable[str]) -> Counter[str]:
    """Kinds of the values of which something is in the texts; never a value: this goes into a test's message."""
    whole = "\n\n".join(dict.fromkeys(texts))
    squeezed = _squeezed(whole)
    grams = {squeezed[i : i + _GRAM] for i in range(len(squeezed))}
    found = {
        value for value, piece, pattern in PIECES if piece[:_GRAM] in grams and piece in squeezed and pattern.search(whole)
    }
    return Counter(value.kind for value in found)


def _carried(number: int, value: Value) -> dict[str, Any]:
    """A trace with the value in one of the places where traces hold text."""
    row = trace(f"t-{number:03d}", f"Message {number}: something is wrong with it", planted=False)
    answer = {"role": "assistant", "content": f"Thank you, we look at case {number} now."}
    place = number % 4
    if place == 0:
        row["messages"] = [{"role": "user", "content": f"Number {number} is broken. {value.sentence}"}, answer]
    elif place == 1:
        first = {"role": "user", "content": f"Number {number} is broken."}
        asked = {"role": "assistant", "content": "Which one do you mean?"}
        row["messages"] = [first, asked, {"role": "user", "content": value.sentence}, answer]
    elif place == 2:
        tool = {"role": "tool", "content": json.dumps({"note": value.sentence, "n": number, "open": True})}
        row["messages"] = [{"role": "user", "content": f"Please look up number {number} for me."}, tool, answer]
    else:
        answer["content"] = f"Thank you for message {number}. {value.sentence}"
        row["messages"] = [{"role": "user", "content": f"Please repeat my details of number {number}."}, answer]
        row["tags"]["origin"] = value.sentence
    return row


@pytest.fixture
def planted(sealed: Path, tmp_path: Path) -> Path:
    """A project with a recorded teacher whose traces carry the values."""
    root = tmp_path / "project"
    shutil.copytree(sealed, root)
    rows = [_carried(number, value) for number, value in enumerate(VALUES)]
    write_jsonl(root / "data" / "teaching.jsonl", rows)
    settings = yaml.safe_load((root / "distill.yaml").read_text("utf-8"))
    for key in ("answer_schema", "dev", "gold", "suites"):
        del settings[key]
    settings["teacher"] = {"kind": "recorded", "licence": "invented", "revision": "", "terms_accepted_by": ""}
    (root / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    redaction = yaml.safe_load(redaction_yaml(echo=False))
    redaction["entities"] = {entity: {} for entity in (*DEFAULT_ENTITIES, "ORDER_NUMBER")}
    redaction["filters"]["prompts"] = {}
    (root / "redaction.yaml").write_text(yaml.safe_dump(redaction), "utf-8")
    for other in root.glob("gates.*.yaml"):
        other.unlink()
    (root / "gates.yaml").write_text(policy(), "utf-8")
    return root


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def log() -> Iterator[list[str]]:
    records, level = _Records(), logging.root.level
    logging.root.addHandler(records)
    logging.root.setLevel(logging.DEBUG)
    yield records.lines
    logging.root.removeHandler(records)
    logging.root.setLevel(level)


def test_there_are_five_hundred_values_of_twenty_kinds_and_they_would_be_found() -> None:
    assert len(VALUES) == len({value.value for value in VALUES}) >= 500
    assert len(KINDS) >= 20
    assert leaks(value.sentence for value in VALUES) == Counter(value.kind for value in VALUES)
    assert leaks([value.value.replace(" ", "\u00a0").replace("-", " ").upper() for value in VALUES]).total() == len(VALUES)
    assert leaks(["0.1234567890123 is a figure", "and this a text"]) == Counter()


@pytest.mark.slow
def test_no_planted_value_is_left_anywhere(planted: Path, log: list[str]) -> None:
    # Raw, they are all there.
    assert leaks((planted / "data" / "teaching.jsonl").read_text("utf-8").splitlines()).total() == len(VALUES)
    ended = [command(planted, *verb.split()) for verb in ("build --run r1", "audit --sample 60", "audit --json", "verify")]
    assert [e.code for e in ended] == [0, 0, 0, 0], [e.err[-300:] for e in ended]
    decisions = read_parquet(planted / "runs/r1/teaching/decisions.parquet", format="decisions")
    assert {row["item"] for row in decisions} >= {f"t-{number:03d}" for number in range(len(VALUES))}
    # A record may be dropped for what is left in it, but that is no way to pass.
    kept = {row["item"] for row in decisions if row["stage"] == "redaction" and row["outcome"] == "kept"}
    assert len(kept) >= 0.95 * len(VALUES)
    # What fails must not tell either: its error could quote.
    with (planted / "data" / "teaching.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"id": VALUES[30].value, VALUES[40].value: [VALUES[50].value]}) + "\n")
    ended.append(command(planted, "build", "--run", "r2"))
    assert ended[-1].code == 2
    found = {p.relative_to(planted).as_posix(): leaks(decoded(p)) for p in files(planted)}
    assert {name: kinds for name, kinds in found.items() if kinds} == {}
    assert leaks(text for e in ended for text in (e.out, e.err)) == Counter()
    assert leaks(log) == Counter()
