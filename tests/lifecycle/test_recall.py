"""Redaction held against values that are known beforehand."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill_gov.records.errors import MalformedFileError
from distill_gov.stages.chats import CleanChat
from distill_gov.stages.recall import redaction_recall
from distill_gov.traces import Trace
from redaction import Finding

TEXT = "Dana Whit-field, dana@example.org"


def chat(*spans: tuple[int, int], field: str = "/1/content") -> CleanChat:
    findings = [Finding("t-1", field, a, b, "PERSON", 1.0, "r", "1", "h", "k", "placeholder") for a, b in spans]
    return CleanChat("t-1", (), tuple(findings), None)


def recall(tmp_path: Path, found: CleanChat, *rows: dict[str, Any]) -> dict[str, Any]:
    (tmp_path / "spans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    project = SimpleNamespace(settings=SimpleNamespace(pii_spans="spans.jsonl"), file=lambda name: tmp_path / name)
    messages = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": TEXT})
    trace = Trace(id="t-1", group="g", messages=messages, consent="c", licence="l", retention_until=date(2030, 1, 1))
    return redaction_recall(project, [found], {"t-1": trace})  # type: ignore[arg-type]


def span(start: int, end: int, entity: str = "PERSON", trace: str = "t-1") -> dict[str, Any]:
    return {"id": trace, "start": start, "end": end, "type": entity}


def test_a_value_is_covered_when_every_letter_and_digit_of_it_is(tmp_path: Path) -> None:
    told = recall(tmp_path, chat((0, 9), (10, 15)), span(0, 15), span(17, 33, "EMAIL"), span(0, 4, trace="t-2"))
    assert told == {"spans": 2, "covered": 1, "covered_recall": 0.5, "by_entity": {"EMAIL": [1, 0], "PERSON": [1, 1]}}


def test_what_was_found_in_another_message_covers_nothing(tmp_path: Path) -> None:
    assert recall(tmp_path, chat((0, 15), field="/0/content"), span(0, 15))["covered"] == 0


def test_without_a_span_of_a_kept_trace_there_is_no_figure(tmp_path: Path) -> None:
    assert recall(tmp_path, chat((0, 4)), span(0, 4, trace="t-2")) == {}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (span(30, 34), "does not lie in"),
        (span(4, 4), "does not lie in"),
        ({"id": "t-1", "start": 0, "end": 4}, "key `type` is missing"),
        ({**span(0, 4), "start": True}, "whole numbers"),
    ],
)
def test_a_row_that_is_no_span_is_named(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    with pytest.raises(MalformedFileError, match=words) as caught:
        recall(tmp_path, chat(), span(0, 4), row)
    assert str(caught.value).startswith("spans.jsonl:2: ")
