import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from distill_gov.records.errors import BadInputError
from evals.intervals import (
    UndefinedEstimateError,
    clopper_pearson,
    mcnemar_exact,
    quantile_interval,
    tango,
    tango_statistic,
    wilson,
)


def code_of(call, *args, **kwargs):
    with pytest.raises(UndefinedEstimateError) as caught:
        call(*args, **kwargs)
    return caught.value.code


# --- proportions


@pytest.mark.parametrize(("n", "percent"), [(100, 2.95), (300, 0.99), (1000, 0.30), (3000, 0.10)])
def test_no_violation_gives_the_rule_of_three(n, percent):
    # 1 - 0.05 ** (1 / n), closed form of the one-sided bound at k = 0.
    upper = clopper_pearson(0, n, side="upper").high
    assert upper == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-12)
    assert 100 * upper == pytest.approx(percent, abs=0.006)


def test_limits_of_the_demo():
    # Counts that the demo's gates still let through, and the first that they do not.
    assert clopper_pearson(8, 150, side="upper").high <= 0.10 < clopper_pearson(9, 150, side="upper").high
    assert clopper_pearson(590, 600, side="lower").low >= 0.97 > clopper_pearson(589, 600, side="lower").low
    assert clopper_pearson(0, 100, side="upper").high <= 0.03 < clopper_pearson(1, 100, side="upper").high


def test_clopper_pearson_two_sided_reference():
    # R: binom.test(7, 20)$conf.int -> 0.1539092 0.5921885
    found = clopper_pearson(7, 20)
    assert (found.low, found.high) == pytest.approx((0.1539092, 0.5921885), abs=1e-6)


def test_wilson_is_less_careful_than_clopper_pearson():
    # Both one-sided 95 % at 0 of 100: Wilson 2.63 %, Clopper-Pearson 2.95 %.
    assert wilson(0, 100, side="upper").high == pytest.approx(0.0263, abs=5e-5)


@given(st.integers(1, 400), st.data())
def test_clopper_pearson_invariants(n, data):
    k = data.draw(st.integers(0, n))
    one, two = clopper_pearson(k, n, side="lower"), clopper_pearson(k, n)
    assert 0 <= two.low <= one.low <= k / n <= one.high <= two.high <= 1
    mirrored = clopper_pearson(n - k, n, side="lower")
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((one.low, one.high), abs=1e-9)


@pytest.mark.parametrize("n", [30, 100])
def test_clopper_pearson_covers(n):
    rates = np.linspace(0.005, 0.995, 67)
    bounds = np.array([clopper_pearson(k, n, side="upper").high for k in range(n + 1)])
    coverage = [(binom.pmf(np.arange(n + 1), n, p) * (bounds >= p)).sum() for p in rates]
    assert min(coverage) >= 0.95 - 1e-9


def test_no_cases_is_not_zero():
    assert code_of(clopper_pearson, 0, 0) == "empty"
    assert code_of(wilson, 0, 0) == "empty"
    assert code_of(tango, 0, 0, 0) == "empty"


@pytest.mark.parametrize("bad", [True, None, math.nan, 1.0, "1"])
def test_counts_must_be_whole_numbers(bad):
    assert code_of(clopper_pearson, bad, 10) == "non_finite"
    assert code_of(tango, 1, bad, 10) == "non_finite"


@pytest.mark.parametrize(("k", "n"), [(-1, 10), (11, 10)])
def test_counts_must_not_contradict(k, n):
    assert code_of(clopper_pearson, k, n) == "out_of_range"


@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0, 95, math.nan, True])
def test_confidence_must_be_one(confidence):
    with pytest.raises(BadInputError):
        clopper_pearson(1, 10, confidence=confidence)


def test_an_undefined_estimate_survives_pickling():
    error = pickle.loads(pickle.dumps(UndefinedEstimateError("no_variation")))
    assert error.code == "no_variation"
    assert error.exit_code == 2


# --- Tango


@pytest.mark.parametrize(("n", "points"), [(100, -2.6), (500, -0.54)])
def test_tango_has_width_without_discordant_pairs(n, points):
    found = tango(0, 0, n, side="lower")
    assert 100 * found.low == pytest.approx(points, abs=0.05)
    # Closed form: z^2 / (n + z^2).
    z2 = 1.6448536269514722**2
    assert found.low == pytest.approx(-z2 / (n + z2), abs=1e-9)
    assert found.high == pytest.approx(-found.low)


def test_tango_published_example():
    # Fagerland, Lydersen & Laake (2017), table 8: Bentur et al., n12 = 1, n21 = 7, N = 21: -0.517 to -0.026.
    found = tango(1, 7, 21)
    assert (found.value, found.low, found.high) == pytest.approx((-0.2857, -0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(("b", "c", "n", "d"), [(3, 5, 40, -0.05), (12, 2, 50, 0.1), (0, 4, 30, 0.02), (6, 16, 161, -0.03)])
def test_tango_statistic_against_direct_likelihood(b, c, n, d):
    # Independent of the closed form: maximise the trinomial likelihood on p_b = p_c + d numerically.
    def loss(q):
        cells = [(b, q + d), (c, q), (n - b - c, 1 - 2 * q - d)]
        return -sum(k * math.log(max(p, 1e-300)) for k, p in cells if k)

    low, high = max(0.0, -d), (1 - d) / 2
    q = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    expected = (b - c - n * d) / math.sqrt(n * (2 * q + d * (1 - d)))
    assert float(tango_statistic(b, c, n, d)) == pytest.approx(expected, rel=1e-4)


@settings(max_examples=60)
@given(st.integers(1, 200), st.data())
def test_tango_invariants(n, data):
    b = data.draw(st.integers(0, n))
    c = data.draw(st.integers(0, n - b))
    found, swapped = tango(b, c, n), tango(c, b, n)
    assert -1 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1
    assert found.high > found.low
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low), abs=1e-6)


def test_tango_at_the_ends():
    assert tango(5, 0, 5).high == 1.0
    assert tango(0, 5, 5).low == -1.0
    assert tango(0, 5, 5).high < 0


def test_mcnemar_exact():
    # Binomial by hand: 2 * (C(8,0) + C(8,1)) / 2^8 = 18 / 256.
    assert mcnemar_exact(1, 7) == pytest.approx(18 / 256)
    assert mcnemar_exact(0, 0) == 1.0
    assert code_of(mcnemar_exact, -1, 2) == "out_of_range"


# --- quantiles


def test_median_interval_reference():
    # The 40th and 61st of 100 hold the median with 95 % confidence (Hahn & Meeker 1991, binomial).
    values = list(range(1, 101))
    found = quantile_interval(values, 0.5)
    assert found.value == 50
    assert binom.cdf(found.low - 1, 100, 0.5) <= 0.025
    assert binom.cdf(found.high - 1, 100, 0.5) >= 0.975
    assert (found.low, found.high) == (40, 61)


def test_upper_bound_of_p95_needs_59_cases():
    assert quantile_interval(list(range(58)), 0.95, side="upper").high is None
    assert quantile_interval(list(range(59)), 0.95, side="upper").high == 58


def test_cases_without_a_value_are_the_slowest():
    found = quantile_interval([1.0] * 97, 0.95, beyond=3, side="upper")
    assert found.value == 1.0
    assert found.high is None
    assert code_of(quantile_interval, [1.0] * 90, 0.95, beyond=10) == "undefined"
    assert code_of(quantile_interval, [], 0.5, beyond=3) == "empty"
