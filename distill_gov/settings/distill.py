"""The whole of ``distill.yaml``."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from distill_gov.records.settings import Settings
from distill_gov.settings.evaluate import EvaluateSettings
from distill_gov.settings.student import StudentSettings
from distill_gov.settings.sweep import SweepSettings, check_sweep
from distill_gov.settings.teacher import TeacherSettings
from distill_gov.settings.teaching import SamplingSettings, TeachingSettings
from distill_gov.settings.train import TrainSettings

__all__ = ["DistillSettings"]


class DistillSettings(Settings):
    """The whole of ``distill.yaml``. Paths are relative to the project."""

    task: str
    answer_schema: str = ""
    """JSON Schema of the answers; empty for free text."""
    traces: str
    holdout: str
    dev: str = ""
    gold: str = ""
    labels: str = ""
    """Reference answers of the traces, for baselines only; never taught."""
    pii_spans: str = ""
    """Ground truth to score redaction with."""
    suites: dict[str, str] = Field(default_factory=dict)
    teacher: TeacherSettings
    teaching: TeachingSettings = TeachingSettings()
    sampling: SamplingSettings | None = None
    """All traces that pass the filters are taught where it is left out."""
    student: StudentSettings = StudentSettings()
    train: TrainSettings = TrainSettings()
    sweep: SweepSettings | None = None
    """What ``distill-gov sweep`` tries; no other command reads it."""
    evaluate: EvaluateSettings = EvaluateSettings()
    policy: str = "gates.yaml"
    """The policy that ``promote`` accepts."""
    model_input: Literal["redacted", "raw"] = "redacted"
    """``raw`` is not built yet, and refused."""
    workers: int = Field(default=2, ge=0)
    seed: int = 0
    today: date | None = Field(default=None, strict=False)
    """Fixes the day on which retention is judged; the present day where it is left out."""
    defaults: dict[str, str] = Field(default_factory=dict)
    """``consent``, ``licence``, ``retention_until``, ``language``, ``purpose``, ``region``, ``tenant`` of imported traces where
    the file has no such column; marked asserted."""

    @field_validator("model_input")
    @classmethod
    def _redacted(cls, value: str) -> str:
        if value == "raw":
            raise ValueError("`raw` is not built yet: every model reads redacted text; use `redacted`")
        return value

    @model_validator(mode="after")
    def _swept(self) -> Self:
        check_sweep(self)
        return self
