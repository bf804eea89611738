"""Answers that traces bring along, redacted with the chat they answer: a value has one placeholder in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import loads_strict
from distill_gov.stages.chats import CleanChat, asked, clean_chats, languages_of
from distill_gov.teaching_set.examples import answer_id, rationale_id
from distill_gov.traces import Trace, carried_answer, recorded_answer
from distill_gov.turns import Turn
from evals.decisions import AnswerFormat
from redaction import Finding, Redactor
from redaction.documents import string_leaves, with_leaves

__all__ = ["clean_answered", "free_texts"]


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer taken apart."""

    text: str
    value: Any
    """The JSON object, or the text itself where it is none of the format."""
    parts: Mapping[str, str]
    """What people read of it, by JSON pointer into ``value``."""
    turn: Turn | None = None
    """The turn that it is, where that holds more than a text: it is redacted part by part."""

    @classmethod
    def of(cls, text: str, answer: AnswerFormat | None) -> _Answer:
        value = _object(text, answer)
        # Decisions are labels of the schema, nobody's words; what is not of the format is redacted whole.
        decided = {f"/{field.name}" for field in answer.fields} if answer is not None and value is not text else set()
        return cls(text, value, {pointer: part for pointer, part in string_leaves(value) if pointer not in decided})

    @property
    def turns(self) -> list[Turn]:
        """What is redacted behind the chat: one turn for each part."""
        return [self.turn] if self.turn else [{"role": "assistant", "content": text} for text in self.parts.values()]

    def with_parts(self, parts: Mapping[str, str], answer: AnswerFormat | None) -> str:
        if parts == self.parts:
            return self.text
        value = with_leaves(self.value, parts)
        return value if answer is None or isinstance(value, str) else answer.text(value)


def _object(text: str, answer: AnswerFormat | None) -> Any:
    if answer is None:
        return text
    try:
        value = loads_strict(text, where="an answer")
    except MalformedFileError:
        return text
    known = {*answer.rest, *(field.name for field in answer.fields)}
    return value if isinstance(value, dict) and value.keys() <= known else text


def free_texts(text: str, answer: AnswerFormat | None) -> list[str]:
    """The texts of an answer that people read; the whole where it is not of the format."""
    return list(_Answer.of(text, answer).parts.values())


def clean_answered(
    redactor: Redactor,
    traces: Sequence[Trace],
    answer: AnswerFormat | None,
    carried: Callable[[Trace], str | None] = carried_answer,
    thought: Callable[[Trace], str | None] = lambda _: None,
) -> Iterator[CleanChat]:
    """Redact each chat and the answer its trace brings along as one conversation.

    Args:
        answer: the answers' format; None for free text.
        carried: the answer of a trace.
        thought: the reasoning of a trace that is to be taught by itself.
    """
    reasoning = redactor.policy.keeps_reasoning and answer is None
    answers = [_brought_along(trace, carried(trace), answer, reasoning) for trace in traces]
    thoughts = [[] if (text := thought(trace)) is None else [{"role": "assistant", "content": text}] for trace in traces]
    whole = (
        (trace.id, [*asked(trace), *(found.turns if found else ()), *own])
        for trace, found, own in zip(traces, answers, thoughts, strict=True)
    )
    clean = clean_chats(redactor, whole, languages=languages_of(traces))
    for trace, found, own, chat in zip(traces, answers, thoughts, clean, strict=True):
        beside = bool(found or own) and bool(chat.messages)
        yield _apart(chat, len(asked(trace)), found, answer, bool(own)) if beside else chat


def _brought_along(trace: Trace, text: str | None, answer: AnswerFormat | None, reasoning: bool) -> _Answer | None:
    last = trace.messages[-1]
    if text is None or text != recorded_answer(trace) or not (last.get("tool_calls") or last.get("reasoning")):
        return None if text is None else _Answer.of(text, answer)
    # Reasoning is taught with a free text; a structured answer has no place for it.
    turn = {name: value for name, value in last.items() if name != "reasoning" or reasoning}
    if set(turn) <= {"role", "content"}:
        return _Answer.of(text, answer)
    whole = recorded_answer(trace, reasoning=reasoning) or ""
    return _Answer(whole, whole, {"": whole}, turn)


def _apart(chat: CleanChat, count: int, found: _Answer | None, answer: AnswerFormat | None, thought: bool) -> CleanChat:
    """The chat of the first ``count`` messages, and beside it the answer put together again and what was thought before it."""
    pointers = list(found.parts) if found else []
    behind = [m["content"] for m in chat.messages[count:]]
    rationale = behind.pop() if thought else None
    clean = dict(zip(pointers, behind, strict=True))
    findings = tuple(_of_answer(f, chat.trace, count, pointers) for f in chat.findings)
    return replace(
        chat,
        messages=chat.messages[:count],
        issued=chat.issued[:count],
        findings=findings,
        answer=found.with_parts(clean, answer) if found else None,
        rationale=rationale,
    )


def _of_answer(finding: Finding, trace: str, count: int, pointers: Sequence[str]) -> Finding:
    """A finding behind the chat's own turns as one of the answer, or of the rationale behind that."""
    _, index, rest = finding.field.split("/", 2)
    if int(index) < count:
        return finding
    within = rest.removeprefix("content") if f"{rest}/".startswith("content/") else f"/{rest}"
    if int(index) - count == len(pointers):
        return replace(finding, item=rationale_id(trace), field=within)
    return replace(finding, item=answer_id(trace), field=pointers[int(index) - count] + within)
