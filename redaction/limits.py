"""What a text must be to be looked at, and under which reason code it is refused otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator

from distill_gov.records.errors import BadInputError, DistillGovError, MalformedFileError
from redaction.documents import NestedTooDeepError

__all__ = [
    "NoTextError",
    "NotUnicodeError",
    "RecognizerFailedError",
    "RecognizerTimeoutError",
    "TextTooLongError",
    "pieces",
    "reason_of",
    "refusal",
]

_SURROGATE = re.compile("[\ud800-\udfff]")
_PIECE = 20_000
"""Characters that the language model reads at once: what it needs of memory grows with them."""


class TextTooLongError(BadInputError):
    """A text is longer than the policy's ``max_chars``."""


class NotUnicodeError(BadInputError):
    """A text holds half of a surrogate pair."""


class NoTextError(BadInputError):
    """What should be a text is none."""


class RecognizerFailedError(DistillGovError):
    """A recogniser failed on a text, so the text is not known to be clean."""


class RecognizerTimeoutError(RecognizerFailedError):
    """A recogniser took too long on a text."""


_REASONS: tuple[tuple[type[DistillGovError], str], ...] = (
    (TextTooLongError, "too_long"),
    (NotUnicodeError, "not_unicode"),
    (NestedTooDeepError, "nested_too_deep"),
    (NoTextError, "malformed"),
    (MalformedFileError, "malformed"),
    (RecognizerTimeoutError, "recogniser_timed_out"),
)


def reason_of(error: DistillGovError) -> str:
    """Reason code of why something could not be redacted; ``recogniser_failed`` where it is none of the others."""
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "recogniser_failed")


def refusal(text: object, max_chars: int) -> BadInputError | None:
    """Why a text is not looked at, without having looked at all of it; None where it is."""
    if not isinstance(text, str):
        return NoTextError(f"{type(text).__name__} is no text", fix="Decode it.")
    if len(text) > max_chars:
        return TextTooLongError(f"text is longer than {max_chars} characters", fix="Split it, or raise `max_chars`.")
    if _SURROGATE.search(text):
        return NotUnicodeError("text holds half of a surrogate pair, so it is no valid Unicode", fix="Mend the encoding.")
    return None


def pieces(text: str) -> Iterator[str]:
    """A text cut for the language model: behind the end of a line, a sentence or a word, and anywhere where there is none."""
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        cuts = (text.rfind(mark, start + _PIECE // 2, end) for mark in ("\n", ". ", " "))
        cut = next((at for at in cuts if at >= 0), end - 1) + 1
        yield text[start:cut]
        start = cut
    yield text[start:]
