"""Answers that traces bring along: redacted with their chat and kept, and filtered like every other."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.project import Project
from distill_gov.records.files import read_parquet
from distill_gov.records.keys import KeyRing
from distill_gov.scaffold import scaffold
from distill_gov.stages.carried import clean_answered, free_texts
from distill_gov.traces import Trace, reference_answer
from evals.decisions import AnswerFormat, DecisionField
from redaction import Redactor
from redaction.findings import FINDING_FORMAT

EXAMPLE = Path(__file__).parents[2] / "examples" / "support_desk"
ANSWER = AnswerFormat((DecisionField("intent", ("refund", "status")),), ("reply",), {"reply": None})
ASKED = "my name is Zanthe Quillfeather, where is my kettle?"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor.from_policy(EXAMPLE / "redaction.yaml", KeyRing(bytes(range(32))))


def trace(asked: str, said: str | None = None, **more: Any) -> Trace:
    turns = ({"role": "user", "content": asked}, *([{"role": "assistant", "content": said}] if said is not None else []))
    return Trace(
        id="t1", group="g1", messages=turns, consent="granted", licence="own", retention_until=date(2030, 1, 1), **more
    )


def test_a_value_has_one_placeholder_in_the_chat_and_in_its_answer(redactor: Redactor) -> None:
    said = "Dear Zanthe Quillfeather, ask for Merrick Oddershaw, merrick@example.org."
    [chat] = clean_answered(redactor, [trace(ASKED, said)], None)
    assert chat.text == "my name is <PERSON_1>, where is my kettle?"
    assert chat.answer is not None
    assert chat.answer.startswith("Dear <PERSON_1>, ask for ")
    assert "Oddershaw" not in chat.answer
    assert "<EMAIL_1>" in chat.answer
    assert {(f.item, f.field) for f in chat.findings} == {("t1", "/0/content"), ("t1/0", "")}
    assert "Quillfeather" not in repr(chat)


def test_labels_of_a_structured_answer_stay_and_its_text_is_redacted(redactor: Redactor) -> None:
    said = json.dumps({"intent": "refund", "reply": "Zanthe Quillfeather, we pay it back."})
    [chat] = clean_answered(redactor, [trace(ASKED, said)], ANSWER)
    assert chat.answer == '{"intent": "refund", "reply": "<PERSON_1>, we pay it back."}'
    assert [f.field for f in chat.findings if f.item == "t1/0"] == ["/reply"]


@pytest.mark.parametrize(
    "said",
    [
        "no JSON, for Zanthe Quillfeather",
        '{"intent": "refund", "reply": "x", "note": "for Zanthe Quillfeather"}',
        '{"Zanthe Quillfeather": "refund"}',
        '["Zanthe Quillfeather"]',
        '{"intent": "refund", "reply": ["for Zanthe Quillfeather"]}',
    ],
)
def test_an_answer_of_another_shape_is_redacted_all_the_same(redactor: Redactor, said: str) -> None:
    [chat] = clean_answered(redactor, [trace(ASKED, said)], ANSWER)
    assert chat.answer is not None
    assert "Quillfeather" not in chat.answer


def test_an_answer_without_personal_data_stays_as_it_was_written(redactor: Redactor) -> None:
    said = '{ "intent":"refund",   "reply":"We pay it back." }'
    [chat] = clean_answered(redactor, [trace(ASKED, said)], ANSWER)
    assert chat.answer == said
    assert free_texts(said, ANSWER) == ["We pay it back."]


def test_a_trace_may_bring_no_answer_or_a_reference(redactor: Redactor) -> None:
    reference = {"intent": "status", "reply": "We pay it, Zanthe Quillfeather."}
    traces = [trace(ASKED), trace(ASKED, reference=reference), trace(ASKED, "Soon.", reference=reference)]
    assert [c.answer for c in clean_answered(redactor, traces[:2], ANSWER)] == [
        None,
        '{"intent": "status", "reply": "We pay it, <PERSON_1>."}',
    ]
    [chat] = clean_answered(redactor, traces[2:], ANSWER, reference_answer)
    assert chat.answer == '{"intent": "status", "reply": "We pay it, <PERSON_1>."}'


def test_a_chat_with_an_answer_that_cannot_be_redacted_is_refused(redactor: Redactor) -> None:
    bad = replace(trace(ASKED, "half \ud800 pair"), id="bad")
    bad_chat, good = clean_answered(redactor, [bad, trace(ASKED, "Soon.")], None)
    assert (bad_chat.refused, bad_chat.messages, bad_chat.answer) == ("not_unicode", (), None)
    assert good.refused is None


REPLIES = (
    "We look at it, write to agent.merrick@example.org.",
    "Thank you, d.okaforsky@example.org is noted.",
    "The courier comes on Monday.",
)


def build(tmp_path: Path, **filters: bool) -> tuple[dict[str, str], dict[str, str], Project]:
    """Answers kept and reasons of those dropped, by trace, of recorded answers that hold personal values."""
    rows = [
        {"id": f"c{n}", "prompt": f"Question {n}: when comes parcel {n}? I am at d.okaforsky@example.org", "completion": reply}
        for n, reply in enumerate(REPLIES * 4)
    ]
    source = tmp_path / "chats.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scaffold(tmp_path / "desk", files=[source])
    policy = yaml.safe_load((tmp_path / "desk" / "redaction.yaml").read_text())
    policy["filters"]["answers"] |= filters
    policy["filters"]["prompts"] = {}
    (tmp_path / "desk" / "redaction.yaml").write_text(yaml.safe_dump(policy))
    project = Project.open(tmp_path / "desk")
    project.seal()
    layout = project.run("r1").layout
    project.run("r1").build()
    kept = {row["trace"]: row["answer"] for row in read_parquet(layout.examples, format="examples")}
    decisions = read_parquet(layout.decisions, format="decisions")
    return kept, {d["item"]: d["reason"] for d in decisions if d["outcome"] == "dropped"}, project


def test_recorded_answers_are_redacted_and_kept(tmp_path: Path) -> None:
    kept, dropped, project = build(tmp_path, echo=False)
    assert dropped == {}
    assert set(kept.values()) == {
        "We look at it, write to <EMAIL_2>.",
        "Thank you, <EMAIL_1> is noted.",
        "The courier comes on Monday.",
    }
    found = read_parquet(project.run("r1").layout.findings, format=FINDING_FORMAT)
    assert {f["field"] for f in found if f["item"].endswith("/0")} == {""}


def test_the_echo_filter_drops_what_repeats_the_prompt_and_nothing_else(tmp_path: Path) -> None:
    kept, dropped, _ = build(tmp_path, echo=True)
    assert set(kept.values()) == {"We look at it, write to <EMAIL_2>.", "The courier comes on Monday."}
    assert dropped
    assert set(dropped.values()) == {"echo"}
