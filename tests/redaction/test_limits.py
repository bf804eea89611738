"""Bad input and hard policies: each is refused by itself, with a reason, and in no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill_gov.records.errors import DistillGovError
from distill_gov.records.keys import KeyRing
from distill_gov.stages.chats import clean_chats
from redaction import RecognizerFailedError, RedactionPolicy, Redactor, limits
from redaction.limits import RecognizerTimeoutError, TextTooLongError, pieces, reason_of, refusal
from redaction.policy import load_policy
from redaction.recognizers import rule

DEEP = "[" * 300 + "]" * 300
BAD: dict[str, Any] = {
    "too_long": "a " * 5_000_000,
    "not_unicode": "mail a@example.org \ud800",
    "nested_too_deep": DEEP,
    "malformed": b"\xff\xfe not decoded",
}
FINE = [
    "",
    " \n\t ",
    "\x00",
    "mail\x00a@example.org",
    "a" * 100_000,
    "x@" * 20_000,
    "1 " * 30_000,
    "&#" * 20_000,
    "%41" * 20_000,
]


@pytest.fixture(scope="module")
def small(keyring: KeyRing) -> Redactor:
    return Redactor(
        RedactionPolicy.model_validate({"entities": {"EMAIL": {}, "PERSON": {}, "ORDER_NUMBER": {}}, **HARD}), keyring
    )


HARD = {"order_numbers": ["[A-Z]{2}-\\d{4}", "(?:z+)+!"], "max_chars": 120_000}


def test_each_bad_text_is_refused_by_itself(small: Redactor) -> None:
    good = "mail a@example.org"
    chats = [(reason, [{"role": "user", "content": text}]) for reason, text in BAD.items()]
    chats.append(("good", [{"role": "user", "content": good}]))
    done = {chat.trace: chat for chat in clean_chats(small, chats)}
    assert {trace: chat.refused for trace, chat in done.items()} == {
        **{reason: reason for reason in BAD},
        "good": None,
    }
    assert all(chat.messages == () for trace, chat in done.items() if trace != "good")
    assert done["good"].messages == ({"role": "user", "content": "mail <EMAIL_1>"},)


def test_what_is_no_chat_is_refused_by_itself(small: Redactor) -> None:
    chats: list[tuple[str, Any]] = [("a", [{"role": "user"}]), ("b", ["x"]), ("c", [{"role": "user", "content": "x"}])]
    reasons = [reason_of(d) if isinstance(d, DistillGovError) else None for d in small.redact_chats(chats)]
    assert reasons == ["malformed", "malformed", None]


def test_odd_but_whole_texts_are_redacted(small: Redactor) -> None:
    done = dict(small.redact_each((str(n), text) for n, text in enumerate(FINE)))
    assert not [n for n, one in done.items() if isinstance(one, DistillGovError)]
    assert "example" not in done["3"].text  # type: ignore[union-attr]


def test_a_pattern_that_takes_too_long_fails_its_text_only(small: Redactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "TIMEOUT_S", 0.05)
    texts = [("a", "order AB-1234"), ("b", "z" * 40_000 + " !"), ("c", "order AB-1234")]
    done = dict(small.redact_each(texts))
    assert isinstance(done["b"], RecognizerTimeoutError)
    assert isinstance(done["b"], RecognizerFailedError)
    assert "zzz" not in str(done["b"])
    assert reason_of(done["b"]) == "recogniser_timed_out"
    assert [done[n].text for n in "ac"] == ["order <ORDER_NUMBER_1>"] * 2  # type: ignore[union-attr]
    with pytest.raises(RecognizerFailedError):
        list(small.redact_many(texts))


def test_a_name_is_found_in_every_piece_of_a_long_text(small: Redactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_PIECE", 300)
    text = ("The kettle is cold and the lamp is on today. " * 8 + "My name is Dana Whitfield.\n") * 3
    assert len(list(pieces(text))) > 3
    assert "".join(pieces(text)) == text
    assert "".join(pieces("x" * 1001)) == "x" * 1001
    done = small.redact(text)
    assert done.text.count("<PERSON_1>") == 3
    assert done.text.replace("<PERSON_1>", "Dana Whitfield") == text


def test_the_limit_is_the_policys() -> None:
    assert refusal("x" * 10, 10) is None
    assert isinstance(refusal("x" * 11, 10), TextTooLongError)


POLICY = "entities: {EMAIL: {}, PERSON: {}, PHONE: {threshold: 0.8}}\n"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("allow_patterns: ['(']", "pattern 1 is no regular expression"),
        ("allow_patterns: [ok, 'a*']", "pattern 2 matches the empty text"),
        ("deny_patterns: {PERSON: ['x?']}", "pattern 1 of PERSON matches the empty text"),
        ("deny_patterns: {CARD: [x]}", "`deny_patterns` names 'CARD'"),
        ("deny_patterns: {EMIAL: [x]}", "did you mean EMAIL"),
        ("fields: [{pointer: messages}]", "pointer"),
        ("fields: [{pointer: '/a~2b'}]", "pointer"),
        ("fields: [{pointer: ''}]", "pointer"),
        ("fields: [{pointer: /a, action: keep, names: false}]", "neither `entities` nor `names`"),
        ("fields: [{pointer: /a, entities: [CARD]}]", "rule 1 of `fields` names 'CARD'"),
        ("languages: {english: x}", "unknown language 'english'"),
        ("languages: {EN: x}", "did you mean en"),
        ("language: xx", "unknown language 'xx'"),
        ("model: x\nlanguages: {en: y}", "neither `model` nor `language`"),
        ("max_chars: 0", "max_chars"),
    ],
)
def test_policies_that_cannot_work_are_refused(tmp_path: Path, more: str, words: str) -> None:
    path = tmp_path / "redaction.yaml"
    path.write_text(POLICY + more, "utf-8")
    with pytest.raises(DistillGovError) as caught:
        load_policy(path)
    assert words in str(caught.value)


def test_patterns_and_words_of_a_policy(keyring: KeyRing) -> None:
    value = {
        "entities": {
            "EMAIL": {},
            "PERSON": {},
            "PHONE": {"threshold": 0.9, "context": ["hotline", "our line"]},
        },
        "allow_patterns": [r"[a-z]+@desk\.example"],
        "deny_patterns": {"PERSON": [r"agent \d{3}"]},
    }
    redactor = Redactor(RedactionPolicy.model_validate(value), keyring)
    done = redactor.redact("Agent 007 wrote from HELP@desk.example to a@desk.example.org")
    assert done.text == "<PERSON_1> wrote from HELP@desk.example to <EMAIL_1>"
    assert done.findings[0].rule == "deny/person/1"
    number = "+44 7700 900123"
    far = "one two three four five six"
    assert redactor.redact(f"it says {number}").findings == ()
    assert redactor.redact(f"the Hotline is {number}").text == "the Hotline is <PHONE_1>"
    assert redactor.redact(f"{number}, on our line").text == "<PHONE_1>, on our line"
    assert redactor.redact(f"the hotline {far} {number}").findings == ()
    assert redactor.redact(f"the hotlines: {number}").findings == ()
    [finding] = redactor.redact(f"hotline {number}").findings
    assert finding.score == pytest.approx(1.0)
