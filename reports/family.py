"""A family of students from one teaching set: quality against size and speed, read from the runs' files and the ledger only.

Every number is a run's own, as its own page has it; what does not hold there does not hold here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_file
from distill_gov.records.errors import BadInputError
from distill_gov.records.families import Member, family_of, member_of
from distill_gov.records.files import format_name, write_text
from distill_gov.records.layout import ProjectLayout, RunLayout
from reports.charts import Point, scatter
from reports.headline import Headline
from reports.markup import Html, definition_list, page, table, text
from reports.queries import read_run
from reports.record import GateRow, Interval, RunRecord
from reports.trust import project_of, read_checked_ledger
from reports.wording import ABSENT, NOT_DONE, SIMULATED, STATEMENT, amount, as_stored, rate_in_words, size

__all__ = [
    "FAMILY_HEAD",
    "Family",
    "FamilyGate",
    "FamilyStudent",
    "family_charts",
    "family_gate_head",
    "family_gate_rows",
    "family_object",
    "family_rows",
    "read_family",
    "render_family",
    "write_family",
]

_CHARTED = 3
"""Gates that get charts: the first ones on the holdout, in the policy's order. The table has them all."""


@dataclass(frozen=True, slots=True)
class FamilyGate:
    """What one gate measured of one student."""

    gate: str
    what: str
    outcome: str
    shown: str
    """Outcome and value, in words."""
    interval: Interval | None
    required: bool
    on_holdout: bool


@dataclass(frozen=True, slots=True)
class FamilyStudent:
    """One student of a family, as its own run shows it."""

    student: str
    run: str
    headline: Headline
    made: str
    parameters: int | None
    tokens_per_s: tuple[float, float | None, float | None] | None
    """Value, low, high; bounds are None where too few requests were timed."""
    last_token_p50: str
    attempt: str
    """The how-manieth student on its holdout, of how many allowed."""
    gates: tuple[FamilyGate, ...]
    problems: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True, slots=True)
class Family:
    """The students that share a run's teaching set."""

    run: str
    policy: str
    students: tuple[FamilyStudent, ...]
    teacher_parameters: str
    students_measured: int | None
    """Students measured on the holdout by now, of this family or not; None where nobody was."""
    confidence: float | None
    """The lowest one-sided confidence among the gates."""
    problems: tuple[str, ...]

    @property
    def of_many(self) -> str:
        """What choosing among several students on one holdout means, in words; empty where there is no choice."""
        n = max(self.students_measured or 0, sum(s.parameters is not None for s in self.students))
        if n < 2:
            return ""
        told = (
            f"{n} students were measured on this holdout. To choose the best of them by it is multiple testing: each had its "
            "own chance to look better than it is, and the intervals are those of a student chosen beforehand."
        )
        if self.confidence is not None:
            miss = 1 - self.confidence
            most = min(1.0, n * miss)
            told += (
                f" A gate lets a student at its limit pass {miss:.0%} of the time; at least one of {n} such passes up to "
                f"{most:.0%} of the time."
            )
        return told + (
            " Each verdict counts its own attempt against `max_attempts`. Say before you look which student you will take, or "
            "measure the one you chose on a fresh holdout."
        )


def read_family(run: RunLayout, policy: str = "gates") -> Family | None:
    """The family of a run, which may be any of its runs; None where it has none. Raises nothing over what files hold.

    Raises:
        BadInputError: ``policy`` is no name that a policy could have.
    """
    project = project_of(run)
    ledger = read_checked_ledger(project)
    entries = ledger.content.entries if ledger.content else ()
    own = member_of(entries, run.name)
    base = (_layout(project, own.of) if own else None) or run
    members = family_of(entries, base.name)
    if not members and not ledger.problem:
        return None
    records = [(m, layout, read_run(layout, policy)) for m in members if (layout := _layout(project, m.run)) is not None]
    students = tuple(_student(layout, m, record) for m, layout, record in records)
    counted = [r.students_measured for _, _, r in records if r.students_measured is not None]
    confidences = [
        row.rule.request("student").confidence for _, _, r in records for row in r.gates if row.rule and row.required
    ]
    teachers = {r.training.content.teacher_parameters for _, _, r in records if r.training.content}
    return Family(
        base.name,
        policy,
        students,
        teachers.pop() if len(teachers) == 1 else ABSENT,
        max(counted, default=None),
        min(confidences, default=None),
        (
            *((ledger.problem,) if ledger.problem else ()),
            *(("the ledger names a run that cannot exist",) if len(records) < len(members) else ()),
        ),
    )


def _layout(project: ProjectLayout, name: str) -> RunLayout | None:
    """The run of a name that stands in the ledger; None where no run could have it."""
    try:
        return project.run(name)
    except BadInputError:
        return None


def _student(run: RunLayout, member: Member, record: RunRecord) -> FamilyStudent:
    problems = record.problems
    path = run.manifest("build")
    if not path.is_file() or digest_file(path) != member.build:
        problems += ("manifests/build.json: not the one of the teaching set that is shared",)
    training, v = record.training.content, record.verdict
    speed = next((row for row in record.speed.content or () if row.subject == "student"), None)
    gates = [_gate(row, doubtful=bool(problems)) for row in record.gates]
    return FamilyStudent(
        student=member.student,
        run=member.run,
        headline=_doubtful(record.headline, member.run) if problems and not record.problems else record.headline,
        made=(training.made if training else "") or NOT_DONE,
        parameters=(speed.count if speed else None) or (training.count if training else None),
        tokens_per_s=speed.rate if speed else None,
        last_token_p50=speed.last_token_p50 if speed else ABSENT,
        attempt=f"{v.attempt} of {v.max_attempts}" if v else ABSENT,
        gates=tuple(gates),
        problems=problems,
        simulated=record.simulated,
    )


def _doubtful(head: Headline, run: str) -> Headline:
    return Headline(
        "NOT RELIABLE", "!", "bad", 4, "It was not made of this family's teaching set.", "Find every file that does not hold.",
        f"distill-gov verify --run {run}",
    )  # fmt: skip


def _gate(row: GateRow, *, doubtful: bool) -> FamilyGate:
    stored = row.mark.word.startswith("stored as")
    mark = as_stored(row.mark) if doubtful and not stored else row.mark
    interval = row.interval
    value = ABSENT if interval is None else amount(interval.value, row.unit, difference=interval.difference)
    if interval is not None and interval.low is not None and interval.high is not None:
        low, high = (amount(x, row.unit, difference=interval.difference) for x in (interval.low, interval.high))
        value += f" ({low} to {high})"
    on_holdout = row.what.split(" · ")[1:2] == ["holdout"]
    return FamilyGate(row.gate, row.what, row.outcome, f"{mark.icon} {value}", interval, row.required, on_holdout)


# --- as a table, as charts, as JSON

FAMILY_HEAD = ("Student", "Verdict", "Parameters", "Tokens/s", "Last token p50", "Attempt", "Made of")


def family_rows(family: Family) -> list[tuple[str, ...]]:
    """One row a student, with the columns of :data:`FAMILY_HEAD`."""
    rows: list[tuple[str, ...]] = []
    for s in family.students:
        word = f"{s.headline.icon} {s.headline.state}{' (simulated)' if s.simulated and s.headline.state == 'PASSED' else ''}"
        rows.append(
            (
                f"{s.student} (run {s.run})",
                word,
                size(s.parameters),
                rate_in_words(s.tokens_per_s),
                s.last_token_p50,
                s.attempt,
                s.made,
            )
        )
    return rows


def family_gate_head(family: Family) -> tuple[str, ...]:
    """Names of the columns of :func:`family_gate_rows`."""
    return ("Gate", "Measured", *(s.student for s in family.students))


def family_gate_rows(family: Family) -> list[tuple[str, ...]]:
    """One row a gate: what it measured of each student."""
    shown = [{gate.gate: gate.shown for gate in s.gates} for s in family.students]
    what = {gate.gate: gate.what for s in family.students for gate in s.gates}
    return [(name, what[name] or ABSENT, *(of.get(name, ABSENT) for of in shown)) for name in _gate_names(family)]


def _gate_names(family: Family) -> list[str]:
    return list(dict.fromkeys(gate.gate for s in family.students for gate in s.gates))


def family_charts(family: Family) -> tuple[tuple[str, str], ...]:
    """Caption and chart of each gate on the holdout that is charted, against size and against speed."""
    found: list[tuple[str, str]] = []
    for name in [g for g in _gate_names(family) if _is_charted(family, g)][:_CHARTED]:
        measured = [(s, g) for s in family.students for g in s.gates if g.gate == name and g.interval is not None]
        for axis, points in (("parameters", _points(measured, by_size=True)), ("tokens/s", _points(measured, by_size=False))):
            if points:
                interval = points[0][1]
                chart = scatter(
                    [point for point, _ in points],
                    title=f"{name} against {axis}",
                    along=axis,
                    unit=interval.unit,
                    difference=interval.difference,
                    limit=interval.limit,
                    ident=f"family-{len(found)}",
                )
                found.append((f"{measured[0][1].what}: {name}, against {axis}. Line: interval. Dashes: the limit.", chart))
    return tuple(found)


def _is_charted(family: Family, name: str) -> bool:
    gates = [g for s in family.students for g in s.gates if g.gate == name]
    return any(g.on_holdout and g.interval is not None for g in gates)


def _points(measured: Sequence[tuple[FamilyStudent, FamilyGate]], *, by_size: bool) -> list[tuple[Point, Interval]]:
    found = []
    for s, gate in measured:
        along = (s.parameters, None, None) if by_size and s.parameters is not None else None if by_size else s.tokens_per_s
        if along is not None and along[0] > 0 and gate.interval is not None:
            i = gate.interval
            found.append((Point(s.student, (float(along[0]), *along[1:]), (i.value, i.low, i.high)), i))
    return found


def family_object(family: Family) -> dict[str, Any]:
    """The same as JSON values."""
    value = asdict(family)
    for student in value["students"]:
        head = student.pop("headline")
        student |= {"state": head["state"], "exit_code": head["exit_code"], "why": head["why"]}
    return {"format": format_name("family"), **value, "of_many": family.of_many}


def write_family(run: RunLayout, policy: str = "gates", *, path: Path | None = None) -> Path:
    """Write the page of a run's family under a policy, and return where it is: among the pages of the run whose teaching set
    is shared."""
    family = read_family(run, policy)
    base = run if family is None else RunLayout(run.root.with_name(family.run))
    target = path or base.family
    write_text(target, render_family(family, run.name, policy))
    return target


def render_family(family: Family | None, run: str, policy: str) -> str:
    """The page as text."""
    name = family.run if family else run
    title = f"Students of {name} under {policy}"
    simulated = family is not None and any(s.simulated for s in family.students)
    banner = f'<p class="simulated" role="note">{text(SIMULATED)}</p>' if simulated else ""
    body = _absent(run) if family is None else _body(family)
    header = (
        f'<header class="verdict open" id="family"><p class="eyebrow">distill-gov · family of run {text(name)} · policy '
        f"{text(policy)}</p><h1>{text(_word(family))}</h1>"
        '<p class="why">Quality against size and speed. Each student has a verdict of its own; this page decides nothing.</p>'
        f"</header>"
    )
    derived = "This page is derived from the runs' files; the files are the evidence."
    footer = f"<footer><p>{text(STATEMENT)}</p><p>{derived}</p></footer>"
    return page(title, f"{header}\n<main>\n{body}</main>\n{footer}\n", banner)


def _word(family: Family | None) -> str:
    if family is None or not family.students:
        return "No students"
    passed = sum(s.headline.state == "PASSED" for s in family.students)
    return f"{len(family.students)} students from one teaching set, {passed} passed"


def _absent(run: str) -> Html:
    return Html(
        f'<section><p class="absent">{text(NOT_DONE.capitalize())}: no student shares the teaching set of run {text(run)}. '
        f"List some under <code>students:</code> in distill.yaml and run <code>distill-gov family --run {text(run)}</code>.</p>"
        "</section>"
    )


def _body(family: Family) -> Html:
    problems = "".join(f'<p class="problem">! Cannot be shown: {text(problem)}.</p>' for problem in family.problems)
    problems += "".join(f'<p class="problem">! {text(s.student)}: {text(p)}</p>' for s in family.students for p in s.problems)
    rows = [(_linked(family, s, row[0]), *row[1:]) for s, row in zip(family.students, family_rows(family), strict=True)]
    numbers = table(
        "One row a student, in the order in which they were begun. Below a value its interval. – was not measured.",
        FAMILY_HEAD,
        [tuple(_folded(cell) for cell in row) for row in rows],
        numeric=(2, 3, 4),
    )
    gates = table(
        "What each gate measured of each student, with its interval, beside the outcome's sign.",
        family_gate_head(family),
        [tuple(_folded(cell) for cell in row) for row in family_gate_rows(family)],
    )
    figures = "".join(f"<figure><figcaption>{text(c)}</figcaption>{chart}</figure>" for c, chart in family_charts(family))
    charts = figures or f'<p class="absent">{text(NOT_DONE.capitalize())}: no gate on the holdout was measured.</p>'
    facts = definition_list(
        [
            ("Teacher", f"{family.teacher_parameters} parameters"),
            ("Students of this family", len(family.students)),
            ("Students measured on the holdout", ABSENT if family.students_measured is None else family.students_measured),
        ]
    )
    many = f'<ul class="warnings"><li>{text(family.of_many)}</li></ul>' if family.of_many else ""
    return Html(
        f'<section id="students"><h2>Students</h2>{problems}{facts}{many}{numbers}{gates}</section>\n'
        f'<section id="against"><h2>Quality against size and speed</h2><div class="charts">{charts}</div></section>\n'
    )


def _folded(cell: str) -> Html:
    if isinstance(cell, Html):
        return cell
    value, bracket, interval = cell.partition(" (")
    if not bracket or not interval.endswith(")") or " to " not in interval:
        return text(cell)
    return Html(f'{text(value)}<span class="sub">{text(interval.removesuffix(")"))}</span>')


def _linked(family: Family, student: FamilyStudent, name: str) -> Html:
    # From runs/<base>/pages/ to the student's own report.
    return Html(f'<a href="../../{text(student.run)}/pages/report.html">{text(name)}</a>')
