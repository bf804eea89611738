"""Which traces may be used at all: consent, licence, purpose, region, tenant, retention."""

from __future__ import annotations

from datetime import date

from distill_gov.records.errors import BadInputError
from distill_gov.traces import Trace
from redaction import RedactionPolicy

__all__ = ["refusal"]

_FIELDS = ("consent", "licence", "purpose", "region", "tenant")


def refusal(trace: Trace, policy: RedactionPolicy, today: date) -> str | None:
    """Reason code why a trace is not admitted (the field that the policy does not allow, or ``expired``), or None.

    Raises:
        BadInputError: the policy does not say.
    """
    rules = policy.admission
    if rules is None:
        raise BadInputError(
            "nothing says which traces may be used",
            where="redaction.yaml: admission",
            fix="Name the allowed values of `consent` and `licence` there.",
        )
    for field in _FIELDS:
        allowed: list[str] | None = getattr(rules, field)
        # A trace that does not say is not among the allowed.
        if allowed is not None and getattr(trace, field) not in allowed:
            return field
    return "expired" if rules.refuse_expired and trace.retention_until < today else None
