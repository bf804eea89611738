"""What a run says, without what was measured with a clock: two runs from the same inputs must say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from distill_gov.records.digest import digest_file
from gates.verdict import read_verdict

_CLOCK = ("timings", "at")


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a Parquet file without the columns that a clock wrote."""
    found = pq.read_table(path).to_pylist()
    return [{name: value for name, value in row.items() if name not in _CLOCK} for row in found]


def said(run: Path) -> dict[str, Any]:
    """Teaching set, soft targets, student, answers, scores, measurements and outcomes of a run, by file."""
    found: dict[str, Any] = {}
    for path in sorted(p for folder in ("teaching", "evidence") for p in (run / folder).rglob("*") if p.is_file()):
        name = path.relative_to(run).as_posix()
        found[name] = rows(path) if path.suffix == ".parquet" else digest_file(path)
    for path in sorted((run / "student").iterdir()):
        found[f"student/{path.name}"] = digest_file(path)
    for path in sorted((run / "verdicts").iterdir()):
        verdict = read_verdict(path)
        found[f"verdicts/{path.name}"] = [verdict.decision, [(o.gate, o.outcome, o.code, o.limit) for o in verdict.outcomes]]
    for path in sorted((run / "manifests").iterdir()):
        value = json.loads(path.read_text("utf-8"))
        found[f"manifests/{path.name}"] = [value["inputs"], value["counts"], sorted(value["outputs"])]
    return found
