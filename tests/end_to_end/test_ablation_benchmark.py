"""benchmarks/ablation.py on a tiny project: every line of its table, and that a stopped run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from distill_gov.stages import train as training
from tests.benchmarks import load_benchmark


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    return load_benchmark(repository, "ablation")


@pytest.mark.slow
def test_every_term_is_added_measured_and_kept(
    bench: ModuleType, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = (copy / "ledger.jsonl").read_bytes()
    # Whoever is asked in this process needs no second one to be started.
    settings = (copy / "distill.yaml").read_text("utf-8")
    assert "workers: 0" in settings
    keep = tmp_path / "kept"
    stopped = bench.ablation(copy, "r1", 1, keep, 0.0, True)
    assert (stopped["lines"], stopped["planned"]) == ([], 6)
    found = bench.ablation(copy, "r1", 1, keep, float("inf"), True)
    assert [line["condition"] for line in found["lines"]] == [c.name for c in bench.CONDITIONS]
    assert (copy / "ledger.jsonl").read_bytes() == ledger, "the holdout stays closed"
    desk = found["cases"]["dev"] + found["cases"]["benign"]
    for line in found["lines"]:
        for title, column in line["columns"].items():
            level = column["level"]
            if level["value"] is None:
                # Of a random model hardly anything lies in the grammar along a whole answer.
                assert (title, level["note"]) == ("Z an answer", "no_variation")
                continue
            assert level["n"] == (found["cases"]["free"] if title == "valid, free" else desk), title
            assert level["low"] <= level["value"] <= level["high"]
    weights = {name: {t for t in bench.TERMS if w[t]} for name, w in found["weights"].items()}
    assert weights == {c.name: set(c.terms) for c in bench.CONDITIONS}
    assert "| + format | 0 |" in bench.show(found)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(training, "make_student", never)
    again = bench.ablation(copy, "r1", 1, keep, float("inf"), True)
    assert again["lines"] == found["lines"]
    shutil.rmtree(next(keep.glob("soft-0-*")))
    with pytest.raises(AssertionError, match="trained again"):
        bench.ablation(copy, "r1", 1, keep, float("inf"), True)


def test_a_project_without_a_teaching_set_is_refused(bench: ModuleType, sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(bench.DistillGovError):
        bench.ablation(sealed, "r1", 1, tmp_path, 1.0, True)
