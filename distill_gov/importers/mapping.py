"""``map.yaml``: which column each part of a trace is read from."""

from __future__ import annotations

from typing import Literal

from distill_gov.records.settings import Settings

__all__ = ["ImportMap", "Kind"]

Kind = Literal["OpenAI chat", "prompt/completion", "ShareGPT", "text", "Langfuse", "LangSmith"]
"""OpenAI chat: ``messages`` with role and content. ShareGPT: ``conversations`` with from and value. Langfuse: traces or
observations with ``input`` and ``output``. LangSmith: runs with ``inputs`` and ``outputs``."""


class ImportMap(Settings):
    """``map.yaml``: which column each part of a trace is read from.

    A name that starts with a slash is a JSON pointer (RFC 6901) into the row: ``/meta/conversation``.
    """

    messages: str | None = None
    text: str | None = None
    prompt: str | None = None
    completion: str | None = None
    reasoning: str | None = None
    """What the model thought before the completion."""
    context: str | None = None
    """Documents that the answer could draw on: texts, or objects with ``text`` and ``title``."""
    label: str | None = None
    id: str | None = None
    group: str | None = None
    slice: str | None = None
    """Becomes the tag ``slice``."""
    consent: str | None = None
    licence: str | None = None
    retention_until: str | None = None
    purpose: str | None = None
    region: str | None = None
    tenant: str | None = None
    language: str | None = None
