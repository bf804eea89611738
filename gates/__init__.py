"""Evidence and a policy in; a verdict and a promotion out.

``decide`` and ``plan`` share their names with their modules: ``from gates.decide import decide``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "GateOutcome",
    "GateRule",
    "NotPromotableError",
    "Policy",
    "Promotion",
    "RatingsPlan",
    "Verdict",
    "load_policy",
    "promote",
    "read_aliases",
    "read_verdict",
    "verify_verdict",
    "write_verdict",
]

_MODULES = {
    "GateOutcome": "verdict",
    "GateRule": "policy",
    "NotPromotableError": "registry",
    "Policy": "policy",
    "Promotion": "registry",
    "RatingsPlan": "policy",
    "Verdict": "verdict",
    "load_policy": "policy",
    "promote": "registry",
    "read_aliases": "registry",
    "read_verdict": "verdict",
    "verify_verdict": "decide",
    "write_verdict": "verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
