"""The same measurements from very many case results: DuckDB counts, and what is drawn again is counts.

Proportions and quantiles come from the functions of ``evals.intervals``, from the same counts as in ``measure``, and are
the same to the last bit; a bootstrap (``evals.multinomial``) has the same distribution and other random numbers. What needs all
decisions together (calibration, pooled statistics, agreement) is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill_gov.records.errors import BadInputError, MalformedFileError
from evals.catalogue import CONTAMINATED, METHODS, PII_ECHO, PII_LEAK, SCHEMA_VALID, TIMINGS, Metric, lookup
from evals.evidence import Measurement, MeasurementRequest, Provenance, check_cases_file
from evals.intervals import Estimate, UndefinedEstimateError, clopper_pearson, quantile_interval, tango
from evals.measuring import TOOL, Planned, oldest
from evals.multinomial import Units, multinomial_interval

__all__ = ["SUPPORTED", "aggregate"]

SUPPORTED = frozenset({"clopper_pearson", "tango", "bootstrap", "bca", "order_statistics"})
"""What can be computed from counts."""

_BITS = 60  # slices in a word
_NEVER: Mapping[tuple[str, str], str] = {}
_CODES = {code: number for number, code in enumerate(("non_finite", "out_of_range", "absent", "undefined", "case_mismatch"), 1)}
"""What may be wrong with one case, and its number in a table."""


def aggregate(
    files: Mapping[str, Sequence[Path]],
    requests: Sequence[MeasurementRequest],
    planned: Planned,
    *,
    made: Mapping[tuple[str, str], str] = _NEVER,
    memory_mb: int = 1000,
) -> list[Measurement]:
    """One measurement per request, in order, as :func:`evals.measuring.measure` gives them.

    Args:
        files: subject name to the files of its case results, of any number of suites, as ``write_cases`` writes them.
        requests, planned, made: see :func:`evals.measuring.measure`.
        memory_mb: what DuckDB may hold before it writes to disk.

    Raises:
        MissingFileError, MalformedFileError, UnknownFormatError: a file cannot be read.
        UnknownKeyError: a request names a metric that the catalogue does not have.
        BadInputError: a request is of a kind or method that cannot be computed from counts.
    """
    metrics = {request.metric: lookup(request.metric) for request in requests}
    for request in requests:
        _check_countable(request, metrics[request.metric])
    for path in (path for paths in files.values() for path in paths):
        check_cases_file(path)
    slices = [request.slice for request in requests if request.slice is not None]
    with duckdb.connect(config={"memory_limit": f"{memory_mb}MB"}) as connection:
        store = _Store(connection, files, list(metrics.values()), list(dict.fromkeys(slices)), planned)
        try:
            return [_measured(store, request, oldest(request, made)) for request in requests]
        except duckdb.Error as error:
            # Not chained: DuckDB quotes the value it stumbled over.
            raise MalformedFileError(f"case results cannot be read ({type(error).__name__})") from None


def _check_countable(request: MeasurementRequest, metric: Metric) -> None:
    if metric.kind not in ("proportion", "mean", "quantile") or metric.statistic or (metric.field and metric.kind == "mean"):
        raise BadInputError(f"metric `{metric.name}` cannot be computed from counts", fix="Use `evals.measure`.")
    if request.method in metric.methods[request.statistic] and request.method not in SUPPORTED:
        raise BadInputError(f"method `{request.method}` cannot be computed from counts", fix="Use `evals.measure`.")


# --- what a metric makes of a row, as SQL


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _bits(slices: Sequence[str]) -> str:
    """Which of the slices a row is in, a bit each."""
    names = f"[{', '.join(map(_text, slices))}]"
    ones = f"[(1::UBIGINT << (list_position({names}, x) - 1)::UBIGINT) FOR x IN slices IF list_contains({names}, x)]"
    return f"coalesce(list_aggregate({ones}, 'bit_or'), 0)::UBIGINT"


def _name(kind: Literal["score", "field"], name: str) -> str:
    """The column of a score's or a field's occurrences in a row: a list, empty where there is none."""
    return '"' + f"{kind} {name}".replace('"', '""') + '"'


def _needed(metric: Metric) -> set[str]:
    """Names of the scores and timings that a metric reads."""
    if metric.field:
        return {SCHEMA_VALID}
    return {metric.among, *_valued(metric)} - {""}


def _valued(metric: Metric) -> tuple[str, ...]:
    return (metric.score,) if metric.score or not metric.among else (PII_ECHO, PII_LEAK)


def _wrong(number: str, metric: Metric) -> str:
    """Code of a number that may not stand where it does, else NULL."""
    low, high = metric.range
    outside = f"{number} < {low}" + (f" OR {number} > {high}" if math.isfinite(high) else "")
    if metric.kind == "proportion":
        outside += f" OR {number} NOT IN (0, 1)"
    return (
        f"CASE WHEN {number} IS NULL OR NOT isfinite({number}) THEN {_CODES['non_finite']} "
        f"WHEN {outside} THEN {_CODES['out_of_range']} END"
    )


def _applies_to_errored(metric: Metric) -> str:
    if metric.field or metric.kind == "quantile":
        return "true"
    if metric.among:
        return f"(bare OR coalesce({_name('score', metric.among)}[1] <> 0, true))"
    return f"(bare OR len({_name('score', metric.score)}) > 0)" if metric.kind == "proportion" else "true"


def _of_scores(metric: Metric) -> tuple[str, str]:
    """Value and code of a row that is not errored."""
    given = [_name("score", name) for name in _valued(metric)]
    value = f"greatest({', '.join(f'{column}[1]' for column in given)})"
    code = f"coalesce({', '.join(_wrong(f'{column}[1]', metric) for column in given)}, NULL)"
    missing = " OR ".join(f"len({column}) = 0" for column in given)
    if not metric.among:
        return f"CASE WHEN NOT ({missing}) THEN {value} END", f"CASE WHEN NOT ({missing}) THEN {code} END"
    counts = f"{_name('score', metric.among)}[1]"
    # The case counts, so a score that nobody made is not one that does not apply.
    return (
        f"CASE WHEN {counts} <> 0 THEN {value} END",
        f"CASE WHEN {counts} IS NULL THEN NULL WHEN ({_wrong(counts, metric)}) IS NOT NULL THEN {_wrong(counts, metric)} "
        f"WHEN {counts} = 0 THEN NULL WHEN {missing} THEN {_CODES['absent']} ELSE {code} END",
    )


def _of_decision(metric: Metric) -> tuple[str, str]:
    found, valid = _name("field", metric.field), f"coalesce({_name('score', SCHEMA_VALID)}[1] <> 0, true)"
    confidence = f"{found}[1].confidence"
    readable = f"{valid} AND len({found}) > 0 AND {found}[1].predicted IS NOT NULL"
    wrong = _wrong(confidence, lookup(f"confidence_gap.{metric.field}"))
    return (
        f"CASE WHEN {readable} THEN {found}[1].correct::DOUBLE ELSE 0 END",
        f"CASE WHEN {valid} AND len({found}) = 0 THEN {_CODES['absent']} "
        f"WHEN {readable} AND {found}[1].correct IS NOT NULL AND {confidence} IS NOT NULL THEN {wrong} END",
    )


def _columns(number: int, metric: Metric) -> list[str]:
    """A metric's columns: the value, the code, and whether the value stands for a case that errored."""
    value, code = _of_decision(metric) if metric.field else _of_scores(metric)
    applies = _applies_to_errored(metric)
    worst = f"'{metric.worst}'::DOUBLE"
    # A mean has no worst case where the range is open; a quantile has: slower than all others.
    undefined = "NULL" if metric.kind == "quantile" or math.isfinite(metric.worst) else str(_CODES["undefined"])
    return [
        f"CASE WHEN errored THEN CASE WHEN {applies} THEN {worst} END ELSE {value} END AS v{number}",
        f"CASE WHEN errored THEN CASE WHEN {applies} THEN {undefined} END ELSE {code} END AS c{number}",
        f"errored AND {applies} AS e{number}",
    ]


# --- tables


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The case results of one subject and suite, as a table with a row a case."""

    table: str
    problem: str
    """Reason code, empty where it may be used."""
    n_missing: int
    own_clusters: bool
    """Whether every case is a cluster of its own."""
    known: Mapping[str, Sequence[str]]
    """Of ``subject``, ``dataset`` and ``provenance`` every value that occurs; the table holds their places."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """What a slice of a sheet holds."""

    n: int
    n_errored: int
    subject: str
    dataset: str
    provenance: frozenset[Provenance]


_NOTHING = _Slice(0, 0, "", "", frozenset())


class _Store:
    """The tables, each made when it is first asked for."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        files: Mapping[str, Sequence[Path]],
        metrics: Sequence[Metric],
        slices: Sequence[str],
        planned: Planned,
    ) -> None:
        self.connection, self.files, self.planned = connection, files, planned
        self.metrics, self.slices = {m.name: (i, m) for i, m in enumerate(metrics)}, list(slices)
        self._sheets: dict[tuple[str, str], _Sheet] = {}
        self._pairs: dict[tuple[str, str], str] = {}
        self._slices: dict[tuple[str, str | None], _Slice] = {}
        self._shared: dict[tuple[str, str], int] = {}

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, list(values)).fetchall()

    def arrays(self, query: str) -> list[npt.NDArray[Any]]:
        return [np.asarray(column) for column in self.connection.execute(query).fetchnumpy().values()]

    def within(self, slice: str | None, side: str = "") -> str:
        """The condition that a row is in a slice; slices are bits."""
        if slice is None:
            return "true"
        word, bit = divmod(self.slices.index(slice), _BITS)
        return f"{side}in{word} & {1 << bit} <> 0"

    @property
    def words(self) -> list[str]:
        """The columns that hold the slices."""
        return [f"in{i}" for i in range(math.ceil(len(self.slices) / _BITS))]

    def sheet(self, name: str, suite: str) -> _Sheet:
        if (name, suite) not in self._sheets:
            self._sheets[name, suite] = self._made(f"sheet{len(self._sheets)}", self.files.get(name, ()), suite)
        return self._sheets[name, suite]

    def _made(self, table: str, paths: Sequence[Path], suite: str) -> _Sheet:
        source = [str(path) for path in paths]
        if not source or not self.rows("SELECT 1 FROM read_parquet(?) WHERE suite = ? LIMIT 1", [source, suite]):
            return _Sheet(table, "absent", self._missing(suite, None)[0], True, {})
        known = {
            column: sorted(
                row[0] for row in self.rows(f"SELECT DISTINCT {column} FROM read_parquet(?) WHERE suite = ?", [source, suite])
            )
            for column in ("subject", "dataset", "provenance")
        }
        self._load(table, source, suite, known)
        [(n, ids, clusters, taught)] = self.rows(
            f"SELECT count(*), count(DISTINCT id), count(DISTINCT cluster), count(*) FILTER (taught) FROM {table}"
        )
        if ids != n:
            # The last stands, as in a mapping.
            self.rows(
                f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM {table} "
                "QUALIFY row_number() OVER (PARTITION BY id ORDER BY file DESC, row DESC) = 1"
            )
        missing, unplanned = self._missing(suite, table)
        found = {
            "duplicate_cases": ids != n,
            "mixed_evidence": len(known["subject"]) > 1 or len(known["dataset"]) > 1,
            "case_mismatch": unplanned,
            "contaminated": taught > 0,
            "incomplete": missing > 0,
        }
        return _Sheet(table, next((code for code, is_so in found.items() if is_so), ""), missing, clusters == n, known)

    def _known(self, source: Sequence[str], suite: str) -> dict[str, list[str]]:
        columns = ("subject", "dataset", "provenance")
        [found] = self.rows(
            f"SELECT {', '.join(f'list(DISTINCT {column})' for column in columns)} FROM read_parquet(?) WHERE suite = ?",
            [source, suite],
        )
        return {column: sorted(values) for column, values in zip(columns, found, strict=True) if values}

    def _load(self, table: str, source: Sequence[str], suite: str, known: Mapping[str, Sequence[str]]) -> None:
        metrics = [metric for _, metric in self.metrics.values()]
        names = sorted({name for metric in metrics for name in _needed(metric)} | {CONTAMINATED})
        fields = sorted({metric.field for metric in metrics} - {""})
        plain = [
            '"case" AS id',
            "list_position(?, filename) AS file",
            "file_row_number AS row",
            "cluster",
            "status = 'errored' AS errored",
            "cardinality(scores) = 0 AS bare",
            *(f"list_position(?, {column}) AS {column}" for column in known),
            *(f"{_bits(self.slices[i * _BITS : (i + 1) * _BITS])} AS {word}" for i, word in enumerate(self.words)),
        ]
        drawn = [
            f"map_extract({'timings' if n in TIMINGS else 'scores'}, {_text(n)}) AS {_name('score', n)}" for n in names
        ] + [f"[d FOR d IN decisions IF d.field = {_text(f)}] AS {_name('field', f)}" for f in fields]
        kept = ["id", "file", "row", "cluster", "errored", *known, *self.words]
        made = [f"coalesce({_name('score', CONTAMINATED)}[1] = 1, false) AS taught"]
        made += [column for i, metric in self.metrics.values() for column in _columns(i, metric)]
        self.rows(
            f"CREATE TEMP TABLE {table} AS SELECT {', '.join([*kept, *made])} FROM (SELECT {', '.join([*plain, *drawn])} "
            "FROM read_parquet(?, file_row_number = true, filename = true) WHERE suite = ?)",
            [source, *known.values(), source, suite],
        )

    def _missing(self, suite: str, table: str | None) -> tuple[int, bool]:
        """How many planned cases were not run, and whether others were."""
        plan = self.planned.get(suite, 0)
        if isinstance(plan, int):
            n = self.rows(f"SELECT count(*) FROM {table}")[0][0] if table else 0
            return max(0, plan - n), n > plan
        if table is None:
            return len(frozenset(plan)), False
        self.connection.register("plan", pa.table({"id": pa.array(sorted(frozenset(plan)), pa.string())}))
        missing = self.rows(f"SELECT count(*) FROM plan ANTI JOIN {table} USING (id)")[0][0]
        unplanned = self.rows(f"SELECT count(*) FROM {table} ANTI JOIN plan USING (id)")[0][0]
        self.connection.unregister("plan")
        return missing, unplanned > 0

    def part(self, sheet: _Sheet, slice: str | None) -> _Slice:
        if not sheet.known:
            return _NOTHING
        key = (sheet.table, slice)
        if key not in self._slices:
            rows = f"FROM {sheet.table} WHERE {self.within(slice)}"
            [(n, errored)] = self.rows(f"SELECT count(*), count(*) FILTER (errored) {rows}")
            subject, dataset, provenance = (self._values(sheet, column, rows if n else "") for column in sheet.known)
            known = frozenset(cast(Sequence[Provenance], provenance))
            self._slices[key] = _Slice(n, errored, _only(subject), _only(dataset), known)
        return self._slices[key]

    def _values(self, sheet: _Sheet, column: str, rows: str) -> Sequence[str]:
        """What a column holds in some rows; not looked up where there is only one value."""
        known = sheet.known[column]
        if not rows or len(known) == 1:
            return known if rows else ()
        [(places,)] = self.rows(f"SELECT list(DISTINCT {column}) {rows}")
        return [known[place - 1] for place in places]

    def shared(self, pair: str, within: str) -> int:
        """How many cases both have in a slice."""
        if (pair, within) not in self._shared:
            self._shared[pair, within] = self.rows(f"SELECT count(*) FROM {pair} WHERE {within}")[0][0]
        return self._shared[pair, within]

    def pair(self, subject: _Sheet, reference: _Sheet) -> str:
        """The table of both, with a difference and a code a metric; made from the cases that both ran."""
        key = (subject.table, reference.table)
        if key not in self._pairs:
            self._pairs[key] = table = f"pair{len(self._pairs)}"
            kept = [f"{side}.{word} AS {side}_{word}" for word in self.words for side in ("s", "r")]
            made = []
            for i, metric in self.metrics.values():
                # An errored case of the reference is the worst for the subject's claim, where it counts.
                other = (
                    f"CASE WHEN r.e{i} THEN {metric.best}::DOUBLE ELSE r.v{i} END" if math.isfinite(metric.best) else f"r.v{i}"
                )
                one_sided = f"(s.v{i} IS NULL) <> (r.v{i} IS NULL) AND NOT s.errored AND NOT r.errored"
                made += [
                    f"s.v{i} - {other} AS v{i}",
                    f"coalesce(s.c{i}, CASE WHEN NOT r.errored THEN r.c{i} END, "
                    f"CASE WHEN {one_sided} THEN {_CODES['case_mismatch']} END) AS c{i}",
                ]
            columns = ", ".join(["s.id AS id", "s.cluster AS cluster", *kept, *made])
            self.rows(
                f"CREATE TEMP TABLE {table} AS SELECT {columns} FROM {subject.table} s JOIN {reference.table} r USING (id)"
            )
        return self._pairs[key]


def _only(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else ""


# --- measurements


@dataclass(frozen=True, slots=True)
class _Found:
    """An estimate and the counts of the cases that it was computed from."""

    estimate: Estimate
    n: int
    n_clusters: int


def _measured(store: _Store, request: MeasurementRequest, at: str) -> Measurement:
    subject = store.sheet(request.subject, request.suite)
    ours = store.part(subject, request.slice)
    theirs = store.part(store.sheet(request.reference, request.suite), request.slice) if request.reference else None
    found, note = None, ""
    try:
        found = _estimate(store, subject, request)
    except UndefinedEstimateError as error:
        note = error.code
    return Measurement(
        request=request,
        subject=ours.subject,
        reference=theirs.subject if theirs else None,
        dataset=ours.dataset,
        value=found.estimate.value if found else None,
        low=found.estimate.low if found else None,
        high=found.estimate.high if found else None,
        n_planned=ours.n + subject.n_missing,
        n_run=ours.n,
        n_errored=ours.n_errored,
        n_scored=found.n if found else 0,
        n_clusters=found.n_clusters if found else 0,
        provenance=tuple(sorted(ours.provenance | (theirs.provenance if theirs else frozenset()))),
        note=note,
        tool=TOOL,
        at=at,
    )


def _estimate(store: _Store, subject: _Sheet, request: MeasurementRequest) -> _Found:
    metric = store.metrics[request.metric][1]
    if request.method not in metric.methods[request.statistic]:
        raise UndefinedEstimateError("method_not_allowed")
    if subject.problem:
        raise UndefinedEstimateError(subject.problem)
    if request.statistic == "level":
        return _of_table(store, subject.table, store.within(request.slice), subject, request)
    reference = store.sheet(request.reference or "", request.suite)
    if reference.problem:
        raise UndefinedEstimateError(reference.problem)
    table = store.pair(subject, reference)
    within, of_reference = (store.within(request.slice, side) for side in ("s_", "r_"))
    ours, theirs = store.part(subject, request.slice), store.part(reference, request.slice)
    if not ours.n == theirs.n == store.shared(table, f"{within} AND {of_reference}") or ours.dataset != theirs.dataset:
        raise UndefinedEstimateError("case_mismatch")
    return _of_table(store, table, within, subject, request)


def _of_table(store: _Store, table: str, within: str, subject: _Sheet, request: MeasurementRequest) -> _Found:
    number, metric = store.metrics[request.metric]
    value = f"v{number}"
    clusters = f"count({value})" if subject.own_clusters else f"count(DISTINCT cluster) FILTER ({value} IS NOT NULL)"
    [(n, n_clusters, more, less, faults)] = store.rows(
        f"SELECT count({value}), {clusters}, count(*) FILTER ({value} > 0), count(*) FILTER ({value} < 0), "
        f"count(c{number}) FROM {table} WHERE {within}"
    )
    if faults:
        # Of several the one that comes first by case, as when they are looked at one by one.
        [(first,)] = store.rows(f"SELECT arg_min(c{number}, id) FROM {table} WHERE {within} AND c{number} IS NOT NULL")
        raise UndefinedEstimateError(next(code for code, place in _CODES.items() if place == first))
    if not n:
        raise UndefinedEstimateError("empty")
    if request.cluster and METHODS[request.method].independent and n_clusters != n:
        raise UndefinedEstimateError("clustered")
    asked: dict[str, Any] = {"confidence": request.confidence, "side": request.side}
    if request.method == "clopper_pearson":
        estimate = clopper_pearson(more, n, **asked)
    elif request.method == "tango":
        estimate = tango(more, less, n, **asked)
    elif request.method == "order_statistics":
        [times] = store.arrays(f"SELECT {value} FROM {table} WHERE {within} AND isfinite({value})")
        estimate = quantile_interval(times.astype(np.float64), metric.quantile or 0.5, beyond=n - len(times), **asked)
    else:
        units = _units(store, table, f"{within} AND {value} IS NOT NULL", value, request.cluster and n_clusters != n)
        method: Literal["bootstrap", "bca"] = "bca" if request.method == "bca" else "bootstrap"
        estimate = multinomial_interval(units, clustered=request.cluster, seed=request.seed, method=method, **asked)
    return _Found(estimate, n, n_clusters)


def _units(store: _Store, table: str, where: str, value: str, clustered: bool) -> Units:
    if not clustered:
        return Units.of_cases(*store.arrays(f"SELECT {value}, count(*) AS n FROM {table} WHERE {where} GROUP BY {value}"))
    # In order: sums of floating point numbers depend on it, and the same evidence gives the same numbers.
    values, clusters = store.arrays(f"SELECT {value}, cluster FROM {table} WHERE {where} ORDER BY cluster, {value}")
    return Units.of_clusters(values, clusters)
