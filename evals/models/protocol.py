"""What a model gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

__all__ = ["Answer", "Answerer", "Continuer", "LabelDistribution", "Weigher"]


@dataclass(frozen=True, slots=True)
class LabelDistribution:
    """Log-probabilities of a decision field's labels, renormalised over the labels."""

    field: str
    labels: tuple[str, ...]
    logp: tuple[float, ...]
    """At the field's temperature."""
    raw_logp: tuple[float, ...] = ()
    """At temperature 1; empty where it was not looked at."""

    @property
    def best(self) -> str:
        return self.labels[max(range(len(self.labels)), key=lambda i: (self.logp[i], -i))]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    text: str
    token_ids: tuple[int, ...]
    finish: Literal["stop", "length"]
    decisions: tuple[LabelDistribution, ...] = ()
    logp: float | None = None
    """Sum of the log-probabilities of ``token_ids`` where they were decoded freely; None where nobody knows it."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """``first_token_s`` and ``last_token_s`` where they were measured alone, one request at a time."""


class Answerer(Protocol):
    """Anything that answers redacted messages."""

    def answer(self, batch: Sequence[Sequence[Mapping[str, str]]], *, decoding: str) -> list[Answer]:
        """Answer chats (each a list of role/content messages) in the order given; ``decoding`` is ``grammar`` or ``free``."""
        ...


@runtime_checkable
class Continuer(Protocol):
    """What goes on with a text that stands in no template."""

    def go_on(self, texts: Sequence[str]) -> list[Answer]: ...


@runtime_checkable
class Weigher(Protocol):
    """What tells how likely given answers are."""

    def weigh(self, batch: Sequence[Sequence[Mapping[str, str]]], choices: Sequence[Sequence[str]]) -> list[list[float]]:
        """For each chat the log-likelihood of each of its choices as the answer (sum over its tokens, natural logarithm)."""
        ...
