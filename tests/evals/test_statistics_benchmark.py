"""The pieces of benchmarks/statistics.py on few cases; the whole of it takes a million."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from evals.evidence import read_cases
from tests.benchmarks import load_benchmark


def test_both_ways_say_the_same(repository: Path, tmp_path: Path) -> None:
    statistics = load_benchmark(repository, "statistics")
    statistics.write_evidence(tmp_path, 3000)
    assert len(read_cases(tmp_path / "student.parquet")) == 3000
    ours, theirs = statistics.by_counts(tmp_path, 3000), statistics.naive(tmp_path, 3000)
    assert len(ours) == len(theirs) == 84
    assert statistics.compared(ours, theirs)
    for place, by in ((0, 1e-6), (1, 1e-6), (7, 1e-6)):
        changed = [list(row) for row in ours]
        changed[place][0] += by
        assert not statistics.compared(changed, theirs)
    changed = [list(row) for row in ours]
    changed[2][1] -= 0.5 * (changed[2][2] - changed[2][1])
    assert not statistics.compared(changed, theirs)


def test_a_way_is_a_process_of_its_own(repository: Path, tmp_path: Path) -> None:
    statistics = load_benchmark(repository, "statistics")
    statistics.write_evidence(tmp_path, 2000)
    found, took = statistics.in_a_process("counts", tmp_path, 2000)
    assert len(found) == 84
    assert took.cases == 2000
    assert took.peak_mb > 10
    figures = {"machine": "m", "load": 1.0, "date": "d", "measurements": 84, "same": True, "within_bars": True, "ratio": 2.0}
    scaled = {"naive_scaled_seconds": 9, "cpu_ratio": 3.0, "counts": took.__dict__, "naive": took.__dict__}
    assert "84 measurements" in statistics.show({**figures, **scaled})


def test_too_few_cases_are_refused(repository: Path) -> None:
    script = repository / "benchmarks" / "statistics.py"
    done = subprocess.run(
        [sys.executable, str(script), "--cases", "10"], capture_output=True, text=True, check=False, cwd=repository
    )
    assert done.returncode == 2
    assert "at least" in done.stderr
