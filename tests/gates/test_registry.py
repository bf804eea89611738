from __future__ import annotations

from dataclasses import replace

import pytest

from distill_gov.records.errors import BadInputError, DistillGovError, IntegrityError, MalformedFileError
from distill_gov.records.ledger import Ledger
from gates.registry import NotPromotableError, promote, read_aliases


@pytest.fixture
def passed(make, tmp_path):
    policy = make.policy_of(tmp_path)
    return make.verdict_of(policy, make.all_good(policy))


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl", actor="ci")


def test_promotes_and_returns_what_was_there(make, tmp_path, passed, ledger):
    registry = tmp_path / "registry"
    assert promote(passed, "gates", passed.subject, "production", registry, ledger) is None
    second = replace(passed, subject="sha256:second")
    previous = promote(second, "gates", "sha256:second", "production", registry, ledger)
    assert previous is not None
    assert previous.student == passed.subject
    now = read_aliases(registry)["production"]
    assert now.student == "sha256:second"
    entries = ledger.find("promotion")
    assert [e.facts["student"] for e in entries] == [passed.subject, "sha256:second"]
    assert entries[1].facts["previous"] == passed.subject
    assert now.ledger == entries[1].digest


def test_a_verdict_that_did_not_count_openings_is_judged_again_first(tmp_path, passed, ledger):
    with pytest.raises(NotPromotableError, match="how often the holdout was opened"):
        promote(replace(passed, openings=None), "gates", passed.subject, "production", tmp_path / "registry", ledger)
    assert not ledger.find("promotion")


@pytest.mark.parametrize(
    ("changes", "policy", "student", "error"),
    [
        ({"decision": "BLOCKED"}, "gates", None, NotPromotableError),
        ({"simulated": True}, "gates", None, NotPromotableError),
        ({}, "gates.bank", None, NotPromotableError),
        ({}, "gates", "sha256:another", NotPromotableError),
        ({"subject": ""}, "gates", "", NotPromotableError),
        ({"outcomes": ()}, "gates", None, IntegrityError),
    ],
)
def test_refusals_leave_no_trace(tmp_path, passed, ledger, changes, policy, student, error):
    verdict = replace(passed, **changes)
    with pytest.raises(error) as caught:
        promote(verdict, policy, passed.subject if student is None else student, "production", tmp_path / "r", ledger)
    assert isinstance(caught.value, DistillGovError)
    assert "\n" not in str(caught.value)
    assert read_aliases(tmp_path / "r") == {}
    assert ledger.entries() == []


@pytest.mark.parametrize("outcome", ["FAIL", "INCONCLUSIVE", "ERROR", "SKIPPED"])
def test_a_verdict_that_contradicts_its_gates(tmp_path, passed, ledger, outcome):
    forged = replace(passed, outcomes=(replace(passed.outcomes[0], outcome=outcome),))
    with pytest.raises(IntegrityError):
        promote(forged, "gates", passed.subject, "production", tmp_path / "r", ledger)
    assert ledger.entries() == []


def test_only_shown_gates_are_no_reason_to_promote(tmp_path, passed, ledger):
    forged = replace(passed, outcomes=(replace(passed.outcomes[0], required=False),))
    with pytest.raises(IntegrityError):
        promote(forged, "gates", passed.subject, "production", tmp_path / "r", ledger)


def test_simulated_ratings_never_promote(make, tmp_path, ledger):
    policy = make.example("gates.simulated.yaml")
    verdict = make.verdict_of(policy, make.all_good(policy))
    assert verdict.decision == "PASSED"
    with pytest.raises(NotPromotableError, match="simulated"):
        promote(verdict, "gates.simulated", verdict.subject, "production", tmp_path / "r", ledger)


@pytest.mark.parametrize("alias", ["", "../up", "A", "a/b", "x" * 65])
def test_alias_names(tmp_path, passed, ledger, alias):
    with pytest.raises(BadInputError):
        promote(passed, "gates", passed.subject, alias, tmp_path / "r", ledger)


def test_no_journal_no_promotion(tmp_path, passed):
    class Full:
        def append(self, event, facts):
            raise OSError("disk full")

    with pytest.raises(OSError):
        promote(passed, "gates", passed.subject, "production", tmp_path / "r", Full())
    assert read_aliases(tmp_path / "r") == {}


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": "distill-gov/aliases/1", "aliases": [{}]}', '{"format": "distill-gov/aliases/1"}']
)
def test_a_damaged_registry_is_not_overwritten(tmp_path, passed, ledger, text):
    (tmp_path / "r").mkdir()
    path = tmp_path / "r" / "aliases.json"
    path.write_text(text)
    with pytest.raises(BadInputError):
        promote(passed, "gates", passed.subject, "production", tmp_path / "r", ledger)
    assert path.read_text() == text
    assert ledger.entries() == []


def test_an_alias_twice(tmp_path, passed, ledger):
    promote(passed, "gates", passed.subject, "production", tmp_path, ledger)
    path = tmp_path / "aliases.json"
    row = path.read_text()
    start, end = row.index("{", 1), row.rindex("}", 0, row.rindex("]")) + 1
    path.write_text(row[:end] + "," + row[start:end] + row[end:])
    with pytest.raises(MalformedFileError):
        read_aliases(tmp_path)
