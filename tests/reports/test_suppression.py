"""A count under five cannot be told from what is shown beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from reports.suppression import WITHHELD, K, shown_counts, shown_table

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 30), max_size=6)


def hidden_well(counts: Mapping[str, int], shown: Mapping[str, str]) -> bool:
    """With the total known, the hidden counts could be several things each; or there is nothing left to hide behind."""
    hidden = [counts[name] for name, text in shown.items() if text in (WITHHELD, f"<{K}")]
    open_ = [counts[name] for name, text in shown.items() if counts[name] and text not in (WITHHELD, f"<{K}")]
    return not hidden or not open_ or (len(hidden) >= 2 and sum(hidden) >= 2 * K)


@given(COUNTS)
def test_a_small_count_is_hidden_and_cannot_be_told_from_the_total(counts: dict[str, int]) -> None:
    shown = shown_counts(counts)
    assert all(shown[name] in (f"<{K}", WITHHELD) for name, n in counts.items() if 0 < n < K)
    assert all(shown[name] in (f"{n:,}", WITHHELD) for name, n in counts.items() if not 0 < n < K)
    assert hidden_well(counts, shown)


@given(st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=1, max_size=4))
def test_in_a_table_neither_rows_nor_columns_give_a_count_away(rows: list[list[int]]) -> None:
    counts = {f"r{i}": dict(zip("abc", row, strict=True)) for i, row in enumerate(rows)}
    shown = shown_table(counts)
    lines: Iterable[tuple[dict[str, int], dict[str, str]]] = [
        *((cells, shown[row]) for row, cells in counts.items()),
        *(({row: cells[c] for row, cells in counts.items()}, {row: shown[row][c] for row in counts}) for c in "abc"),
    ]
    for line, texts in lines:
        assert all(texts[name] == f"<{K}" for name, n in line.items() if 0 < n < K)
        assert hidden_well(line, texts)


def test_what_is_withheld_in_a_row_obliges_the_column() -> None:
    shown = shown_table({"one": {"a": 2, "b": 9, "c": 20}, "two": {"a": 8, "b": 30, "c": 40}})
    assert shown == {
        "one": {"a": "<5", "b": WITHHELD, "c": "20"},
        "two": {"a": WITHHELD, "b": WITHHELD, "c": "40"},
    }
