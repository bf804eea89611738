"""Redaction: text or JSON in; clean text and findings out. Nothing here opens a network connection or downloads a model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redaction.analyzer import RecognizerFailedError
    from redaction.findings import Finding, Redacted, Span
    from redaction.policy import RedactionPolicy
    from redaction.redactor import RedactedJson, RedactedMessages, Redactor
    from redaction.residual import ResidualHit
    from redaction.vault import Vault

__all__ = [
    "Finding",
    "RecognizerFailedError",
    "Redacted",
    "RedactedJson",
    "RedactedMessages",
    "RedactionPolicy",
    "Redactor",
    "ResidualHit",
    "Span",
    "Vault",
]

_MODULES = {
    "Finding": "redaction.findings",
    "RecognizerFailedError": "redaction.analyzer",
    "Redacted": "redaction.findings",
    "RedactedJson": "redaction.redactor",
    "RedactedMessages": "redaction.redactor",
    "RedactionPolicy": "redaction.policy",
    "Redactor": "redaction.redactor",
    "ResidualHit": "redaction.residual",
    "Span": "redaction.findings",
    "Vault": "redaction.vault",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that importing the package loads neither spaCy nor Presidio.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
