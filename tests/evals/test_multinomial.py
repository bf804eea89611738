from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.intervals import UndefinedEstimateError
from evals.multinomial import Units, multinomial_interval
from evals.resampling import expanded_tail, mean_interval


def of(values):
    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    return Units.of_cases(distinct, counts)


@pytest.mark.parametrize("values", [[0, 0, 1, 1, 1], [0, 0.25, 0.25, 1, 1, 1], [-1, 0, 0, 0, 0, 1]])
def test_bounds_are_those_of_all_resamples(values):
    """Every one of the n^n resamples, each as likely: the bootstrap distribution itself."""
    means = np.sort([sum(drawn) / len(values) for drawn in product(values, repeat=len(values))])
    found = multinomial_interval(of(values), confidence=0.9, side="lower", seed=1, resamples=100_000)
    # The quantile lies between those at a tenth of a standard error of it to either side; on a lattice mostly one point.
    tail = expanded_tail(0.1, len(values))
    low = np.quantile(means, [tail - 0.004, tail + 0.004])
    high = np.quantile(means, [1 - tail - 0.004, 1 - tail + 0.004])
    assert low[0] - 1e-9 <= found.low <= low[1] + 1e-9
    assert high[0] - 1e-9 <= found.high <= high[1] + 1e-9
    assert found.value == pytest.approx(np.mean(values))


@pytest.mark.parametrize("method", ["bootstrap", "bca"])
def test_the_same_distribution_as_drawing_cases(method):
    rng = np.random.default_rng(5)
    for values in ((rng.random(150) < 0.8).astype(float), rng.beta(8, 0.5, 150), np.repeat(rng.random(1200), 2)):
        ours = multinomial_interval(of(values), seed=1, resamples=20_000, method=method)
        theirs = mean_interval(values, seed=2, resamples=20_000, method=method)
        error = values.std() / np.sqrt(len(values))
        # 20,000 resamples know a 2.5 % quantile to 0.02 standard errors of the mean; three of those, for both.
        assert ours.low == pytest.approx(theirs.low, abs=0.09 * error + 1 / len(values) * (len(set(values)) == 2))
        assert ours.high == pytest.approx(theirs.high, abs=0.09 * error + 1 / len(values) * (len(set(values)) == 2))


@pytest.mark.parametrize("method", ["bootstrap", "bca"])
def test_clusters_are_drawn_whole(method):
    rng = np.random.default_rng(6)
    clusters = np.repeat([f"k{i}" for i in range(60)], rng.integers(1, 6, 60))
    values = (rng.random(len(clusters)) < rng.beta(1, 1, 60)[[int(c[1:]) for c in clusters]]).astype(float)
    units = Units.of_clusters(values, clusters)
    assert (units.n, (units.count * units.size).sum(), units.mean) == (60, len(values), pytest.approx(values.mean()))
    ours = multinomial_interval(units, clustered=True, seed=1, resamples=20_000, method=method)
    theirs = mean_interval(values, clusters=list(clusters), seed=2, resamples=20_000, method=method)
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)
    alone = mean_interval(values, seed=2, resamples=20_000)
    assert width > 1.2 * (alone.high - alone.low)


@given(st.integers(0, 2**32), st.sampled_from([600, 3000]), st.sampled_from([1, 3, 100]))
def test_bins_keep_mean_and_variance(seed, kinds, sizes):
    rng = np.random.default_rng(seed)
    size = rng.integers(1, sizes + 1, kinds).astype(float)
    units = Units(size, rng.beta(0.5, 2, kinds) * size, rng.integers(1, 50, kinds).astype(float))
    few = units.binned()
    assert len(few.count) <= 512 < len(units.count)
    assert few.n == units.n
    assert few.mean == pytest.approx(units.mean)
    # What the resampled ratio's variance is made of: totals, sizes, and both together.
    assert (few.count * few.total**2).sum() == pytest.approx((units.count * units.total**2).sum())
    assert (few.count * few.total * few.size).sum() == pytest.approx((units.count * units.total * units.size).sum())
    assert (few.count * few.size**2).sum() == pytest.approx((units.count * units.size**2).sum())


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=50))
def test_few_kinds_stay(values):
    units = of(values)
    assert units.binned() is units
    assert dict(zip(units.total, units.count, strict=True)) == Counter(values)


@pytest.mark.parametrize(
    ("units", "clustered", "code"),
    [
        (of([1.0] * 100), False, "no_variation"),
        (of([1.0]), False, "undefined"),
        (of([]), False, "empty"),
        (of([0.0, 1.0] * 9), True, "too_few_clusters"),
        (of([0.0, np.nan]), False, "non_finite"),
        (of([0.0, np.inf]), False, "non_finite"),
    ],
)
def test_what_has_no_interval(units, clustered, code):
    with pytest.raises(UndefinedEstimateError) as caught:
        multinomial_interval(units, clustered=clustered, seed=0)
    assert caught.value.code == code


def test_the_seed_settles_it():
    units = of([0.0, 0.3, 1.0] * 50)
    assert multinomial_interval(units, seed=3) == multinomial_interval(units, seed=3) != multinomial_interval(units, seed=4)


def test_few_units_take_a_wider_tail():
    # Of 2 units Student's 95 % quantile is 6.314 and sqrt(2) wider: as good as everything. Of many nothing changes.
    assert expanded_tail(0.05, 2) < 1e-18
    assert expanded_tail(0.05, 10) == pytest.approx(0.0267, abs=1e-4)
    assert expanded_tail(0.05, 10_000) == pytest.approx(0.05, abs=1e-4)
