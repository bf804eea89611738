"""The project's key and the subkeys derived from it, one for each purpose.

The root key lies in ``.distill-gov/keys/root.key`` (mode 0700/0600, git-ignored) or in the directory that
``DISTILL_GOV_KEYS`` names. Subkeys are HKDF-SHA256 (RFC 5869) with the purpose as ``info``.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from distill_gov.records.errors import MalformedFileError, MissingFileError

__all__ = ["KeyRing", "Subkey"]

_ROOT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Subkey:
    """A key for one purpose and the id under which findings name it."""

    purpose: str
    key_id: str
    secret: bytes = field(repr=False)

    def mac(self, *parts: str) -> str:
        """Hex HMAC-SHA256 over length-prefixed parts, so that ("ab", "c") and ("a", "bc") differ."""
        message = b"".join(len(p).to_bytes(8, "big") + p for p in (part.encode("utf-8", "surrogatepass") for part in parts))
        return hmac.digest(self.secret, message, "sha256").hex()


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The project's root key."""

    root: bytes = field(repr=False)

    @classmethod
    def fresh(cls) -> KeyRing:
        """A new root key that lies nowhere yet."""
        return cls(secrets.token_bytes(_ROOT_BYTES))

    @classmethod
    def create(cls, directory: Path, ring: KeyRing | None = None) -> KeyRing:
        """Make a root key where there is none, or put the given one there; an existing one is kept."""
        path = directory / "root.key"
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            os.chmod(directory, 0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as stream:
                stream.write((ring or cls.fresh()).root.hex() + "\n")
        return cls.load(directory)

    @classmethod
    def temporary(cls) -> KeyRing:
        """A key that is written nowhere: what is hashed under it compares with nothing that another key made."""
        return cls(secrets.token_bytes(_ROOT_BYTES))

    @staticmethod
    def exists(directory: Path) -> bool:
        return (directory / "root.key").exists()

    @classmethod
    def load(cls, directory: Path) -> KeyRing:
        path = directory / "root.key"
        try:
            text = path.read_text("ascii").strip()
            root = bytes.fromhex(text)
        except FileNotFoundError as error:
            raise MissingFileError(
                "no project key", where=str(path), fix="Run `distill-gov init`, or set DISTILL_GOV_KEYS."
            ) from error
        except OSError as error:
            raise MissingFileError(f"the project key cannot be read ({error.strerror})", where=str(path)) from error
        except ValueError:
            # Not chained: the error's own text would quote the file.
            raise MalformedFileError("not a key file", where=str(path)) from None
        if len(root) != _ROOT_BYTES:
            raise MalformedFileError("key has the wrong length", where=str(path))
        return cls(root)

    def subkey(self, purpose: str) -> Subkey:
        secret = HKDF(hashes.SHA256(), 32, salt=None, info=f"distill-gov/{purpose}/1".encode()).derive(self.root)
        return Subkey(purpose, hashlib.sha256(b"key-id" + secret).hexdigest()[:12], secret)
