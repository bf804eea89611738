"""JSON documents and chats on their way through redaction: taken apart, and put together again with what came of the parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distill_gov.records.errors import DistillGovError, MalformedFileError
from redaction.documents import JsonLeaf, JsonValue, NestedTooDeepError, Path, mapped, pointer
from redaction.fields import FieldRules, Part
from redaction.findings import Finding, Redacted, Span

__all__ = ["CHAT", "Document", "RedactedJson", "RedactedMessages"]

CHAT: Path = ("messages",)
"""Where a chat stands in what the policy's pointers speak of."""


@dataclass(frozen=True, slots=True)
class RedactedJson:
    """A JSON value, redacted: same types, order and, but for personal ones, keys.

    A key or a number that is somebody's becomes a stand-in too, a number thereby a string; its finding's action is ``drop``,
    since the document is not what it was.
    """

    value: JsonValue
    findings: tuple[Finding, ...]
    issued: Mapping[str, tuple[Span, ...]]
    """Spans of the stand-ins of each string, by JSON pointer."""
    parts: tuple[Redacted, ...] = ()
    """Each string, number and key that was looked at, by itself; findings say where it stands."""


@dataclass(frozen=True, slots=True)
class RedactedMessages:
    """A chat, redacted; pointers begin with the index of the message: ``/0/content``."""

    messages: list[dict[str, Any]]
    findings: tuple[Finding, ...]
    issued: Mapping[str, tuple[Span, ...]]
    parts: tuple[Redacted, ...] = ()
    """As for `RedactedJson`."""

    def __iter__(self) -> Iterator[Any]:
        return iter((self.messages, self.findings, self.issued))


def _message_dicts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if any(not isinstance(m, Mapping) or not isinstance(m.get("role"), str) or "content" not in m for m in messages):
        raise MalformedFileError("a message needs `role` and `content`")
    return [dict(m) for m in messages]


class Document:
    """A JSON value on its way: the parts of it that are looked at, and the value with what came of them."""

    def __init__(self, value: Any, item: str, rules: FieldRules, root: Path = (), language: str | None = None) -> None:
        self.item = item
        self._before: RedactedJson | RedactedMessages | None = None
        if isinstance(value, RedactedJson | RedactedMessages):
            self._before = value
            value = value.value if isinstance(value, RedactedJson) else value.messages
        self.parts: list[Part] = []
        self.error: DistillGovError | None = None
        self._value, self._rules, self._root, self._language = value, rules, root, language
        self._looked: list[bool] = []
        try:
            if root == CHAT:
                self._value = _message_dicts(value)
            mapped(self._value, self._look)
        except (MalformedFileError, RecursionError) as error:
            what, kind = (
                (error.what, type(error))
                if isinstance(error, MalformedFileError)
                else ("JSON nested too deep", NestedTooDeepError)
            )
            self.error = kind(what, where=item)

    def _look(self, leaf: JsonLeaf) -> str:
        part = self._rules.part(leaf, root=self._root, language=self._language)
        self._looked.append(part is not None)
        if part is not None:
            self.parts.append(part if self._before is None else _known(part, self._before, len(self.parts)))
        return leaf.text

    def rebuilt(self, done: Sequence[Redacted]) -> RedactedJson:
        keys = {part.path: one.text for part, one in zip(self.parts, done, strict=True) if part.kind == "key" and one.findings}
        fields = [_told(part, keys) for part in self.parts]
        parts = [_at(one, field) for one, field in zip(done, fields, strict=True)]
        looked, clean = iter(self._looked), iter(done)

        def put(leaf: JsonLeaf) -> str:
            if next(looked):
                return next(clean).text
            return "" if leaf.kind == "string" and self._rules.drops(leaf.path, self._root) else leaf.text

        return RedactedJson(
            mapped(self._value, put),
            tuple(finding for one in parts for finding in one.findings),
            {field: one.issued for field, part, one in zip(fields, self.parts, parts, strict=True) if part.kind == "string"},
            tuple(parts),
        )


def _known(part: Part, before: RedactedJson | RedactedMessages, place: int) -> Part:
    """The part with what was found in it and issued for it before, where it stood at the same place of the walk."""
    if place < len(before.parts) and before.parts[place].text == part.text:
        return replace(part, findings=before.parts[place].findings, issued=before.parts[place].issued)
    if part.kind != "string":
        return part
    found = tuple(f for f in before.findings if f.field == part.field)
    return replace(part, findings=found, issued=tuple(before.issued.get(part.field, ())))


def _told(part: Part, keys: Mapping[Path, str]) -> str:
    """The pointer of a part, with placeholders for the personal keys in it."""
    if not keys:
        return part.field
    return pointer(tuple(keys.get(part.path[: depth + 1], name) for depth, name in enumerate(part.path)))


def _at(one: Redacted, field: str) -> Redacted:
    return replace(one, findings=tuple(f if f.field == field else replace(f, field=field) for f in one.findings))
