"""From answers to case results: a failed answer is the worst one, a recorded one is scored as its author saw the message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from distill_gov.records.errors import BadInputError
from distill_gov.stages.scoring import Scorer
from distill_gov.stages.settled import FORMAT_SUITE
from distill_gov.traces import Trace, parse_trace
from evals.cases import Case
from evals.decisions import answer_format
from evals.evidence import Subject
from evals.shards import Failed
from evals.structured import make_schema
from redaction import RecognizerFailedError
from redaction.findings import Span
from tests import tiny

DOCUMENT = {"$schema": "https://json-schema.org/draft/2020-12/schema", **tiny.SCHEMA}
SUBJECT = Subject("student", "student", "m", "p", "t", "grammar", "e")
MAIL = "ann@example.org"


class _Redactor:
    """Knows one address, and fails on a word."""

    policy = SimpleNamespace(entities={}, keeps_reasoning=False)

    def detect_many(self, texts: Sequence[str]) -> list[list[tuple[str, int, int, float, str]]]:
        if any("unsearchable" in text for text in texts):
            raise RecognizerFailedError("took too long")
        return [[("EMAIL", i, i + len(MAIL), 1.0, "r")] if (i := text.find(MAIL)) >= 0 else [] for text in texts]

    def detect(self, text: str) -> list[tuple[str, int, int, float, str]]:
        return self.detect_many([text])[0]

    def redact_messages(self, messages: Sequence[Mapping[str, str]], *, item: str = "") -> Any:
        self.detect_many([m["content"] for m in messages])
        clean = [{**m, "content": m["content"].replace(MAIL, "<EMAIL_1>")} for m in messages]
        return SimpleNamespace(messages=clean, findings=[], issued={str(i): [Span(0, 0)] for i in range(len(clean))}, parts=())

    def redact_chats(self, chats: Sequence[tuple[str, Sequence[Mapping[str, str]]]], **_: Any) -> list[Any]:
        done: list[Any] = []
        for item, messages in chats:
            try:
                done.append(self.redact_messages(messages, item=item))
            except RecognizerFailedError as error:
                done.append(error)
        return done


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Scorer:
    monkeypatch.setattr("distill_gov.stages.chats.residual_many", lambda texts, _: [[] for _ in texts])
    project: Any = SimpleNamespace(
        answer_schema=make_schema(DOCUMENT), format_or_none=answer_format(DOCUMENT), redactor=_Redactor()
    )
    return Scorer(project)


def case(name: str, suite: str = "holdout", **more: Any) -> Case:
    return Case(name, suite, ({"role": "user", "content": "I am <EMAIL_1>"},), {"intent": "refund", "action": "auto"}, **more)


def answer(text: str, intent: str = "refund") -> dict[str, Any]:
    decisions = {"intent": {"refund": -0.1, "other": -3.0}, "action": {"auto": 0.0, "escalate": -9.0}}
    if intent != "refund":
        decisions["intent"] = {"refund": -3.0, "other": -0.1}
    return {"text": text, "tokens": [1, 2], "finish": "stop", "decisions": decisions}


GOOD = tiny.canonical("refund", "auto", "we look at it")


def test_a_case_that_the_model_failed_on_is_the_worst_and_is_counted(scorer: Scorer) -> None:
    cases = [case("a", carries_pii=True), case("b", carries_pii=True)]
    good, bad = scorer.measured(SUBJECT, "holdout", cases, [answer(GOOD), Failed("RuntimeError")], {"a": {"last_token_s": 2.0}})
    assert (good.status, bad.status) == ("ok", "errored")
    assert good.scores.keys() == bad.scores.keys()
    assert (bad.scores["exact_match"], bad.scores["schema_valid"], bad.scores["pii_leak"], bad.scores["carries_pii"]) == (
        0,
        0,
        1,
        1,
    )
    assert (bad.output, dict(good.timings), dict(bad.timings)) == ("", {"last_token_s": 2.0}, {})
    assert {d.field: (d.predicted, d.confidence, d.correct, d.reference) for d in bad.decisions} == {
        "intent": (None, 1.0, False, "refund"),
        "action": (None, 1.0, False, "auto"),
    }
    [free] = scorer.measured(SUBJECT, FORMAT_SUITE, [case("a", FORMAT_SUITE)], [Failed("KeyError")], {})
    assert (free.status, dict(free.scores)) == ("errored", {"schema_valid": 0.0})
    assert {s: dict(c) for s, c in scorer.errored["student"].items()} == {
        "holdout": {"RuntimeError": 1},
        FORMAT_SUITE: {"KeyError": 1},
    }


def test_an_answer_that_cannot_be_searched_is_not_called_clean(scorer: Scorer) -> None:
    text = tiny.canonical("refund", "auto", "unsearchable")
    bad, good = scorer.measured(SUBJECT, "holdout", [case("a"), case("b")], [answer(text), answer(GOOD)], {})
    assert (bad.status, bad.output, good.status) == ("errored", "", "ok")


def test_output_is_stored_redacted_and_scored_as_it_was(scorer: Scorer) -> None:
    [leak] = scorer.measured(SUBJECT, "holdout", [case("a")], [answer(GOOD.replace("we look at it", MAIL))], {})
    assert leak.scores["pii_leak"] == 1
    assert MAIL not in leak.output
    assert "<EMAIL_1>" in leak.output


def test_an_invalid_answer_is_wrong_with_confidence_one(scorer: Scorer) -> None:
    [found] = scorer.measured(SUBJECT, "holdout", [case("a")], [answer("{")], {})
    assert [(d.predicted, d.confidence, d.correct) for d in found.decisions] == [(None, 1.0, False)] * 2


def trace(text: str, said: str) -> Trace:
    row = {
        "id": "a", "group": "g", "consent": "granted", "licence": "own", "retention_until": "2030-01-01", "tags": {},
        "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": said}],
    }  # fmt: skip
    return parse_trace(row, where="test")


def test_a_recorded_answer_is_scored_against_the_message_that_its_author_saw(scorer: Scorer) -> None:
    echo = GOOD.replace("we look at it", f"to {MAIL}")
    [found] = scorer.recorded(SUBJECT, [case("a", carries_pii=True)], [trace(f"I am {MAIL}", echo)], [echo])
    assert (found.scores["pii_echo"], found.scores["pii_leak"]) == (1.0, 0.0)
    assert json.loads(found.output)["reply"] == "to <EMAIL_1>"
    assert (found.provenance, found.status, found.scores["exact_match"]) == ("imported", "ok", 1.0)
    assert [(d.field, d.predicted, d.confidence, d.correct) for d in found.decisions] == [
        ("intent", "refund", None, True),
        ("action", "auto", None, True),
    ]
    [leak] = scorer.recorded(SUBJECT, [case("a")], [trace("I am lost", echo)], [echo])
    assert (leak.scores["pii_echo"], leak.scores["pii_leak"]) == (0.0, 1.0)


def test_a_recorded_answer_that_cannot_be_redacted_stops_the_evaluation(scorer: Scorer) -> None:
    with pytest.raises(BadInputError, match="case `a`"):
        scorer.recorded(SUBJECT, [case("a")], [trace("hello", "unsearchable")], ["unsearchable"])


def test_a_case_that_was_taught_is_marked_whoever_answers_it_and_however(scorer: Scorer) -> None:
    knowing = Scorer(scorer.project, {"a"})
    cases = [case("a"), case("b")]
    answered = knowing.measured(SUBJECT, "holdout", cases, [answer(GOOD), answer(GOOD)], {})
    failed = knowing.measured(SUBJECT, "holdout", cases, [Failed("RuntimeError"), Failed("RuntimeError")], {})
    freely = knowing.measured(SUBJECT, FORMAT_SUITE, [case("a", FORMAT_SUITE)], [answer(GOOD)], {})
    broken = knowing.measured(SUBJECT, FORMAT_SUITE, [case("a", FORMAT_SUITE)], [Failed("KeyError")], {})
    assert [r.scores.get("contaminated") for r in (*answered, *failed, *freely, *broken)] == [1, None, 1, None, 1, 1]
