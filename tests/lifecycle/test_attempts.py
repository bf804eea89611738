"""The how-manieth student of a holdout: by what its cases ask, not by its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill_gov.records.ledger import Ledger
from distill_gov.stages.settled import MEASURED, SEALED, attempts


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", actor="tester")


def seal(ledger: Ledger, digest: str, cases: str | None) -> None:
    ledger.append(SEALED, {"file": "h", "digest": digest, **({} if cases is None else {"cases": cases})})


def measured(ledger: Ledger, student: str, digest: str) -> None:
    ledger.append(MEASURED, {"run": "r", "student": student, "seal": digest})


def test_sealing_the_same_cases_anew_resets_nothing(ledger: Ledger) -> None:
    seal(ledger, "one", "cases")
    measured(ledger, "a", "one")
    seal(ledger, "one and a newline", "cases")
    measured(ledger, "b", "one and a newline")
    assert attempts(ledger, "b", "one and a newline") == 2
    # The first run, judged again after that, is what it was.
    assert attempts(ledger, "a", "one") == 1


def test_a_student_measured_under_both_seals_counts_once(ledger: Ledger) -> None:
    seal(ledger, "one", "cases")
    seal(ledger, "two", "cases")
    for student, under in (("a", "one"), ("a", "two"), ("b", "two")):
        measured(ledger, student, under)
    assert [attempts(ledger, s, seal) for s in "ab" for seal in ("one", "two")] == [1, 1, 2, 2]


def test_other_cases_begin_anew(ledger: Ledger) -> None:
    seal(ledger, "one", "cases")
    measured(ledger, "a", "one")
    seal(ledger, "two", "other cases")
    measured(ledger, "b", "two")
    assert (attempts(ledger, "b", "two"), attempts(ledger, "a", "one"), attempts(ledger, "a", "two")) == (1, 1, 0)


def test_seals_that_do_not_say_what_they_ask_are_told_by_their_bytes(ledger: Ledger) -> None:
    for digest in ("one", "two"):
        seal(ledger, digest, None)
        measured(ledger, f"of {digest}", digest)
    assert [attempts(ledger, f"of {digest}", digest) for digest in ("one", "two")] == [1, 1]
