"""benchmarks/kd_loss.py on few tokens and a small vocabulary."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import load_benchmark


def test_ways_agree_and_the_verdict_notices_where_they_do_not(repository: Path, tmp_path: Path) -> None:
    kd_loss = load_benchmark(repository, "kd_loss")
    targets = tmp_path / "targets.pt"
    kd_loss.write_targets(targets, 6, 300, 8)
    ways = {name: kd_loss.child(name, 6, 300, targets) for name in ("dense", "online", "cached")}
    assert ways["cached"].loss < ways["dense"].loss
    assert kd_loss.verdict(ways)["same"]
    for name, key, by in (
        ("online", "loss", 1.01),
        ("online", "gradient", 1.01),
        ("cached", "loss", 100.0),
        ("online", "loss", math.nan),
    ):
        changed = {**ways, name: replace(ways[name], **{key: getattr(ways[name], key) * by})}
        assert not kd_loss.verdict(changed)["same"]
    for dense, cached, held in (
        ((9.0, 900), (3.0, 225), True),
        ((8.9, 900), (3.0, 225), False),
        ((9.0, 899), (3.0, 225), False),
    ):
        measured = {
            name: replace(ways[name], seconds=seconds, peak_mb=mb)
            for name, (seconds, mb) in (("dense", dense), ("cached", cached))
        }
        assert kd_loss.verdict({**ways, **measured})["within_bars"] is held


def test_of_several_turns_the_fastest_counts_and_the_highest_peak(repository: Path) -> None:
    kd_loss = load_benchmark(repository, "kd_loss")
    one = kd_loss.Way("dense", 200, 3.0, 5.0, 10, 1.0, 1.0)
    other = replace(one, seconds=2.0, cpu_seconds=6.0, peak_mb=9)
    assert kd_loss.fastest([one, other]) == replace(one, seconds=2.0, cpu_seconds=5.0, peak_mb=10)
    assert kd_loss.fastest([None, None]) is None


def test_a_way_is_a_process_of_its_own(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kd_loss = load_benchmark(repository, "kd_loss")
    took = kd_loss.in_a_process("online", 4, 200, 8, tmp_path / "none")
    assert took.name == "online"
    assert took.seconds > 0
    monkeypatch.setattr(kd_loss.importlib.util, "find_spec", lambda _: None)
    assert kd_loss.in_a_process("trl_gkd", 4, 200, 8, tmp_path / "none") is None
    against = {200: {"faster": 2.0, "cpu": 2.0, "smaller": 1.0, "same": True}}
    found = {"machine": "m", "load": 1.0, "date": "d", "tokens": 4, "k": 8, "within_bars": None, "against_dense": against}
    shown = kd_loss.show({**found, "ways": {200: {"online": took.__dict__, "trl_gkd": None}}})
    assert "not installed" in shown
    assert "not measured at so many" in shown


def test_a_k_as_large_as_the_vocabulary_is_refused(repository: Path) -> None:
    script = repository / "benchmarks" / "kd_loss.py"
    done = subprocess.run(
        [sys.executable, str(script), "--vocab", "32"], capture_output=True, text=True, check=False, cwd=repository
    )
    assert done.returncode == 2
    assert "below the vocabulary" in done.stderr
