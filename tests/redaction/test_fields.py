"""Rules for fields: who is looked at, for what, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

from distill_gov.records.keys import KeyRing
from redaction import RedactionPolicy, Redactor
from redaction.documents import JsonLeaf
from redaction.fields import FieldRules

FIELDS = [
    {"pointer": "/messages/*/content", "entities": ["EMAIL"]},
    {"pointer": "/raw/0", "action": "keep"},
    {"pointer": "/raw", "action": "drop"},
    {"pointer": "/id", "names": False},
    {"pointer": "/only", "entities": ["PERSON", "EMAIL"]},
    {"pointer": "/a~1b/*/c~0d", "action": "keep"},
]


def _policy(**more: Any) -> RedactionPolicy:
    entities: dict[str, Any] = {"EMAIL": {}, "PERSON": {}, "PHONE": {}, "CARD": {}, "PASSWORD": {}}
    return RedactionPolicy.model_validate({"entities": entities, "fields": FIELDS, **more})


@pytest.fixture(scope="module")
def ruled(keyring: KeyRing) -> Redactor:
    return Redactor(_policy(), keyring)


SAID = "my name is Dana Whitfield, a@example.org, +44 7700 900123"


def test_the_first_rule_that_fits_holds(ruled: Redactor) -> None:
    value = {
        "raw": [SAID, SAID, {"x": SAID, "n": 5}],
        "id": SAID,
        "only": SAID,
        "rest": SAID,
        "a/b": [{"c~d": SAID}],
    }
    done = ruled.redact_json(value).value
    assert done["raw"] == [SAID, "", {"x": "", "n": 5}]
    assert done["a/b"] == [{"c~d": SAID}]
    assert done["id"] == "my name is Dana Whitfield, <EMAIL_1>, <PHONE_1>"
    assert done["only"] == "my name is <PERSON_1>, <EMAIL_1>, +44 7700 900123"
    assert done["rest"] == "my name is <PERSON_1>, <EMAIL_1>, <PHONE_1>"


def test_chats_are_ruled_by_the_same_pointers(ruled: Redactor) -> None:
    done = ruled.redact_messages([{"role": "user", "content": SAID, "reasoning": SAID}])
    assert done.messages[0]["content"] == "my name is Dana Whitfield, <EMAIL_1>, +44 7700 900123"
    assert done.messages[0]["reasoning"] == "my name is <PERSON_1>, <EMAIL_1>, <PHONE_1>"
    assert {f.field for f in done.findings} == {"/0/content", "/0/reasoning"}


def test_the_model_is_not_asked_where_no_names_are_looked_for(ruled: Redactor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    nlp = ruled._analyzer._nlp
    real = nlp.pipe

    def spy(texts: Any, **options: Any) -> Any:
        return real((seen.append(text) or text for text in texts), **options)  # type: ignore[func-returns-value]

    monkeypatch.setattr(nlp, "pipe", spy)
    ruled.redact_json({"id": "an id", "rest": "a rest"})
    ruled.redact_messages([{"role": "user", "content": "a content", "tool_calls": [{"id": "c1", "function": {"name": "f"}}]}])
    assert seen == ["rest: a rest"]


def test_a_key_says_what_its_value_is(ruled: Redactor) -> None:
    done = ruled.redact_json({"password": "hunter2x", "firstName": "Rose", "nick_name": {"0": "x"}, "phoneNumber": "0171 23"})
    assert done.value["password"] == "<PASSWORD_1>"
    assert ruled.redact_json({"label": "hunter2x"}).value == {"label": "hunter2x"}
    assert ruled.redact_json(done.value).value == done.value


def test_numbers_may_be_left_alone(keyring: KeyRing) -> None:
    kept = Redactor(_policy(numbers="keep"), keyring)
    value = {"card": 4111111111111111, "x": "a@example.org"}
    assert kept.redact_json(value).value == {"card": 4111111111111111, "x": "<EMAIL_1>"}


@pytest.mark.parametrize(
    ("path", "kind", "text", "expected"),
    [
        (("x", "password"), "string", "hunter2", ("password: ", True)),
        (("x", "phoneNumber"), "string", "1", ("phone Number: ", True)),
        (("x", "date_of_birth", 0), "string", "1", ("date of birth: ", True)),
        (("x", "content"), "string", "1", ("", True)),
        (("x", "note"), "string", "long " * 60, ("", True)),
        (("x", "a@example.org"), "string", "1", ("", True)),
        (("x", "card"), "number", "4111111111111111", ("card: ", False)),
        (("x", "some key"), "key", "some key", ("", False)),
    ],
)
def test_how_a_leaf_is_looked_at(path: Any, kind: Any, text: str, expected: tuple[str, bool]) -> None:
    part = FieldRules(_policy()).part(JsonLeaf(path, text, kind))
    assert part is not None
    assert (part.lead, part.model) == expected


def test_small_numbers_are_nobodys() -> None:
    assert FieldRules(_policy()).part(JsonLeaf(("x",), "123456", "number")) is None
