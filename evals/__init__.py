"""A model and cases in, evidence out.

``run(model, cases, suites=[...])`` makes case results, ``measure({"student": results}, [request(...)])`` makes measurements of
them. Exports are lazy: importing the package imports neither torch nor anything else that is heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Case": "cases",
    "CaseResult": "evidence",
    "FieldDecision": "evidence",
    "Measurement": "evidence",
    "MeasurementRequest": "evidence",
    "Metric": "catalogue",
    "Subject": "evidence",
    "ToolCalls": "tools",
    "explain": "explanation",
    "TextSuite": "texts",
    "judge": "structured",
    "load_schema": "structured",
    "lookup": "catalogue",
    "measure": "measuring",
    "open_holdout": "holdout",
    "read_bfcl": "tools",
    "read_cases": "evidence",
    "read_suite": "cases",
    "request": "requests",
    "run": "running",
    "score_case": "score",
    "search_slices": "slices",
    "write_suite": "cases",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
