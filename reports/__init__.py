"""A run's files in, pages out. Pages are derived: they prove nothing that the files do not.

Exports are lazy: importing the package imports neither streamlit nor anything else that is heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "RunRecord": "queries",
    "audit_object": "audit",
    "family_object": "family",
    "read_audit": "audit",
    "read_family": "family",
    "read_run": "queries",
    "run_command": "launch",
    "write_audit": "audit",
    "write_family": "family",
    "write_model_card": "model_card",
    "write_report": "static",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
