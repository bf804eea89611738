"""Tables of what was measured beside the gates: written whole, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import MalformedFileError
from evals.evidence import Column, Summary, read_summaries, write_summaries

SUMMARY = Summary("a", "Title", "caption", (Column("Who", "text"), Column("n", "count")), (("student", 3), ("teacher", None)))

cells = st.one_of(st.none(), st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.tuples(cells, cells)))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, Any]]) -> None:
    path = tmp_path_factory.mktemp("s") / "summaries.json"
    given_rows = tuple(row for row in rows if not any(isinstance(c, str) and _lone(c) for c in row))
    write_summaries(path, [replace(SUMMARY, rows=given_rows)])
    assert read_summaries(path) == (replace(SUMMARY, rows=given_rows),)


def _lone(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize("row", [("student",), ("student", 1, 2), ("student", math.nan), ("student", math.inf)])
def test_a_row_that_does_not_fit_is_not_written(tmp_path: Path, row: tuple[Any, ...]) -> None:
    path = tmp_path / "summaries.json"
    with pytest.raises(MalformedFileError):
        write_summaries(path, [replace(SUMMARY, rows=(row,))])
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["rows"][0].append(1),
        lambda s: s["rows"].append([True, 1]),
        lambda s: s["rows"].append([["x"], 1]),
        lambda s: s.pop("caption"),
        lambda s: s.update(title=1),
        lambda s: s["columns"][0].update(wide=True),
        lambda s: s.update(rows=1),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = tmp_path / "summaries.json"
    write_summaries(path, [SUMMARY])
    whole = json.loads(path.read_text("utf-8"))
    change(whole["summaries"][0])
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(MalformedFileError):
        read_summaries(path)
