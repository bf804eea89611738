"""``teaching`` and ``sampling``: what of the traces and answers is taught."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from distill_gov.records.settings import Settings
from redaction.filters.policy import DiversityPolicy, NearDuplicatePolicy

__all__ = ["SamplingSettings", "TeachingSettings"]


class SamplingSettings(Settings):
    """Which of the traces that passed the filters are taught, by slice, before the teacher is paid."""

    by: str = Field(default="slice", min_length=1)
    """What a trace's slice is: the tag of this name, or ``language``."""
    weights: Literal["traffic", "uniform"] = "traffic"
    """How ``total`` is divided: ``traffic`` by the slices' own sizes, ``uniform`` into equal parts as far as they reach."""
    cap: int | None = Field(default=None, ge=1)
    """Most traces of any one slice."""
    total: int | None = Field(default=None, ge=1)
    """Most traces altogether."""

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if self.cap is None and self.total is None:
            raise ValueError("without a `cap` or a `total` nothing is sampled; give one, or leave `sampling` out")
        if self.weights == "uniform" and self.total is None:
            raise ValueError("`weights: uniform` divides a `total`; give one, or `cap` alone")
        return self


class TeachingSettings(Settings):
    """What of the traces and answers is taught."""

    near_duplicates: NearDuplicatePolicy | None = None
    """Prompts as alike as this are taught once: the lowest id stays, before the teacher is paid. Left out: all stay."""
    diversity: DiversityPolicy | None = None
    """Of several answers to one prompt, how many that differ are taught. Left out: all."""
