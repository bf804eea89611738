"""Chats on their way to a model: many at once as one by one, and never raw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill_gov.records.errors import DistillGovError
from distill_gov.records.keys import KeyRing
from distill_gov.stages.chats import asked, clean_chat, clean_chats, languages_of
from distill_gov.traces import Trace, read_traces
from redaction import RecognizerFailedError, Redacted, Redactor

EXAMPLE = Path(__file__).parents[2] / "examples" / "support_desk"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor.from_policy(EXAMPLE / "redaction.yaml", KeyRing(bytes(range(32))))


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    return read_traces(EXAMPLE / "data" / "teaching.jsonl")[:60]


def test_many_chats_come_out_as_they_do_one_by_one(redactor: Redactor, traces: list[Trace]) -> None:
    second = {"role": "user", "content": "and now? my name is Zanthe Quillfeather"}
    chats = [(t.id, [*asked(t), second] if n % 3 == 0 else asked(t)) for n, t in enumerate(traces)]
    together = list(clean_chats(redactor, chats))
    assert together == [clean_chat(redactor, t, messages) for t, (_, messages) in zip(traces, chats, strict=True)]
    assert sum(len(chat.findings) for chat in together) > 30


def test_a_chat_that_cannot_be_redacted_is_refused_alone(redactor: Redactor, traces: list[Trace]) -> None:
    bad = replace(traces[1], messages=({"role": "user", "content": "half \ud800 pair"},))
    chats = [(t.id, asked(t)) for t in (traces[0], bad, traces[2])]
    found = list(clean_chats(redactor, chats))
    assert (found[1].refused, found[1].messages) == ("not_unicode", ())
    assert [found[0], found[2]] == [clean_chat(redactor, t, asked(t)) for t in (traces[0], traces[2])]


def test_a_chat_that_cannot_be_scanned_again_is_refused_alone(
    redactor: Redactor, traces: list[Trace], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = redactor.detect_many

    def failing(texts: list[Redacted], *, strict: bool) -> object:
        if any("kettle" in one.text for one in texts):
            raise RecognizerFailedError("too slow")
        return real(texts, strict=strict)

    monkeypatch.setattr(redactor, "detect_many", failing)
    chats = [
        (str(n), [{"role": "user", "content": f"the {thing} is cold"}]) for n, thing in enumerate(("lamp", "kettle", "tea"))
    ]
    assert [chat.refused for chat in clean_chats(redactor, chats)] == [None, "recogniser_failed", None]


def test_chats_are_taken_as_they_are_needed(redactor: Redactor) -> None:
    def endless() -> Iterator[tuple[str, list[dict[str, str]]]]:
        while True:
            yield "t", [{"role": "user", "content": "mail a@example.org"}]

    assert next(clean_chats(redactor, endless())).text == "mail <EMAIL_1>"


def test_many_errors_are_of_the_kinds_that_one_raises(redactor: Redactor) -> None:
    chats = [("good", [{"role": "user", "content": "mail a@example.org"}]), ("bad", [{"role": "user", "content": "\ud800"}])]
    good, bad = redactor.redact_chats(chats)
    assert not isinstance(good, DistillGovError)
    assert isinstance(bad, DistillGovError)
    with pytest.raises(type(bad), match=r"^bad: .*Unicode") as caught:
        redactor.redact_messages(chats[1][1], item="bad")
    assert str(caught.value) == str(bad)


def test_a_traces_own_language_goes_with_it(traces: list[Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill_gov.stages.chats.residual_many", lambda texts, _: [[] for _ in texts])
    given: dict[str, str] = {}

    class Listening:
        policy = SimpleNamespace(keeps_reasoning=False)

        def redact_chats(self, chats: Any, *, languages: Mapping[str, str]) -> list[Any]:
            given.update(languages)
            return [RecognizerFailedError("not asked for more") for _ in chats]

    spoken = [replace(traces[0], id="t-1", language="de"), replace(traces[0], id="t-2", language=None)]
    done = clean_chats(Listening(), [(t.id, asked(t)) for t in spoken], languages=languages_of(spoken))  # type: ignore[arg-type]
    assert [chat.refused for chat in done] == ["recogniser_failed", "recogniser_failed"]
    assert given == {"t-1": "de"}
