"""Answers that traces bring along, redacted with the chat they answer: a value has one placeholder in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import loads_strict
from distill_gov.stages.chats import CleanChat, asked, clean_chats
from distill_gov.teaching_set.examples import answer_id
from distill_gov.traces import Trace, carried_answer
from evals.decisions import AnswerFormat
from redaction import Redactor
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

    @classmethod
    def of(cls, text: str, answer: AnswerFormat | None) -> _Answer:
        value = _object(text, answer)
        # Decisions are labels of the schema, nobody's words; what is not of the format is redacted whole.
        decided = {f"/{field.name}" for field in answer.fields} if answer is not None and value is not text else set()
        return cls(text, value, {pointer: part for pointer, part in string_leaves(value) if pointer not in decided})

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
) -> Iterator[CleanChat]:
    """Redact each chat and the answer its trace brings along as one conversation.

    Args:
        answer: the answers' format; None for free text.
        carried: the answer of a trace.
    """
    answers = [None if text is None else _Answer.of(text, answer) for text in map(carried, traces)]
    whole = (
        (
            trace.id,
            [*asked(trace), *({"role": "assistant", "content": text} for text in (found.parts.values() if found else ()))],
        )
        for trace, found in zip(traces, answers, strict=True)
    )
    for trace, found, chat in zip(traces, answers, clean_chats(redactor, whole), strict=True):
        yield chat if found is None or not chat.messages else _apart(chat, len(asked(trace)), found, answer)


def _apart(chat: CleanChat, count: int, found: _Answer, answer: AnswerFormat | None) -> CleanChat:
    """The chat of the first ``count`` messages, and beside it the answer put together again."""
    places = {f"/{count + index}/content": pointer for index, pointer in enumerate(found.parts)}
    clean = dict(zip(found.parts, (m["content"] for m in chat.messages[count:]), strict=True))
    findings = tuple(
        replace(f, item=answer_id(chat.trace), field=places[f.field]) if f.field in places else f for f in chat.findings
    )
    return replace(
        chat,
        messages=chat.messages[:count],
        issued=chat.issued[:count],
        findings=findings,
        answer=found.with_parts(clean, answer),
    )
