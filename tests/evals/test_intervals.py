import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, binom

from distill_gov.records.errors import BadInputError
from evals.intervals import (
    UndefinedEstimateError,
    binomial_p_value,
    clopper_pearson,
    holm,
    korn_graubard,
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


@pytest.mark.parametrize(
    ("k", "n", "exact", "score"),
    [
        (81, 263, (0.2527, 0.3676), (0.2553, 0.3662)),
        (15, 148, (0.0578, 0.1617), (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1684), (0.0, 0.1611)),
        (1, 29, (0.0009, 0.1776), (0.0061, 0.1718)),
    ],
)
def test_newcombes_table(k, n, exact, score):
    # Newcombe (1998), Statistics in Medicine 17, 857-872, table I: methods 5 (Clopper-Pearson) and 3 (Wilson), 95 %.
    found = clopper_pearson(k, n)
    assert (found.low, found.high) == pytest.approx(exact, abs=5.1e-5)
    found = wilson(k, n)
    assert (found.low, found.high) == pytest.approx(score, abs=5.1e-5)


@pytest.mark.parametrize(("limit", "n"), [(0.05, 99), (0.02, 252), (0.01, 505), (0.005, 1013), (0.001, 5073)])
def test_no_violation_at_an_eighth_of_the_level(limit, n):
    # Bonferroni over eight gates: 1 - (0.05 / 8) ** (1 / n) <= limit.
    assert clopper_pearson(0, n, confidence=1 - 0.05 / 8, side="upper").high <= limit
    assert clopper_pearson(0, n - 1, confidence=1 - 0.05 / 8, side="upper").high > limit


@pytest.mark.parametrize(("n", "least"), [(50, 0.929), (100, 0.932), (300, 0.934)])
def test_wilson_covers_too_little(n, least):
    # Least coverage of the upper bound over rates up to a half, by enumeration: too little where it would bound violations.
    bounds = np.array([wilson(k, n, side="upper").high for k in range(n + 1)])
    rates = np.linspace(0.005, 0.5, 2001)
    coverage = [(binom.pmf(np.arange(n + 1), n, p) * (bounds >= p)).sum() for p in rates]
    assert min(coverage) < 0.95 - 0.01
    assert min(coverage) == pytest.approx(least, abs=0.0015)


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


@pytest.mark.parametrize(
    ("b", "c", "n", "confidence", "low", "high"),
    [
        (9, 3, 32, 0.95, -0.027, 0.390),  # Tango (1998), 6.2: sleeping difficulties (Karacan et al.)
        (0, 1, 44, 0.90, -0.096, 0.037),  # Tango (1998): crossover trial of soft contact lenses
        (16, 8, 86, 0.95, -0.020, 0.207),  # Agresti & Min (2005), Statistics in Medicine 24, 729-740: crossover data
        (25, 2, 102, 0.95, 0.139, 0.321),  # Chang et al. (2024)
        (3, 1, 14, 0.95, -0.1670, 0.4327),  # Tang et al. (2010)
    ],
)
def test_tango_published_intervals(b, c, n, confidence, low, high):
    # All as the R package ratesci (P. Laud) repeats them in its own tests.
    found = tango(b, c, n, confidence=confidence)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5.1e-4)


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


def test_tango_and_mcnemar_ask_the_same_at_zero():
    # At a difference of 0 Tango's statistic is McNemar's, (b - c) / sqrt(b + c).
    assert float(tango_statistic(9, 3, 32, 0.0)) == pytest.approx(6 / math.sqrt(12))


# --- Korn & Graubard


def grouped(sizes, hits):
    values, clusters = [], []
    for number, (size, hit) in enumerate(zip(sizes, hits, strict=True)):
        values += [1.0] * hit + [0.0] * (size - hit)
        clusters += [f"g{number}"] * size
    return values, clusters


def test_clusters_of_equal_answers_count_as_one_case_each():
    values, clusters = grouped([5] * 40, [5] * 30 + [0] * 10)
    found, alone = korn_graubard(values, clusters, side="lower"), clopper_pearson(30, 40, side="lower")
    assert found.value == alone.value == 0.75
    # Student's t and k / (k - 1) make it somewhat wider than 40 independent cases.
    assert alone.low - 0.02 < found.low < alone.low
    assert alone.high < found.high < alone.high + 0.02


def test_clusters_that_are_alike_count_at_most_all_their_cases():
    even = grouped([4] * 50, [2] * 50)
    assert korn_graubard(*even).low == pytest.approx(clopper_pearson(100, 200).low)
    # As far apart as independent cases would be: only Student's t widens it.
    assert korn_graubard(*grouped([4] * 50, [3, 1] * 25)).low == pytest.approx(clopper_pearson(100, 200).low, abs=0.003)


@pytest.mark.parametrize("failing", range(8))
def test_where_few_clusters_fail_each_counts_as_one(failing):
    values, clusters = grouped([6] * 30, [5] * failing + [6] * (30 - failing))
    found = korn_graubard(values, clusters, side="lower")
    p = 1 - failing / 180
    expected = beta.ppf(0.05, 30 * p, 30 * (1 - p) + 1)
    assert found.low == pytest.approx(expected)
    assert found.low < clopper_pearson(180 - failing, 180, side="lower").low


def test_what_clusters_cannot_say():
    assert code_of(korn_graubard, [1.0, 0.0] * 50, [f"g{i % 19}" for i in range(100)]) == "too_few_clusters"
    assert code_of(korn_graubard, [0.5] * 50) == "out_of_range"
    assert code_of(korn_graubard, [1.0, math.nan] * 50) == "non_finite"
    assert code_of(korn_graubard, []) == "empty"
    with pytest.raises(BadInputError, match="one cluster"):
        korn_graubard([1.0, 0.0] * 50, ["a"] * 3)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 8), st.floats(0, 1)), min_size=20, max_size=40))
def test_korn_graubard_invariants(groups):
    sizes = [size for size, _ in groups]
    values, clusters = grouped(sizes, [round(size * share) for size, share in groups])
    found = korn_graubard(values, clusters, side="lower")
    exact = clopper_pearson(int(sum(values)), len(values), side="lower")
    # Never narrower than if all cases were independent.
    assert 0 <= found.low <= exact.low + 1e-9 <= exact.high <= found.high + 2e-9
    mirrored = korn_graubard([1 - v for v in values], clusters, side="lower")
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)


# --- tests


def test_mcnemar_exact():
    # Binomial by hand: 2 * (C(8,0) + C(8,1)) / 2^8 = 18 / 256.
    assert mcnemar_exact(1, 7) == pytest.approx(18 / 256)
    assert mcnemar_exact(1, 7, alternative="less") == pytest.approx(9 / 256)
    assert mcnemar_exact(1, 7, alternative="greater") == pytest.approx(255 / 256)
    assert mcnemar_exact(0, 0) == mcnemar_exact(0, 0, alternative="less") == 1.0
    assert code_of(mcnemar_exact, -1, 2) == "out_of_range"


def test_mcnemar_published():
    # Fagerland, Lydersen & Laake (2013), BMC Medical Research Methodology 13:91: Bentur et al., exact conditional P = 0.070.
    assert mcnemar_exact(1, 7) == pytest.approx(0.070, abs=5e-4)


def test_a_binomial_p_value_agrees_with_the_bound():
    for k in range(31):
        p = binomial_p_value(k, 30, 0.8, alternative="less")
        assert (p < 0.05) == (clopper_pearson(k, 30, side="upper").high < 0.8)
        assert p == pytest.approx(binom.cdf(k, 30, 0.8))
    assert code_of(binomial_p_value, 1, 10, math.nan, alternative="less") == "out_of_range"
    assert code_of(binomial_p_value, 1, 0, 0.5, alternative="less") == "empty"


def test_holm_by_hand():
    # 4 * 0.01, 3 * 0.015, then 2 * 0.03 and 0.04, which must not fall under it. Holm (1979).
    assert holm([0.04, 0.01, 0.03, 0.015]) == pytest.approx([0.06, 0.04, 0.06, 0.045])
    # R: p.adjust(1:5 / 100, "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.5, 0.6, 0.9]) == [1.0, 1.0, 1.0]
    assert holm([]) == []
    assert holm([0.02]) == [0.02]


@pytest.mark.parametrize("bad", [[0.1, math.nan], [0.1, None], [True], [0.1, math.inf]])
def test_no_p_value_is_no_p_value(bad):
    assert code_of(holm, bad) == "non_finite"
    assert code_of(holm, [0.1, 1.1]) == "out_of_range"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_does(p, level):
    # The procedure as Holm states it: go up the ordered p-values until one is over level / (m - i + 1).
    rejected = set()
    for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[place] * (len(p) - step) > level:
            break
        rejected.add(place)
    adjusted = holm(p)
    assert rejected == {i for i, a in enumerate(adjusted) if a <= level}
    assert all(a >= q for a, q in zip(adjusted, p, strict=True))


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
