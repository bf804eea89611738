"""The whole of ``distill.yaml``."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from distill_gov.records.settings import Settings
from distill_gov.settings.evaluate import EvaluateSettings
from distill_gov.settings.student import StudentSettings
from distill_gov.settings.sweep import SweepSettings, check_sweep
from distill_gov.settings.teacher import DEFAULT, RoutingSettings, TeacherSettings, check_teachers
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
    """The default teacher; ``teacher`` is its name in ``routing`` and ``blend``."""
    teachers: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")], TeacherSettings] = Field(default_factory=dict)
    """Others, by name. Each is admitted by its own floor."""
    routing: RoutingSettings | None = None
    """Which of them answers and scores which traces. Left out: the default teacher does."""
    blend: dict[str, float] = Field(default_factory=dict)
    """Weights by teacher: the soft targets are a mixture of theirs; the answers stay the default teacher's."""
    teaching: TeachingSettings = TeachingSettings()
    sampling: SamplingSettings | None = None
    """All traces that pass the filters are taught where it is left out."""
    student: StudentSettings = StudentSettings()
    students: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")], StudentSettings] = Field(default_factory=dict)
    """A family of students from one teaching set, by name; ``distill-gov family`` makes a run of each.
    Of ``student`` they take nothing over."""
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
    def _taught_by_those_named(self) -> Self:
        check_teachers(self.teacher, self.teachers, self.routing, self.blend)
        return self

    @property
    def all_teachers(self) -> dict[str, TeacherSettings]:
        """Every teacher by name, the default one first."""
        return {DEFAULT: self.teacher, **self.teachers}

    @model_validator(mode="after")
    def _swept(self) -> Self:
        check_sweep(self)
        return self
