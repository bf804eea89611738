"""What one row of the training is: a prompt and what is taught, or untaught, behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from distill_gov.teachers.soft_targets import SoftTargets

__all__ = ["TrainingExample", "rationale", "rejected"]


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One supervised answer, as token ids."""

    id: str
    prompt: tuple[int, ...]
    targets: SoftTargets
    masks: tuple[int, ...]
    """Index into the table of grammar masks, one a position; -1 where the position is forced or has no grammar."""
    truth: bool
    """Whether the answer is a reference (its label is the truth) or the teacher's (its distribution is)."""
    kind: Literal["answer", "rationale", "rejected"] = "answer"
    """``rationale``: every token of ``targets`` is taught by the term of that name. ``rejected``: the last token is one with
    which a sample of the student's own left the grammar, the ones before it are its valid start; see :func:`rejected`."""
    of: str = ""
    """What it answers, where others may answer the same: of those, each epoch is taught one. Empty: nothing else does."""
    gold: bool = False
    """Whether it is of the gold set."""


def rationale(id: str, prompt: Sequence[int], tokens: Sequence[int]) -> TrainingExample:
    """A row of reasoning: its tokens, the final EOS among them, are taught by the term ``rationale`` and by no other."""
    return _of_tokens(id, prompt, tokens, "rationale")


def rejected(id: str, prompt: Sequence[int], start: Sequence[int], token: int) -> TrainingExample:
    """A row that teaches, by the term ``unlikelihood``, not to say a token after a prompt and the valid start of an answer."""
    return _of_tokens(id, prompt, (*start, token), "rejected")


def _of_tokens(
    id: str, prompt: Sequence[int], tokens: Sequence[int], kind: Literal["rationale", "rejected"]
) -> TrainingExample:
    targets = SoftTargets.unscored(id, tokens)
    return TrainingExample(id, tuple(prompt), targets, (-1,) * len(tokens), truth=True, kind=kind)
