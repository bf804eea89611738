"""Import of other people's files into traces.

Chat, prompt/completion and ShareGPT records, plain text with labels, and the exports of Langfuse and LangSmith. The container
(JSON Lines, a JSON array, CSV, XLSX, Parquet, Arrow, a directory that Hugging Face `datasets` saved) is told by its first
bytes, the shape of the records by their columns. Where two readings are possible, none is chosen. A row that cannot be read is
an error, never a row less; rows of an export that are no conversation are counted in the line that says what was done.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill_gov.importers.importing import Imported, import_traces
    from distill_gov.importers.mapping import ImportMap, Kind

__all__ = ["ImportMap", "Imported", "Kind", "import_traces"]

_MODULES = {
    "ImportMap": "distill_gov.importers.mapping",
    "Imported": "distill_gov.importers.importing",
    "Kind": "distill_gov.importers.mapping",
    "import_traces": "distill_gov.importers.importing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
