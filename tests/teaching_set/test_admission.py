"""Admission: consent, licence, purpose, region, tenant and retention, each with its reason code."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from distill_gov.teaching_set.admission import refusal
from distill_gov.traces import Trace
from redaction.policy import AdmissionPolicy, RedactionPolicy

TODAY = date(2026, 11, 22)
TRACE = Trace(
    id="t1",
    group="c1",
    messages=({"role": "user", "content": "hello"},),
    consent="granted",
    licence="internal",
    retention_until=TODAY,
)


def policy(**changes: Any) -> RedactionPolicy:
    allowed = AdmissionPolicy(**{"consent": ["granted", "contract"], "licence": ["internal"], **changes})
    return RedactionPolicy.model_construct(admission=allowed)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"consent": "contract"}, None),
        ({"consent": "withdrawn"}, "consent"),
        ({"consent": "Granted"}, "consent"),
        ({"consent": "granted "}, "consent"),
        ({"consent": ""}, "consent"),
        ({"licence": "unknown"}, "licence"),
        ({"licence": ""}, "licence"),
        ({"retention_until": TODAY - timedelta(days=1)}, "expired"),
        ({"consent": "none", "licence": "none", "retention_until": date.min}, "consent"),
        ({"licence": "none", "retention_until": date.min}, "licence"),
    ],
)
def test_each_reason(changes: dict[str, Any], reason: str | None) -> None:
    assert refusal(replace(TRACE, **changes), policy(), TODAY) == reason


def test_the_last_day_of_retention_is_still_a_day_of_it() -> None:
    ends = replace(TRACE, retention_until=TODAY)
    assert refusal(ends, policy(), TODAY - timedelta(days=1)) is None
    assert refusal(ends, policy(), TODAY) is None
    assert refusal(ends, policy(), TODAY + timedelta(days=1)) == "expired"


@pytest.mark.parametrize("field", ["purpose", "region", "tenant"])
def test_what_a_policy_names_a_trace_must_say(field: str) -> None:
    allowing = policy(**{field: ["support", "own"]})
    assert refusal(replace(TRACE, **{field: "own"}), allowing, TODAY) is None
    for held in (None, "", "Own", "elsewhere"):
        assert refusal(replace(TRACE, **{field: held}), allowing, TODAY) == field
        assert refusal(replace(TRACE, **{field: held}), policy(), TODAY) is None
    assert refusal(replace(TRACE, **{field: "elsewhere"}, retention_until=date.min), allowing, TODAY) == field


@pytest.mark.parametrize("field", ["consent", "licence", "purpose", "region", "tenant"])
def test_a_policy_that_allows_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        policy(**{field: []})


def test_a_policy_may_say_that_expiry_does_not_matter() -> None:
    assert refusal(replace(TRACE, retention_until=date.min), policy(refuse_expired=False), TODAY) is None


@given(st.text(), st.text(), st.dates())
def test_only_what_the_policy_names_comes_in(consent: str, licence: str, until: date) -> None:
    admitted = refusal(replace(TRACE, consent=consent, licence=licence, retention_until=until), policy(), TODAY) is None
    assert admitted == (consent in ("granted", "contract") and licence == "internal" and until >= TODAY)
