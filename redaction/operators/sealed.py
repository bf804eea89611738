"""``encrypt``: a value as a token that holds it, readable with the project's key only.

AES-SIV (RFC 5297) is deterministic, so one value of a scope has one token without a table; and it authenticates, so a changed
token is refused. Equal tokens tell that the values are equal, which is what consistency means.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.padding import PKCS7

from distill_gov.records.errors import BadInputError, IntegrityError
from distill_gov.records.keys import Subkey

__all__ = ["is_sealed", "seal_value", "unseal_value"]

_TOKEN = re.compile(r"<([A-Z_]+):enc:([0-9a-f]{12}):([A-Za-z0-9_-]+)>")
_TAG_BYTES = 16
_BLOCK_BITS = 128


def seal_value(key: Subkey, entity: str, value: str, scope: str) -> str:
    """The token of a value as written. The scope goes in front of it: the same value has another token in another scope."""
    padder = PKCS7(_BLOCK_BITS).padder()  # lengths are told to the block only
    padded = padder.update(value.encode("utf-8", "surrogatepass")) + padder.finalize()
    sealed = _cipher(key).encrypt(hashlib.sha256(scope.encode("utf-8")).digest()[:_TAG_BYTES] + padded, _bound(key, entity))
    return f"<{entity}:enc:{key.key_id}:{base64.urlsafe_b64encode(sealed).decode('ascii').rstrip('=')}>"


def is_sealed(token: str) -> bool:
    return _TOKEN.fullmatch(token) is not None


def unseal_value(key: Subkey, token: str) -> str:
    """The value of a token that `is_sealed`.

    Raises:
        BadInputError: it was made under another key.
        IntegrityError: it was changed.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise BadInputError("not an encrypted token")
    entity, key_id, body = match.groups()
    if key_id != key.key_id:
        raise BadInputError(f"a token was made under key {key_id}, not {key.key_id}", fix="Name the keys it was made with.")
    try:
        sealed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        plain = _cipher(key).decrypt(sealed, _bound(key, entity))
        unpadder = PKCS7(_BLOCK_BITS).unpadder()
        return (unpadder.update(plain[_TAG_BYTES:]) + unpadder.finalize()).decode("utf-8", "surrogatepass")
    except (InvalidTag, ValueError, binascii.Error):
        # Not chained: nothing of what stood in the token belongs into a traceback.
        raise IntegrityError("an encrypted token was changed after it was made") from None


def _cipher(key: Subkey) -> AESSIV:
    # RFC 5297 wants two AES keys; 64 bytes make it AES-256.
    return AESSIV(hashlib.sha512(b"aes-siv" + key.secret).digest())


def _bound(key: Subkey, entity: str) -> list[bytes]:
    return [b"distill-gov/encrypt/1", key.key_id.encode("ascii"), entity.encode("ascii")]
