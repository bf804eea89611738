"""What was issued is known again: redacting twice changes nothing, whatever stands in the values' places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import IncomparableKeysError
from distill_gov.records.keys import KeyRing
from redaction import Redacted, RedactedMessages, RedactionPolicy, Redactor
from redaction.entities import DEFAULT_ENTITIES
from redaction.policy import EntityPolicy, MaskPolicy
from redaction.residual import KnownValues, residual
from redaction.surrogates import issued_in, stand_ins

CASES = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text("utf-8"))
TEXTS = [text.replace("[[", "").replace("]]", "") for texts in CASES["found"].values() for text in texts]
PIECES = [*TEXTS, " ", "\n", "<PERSON_1>", "<EMAIL:a123456789abcdef>", "my name is ", "\u200b", "@", "kettle", "1", "<", ">"]
adversarial = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=5).map("".join)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

OF_A_SHAPE = ("placeholder", "hash", "encrypt")
ALL = (*OF_A_SHAPE, "surrogate", "mask", "mixed")


def _policy(operator: str, **more: Any) -> RedactionPolicy:
    kinds = [EntityPolicy(operator=kind) for kind in ("surrogate", "mask", "hash", "encrypt", "placeholder", "drop")]
    kinds.append(EntityPolicy(operator="mask", mask=MaskPolicy(keep_last=4, length=3)))
    if operator != "mixed":
        kinds = [EntityPolicy(operator=operator)]  # type: ignore[arg-type]
    return RedactionPolicy(entities={e: kinds[i % len(kinds)] for i, e in enumerate(DEFAULT_ENTITIES)}, **more)


@pytest.fixture(scope="module")
def redactors(keyring: KeyRing) -> dict[str, Redactor]:
    return {operator: Redactor(_policy(operator), keyring) for operator in ALL}


@quick
@given(text=adversarial, operator=st.sampled_from(ALL))
def test_what_was_redacted_comes_back_as_it_is(redactors: dict[str, Redactor], text: str, operator: str) -> None:
    redactor = redactors[operator]
    once = redactor.redact(text, item="c")
    assert redactor.redact(once, item="c") == once
    assert redactor.redact(once, item="another") == once
    assert redactor.detect(once) == []
    assert residual(once, redactor) == []
    position = 0
    for span in once.issued:
        assert position <= span.start < span.end <= len(once.text)
        position = span.end
    if operator in OF_A_SHAPE:
        again = redactor.redact(once.text)
        assert (again.text, again.findings, again.issued) == (once.text, (), once.issued)


@quick
@given(contents=st.lists(adversarial, max_size=3), operator=st.sampled_from(ALL))
def test_a_chat_and_a_document_too(redactors: dict[str, Redactor], contents: list[str], operator: str) -> None:
    redactor = redactors[operator]
    chat = redactor.redact_messages([{"role": "user", "content": c} for c in contents], item="c")
    assert redactor.redact_messages(chat, item="c") == chat
    document = redactor.redact_json({"text": contents, "n": 1}, item="c")
    assert redactor.redact_json(document, item="c") == document
    assert [m["content"] for m in chat.messages] == document.value["text"]
    [same] = redactor.redact_chats([("c", chat)])
    assert same == chat


@pytest.mark.parametrize("operator", ALL)
def test_what_is_new_beside_the_issued_is_found(redactors: dict[str, Redactor], operator: str) -> None:
    redactor = redactors[operator]
    once = redactor.redact("my name is Dana Whitfield, mail dana@example.org", item="c")
    more = Redacted(f"{once.text} or call +44 7911 123456", once.findings, once.issued)
    assert [h.entity for h in residual(more, redactor)] == ["PHONE"]
    twice = redactor.redact(more, item="c")
    assert twice.text.startswith(once.text)
    assert "7911" not in twice.text
    assert [f.entity for f in twice.findings] == ["PERSON", "EMAIL", "PHONE"]
    assert len(twice.issued) == 3


def test_surrogates_hold_over_messages_calls_and_workers(redactors: dict[str, Redactor], keyring: KeyRing) -> None:
    text = "I am Dana Whitfield (dana@example.org). Regards, Dana Whitfield"
    first = redactors["surrogate"].redact(text, item="c1").text
    chat = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": text}]
    assert redactors["surrogate"].redact_messages(chat, item="c1").messages[1]["content"] == first
    assert Redactor(_policy("surrogate"), keyring).redact(text, item="c1").text == first
    assert redactors["surrogate"].redact(text, item="c2").text != first
    assert Redactor(_policy("surrogate"), KeyRing(b"\x02" * 32)).redact(text, item="c1").text != first
    many = list(redactors["surrogate"].redact_many([("c2", text), ("c1", text)]))
    assert many[1][1].text == first


def test_a_text_without_an_item_is_a_conversation_of_its_own(redactors: dict[str, Redactor], keyring: KeyRing) -> None:
    texts = ["mail dana@example.org", "write to dana@example.org"]
    addresses = [redactors["surrogate"].redact(text).text.split()[-1] for text in texts]
    assert addresses[0] != addresses[1]
    dataset = Redactor(_policy("surrogate", scope="dataset"), keyring)
    same = {dataset.redact(text, item=item).text.split()[-1] for text in texts for item in ("", "a", "b")}
    assert len(same) == 1


def test_the_operator_is_the_findings_action(redactors: dict[str, Redactor]) -> None:
    for operator in (*OF_A_SHAPE, "surrogate", "mask"):
        [finding] = redactors[operator].redact("mail dana@example.org").findings
        assert (finding.action, finding.key_id) == (operator, redactors[operator].key_id)


def test_nothing_shows_a_value(redactors: dict[str, Redactor], keyring: KeyRing) -> None:
    redactor = redactors["encrypt"]
    chat = redactor.redact_messages([{"role": "user", "content": "my name is Dana Whitfield, pin 4821"}])
    document = redactor.redact_json(["my name is Dana Whitfield, pin 4821"])
    shown = repr(
        [redactor, keyring, redactor.policy, chat, document, redactor.redact("I am Dana Whitfield"), redactor._operators]
    )
    assert "Whitfield" not in shown
    assert "4821" not in shown
    with pytest.raises(AttributeError):
        chat.findings[0].score = 0.0  # type: ignore[misc]


def test_a_model_that_repeats_a_stand_in_repeats_no_value() -> None:
    known = frozenset({"Alex Ashford", "Alex", "****"})
    text = "Dear Alex Ashford, Alex, Alexander, <PERSON_1> <EMAIL:a123456789abcdef> **** x"
    found = [text[s.start : s.end] for s in issued_in(text, known)]
    assert found == ["Alex Ashford", "Alex", "<PERSON_1>", "<EMAIL:a123456789abcdef>", "****"]
    assert issued_in("", known) == ()
    assert stand_ins(Redacted(text, (), issued_in(text, known))) == {*known, "<PERSON_1>", "<EMAIL:a123456789abcdef>"}


# --- keyed hashes compare under one key only


def test_hashes_of_another_key_are_inconclusive(redactors: dict[str, Redactor], keyring: KeyRing) -> None:
    redactor, other = redactors["placeholder"], Redactor(_policy("placeholder"), KeyRing(b"\x02" * 32))
    done = other.redact("my name is Zanthe Quillfeather")
    with pytest.raises(IncomparableKeysError, match=f"{other.key_id} do not compare"):
        residual(done, redactor)
    known = KnownValues.of(done.findings)
    with pytest.raises(IncomparableKeysError):
        residual(Redacted("nothing here", (), ()), redactor, known)
    with pytest.raises(IncomparableKeysError, match="different keys"):
        KnownValues.of([*done.findings, *redactor.redact("my name is Zanthe Quillfeather").findings])
    assert KnownValues.of([]) is None
    assert residual(Redacted(done.text, (), done.issued), redactor) == []


def test_temporary_keys_compare_with_nothing(redactors: dict[str, Redactor]) -> None:
    done = Redactor(_policy("placeholder")).redact("my name is Zanthe Quillfeather")
    with pytest.raises(IncomparableKeysError):
        residual(done, redactors["placeholder"])


# --- the residual scan is stricter than detection


class _Doubtful:
    """A rule that is not sure of anything."""

    id, version, entity = "test/doubtful", "1", "USERNAME"

    def find(self, text: str, doc: Any) -> Iterator[Any]:
        from redaction.recognizers.rule import Hit

        if (start := text.find("zebra")) >= 0:
            yield Hit("USERNAME", start, start + 5, 0.3, self.id, self.version)


def test_what_is_doubtful_is_let_through_by_detection_and_not_by_the_scan(keyring: KeyRing) -> None:
    for threshold, hits in ((None, ["test/doubtful"]), (0.4, [])):
        policy = RedactionPolicy(entities={"USERNAME": EntityPolicy(threshold=threshold)})
        redactor = Redactor(policy, keyring)
        redactor._analyzer.rules = (*redactor._analyzer.rules, _Doubtful())
        done = redactor.redact("the zebra profile")
        assert done.text == "the zebra profile"
        assert [h.rule for h in residual(done, redactor)] == hits


def test_messages_made_by_hand_count_the_shapes(redactors: dict[str, Redactor]) -> None:
    chat = RedactedMessages([{"role": "user", "content": "<PERSON_3> and Dana Whitfield wrote"}], (), {})
    done = redactors["placeholder"].redact_messages(chat)
    assert done.messages[0]["content"] == "<PERSON_3> and <PERSON_4> wrote"


def test_a_number_in_a_tokens_clothes_is_found(redactors: dict[str, Redactor]) -> None:
    for text in ("<CARD:4111111111111111>", "<CARD:4111 1111 1111 1111>"):
        assert "4111" not in redactors["placeholder"].redact(f"my card {text} was declined").text
