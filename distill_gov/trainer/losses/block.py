"""Some rows of scores, the gradient that the terms add up on them, and the closed forms they do it by."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from distill_gov.trainer.losses.divergence import LEAST, NOTHING, Kind

__all__ = ["At", "Block", "Scratch", "bucketed", "closed_form", "exponentials", "places"]

At = slice | torch.Tensor
"""Rows of a block: a slice where they are consecutive."""


def places(rows: torch.Tensor, device: torch.device) -> At:
    """Ascending rows as a slice where they are consecutive, which is read and written without a copy."""
    if rows.device.type == "cpu":
        first, last = int(rows[0]), int(rows[-1])
        if last - first == len(rows) - 1 and (len(rows) == 1 or bool((rows.diff() == 1).all())):
            return slice(first, last + 1)
    return rows.to(device)


class Scratch:
    """Buffers that are written anew, again and again: on a CPU fresh memory costs several times the arithmetic on it.

    Args:
        kept: whether they stay; else every tensor is a fresh one, and gone when nobody holds it.
    """

    def __init__(self, rows: int, vocabulary: int, *, kept: bool) -> None:
        self._shape, self._kept, self._buffers, self._given = (rows, vocabulary), kept, list[torch.Tensor](), 0

    def of(self, rows: int, like: torch.Tensor) -> torch.Tensor:
        """So many rows of numbers of its type, anything in them. It is another's after :meth:`again`."""
        if not self._kept or rows > self._shape[0]:
            return like.new_empty(rows, self._shape[1])
        if self._given == len(self._buffers):
            self._buffers.append(like.new_empty(self._shape))
        self._given += 1
        return self._buffers[self._given - 1][:rows]

    def again(self) -> None:
        self._given = 0


class Block:
    """Some rows of scores while the terms work on them. Their gradient takes their place in the end."""

    def __init__(self, scores: torch.Tensor, scratch: Scratch) -> None:
        scratch.again()
        self.scores, self._scratch = scores, scratch
        self.teacher = scores[:0]
        """The teacher's scores at the entries of the term that works at the moment, to be overwritten."""
        self._gradient: torch.Tensor | None = None
        self._softmax: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._share = torch.zeros(len(scores), dtype=scores.dtype, device=scores.device)

    @property
    def whole(self) -> torch.Tensor:
        """Log-sum-exp of every row at temperature 1; computed once for all terms."""
        if self._softmax is None:
            self._softmax = exponentials(self.own(slice(0, len(self.scores))))
        return self._softmax[0]

    def own(self, at: At, temperature: float = 1.0) -> torch.Tensor:
        """The scores of the rows ``at``, divided by the temperature, to be overwritten."""
        if isinstance(at, slice):
            return torch.div(self.scores[at], temperature, out=self.room(self.scores[at]))
        return torch.index_select(self.scores, 0, at, out=self._scratch.of(len(at), self.scores)).div_(temperature)

    def room(self, like: torch.Tensor) -> torch.Tensor:
        """A tensor of that shape, anything in it, until the block is finished."""
        return self._scratch.of(len(like), like)

    def add(self, at: At, slope: torch.Tensor) -> None:
        """Add to the gradient of the rows ``at``; ``slope`` is a fresh tensor, which this may keep."""
        if self._gradient is None and isinstance(at, slice) and len(slope) == len(self.scores):
            self._gradient = slope
        elif isinstance(at, slice):
            self._given()[at] += slope
        else:
            self._given().index_add_(0, at, slope)

    def add_picked(self, at: At, ids: torch.Tensor, slope: torch.Tensor) -> None:
        """Add to the gradient at some tokens of the rows ``at``; both shapes (rows, k)."""
        if isinstance(at, slice):
            self._given()[at].scatter_add_(1, ids, slope)
        else:
            self._given().index_put_((at[:, None].expand_as(ids), ids), slope, accumulate=True)

    def add_softmax(self, at: At, share: torch.Tensor) -> None:
        """Add the softmax of the rows ``at``, times ``share`` (rows,): once for all terms, in :meth:`finish`."""
        if isinstance(at, slice):
            self._share[at] += share
        else:
            self._share.index_add_(0, at, share)

    def finish(self) -> None:
        if self._softmax is not None:
            _, exponentials, mass = self._softmax
            self.add(slice(0, len(mass)), exponentials.mul_((self._share / mass)[:, None]))
        if self._gradient is None:
            self.scores.zero_()
        else:
            self.scores.copy_(self._gradient)

    def _given(self) -> torch.Tensor:
        if self._gradient is None:
            self._gradient = self.room(self.scores).zero_()
        return self._gradient


# --- closed forms


def exponentials(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-sum-exp of every row; exp(x - its largest), in place of x; and their sum, at least 1 unless all are ``-inf``."""
    largest = x.amax(1).clamp_(min=LEAST)
    x.sub_(largest[:, None]).exp_()
    mass = x.sum(1).clamp_(min=torch.finfo(x.dtype).tiny)
    return largest + mass.log(), x, mass


def bucketed(scaled: torch.Tensor, ids: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coarse scores, shape (rows, k + 1), and the exponentials outside the support with their sum. ``scaled`` is overwritten.

    The last coarse score is the log-sum-exp of all tokens outside. The log-softmax of the coarse scores is the coarse
    log-distribution: nothing else of a row is needed.
    """
    picked = torch.where(present, scaled.gather(1, ids), LEAST)
    # A minimum, so that an absent entry, whose id is any, cannot bring a present one back.
    gone = torch.where(present, -math.inf, math.inf).to(scaled.dtype)
    outside, shares, mass = exponentials(scaled.scatter_reduce_(1, ids, gone, "amin"))
    return torch.cat([picked, outside[:, None]], 1), shares, mass


def closed_form(
    logp: torch.Tensor,
    logq: torch.Tensor,
    kind: Kind,
    beta: float,
    room: Callable[[torch.Tensor], torch.Tensor] = torch.empty_like,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Divergence of every row, and its gradient with respect to the student's scores (whose log-softmax ``logq`` is).

    With a the summand's derivative by q, the gradient is q (a - E_q a); of the forward KL that is q sum(p) - p. Both are
    overwritten; ``room`` gives tensors to write in.
    """
    if kind == "reverse_kl":
        logp.masked_fill_(torch.isneginf(logp), NOTHING)
    logp, logq = logp.clamp_(min=LEAST), logq.clamp_(min=LEAST)
    q = torch.exp(logq, out=room(logq))
    if kind == "reverse_kl":
        gap = logq.sub_(logp)
        value = torch.mul(q, gap, out=logp).sum(1)
        return value, gap.sub_(value[:, None]).mul_(q)
    p = torch.exp(logp, out=room(logp))
    if kind == "forward_kl":
        value = logp.sub_(logq).mul_(p).sum(1)
        return value, q.mul_(p.sum(1, keepdim=True)).sub_(p)
    mixed = torch.logaddexp(logp + math.log(beta), logq + math.log1p(-beta))
    gap = logq.sub_(mixed)
    mean = (q * gap).sum(1)
    value = beta * logp.sub_(mixed).mul_(p).sum(1) + (1 - beta) * mean
    return value, gap.sub_(mean[:, None]).mul_(q).mul_(1 - beta)
