"""Blinded human ratings on files: packets out, responses in, agreement between raters.

Exports are lazy, so that importing the package costs nothing. The function that takes case results is
``evals.ratings.agreement.agreement``; it is not exported, because its module has the same name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "HELPFULNESS",
    "Agreement",
    "ExportedPackets",
    "RaterFiles",
    "RaterStats",
    "RatingItem",
    "RatingsImport",
    "Scale",
    "alpha",
    "answer_in_words",
    "export_packets",
    "import_responses",
    "read_packets",
    "sealed_key",
    "simulate_responses",
]

_HOME = {
    "HELPFULNESS": "packets",
    "Agreement": "agreement",
    "ExportedPackets": "export",
    "RaterFiles": "export",
    "RaterStats": "importing",
    "RatingItem": "blinding",
    "RatingsImport": "importing",
    "Scale": "packets",
    "alpha": "agreement",
    "answer_in_words": "words",
    "export_packets": "export",
    "import_responses": "importing",
    "read_packets": "packets",
    "sealed_key": "keytable",
    "simulate_responses": "simulate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
