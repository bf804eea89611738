"""Whether intervals hold the truth as often as ``evals.catalogue.METHODS`` says: benchmarks/coverage.py and its pieces."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from evals.catalogue import CATALOGUE, JUDGE_ADJUSTED, METHODS, lookup
from evals.intervals import Estimate, clopper_pearson
from tests.benchmarks import load_benchmark


@pytest.fixture(scope="module")
def coverage(repository: Path) -> ModuleType:
    return load_benchmark(repository, "coverage")


def narrow(k: int, n: int, **kwargs: object) -> Estimate:
    """An interval that is deliberately too narrow: half of Clopper-Pearson's."""
    found = clopper_pearson(k, n, **kwargs)
    return Estimate(found.value, (found.low + found.value) / 2, (found.high + found.value) / 2)


def test_enumerated_intervals_hold_what_the_catalogue_says(coverage: ModuleType) -> None:
    cells = list(coverage.exact((59, 100)))
    assert {cell.method for cell in cells} == {"clopper_pearson", "wilson", "tango", "order_statistics"}
    assert all(cell.holds for cell in cells if cell.allowed)
    assert {cell.method for cell in cells if not cell.allowed} == {"wilson"}
    # Exact by hand: none of 59 at 5 %, the bound that just holds.
    one = coverage.binomial("clopper_pearson", clopper_pearson, 59, 0.05, "upper")
    assert one.upper == pytest.approx(1 - 0.95**59)


def test_a_wrong_interval_is_caught(coverage: ModuleType) -> None:
    assert coverage.binomial("clopper_pearson", clopper_pearson, 30, 0.75, "lower").holds
    assert not coverage.binomial("clopper_pearson", narrow, 30, 0.75, "lower").holds
    world = next(w for w in coverage.worlds() if w.what == "mean of text scores")

    def right(values: object, **kwargs: object) -> Estimate:
        return coverage.mean_interval(values, **kwargs)

    def wrong(values: object, **kwargs: object) -> Estimate:
        found = coverage.mean_interval(values, **kwargs)
        return Estimate(found.value, (found.low + found.value) / 2, (found.high + found.value) / 2)

    assert coverage.simulated(replace(world, interval=right), "bca", 20, 200, resamples=200).holds
    assert not coverage.simulated(replace(world, interval=wrong), "bca", 20, 200, resamples=200).holds


def test_the_draws_are_put_back_after_a_simulation(coverage: ModuleType) -> None:
    drawn = coverage.resampling._drawn
    with coverage.shared_draws():
        assert coverage.resampling._drawn is not drawn
    with pytest.raises(ZeroDivisionError), coverage.shared_draws():
        1 / 0  # noqa: B018
    assert coverage.resampling._drawn is drawn


def test_every_simulated_truth_is_true(coverage: ModuleType) -> None:
    # The mean of a large sample, where the truth is a mean; a wrong truth would make every coverage meaningless.
    rng = coverage.np.random.default_rng(0)
    for world in coverage.worlds():
        if world.interval is not coverage.mean_interval:
            continue
        means = [coverage.np.mean(s[0] if isinstance(s := world.draw(rng, 300), tuple) else s) for _ in range(150)]
        assert coverage.np.mean(means) == pytest.approx(world.truth, abs=4 * coverage.np.std(means) / 150**0.5), world.what


def test_every_method_that_a_metric_allows_is_covered(coverage: ModuleType) -> None:
    covered = {cell.method for cell in coverage.exact((20,)) if cell.allowed}
    covered |= {method for world in coverage.worlds() for method in world.methods if method in world.allowed}
    metrics = [*CATALOGUE.values(), *(lookup(f"{family}.x") for family in ("accuracy", "calibration_error", "confidence_gap"))]
    allowed = {method for metric in metrics for of in metric.methods.values() for method in of}
    # The bootstrap of alpha takes hours, and a judge was simulated by itself: figures are quoted where they stand.
    assert allowed - covered == {"alpha_bootstrap", JUDGE_ADJUSTED}
    assert allowed <= METHODS.keys()


def test_the_table_shows_what_decides(
    coverage: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(coverage, "worlds", lambda: ())
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--json", "--only", "tango"])
    monkeypatch.setattr(coverage, "exact", lambda: [coverage.paired(59, -0.05, 0.10, "lower")])
    assert coverage.main() == 0
    found = json.loads(capsys.readouterr().out)
    [cell] = found["cells"]
    assert (cell["method"], cell["holds"], cell["error"]) == ("tango", True, 0.0)
    assert f">{100 * cell['lower']:.1f}" in coverage.show(found)
    monkeypatch.setattr(coverage, "exact", lambda: [coverage.binomial("clopper_pearson", narrow, 59, 0.75, "lower")])
    monkeypatch.setattr(sys, "argv", ["coverage.py"])
    assert coverage.main() == 1


@pytest.mark.slow
def test_simulated_intervals_hold_what_the_catalogue_says(coverage: ModuleType) -> None:
    cells = [
        coverage.simulated(world, method, world.ns[0] if len(world.ns) < 5 else 100, 400, seed=1, resamples=300)
        for world in coverage.worlds()
        for method in world.methods
        if method in world.allowed
    ]
    assert len(cells) > 20
    assert [(c.method, c.what, c.lower, c.upper) for c in cells if not c.holds] == []


@pytest.mark.slow
def test_enumerated_intervals_hold_at_every_size(coverage: ModuleType) -> None:
    assert [cell for cell in coverage.exact() if cell.allowed and not cell.holds] == []
