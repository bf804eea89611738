"""Small counts are not shown: a kind of personal data found twice can point at a person.

Primary suppression of counts under k, and complementary suppression where a total would give a hidden count away
(Hundepool et al. (2012), "Statistical Disclosure Control", chapter 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["WITHHELD", "FocusRow", "K", "shown_count", "shown_counts", "shown_slices", "shown_table"]

K = 5
WITHHELD = "withheld"


def shown_count(n: int) -> str:
    """A count as it may be shown; 0 says nothing about anybody."""
    return f"<{K}" if 0 < n < K else f"{n:,}"


def shown_counts(counts: Mapping[str, int]) -> dict[str, str]:
    """Counts as they may be shown beside their total, in the order given.

    While the hidden counts together could still be told from the total, the next smallest is withheld too.
    """
    hidden = {name for name, n in counts.items() if 0 < n < K}
    rest = sorted((name for name, n in counts.items() if n >= K), key=lambda name: (counts[name], name))
    withheld: list[str] = []
    while hidden and rest and (len(hidden) + len(withheld) < 2 or sum(counts[n] for n in (*hidden, *withheld)) < 2 * K):
        withheld.append(rest.pop(0))
    return {name: WITHHELD if name in withheld else shown_count(n) for name, n in counts.items()}


def shown_table(counts: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, str]]:
    """Counts of a table, row to column to count, as they may be shown where the totals of its rows and columns are known.

    In every row and column with a hidden count, the next smallest are withheld until the hidden ones cannot be told from the
    total. What one line withholds may oblige another, so this goes round until nothing changes.
    """
    columns = list(dict.fromkeys(column for row in counts.values() for column in row))
    lines = [[(row, column) for column in cells] for row, cells in counts.items()]
    lines += [[(row, column) for row in counts if column in counts[row]] for column in columns]
    hidden = {(row, column) for row, cells in counts.items() for column, n in cells.items() if 0 < n < K}
    withheld: set[tuple[str, str]] = set()
    changed = True
    while changed:
        changed = False
        for line in lines:
            out = [cell for cell in line if cell in hidden or cell in withheld]
            rest = sorted(
                (cell for cell in line if counts[cell[0]][cell[1]] >= K and cell not in withheld),
                key=lambda cell: (counts[cell[0]][cell[1]], cell),
            )
            if out and rest and (len(out) < 2 or sum(counts[row][column] for row, column in out) < 2 * K):
                withheld.add(rest[0])
                changed = True
    return {
        row: {column: WITHHELD if (row, column) in withheld else shown_count(n) for column, n in cells.items()}
        for row, cells in counts.items()
    }


@dataclass(frozen=True, slots=True)
class FocusRow:
    """A slice's counts as they may be shown, with its share of the column where that is shown."""

    name: str
    traces: str
    teaching: str
    holdout: str


def shown_slices(counts: Mapping[str, Mapping[str, int]]) -> list[FocusRow]:
    """The table of slices as it may be shown; every column's total is told elsewhere.

    Args:
        counts: slice to its ``traces``, ``teaching`` and ``holdout``.
    """
    columns = {
        part: _with_shares({name: row[part] for name, row in counts.items()}) for part in ("traces", "teaching", "holdout")
    }
    return [FocusRow(name, *(columns[part][name] for part in columns)) for name in counts]


def _with_shares(counts: Mapping[str, int]) -> dict[str, str]:
    total = sum(counts.values())
    return {
        name: f"{said} ({counts[name] / total:.0%})" if said == f"{counts[name]:,}" and total else said
        for name, said in shown_counts(counts).items()
    }
