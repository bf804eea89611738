"""Redacting chats before any model sees them, and telling what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill_gov.records.errors import DistillGovError
from distill_gov.traces import Trace, recorded_answer
from redaction import Finding, Redactor
from redaction.findings import Redacted
from redaction.residual import residual

__all__ = ["CleanChat", "Messages", "asked", "clean_chat", "user_text"]

Messages = tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class CleanChat:
    """A trace's chat after redaction."""

    trace: str
    messages: Messages
    findings: tuple[Finding, ...]
    refused: str | None
    """Reason code why the chat must not be used: a recogniser failed, a value remained, an entity's operator drops."""

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
    try:
        done = redactor.redact_messages(messages, item=trace.id)
    except DistillGovError:
        return CleanChat(trace.id, (), (), "recogniser_failed")
    clean: Messages = tuple({"role": m["role"], "content": m["content"]} for m in done.messages)
    refused = "entity_dropped" if any(f.action == "drop" for f in done.findings) else None
    for index, message in enumerate(clean):
        pointer = f"/{index}/content"
        again = Redacted(
            message["content"], tuple(f for f in done.findings if f.field == pointer), tuple(done.issued.get(pointer, ()))
        )
        if residual(again, redactor):
            refused = "residual"
    return CleanChat(trace.id, clean, tuple(done.findings), refused)
