"""JSON Schemas of the files that people write and read, by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from distill_gov.records.errors import BadInputError
from distill_gov.records.files import format_name

__all__ = ["SCHEMAS", "schema_of"]

_SETTINGS = {
    "distill": "distill_gov.settings:DistillSettings",
    "redaction": "redaction.policy:RedactionPolicy",
    "gates": "gates.policy:_PolicyFile",
    "map": "distill_gov.importers:ImportMap",
}
"""What a person writes as YAML."""

_RECORDS = {
    "verdict": "gates.verdict:Verdict",
    "manifest": "distill_gov.records.manifest:StageManifest",
    "ledger": "distill_gov.records.ledger:LedgerEntry",
    "purge": "distill_gov.records.purges:PurgeRecord",
}
"""What is written as JSON objects, each with its ``format``."""

SCHEMAS = ("trace", "answer", *_RECORDS, *_SETTINGS)
"""The names; ``answer`` is the schema that the project's own answers follow."""


def schema_of(name: str, root: Path) -> Mapping[str, Any]:
    """The JSON Schema of one kind of file.

    Args:
        name: one of :data:`SCHEMAS`.
        root: the project, which ``answer`` is read from.

    Raises:
        BadInputError: no such name.
    """
    if name == "trace":
        from distill_gov.traces import TRACE_SCHEMA

        return TRACE_SCHEMA
    if name == "answer":
        return _answer_schema(root)
    if name in _SETTINGS:
        return _dialect(TypeAdapter(_named(_SETTINGS[name])).json_schema())
    if name in _RECORDS:
        schema = _dialect(TypeAdapter(_named(_RECORDS[name])).json_schema(mode="serialization"))
        tag = {"format": {"const": format_name(name)}}
        return {**schema, "properties": {**tag, **schema["properties"]}, "required": ["format", *schema["required"]]}
    near = difflib.get_close_matches(name, SCHEMAS, n=1)
    fix = f"Did you mean `{near[0]}`?" if near else f"One of {', '.join(SCHEMAS)}."
    raise BadInputError(f"no schema of the name `{name[:40]}`", fix=fix)


def _named(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)


def _dialect(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _answer_schema(root: Path) -> Mapping[str, Any]:
    from distill_gov.project import Project

    document = Project.open(root).answer_document
    if document is None:
        raise BadInputError("the project's answers are free text, so they have no schema", where=str(root))
    return document
