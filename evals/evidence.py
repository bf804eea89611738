"""The contract between running a model and judging it: subjects, case results, requests, measurements.

A :class:`CaseResult` is dear (a model made it), immutable, and knows no policy. A :class:`Measurement` is cheap: it is computed
from case results and a :class:`MeasurementRequest`, without any model. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import MalformedFileError
from distill_gov.records.files import read_json, read_parquet, read_parquet_schema, write_json, write_parquet

__all__ = [
    "CaseResult",
    "Cell",
    "Column",
    "FieldDecision",
    "Measurement",
    "MeasurementRequest",
    "Provenance",
    "Subject",
    "Summary",
    "cases_schema",
    "check_cases_file",
    "dataset_digest",
    "read_cases",
    "read_measurements",
    "read_subjects",
    "read_summaries",
    "write_cases",
    "write_measurements",
    "write_subjects",
    "write_summaries",
]

Provenance = Literal["measured", "human", "simulated", "imported"]
Role = Literal["student", "teacher", "control", "baseline", "incumbent"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who was measured: a model together with everything that shapes its answers."""

    name: str
    """``student``, ``teacher``, or the control's or baseline's own name; file names carry it."""
    role: Role
    model: str
    """Digest of the weights' directory."""
    prompt: str
    """Digest of the system prompt and examples; empty string's digest where there are none."""
    template: str
    """Digest of the chat template."""
    decoding: str
    """``grammar``, ``free`` ... with its limits, as text."""
    engine: str
    """Library and version that ran it."""
    note: str = ""
    """What a reader must know ("4-bit weights (Q4_1) widened to float32")."""
    declared: bool = False
    """True where the digest is a server's word, not measured."""

    @property
    def digest(self) -> str:
        """Digest of everything above except the note."""
        return digest_json({k: v for k, v in asdict(self).items() if k != "note"})


@dataclass(frozen=True, slots=True)
class FieldDecision:
    """One decision field of one answer."""

    field: str
    predicted: str | None
    """None where the answer gave no readable value."""
    confidence: float | None
    """Probability of ``predicted`` in [0, 1] under the label trie; an invalid answer counts as wrong with confidence 1."""
    correct: bool | None
    """None where the case has no reference."""
    reference: str | None = None
    """The right label; None where the case has none."""
    logp: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Label to log-probability, at the temperature that ``confidence`` is at; empty where nobody knows the distribution."""
    raw_logp: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The same at temperature 1, before any is fitted."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What one subject did on one case."""

    subject: str
    """Digest of the subject."""
    dataset: str
    """Digest of the suite's cases, as :func:`dataset_digest` makes it."""
    case: str
    suite: str
    cluster: str
    """Unit of independence: cases of one conversation share it."""
    slices: tuple[str, ...]
    status: Literal["ok", "errored"]
    scores: Mapping[str, float]
    """Metric's score name to a finite number; a score that does not apply to the case is absent."""
    decisions: tuple[FieldDecision, ...] = ()
    output: str = ""
    """The answer, redacted."""
    provenance: Provenance = "measured"
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """``first_token_s``, ``last_token_s``: measured, excluded from comparisons."""


@dataclass(frozen=True, slots=True)
class MeasurementRequest:
    """What is to be measured, fixed before the holdout is opened."""

    metric: str
    suite: str
    slice: str | None
    subject: str
    """Name of the subject judged: ``student``, or a control's name when the same policy judges a control."""
    reference: str | None
    """Name of the subject compared with, for a difference."""
    statistic: Literal["level", "difference"]
    method: str
    """One of the catalogue's methods for the metric."""
    confidence: float
    side: Literal["lower", "upper", "two"]
    """Which bound matters; the other is still reported."""
    cluster: bool = False
    """Whether cases of one cluster are dependent."""

    @property
    def digest(self) -> str:
        return digest_json(asdict(self))

    @property
    def seed(self) -> int:
        """For resampling: the same request draws the same."""
        return int(self.digest.removeprefix("sha256:")[:12], 16)


@dataclass(frozen=True, slots=True)
class Measurement:
    """An estimate with its interval and its counts."""

    request: MeasurementRequest
    subject: str
    """Digest of the subject measured; empty where its evidence is absent."""
    reference: str | None
    dataset: str
    value: float | None
    """None where it is undefined or absent; ``note`` says why."""
    low: float | None
    high: float | None
    n_planned: int
    n_run: int
    n_errored: int
    n_scored: int
    n_clusters: int
    provenance: tuple[Provenance, ...]
    """Every provenance among the cases used."""
    note: str = ""
    """Reason code where ``value`` is None: ``absent``, ``empty``, ``undefined``, ``no_variation``, ``too_few_clusters``."""
    tool: str = ""
    at: str = ""
    """When the evidence was made that it rests on (the oldest of it), RFC 3339; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a summary."""

    title: str
    unit: str
    """``text``, ``count``, a metric's unit (``share``, ``points``, ``s`` ...), ``metric`` for a metric's name, or ``value`` for
    an amount of the row's metric. Who makes the table leaves small slices out."""


Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """A table of what was measured beside the gates: shown, and never decided on."""

    name: str
    title: str
    caption: str
    """What is counted, over which cases, and what it cannot show."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """One cell a column; None where there is no value. Never a text that a model wrote."""


def dataset_digest(case_rows: Iterable[Mapping[str, Any]]) -> str:
    """Digest of the cases of a suite, whatever their order."""
    return digest_json(sorted((dict(row) for row in case_rows), key=lambda row: str(row.get("id", ""))))


_CASE_SCHEMA = pa.schema(
    [
        pa.field("subject", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("case", pa.string(), nullable=False),
        pa.field("suite", pa.string(), nullable=False),
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("slices", pa.list_(pa.string()), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("scores", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field(
            "decisions",
            pa.list_(
                pa.struct(
                    [
                        pa.field("field", pa.string(), nullable=False),
                        pa.field("predicted", pa.string()),
                        pa.field("confidence", pa.float64()),
                        pa.field("correct", pa.bool_()),
                        pa.field("reference", pa.string()),
                        pa.field("logp", pa.map_(pa.string(), pa.float64()), nullable=False),
                        pa.field("raw_logp", pa.map_(pa.string(), pa.float64()), nullable=False),
                    ]
                )
            ),
            nullable=False,
        ),
        pa.field("output", pa.string(), nullable=False),
        pa.field("provenance", pa.string(), nullable=False),
        pa.field("timings", pa.map_(pa.string(), pa.float64()), nullable=False),
    ]
)


def cases_schema() -> pa.Schema:
    """The columns of a file of case results."""
    return _CASE_SCHEMA


def write_cases(path: Path, results: Iterable[CaseResult]) -> None:
    """Write case results, sorted by case id."""
    rows = [asdict(r) for r in sorted(results, key=lambda r: r.case)]
    for row in rows:
        row["scores"], row["timings"] = sorted(row["scores"].items()), sorted(row["timings"].items())
        for decision in row["decisions"]:
            decision["logp"], decision["raw_logp"] = sorted(decision["logp"].items()), sorted(decision["raw_logp"].items())
    write_parquet(path, rows, _CASE_SCHEMA, format="cases")


def read_cases(path: Path) -> list[CaseResult]:
    """Read case results.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    results = []
    for row in read_parquet(path, format="cases"):
        _same_keys(row, _CASE_SCHEMA.names, path)
        decisions = tuple(
            FieldDecision(**{**d, "logp": dict(d["logp"]), "raw_logp": dict(d["raw_logp"])}) for d in row.pop("decisions")
        )
        row["slices"], row["scores"], row["timings"] = tuple(row["slices"]), dict(row["scores"]), dict(row["timings"])
        results.append(CaseResult(decisions=decisions, **row))
    return results


def check_cases_file(path: Path) -> None:
    """Refuse a file whose columns are not those of case results; no row is read.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    if not read_parquet_schema(path, format="cases").equals(_CASE_SCHEMA):
        raise MalformedFileError("columns are not those of the format", where=str(path))


_MEASUREMENT_SCHEMA = pa.schema(
    [
        pa.field("request", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("reference", pa.string()),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        *(pa.field(n, pa.int64(), nullable=False) for n in ("n_planned", "n_run", "n_errored", "n_scored", "n_clusters")),
        pa.field("provenance", pa.list_(pa.string()), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("tool", pa.string(), nullable=False),
        pa.field("at", pa.string(), nullable=False),
    ]
)


def write_measurements(path: Path, measurements: Iterable[Measurement]) -> None:
    rows = []
    for m in measurements:
        row = asdict(m)
        row["request"] = json.dumps(row["request"], sort_keys=True)
        rows.append(row)
    write_parquet(path, rows, _MEASUREMENT_SCHEMA, format="measurements")


def read_measurements(path: Path) -> list[Measurement]:
    found = []
    for row in read_parquet(path, format="measurements"):
        _same_keys(row, _MEASUREMENT_SCHEMA.names, path)
        try:
            request = MeasurementRequest(**json.loads(row.pop("request")))
        except (TypeError, ValueError) as error:
            raise MalformedFileError("a measurement's request does not parse", where=str(path)) from error
        row["provenance"] = tuple(row["provenance"])
        found.append(Measurement(request=request, **row))
    return found


def write_subjects(path: Path, subjects: Iterable[Subject]) -> None:
    write_json(path, {"subjects": [asdict(s) for s in subjects]}, format="subjects")


def read_subjects(path: Path) -> dict[str, Subject]:
    """Subjects by name."""
    names = {f.name for f in fields(Subject)}
    rows = read_json(path, format="subjects").get("subjects", [])
    for row in rows:
        if set(row) != names:
            raise MalformedFileError("not a subject", where=str(path))
    return {row["name"]: Subject(**row) for row in rows}


def write_summaries(path: Path, summaries: Iterable[Summary]) -> None:
    """Write the tables.

    Raises:
        MalformedFileError: a row has not one cell a column, or a cell is no finite number, text or None.
    """
    rows = [asdict(s) for s in summaries]
    if any(len(cells) != len(row["columns"]) for row in rows for cells in row["rows"]):
        raise MalformedFileError("a summary has a row that is not of its columns", where=str(path))
    write_json(path, {"summaries": rows}, format="summaries")


def read_summaries(path: Path) -> tuple[Summary, ...]:
    """Read the tables, in their order.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError
    """
    try:
        return tuple(_summary(row) for row in read_json(path, format="summaries")["summaries"])
    except (TypeError, KeyError, ValueError) as error:
        raise MalformedFileError("not a table of summaries", where=str(path)) from error


def _summary(row: Mapping[str, Any]) -> Summary:
    columns = tuple(Column(**column) for column in row["columns"])
    rows = tuple(tuple(cells) for cells in row["rows"])
    if any(len(cells) != len(columns) or not all(_is_cell(cell) for cell in cells) for cells in rows):
        raise ValueError("rows are not of the columns")
    texts = (row["name"], row["title"], row["caption"], *(text for c in columns for text in (c.title, c.unit)))
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("texts are not text")
    return Summary(row["name"], row["title"], row["caption"], columns, rows)


def _is_cell(cell: object) -> bool:
    return cell is None or (isinstance(cell, str | int | float) and not isinstance(cell, bool))


def _same_keys(row: Mapping[str, Any], names: list[str], path: Path) -> None:
    if list(row) != names:
        raise MalformedFileError("columns are not those of the format", where=str(path))
