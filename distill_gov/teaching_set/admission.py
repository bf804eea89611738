"""Which traces may be used at all: consent, licence, retention."""

from __future__ import annotations

from datetime import date

from distill_gov.traces import Trace
from redaction import RedactionPolicy

__all__ = ["refusal"]


def refusal(trace: Trace, policy: RedactionPolicy, today: date) -> str | None:
    """Reason code why a trace is not admitted, or None."""
    allowed = policy.admission
    if trace.consent not in allowed.consent:
        return "consent"
    if trace.licence not in allowed.licence:
        return "licence"
    if allowed.refuse_expired and trace.retention_until < today:
        return "retention"
    return None
