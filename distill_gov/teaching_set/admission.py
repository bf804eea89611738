"""Which traces may be used at all: consent, licence, retention."""

from __future__ import annotations

from datetime import date

from distill_gov.records.errors import BadInputError
from distill_gov.traces import Trace
from redaction import RedactionPolicy

__all__ = ["refusal"]


def refusal(trace: Trace, policy: RedactionPolicy, today: date) -> str | None:
    """Reason code why a trace is not admitted, or None.

    Raises:
        BadInputError: the policy does not say.
    """
    allowed = policy.admission
    if allowed is None:
        raise BadInputError(
            "nothing says which traces may be used",
            where="redaction.yaml: admission",
            fix="Name the allowed values of `consent` and `licence` there.",
        )
    if trace.consent not in allowed.consent:
        return "consent"
    if trace.licence not in allowed.licence:
        return "licence"
    if allowed.refuse_expired and trace.retention_until < today:
        return "retention"
    return None
