"""Low-rank adapters (LoRA) by peft, which is an extra: imported where it is used."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from distill_gov.records.errors import MissingExtraError
from distill_gov.settings import LoraSettings

__all__ = ["merged", "with_lora"]


def with_lora(student: PreTrainedModel, settings: LoraSettings | None) -> Any:
    """The student with adapters, of which alone are trained; the student itself where none are asked for.

    Raises:
        MissingExtraError: peft is not installed.
    """
    if settings is None:
        return student
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError(
            "`train.lora` needs peft",
            where="distill.yaml: train.lora",
            fix="Run `pip install 'distill-gov[lora]'`, or leave it out.",
        ) from error
    config = peft.LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules=settings.targets or "all-linear", lora_dropout=0.0,
        bias="none", task_type="CAUSAL_LM",
    )  # fmt: skip
    return peft.get_peft_model(student, config)


def merged(model: Any, student: PreTrainedModel) -> None:
    """Put what adapters have learnt into the student's own weights, in place."""
    if model is not student:
        whole: torch.nn.Module = model.merge_and_unload()
        assert whole is student
