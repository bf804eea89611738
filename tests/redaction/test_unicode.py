from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from redaction.findings import Span
from redaction.unicode import MASK, detection_text


def test_folding_keeps_a_map_to_what_was_written() -> None:
    text = "ａ\u200bb ﬁ e\u0301 “x”"
    seen = detection_text(text, [])
    assert seen.text == 'ab fi é "x"'
    assert seen.original(0, 2) == Span(0, 3)
    assert seen.original(3, 4) == seen.original(3, 5) == Span(4, 5)
    assert text[slice(*_pair(seen.original(6, 7)))] == "e\u0301"


def test_masked_spans_become_one_character_each() -> None:
    seen = detection_text("to a@b.c now", [Span(3, 8)])
    assert seen.text == f"to {MASK} now"
    assert seen.original(3, 4) == Span(3, 8)


@given(st.text())
def test_the_mask_never_comes_from_the_text(text: str) -> None:
    seen = detection_text(text, [])
    assert MASK not in seen.text
    assert len(seen.text) == len(seen.starts) == len(seen.ends)
    assert all(0 <= a < b <= len(text) for a, b in zip(seen.starts, seen.ends, strict=True))
    assert list(seen.starts) == sorted(seen.starts)


def _pair(span: Span) -> tuple[int, int]:
    return span.start, span.end
