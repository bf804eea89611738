"""``distill.yaml``: the ML engineer's file, a module for each of its sections."""

from __future__ import annotations

from distill_gov.settings.distill import DistillSettings
from distill_gov.settings.evaluate import EvaluateSettings, FairnessSettings, JudgeSettings
from distill_gov.settings.student import StudentSettings, WidthSettings
from distill_gov.settings.sweep import Range, SweepSettings
from distill_gov.settings.teacher import RoutingSettings, TeacherSettings
from distill_gov.settings.teaching import SamplingSettings, TeachingSettings
from distill_gov.settings.train import (
    CanarySettings,
    HintSettings,
    LoraSettings,
    LossSettings,
    Schedule,
    StageSettings,
    TrainSettings,
    Weight,
)

__all__ = [
    "CanarySettings",
    "DistillSettings",
    "EvaluateSettings",
    "FairnessSettings",
    "HintSettings",
    "JudgeSettings",
    "LoraSettings",
    "LossSettings",
    "Range",
    "RoutingSettings",
    "SamplingSettings",
    "Schedule",
    "StageSettings",
    "StudentSettings",
    "SweepSettings",
    "TeacherSettings",
    "TeachingSettings",
    "TrainSettings",
    "Weight",
    "WidthSettings",
]
