import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import HashMismatchError, MalformedFileError, MissingFileError, NotSealedError
from distill_gov.records.ledger import Ledger
from evals.holdout import OPENED, cases_digest, open_holdout, seal_digest


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


def row(text, **more):
    return {"id": text, "messages": [{"role": "user", "content": text}], "tags": {}, **more}


def of(tmp_path, lines):
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return cases_digest(path)


ASKED = ["where is my kettle", "is it late", "stop it"]


def test_only_other_questions_make_another_holdout(tmp_path):
    rows = [row(text) for text in ASKED]
    first = of(tmp_path, map(json.dumps, rows))
    same = {
        "a newline": [*map(json.dumps, rows), "", ""],
        "another order": map(json.dumps, reversed(rows)),
        "spacing of the JSON": [json.dumps(r, indent=None, separators=(" , ", " : ")) for r in rows],
        "order of keys": [json.dumps(dict(reversed(r.items()))) for r in rows],
        "other ids": [json.dumps({**r, "id": f"x{n}"}) for n, r in enumerate(rows)],
        "labels and tags": [json.dumps({**r, "reference": {"intent": "refund"}, "tags": {"a": 1}}) for r in rows],
        "a case twice": map(json.dumps, [*rows, {**rows[0], "id": "again"}]),
        "spaces and capitals": [json.dumps(row(f"  {text.upper()}  ")) for text in ASKED],
        "the recorded answer": [
            json.dumps({**r, "messages": [*r["messages"], {"role": "assistant", "content": "yes"}]}) for r in rows
        ],
    }
    for name, lines in same.items():
        assert of(tmp_path, lines) == first, name
    others = [*ASKED[:2], "stop it please"], ASKED[:2], [*ASKED, "one more"]
    assert len({first, *(of(tmp_path, [json.dumps(row(t)) for t in texts]) for texts in others)}) == 4


@given(st.lists(st.text(max_size=5) | st.none() | st.integers(), max_size=4), st.integers(0, 9))
def test_rows_that_are_no_chats_have_a_digest_too(tmp_path_factory, messages, number):
    path = tmp_path_factory.getbasetemp() / "odd.jsonl"
    path.write_text(json.dumps({"id": str(number), "messages": messages}), "utf-8")
    assert cases_digest(path).startswith("sha256:")


def test_a_line_that_is_none_is_named(tmp_path):
    with pytest.raises(MalformedFileError, match=r"cases\.jsonl:2"):
        of(tmp_path, ['{"id": "a"}', "{"])
