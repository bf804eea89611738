from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.ratings.words import answer_in_words, normalise

SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["delivery", "log_in"], "title": "Topic"},
        "needs_person": {"type": "boolean"},
        "action": {"oneOf": [{"const": "ask", "title": "Ask the customer back"}, {"const": "answer"}]},
        "reply": {"type": "string"},
        "tags": {"type": "array", "items": {"enum": ["two_words", "one"]}},
        "place": {"type": "object", "title": "Where", "properties": {"country": {"type": "string", "title": "Country"}}},
    },
}


def test_fields_and_values_have_human_names() -> None:
    answer = (
        '{"reply": "We look into snake_case-things.", "intent": "log_in", "action": "ask", "needs_person": false,'
        ' "tags": ["two_words", "one"], "place": {"country": "Norway"}, "extra_field": null}'
    )
    assert answer_in_words(answer, SCHEMA).splitlines() == [
        "Topic: log in",
        "Needs person: no",
        "Action: Ask the customer back",
        "Reply: We look into snake_case-things.",
        "Tags: two words, one",
        "Where, Country: Norway",
        "Extra field: (nothing)",
    ]


def test_order_and_spacing_of_the_json_do_not_show() -> None:
    one = answer_in_words('{"intent":"delivery","reply":"Soon."}', SCHEMA)
    other = answer_in_words('{\n  "reply": " Soon. ",\n  "intent": "delivery"\n}', SCHEMA)
    assert one == other == "Topic: delivery\nReply: Soon."


@pytest.mark.parametrize(
    "text", ['{"intent": "deliv', "Sure,  I  can\n\n help.", "[1, 2]", '"quoted"', '{"a": 1, "a": 2}', '{"a": NaN}', "{}"]
)
def test_anything_else_is_shown_as_it_is(text: str) -> None:
    assert answer_in_words(text, SCHEMA) == normalise(text)


def test_deep_nesting_is_text_and_no_crash() -> None:
    text = '{"a":' * 50_000 + "1" + "}" * 50_000
    assert answer_in_words(text, SCHEMA) == text
    # Deep enough to strain our own walk, not the parser.
    for depth in (300, 600, 900):
        assert answer_in_words('{"a":' * depth + "1" + "}" * depth, SCHEMA)


def test_invisible_marks_are_gone() -> None:
    assert normalise("\ufeffa\u200bb\x07\u00a0\t c\r\n\r\n\u2003d \n") == "ab c\nd"


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert all(line == line.strip() and line for line in once.splitlines())
    assert not any(unicodedata.category(c) == "Cc" for c in once.replace("\n", ""))
