"""A teaching example: a redacted chat with the answer that the student is to learn."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import loads_strict, read_parquet, write_parquet
from distill_gov.records.typed import require_types
from distill_gov.settings.teacher import DEFAULT

__all__ = ["TeachingExample", "answer_id", "rationale_id", "read_examples", "trace_of", "write_examples"]

FORMAT = "examples"


@dataclass(frozen=True, slots=True)
class TeachingExample:
    """One supervised answer."""

    id: str
    trace: str
    sample: int
    """Which of the teacher's answers to the trace, from 0. Of several that are taught, each epoch takes one."""
    part: Literal["train", "dev"]
    messages: tuple[Mapping[str, str], ...]
    """Redacted."""
    answer: str
    answer_source: Literal["teacher", "reference"]
    """``reference``: the decisions are those of the trace's reference, and so is the text where the reference has one."""
    tags: Mapping[str, Any]
    teacher: str = DEFAULT
    """Which teacher answered, or scored the reference, by its name in ``distill.yaml``."""


_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("trace", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        pa.field("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("answer_source", pa.string(), nullable=False),
        pa.field("tags", pa.string(), nullable=False),
        pa.field("teacher", pa.string(), nullable=False),
    ]
)


def answer_id(trace: str, sample: int = 0) -> str:
    """Id of an answer to a trace, in books, findings and examples."""
    return f"{trace}/{sample}"


def rationale_id(trace: str) -> str:
    """Id of the reasoning that is taught of a trace."""
    return f"{trace}/rationale"


def trace_of(answer: str) -> str:
    """The trace of an answer's or a rationale's id, which is also its example's."""
    return answer.rpartition("/")[0] or answer


def write_examples(path: Path, examples: Iterable[TeachingExample]) -> None:
    rows = [asdict(e) for e in sorted(examples, key=lambda e: e.id)]
    for row in rows:
        row["messages"], row["tags"] = list(row["messages"]), json.dumps(row["tags"], sort_keys=True)
    write_parquet(path, rows, _SCHEMA, format=FORMAT)


def read_examples(path: Path) -> list[TeachingExample]:
    """Read examples, in the order of their ids.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    found = []
    for number, row in enumerate(read_parquet(path, format=FORMAT), start=1):
        where = f"{path}: row {number}"
        try:
            tags = loads_strict(row.pop("tags"), where=where)
            example = TeachingExample(messages=tuple(row.pop("messages")), tags=tags, **row)
        except (KeyError, TypeError) as error:
            raise MalformedFileError("not a teaching example", where=where) from error
        require_types(example, where=where)
        found.append(example)
    return found
