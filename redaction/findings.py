"""What redaction returns: clean text and findings that say type and place, never the value."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

__all__ = ["FINDING_FORMAT", "FINDING_SCHEMA", "Finding", "Redacted", "Span"]


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of characters, ``text[start:end]``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One detected value: what and where, with a keyed hash in place of the value."""

    item: str
    """Id of the trace, answer or case it was found in."""
    field: str
    """JSON pointer (RFC 6901) of the string within the item, empty for a plain text."""
    start: int
    """Character offset in the original text of the field."""
    end: int
    entity: str
    score: float
    rule: str
    rule_version: str
    value_hash: str
    """Keyed hash of entity and canonical value; comparable only under the same ``key_id``."""
    key_id: str
    action: str
    """What was done: ``placeholder``, ``drop`` ..."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """Clean text, what was found in the original, and where the stand-ins lie in the clean text."""

    text: str
    findings: tuple[Finding, ...]
    issued: tuple[Span, ...]


FINDING_FORMAT = "findings"
FINDING_SCHEMA = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("entity", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("rule_version", pa.string(), nullable=False),
        pa.field("value_hash", pa.string(), nullable=False),
        pa.field("key_id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
    ]
)
