"""Representation hints: the student's hidden states against the teacher's, on the answer's positions.

Layers are counted as the ``hidden_states`` of transformers are: layer 1 is what the first layer gives (0, the embeddings, is
no hint). The last of them is what the final norm gives, so the student's last layer is like the teacher's last only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.losses.term import Term, widened

__all__ = ["Projections", "hidden_cosine", "hidden_mse", "layer_map"]


def hidden_mse(student: torch.Tensor, teacher: torch.Tensor, *, relative: bool = False) -> Term:
    """Squared error of each position's state, mean over the width (FitNets, Romero et al. 2015, equation 3; TinyBERT, Jiao et
    al. 2020, equation 8).

    Args:
        student, teacher: shape (n, width) each. The teacher's carries no gradient.
        relative: divide by the teacher's mean square at the position. States grow with depth, some of them a hundredfold: only
            so can one weight serve several layers. By position, not by batch, so that a step may be split.

    Raises:
        BadInputError: the shapes differ.
    """
    student, teacher = _states(student, teacher)
    error = ((student - teacher) ** 2).mean(1)
    if relative:
        error = error / (teacher**2).mean(1).clamp_min(torch.finfo(teacher.dtype).eps)
    return Term(error.sum(), len(student))


def hidden_cosine(student: torch.Tensor, teacher: torch.Tensor) -> Term:
    """1 - cosine of each position's states (DistilBERT, Sanh et al. 2019, section 3: their direction, whatever their length).

    Args:
        student, teacher: shape (n, width) each. The teacher's carries no gradient.

    Raises:
        BadInputError: the shapes differ.
    """
    student, teacher = _states(student, teacher)
    return Term((1 - nn.functional.cosine_similarity(student, teacher, dim=1)).sum(), len(student))


def _states(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if student.shape != teacher.shape:
        raise BadInputError(
            f"states of shape {tuple(student.shape)} cannot be held against states of shape {tuple(teacher.shape)}",
            fix="Where widths differ, a projection stands between.",
        )
    student = widened(student)
    return student, teacher.detach().to(student)


class Projections(nn.ModuleDict):
    """Learned maps from the student's width to the teacher's, one for each hinted layer, where the widths differ (FitNets'
    regressor, Romero et al. 2015, section 2.2; TinyBERT's W_h).

    They belong to the training, not to the student: saved beside its checkpoints, never in it. Orthogonal at the start (Saxe
    et al. 2014), so that lengths and angles of the states are first kept; without bias. Where the widths are the same there
    are none.

    Args:
        layers: the student's layers that have a hint.
        student_width, teacher_width: of the hidden states.
    """

    def __init__(self, layers: Sequence[int], student_width: int, teacher_width: int) -> None:
        super().__init__()
        if student_width == teacher_width:
            return
        for layer in layers:
            linear = nn.Linear(student_width, teacher_width, bias=False)
            nn.init.orthogonal_(linear.weight)
            self[str(layer)] = linear

    def forward(self, layer: int, states: torch.Tensor) -> torch.Tensor:
        """The states of a student's layer, shape (n, student's width), in the teacher's width.

        Raises:
            BadInputError: the layer has no projection.
        """
        if not len(self):
            return states
        if str(layer) not in self:
            raise BadInputError(f"there is no projection for layer {layer} of the student")
        projected: torch.Tensor = self[str(layer)](widened(states))
        return projected


def layer_map(
    student_layers: int,
    teacher_layers: int,
    taken: Sequence[int] | None = None,
    chosen: Mapping[int, int] | None = None,
) -> dict[int, int]:
    """Which of the teacher's layers each of the student's layers is held against, both counted from 1.

    Args:
        student_layers, teacher_layers: how many each has.
        taken: the teacher's layers, counted from 0, that the student was cut from; each is then held against the one it was.
        chosen: what the settings say; empty or ``None`` for none.
            With neither, layer m of M is held against layer m N / M of N, rounded (TinyBERT's uniform mapping, Jiao et al.
            2020, section 4.1), so the last against the last.

    Raises:
        BadInputError: a layer does not exist, the order is not kept, or ``taken`` is not one for each of the student's layers.
    """
    if student_layers < 1 or teacher_layers < 1:
        raise BadInputError(f"hints need layers on both sides: the student has {student_layers}, the teacher {teacher_layers}")
    if chosen:
        pairs = dict(sorted(chosen.items()))
    elif taken is not None:
        if len(taken) != student_layers:
            raise BadInputError(f"the student has {student_layers} layers but was cut from {len(taken)} of the teacher's")
        pairs = {i + 1: layer + 1 for i, layer in enumerate(taken)}
    else:
        pairs = {m: max(1, round(m * teacher_layers / student_layers)) for m in range(1, student_layers + 1)}
    _check(pairs, student_layers, teacher_layers)
    return pairs


def _check(pairs: Mapping[int, int], student_layers: int, teacher_layers: int) -> None:
    for student, teacher in pairs.items():
        for whose, layer, layers in (("student", student, student_layers), ("teacher", teacher, teacher_layers)):
            if not 1 <= layer <= layers:
                raise BadInputError(
                    f"hints name the {whose}'s layer {layer}; it has layers 1 to {layers}", where="losses.hidden.layers"
                )
    aims = list(pairs.values())
    if aims != sorted(aims):
        raise BadInputError(
            "hints map a later layer of the student to an earlier one of the teacher", where="losses.hidden.layers"
        )
