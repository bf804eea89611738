"""Values come back only under their key, from an undamaged vault, with a reason that is logged first."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from distill_gov.records.errors import BadInputError, ChainBrokenError, IntegrityError, MissingFileError
from distill_gov.records.keys import KeyRing
from distill_gov.records.ledger import Ledger, LedgerEntry
from redaction import Redacted, RedactionPolicy, Redactor, Vault
from redaction.operators.stand_ins import item_scope
from redaction.policy import EntityPolicy, VaultPolicy
from redaction.redactor import UNREDACTED

TEXT = "my name is Zanthe Quillfeather, mail dana@example.org, call +44 7911 123456, pin 4821"
VALUES = ("Zanthe Quillfeather", "dana@example.org", "+44 7911 123456", "4821")
OPERATORS = ("placeholder", "surrogate", "hash", "encrypt")


def _policy(operator: str, *, vault: bool = True, **more: Any) -> RedactionPolicy:
    entities = {e: EntityPolicy(operator=operator) for e in ("PERSON", "EMAIL", "PHONE", "PASSWORD")}  # type: ignore[arg-type]
    return RedactionPolicy(entities=entities, vault=VaultPolicy(enabled=vault), **more)


def _redactor(root: Path, keyring: KeyRing, operator: str, **more: Any) -> Redactor:
    return Redactor(_policy(operator, **more), keyring, Vault(root / "vault", keyring))


def _files(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file()]


class _Refuses:
    def append(self, event: str, facts: Mapping[str, Any]) -> LedgerEntry:
        raise ChainBrokenError("the chain does not hold")


@pytest.mark.parametrize("operator", OPERATORS)
def test_values_come_back_as_they_were_written(tmp_path: Path, keyring: KeyRing, operator: str) -> None:
    redactor, ledger = _redactor(tmp_path, keyring, operator), Ledger(tmp_path / "ledger.jsonl", actor="privacy officer")
    done = redactor.redact(TEXT, item="c1")
    for value in VALUES:
        assert value not in done.text
    assert redactor.unredact(done.text, reason="access request 12", journal=ledger, item="c1") == TEXT
    assert redactor.unredact(done, reason="access request 12", journal=ledger, item="c1") == TEXT
    [first, second] = ledger.find(UNREDACTED)
    assert (first.actor, first.facts["reason"], first.facts["item"]) == ("privacy officer", "access request 12", "c1")
    assert first.facts["text"] == second.facts["text"]
    assert not any(value in (tmp_path / "ledger.jsonl").read_text("utf-8") for value in VALUES)


def test_the_vault_holds_nothing_in_clear(tmp_path: Path, keyring: KeyRing) -> None:
    for operator in OPERATORS:
        _redactor(tmp_path, keyring, operator).redact(TEXT, item="the-trace-id")
    files = _files(tmp_path / "vault")
    assert files
    for path in files:
        data = path.read_bytes()
        decoded = [data, str(path).encode()]
        for line in data.splitlines():
            decoded += [base64.b64decode(json.loads(line)["sealed"]), bytes.fromhex(json.loads(line)["value"])]
        for piece in (*VALUES, "Zanthe", "Quillfeather", "7911", "the-trace-id"):
            for form in (piece, piece.casefold(), base64.b64encode(piece.encode()).decode()[:-2]):
                assert not any(form.encode() in one for one in decoded), path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for directory in [tmp_path / "vault", *(p for p in (tmp_path / "vault").rglob("*") if p.is_dir())]:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_redacting_again_adds_nothing(tmp_path: Path, keyring: KeyRing) -> None:
    for _ in range(2):
        redactor = _redactor(tmp_path, keyring, "surrogate")
        done = redactor.redact(TEXT, item="c1")
        redactor.redact(done, item="c1")
    [file] = _files(tmp_path / "vault")
    assert len(file.read_bytes().splitlines()) == len(VALUES)


def test_without_a_reason_nothing_happens(tmp_path: Path, keyring: KeyRing) -> None:
    redactor, ledger = _redactor(tmp_path, keyring, "hash"), Ledger(tmp_path / "ledger.jsonl")
    done = redactor.redact(TEXT, item="c1")
    for reason in ("", "  \n"):
        with pytest.raises(BadInputError, match="without a reason"):
            redactor.unredact(done, reason=reason, journal=ledger, item="c1")
    with pytest.raises(BadInputError, match=r"the reason holds personal data \(EMAIL\)") as caught:
        redactor.unredact(done, reason="asked by dana@example.org", journal=ledger, item="c1")
    assert "dana" not in str(caught.value)
    assert not ledger.path.exists()


def test_what_cannot_be_logged_does_not_happen(tmp_path: Path, keyring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    redactor = _redactor(tmp_path, keyring, "encrypt")
    done = redactor.redact(TEXT, item="c1")

    def never(*_: Any) -> Any:
        raise AssertionError("something was read")

    monkeypatch.setattr("redaction.redactor.unseal_value", never)
    monkeypatch.setattr(Vault, "values", never)
    monkeypatch.setattr(Vault, "stand_ins", never)
    with pytest.raises(ChainBrokenError):
        redactor.unredact(done, reason="access request", journal=_Refuses(), item="c1")


def test_another_key_opens_nothing(tmp_path: Path, keyring: KeyRing) -> None:
    other = KeyRing(b"\x02" * 32)
    for operator in ("surrogate", "encrypt"):
        done = _redactor(tmp_path, keyring, operator).redact(TEXT, item="c1")
        with pytest.raises(BadInputError, match="under key"):
            _redactor(tmp_path, other, operator).unredact(
                done.text, reason="access request", journal=Ledger(tmp_path / "l"), item="c1"
            )


def test_what_is_unknown_is_not_guessed(tmp_path: Path, keyring: KeyRing) -> None:
    redactor, ledger = _redactor(tmp_path, keyring, "placeholder"), Ledger(tmp_path / "ledger.jsonl")
    done = redactor.redact(TEXT, item="c1")
    asked = {"reason": "access request", "journal": ledger}
    for text, item in ((done.text, ""), (done.text, "c2"), (f"{done.text} <PERSON_9>", "c1"), (done, "c2")):
        with pytest.raises(BadInputError, match="is unknown"):
            redactor.unredact(text, item=item, **asked)  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="nothing in the text"):
        redactor.unredact("nothing here", item="c1", **asked)  # type: ignore[arg-type]
    redactor.redact("mail somebody.else@example.org", item="c1")
    with pytest.raises(BadInputError, match="stands for several values"):
        redactor.unredact("mail <EMAIL_1>", item="c1", **asked)  # type: ignore[arg-type]


def test_of_a_data_set_no_item_is_needed(tmp_path: Path, keyring: KeyRing) -> None:
    redactor = _redactor(tmp_path, keyring, "surrogate", scope="dataset")
    done = redactor.redact(TEXT)
    assert redactor.unredact(done.text, reason="access request", journal=Ledger(tmp_path / "ledger.jsonl")) == TEXT


def test_a_text_of_no_conversation_is_refused_where_values_are_kept(tmp_path: Path, keyring: KeyRing) -> None:
    redactor = _redactor(tmp_path, keyring, "placeholder")
    with pytest.raises(BadInputError, match="Give its item"):
        redactor.redact(TEXT)
    assert redactor.redact("nothing here").text == "nothing here"


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: {**line, "token": "<PERSON_7>"},
        lambda line: {**line, "value": "0" * 64},
        lambda line: {**line, "sealed": base64.b64encode(b"\0" * 60).decode()},
        lambda line: {**line, "sealed": "no base64"},
        lambda line: {**line, "sealed": ""},
        lambda line: {**line, "key_id": "0" * 12},
        lambda line: {**line, "format": "distill-gov/vault/2"},
        lambda line: {**line, "more": ""},
        lambda line: {**line, "sealed": None},
        lambda line: [line],
    ],
)
def test_a_tampered_vault_is_refused(tmp_path: Path, keyring: KeyRing, damage: Any) -> None:
    redactor = _redactor(tmp_path, keyring, "placeholder")
    done = redactor.redact("my name is Zanthe Quillfeather", item="c1")
    [file] = _files(tmp_path / "vault")
    changed = damage(json.loads(file.read_bytes()))
    file.write_text(json.dumps(changed) + "\n", "utf-8")
    text = done.text if isinstance(changed, list) or changed["token"] != "<PERSON_7>" else "my name is <PERSON_7>"
    with pytest.raises(IntegrityError) as caught:
        redactor.unredact(text, reason="access request", journal=Ledger(tmp_path / "ledger.jsonl"), item="c1")
    assert "Quillfeather" not in str(caught.value)


def test_a_line_moved_to_another_conversation_is_refused(tmp_path: Path, keyring: KeyRing) -> None:
    redactor, vault = _redactor(tmp_path, keyring, "placeholder"), Vault(tmp_path / "vault", keyring)
    redactor.redact("my name is Zanthe Quillfeather", item="c1")
    [file] = _files(tmp_path / "vault")
    other = vault.path("item c2")
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(file.read_bytes())
    with pytest.raises(IntegrityError):
        redactor.unredact("<PERSON_1>", reason="access request", journal=Ledger(tmp_path / "ledger.jsonl"), item="c2")


def test_what_is_forgotten_does_not_come_back(tmp_path: Path, keyring: KeyRing) -> None:
    redactor, vault = _redactor(tmp_path, keyring, "placeholder"), Vault(tmp_path / "vault", keyring)
    for item in ("c1", "c2"):
        redactor.redact("my name is Zanthe Quillfeather", item=item)
    assert vault.forget(item_scope("c1"))
    assert not vault.forget(item_scope("c1"))
    asked = {"reason": "access request", "journal": Ledger(tmp_path / "ledger.jsonl")}
    with pytest.raises(BadInputError, match="is unknown"):
        redactor.unredact("<PERSON_1>", item="c1", **asked)  # type: ignore[arg-type]
    assert redactor.unredact("<PERSON_1>", item="c2", **asked) == "Zanthe Quillfeather"  # type: ignore[arg-type]


def test_a_torn_line_is_not_built_upon(tmp_path: Path, keyring: KeyRing) -> None:
    _redactor(tmp_path, keyring, "placeholder").redact("my name is Zanthe Quillfeather", item="c1")
    [file] = _files(tmp_path / "vault")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(IntegrityError, match="not a line"):
        _redactor(tmp_path, keyring, "placeholder").redact("mail dana@example.org", item="c1")


def test_without_a_vault_only_encrypted_values_come_back(tmp_path: Path, keyring: KeyRing) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    encrypting = Redactor(_policy("encrypt", vault=False), keyring)
    assert encrypting.unredact(encrypting.redact(TEXT).text, reason="access request", journal=ledger) == TEXT
    plain = Redactor(_policy("placeholder", vault=False), keyring)
    with pytest.raises(BadInputError, match="without a vault"):
        plain.unredact(plain.redact(TEXT), reason="access request", journal=ledger)


def test_a_dropped_record_is_not_kept(tmp_path: Path, keyring: KeyRing) -> None:
    _redactor(tmp_path, keyring, "drop").redact(TEXT, item="c1")
    assert not (tmp_path / "vault").exists()


def test_the_policy_decides_whether_there_is_a_vault(tmp_path: Path, keyring: KeyRing) -> None:
    with pytest.raises(BadInputError, match="none is given"):
        Redactor(_policy("placeholder"), keyring)
    off = Redactor(_policy("placeholder", vault=False), keyring, Vault(tmp_path / "vault", keyring))
    off.redact(TEXT, item="c1")
    assert not (tmp_path / "vault").exists()
    path = tmp_path / "redaction.yaml"
    path.write_text("entities: {EMAIL: {operator: hash}}\nvault: {enabled: true}\n", "utf-8")
    with pytest.raises(MissingFileError, match="no project key"):
        Redactor.from_policy(path)
    KeyRing.create(tmp_path / ".distill-gov" / "keys")
    redactor = Redactor.from_policy(path)
    redactor.redact("mail dana@example.org", item="c1")
    assert _files(tmp_path / ".distill-gov" / "vault")


def test_a_redacted_text_wants_every_stand_in_known(tmp_path: Path, keyring: KeyRing) -> None:
    redactor = _redactor(tmp_path, keyring, "surrogate")
    done = redactor.redact(TEXT, item="c1")
    more = Redacted(done.text, (), (*done.issued[:1], done.issued[-1]))
    plain = redactor.unredact(more, reason="access request", journal=Ledger(tmp_path / "ledger.jsonl"), item="c1")
    assert VALUES[0] in plain
    assert VALUES[1] not in plain
