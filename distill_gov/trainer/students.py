"""The student before training: some of the teacher's layers, its embeddings and its tokenizer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from distill_gov.records.errors import BadModelError

__all__ = ["evenly_spaced", "layer_student", "parameters", "sharpen"]


def evenly_spaced(layers: int, wanted: int) -> list[int]:
    """Indices of ``wanted`` layers out of ``layers``, the first and the last among them."""
    if not 1 <= wanted <= layers:
        raise BadModelError(f"a student of {wanted} layers cannot be cut from a teacher of {layers}")
    if wanted == 1:
        return [0]
    return [round(i * (layers - 1) / (wanted - 1)) for i in range(wanted)]


def layer_student(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """A student with the teacher's embeddings, final norm and the given layers, in order."""
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[i] for i in layers]
    student: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        config, dtype=next(teacher.parameters()).dtype
    )
    source = teacher.state_dict()
    taken = {}
    for name in student.state_dict():
        parts = name.split(".")
        if "layers" in parts:
            place = parts.index("layers") + 1
            parts[place] = str(layers[int(parts[place])])
        taken[name] = source[".".join(parts)]
    student.load_state_dict(taken)
    return student


def sharpen(student: PreTrainedModel, factor: float) -> None:
    """Multiply the final norm's weight: logits grow by ``factor``, so answers stay and confidence does not."""
    with torch.no_grad():
        cast(Any, student.base_model).norm.weight.mul_(factor)


def parameters(model: PreTrainedModel) -> int:
    return sum(p.numel() for p in model.parameters())
