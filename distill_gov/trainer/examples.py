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
    return TrainingExample(id, tuple(prompt), _bare(id, tokens), (-1,) * len(tokens), truth=True, kind="rationale")


def rejected(id: str, prompt: Sequence[int], start: Sequence[int], token: int) -> TrainingExample:
    """A row that teaches, by the term ``unlikelihood``, not to say a token after a prompt and the valid start of an answer."""
    tokens = (*start, token)
    return TrainingExample(id, tuple(prompt), _bare(id, tokens), (-1,) * len(tokens), truth=True, kind="rejected")


def _bare(id: str, tokens: Sequence[int]) -> SoftTargets:
    n = len(tokens)
    return SoftTargets.ragged(
        id, "", "full", 1.0, token_ids=tokens, field=[""] * n, forced=[False] * n, ids=[()] * n, logp=[()] * n,
        log_tail=[None] * n, log_allowed=[0.0] * n,
    )  # fmt: skip
