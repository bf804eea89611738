"""The books of the teaching set: every item that came in is kept, dropped or reserved, by one deciding rule."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyarrow as pa

from distill_gov.records.errors import IntegrityError

__all__ = ["DECISION_FORMAT", "DECISION_SCHEMA", "Decision", "StageBalance", "balance", "differing_stage"]

Outcome = Literal["kept", "dropped", "reserved"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one item at one stage."""

    stage: str
    unit: Literal["trace", "answer"]
    item: str
    outcome: Outcome
    rule: str
    """The one rule that decided; ``kept`` where none objected."""
    rule_version: str = "1"
    reason: str = ""
    """A reason code, never text of the item."""
    parent: str | None = None
    """The item this one was made from, for items that a stage made."""
    fired: tuple[str, ...] = ()
    """Every rule that fired, flags included, as ``rule@version:reason``; empty in books of before this was recorded."""
    slice: str = ""
    """The slice of the trace, redacted; empty where it has none."""

    def __post_init__(self) -> None:
        # A row of a file has a list, or nothing.
        object.__setattr__(self, "fired", tuple(self.fired or ()))


DECISION_FORMAT = "decisions"
DECISION_SCHEMA = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("rule_version", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("parent", pa.string()),
        pa.field("slice", pa.string(), nullable=False),
        pa.field("fired", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True)
class StageBalance:
    """One stage's line in the books: ``came_in + made = kept + dropped + reserved``."""

    stage: str
    unit: str
    came_in: int
    made: int
    kept: int
    dropped: int
    reserved: int


def balance(decisions: Iterable[Decision], stages: Sequence[str], first_in: int) -> tuple[StageBalance, ...]:
    """Check the books and return one line a stage, in order.

    Args:
        decisions: every decision of the build.
        stages: the stages in the order in which items passed them.
        first_in: how many traces came in at the first stage.

    Raises:
        IntegrityError: an item has two decisions at a stage, or none where the former stage kept it; or a stage or an
            outcome is unknown. One of several answers to a trace can be missed only at the stage after the one that made it.
    """
    by_stage: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        by_stage[decision.stage].append(decision)
    if unknown := set(by_stage) - set(stages):
        raise IntegrityError(f"books name unknown stages: {', '.join(sorted(unknown))}")
    lines: list[StageBalance] = []
    arriving: set[str] | None = None
    for stage in stages:
        rows = by_stage[stage]
        items = [row.item for row in rows]
        if len(set(items)) != len(items):
            raise IntegrityError(f"books do not balance: an item has two decisions at stage `{stage}`")
        replaced = {row.parent for row in rows if row.parent is not None}
        if replaced & {row.item for row in rows if row.parent is None}:
            raise IntegrityError(f"books do not balance: stage `{stage}` decided on an item that it had replaced")
        entered = replaced | {row.item for row in rows if row.parent is None}
        if arriving is not None and entered != arriving:
            raise IntegrityError(f"books do not balance: stage `{stage}` did not decide on exactly what it received")
        counts = Counter(row.outcome for row in rows)
        if any(outcome not in get_args(Outcome) for outcome in counts):
            raise IntegrityError(f"books do not balance: stage `{stage}` has an unknown outcome")
        # Where a stage makes several items of one, that one is replaced; only the surplus counts as made.
        came_in = len(entered)
        if arriving is None and came_in != first_in:
            raise IntegrityError(f"books do not balance: {first_in} traces came in, {came_in} were decided on")
        lines.append(
            StageBalance(
                stage, rows[0].unit if rows else "trace", came_in, len(rows) - came_in,
                counts["kept"], counts["dropped"], counts["reserved"],
            )
        )  # fmt: skip
        arriving = {row.item for row in rows if row.outcome == "kept"}
    return tuple(lines)


def differing_stage(books: Iterable[StageBalance], decisions: Iterable[Mapping[str, Any]]) -> str | None:
    """The first stage of which the stored decisions are not those that the books count; None where all agree.

    Args:
        decisions: rows of ``decisions.parquet``.
    """
    counted = Counter((row["stage"], row["outcome"]) for row in decisions)
    stated = Counter(
        {(b.stage, name): n for b in books for name, n in (("kept", b.kept), ("dropped", b.dropped), ("reserved", b.reserved))}
    )
    return next((stage for stage, outcome in {**stated, **counted} if counted[stage, outcome] != stated[stage, outcome]), None)
