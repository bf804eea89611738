"""What a run's files say. Reads only; every number on a page comes from here.

Whatever does not hold becomes a problem of the record, and a record with a problem has the headline NOT RELIABLE.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from distill_gov.records.books import DECISION_FORMAT, StageBalance, differing_stage
from distill_gov.records.errors import BadInputError, MalformedFileError
from distill_gov.records.files import read_parquet
from distill_gov.records.holdouts import students_measured
from distill_gov.records.layout import STAGES, RunLayout
from distill_gov.records.manifest import StageManifest, read_manifest
from distill_gov.records.purges import Purges, purge_notes
from evals.catalogue import CALIBRATION_BINS, SCHEMA_VALID
from evals.evidence import (
    CaseResult,
    Cell,
    Measurement,
    Subject,
    Summary,
    read_cases,
    read_measurements,
    read_subjects,
    read_summaries,
)
from gates.policy import GateRule, Policy, shown
from gates.verdict import GateOutcome, Verdict, read_verdict
from redaction.findings import FINDING_FORMAT
from reports.headline import headline
from reports.loading import Part, RunFiles, conforming
from reports.record import (
    AdmissionRow,
    Baselines,
    ControlRow,
    DropRow,
    FidelityRow,
    Funnel,
    GateRow,
    Interval,
    LedgerView,
    RedactionSummary,
    Reliability,
    ReliabilityBin,
    RunRecord,
    SliceRow,
    SpeedRow,
    SummaryTable,
    Training,
)
from reports.suppression import K, shown_count, shown_counts, shown_slices
from reports.trust import (
    project_of,
    read_checked_ledger,
    read_checked_purges,
    read_checked_verdict,
    read_policy_of,
    unchecked,
    verdict_problems,
)
from reports.wording import (
    ABSENT,
    MARKS,
    NO_FLOOR,
    SEEN_BY_RATERS,
    amount,
    as_stored,
    bound_of,
    estimand_of,
    must_be,
    not_shown,
    rate_in_words,
    size,
    unit_of,
)

__all__ = ["policies_judged", "read_reliability", "read_run", "reliability_choices"]

_STUDENT = "student"
"""Whose verdict has a policy's plain file name (:meth:`RunLayout.verdict`)."""
_TEACHER_TERMS = ("licence", "revision", "terms_accepted_by")
_BUILD, _TRAIN, _EVALUATE, _RATINGS = (f"manifests/{stage}.json" for stage in STAGES)


def read_run(run: RunLayout, policy: str = "gates") -> RunRecord:
    """Read what a run's files hold under one policy. Raises nothing over their content.

    Raises:
        BadInputError: ``policy`` is no name that a policy could have.
    """
    files, manifests, judged = _open(run, policy)
    project = project_of(run)
    rules = read_policy_of(project, policy, judged.content)
    ledger = read_checked_ledger(project)
    purges = read_checked_purges(project, ledger.content)
    measured = files.load(run.measurements(policy), read_measurements, must_be_recorded=False)
    subjects = files.load(run.subjects, _subjects)
    found = measured.content or []
    verdict = judged.content

    def holds(of: Verdict, subject_name: str) -> list[str]:
        return verdict_problems(
            files,
            run,
            of,
            policy_name=policy,
            subject_name=subject_name,
            policy=rules.content,
            measured=measured.content,
            ledger=ledger.content,
            subjects=subjects.content,
        )

    controls, control_problems = _controls(files, run, policy, subjects.content, holds)
    funnel = _funnel(files, run, manifests["build"])
    misses = manifests["ratings"].then(_redaction_misses, where=_RATINGS)
    redaction = _redaction(files, run, manifests["build"], misses.content)
    admission = manifests["build"].then(_admission, where=_BUILD)
    training = manifests["train"].then(_training, where=_TRAIN)
    baselines = manifests["evaluate"].then(lambda m: _baselines(m, found), where=_EVALUATE)
    speed = manifests["evaluate"].then(_speed, where=_EVALUATE)
    fidelity = manifests["evaluate"].then(_fidelity, where=_EVALUATE)
    errored = manifests["evaluate"].then(_errored, where=_EVALUATE)
    reliability = _reliability_of_gates(files, run, verdict)
    summaries = files.load(run.summaries, lambda path: tuple(_in_words(s) for s in read_summaries(path)))

    parts: list[Part[Any]] = [judged, rules, ledger, purges, measured, subjects, *manifests.values(), funnel, redaction, misses]
    parts += [admission, training, baselines, speed, fidelity, errored, *reliability, summaries]
    parts += [funnel.content.drops] if funnel.content else []
    doubts = [
        *(holds(verdict, _STUDENT) if verdict else ()),
        *(part.problem for part in parts if part.problem),
        *control_problems,
    ]
    problems = tuple(dict.fromkeys(doubts))
    gates = _gates(verdict, rules.content, found)
    if problems:
        gates = tuple(replace(row, mark=as_stored(row.mark)) for row in gates)
    simulated = verdict is not None and (verdict.simulated or any("simulated" in _provenance(o) for o in verdict.outcomes))
    return RunRecord(
        run=run.name,
        policy=policy,
        headline=headline(verdict, problems, run=run.name, policy=policy, simulated=simulated),
        problems=problems,
        warnings=(
            *(unchecked(rules, ledger) if verdict else ()),
            *_passing_controls(controls),
            *_residual(redaction),
            *(errored.content or ()),
            *_seen(misses.content),
            *_purged(run, purges.content, ledger.content, manifests["evaluate"].content),
        ),
        simulated=simulated,
        verdict=verdict,
        headers=_headers(verdict, manifests["build"].content),
        gates=gates,
        funnel=funnel,
        redaction=redaction,
        admission=admission,
        training=training,
        subjects=subjects.then(lambda s: Part(tuple(s.values())), where="evidence/subjects.json"),
        baselines=baselines,
        speed=speed,
        fidelity=fidelity,
        controls=controls,
        reliability=reliability,
        summaries=summaries,
        ledger=ledger,
        students_measured=_measured_students(ledger.content, manifests["evaluate"].content),
    )


def _measured_students(ledger: LedgerView | None, evaluated: StageManifest | None) -> int | None:
    holdout = evaluated.inputs.get("holdout", "") if evaluated else ""
    return len(students_measured(ledger.entries, holdout)) if ledger and holdout else None


def _purged(run: RunLayout, purges: Purges | None, ledger: LedgerView | None, evaluated: StageManifest | None) -> list[str]:
    """What a reader must know of purges."""
    if purges is None or ledger is None:
        return []
    holdout = evaluated.inputs.get("holdout", "") if evaluated else ""
    return purge_notes(purges, ledger.entries, run.name, holdout, shown_count)


def policies_judged(run: RunLayout) -> tuple[str, ...]:
    """Names of the policies under which the run's student was judged, the default policy first."""
    names = set()
    for path in run.verdict("gates").parent.glob("*.json"):
        try:
            name = read_verdict(path).policy
            if path == run.verdict(name):
                names.add(name)
        except Exception:
            continue
    return tuple(sorted(names, key=lambda name: (name != "gates", name)))


def _open(run: RunLayout, policy: str) -> tuple[RunFiles, dict[str, Part[StageManifest]], Part[Verdict]]:
    """The run's files with what manifests and the verdict recorded of them."""
    first = RunFiles(run.root)
    manifests = {stage: first.load(run.manifest(stage), _manifest, must_be_recorded=False) for stage in STAGES}
    judged = first.load(run.verdict(policy), read_checked_verdict, must_be_recorded=False)
    recorded: dict[str, str] = {}
    for part in manifests.values():
        recorded.update(part.content.outputs if part.content else {})
    # A manifest's word comes first; the verdict's own list is held against the files in `trust`.
    recorded = {**(judged.content.evidence if judged.content else {}), **recorded}
    project = project_of(run)
    purges = read_checked_purges(project, read_checked_ledger(project).content).content
    return RunFiles(run.root, recorded, purges or Purges()), manifests, judged


def _manifest(path: Path) -> StageManifest:
    found: StageManifest = conforming(read_manifest(path), StageManifest, path.name)
    return found


def _subjects(path: Path) -> dict[str, Subject]:
    read = {name: asdict(subject) for name, subject in read_subjects(path).items()}
    found: dict[str, Subject] = conforming(read, dict[str, Subject], path.name)
    return found


def _fact(manifest: StageManifest, name: str, kind: Any) -> Any:
    """A fact of a manifest, checked; None where the stage noted none."""
    value = manifest.facts.get(name)
    return None if value is None else conforming(value, kind, f"facts.{name}")


# --- gates


def _headers(verdict: Verdict | None, build: StageManifest | None) -> tuple[tuple[str, str], ...]:
    rows = [(key.replace("_", " "), shown(value)) for key, value in (verdict.headers if verdict else {}).items()]
    teacher = build.settings.get("teacher") if build else None
    terms = teacher if isinstance(teacher, Mapping) else {}
    for key in _TEACHER_TERMS if build else ():
        value = terms.get(key)
        rows.append((f"teacher {key.replace('_', ' ')}", shown(value if isinstance(value, str) else "")))
    return tuple(rows)


def _gates(verdict: Verdict | None, policy: Policy | None, measured: Sequence[Measurement]) -> tuple[GateRow, ...]:
    rules = {rule.id: rule for rule in policy.gates} if policy else {}
    return tuple(_gate(o, verdict, rules.get(o.gate), measured) for o in verdict.outcomes) if verdict else ()


def _gate(outcome: GateOutcome, verdict: Verdict, rule: GateRule | None, measured: Sequence[Measurement]) -> GateRow:
    m = outcome.measurement
    request = m.request if m else rule.request(verdict.subject_name) if rule else None
    unit = unit_of(request.metric) if request else ""
    difference = request is not None and request.statistic == "difference"
    bound = bound_of(m) if m else None
    shown = amount(bound, unit, difference=difference, apart_from=outcome.limit)
    return GateRow(
        gate=outcome.gate,
        outcome=outcome.outcome,
        mark=MARKS[outcome.outcome],
        blocks=outcome.blocks,
        required=outcome.required,
        reason=outcome.reason,
        what=" · ".join(part for part in (request.metric, request.suite, request.slice) if part) if request else "",
        reference=amount(outcome.reference_value, unit),
        subject=_subject_value(outcome, unit, measured),
        must_be=must_be(request, outcome.limit) if request else "see the policy",
        bound=shown if bound is None or request is None else f"{'≥' if request.side == 'lower' else '≤'} {shown}",
        n=_cases_used(m),
        unit=unit,
        provenance=", ".join(_provenance(outcome)) or ABSENT,
        interval=_interval(outcome, unit),
        not_shown=not_shown(outcome),
        estimand=estimand_of(request.metric) if request else "",
        rule=rule,
    )


def _provenance(outcome: GateOutcome) -> tuple[str, ...]:
    return outcome.measurement.provenance if outcome.measurement else ()


def _subject_value(outcome: GateOutcome, unit: str, measured: Sequence[Measurement]) -> str:
    m = outcome.measurement
    if m is None or m.value is None:
        return ABSENT
    if m.request.statistic == "level":
        return amount(m.value, unit, apart_from=outcome.limit)
    level = next((other.value for other in measured if _is_level_of(m, other)), None)
    if level is None and outcome.reference_value is not None and unit == "share":
        # Shares of a pair are over the same cases, so the difference leads from one level to the other.
        level = outcome.reference_value + m.value
    change = amount(m.value, unit, difference=True)
    return change if level is None else f"{amount(level, unit)} ({change})"


def _is_level_of(m: Measurement, other: Measurement) -> bool:
    def key(x: Measurement) -> tuple[object, ...]:
        return x.subject, x.dataset, x.request.metric, x.request.suite, x.request.slice

    return other.request.statistic == "level" and key(other) == key(m)


def _cases_used(m: Measurement | None) -> str:
    if m is None:
        return ABSENT
    if m.n_run == 0:
        return f"0 of {m.n_planned:,} run"
    notes = []
    if m.n_run != m.n_planned:
        notes.append(f"{m.n_run:,} of {m.n_planned:,} run")
    if m.n_errored:
        notes.append(f"{m.n_errored:,} errored")
    return f"{m.n_scored:,}" + (f" ({', '.join(notes)})" if notes else "")


def _interval(outcome: GateOutcome, unit: str) -> Interval | None:
    m = outcome.measurement
    if m is None or m.value is None:
        return None
    difference = m.request.statistic == "difference"
    return Interval(m.value, m.low, m.high, outcome.limit, m.request.side, unit, difference)


# --- the teaching set


def _funnel(files: RunFiles, run: RunLayout, build: Part[StageManifest]) -> Part[Funnel]:
    def made(manifest: StageManifest) -> Part[Funnel]:
        books = _fact(manifest, "books", list[StageBalance])
        if books is None:
            return Part()
        _check_balance(books)
        drops = files.load(run.decisions, lambda path: _drops(path, books))
        origin = _fact(manifest, "origin", dict[str, int]) or {}
        slices = _fact(manifest, "slices", _SlicesFact)
        counts = {name: asdict(row) for name, row in slices.counts.items()} if slices else {}
        return Part(Funnel(tuple(books), drops, tuple(shown_counts(origin).items()), tuple(shown_slices(counts))))

    return build.then(made, where=_BUILD)


def _check_balance(books: Sequence[StageBalance]) -> None:
    for line in books:
        if line.came_in + line.made != line.kept + line.dropped + line.reserved:
            raise MalformedFileError(f"the books do not balance at stage {line.stage}")
    for before, after in pairwise(books):
        if before.kept != after.came_in:
            raise MalformedFileError(f"the books do not balance between {before.stage} and {after.stage}")


def _drops(path: Path, books: Sequence[StageBalance]) -> tuple[DropRow, ...]:
    rows = read_parquet(path, format=DECISION_FORMAT)
    counts = Counter((r["stage"], r["outcome"], r["rule"], r["reason"]) for r in rows if r["outcome"] != "kept")
    if (stage := differing_stage(books, rows)) is not None:
        raise MalformedFileError(f"decisions at stage {stage} are not those of the books")
    order = {line.stage: place for place, line in enumerate(books)}
    keys = sorted(counts, key=lambda key: (order.get(key[0], len(order)), -counts[key], key))
    return tuple(DropRow(*key, n=counts[key]) for key in keys)


@dataclass(frozen=True, slots=True)
class _SliceCounts:
    traces: int
    teaching: int
    holdout: int


@dataclass(frozen=True, slots=True)
class _SlicesFact:
    by: str
    counts: dict[str, _SliceCounts]


@dataclass(frozen=True, slots=True)
class _RedactionFact:
    findings: int
    by_entity: dict[str, int]
    residual: int | None = None


def _entities(path: Path) -> dict[str, int]:
    return dict(Counter(row["entity"] for row in read_parquet(path, format=FINDING_FORMAT)))


def _redaction(
    files: RunFiles, run: RunLayout, build: Part[StageManifest], seen_by_raters: int | None
) -> Part[RedactionSummary]:
    def made(manifest: StageManifest) -> Part[RedactionSummary]:
        fact: _RedactionFact | None = _fact(manifest, "redaction", _RedactionFact)
        if fact is None:
            return Part()
        if sum(fact.by_entity.values()) != fact.findings:
            raise MalformedFileError("findings by entity do not add up to all findings")
        stored = files.load(run.findings, _entities)
        if stored.problem:
            return Part(problem=stored.problem)
        if stored.content is not None and stored.content != {e: n for e, n in fact.by_entity.items() if n}:
            raise MalformedFileError("findings by entity are not those of the findings file")
        shown = shown_counts(fact.by_entity)
        order = sorted(shown, key=lambda entity: (-fact.by_entity[entity], entity))
        return Part(
            RedactionSummary(
                shown_count(fact.findings),
                fact.residual,
                seen_by_raters,
                tuple((entity, shown[entity]) for entity in order),
            )
        )

    return build.then(made, where=_BUILD)


def _residual(redaction: Part[RedactionSummary]) -> list[str]:
    left = redaction.content.residual if redaction.content else 0
    return [f"The scan after redaction still found {left:,} values of personal data in the teaching set."] if left else []


def _redaction_misses(ratings: StageManifest) -> Part[int]:
    return Part(_fact(ratings, "redaction_misses", int))


def _seen(misses: int | None) -> list[str]:
    return [f"{SEEN_BY_RATERS}: {misses:,}. Redaction had missed it."] if misses else []


@dataclass(frozen=True, slots=True)
class _AdmissionFact:
    value: float
    floor: float | None
    n: int


def _admission(manifest: StageManifest) -> Part[tuple[AdmissionRow, ...]]:
    facts: dict[str, _AdmissionFact] | None = _fact(manifest, "admission", dict[str, _AdmissionFact])
    if facts is None:
        return Part()
    rows = []
    for metric, fact in facts.items():
        unit = unit_of(metric)
        value = amount(fact.value, unit, apart_from=fact.floor)
        floor = NO_FLOOR if fact.floor is None else amount(fact.floor, unit)
        rows.append(AdmissionRow(metric, value, floor, fact.n, admitted=fact.floor is None or fact.value >= fact.floor))
    return Part(tuple(rows))


# --- training and what it is held against


@dataclass(frozen=True, slots=True)
class _StudentFact:
    parameters: int | None = None
    layers: int | None = None
    teacher_parameters: int | None = None


_Logged = dict[str, float | str | None]
"""A row of the training's log: ``stage``, ``step``, ``loss``, every term and, as ``weighted.<term>``, what it counted."""


@dataclass(frozen=True, slots=True)
class _MadeFact:
    layers: list[int]
    base_layers: int
    width: dict[str, int]
    from_: Annotated[str, Field(alias="from")]


def _made(fact: _MadeFact | None) -> str:
    if fact is None:
        return ""
    if fact.from_ == "pretrained":
        return "a pretrained model, as it was"
    sizes = ", ".join(f"{name.replace('_', '-')} {n:,}" for name, n in fact.width.items() if name != "head_dim")
    if fact.from_ == "random":
        return f"random weights; {sizes}"
    return f"layers {', '.join(map(str, fact.layers))} of {fact.base_layers}; {sizes}"


@dataclass(frozen=True, slots=True)
class _SweepFact:
    trials: int
    metrics: list[str]
    best: bool


def _training(manifest: StageManifest) -> Part[Training]:
    student: _StudentFact | None = _fact(manifest, "student", _StudentFact)
    if student is None:
        return Part()
    temperature: dict[str, float] = _fact(manifest, "temperature", dict[str, float]) or {}
    losses: list[_Logged] = _fact(manifest, "losses", list[_Logged]) or []
    stages = [
        [row for row in losses if row.get("stage", "") == name]
        for name in dict.fromkeys(row.get("stage", "") for row in losses)
    ]
    return Part(
        Training(
            parameters=size(student.parameters),
            layers=str(student.layers or ABSENT),
            teacher_parameters=size(student.teacher_parameters),
            temperatures=tuple((field, f"{t:.3f}") for field, t in sorted(temperature.items())),
            losses=tuple(line for rows in stages for line in _terms(rows, named=len(stages) > 1)),
            steps=sum(int(rows[-1].get("step") or 0) for rows in stages),
            count=student.parameters,
            made=_made(_fact(manifest, "made", _MadeFact)),
            swept=_swept(manifest),
        )
    )


def _terms(rows: Sequence[_Logged], *, named: bool) -> Iterator[tuple[str, str, str, str]]:
    """Of one stage: each term, its first and its last value, and its share of the loss at the end."""
    keys = dict.fromkeys(key for row in rows for key in row if key not in ("stage", "step") and "." not in key)
    stage = f"{rows[0].get('stage')}: " if named else ""
    for term in keys:
        values = [x for row in rows if isinstance(x := row.get(term), float | int)]
        if not values:
            continue
        counted, whole = rows[-1].get(f"weighted.{term}"), rows[-1].get("loss")
        told = isinstance(counted, float | int) and isinstance(whole, float | int) and whole > 0
        share = f"{100 * float(counted or 0) / float(whole or 1):.1f} %" if told else ""
        yield f"{stage}{term}", f"{values[0]:.3f}", f"{values[-1]:.3f}", share


def _swept(manifest: StageManifest) -> str:
    fact: _SweepFact | None = _fact(manifest, "sweep", _SweepFact)
    if fact is None:
        return ""
    chosen = "trained with the best of them" if fact.best else "not trained with the best of them"
    return f"{fact.trials:,} settings were tried on dev by {', '.join(fact.metrics)}; {chosen}"


def _baselines(manifest: StageManifest, measured: Sequence[Measurement]) -> Part[Baselines]:
    facts: list[dict[str, float | str | None]] | None = _fact(manifest, "baselines", list[dict[str, float | str | None]])
    if facts is None:
        return Part()
    metrics = tuple(dict.fromkeys(key for row in facts for key in row if key not in ("name", "note")))
    ours = [(name, _levels(name, measured), "") for name in ("teacher", "student")]
    theirs = [(str(row.get("name") or ABSENT), row, str(row.get("note") or "")) for row in facts]
    rows = []
    for name, values, note in (*(row for row in ours if any(metric in row[1] for metric in metrics)), *theirs):
        numbers = [values.get(metric) for metric in metrics]
        cells = tuple(
            amount(x if isinstance(x, float | int) else None, unit_of(m)) for x, m in zip(numbers, metrics, strict=True)
        )
        rows.append((name, cells, note))
    return Part(Baselines(metrics, tuple(rows)))


def _levels(subject: str, measured: Sequence[Measurement]) -> dict[str, float | str | None]:
    return {
        m.request.metric: m.value
        for m in measured
        if m.request.subject == subject and m.request.statistic == "level" and m.request.slice is None
    }


@dataclass(frozen=True, slots=True)
class _SpeedFact:
    n: int | None = None
    first_token_p50: float | None = None
    first_token_p95: float | None = None
    last_token_p50: float | None = None
    last_token_p95: float | None = None
    first_token_p50_low: float | None = None
    first_token_p50_high: float | None = None
    first_token_p95_low: float | None = None
    first_token_p95_high: float | None = None
    last_token_p50_low: float | None = None
    last_token_p50_high: float | None = None
    last_token_p95_low: float | None = None
    last_token_p95_high: float | None = None
    tokens_per_s: float | None = None
    tokens_per_s_low: float | None = None
    tokens_per_s_high: float | None = None
    peak_rss_bytes: int | None = None
    cost_per_request: float | None = None
    currency: str = ""
    parameters: int | None = None
    bytes: int | None = None

    def within(self, name: str) -> str:
        """A quantile with its interval; a bound that so few requests cannot give is a dash."""
        value = getattr(self, name)
        low, high = (amount(getattr(self, f"{name}_{end}"), "s") for end in ("low", "high"))
        return amount(value, "s") + (f" ({low} to {high})" if (low, high) != (ABSENT, ABSENT) else "")

    @property
    def rate(self) -> tuple[float, float | None, float | None] | None:
        return None if self.tokens_per_s is None else (self.tokens_per_s, self.tokens_per_s_low, self.tokens_per_s_high)


def _speed(manifest: StageManifest) -> Part[tuple[SpeedRow, ...]]:
    facts: dict[str, _SpeedFact] | None = _fact(manifest, "speed", dict[str, _SpeedFact])
    if facts is None:
        return Part()
    return Part(
        tuple(
            SpeedRow(
                subject,
                ABSENT if fact.n is None else f"{fact.n:,}",
                fact.within("first_token_p50"),
                fact.within("first_token_p95"),
                fact.within("last_token_p50"),
                fact.within("last_token_p95"),
                rate_in_words(fact.rate),
                size(fact.peak_rss_bytes, "B"),
                ABSENT if fact.cost_per_request is None else f"{1000 * fact.cost_per_request:.2g} {fact.currency} per 1,000",
                size(fact.parameters),
                size(fact.bytes, "B"),
                fact.rate,
                fact.parameters,
            )
            for subject, fact in facts.items()
        )
    )


@dataclass(frozen=True, slots=True)
class _AgreementFact:
    n: int
    agreed: int


@dataclass(frozen=True, slots=True)
class _PairedFact:
    both: int
    teacher_only: int
    student_only: int
    neither: int


@dataclass(frozen=True, slots=True)
class _FidelityFact:
    fields: dict[str, _AgreementFact]
    right: dict[str, dict[str, _PairedFact]]


def _fidelity(manifest: StageManifest) -> Part[tuple[FidelityRow, ...]]:
    facts: dict[str, _FidelityFact] | None = _fact(manifest, "fidelity", dict[str, _FidelityFact])
    compared = (facts or {}).get("holdout")
    if compared is None:
        return Part()
    rows = []
    for field, same in compared.fields.items():
        right = compared.right.get(field, {}).get("all") or _PairedFact(0, 0, 0, 0)
        counts = (right.both, right.teacher_only, right.student_only, right.neither)
        share = amount(same.agreed / same.n if same.n else None, "share")
        rows.append(FidelityRow(field, f"{same.n:,}", share, *(f"{count:,}" for count in counts)))
    return Part(tuple(rows))


def _in_words(summary: Summary) -> SummaryTable:
    units = [column.unit for column in summary.columns]
    return SummaryTable(
        summary.name,
        summary.title,
        summary.caption,
        tuple(column.title for column in summary.columns),
        tuple(place for place, unit in enumerate(units) if unit not in ("text", "metric")),
        tuple(_row_in_words(row, units) for row in summary.rows),
    )


def _row_in_words(row: Sequence[Cell], units: Sequence[str]) -> tuple[str, ...]:
    own = next((unit_of(str(cell)) for cell, unit in zip(row, units, strict=True) if unit == "metric"), "")
    return tuple(_cell(cell, own if unit == "value" else unit) for cell, unit in zip(row, units, strict=True))


def _cell(cell: Cell, unit: str) -> str:
    if cell is None or isinstance(cell, str):
        return cell or ABSENT
    return f"{int(cell):,}" if unit == "count" else amount(cell, unit)


def _errored(manifest: StageManifest) -> Part[tuple[str, ...]]:
    """What a reader must know of cases that came to no answer."""
    facts: dict[str, dict[str, dict[str, int]]] | None = _fact(manifest, "errored", dict[str, dict[str, dict[str, int]]])
    lost = [(who, suite, causes) for who, suites in (facts or {}).items() for suite, causes in suites.items()]
    return Part(
        tuple(
            f"{sum(causes.values()):,} cases of {who} on {suite} errored ({', '.join(sorted(causes))}) and count as the worst."
            for who, suite, causes in lost
        )
    )


_Holds = Callable[[Verdict, str], list[str]]
"""From a verdict and the subject in whose place it lies to what does not hold of it."""


def _controls(
    files: RunFiles, run: RunLayout, policy: str, subjects: Mapping[str, Subject] | None, holds: _Holds
) -> tuple[Part[tuple[ControlRow, ...]], list[str]]:
    """Every control that was measured, judged or not, and what does not hold of their verdicts."""
    rows: list[ControlRow] = []
    problems: list[str] = []
    for name, subject in (subjects or {}).items():
        if subject.role != "control":
            continue
        part = files.load(run.verdict(policy, name), read_checked_verdict, must_be_recorded=False)
        broken = [part.problem] if part.problem else holds(part.content, name) if part.content else []
        problems += broken
        verdict = None if broken else part.content
        blocking = [o for o in verdict.outcomes if o.blocks] if verdict else []
        rows.append(
            ControlRow(
                name,
                "not reliable" if broken else verdict.decision if verdict else "not judged",
                tuple(o.gate for o in blocking if o.outcome == "FAIL"),
                tuple(o.gate for o in blocking if o.outcome != "FAIL"),
                subject.note,
            )
        )
    return Part(tuple(rows)) if rows else Part(), problems


def _passing_controls(controls: Part[tuple[ControlRow, ...]]) -> list[str]:
    return [
        f"Control {row.name} passed this policy: its gates do not tell a bad student from a good one."
        for row in controls.content or ()
        if row.decision == "PASSED"
    ]


# --- reliability


def read_reliability(run: RunLayout, policy: str, suite: str, subject: str, field: str) -> Part[Reliability]:
    """How far one subject's confidences on a decision field can be believed.

    Raises:
        BadInputError: ``suite`` or ``subject`` is no name.
    """
    files, _, _ = _open(run, policy)
    return _reliability(files, run, suite, subject, field)


def reliability_choices(run: RunLayout) -> tuple[tuple[str, str, str], ...]:
    """Suite, subject and decision field of everything that :func:`read_reliability` can show."""
    found = []
    files, _, _ = _open(run, "gates")
    subjects = files.load(run.subjects, _subjects).content or {}
    for path in sorted(run.cases("any", "any").parent.glob("*.parquet")):
        owners = [name for name in subjects if path.stem.endswith(f".{name}")]
        if not owners:
            continue
        subject = max(owners, key=len)
        results = files.load(path, read_cases, must_be_recorded=False).content or []
        fields = sorted({d.field for r in results for d in r.decisions if d.correct is not None and d.confidence is not None})
        found += [(path.stem.removesuffix(f".{subject}"), subject, field) for field in fields]
    return tuple(found)


def _reliability_of_gates(files: RunFiles, run: RunLayout, verdict: Verdict | None) -> tuple[Part[Reliability], ...]:
    """For each calibration gate the subject judged, then those it is compared with."""
    found: list[Part[Reliability]] = []
    for outcome in verdict.outcomes if verdict else ():
        m = outcome.measurement
        if verdict is None or m is None or not m.request.metric.startswith("calibration_error."):
            continue
        field = m.request.metric.partition(".")[2]
        for subject, digest in ((verdict.subject_name, verdict.subject), *verdict.references.items()):
            part = _named(files, run, m.request.suite, subject, field, digest)
            if part.state != "absent":
                found.append(part)
            if subject == verdict.subject_name and part.state == "there":
                raw = _named(files, run, m.request.suite, subject, field, digest, raw=True)
                found += [raw] if raw.state != "absent" else []
    return tuple(found)


def _named(
    files: RunFiles, run: RunLayout, suite: str, subject: str, field: str, digest: str, *, raw: bool = False
) -> Part[Reliability]:
    try:
        return _reliability(files, run, suite, subject, field, digest=digest, raw=raw)
    except BadInputError:
        return Part(problem="the verdict names a suite or subject that cannot exist")


def _reliability(
    files: RunFiles, run: RunLayout, suite: str, subject: str, field: str, *, digest: str | None = None, raw: bool = False
) -> Part[Reliability]:
    path = run.cases(suite, subject)

    def made(results: list[CaseResult]) -> Part[Reliability]:
        if digest is not None and any(result.subject != digest for result in results):
            raise MalformedFileError("its cases are of another subject than the verdict names")
        stated = [d.confidence for r in results for d in r.decisions if d.field == field and d.predicted is not None]
        if stated and all(confidence is None for confidence in stated):
            # A recorded teacher: nobody knows how sure it was.
            return Part()
        if raw and not any(d.raw_logp and d.raw_logp != d.logp for r in results for d in r.decisions if d.field == field):
            # No temperature was fitted, or it is 1.
            return Part()
        return Part(_table(results, suite, subject, field, raw))

    return files.load(path, read_cases).then(made, where=files.name(path))


def _table(results: Sequence[CaseResult], suite: str, subject: str, field: str, raw: bool) -> Reliability:
    pairs = [(result, *pair) for result in results if (pair := _prediction(result, field, raw)) is not None]
    if not pairs:
        raise MalformedFileError(f"no case has a decision on {field}")
    n = len(pairs)
    return Reliability(
        subject=subject,
        suite=suite,
        field=field,
        n=n,
        confidence=sum(c for _, c, _ in pairs) / n,
        accuracy=sum(r for _, _, r in pairs) / n,
        bins=_bins([(c, r) for _, c, r in pairs]),
        slices=() if raw else _slices(pairs),
        raw=raw,
    )


def _prediction(result: CaseResult, field: str, raw: bool) -> tuple[float, float] | None:
    """Confidence and correctness as the calibration gate counts them; None where the case has no reference.

    An errored case and an invalid answer are wrong with confidence 1.

    Args:
        raw: take the confidence before the temperature.
    """
    decision = next((d for d in result.decisions if d.field == field), None)
    unusable = result.status == "errored" or result.scores.get(SCHEMA_VALID) == 0
    if unusable or (decision is not None and decision.predicted is None):
        return 1.0, 0.0
    if decision is None:
        raise MalformedFileError(f"a readable answer has no decision on {field}")
    if decision.correct is None:
        return None
    stated = decision.raw_logp.get(decision.predicted or "") if raw else None
    confidence = decision.confidence if not raw else None if stated is None else min(1.0, math.exp(min(stated, 1.0)))
    if confidence is None or not 0 <= confidence <= 1:
        raise MalformedFileError(f"a decision on {field} has no confidence in [0, 1]")
    return confidence, float(decision.correct)


def _bins(pairs: Sequence[tuple[float, float]], bins: int = CALIBRATION_BINS) -> tuple[ReliabilityBin, ...]:
    """Bins of equal mass by rank of confidence; equal confidences share the bin in which the first of them falls."""
    ranked = sorted(pairs)
    first: dict[float, int] = {}
    for rank, (confidence, _) in enumerate(ranked):
        first.setdefault(confidence, rank)
    by_bin: dict[int, list[tuple[float, float]]] = {}
    for confidence, right in ranked:
        by_bin.setdefault(first[confidence] * bins // len(ranked), []).append((confidence, right))
    return tuple(
        ReliabilityBin(
            low=rows[0][0],
            high=rows[-1][0],
            n=len(rows),
            confidence=sum(c for c, _ in rows) / len(rows),
            accuracy=sum(r for _, r in rows) / len(rows),
        )
        for _, rows in sorted(by_bin.items())
    )


def _slices(pairs: Iterable[tuple[CaseResult, float, float]]) -> tuple[SliceRow, ...]:
    members: dict[str, list[tuple[float, float]]] = {}
    for result, confidence, right in pairs:
        for name in result.slices:
            members.setdefault(name, []).append((confidence, right))
    rows = []
    for name, values in sorted(members.items()):
        n = len(values)
        shares = (sum(r for _, r in values) / n, sum(c for c, _ in values) / n)
        cells = [amount(share, "share") if n >= K else ABSENT for share in shares]
        rows.append(SliceRow(name, shown_count(n), *cells))
    return tuple(rows)
