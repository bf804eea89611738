"""What goes with a trace into books and evidence beside its text (id, group, language, tags), kept free of personal data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from distill_gov.records.errors import MalformedFileError
from distill_gov.traces import Trace, located_traces, made_by_a_machine
from redaction import Redactor

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["personal_entities", "presentable", "presentable_traces"]

_GUESSES = frozenset({"api_key/entropy", "api_key/hex", "person/model", "person/unknown"})
"""Rules that tell nothing of an id. What looks random is a secret in a text, and as an id says least about a person; the
language model and a look at the capitals need a sentence."""


_OF_NOBODY = frozenset({"AGE", "DATE_TIME", "DEVICE_ID", "LOCATION", "NRP", "ORGANIZATION", "TITLE", "URL"})
"""Entities that say who somebody is only in a sentence. Without one they are guesses (`t-002` looks like a company's name) or
no harm: a day, the name of a shop, a UUID."""


def presentable_traces(project: Project, name: str) -> list[Trace]:
    """The traces of a file that the settings name, :func:`presentable`."""
    return presentable(project.redactor, located_traces(project.file(name)))


def presentable(redactor: Redactor, located: Sequence[tuple[str, Trace]]) -> list[Trace]:
    """The traces with the tags that `redaction.yaml` lets travel, their texts redacted.

    Ids and groups are not rewritten: they tie books, evidence and the owner's files together.

    Args:
        located: each trace with its file and line.

    Raises:
        MalformedFileError: an id, group or language in which redaction finds personal data.
    """
    _refuse_personal(redactor, located)
    allowed = frozenset(redactor.policy.tags)
    kept = [{name: value for name, value in trace.tags.items() if name in allowed} for _, trace in located]
    texts = sorted({value for tags in kept for value in tags.values() if isinstance(value, str)})
    # Named by a keyed hash: what an error says of a text must not be the text, and a tag's text has one redaction everywhere.
    items = {f"tag {redactor.value_hash('', text)[:12]}": text for text in texts}
    clean = {items[item]: done.text for item, done in redactor.redact_many(items.items())}
    return [
        replace(trace, tags={name: clean[value] if isinstance(value, str) else value for name, value in tags.items()})
        for (_, trace), tags in zip(located, kept, strict=True)
    ]


def personal_entities(redactor: Redactor, names: Sequence[str]) -> dict[str, str]:
    """Those of the names (ids, groups, keys) in which redaction finds personal data, to its entity."""
    return {
        text: entity
        for text, found in zip(names, redactor.detect_many(names), strict=True)
        for entity, _, _, _, rule in found
        if rule not in _GUESSES and entity not in _OF_NOBODY and not made_by_a_machine(text)
    }


def _refuse_personal(redactor: Redactor, located: Sequence[tuple[str, Trace]]) -> None:
    names = [(where, key, text) for where, trace in located for key, text in _names(trace)]
    # Most traces are a group of their own or share a language: each text is looked at once.
    personal = personal_entities(redactor, sorted({text for _, _, text in names}))
    for where, key, text in names:
        if text in personal:
            raise MalformedFileError(
                f"key `{key}` holds personal data ({personal[text]})",
                where=where,
                fix="Give ids that say nothing about a person; they appear in books and evidence.",
            )


def _names(trace: Trace) -> Iterator[tuple[str, str]]:
    yield "id", trace.id
    yield "group", trace.group
    if trace.language:
        yield "language", trace.language
