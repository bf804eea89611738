"""What redaction finds in a text, remembered for the length of one evaluation.

Every subject answers the same cases, and many of their replies are equal: without a memory the same text would go through the
language model for each of them. Nothing of it is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import DistillGovError
from distill_gov.stages.chats import with_issued

if TYPE_CHECKING:
    from redaction import Redactor

__all__ = ["MOST", "Detections"]

MOST = 20_000
"""Texts remembered; beyond it the oldest are forgotten."""

_BATCH = 256

Spans = tuple[tuple[int, int], ...]


class Detections:
    """Gives what the redactor gives, and looks at each text once."""

    def __init__(self, redactor: Redactor, most: int = MOST) -> None:
        self.redactor, self.most = redactor, most
        self._spans: dict[str, Spans] = {}

    def prepare(self, texts: Iterable[str]) -> None:
        """Look at texts together, which is cheaper. Whatever fails here is left for the call that needs it to fail on."""
        new = [text for text in dict.fromkeys(texts) if text not in self._spans]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            try:
                found = self.redactor.detect_many(batch)
            except DistillGovError:
                continue
            for text, detections in zip(batch, found, strict=True):
                self._remember(text, tuple((begin, end) for _, begin, end, _, _ in detections))

    def values(self, text: str) -> list[str]:
        """The personal values that a text holds.

        Raises:
            RecognizerFailedError, BadInputError: as :meth:`Redactor.detect`.
        """
        return [text[start:end] for start, end in self._found(text)]

    def last_redacted(
        self, messages: Sequence[Mapping[str, str]], *, item: str, stand_ins: frozenset[str] = frozenset()
    ) -> str:
        """The last message's content as :meth:`Redactor.redact_messages` leaves it, numbered over the whole chat.

        Args:
            stand_ins: what stands in the place of values in the messages; the last one may repeat them.

        Raises:
            RecognizerFailedError, BadInputError
        """
        if any(self._found(message["content"]) for message in messages):
            given = with_issued(messages, stand_ins) if stand_ins else messages
            clean: list[dict[str, Any]] = self.redactor.redact_messages(given, item=item).messages
            return str(clean[-1]["content"])
        # Redaction goes on from what its first pass finds, which looks at each text by itself: here at nothing.
        return messages[-1]["content"]

    def _found(self, text: str) -> Spans:
        if text in self._spans:
            return self._spans[text]
        return self._remember(text, tuple((start, end) for _, start, end, _, _ in self.redactor.detect(text)))

    def _remember(self, text: str, spans: Spans) -> Spans:
        while len(self._spans) >= self.most:
            del self._spans[next(iter(self._spans))]
        self._spans[text] = spans
        return spans
