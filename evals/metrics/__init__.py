"""Metrics for Hugging Face ``evaluate``, thin over the functions of ``evals``.

Each file loads offline by its path, ``evaluate.load("evals/metrics/exact_match_fields.py")``, or by instantiation,
``ExactMatchFields().compute(...)``. Importing this package does not import ``evaluate``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "CalibrationError": "calibration_error",
    "Chrf": "chrf",
    "ExactMatchFields": "exact_match_fields",
    "FieldAccuracy": "field_accuracy",
    "MacroF1": "macro_f1",
    "RougeL": "rouge_l",
    "SchemaValidity": "schema_validity",
    "TokenF1": "token_f1",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
