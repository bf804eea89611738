"""A teacher that runs along with the student, on the same input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from distill_gov.records.errors import BadInputError
from distill_gov.trainer.supervised_head import head_is_last, head_replaced, output_head

__all__ = ["OnlineTeacher", "TeacherStates"]


@dataclass(frozen=True, slots=True)
class TeacherStates:
    """What a teacher thought of a batch; without gradient."""

    at_head: torch.Tensor
    """What its head sees at the places asked for, shape (places, width)."""
    layers: tuple[torch.Tensor, ...]
    """Hidden states (rows, positions, width), the embeddings first; empty where they were not asked for."""


class OnlineTeacher:
    """A causal model of the student's tokenizer, without gradient and dropout. It is not part of what is trained: neither
    wrapped, nor in the optimiser, nor saved.

    Raises:
        BadInputError: its logits are not its head's product alone.
    """

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        head: Any = output_head(model)
        if not head_is_last(model) or head.bias is not None:
            raise BadInputError(
                "this teacher's logits are not its head's product alone, so it cannot run along with the student",
                fix="Teach from the cache (`soft: cached`), without hints.",
            )
        self.model = model.eval().requires_grad_(False).to(device)  # type: ignore[no-untyped-call]

    @property
    def weight(self) -> torch.Tensor:
        """Its head's, shape (vocabulary, width)."""
        head: Any = output_head(self.model)
        weight: torch.Tensor = head.weight
        return weight

    def states(self, input_ids: torch.Tensor, places: torch.Tensor, *, layers: bool) -> TeacherStates:
        """Its states on a batch.

        Args:
            places: (row, position) pairs at which its head's input is wanted.
            layers: whether every layer's states are.
        """
        self.model.eval()
        with torch.no_grad(), head_replaced(self.model, lambda hidden: hidden[places[:, 0], places[:, 1]]):
            out = self.model(input_ids=input_ids, use_cache=False, output_hidden_states=layers)
        return TeacherStates(out.logits, tuple(out.hidden_states) if layers else ())
