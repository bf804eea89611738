"""Some rows of scores, the gradient that the terms add up on them, and the closed forms they do it by."""

from __future__ import annotations

import math

import torch

from distill_gov.trainer.losses.divergence import LEAST, NOTHING, Kind

__all__ = ["At", "Block", "bucketed", "closed_form", "exponentials", "places"]

At = slice | torch.Tensor
"""Rows of a block: a slice where they are consecutive."""


def places(rows: torch.Tensor, device: torch.device) -> At:
    """Ascending rows as a slice where they are consecutive, which is read and written without a copy."""
    if rows.device.type == "cpu":
        first, last = int(rows[0]), int(rows[-1])
        if last - first == len(rows) - 1 and (len(rows) == 1 or bool((rows.diff() == 1).all())):
            return slice(first, last + 1)
    return rows.to(device)


class Block:
    """Some rows of scores while the terms work on them. Their gradient takes their place in the end."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores
        self.teacher = scores[:0]
        """The teacher's scores at the entries of the term that works at the moment."""
        self._gradient: torch.Tensor | None = None
        self._softmax: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._share = torch.zeros(len(scores), dtype=scores.dtype, device=scores.device)

    @property
    def whole(self) -> torch.Tensor:
        """Log-sum-exp of every row at temperature 1; computed once for all terms."""
        if self._softmax is None:
            self._softmax = exponentials(self.scores.clone())
        return self._softmax[0]

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
            self._gradient = torch.zeros_like(self.scores)
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


def closed_form(logp: torch.Tensor, logq: torch.Tensor, kind: Kind, beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Divergence of every row, and its gradient with respect to the student's scores (whose log-softmax ``logq`` is).

    With a the summand's derivative by q, the gradient is q (a - E_q a); of the forward KL that is q sum(p) - p.
    """
    excluded = torch.isneginf(logp)
    logp, logq = logp.clamp(min=LEAST), logq.clamp(min=LEAST)
    q = logq.exp()
    if kind == "reverse_kl":
        gap = logq.sub_(logp.masked_fill_(excluded, NOTHING))
        value = (q * gap).sum(1)
        return value, gap.sub_(value[:, None]).mul_(q)
    p = logp.exp()
    if kind == "forward_kl":
        value = (p * logp.sub_(logq)).sum(1)
        return value, q.mul_(p.sum(1, keepdim=True)).sub_(p)
    mixed = torch.logaddexp(logp + math.log(beta), logq + math.log1p(-beta))
    gap = logq.sub_(mixed)
    mean = (q * gap).sum(1)
    value = beta * (p * logp.sub_(mixed)).sum(1) + (1 - beta) * mean
    return value, gap.sub_(mean[:, None]).mul_(q).mul_(1 - beta)
