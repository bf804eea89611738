"""Terms that train a decision's confidence: scores of each decision, and statistics of many.

A *decision* is a position where the student chooses one of a field's labels. Its *label scores* are the logits of the labels'
tokens alone, shape (n, k), so a confidence is renormalised over the labels. Where a decision has fewer labels than k, the
scores are padded with ``-inf`` and the targets with ``-1``; a row of padding only is no decision and is left out.

``brier`` and ``confidence_penalty`` score each decision by itself. ``sb_ece``, ``label_binned_ece``, ``mmce`` and
``mmce_weighted`` are statistics: they need many decisions (on perfectly calibrated data an ECE of 15 bins averages 0.25 at 16
decisions and still 0.08 at 256), more than a batch has. A :class:`DecisionQueue` holds those of former steps.

How a statistic S is trained over a queue of Q decisions:

- Each present decision i is put to the queue *by itself*: its loss is S_i = S(queue and i), N = Q + 1 decisions.
- The queue stays the same for a whole optimiser step (:meth:`DecisionQueue.collect` during it, :meth:`DecisionQueue.step` at
  its end). So a term is a plain sum over decisions, like a cross-entropy: value and gradient of a step are the same however its
  decisions are split into micro-batches or over processes, and whatever order they come in.
- The value is S_i; the gradient is N dS_i/dr_i. A decision moves S only by its share 1/N. That of the queue's, which carry no
  gradient any more, is estimated by the present ones: of the N decisions' gradients, sum_j dS/dr_j, the mean over the
  present ones times N is an unbiased estimate if decisions come in random order. So the length of the queue changes
  how noisy the gradient is, not how large, and with a queue of none it is the gradient of S itself.
- What it is *not*: the gradient of S over the step's decisions joined. Present decisions do not see each other; the difference
  is of the order of (decisions in the step) / Q. And the queue's confidences are older than the weights, by Q / (decisions in a
  step) steps.
- Until the queue is full, the term is 0: the statistic of a few decisions is mostly noise.

Without a queue (``queue=None``) a statistic is taken over the given decisions, all of them live; then it is a property of
the batch, and does depend on how a step is split.

Correctness carries no gradient anywhere: it is a fact about the decision, and its argmax has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import torch

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses.term import Term, widened

__all__ = [
    "DecisionQueue",
    "brier",
    "confidence_penalty",
    "decided",
    "label_binned_ece",
    "mmce",
    "mmce_weighted",
    "sb_ece",
]

KERNEL_WIDTH = 0.4
"""Of the Laplacian kernel exp(-|r - r'| / 0.4) (Kumar et al. 2018)."""


def brier(scores: torch.Tensor, target: torch.Tensor) -> Term:
    """Brier score of each decision, sum_k (p_k - y_k)^2 (Brier 1950).

    A strictly proper score: least, in expectation, where the student's probabilities are right; so it trains calibration
    without bins, batches or queues.

    Args:
        scores: label scores, shape (n, k), padded with ``-inf``.
        target: probability of each label, shape (n, k), padded with -1.

    Raises:
        BadInputError: the shapes differ.
    """
    scores, target = _decisions(scores, target)
    gap = torch.where(target >= 0, scores.softmax(1) - target, torch.zeros_like(scores))
    return Term((gap**2).sum(), len(scores))


def confidence_penalty(scores: torch.Tensor) -> Term:
    """Negative entropy over the labels of each decision, sum_k p_k log p_k (Pereyra et al. 2017).

    Never positive; least, -log k, where the student is indifferent. It does not know what is right: a brake, not a calibration.

    Args:
        scores: label scores, shape (n, k), padded with ``-inf``.
    """
    scores, _ = _decisions(scores, torch.where(torch.isneginf(scores), -1.0, 0.0))
    present = ~torch.isneginf(scores)
    logp = torch.where(present, scores.log_softmax(1), torch.zeros_like(scores))
    return Term((torch.where(present, logp.exp(), torch.zeros_like(logp)) * logp).sum(), len(scores))


def decided(scores: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each decision's confidence (the largest probability, live) and correctness (without gradient), both of shape (n,).

    Correctness is the target's probability of the label that the student chose: 1 or 0 where the target is a reference; where
    it is a teacher's distribution, how probably the label is right as far as the teacher knows. Every statistic here is linear
    or quadratic in it, so a probability does what many such decisions would do on average to each bin's accuracy.

    Args:
        scores, target: as for :func:`brier`. Rows of padding only are left out, so n may become less.

    Raises:
        BadInputError: the shapes differ.
    """
    scores, target = _decisions(scores, target)
    if not len(scores):
        return scores.sum(1), scores.detach().sum(1)
    chosen = scores.detach().argmax(1, keepdim=True)
    return scores.softmax(1).gather(1, chosen)[:, 0], target.gather(1, chosen)[:, 0]


def _decisions(scores: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in one type of at least float32, without the rows that have no label; padding becomes ``-inf`` and -1."""
    if scores.shape != target.shape:
        raise BadInputError(f"label scores of shape {tuple(scores.shape)} have targets of shape {tuple(target.shape)}")
    scores, target = widened(scores), target.detach()
    absent = target < 0
    some = ~absent.all(1)
    absent = absent[some]
    return scores[some].masked_fill(absent, float("-inf")), target[some].to(scores.dtype).masked_fill(absent, -1.0)


class DecisionQueue:
    """Confidence and correctness of the last decisions, without gradient: what a statistic is taken over.

    It holds whole optimiser steps: the last ones that have at least ``size`` decisions together. So which decisions it holds
    does not depend on their order within a step, hence neither on micro-batches nor on processes.

    Args:
        size: decisions to hold at the least, once full.

    Raises:
        BadInputError: ``size`` is less than 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise BadInputError(f"a queue of {size} decisions holds none")
        self.size = size
        self._steps: deque[torch.Tensor] = deque()
        self._collected: list[torch.Tensor] = []

    def __len__(self) -> int:
        """Decisions of finished steps."""
        return sum(map(len, self._steps))

    @property
    def full(self) -> bool:
        """Whether statistics are taken over it."""
        return len(self) >= self.size

    @property
    def decisions(self) -> torch.Tensor:
        """Confidence and correctness, shape (decisions, 2), oldest first."""
        return torch.cat(list(self._steps)) if self._steps else torch.zeros(0, 2)

    def collect(self, confidence: torch.Tensor, correct: torch.Tensor) -> None:
        """Keep a micro-batch's decisions, both of shape (n,), for the end of the step."""
        self._collected.append(torch.stack([confidence.detach(), correct.detach().to(confidence)], 1))

    def step(self, gather: Callable[[torch.Tensor], torch.Tensor] = lambda decisions: decisions) -> None:
        """End the optimiser step: its decisions enter, the oldest steps that are not needed any more leave.

        Args:
            gather: with several processes, gives all of their decisions (n, 2) for this one's; called once a step, also where
                this process has none, so that every process holds the same queue.
        """
        new = gather(torch.cat(self._collected) if self._collected else torch.zeros(0, 2))
        self._collected.clear()
        if len(new):
            self._steps.append(new)
        while self._steps and len(self) - len(self._steps[0]) >= self.size:
            self._steps.popleft()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to have the same losses: taken between two steps."""
        return {"size": self.size, "lengths": [len(step) for step in self._steps], "decisions": self.decisions.cpu()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a queue's state; decisions collected so far are forgotten.

        Raises:
            BadInputError: the state is of a queue of another size, or is none.
        """
        if set(state) != {"size", "lengths", "decisions"} or sum(state["lengths"]) != len(state["decisions"]):
            raise BadInputError("the saved queue of decisions is damaged", fix="Resume from another checkpoint.")
        if state["size"] != self.size:
            raise BadInputError(
                f"the saved queue is of {state['size']} decisions, the settings ask for {self.size}",
                fix="Resume with the settings that the run was started with.",
            )
        self._collected.clear()
        self._steps = deque(state["decisions"].clone().split(state["lengths"]) if state["lengths"] else ())


def sb_ece(
    confidence: torch.Tensor,
    correct: torch.Tensor,
    queue: DecisionQueue | None = None,
    *,
    bins: int = 15,
    temperature: float = 0.01,
) -> Term:
    """Soft-binned expected calibration error, L2 (Karandikar et al. 2021, equation 11 with p = 2).

    sqrt(sum_m (S_m / N) (mean confidence of bin m - mean correctness of bin m)^2), where a decision is in bin m by the share
    softmax_m(-(r - centre_m)^2 / temperature), S_m is the sum of shares, and centres lie at (m + 1/2) / bins.

    As ``temperature`` goes to 0 it becomes the L2 error of hard bins, and its gradient blind to the bins' borders.

    Args:
        confidence, correct: of the present decisions, shape (n,) each; see :func:`decided`.
        queue: the decisions that each of them is put to; ``None``: they are taken together. See this module.
    """

    def error(sums: torch.Tensor, n: int) -> torch.Tensor:
        share, confident, right, _ = sums
        gap = (confident - right) / share.clamp_min(_floor(share))
        return _root((gap**2 * share).sum(-1) / n)

    return _binned(error, confidence, correct, queue, bins, temperature)


def label_binned_ece(
    confidence: torch.Tensor,
    correct: torch.Tensor,
    queue: DecisionQueue | None = None,
    *,
    bins: int = 15,
    temperature: float = 0.01,
) -> Term:
    """Soft-binned, label-binned expected calibration error, L2 (Karandikar et al. 2021, equation 12 with p = 2).

    sqrt((1 / N) sum_i sum_m share_im (mean correctness of bin m - r_i)^2): each confidence is held against its bins'
    correctness by itself, so errors within a bin do not cancel. Arguments as for :func:`sb_ece`. The authors' code lays bins
    from 1/k to 1; here from 0.
    """

    def error(sums: torch.Tensor, n: int) -> torch.Tensor:
        share, confident, right, squared = sums
        accuracy = right / share.clamp_min(_floor(share))
        return _root((squared - 2 * accuracy * confident + accuracy**2 * share).sum(-1) / n)

    return _binned(error, confidence, correct, queue, bins, temperature)


def _binned(
    error: Callable[[torch.Tensor, int], torch.Tensor],
    confidence: torch.Tensor,
    correct: torch.Tensor,
    queue: DecisionQueue | None,
    bins: int,
    temperature: float,
) -> Term:
    if bins < 1 or not temperature > 0:
        raise BadInputError(f"soft bins need at least one bin and a temperature above 0, not {bins} and {temperature}")
    own = _sums(confidence, correct, bins, temperature)
    others = _others(confidence, queue)
    if queue is None:
        return _together(error(own.sum(1), max(1, len(confidence))), confidence)
    if others is None:
        return _silent(confidence)
    rest = _sums(others[:, 0], others[:, 1], bins, temperature).sum(1, keepdim=True)
    return _apart(error(rest + own, len(others) + 1), len(others) + 1)


def _sums(confidence: torch.Tensor, correct: torch.Tensor, bins: int, temperature: float) -> torch.Tensor:
    """Shares of bins, and confidence, correctness and squared confidence by share, shape (4, n, bins); sums of them are all
    that a binned error needs."""
    centres = (torch.arange(bins, device=confidence.device, dtype=confidence.dtype) + 0.5) / bins
    share = (-((confidence[:, None] - centres) ** 2) / temperature).softmax(1)
    of = [torch.ones_like(confidence), confidence, correct.detach().to(confidence), confidence**2]
    return torch.stack([share * x[:, None] for x in of])


def mmce(confidence: torch.Tensor, correct: torch.Tensor, queue: DecisionQueue | None = None) -> Term:
    """Maximum mean calibration error, squared (Kumar, Sarawagi and Jain 2018).

    (1 / N^2) sum_ij (c_i - r_i) (c_j - r_j) exp(-|r_i - r_j| / 0.4). Trained on the square: the root's slope has no bound at 0.

    Args:
        confidence, correct, queue: as for :func:`sb_ece`.
    """
    return _kernelled(confidence, correct, queue, lambda r, c, n, right: (c - r) / n)


def mmce_weighted(confidence: torch.Tensor, correct: torch.Tensor, queue: DecisionQueue | None = None) -> Term:
    """MMCE squared, the right and the wrong decisions weighted equally (Kumar, Sarawagi and Jain 2018: MMCE_w).

    As :func:`mmce`, with (1 - r) / (number of right ones) for a right decision and -r / (number of wrong ones) for a wrong
    one, in place of (c - r) / N. A student that is nearly always right learns from its few errors; the price is that it is not
    0 at perfect calibration.
    """

    def gap(r: torch.Tensor, c: torch.Tensor, n: int, right: torch.Tensor) -> torch.Tensor:
        wrong = n - right
        one = torch.ones_like(right)
        # Where none is right (or wrong), the numerators below are 0 too.
        return c * (1 - r) / torch.where(right > 0, right, one) - (1 - c) * r / torch.where(wrong > 0, wrong, one)

    return _kernelled(confidence, correct, queue, gap)


Gap = Callable[[torch.Tensor, torch.Tensor, int, torch.Tensor], torch.Tensor]
"""A decision's part in the mean embedding, by confidences, correctness, how many decisions there are and how many are right."""


def _kernelled(confidence: torch.Tensor, correct: torch.Tensor, queue: DecisionQueue | None, gap: Gap) -> Term:
    correct = correct.detach().to(confidence)
    others = _others(confidence, queue)
    if queue is None:
        u = gap(confidence, correct, len(confidence), correct.sum())
        return _together(u @ _kernel(confidence, confidence) @ u, confidence)
    if others is None:
        return _silent(confidence)
    r, c = others.unbind(1)
    n = len(others) + 1
    right = c.sum() + correct
    own = gap(confidence, correct, n, right)
    rest = gap(r[None], c[None], n, right[:, None])
    # u'Ku by blocks: the queue with itself, the decision with the queue, the decision with itself (whose kernel is 1).
    among = (rest @ _kernel(r, r) * rest).sum(1)
    across = 2 * own * (_kernel(confidence, r) * rest).sum(1)
    return _apart(among + across + own**2, n)


def _kernel(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (-(one[:, None] - other).abs() / KERNEL_WIDTH).exp()


def _others(confidence: torch.Tensor, queue: DecisionQueue | None) -> torch.Tensor | None:
    return queue.decisions.to(confidence) if queue is not None and queue.full else None


def _silent(confidence: torch.Tensor) -> Term:
    return Term(confidence.sum() * 0.0, len(confidence))


def _together(statistic: torch.Tensor, confidence: torch.Tensor) -> Term:
    """A statistic of the present decisions, as a term whose mean it is."""
    return Term(statistic * len(confidence), len(confidence)) if len(confidence) else _silent(confidence)


def _apart(statistics: torch.Tensor, n: int) -> Term:
    """Statistics of n decisions, of which one is present in each: their sum, with the gradient of all n."""
    return Term((statistics.detach() + n * (statistics - statistics.detach())).sum(), len(statistics))


def _floor(values: torch.Tensor) -> float:
    """Below this, a share of a bin counts as none: squares of it would not be numbers any more."""
    return float(torch.finfo(values.dtype).tiny ** 0.5)


def _root(squared: torch.Tensor) -> torch.Tensor:
    """Square root whose slope is 0, not infinite, at 0."""
    return squared.clamp_min(_floor(squared)).sqrt()
