"""Contrastive objective: a student's state of an answer is nearest to the teacher's state of the same answer."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses.term import Term, widened

__all__ = ["info_nce", "pooled"]


def info_nce(student: torch.Tensor, teacher: torch.Tensor, *, temperature: float = 0.1) -> Term:
    """InfoNCE (van den Oord et al. 2018, equation 4) from the student's states to the teacher's, as representation
    distillation uses contrast (CRD, Tian et al. 2020).

    Per answer, -log softmax_j(cos(s_i, t_j) / temperature) at j = i: the other answers of the batch are the negatives, so it
    is a property of the batch, and depends on how a step is split into micro-batches. A batch of one has no negatives: 0.
    Two answers with the same text in a batch repel each other though they should not; at large batches of few texts, prefer
    hints.

    Args:
        student, teacher: pooled states, shape (answers, width) each (see :func:`pooled`; projected where widths differ). The
            teacher's carries no gradient.
        temperature: of the cosines; smaller heeds the nearest negatives more.

    Raises:
        BadInputError: the shapes differ, or the temperature is not above 0.
    """
    if student.shape != teacher.shape:
        raise BadInputError(
            f"states of shape {tuple(student.shape)} cannot be held against states of shape {tuple(teacher.shape)}",
            fix="Where widths differ, a projection stands between.",
        )
    if not temperature > 0:
        raise BadInputError(f"a temperature of {temperature} is not above 0")
    student = widened(student)
    if len(student) < 2:
        return Term(student.sum() * 0.0, len(student))
    likeness = normalize(student, dim=1) @ normalize(teacher.detach().to(student), dim=1).T / temperature
    return Term((likeness.logsumexp(1) - likeness.diagonal()).sum(), len(student))


def pooled(states: torch.Tensor, answer: torch.Tensor, answers: int) -> torch.Tensor:
    """Mean state of each answer, shape (answers, width); zeros for one without a position.

    Args:
        states: of the answers' positions, shape (n, width).
        answer: which answer each position is of, from 0, shape (n,).
    """
    states = widened(states)
    length = torch.zeros(answers, device=states.device, dtype=states.dtype).index_add(0, answer, torch.ones_like(states[:, 0]))
    total = torch.zeros(answers, states.shape[1], device=states.device, dtype=states.dtype).index_add(0, answer, states)
    return total / length.clamp_min(1)[:, None]
