from __future__ import annotations

from pathlib import Path

import pytest

from distill_gov.records.keys import KeyRing
from redaction import RedactionPolicy, Redactor
from redaction.policy import load_policy

POLICY = Path(__file__).parents[2] / "examples" / "support_desk" / "redaction.yaml"


@pytest.fixture(scope="session")
def keyring() -> KeyRing:
    return KeyRing(b"\x01" * 32)


@pytest.fixture(scope="session")
def policy() -> RedactionPolicy:
    return load_policy(POLICY)


@pytest.fixture(scope="session")
def redactor(policy: RedactionPolicy, keyring: KeyRing) -> Redactor:
    return Redactor(policy, keyring)
