"""The project's key: derived by RFC 5869, kept from others, never shown."""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import DistillGovError, MalformedFileError, MissingFileError
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import ProjectLayout

ROOT = bytes(range(32))


def hkdf(root: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt (a block of zeros), 32 bytes: one round of expansion."""
    extracted = hmac.new(b"\x00" * 32, root, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def test_the_reference_itself_gives_the_vector_of_the_standard() -> None:
    # RFC 5869, test case 3 (no salt, no info), first 32 of 42 bytes.
    assert hkdf(b"\x0b" * 22, b"").hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


@given(st.binary(min_size=32, max_size=32), st.text("abcdefghijklmnopqrstuvwxyz-/", min_size=1))
def test_a_subkey_is_hkdf_of_the_root_with_the_purpose(root: bytes, purpose: str) -> None:
    key = KeyRing(root).subkey(purpose)
    assert key.secret == hkdf(root, f"distill-gov/{purpose}/1".encode())
    assert key.key_id == hashlib.sha256(b"key-id" + key.secret).hexdigest()[:12]


def test_purposes_and_roots_differ() -> None:
    ring = KeyRing(ROOT)
    keys = [ring.subkey("redaction"), ring.subkey("ratings"), KeyRing(b"\x00" * 32).subkey("redaction")]
    assert len({k.secret for k in keys}) == len({k.key_id for k in keys}) == len({k.mac("a") for k in keys}) == 3
    assert ring.subkey("redaction") == keys[0]


def test_a_mac_is_hmac_over_length_prefixed_parts() -> None:
    key = KeyRing(ROOT).subkey("redaction")
    message = b"\x00" * 7 + b"\x02" + b"ab" + b"\x00" * 7 + b"\x02" + "é".encode()
    assert key.mac("ab", "é") == hmac.new(key.secret, message, hashlib.sha256).hexdigest()


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_macs_of_different_parts_differ(one: list[str], other: list[str]) -> None:
    key = KeyRing(ROOT).subkey("redaction")
    assert (key.mac(*one) == key.mac(*other)) == (one == other)


def test_a_key_is_never_shown() -> None:
    ring = KeyRing(ROOT)
    shown = repr(ring) + repr(ring.subkey("redaction"))
    for secret in (ROOT, ring.subkey("redaction").secret):
        assert repr(secret) not in shown
        assert secret.hex() not in shown


def test_a_new_key_is_for_the_owner_only_and_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "keys"
    ring = KeyRing.create(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "root.key").stat().st_mode) == 0o600
    assert len(ring.root) == 32
    assert KeyRing.create(directory) == ring == KeyRing.load(directory)
    assert KeyRing.create(tmp_path / "other") != ring


def test_the_environment_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = ProjectLayout(tmp_path / "project")
    monkeypatch.delenv("DISTILL_GOV_KEYS", raising=False)
    assert layout.keys == tmp_path / "project" / ".distill-gov" / "keys"
    monkeypatch.setenv("DISTILL_GOV_KEYS", "")
    assert layout.keys == tmp_path / "project" / ".distill-gov" / "keys"
    monkeypatch.setenv("DISTILL_GOV_KEYS", str(tmp_path / "vault"))
    assert KeyRing.create(layout.keys) == KeyRing.load(tmp_path / "vault")


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"00" * 31, b"00" * 33, b"0" * 63, "é".encode() * 32, b"\xff" * 32])
def test_a_bad_key_file_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "root.key").write_bytes(content)
    with pytest.raises(MalformedFileError) as caught:
        KeyRing.load(tmp_path)
    assert caught.value.__cause__ is None
    assert "0000" not in str(caught.value)
    with pytest.raises(DistillGovError):
        KeyRing.create(tmp_path)
    assert (tmp_path / "root.key").read_bytes() == content


def test_no_key_and_a_directory_in_its_place_are_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no project key"):
        KeyRing.load(tmp_path)
    (tmp_path / "root.key").mkdir()
    with pytest.raises(MissingFileError):
        KeyRing.load(tmp_path)
