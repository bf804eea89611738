"""What redaction found is remembered by text, and nobody can tell from the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import DistillGovError
from distill_gov.records.keys import KeyRing
from distill_gov.stages.detections import Detections
from redaction import RecognizerFailedError, Redactor

POLICY = Path(__file__).parents[2] / "examples" / "support_desk" / "redaction.yaml"
PIECES = (
    "where is my parcel",
    "I am <PERSON_1>",
    "write to <EMAIL_1>",
    "write to a.marlowe@example.org",
    "Anna Marlowe waits",
    "anna marlowe",
    "call +44 7700 900482",
    '{"intent": "refund", "reply": "Hello Anna"}',
    "order LH-48213-K",
    "we look into it",
)


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor.from_policy(POLICY, KeyRing(b"\x01" * 32))


texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("; ".join)
answers = st.lists(texts, min_size=1, max_size=4)


@settings(max_examples=12)
@given(prompt=texts, replies=answers, most=st.integers(1, 6))
def test_the_same_is_found_and_the_same_is_left(redactor: Redactor, prompt: str, replies: list[str], most: int) -> None:
    """For prompts that were redacted, and for raw ones; however few texts are remembered."""
    found = Detections(redactor, most)
    for user in (prompt, redactor.redact(prompt).text):
        found.prepare([user, *replies])
        for reply in (*replies, *replies):
            chat = [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
            assert found.last_redacted(chat, item="c") == redactor.redact_messages(chat, item="c").messages[-1]["content"]
            assert found.values(reply) == [reply[start:end] for _, start, end, _, _ in redactor.detect(reply)]
            assert len(found._spans) <= most


class _Counting:
    """A redactor that notes what it looks at, and cannot look at everything."""

    def __init__(self, refuses: str = "") -> None:
        self.looked_at: list[str] = []
        self.refuses = refuses

    def detect(self, text: str) -> list[tuple[str, int, int, float, str]]:
        [found] = self.detect_many([text])
        return found

    def detect_many(self, texts: Sequence[str]) -> list[list[tuple[str, int, int, float, str]]]:
        self.looked_at += texts
        if self.refuses in texts:
            raise RecognizerFailedError("took too long")
        return [[("NAME", 0, 3, 1.0, "rule")] if text.startswith("Ann") else [] for text in texts]


def detections(redactor: Any, **more: Any) -> Detections:
    return Detections(redactor, **more)


def test_each_text_is_looked_at_once() -> None:
    counting = _Counting()
    found = detections(counting)
    found.prepare(["hello", "Ann", "hello"])
    found.prepare(["Ann", "more"])
    assert (found.values("Ann"), found.values("hello"), found.values("other")) == (["Ann"], [], [])
    assert (
        found.last_redacted([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "more"}], item="") == "more"
    )
    assert counting.looked_at == ["hello", "Ann", "more", "other"]


def test_a_text_that_cannot_be_searched_fails_where_it_is_needed_and_spoils_no_other() -> None:
    counting = _Counting(refuses="bad")
    found = detections(counting)
    found.prepare(["Ann", "bad"])
    assert found.values("Ann") == ["Ann"]
    for _ in range(2):
        with pytest.raises(DistillGovError, match="took too long"):
            found.values("bad")


def test_detect_many_is_detect_for_each(redactor: Redactor) -> None:
    assert redactor.detect_many(PIECES) == [redactor.detect(text) for text in PIECES]
    assert redactor.detect_many([]) == []
