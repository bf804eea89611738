"""Redacting chats before any model sees them, and telling what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from distill_gov.records.errors import DistillGovError
from distill_gov.traces import Trace, recorded_answer
from redaction import Finding, Redactor
from redaction.findings import Redacted
from redaction.redactor import RedactedMessages
from redaction.residual import residual_many

__all__ = ["CleanChat", "Messages", "asked", "clean_chat", "clean_chats", "user_text"]

Messages = tuple[Mapping[str, str], ...]

_BATCH = 256


@dataclass(frozen=True, slots=True)
class CleanChat:
    """A trace's chat after redaction."""

    trace: str
    messages: Messages
    findings: tuple[Finding, ...]
    refused: str | None
    """Reason code why the chat must not be used: a recogniser failed, a value remained, an entity's operator drops."""
    answer: str | None = None
    """The answer that the trace brings along, redacted with the chat; None where it was not asked for, or there is none."""

    @property
    def text(self) -> str:
        return user_text(self.messages)


def asked(trace: Trace) -> list[Mapping[str, str]]:
    """A trace's messages without the answer it may end with."""
    messages = list(trace.messages)
    return messages[:-1] if recorded_answer(trace) is not None else messages


def user_text(messages: Sequence[Mapping[str, str]]) -> str:
    """What the user wrote, one message a line."""
    return "\n".join(m["content"] for m in messages if m["role"] == "user")


def clean_chat(redactor: Redactor, trace: Trace, messages: Sequence[Mapping[str, str]]) -> CleanChat:
    """Redact one chat. A chat that could not be redacted comes back refused and empty, never raw."""
    [chat] = clean_chats(redactor, [(trace.id, messages)])
    return chat


def clean_chats(redactor: Redactor, chats: Iterable[tuple[str, Sequence[Mapping[str, str]]]]) -> Iterator[CleanChat]:
    """As :func:`clean_chat`, of many (trace id, messages), lazily and in order; cheaper than one by one."""
    source = iter(chats)
    while batch := list(islice(source, _BATCH)):
        yield from _clean_batch(redactor, batch)


def _clean_batch(redactor: Redactor, batch: Sequence[tuple[str, Sequence[Mapping[str, str]]]]) -> Iterator[CleanChat]:
    redacted = list(redactor.redact_chats(batch))
    texts = [() if isinstance(done, DistillGovError) else _texts(done) for done in redacted]
    left = _left(redactor, texts)
    for (trace, _), done, again in zip(batch, redacted, left, strict=True):
        if isinstance(done, DistillGovError) or again is None:
            yield CleanChat(trace, (), (), "recogniser_failed")
            continue
        dropped = any(f.action == "drop" for f in done.findings)
        refused = "residual" if again else "entity_dropped" if dropped else None
        clean = tuple({"role": m["role"], "content": m["content"]} for m in done.messages)
        yield CleanChat(trace, clean, done.findings, refused)


def _texts(done: RedactedMessages) -> tuple[Redacted, ...]:
    return tuple(
        Redacted(message["content"], tuple(f for f in done.findings if f.field == pointer), tuple(done.issued.get(pointer, ())))
        for pointer, message in ((f"/{index}/content", m) for index, m in enumerate(done.messages))
    )


def _left(redactor: Redactor, chats: Sequence[Sequence[Redacted]]) -> list[bool | None]:
    """Whether anything personal is left in each chat; None where it could not be scanned."""
    try:
        hits = iter(residual_many([text for chat in chats for text in chat], redactor))
    except DistillGovError:
        return [None] if len(chats) == 1 else [_left(redactor, [chat])[0] for chat in chats]
    # Every text's hits are taken: stopping at the first would leave a chat's others to the next one.
    return [bool(sum(len(next(hits)) for _ in chat)) for chat in chats]
