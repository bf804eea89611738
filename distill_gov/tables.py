"""What the command line shows as tables, for a terminal and for a log."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gates.plan import Plan, PlanRow
from gates.policy import Policy
from gates.verdict import GateOutcome, Verdict
from reports.family import FAMILY_HEAD, Family, family_gate_head, family_gate_rows, family_rows
from reports.wording import ABSENT, MARKS, amount, bound_of, must_be, unit_of

__all__ = ["family_gates_table", "family_table", "gates_table", "plan_table"]

_STYLES = {"good": "green", "bad": "red", "open": "yellow"}


def gates_table(verdict: Verdict, policy: Policy | None = None) -> Table:
    """One row a gate: teacher, student, what the bound must be, the bound, n, outcome.

    Args:
        policy: gives the rule of gates that were not measured.
    """
    rules = {} if policy is None else {rule.id: rule.must_be for rule in policy.gates}
    table = _table("gate", "teacher", verdict.subject_name, "must be", "bound", "n", "outcome")
    for outcome in verdict.outcomes:
        table.add_row(*_gate_cells(outcome, rules), style=None if outcome.required else "dim")
    return table


def _gate_cells(outcome: GateOutcome, rules: Mapping[str, str]) -> tuple[str | Text, ...]:
    mark = MARKS[outcome.outcome]
    word = outcome.outcome if outcome.required else f"{outcome.outcome} (shown only)"
    shown = Text(f"{mark.icon} {word}", style=_STYLES[mark.tone])
    measured = outcome.measurement
    if measured is None:
        return (outcome.gate, ABSENT, ABSENT, rules.get(outcome.gate, ABSENT), ABSENT, ABSENT, shown)
    request, unit = measured.request, unit_of(measured.request.metric)
    difference = request.statistic == "difference"
    return (
        outcome.gate,
        amount(outcome.reference_value, unit),
        amount(measured.value, unit, difference=difference),
        must_be(request, outcome.limit),
        amount(bound_of(measured), unit, difference=difference, apart_from=outcome.limit),
        f"{measured.n_scored:,}",
        shown,
    )


def family_table(family: Family) -> Table:
    """One row a student: verdict, size and speed."""
    # What each was made of is on the page; a terminal has no room for it.
    table = _table(*FAMILY_HEAD[:-1])
    for student, row in zip(family.students, family_rows(family), strict=True):
        table.add_row(*row[:-1], style=_STYLES[student.headline.tone])
    return table


def family_gates_table(family: Family) -> Table:
    """One row a gate: what it measured of each student."""
    table = _table(*family_gate_head(family))
    for row in family_gate_rows(family):
        table.add_row(*row)
    return table


def plan_table(plan: Plan) -> Table:
    """One row a gate: what the planned cases can show."""
    table = _table("gate", "must be", "n", "a good student passes", "passes 80% at", "passes 5% at", "n for 80%")
    for row in plan.rows:
        passes = ABSENT if row.good_passes is None else f"{row.good_passes:.0%} ({_who(row)})"
        points = [ABSENT if at is None else f"{at:.3g}" for at in (row.passes_80, row.passes_5)]
        needed = ABSENT if row.needed_n is None else f"{row.needed_n:,}"
        table.add_row(row.gate, row.must_be, f"{row.n:,}", passes, *points, needed, style=None if row.required else "dim")
    return table


def _who(row: PlanRow) -> str:
    """The good student of a row of the plan."""
    return f"at {row.good_value:g}" if row.good == "assumed" else row.good


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    return table
