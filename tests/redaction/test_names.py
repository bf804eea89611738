"""Names of persons, places, organisations and groups, and titles, under the default policy. All of them are invented."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redaction import Redactor
from redaction.casing import is_shouted, recased
from redaction.recognizers.gazetteer import Gazetteer, words_of

NAMES = {"PERSON", "LOCATION", "ORGANIZATION", "NRP", "TITLE"}


@pytest.fixture(scope="module")
def default() -> Redactor:
    return Redactor()


def _values(redactor: Redactor, text: str) -> list[tuple[str, str]]:
    return [(entity, text[start:end]) for entity, start, end, _, _ in redactor.detect(text) if entity in NAMES]


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        # a word that no dictionary has, in the middle of a sentence and alone in its line
        ("the parcel was signed for by Tibryczka yesterday", "", "Tibryczka"),
        ("Vrolandt, can I talk to your boss?", "PERSON", "Vrolandt"),
        ("we moved there from Quendelburg in spring", "LOCATION", "Quendelburg"),
        ("Jane Doe\nZWINDERSKOPF\nAustria", "", "ZWINDERSKOPF"),
        # lists
        ("I flew back from portugal last week", "LOCATION", "portugal"),
        ("Is it hot in Ouagadougou now", "LOCATION", "Ouagadougou"),
        ("we live in reading, near the river", "LOCATION", "reading"),
        ("the office in Aurora, CO is closed", "LOCATION", "Aurora, CO"),
        ("two norwegians and a Scot walk in", "NRP", "norwegians"),
        ("two norwegians and a Scot walk in", "NRP", "Scot"),
        ("my neighbour is a muslim", "NRP", "muslim"),
        # organisations
        ("invoice of Plimsoll & Wrenfield Ltd. attached", "ORGANIZATION", "Plimsoll & Wrenfield Ltd."),
        ("she studied at the University of Quendel", "ORGANIZATION", "University of Quendel"),
        ("I worked for Hedgerow as a midwife", "ORGANIZATION", "Hedgerow"),
        ("Jane Doe, Risk Analyst — Blue Kettle (2019 to 2021)", "ORGANIZATION", "Blue Kettle"),
        # titles
        ("I worked for Hedgerow as a midwife", "TITLE", "midwife"),
        ("our Senior Software Engineer left", "TITLE", "Senior Software Engineer"),
        ("ask the VP of Engineering", "TITLE", "VP of Engineering"),
        ("it should say Mx. on the card", "TITLE", "Mx."),
        # persons
        ("Mr. Baker is 60", "PERSON", "Mr. Baker"),
        ("please call dr. wexelblatt about it", "PERSON", "dr. wexelblatt"),
        ("the cat belongs to wanjiru h. mercer next door", "PERSON", "wanjiru h. mercer"),
        # shouted
        ("MY NAME IS TIBRYCZKA VON DER HEYDE AND I WANT MY MONEY BACK", "PERSON", "TIBRYCZKA VON DER HEYDE"),
        ("THE PARCEL WENT TO QUENDELBURG AND NOT TO ME", "LOCATION", "QUENDELBURG"),
        # no capitals at all
        ("my friend lives in quendelburg", "LOCATION", "quendelburg"),
    ],
)
def test_finds(default: Redactor, text: str, entity: str, value: str) -> None:
    """The value is found, whole and not more; where an entity is given, as that."""
    assert value in [found for as_what, found in _values(default, text) if as_what == (entity or as_what)]


@pytest.mark.parametrize(
    "text",
    [
        "Please resett my pasword, the sistem is broken",
        "Address: see below\nPhone: none\nConfig: default",
        "Expected Behavior\nThe API returns JSON over HTTPS",
        "SELECT id FROM users WHERE status = 'ACTIVE'",
        "DB_HOST and DB_USER are set by Kubernetes",
        "I WANT MY MONEY BACK AND YOU SHOULDN'T IGNORE ME",
        "In March we moved the meeting to Monday",
        "a nice reading lamp for the mobile kitchen, made of brick and cork",
        "the manager asked an engineer for help",
    ],
)
def test_is_quiet(default: Redactor, text: str) -> None:
    assert _values(default, text) == []


def test_a_policy_of_persons_alone_asks_for_more_proof(redactor: Redactor, default: Redactor) -> None:
    text = "the parcel was signed for by Tibryczka yesterday"
    assert _values(redactor, text) == []
    assert _values(default, text) != []


@given(st.text(max_size=60))
@settings(max_examples=200)
def test_recased_text_keeps_its_length_and_letters(text: str) -> None:
    changed = recased(text, _NoLexicon())  # type: ignore[arg-type]
    assert len(changed) == len(text)
    assert changed.casefold() == text.casefold() or not text.isascii()
    if not is_shouted(text):
        assert changed == text


class _NoLexicon:
    def is_ordinary(self, token: str) -> bool:
        return len(token) % 2 == 0


def test_gazetteer_takes_the_longest_phrase_in_any_case_and_accent() -> None:
    gazetteer = Gazetteer(["são paulo", "paulo", "new york", "new york city"])
    text = "From SAO PAULO to New York City's port, and new\nyork"
    words = words_of(text)
    assert [text[words[a].start() : words[b - 1].end()] for a, b in gazetteer.find(text, words)] == [
        "SAO PAULO",
        "New York City's",
    ]


def test_words_within_code_are_no_words() -> None:
    assert [m[0] for m in words_of("DB_HOST user1 o'neil co-op x.y ,ok")] == ["o'neil", "co-op", "x.y", "ok"]
