"""Divergences of a student's distribution from its teacher's, by autograd: dense, top k with a tail bucket, and sampled.

Of the teacher p, the student q and a share beta (the convention of TRL and Liger; DistiLLM's ``lam`` is the opposite share):

- ``forward_kl``: KL(p || q) (Hinton et al. 2015);
- ``reverse_kl``: KL(q || p) (MiniLLM, Gu et al. 2024);
- ``jsd``: beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q (GKD, Agarwal et al. 2024). It tends to 0 as
  beta tends to 0 or 1, where others put the whole forward or reverse KL instead: a jump. Here beta lies strictly between them,
  and who wants a KL names it.

Every value is times T squared, so that the gradient's size hardly depends on the temperature (Hinton et al. 2015, section 2.1).

**A truncated top k is not offered**, nor one renormalised on the teacher's side or on both. Fitted to a teacher with 0.583 of
its mass on its top 50, a free student ends with 0.9999 there (truncated, or the teacher renormalised) or with 0.048 (both:
nothing is said of the rest); with the tail as one bucket it ends with 0.5832. Nor is the truncated sum a divergence: it goes
below 0.

Where the teacher gives nothing at all (``-inf``) the reverse KL would be infinite; its log-probability counts as
:data:`NOTHING`.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses.term import Term

__all__ = [
    "NOTHING",
    "Kind",
    "check_divergence",
    "check_ids",
    "dense_divergence",
    "draw_targets",
    "sampled_divergence",
    "shared_logits",
    "shared_vocabulary",
    "sparse_divergence",
]

Kind = Literal["forward_kl", "reverse_kl", "jsd"]

NOTHING = -20.0
"""Log-probability, in the reverse KL, of what the teacher excludes: a student's mass there costs 20 nats and no infinity."""

LEAST = -1e30
"""Stands in for ``-inf``: 0 times it is 0, and NaN in neither pass."""


def dense_divergence(
    logits: torch.Tensor, teacher: torch.Tensor, temperature: float, kind: Kind = "forward_kl", beta: float = 0.5
) -> Term:
    """Divergence over the whole vocabulary, times T squared.

    Args:
        logits: the student's, shape (positions, vocabulary), at temperature 1.
        teacher: its logits, or its log-probabilities at temperature 1, of the same shape.

    Raises:
        BadInputError: the vocabularies differ (:func:`shared_logits` cuts them), or see :func:`check_divergence`.
    """
    check_divergence(temperature, kind, beta)
    shared_vocabulary(logits.shape[1], teacher.shape[1])
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    logq = (at_least_float(logits) / temperature).log_softmax(1)
    logp = (at_least_float(teacher) / temperature).log_softmax(1).detach()
    return Term(_divergence(logp, logq, kind, beta).sum() * temperature**2, len(logits))


def sparse_divergence(
    logits: torch.Tensor,
    ids: torch.Tensor,
    logp: torch.Tensor,
    log_tail: torch.Tensor,
    temperature: float,
    kind: Kind = "forward_kl",
    beta: float = 0.5,
) -> Term:
    """Divergence over the teacher's top k and one bucket for all other tokens, times T squared.

    By data processing it is at most that over the whole vocabulary, and equal to it at k = V - 1. Where the teacher has no tail
    (its support is complete under the grammar) the bucket of the forward KL costs nothing by itself, but the mass in it is
    missing on the support. A position without support and tail costs nothing.

    Args:
        logits: the student's, shape (positions, vocabulary), at temperature 1.
        ids, logp: the teacher's tokens and log-probabilities at ``temperature``, shape (positions, k); ``-inf`` for none.
        log_tail: log of the teacher's mass outside ``ids``, shape (positions,); ``-inf`` for none.

    Raises:
        BadInputError: an id outside the vocabulary, or see :func:`check_divergence`.
    """
    check_divergence(temperature, kind, beta)
    check_ids(ids, logits.shape[1])
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    scaled = at_least_float(logits) / temperature
    target = torch.cat([logp, log_tail[:, None]], 1).to(scaled.dtype)
    logq = _bucketed(scaled, ids, torch.isfinite(logp)).log_softmax(1)
    taught = torch.isfinite(target).any(1)
    return Term((_divergence(target, logq, kind, beta) * taught).sum() * temperature**2, len(logits))


def sampled_divergence(logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor, temperature: float) -> Term:
    """Forward KL from a sample of the teacher's tokens, times T squared: random sampling KD (Anshumann et al. 2025).

    The sample's weights w are an unbiased estimate of the teacher's distribution, so the gradient, q - w, is one of the dense
    gradient. The value is KL(w || q): on average above the dense one by what the sample's entropy falls short of the teacher's,
    whatever the student. Other divergences are not linear in the teacher's distribution: a sample would bias them.

    Args:
        ids, weights: of :func:`draw_targets` at ``temperature``, shape (positions, draws); weight 0 where there is none.

    Raises:
        BadInputError: an id outside the vocabulary, or see :func:`check_divergence`.
    """
    check_divergence(temperature, "forward_kl", 0.5)
    check_ids(ids, logits.shape[1])
    if not len(logits):
        return Term(logits.sum() * 0.0, 0)
    scaled = at_least_float(logits) / temperature
    weights = weights.to(scaled.dtype)
    logq = (scaled.gather(1, ids) - scaled.logsumexp(1, keepdim=True)).clamp(min=LEAST)
    return Term((weights * (weights.log().clamp(min=LEAST) - logq)).sum() * temperature**2, len(logits))


def draw_targets(
    teacher: torch.Tensor, draws: int, temperature: float, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw tokens from the teacher with replacement: ids and weights, both of shape (positions, draws).

    A weight is the share of the draws that fell on the id. A token drawn twice stands once, and what remains has weight 0.

    Args:
        teacher: its logits or log-probabilities at temperature 1, shape (positions, vocabulary).

    Raises:
        BadInputError: no draw was asked for, or see :func:`check_divergence`.
    """
    check_divergence(temperature, "forward_kl", 0.5)
    if draws < 1:
        raise BadInputError(f"{draws} draws a position", fix="Draw at least one.")
    if not len(teacher):
        return torch.zeros(0, draws, dtype=torch.long), torch.zeros(0, draws)
    # In double precision: 150,000 shares of single precision do not add up to 1.
    drawn = torch.multinomial((teacher.double() / temperature).softmax(1), draws, replacement=True, generator=generator)
    drawn = drawn.sort(1).values
    first = torch.ones_like(drawn, dtype=torch.bool)
    first[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    place = first.cumsum(1) - 1
    ids = torch.zeros_like(drawn).scatter_reduce_(1, place, drawn, "amax")
    return ids, torch.zeros(drawn.shape, device=drawn.device).scatter_add_(1, place, torch.full(drawn.shape, 1.0 / draws))


# --- vocabularies


def shared_logits(
    student: torch.Tensor, teacher: torch.Tensor, vocabulary: int, ids: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both logits cut to the tokens that exist, before any softmax: models pad their heads, each to a width of its own.

    What is cut takes no part in either distribution; filling the narrower one up would give tokens that do not exist a mass.

    Args:
        vocabulary: of the tokenizer that both use. That two vocabularies of one size are the same is for their digests to say.
        ids: tokens that will be asked for.

    Raises:
        BadInputError: a head is narrower than the vocabulary, or an id lies outside it.
    """
    width = shared_vocabulary(student.shape[1], teacher.shape[1], vocabulary)
    if ids is not None:
        check_ids(ids, width)
    return student[:, :width], teacher[:, :width]


def shared_vocabulary(student: int, teacher: int, vocabulary: int | None = None) -> int:
    """How many tokens both heads score.

    Raises:
        BadInputError: the widths differ and no ``vocabulary`` is given, or it is wider than one of them.
    """
    if vocabulary is None and student != teacher:
        raise BadInputError(
            f"the student's head scores {student} tokens and the teacher's {teacher}", fix="Give the size of their tokenizer."
        )
    if vocabulary is not None and not 0 < vocabulary <= min(student, teacher):
        raise BadInputError(
            f"a vocabulary of {vocabulary} tokens, but heads of {student} (student) and {teacher} (teacher)",
            fix="Teacher and student must use one tokenizer, and score each of its tokens.",
        )
    return student if vocabulary is None else vocabulary


def check_ids(ids: torch.Tensor, vocabulary: int) -> None:
    """Refuse token ids that the student does not score.

    Raises:
        BadInputError: there is one.
    """
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= vocabulary):
        raise BadInputError(
            f"a target names a token outside the {vocabulary} that the student scores",
            fix="Capture the targets with its tokenizer.",
        )


def check_divergence(temperature: float, kind: str, beta: float) -> None:
    """Refuse what is no divergence.

    Raises:
        BadInputError: an unknown kind, a temperature that is not above 0, or a share that is not strictly between 0 and 1.
    """
    if kind not in get_args(Kind):
        raise BadInputError("no such divergence", fix=f"Take one of: {', '.join(get_args(Kind))}.")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise BadInputError(f"a temperature of {temperature}", fix="It must be above 0.")
    if not 0 < beta < 1:
        raise BadInputError(f"a beta of {beta}", fix="It lies between 0 and 1; for the ends take `forward_kl` or `reverse_kl`.")


# --- the mathematics


def at_least_float(x: torch.Tensor) -> torch.Tensor:
    """In single precision at least: a sum of 150,000 exponentials has two or three digits in half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _divergence(logp: torch.Tensor, logq: torch.Tensor, kind: Kind, beta: float) -> torch.Tensor:
    """Of every row, from log-probabilities; differentiable with respect to ``logq``."""
    excluded = torch.isneginf(logp)
    logp, logq = logp.clamp(min=LEAST), logq.clamp(min=LEAST)
    if kind == "forward_kl":
        return (logp.exp() * (logp - logq)).sum(1)
    if kind == "reverse_kl":
        return (logq.exp() * (logq - logp.masked_fill(excluded, NOTHING))).sum(1)
    logm = torch.logaddexp(logp + math.log(beta), logq + math.log1p(-beta))
    return beta * (logp.exp() * (logp - logm)).sum(1) + (1 - beta) * (logq.exp() * (logq - logm)).sum(1)


def _bucketed(scaled: torch.Tensor, ids: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Scores of the coarse distribution, shape (positions, k + 1): those at ``ids`` and, last, the log-sum-exp of all others.

    Summed over the tokens themselves: ``1 - mass`` would lose all its digits, and its gradient, where a student is sure.
    """
    support = torch.zeros_like(scaled, dtype=torch.bool)
    row, column = present.nonzero(as_tuple=True)
    support[row, ids[row, column]] = True
    rest = scaled.masked_fill(support, LEAST).logsumexp(1, keepdim=True)
    return torch.cat([scaled.gather(1, ids).masked_fill(~present, LEAST), rest], 1)
