import math

import numpy as np
import pytest

from evals.intervals import UndefinedEstimateError
from evals.resampling import bootstrap, calibration_error_interval, confidence_gap_interval, mean_interval


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
