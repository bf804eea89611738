from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError, MalformedFileError
from distill_gov.records.keys import KeyRing
from redaction import RecognizerFailedError, RedactionPolicy, Redactor
from redaction.entities import DEFAULT_ENTITIES
from redaction.findings import FINDING_SCHEMA

CASES = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text("utf-8"))
MARKED = [text for texts in CASES["found"].values() for text in texts]
VALUES = [text.split("[[")[1].split("]]")[0] for text in MARKED]
TEXTS = [text.replace("[[", "").replace("]]", "") for text in MARKED]
PIECES = [
    *VALUES,
    "<PERSON_1>",
    "<PERSON_999999>",
    "<EMAIL_01>",
    "<PERSON_",
    "1>",
    "<",
    ">",
    "<<",
    " ",
    "\n",
    ", ",
    ". ",
    "thanks, ",
    "my name is ",
    "password: ",
    "user ",
    "born ",
    "\u200b",
    "\ufffc",
    "\u0301",
    "ﬁ",
    "＜PERSON_1＞",
    "@",
    "=",
    "/",
    "Larkfield Plus",
    "kettle",
]
adversarial = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=8).map("".join)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(adversarial)
def test_redaction_is_idempotent(redactor: Redactor, text: str) -> None:
    once = redactor.redact(text)
    twice = redactor.redact(once.text)
    assert twice.text == once.text
    assert twice.findings == ()
    assert twice.issued == once.issued
    assert redactor.detect(once.text) == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(adversarial, max_size=4))
def test_a_redacted_conversation_is_left_alone(redactor: Redactor, contents: list[str]) -> None:
    once = redactor.redact_messages([{"role": "user", "content": c} for c in contents])
    twice = redactor.redact_messages(once.messages)
    assert (twice.messages, twice.findings) == (once.messages, ())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(adversarial)
def test_spans_lie_where_they_say(redactor: Redactor, text: str) -> None:
    done = redactor.redact(text)
    rebuilt, position = [], 0
    for finding in done.findings:
        assert position <= finding.start < finding.end <= len(text)
        rebuilt.append(text[position : finding.start])
        position = finding.end
    rebuilt.append(text[position:])
    outside = done.text
    for part in rebuilt:
        assert part in outside
    for span in done.issued:
        assert done.text[span.start] == "<"
        assert done.text[span.end - 1] == ">"


def test_values_are_numbered_by_first_appearance(redactor: Redactor) -> None:
    text = "from b@example.org and a@example.org, again B@EXAMPLE.ORG, call +44 7700 900123"
    assert redactor.redact(text).text == "from <EMAIL_1> and <EMAIL_2>, again <EMAIL_1>, call <PHONE_1>"


def test_numbering_goes_on_after_what_is_there(redactor: Redactor) -> None:
    chat = [
        {"role": "user", "content": "mail <EMAIL_3> or a@example.org"},
        {"role": "assistant", "content": "we wrote to a@example.org and b@example.org"},
    ]
    contents = [m["content"] for m in redactor.redact_messages(chat).messages]
    assert contents == ["mail <EMAIL_3> or <EMAIL_4>", "we wrote to <EMAIL_4> and <EMAIL_5>"]


def test_the_largest_number_is_no_trap(redactor: Redactor) -> None:
    done = redactor.redact("<EMAIL_999999> a@example.org")
    assert done.text == "<EMAIL_999999> <EMAIL_1>"


def test_a_value_found_once_is_taken_everywhere_in_the_conversation(redactor: Redactor) -> None:
    chat = [
        {"role": "user", "content": "my name is Zanthe Quillfeather"},
        {"role": "assistant", "content": "noted for zanthe quillfeather, we look into it"},
    ]
    done = redactor.redact_messages(chat, item="c1")
    assert [m["content"] for m in done.messages] == ["my name is <PERSON_1>", "noted for <PERSON_1>, we look into it"]
    assert {(f.item, f.field) for f in done.findings} == {("c1", "/0/content"), ("c1", "/1/content")}
    assert len({f.value_hash for f in done.findings}) == 1


def test_messages_keep_roles_and_unpack(redactor: Redactor) -> None:
    messages, findings, issued = redactor.redact_messages([{"role": "user", "content": "a@example.org"}])
    assert messages == [{"role": "user", "content": "<EMAIL_1>"}]
    assert findings[0].field == "/0/content"
    assert [(s.start, s.end) for s in issued["/0/content"]] == [(0, 9)]


def test_messages_of_a_wrong_shape(redactor: Redactor) -> None:
    with pytest.raises(MalformedFileError, match="role"):
        redactor.redact_messages([{"content": "x"}])


def test_many_is_the_same_as_one_by_one_and_lazy(redactor: Redactor) -> None:
    pairs = [(str(i), text) for i, text in enumerate([*TEXTS, *CASES["quiet"]])]
    assert list(redactor.redact_many(pairs)) == [(i, redactor.redact(text, item=i)) for i, text in pairs]

    def endless() -> Iterator[tuple[str, str]]:
        n = 0
        while True:
            yield str(n), "mail a@example.org"
            n += 1

    assert next(redactor.redact_many(endless()))[1].text == "mail <EMAIL_1>"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.sampled_from(TEXTS), st.text(max_size=6)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b/c", "d~e", "x@example.org"]), inner, max_size=3)
    ),
    max_leaves=5,
)


def _shape(value: Any) -> Any:
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        # A key that is somebody's cannot stay; the record is dropped.
        return [("<EMAIL_n>" if "@" in key or key[0] == "<" else key, _shape(child)) for key, child in value.items()]
    return [_shape(child) for child in value] if isinstance(value, list) else (type(value).__name__, value)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values)
def test_json_stays_json(redactor: Redactor, value: Any) -> None:
    done = redactor.redact_json(value)
    assert _shape(done.value) == _shape(value)
    assert _shape(json.loads(json.dumps(done.value))) == _shape(value)
    again = redactor.redact_json(done.value)
    assert (again.value, again.findings) == (done.value, ())


def test_json_pointers_are_escaped(redactor: Redactor) -> None:
    done = redactor.redact_json({"a/b": [{"c~d": "mail a@example.org", "n": 4111}]}, item="x")
    assert done.value == {"a/b": [{"c~d": "mail <EMAIL_1>", "n": 4111}]}
    assert [f.field for f in done.findings] == ["/a~1b/0/c~0d"]


@pytest.mark.parametrize("value", [{1: "a"}, {"a": object()}, [b"x"]])
def test_what_is_no_json_is_refused(redactor: Redactor, value: Any) -> None:
    with pytest.raises(MalformedFileError):
        redactor.redact_json(value)


def test_findings_fit_their_schema_and_hold_no_value(redactor: Redactor) -> None:
    import pyarrow as pa

    for text, value in zip(TEXTS, VALUES, strict=True):
        done = redactor.redact(text, item="i")
        assert value not in done.text
        assert value.casefold() not in repr(done.findings).casefold()
        pa.Table.from_pylist([asdict(f) for f in done.findings], schema=FINDING_SCHEMA)


def test_hashes_are_keyed(redactor: Redactor, policy: RedactionPolicy) -> None:
    other = Redactor(policy, KeyRing(b"\x02" * 32))
    assert redactor.value_hash("EMAIL", "A@example.org") == redactor.value_hash("EMAIL", "a@example.org")
    assert redactor.value_hash("EMAIL", "a@example.org") != redactor.value_hash("USERNAME", "a@example.org")
    assert redactor.value_hash("EMAIL", "a@example.org") != other.value_hash("EMAIL", "a@example.org")
    assert redactor.value_hash("PERSON", "Dr. Dana Whitfield") == redactor.value_hash("PERSON", "dana  whitfield")
    assert redactor.value_hash("CARD", "4111 1111 1111 1111") == redactor.value_hash("CARD", "4111111111111111")
    assert redactor.digest != other.digest
    assert redactor.digest == Redactor(policy, KeyRing(b"\x01" * 32)).digest


def test_the_policy_shapes_the_digest(redactor: Redactor, policy: RedactionPolicy, keyring: KeyRing) -> None:
    changed = policy.model_copy(update={"threshold": 0.5})
    assert Redactor(changed, keyring).digest != redactor.digest


def test_thresholds_allow_deny_and_drop(policy: RedactionPolicy, keyring: KeyRing) -> None:
    entities = {
        "EMAIL": policy.entities["EMAIL"].model_copy(update={"operator": "drop"}),
        "PERSON": policy.entities["PERSON"].model_copy(update={"threshold": 0.99}),
    }
    update = {"entities": entities, "deny": {"PERSON": ["the tall courier"]}, "allow": ["desk@larkfield.example"]}
    strict = Redactor(policy.model_copy(update=update), keyring)
    done = strict.redact("thanks, dana. The Tall Courier wrote to a@example.org and desk@larkfield.example")
    assert done.text == "thanks, dana. <PERSON_1> wrote to <EMAIL_1> and desk@larkfield.example"
    assert [f.action for f in done.findings] == ["placeholder", "drop"]


class _Broken:
    id, version, entity = "test/broken", "1", "PERSON"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find(self, text: str, doc: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("saw hidden-value here"), TimeoutError("hidden-value")])
def test_a_failing_recogniser_fails_the_text(
    policy: RedactionPolicy, keyring: KeyRing, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Redactor(policy, keyring)
    broken._analyzer.rules = (*broken._analyzer.rules, _Broken(error))
    with caplog.at_level(logging.DEBUG), pytest.raises(RecognizerFailedError, match="test/broken failed") as caught:
        broken.redact("hidden-value", item="t7")
    assert str(caught.value).startswith("t7")
    assert "hidden-value" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None
    with pytest.raises(RecognizerFailedError):
        list(broken.redact_many([("a", "x")]))
    with pytest.raises(RecognizerFailedError):
        broken.detect("x")


def test_a_bad_text_spoils_only_itself(redactor: Redactor) -> None:
    many = redactor.redact_many([("good", "mail a@example.org"), ("bad", "half \ud800 pair"), ("never", "x")])
    assert next(many)[1].text == "mail <EMAIL_1>"
    with pytest.raises(BadInputError, match=r"^bad: .*Unicode"):
        next(many)


@pytest.mark.parametrize(
    "text", ["", " \n", "\x00", "a" * 100_000, "<" * 20_000, "-" * 20_000, "a.b-" * 3000, "é\u0301" * 50, "🏳️‍🌈 hi"]
)
def test_odd_texts_come_through(redactor: Redactor, text: str) -> None:
    assert redactor.redact(text).text == text


def test_a_text_too_long_is_refused(redactor: Redactor) -> None:
    with pytest.raises(BadInputError, match="longer"):
        redactor.redact("a " * 200_000)


def test_redaction_opens_no_connection(policy: RedactionPolicy, keyring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    redactor = Redactor(policy, keyring)
    for text in TEXTS:
        redactor.redact(text)


def test_every_entity_of_the_example_is_known(policy: RedactionPolicy) -> None:
    assert {*policy.entities} <= {*DEFAULT_ENTITIES, "ORDER_NUMBER"}


def test_texts_without_names_are_redacted_one_after_another(redactor: Redactor) -> None:
    texts = iter(TEXTS[:5])
    made = redactor.redact_many(texts)
    assert [done.text for done in made] == [redactor.redact(text).text for text in TEXTS[:5]]
    assert list(redactor.redact_many([])) == []
    mixed: list[Any] = [TEXTS[0], ("b", TEXTS[1])]
    first, (name, second) = redactor.redact_many(mixed)
    assert (first.text, name, second.findings[0].item if second.findings else "b") == (redactor.redact(TEXTS[0]).text, "b", "b")
