import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import permutation_test
from scipy.stats import t as student

from distill_gov.records.errors import BadInputError
from evals import resampling
from evals.intervals import UndefinedEstimateError
from evals.resampling import (
    bootstrap,
    calibration_error_interval,
    confidence_gap_interval,
    mean_interval,
    permutation_interval,
    permutation_p_value,
)


def code_of(call, *args, **kwargs):
    with pytest.raises(UndefinedEstimateError) as caught:
        call(*args, **kwargs)
    return caught.value.code


def test_mean_interval_agrees_with_the_normal_one():
    values = np.random.default_rng(1).normal(0.3, 1.0, 400)
    found = mean_interval(values, side="lower", seed=5)
    error = values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.645 * error, abs=0.015)
    assert mean_interval(values, side="lower", seed=5) == found


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1])
def test_equal_values_are_undefined_and_never_sure(constant):
    assert code_of(mean_interval, [constant] * 50, seed=0) == "no_variation"


@pytest.mark.parametrize(
    ("values", "code"),
    [([], "empty"), ([1.0], "undefined"), ([1.0, math.nan], "non_finite"), ([1.0, math.inf], "non_finite")],
)
def test_unusable_values(values, code):
    assert code_of(mean_interval, values, seed=0) == code


@pytest.mark.parametrize("bad", [None, True, "0.5", np.bool_(True), 1j])
def test_no_number_is_no_number(bad):
    assert code_of(mean_interval, [0.5, bad], seed=0) == "non_finite"
    assert code_of(mean_interval, np.array([0.5, bad], dtype=object), seed=0) == "non_finite"


def test_boolean_arrays_are_refused():
    assert code_of(mean_interval, np.array([True, False]), seed=0) == "non_finite"


def test_clusters_widen_the_interval():
    rng = np.random.default_rng(0)
    effect = np.repeat(rng.normal(0, 1, 40), 10)
    values = effect + rng.normal(0, 0.1, 400)
    clusters = [f"c{i // 10}" for i in range(400)]
    alone, together = mean_interval(values, seed=0), mean_interval(values, clusters=clusters, seed=0)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_few_clusters_say_nothing():
    values = list(np.random.default_rng(0).normal(size=100))
    assert code_of(mean_interval, values, clusters=[f"c{i % 19}" for i in range(100)], seed=0) == "too_few_clusters"
    assert mean_interval(values, clusters=[f"c{i % 20}" for i in range(100)], seed=0)


def test_a_statistic_that_breaks_is_undefined():
    assert code_of(bootstrap, lambda w: np.full(len(w), np.nan), 10, seed=0) == "undefined"


def test_the_interval_holds_the_estimate_even_of_a_biased_statistic():
    found = bootstrap(lambda w: (w == 0).mean(axis=1), 50, seed=0)
    assert found.low <= found.value <= found.high


# --- pivotal and BCa


def skewed(n, seed=3):
    return np.random.default_rng(seed).exponential(1.0, n)


@pytest.mark.parametrize(("method", "scipys"), [("bootstrap", "percentile"), ("pivotal", "basic"), ("bca", "BCa")])
def test_kinds_of_bootstrap_against_scipy(method, scipys):
    # An independent implementation; ours is a little wider, as Hesterberg's correction for n = 200 says (0.5 % of the width).
    x = skewed(200)
    found = mean_interval(x, seed=1, method=method, resamples=20_000)
    theirs = scipy_bootstrap((x,), np.mean, method=scipys, n_resamples=20_000, rng=np.random.default_rng(2)).confidence_interval
    width = theirs.high - theirs.low
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.04 * width)


def test_bca_leans_towards_the_long_tail_and_pivotal_away():
    x = skewed(100)
    plain, pivotal, bca = (mean_interval(x, seed=1, method=m) for m in ("bootstrap", "pivotal", "bca"))
    assert pivotal.low < plain.low < bca.low
    assert pivotal.high < plain.high < bca.high
    assert (pivotal.low, pivotal.high) == pytest.approx((2 * plain.value - plain.high, 2 * plain.value - plain.low))


def test_few_units_widen_the_interval_as_students_t_does():
    # A resample spreads sqrt((k - 1) / k) times as widely: Hesterberg (2015). For normal data the two must meet.
    rng = np.random.default_rng(7)
    x = rng.normal(size=20)
    found, exact = (
        mean_interval(x, seed=0, side="lower", resamples=20_000),
        student.ppf(0.95, 19) * x.std(ddof=1) / math.sqrt(20),
    )
    assert found.high - found.low == pytest.approx(2 * exact, rel=0.03)


def test_bca_of_many_cases_leaves_out_groups(monkeypatch):
    x = skewed(600)
    whole = mean_interval(x, seed=1, method="bca")
    monkeypatch.setattr(resampling, "_MOST_LEFT_OUT", 100)
    grouped = mean_interval(x, seed=1, method="bca")
    width = whole.high - whole.low
    assert (grouped.low, grouped.high) == pytest.approx((whole.low, whole.high), abs=0.03 * width)
    plain = mean_interval(x, seed=1)
    assert abs(plain.low - whole.low) > 0.01 * width


def test_bca_of_clusters_leaves_out_whole_clusters():
    x = np.repeat(skewed(40), 5)
    clusters = [f"g{i // 5}" for i in range(200)]
    whole, alone = mean_interval(x, clusters=clusters, seed=1, method="bca"), mean_interval(x[::5], seed=1, method="bca")
    assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high), abs=0.02)


@pytest.mark.parametrize("method", ["bootstrap", "pivotal", "bca"])
def test_degenerate_samples_have_a_name_in_every_kind(method):
    assert code_of(mean_interval, [0.3] * 50, seed=0, method=method) == "no_variation"
    assert code_of(mean_interval, [0.3], seed=0, method=method) == "undefined"
    assert code_of(mean_interval, [], seed=0, method=method) == "empty"
    few = [f"g{i % 19}" for i in range(50)]
    assert code_of(mean_interval, np.arange(50.0), clusters=few, seed=0, method=method) == "too_few_clusters"
    with pytest.raises(BadInputError, match="one cluster"):
        mean_interval(np.arange(50.0), clusters=["a"] * 49, seed=0, method=method)

    def sometimes(weights):
        return np.where(weights[:, 0] > 2, np.nan, weights[:, 0])

    assert code_of(bootstrap, sometimes, 50, seed=0, method=method) == "undefined"


def test_bca_refuses_what_its_jackknife_cannot_say():
    # Leaving one out changes nothing, though resamples differ: there is no acceleration.
    assert code_of(bootstrap, lambda w: (w >= 3).mean(axis=1), 50, seed=0, method="bca") == "no_variation"
    # All resamples on one side: no bias correction.
    assert code_of(bootstrap, lambda w: -w.max(axis=1) - 0.001 * w[:, 0], 50, seed=0, method="bca") == "undefined"
    # Not a number where one is left out.
    gone = lambda w: np.where((w == 0).sum(axis=1) == 1, np.nan, w[:, 0])  # noqa: E731
    assert code_of(bootstrap, gone, 50, seed=0, method="bca") == "undefined"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=30),
    st.sampled_from(["bootstrap", "pivotal", "bca"]),
    st.integers(0, 100),
)
def test_an_interval_is_never_a_point(values, method, seed):
    try:
        found = mean_interval(values, seed=seed, method=method, resamples=200)
    except UndefinedEstimateError:
        return
    assert found.low <= found.value <= found.high
    assert found.low < found.high


# --- paired permutation


@pytest.mark.parametrize("alternative", ["less", "greater", "two-sided"])
def test_permutation_of_few_pairs_is_exact(alternative):
    x = np.random.default_rng(0).normal(0.3, 1.0, 10)
    theirs = permutation_test((x,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=2000)
    assert permutation_p_value(x, alternative=alternative, seed=1) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_permutation_published():
    # Fisher (1935), The Design of Experiments, 21: Darwin's 15 pairs of maize; 1,726 of 32,768 sign patterns are as extreme.
    darwin = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert permutation_p_value(darwin, seed=0, flips=19_999) == pytest.approx(1726 / 32768, abs=0.007)


def test_a_random_p_value_is_never_zero():
    # Phipson & Smyth (2010): (1 + b) / (1 + m).
    assert permutation_p_value([1.0] * 40, alternative="greater", seed=0, flips=199) == pytest.approx(1 / 200)
    assert permutation_p_value([1.0] * 40, alternative="less", seed=0, flips=199) == 1.0
    assert permutation_p_value([0.0] * 40, seed=0) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=5, max_size=9), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_interval_holds_what_the_test_does_not_reject(values, confidence):
    assume(len(set(values)) > 1)
    found = permutation_interval([float(v) for v in values], side="lower", confidence=confidence, seed=0)
    if found.low is None:
        # No sign pattern of so few pairs is as rare as that.
        assert 2.0 ** -len(values) > 1 - confidence
        return

    def p(mean):
        return permutation_p_value(np.array(values) - mean, alternative="greater", seed=0)

    assert p(found.low + 1e-6) > 1 - confidence
    assert p(found.low - 1e-6) <= 1 - confidence
    mirrored = permutation_interval([-float(v) for v in values], side="lower", confidence=confidence, seed=0)
    assert mirrored.high == pytest.approx(-found.low)


def test_permutation_flips_whole_clusters():
    x = np.repeat(np.random.default_rng(1).normal(0.3, 1.0, 30), 4)
    clusters = [f"g{i // 4}" for i in range(120)]
    together, alone = permutation_interval(x, clusters=clusters, seed=0), permutation_interval(x[::4], seed=0)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.1)
    assert permutation_p_value(x, clusters=clusters, seed=0) > permutation_p_value(x, seed=0)
    assert code_of(permutation_interval, x, clusters=[c[:2] for c in clusters], seed=0) == "too_few_clusters"


@pytest.mark.parametrize(
    ("values", "code"), [([], "empty"), ([1.0], "undefined"), ([1.0, math.nan], "non_finite"), ([1.0, None], "non_finite")]
)
def test_permutation_of_unusable_values(values, code):
    assert code_of(permutation_p_value, values, seed=0) == code
    assert code_of(permutation_interval, values, seed=0) == code


# --- calibration


def predictions(n, error, seed=0):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(4, 1, n)
    return confidence, (rng.random(n) < confidence - error).astype(float)


def test_calibration_error_interval_sees_overconfidence():
    good = calibration_error_interval(predictions(2000, 0.0), side="upper", seed=0)
    bad = calibration_error_interval(predictions(2000, 0.2), side="upper", seed=0)
    assert good.high < 0.06
    assert bad.low > 0.1
    assert 0 <= good.low <= good.value <= good.high <= 1


def test_difference_of_calibration_errors_is_paired():
    p = predictions(500, 0.1)
    assert code_of(calibration_error_interval, p, reference=p, seed=0) == "no_variation"
    worse = (np.minimum(p[0] + 0.15, 1.0), p[1])
    found = calibration_error_interval(worse, reference=p, side="lower", seed=0)
    assert found.low > 0


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_one_class_is_no_variation(right):
    confidence = np.linspace(0.5, 1.0, 300)
    assert code_of(calibration_error_interval, (confidence, np.full(300, right)), seed=0) == "no_variation"
    assert code_of(confidence_gap_interval, (confidence, np.full(300, right)), seed=0) == "no_variation"
    assert code_of(calibration_error_interval, (np.ones(300), np.full(300, right)), seed=0) == "no_variation"


@pytest.mark.parametrize("bad", [1.5, -0.1])
def test_confidence_out_of_range(bad):
    assert code_of(calibration_error_interval, ([0.5, bad], [1.0, 0.0]), seed=0) == "out_of_range"


def test_saturated_confidence_is_counted():
    # 40 % wrong at confidence 1: the error is 0.4, not 0 (torchmetrics issue 3510 loses such cases).
    correct = np.array([1.0] * 180 + [0.0] * 120)
    found = calibration_error_interval((np.ones(300), correct), side="upper", seed=0)
    assert found.value == pytest.approx(0.4, abs=0.01)
    assert found.low > 0.3


def test_confidence_gap_is_two_one_sided_tests():
    p, y = predictions(1000, 0.1, seed=3)
    found = confidence_gap_interval((p, y), side="upper", seed=0)
    signed = mean_interval(p - y, side="upper", seed=0)
    assert found.value == pytest.approx(abs((p - y).mean()))
    assert (found.low, found.high) == pytest.approx((signed.low, signed.high))
    # Underconfidence counts as much.
    under = confidence_gap_interval((1 - p, 1 - y), side="upper", seed=0)
    assert (under.value, under.low, under.high) == pytest.approx((found.value, found.low, found.high))
    even = confidence_gap_interval(predictions(1000, 0.0, seed=3), side="upper", seed=0)
    assert even.low == 0.0
