"""The how-manieth student of a holdout: by what its cases ask, not by its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill_gov.records.ledger import Ledger
from distill_gov.records.purges import SEAL_BROKEN
from distill_gov.stages.settled import EVALUATION, MEASURED, SEALED, attempts, openings
from evals.holdout import OPENED


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


def opened(ledger: Ledger, run: str, digest: str, purpose: str = EVALUATION) -> None:
    ledger.append(OPENED, {"run": run, "purpose": purpose, "file": "h", "seal": digest})


def test_openings_are_counted_over_runs_and_not_what_comes_later(ledger: Ledger) -> None:
    seal(ledger, "one", "cases")
    for run in ("r1", "r1", "r2", "r3"):
        opened(ledger, run, "one")
    # r1 was cut short and begun again.
    assert [openings(ledger, run, "one") for run in ("r1", "r2", "r3", "r4")] == [2, 3, 4, 0]
    opened(ledger, "r1", "one")
    assert [openings(ledger, run, "one") for run in ("r1", "r2", "r3")] == [5, 3, 4]


def test_openings_that_measure_nothing_do_not_count(ledger: Ledger) -> None:
    seal(ledger, "one", "cases")
    opened(ledger, "r1", "one", "build: near-duplicates of the holdout")
    ledger.append(OPENED, {"purpose": "purge", "seal": "one"})
    opened(ledger, "r1", "one")
    assert openings(ledger, "r1", "one") == 1


def test_openings_go_on_under_another_seal_of_the_same_cases_and_begin_anew_with_others(ledger: Ledger) -> None:
    seal(ledger, "one", "cases")
    opened(ledger, "r1", "one")
    seal(ledger, "one and a newline", "cases")
    opened(ledger, "r2", "one and a newline")
    ledger.append(SEAL_BROKEN, {"cases_before": "cases", "cases": "fewer cases"})
    seal(ledger, "fewer", "fewer cases")
    opened(ledger, "r3", "fewer")
    seal(ledger, "two", "other cases")
    opened(ledger, "r4", "two")
    found = [openings(ledger, f"r{i}", d) for i, d in enumerate(("one", "one and a newline", "fewer", "two"), start=1)]
    assert found == [1, 2, 3, 1]
