"""benchmarks/soft_targets.py on a small vocabulary and few answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import load_benchmark


def test_what_is_measured_adds_up(repository: Path) -> None:
    benchmark = load_benchmark(repository, "soft_targets")
    found = json.loads(json.dumps(benchmark.measure(4, (2_000,))))
    [one] = found["found"]
    ours, plain, dense = (one["ways"][name] for name in ("ours", "plain top-k", "dense fp16"))
    assert dense["bytes_per_token"] == 2 * 2_000
    assert plain["bytes_per_token"] > ours["bytes_per_token"] > 32 * (11 + 10) / 8
    assert ours["kl"] == pytest.approx(plain["kl"], rel=1e-3)
    assert ours["kl_by_quantisation"] < 1e-5
    assert 0 < dense["kl"] < 1e-4 < ours["kl"]
    assert one["smaller_than"]["dense fp16"] == round(2 * 2_000 / ours["bytes_per_token"], 1)
    assert found["within_bar"] == one["within_bar"] == (ours["bytes_per_token"] <= 130)
    assert "V = 2,000" in benchmark.show(found)
