"""The vault: which value a stand-in stands for, encrypted. Off unless the policy turns it on.

One append-only file a conversation, ``<vault>/<key id>/<..>/<keyed hash of the scope>.jsonl``, so that the values of a
conversation can be removed with it. A line holds the stand-in, and the value under AES-GCM with a subkey of its own; key, scope
and stand-in are authenticated with it, so a line that was moved or changed is refused. No value, and no item's name, stands in
it in clear.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from distill_gov.records.errors import BadInputError, IntegrityError, MalformedFileError
from distill_gov.records.files import loads_strict
from distill_gov.records.keys import KeyRing

__all__ = ["Vault"]

_FORMAT = "distill-gov/vault/1"
_NONCE_BYTES = 12
_REMEMBERED = 64
"""Scopes whose lines are remembered while they are written: a data set's is written to by every text."""


class Vault:
    """Keeps values under the project's key.

    Args:
        root: the vault's directory; made on the first write, with mode 0700.
        keyring: the project's key. What another key wrote is not readable, and said to be so.
    """

    def __init__(self, root: Path, keyring: KeyRing) -> None:
        self.root = root
        self._key = keyring.subkey("redaction/vault")
        self._index = keyring.subkey("redaction/vault index")
        self._written: dict[str, set[tuple[str, str]]] = {}

    @property
    def key_id(self) -> str:
        return self._key.key_id

    def path(self, scope: str) -> Path:
        """The file of a scope."""
        name = self._tag(scope)
        return self.root / self.key_id / name[:2] / f"{name}.jsonl"

    def keep(self, scope: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Write (stand-in, value) down; what is there already is not written again.

        Raises:
            IntegrityError: the file of the scope is damaged; nothing is added to it.
        """
        marked = {(stand_in, self._index.mac("value", scope, stand_in, value)): value for stand_in, value in pairs}
        before = self._known(scope)
        new = {key: value for key, value in marked.items() if key not in before}
        if not new:
            return
        path = self.path(scope)
        for directory in (self.root, self.root / self.key_id, path.parent):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = [self._line(scope, stand_in, mark, value) for (stand_in, mark), value in new.items()]
        data = b"".join(json.dumps(line, ensure_ascii=True).encode("ascii") + b"\n" for line in lines)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # One write: another process may append to the same file.
            if os.write(handle, data) != len(data):
                raise IntegrityError("the vault was not written whole", where=str(path), fix="Make room on the disk.")
            os.fsync(handle)
        finally:
            os.close(handle)
        before |= set(new)

    def stand_ins(self, scope: str) -> frozenset[str]:
        """The stand-ins of a scope. Nothing is decrypted.

        Raises:
            BadInputError: the vault was written under another key only.
            IntegrityError: the file is damaged.
        """
        return frozenset(str(line["token"]) for line in self._lines(scope))

    def values(self, scope: str, stand_in: str) -> frozenset[str]:
        """What a stand-in stands for in a scope: nothing if it is unknown, several values if it was given twice.

        Raises:
            BadInputError, IntegrityError: as `stand_ins`.
        """
        return frozenset(self._opened(scope, line) for line in self._lines(scope) if line["token"] == stand_in)

    def forget(self, scope: str) -> bool:
        """Remove what is kept of a scope; says whether there was anything. What was encrypted into a text is not reached."""
        self._written.pop(scope, None)
        there = self.path(scope).exists()
        self.path(scope).unlink(missing_ok=True)
        return there

    def _known(self, scope: str) -> set[tuple[str, str]]:
        if scope not in self._written:
            while len(self._written) >= _REMEMBERED:
                del self._written[next(iter(self._written))]
            there = self._lines(scope) if self.path(scope).exists() else ()
            self._written[scope] = {(str(line["token"]), str(line["value"])) for line in there}
        return self._written[scope]

    def _tag(self, scope: str) -> str:
        return self._index.mac("scope", scope)[:32]

    def _bound(self, scope: str, stand_in: str) -> bytes:
        return json.dumps([_FORMAT, self.key_id, self._tag(scope), stand_in]).encode("ascii")

    def _line(self, scope: str, stand_in: str, mark: str, value: str) -> dict[str, str]:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._key.secret).encrypt(nonce, value.encode("utf-8", "surrogatepass"), self._bound(scope, stand_in))
        return {
            "format": _FORMAT,
            "key_id": self.key_id,
            "token": stand_in,
            "value": mark,
            "sealed": base64.b64encode(nonce + sealed).decode("ascii"),
        }

    def _opened(self, scope: str, line: Mapping[str, Any]) -> str:
        where = str(self.path(scope))
        try:
            data = base64.b64decode(line["sealed"], validate=True)
            bound = self._bound(scope, line["token"])
            value = AESGCM(self._key.secret).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound)
            text = value.decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError, binascii.Error):
            # Not chained: nothing of what stood in the line belongs into a traceback.
            raise IntegrityError("the vault was changed after it was written", where=where) from None
        if line["value"] != self._index.mac("value", scope, line["token"], text):
            raise IntegrityError("the vault was changed after it was written", where=where)
        return text

    def _lines(self, scope: str) -> Iterator[Mapping[str, Any]]:
        path = self.path(scope)
        if not path.exists():
            others = sorted(p.name for p in self.root.iterdir() if p.name != self.key_id) if self.root.is_dir() else []
            if others and not (self.root / self.key_id).exists():
                raise BadInputError(
                    f"the vault was written under key {', '.join(others)}, not {self.key_id}",
                    where=str(self.root),
                    fix="Use the keys it was written with.",
                )
            return
        for number, data in enumerate(path.read_bytes().split(b"\n"), start=1):
            if data:
                yield self._checked(data, f"{path}:{number}")

    def _checked(self, data: bytes, where: str) -> Mapping[str, Any]:
        try:
            line = loads_strict(data, where=where)
        except MalformedFileError:
            raise IntegrityError("not a line of the vault", where=where) from None
        fields = ("format", "key_id", "token", "value", "sealed")
        if not isinstance(line, dict) or sorted(line) != sorted(fields) or not all(isinstance(line[f], str) for f in fields):
            raise IntegrityError("not a line of the vault", where=where)
        if line["format"] != _FORMAT or line["key_id"] != self.key_id:
            raise IntegrityError("a line of another format or key", where=where)
        return line
