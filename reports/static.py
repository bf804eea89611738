"""One self-contained HTML page of a run: no script, nothing loaded from elsewhere, the same bytes from the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from distill_gov.records.files import write_text
from distill_gov.records.layout import RunLayout
from reports.charts import interval_chart, reliability_diagram
from reports.loading import Part
from reports.markup import Html, definition_list, page, table, text
from reports.queries import read_run
from reports.record import Funnel, GateRow, LedgerView, RedactionSummary, Reliability, RunRecord, SummaryTable, Training
from reports.suppression import K
from reports.wording import ABSENT, NOT_DONE, SEEN_BY_RATERS, SIMULATED, STATEMENT, Mark, amount, short_digest

__all__ = ["interval_charts", "render", "write_report"]

_LAST_ENTRIES = 20

T = TypeVar("T")


def write_report(run: RunLayout, policy: str = "gates", *, path: Path | None = None) -> Path:
    """Write the page of a run under a policy, and return where it is.

    Args:
        run: the run; any part of it may be absent.
        policy: whose verdict it shows.
        path: where to write; None takes the run's ``pages/report.html``.

    Raises:
        BadInputError: ``policy`` is no name that a policy could have.
    """
    target = path or run.report()
    write_text(target, render(read_run(run, policy)))
    return target


def render(record: RunRecord) -> str:
    """The page as text."""
    head = record.headline
    banner = f'<p class="simulated" role="note">{text(SIMULATED)}</p>' if record.simulated else ""
    sections = "".join(section(record) for section in _SECTIONS)
    body = (
        f"{_first_screen(record)}\n<main>\n{sections}</main>\n"
        f"<footer><p>{text(STATEMENT)}</p><p>This page is derived from the run's files; the files are the evidence. "
        f"<code>distill-gov verify --run {text(record.run)}</code> checks them and decides again.</p></footer>\n"
    )
    return page(f"{head.state} · {record.run} under {record.policy}", body, banner)


# --- the first screen


def _first_screen(record: RunRecord) -> Html:
    head = record.headline
    word = f"{head.state} (simulated)" if record.simulated and head.state == "PASSED" else head.state
    ends = "no exit code" if head.exit_code is None else f"exit code {head.exit_code}"
    links = "".join(f'<a href="#{ident}">{text(name)}</a>' for ident, name in _CONTENTS)
    return Html(
        f'<header class="verdict {head.tone}" id="verdict">'
        f'<p class="eyebrow">distill-gov · run {text(record.run)} · policy {text(record.policy)}</p>'
        f'<h1><span class="word"><span aria-hidden="true">{text(head.icon)}</span> {text(word)}</span>'
        f'<span class="exit">{ends}</span></h1>'
        f'<p class="why">{text(head.why)}</p>'
        f"{_list('problems', record.problems)}{_list('warnings', record.warnings)}"
        f'<p class="next">{text(head.advice)}<code>{text(head.command)}</code></p>'
        f'{_identity(record)}</header><nav aria-label="Contents">{links}</nav>'
    )


def _list(kind: str, lines: Sequence[str]) -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{text(line)}</li>" for line in lines)}</ul>' if lines else ""


def _identity(record: RunRecord) -> Html:
    v = record.verdict
    if v is None:
        return Html("")
    return definition_list(
        [
            ("Gates that hold", record.gates_that_hold),
            ("Attempt on this holdout", f"{v.attempt} of {v.max_attempts}"),
            ("Students measured on it by now", ABSENT if record.students_measured is None else record.students_measured),
            ("Evaluations that opened it", record.opened),
            ("Subject judged", f"{v.subject_name} {short_digest(v.subject)}"),
            ("Policy", f"{v.policy} {short_digest(v.policy_digest)}"),
            ("Decided", v.at or ABSENT),
            ("Approved by", dict(record.headers).get("approved by", ABSENT)),
        ]
    )


# --- sections


def _section(record: RunRecord, ident: str, title: str, *content: str) -> Html:
    tag = '<span class="tag">simulated ratings</span>' if record.simulated else ""
    return Html(f'<section id="{ident}"><h2>{text(title)}{tag}</h2>{"".join(content)}</section>\n')


def _part(part: Part[T], show: Callable[[T], str], absent: str) -> str:
    """A part's content, or in words why there is none."""
    if part.problem:
        return f'<p class="problem">! Cannot be shown: {text(part.problem)}.</p>'
    if part.content is None:
        return f'<p class="absent">{text(NOT_DONE.capitalize())}: {text(absent)}</p>'
    return show(part.content)


def _mark(mark: Mark) -> Html:
    return Html(f'<span class="mark {mark.tone}"><span aria-hidden="true">{mark.icon}</span> {text(mark.word)}</span>')


def _two(first: object, second: object) -> Html:
    return Html(f'{text(first)}<span class="sub">{text(second)}</span>') if second else text(first)


def _gates(record: RunRecord) -> Html:
    if not record.gates:
        return _section(record, "gates", "Gates", '<p class="absent">Not done: there is no verdict to read gates from.</p>')
    rows = [
        (
            _two(row.gate, row.what + ("" if row.required else " · shown only, not required")),
            _two(_mark(row.mark), row.reason),
            row.reference,
            row.subject,
            row.must_be,
            row.bound,
            row.n,
        )
        for row in record.gates
    ]
    figures = [
        f"<figure><figcaption>{text(caption)}</figcaption>{chart}</figure>" for caption, chart in interval_charts(record.gates)
    ]
    classes = ["blocks" if row.blocks else "required" if row.required else "shown" for row in record.gates]
    head = ("Gate", "Outcome", "Teacher", _who(record).capitalize(), "Must be", "Bound", "n")
    caption = "The bound, not the value, is held against the limit. A bar at the left marks a gate that blocks."
    return _section(
        record,
        "gates",
        "Gates",
        table(caption, head, rows, numeric=(2, 3, 4, 5, 6), row_classes=classes),
        f'<div class="charts">{"".join(figures)}</div>',
    )


def _who(record: RunRecord) -> str:
    return record.verdict.subject_name if record.verdict else "student"


_GROUPS = {
    "share": "Shares, in percentage points from the limit",
    "points": "Ratings, in points from the limit",
    "alpha": "Agreement of raters, in alpha from the limit",
    "s": "Times, in seconds from the limit",
}


def interval_charts(gates: Sequence[GateRow]) -> tuple[tuple[str, str], ...]:
    """Caption and chart for each unit that gates are measured in."""
    groups: dict[str, list[GateRow]] = {}
    for row in gates:
        groups.setdefault(row.unit, []).append(row)
    return tuple(
        (
            f"{_GROUPS.get(unit, 'Other gates')}. Dot: value. Line: interval. Tick: the bound that decides.",
            interval_chart(rows, ident=f"intervals-{number}"),
        )
        for number, (unit, rows) in enumerate(groups.items())
        if any(row.interval for row in rows)
    )


def _approval(record: RunRecord) -> Html:
    if not record.headers:
        body = '<p class="absent">Not done: there is no verdict, so nothing was approved.</p>'
    else:
        body = definition_list(record.headers)
    return _section(record, "approval", "Use and approval", body)


def _limits(record: RunRecord) -> Html:
    if not record.gates:
        return Html("")
    rows = [(row.gate, row.n, row.not_shown) for row in record.gates]
    return _section(
        record,
        "limits",
        "What these numbers cannot show",
        "<p>A gate that holds says that the truth is probably on the right side of its limit, and no more. "
        "Risks that no gate names were not measured.</p>",
        table("For each gate, what its number of cases leaves open.", ("Gate", "n", "Leaves open"), rows),
    )


def _reliability(record: RunRecord) -> Html:
    body = "".join(_part(part, _one_reliability(number), "") for number, part in enumerate(record.reliability))
    absent = '<p class="absent">Not done: no calibration gate was judged.</p>'
    return _section(
        record,
        "reliability",
        "Reliability of confidences",
        "<p>Where dots lie under the diagonal, the model is surer than it is right.</p>" if body else absent,
        f'<div class="charts">{body}</div>' if body else "",
    )


def _one_reliability(number: int) -> Callable[[Reliability], str]:
    def show(t: Reliability) -> str:
        rows = [
            (place, f"{b.low:.2f} to {b.high:.2f}", f"{b.n:,}", amount(b.confidence, "share"), amount(b.accuracy, "share"))
            for place, b in enumerate(t.bins, start=1)
        ]
        caption = (
            f"{t.of}: {t.n:,} cases, mean confidence {amount(t.confidence, 'share')}, right {amount(t.accuracy, 'share')}."
        )
        head = ("Bin", "Confidence", "n", "Mean", "Right")
        return (
            f"<figure><figcaption>{text(caption)}</figcaption>{reliability_diagram(t, ident=f'reliability-{number}')}"
            f"{table('The same in numbers; bins of equal mass.', head, rows, numeric=(2, 3, 4))}{_slices(t)}</figure>"
        )

    return show


def _slices(t: Reliability) -> str:
    if not t.slices:
        return ""
    rows = [(s.slice, s.n, s.accuracy, s.confidence) for s in t.slices]
    caption = f"By slice. Slices of fewer than {K} cases are not shown."
    return table(caption, ("Slice", "n", "Right", "Mean confidence"), rows, numeric=(1, 2, 3))


def _controls(record: RunRecord) -> Html:
    def show(rows: Sequence[object]) -> str:
        cells = [
            (
                _two(row.name, row.note),
                _control_mark(row.decision),
                ", ".join(row.caught_by) or "no gate failed it",
                ", ".join(row.open_on) or ABSENT,
            )
            for row in record.controls.content or ()
        ]
        head = ("Control", "Verdict", "Caught by", "Also blocked by")
        return table("Students known to be bad, under the same policy. Each must be caught.", head, cells)

    return _section(record, "controls", "Do the gates bite?", _part(record.controls, show, "no control was measured."))


def _control_mark(decision: str) -> Html:
    # For a control the good outcome is to be blocked.
    mark = {
        "BLOCKED": Mark("✓", "blocked, as it must be", "good"),
        "PASSED": Mark("✗", "passed, which it must not", "bad"),
        "not judged": Mark("○", "not judged", "open"),
    }.get(decision, Mark("!", decision, "bad"))
    return _mark(mark)


def _beside(record: RunRecord) -> Html:
    body = _part(
        record.summaries,
        lambda tables: "".join(f'<h3 id="summary-{text(t.name)}">{text(t.title)}</h3>{_folded(t)}' for t in tables),
        "nothing was summed up.",
    )
    note = "<p>Shown, and not decided on: what no gate names blocks nothing.</p>"
    return _section(record, "measured", "What else was measured", note, body)


_LONG = 40


def _folded(t: SummaryTable) -> str:
    """A table; a long one is folded away until it is asked for."""
    whole = table(t.caption, t.head, t.rows, numeric=t.numeric)
    return whole if len(t.rows) <= _LONG else f"<details><summary>{len(t.rows):,} rows</summary>{whole}</details>"


def _timed(time: str) -> Html:
    value, _, interval = time.partition(" (")
    return _two(value, interval.removesuffix(")"))


def _worth(record: RunRecord) -> Html:
    baselines = _part(
        record.baselines,
        lambda b: table(
            "What simpler ways reach on the same cases.",
            ("Way", *b.metrics),
            [(_two(name, note), *values) for name, values, note in b.rows],
            numeric=range(1, len(b.metrics) + 1),
        ),
        "no baseline was measured.",
    )
    speed = _part(
        record.speed,
        lambda rows: table(
            "Measured on the machine that ran the evaluation; not comparable across machines. Below a time its 95 % interval.",
            ("Subject", "First token p50", "p95", "Last token p50", "p95", "Tokens/s", "Memory", "Cost", "Parameters"),
            [
                (
                    _two(r.subject, f"{r.n} requests"),
                    *(_timed(time) for time in (r.first_token_p50, r.first_token_p95, r.last_token_p50, r.last_token_p95)),
                    _timed(r.tokens_per_s),
                    r.memory,
                    r.cost,
                    _two(r.parameters, r.bytes),
                )
                for r in rows
            ],
            numeric=range(1, 9),
        ),
        "speed was not measured.",
    )
    fidelity = _part(
        record.fidelity,
        lambda rows: table(
            "On the holdout: how often both decide alike, and on how many cases with a reference each was right.",
            ("Field", "n", "Alike", "Both right", "Teacher only", "Student only", "Neither"),
            [(r.field, r.n, r.agreed, r.both, r.teacher_only, r.student_only, r.neither) for r in rows],
            numeric=range(1, 7),
        ),
        "student and teacher were not compared decision by decision.",
    )
    return _section(
        record,
        "worth",
        "Worth distilling?",
        baselines,
        f'<h3 id="fidelity">Does the student do as its teacher does?</h3>{fidelity}',
        f'<h3 id="speed">Speed and size</h3>{speed}',
    )


def _teaching(record: RunRecord) -> Html:
    return _section(
        record,
        "teaching",
        "Teaching set",
        _part(record.funnel, _funnel, "stage build has no record of its books."),
        "<h3>Redaction</h3>",
        _part(record.redaction, _redaction, "stage build has no record of redaction."),
        "<h3>Was the teacher admitted?</h3>",
        _part(
            record.admission,
            lambda rows: table(
                "The teacher was measured against a floor before it taught.",
                ("Metric", "Value", "Floor", "n", "Admitted"),
                [
                    (r.metric, r.value, r.floor, r.n, _mark(Mark("✓", "yes", "good") if r.admitted else Mark("✗", "no", "bad")))
                    for r in rows
                ],
                numeric=(1, 2, 3),
            ),
            "stage build has no record of an admission.",
        ),
        "<h3>Training</h3>",
        _part(record.training, _training, "stage train has no record; the student was made elsewhere."),
    )


def _funnel(funnel: Funnel) -> str:
    rows = [(s.stage, s.unit, *(f"{n:,}" for n in (s.came_in, s.made, s.kept, s.dropped, s.reserved))) for s in funnel.stages]
    head = ("Stage", "Unit", "In", "Made", "Kept", "Dropped", "Reserved")
    origin = f'<p class="note">Origin of the traces: {text(", ".join(f"{name} {n}" for name, n in funnel.origin))}.</p>'
    drops = _part(
        funnel.drops,
        lambda found: (
            table(
                "Every dropped or reserved item has one deciding rule.",
                ("Rule", "Stage", "Outcome", "Reason", "n"),
                [(d.rule, d.stage, d.outcome, d.reason or ABSENT, f"{d.n:,}") for d in found],
                numeric=(4,),
            )
            if found
            else '<p class="note">No item was dropped or reserved.</p>'
        ),
        "the decisions are not beside this run.",
    )
    books = table(
        "In + made = kept + dropped + reserved; a stage takes in what the one before kept.", head, rows, numeric=range(2, 7)
    )
    slices = table(
        f"What the student sees of each slice, and what it is judged on. Counts under {K} are shown as <{K}.",
        ("Slice", "Traces", "Teaching", "Holdout"),
        [(row.name, row.traces, row.teaching, row.holdout) for row in funnel.slices],
        numeric=(1, 2, 3),
    )
    return books + (origin if funnel.origin else "") + (slices if funnel.slices else "") + drops


def _redaction(r: RedactionSummary) -> str:
    after = "not scanned" if r.residual is None else "none" if r.residual == 0 else f"{r.residual:,}"
    seen = "nobody rated" if r.seen_by_raters is None else f"{r.seen_by_raters:,}"
    facts = definition_list([("Found and replaced", r.total), ("Found by the scan after it", after), (SEEN_BY_RATERS, seen)])
    if not r.by_entity:
        return facts
    caption = f"Counts under {K} are shown as <{K}; where the total would give one away, the next is withheld."
    return facts + table(caption, ("Kind", "Found"), r.by_entity, numeric=(1,))


def _training(t: Training) -> str:
    rows = [("Student", f"{t.parameters} parameters, {t.layers} layers"), ("Teacher", f"{t.teacher_parameters} parameters")]
    rows += [("Made of", t.made)] if t.made else []
    rows += [(f"Temperature, {field}", value) for field, value in t.temperatures]
    facts = definition_list(rows)
    if not t.losses:
        return facts
    header = ("Term", "First", "Last", "Of the loss, last")
    return facts + table(f"Loss terms over {t.steps:,} steps.", header, t.losses, numeric=(1, 2, 3))


def _subjects(record: RunRecord) -> Html:
    body = _part(
        record.subjects,
        lambda subjects: table(
            "Who was measured: a model with everything that shapes its answers.",
            ("Subject", "Role", "Digest", "Model", "Decoding", "Engine"),
            [
                (
                    _two(s.name, s.note),
                    s.role + (" (digest declared, not measured)" if s.declared else ""),
                    Html(f"<code>{text(short_digest(s.digest))}</code>"),
                    Html(f"<code>{text(short_digest(s.model))}</code>"),
                    s.decoding,
                    s.engine,
                )
                for s in subjects
            ],
        ),
        "nothing was measured.",
    )
    return _section(record, "subjects", "Subjects", body)


def _record(record: RunRecord) -> Html:
    v = record.verdict
    facts = (
        definition_list(
            [
                ("Subject", v.subject or ABSENT),
                ("Policy", v.policy_digest),
                ("Measurements", v.measurements),
                ("Ledger head at the decision", v.ledger_head),
            ]
        )
        if v
        else ""
    )
    files = (
        table(
            "Files that the verdict rests on.",
            ("File", "SHA-256"),
            [
                (name, Html(f"<code>{text(digest.removeprefix('sha256:'))}</code>"))
                for name, digest in sorted(v.evidence.items())
            ],
        )
        if v and v.evidence
        else ""
    )
    ledger = _part(record.ledger, _ledger, "the project's ledger is not beside this run.")
    return _section(record, "record", "Evidence and ledger", facts, ledger, files)


def _ledger(view: LedgerView) -> str:
    caption = f"Head {view.head}. Keep a copy of it elsewhere: a chain without one proves only that it is consistent."
    rows = [(e.seq, e.at, e.event, e.actor, short_digest(e.digest)) for e in view.entries[-_LAST_ENTRIES:]]
    left_out = len(view.entries) - len(rows)
    more = f'<p class="note">{left_out:,} earlier entries are not shown.</p>' if left_out else ""
    return table(caption, ("No.", "Time", "Event", "Actor", "Digest"), rows) + more


_SECTIONS = (_gates, _approval, _limits, _controls, _worth, _reliability, _beside, _teaching, _subjects, _record)
_CONTENTS = (
    ("gates", "Gates"),
    ("approval", "Approval"),
    ("controls", "Controls"),
    ("worth", "Worth it?"),
    ("speed", "Speed"),
    ("reliability", "Reliability"),
    ("measured", "What else"),
    ("teaching", "Teaching set"),
    ("subjects", "Subjects"),
    ("record", "Evidence and ledger"),
)
