from pathlib import Path

import pytest

from distill_gov.records.errors import HashMismatchError, MissingFileError, NotSealedError
from distill_gov.records.ledger import Ledger
from evals.holdout import OPENED, open_holdout, seal_digest


class Refusing:
    def append(self, event, facts):
        raise OSError("disk full")


@pytest.fixture
def holdout(tmp_path):
    path = tmp_path / "holdout.jsonl"
    path.write_bytes(b'{"id": "a"}\n')
    return path


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl", actor="tester")


def test_an_opening_is_logged_and_returns_the_bytes(holdout, ledger):
    assert open_holdout(holdout, ledger, seal_digest(holdout), {"run": "r1"}) == b'{"id": "a"}\n'
    [entry] = ledger.find(OPENED)
    assert entry.facts == {"run": "r1", "file": "holdout.jsonl", "seal": seal_digest(holdout)}


def test_logged_before_it_is_read(holdout, ledger, monkeypatch):
    seen = []
    read = Path.read_bytes

    def watching(self):
        if self == holdout:
            seen.append(len(ledger.find(OPENED)))
        return read(self)

    digest = seal_digest(holdout)
    monkeypatch.setattr(Path, "read_bytes", watching)
    open_holdout(holdout, ledger, digest, {})
    assert seen == [1]


def test_nothing_is_read_if_the_log_refuses(holdout, monkeypatch):
    digest = seal_digest(holdout)

    def never(self, *args, **kwargs):
        raise AssertionError("the holdout was read")

    monkeypatch.setattr(Path, "read_bytes", never)
    monkeypatch.setattr(Path, "open", never)
    with pytest.raises(OSError, match="disk full"):
        open_holdout(holdout, Refusing(), digest, {})


@pytest.mark.parametrize("seal", [None, ""])
def test_no_seal_no_opening(holdout, ledger, seal):
    with pytest.raises(NotSealedError) as caught:
        open_holdout(holdout, ledger, seal, {})
    assert caught.value.exit_code == 2
    assert ledger.entries() == []


def test_another_holdout_than_sealed_is_refused_and_stays_logged(holdout, ledger):
    digest = seal_digest(holdout)
    holdout.write_bytes(b'{"id": "b"}\n')
    with pytest.raises(HashMismatchError) as caught:
        open_holdout(holdout, ledger, digest, {})
    assert caught.value.exit_code == 4
    assert len(ledger.find(OPENED)) == 1


def test_facts_cannot_rename_the_seal(holdout, ledger):
    open_holdout(holdout, ledger, seal_digest(holdout), {"seal": "another"})
    assert ledger.entries()[0].facts["seal"] == seal_digest(holdout)


def test_a_missing_holdout_is_not_logged(tmp_path, ledger):
    with pytest.raises(MissingFileError):
        open_holdout(tmp_path / "nothing", ledger, "sha256:0", {})
    assert ledger.entries() == []
