"""One exception class per cause, each with the exit code it ends the command line with.

A message is one line: what is wrong, where, and what to do. It never holds a value that could be personal.
"""

from __future__ import annotations

__all__ = [
    "BadInputError",
    "BadModelError",
    "BadSchemaError",
    "ChainBrokenError",
    "DistillGovError",
    "DuplicateIdError",
    "ForeignRunError",
    "HashMismatchError",
    "IncomparableKeysError",
    "IntegrityError",
    "MalformedFileError",
    "MissingExtraError",
    "MissingFileError",
    "NotSealedError",
    "NothingLeftError",
    "TeacherNotAdmittedError",
    "UnknownFormatError",
    "UnknownKeyError",
]


class DistillGovError(Exception):
    """Base of every error that distill-gov raises on purpose.

    Args:
        what: what is wrong, in words, without personal values.
        where: file, line and key as far as they are known.
        fix: what the reader can do about it.
    """

    exit_code = 5

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(": ".join(part for part in (where, what) if part) + (f". {fix}" if fix else ""))

    def __reduce__(self) -> tuple[object, ...]:
        # Workers send exceptions back pickled; the default would call the class with one positional argument only.
        return (_rebuild, (type(self), self.what, self.where, self.fix))


def _rebuild(cls: type[DistillGovError], what: str, where: str, fix: str) -> DistillGovError:
    return cls(what, where=where, fix=fix)


class BadInputError(DistillGovError):
    """What a person wrote or pointed to cannot be used."""

    exit_code = 2


class MissingFileError(BadInputError):
    """A named file or directory is not there."""


class MalformedFileError(BadInputError):
    """A file does not parse, or a value in it has the wrong shape."""


class UnknownKeyError(BadInputError):
    """A settings file holds a key that nothing reads."""


class UnknownFormatError(BadInputError):
    """A file is of a format or version that this release does not read."""


class DuplicateIdError(BadInputError):
    """Two items carry one id."""


class ForeignRunError(BadInputError):
    """A stage was done before, from other inputs."""


class IncomparableKeysError(BadInputError):
    """Keyed hashes of different keys were to be compared: that none are equal says nothing."""


class NotSealedError(BadInputError):
    """The holdout was not sealed before the build."""


class NothingLeftError(BadInputError):
    """Nothing came in, or everything was dropped."""


class BadModelError(BadInputError):
    """A path or name holds no model that can be loaded."""


class BadSchemaError(BadInputError):
    """A file is no JSON Schema, or one that is not supported."""


class MissingExtraError(BadInputError):
    """A command needs an optional part that is not installed."""


class TeacherNotAdmittedError(DistillGovError):
    """The teacher is under the policy's floor and must not teach."""

    exit_code = 1


class IntegrityError(DistillGovError):
    """Stored files contradict each other or what was recorded of them."""

    exit_code = 4


class HashMismatchError(IntegrityError):
    """A file's content differs from its recorded digest."""


class ChainBrokenError(IntegrityError):
    """The ledger's chain does not hold."""
