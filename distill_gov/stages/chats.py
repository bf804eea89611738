"""Redacting chats before any model sees them, and telling what was found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from distill_gov.records.errors import DistillGovError
from distill_gov.traces import Trace, recorded_answer
from distill_gov.turns import Turn, context_turn, is_context, named_results, turn_text
from redaction import Finding, Redactor
from redaction.findings import Redacted, Span
from redaction.limits import reason_of
from redaction.redactor import NO_LANGUAGES, RedactedMessages
from redaction.residual import residual_many
from redaction.surrogates import issued_in, stand_ins

__all__ = [
    "CleanChat",
    "Messages",
    "asked",
    "clean_chat",
    "clean_chats",
    "languages_of",
    "prompt_text",
    "user_text",
    "with_issued",
]

Messages = tuple[Mapping[str, str], ...]
"""``role`` and ``content`` and nothing else: turns as models read them."""

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

    rationale: str | None = None
    """The reasoning before that answer, redacted with the chat; None where it was not asked for, or there is none."""
    issued: tuple[tuple[Span, ...], ...] = ()
    """Where the stand-ins lie, for each message."""
    stand_ins: frozenset[str] = frozenset()
    """What stands in the place of values, in the messages and in the answer."""

    @property
    def text(self) -> str:
        """What the user wrote."""
        return user_text(self.messages)

    @property
    def prompt(self) -> str:
        """What a prompted teacher reads."""
        return prompt_text(self.messages)

    @property
    def redacted(self) -> list[Redacted]:
        """Each message as redaction left it."""
        own: list[list[Finding]] = [[] for _ in self.messages]
        for finding in self.findings:
            if finding.item == self.trace:
                own[_turn_of(finding)].append(finding)
        return [
            Redacted(m["content"], tuple(found), issued)
            for m, found, issued in zip(self.messages, own, self.issued, strict=True)
        ]

    @property
    def beside(self) -> str:
        """What neither the user nor the models wrote, and nobody of ours either: context documents and tool results."""
        return "\n".join(m["content"] for m in self.messages if m["role"] == "tool" or is_context(m))


def _turn_of(finding: Finding) -> int:
    return int(finding.field.split("/", 2)[1])


def _pointer(index: int) -> str:
    return f"/{index}/content"


def with_issued(messages: Sequence[Mapping[str, str]], known: frozenset[str]) -> RedactedMessages:
    """Messages that were redacted, or written by a model that read such, with the places where known stand-ins lie in them."""
    issued = {_pointer(i): issued_in(m["content"], known) for i, m in enumerate(messages)}
    return RedactedMessages([dict(m) for m in messages], (), issued)


def asked(trace: Trace) -> list[Turn]:
    """A trace's messages behind its context documents, without the answer that it may end with."""
    context = context_turn(trace.context)
    messages = named_results(trace.messages)
    return [*([context] if context else []), *(messages[:-1] if recorded_answer(trace) is not None else messages)]


def user_text(messages: Sequence[Mapping[str, str]]) -> str:
    """What the user wrote, one message a line."""
    return "\n".join(m["content"] for m in messages if m["role"] == "user")


def prompt_text(messages: Sequence[Mapping[str, str]]) -> str:
    """What a prompted teacher reads of a chat: the context documents, where there are some, and what the user wrote."""
    shown = [m["content"] for m in messages[:1] if is_context(m)]
    return "\n\n".join([*shown, user_text(messages)])


def clean_chat(redactor: Redactor, trace: Trace, messages: Sequence[Turn]) -> CleanChat:
    """Redact one chat. A chat that could not be redacted comes back refused and empty, never raw."""
    [chat] = clean_chats(redactor, [(trace.id, messages)], languages=languages_of([trace]))
    return chat


def languages_of(traces: Iterable[Trace]) -> dict[str, str]:
    """By id, the languages that traces say they are in."""
    return {trace.id: trace.language for trace in traces if trace.language}


def clean_chats(
    redactor: Redactor, chats: Iterable[tuple[str, Sequence[Turn]]], *, languages: Mapping[str, str] = NO_LANGUAGES
) -> Iterator[CleanChat]:
    """As :func:`clean_chat`, of many (trace id, messages), lazily and in order; cheaper than one by one.

    Args:
        languages: see :func:`languages_of`.

    Calls, results and (where the policy keeps it) reasoning are redacted part by part, and only then written as text.
    """
    reasoning = redactor.policy.keeps_reasoning
    source = ((trace, [_read_by_models(turn, reasoning) for turn in messages]) for trace, messages in chats)
    while batch := list(islice(source, _BATCH)):
        yield from _clean_batch(redactor, batch, languages)


def _read_by_models(turn: Turn, reasoning: bool) -> Turn:
    """A turn without what no model reads: ids and types of calls, and the reasoning that the policy drops."""
    names = ["role", "content", *(["name"] if turn["role"] == "tool" else []), *(["reasoning"] if reasoning else [])]
    kept = {name: turn[name] for name in names if name in turn}
    calls = [{"function": dict(call["function"])} for call in turn.get("tool_calls", ())]
    return {**kept, "tool_calls": calls} if calls else kept


def _clean_batch(
    redactor: Redactor, batch: Sequence[tuple[str, Sequence[Turn]]], languages: Mapping[str, str]
) -> Iterator[CleanChat]:
    redacted = list(redactor.redact_chats(batch, languages=languages))
    texts = [() if isinstance(done, DistillGovError) else _texts(done) for done in redacted]
    left = _left(redactor, texts)
    for (trace, _), done, chat, again in zip(batch, redacted, texts, left, strict=True):
        if isinstance(done, DistillGovError) or again is None:
            yield CleanChat(trace, (), (), reason_of(done) if isinstance(done, DistillGovError) else "recogniser_failed")
            continue
        dropped = any(f.action == "drop" for f in done.findings)
        refused = "residual" if again else "entity_dropped" if dropped else None
        clean = tuple({"role": m["role"], "content": text.text} for m, text in zip(done.messages, chat, strict=True))
        known = frozenset().union(*map(stand_ins, chat))
        issued = tuple(one.issued for one in chat)
        yield CleanChat(trace, clean, done.findings, refused, issued=issued, stand_ins=known)


def _texts(done: RedactedMessages) -> tuple[Redacted, ...]:
    """Each turn as models read it. In arguments of calls only strings were redacted: the residual scan sees the rest here."""
    texts = [turn_text(message, reasoning=True) for message in done.messages]
    found: list[list[Finding]] = [[] for _ in texts]
    for finding in done.findings:
        found[_turn_of(finding)].append(finding)
    # A call is written as JSON, so what stands in it may be escaped; so may what stands in a text that is JSON.
    whole = frozenset().union(*map(stand_ins, done.parts))
    known = whole | {json.dumps(one, ensure_ascii=False)[1:-1] for one in whole}
    return tuple(
        Redacted(
            text,
            tuple(own),
            tuple(done.issued[_pointer(n)])
            if text == message["content"] and _pointer(n) in done.issued
            else issued_in(text, known),
        )
        for n, (text, own, message) in enumerate(zip(texts, found, done.messages, strict=True))
    )


def _left(redactor: Redactor, chats: Sequence[Sequence[Redacted]]) -> list[bool | None]:
    """Whether anything personal is left in each chat; None where it could not be scanned."""
    try:
        hits = iter(residual_many([text for chat in chats for text in chat], redactor))
    except DistillGovError:
        return [None] if len(chats) == 1 else [_left(redactor, [chat])[0] for chat in chats]
    # Every text's hits are taken: stopping at the first would leave a chat's others to the next one.
    return [bool(sum(len(next(hits)) for _ in chat)) for chat in chats]
