import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from evals.calibration import WeightedCalibration, calibration_error, fit_temperature, reliability_table


def sample(n, error=0.0, seed=0, a=5, b=2):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(a, b, n)
    return confidence, (rng.random(n) < confidence - error).astype(float)


def plug_in(confidence, correct, bins):
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, bins)
    return sum(len(p) / len(order) * abs(confidence[p].mean() - correct[p].mean()) for p in parts)


def test_debiasing_takes_most_of_the_bias():
    # Plug-in error of a perfectly calibrated model at n = 300 and 5 bins is about 0.04; debiased it must be under 0.03.
    raw, debiased = [], []
    for seed in range(100):
        confidence, correct = sample(300, seed=seed)
        raw.append(plug_in(confidence, correct, 5))
        debiased.append(WeightedCalibration(confidence, correct).errors(np.ones((1, 300)))[0])
    assert np.mean(raw) > 0.04
    assert np.mean(debiased) < 0.65 * np.mean(raw)


def test_bias_by_resampling_is_the_closed_form():
    # Kumar, Liang & Ma (2019) estimate the bias by drawing the bins' accuracies again; the closed form is its expectation.
    confidence, correct = sample(200, error=0.05, seed=1)
    parts = np.array_split(np.argsort(confidence), 5)
    gap = np.array([abs(confidence[p].mean() - correct[p].mean()) for p in parts])
    accuracy = np.array([correct[p].mean() for p in parts])
    rng = np.random.default_rng(0)
    drawn = rng.normal(accuracy, np.sqrt(accuracy * (1 - accuracy) / 40), size=(200_000, 5))
    mean = np.array([confidence[p].mean() for p in parts])
    expected = gap.mean() - (np.abs(drawn - mean).mean(axis=1).mean() - gap.mean())
    assert calibration_error(confidence, correct) == pytest.approx(expected, abs=5e-4)


def test_a_shift_is_found():
    confidence, correct = sample(20_000, error=0.1, a=20, b=5)
    assert calibration_error(confidence, correct) == pytest.approx(0.1, abs=0.01)


def test_all_wrong_at_confidence_one_is_one():
    # DeepTab issue 428: scored 0.0.
    assert calibration_error(np.ones(50), np.zeros(50)) == 1.0
    assert calibration_error(np.ones(50), np.ones(50)) == 0.0
    assert calibration_error(np.zeros(50), np.zeros(50)) == 0.0


def test_ties_do_not_depend_on_order():
    rng = np.random.default_rng(0)
    confidence = rng.choice([0.5, 0.9, 1.0], 300, p=[0.1, 0.2, 0.7])
    correct = (rng.random(300) < 0.8).astype(float)
    shuffled = rng.permutation(300)
    assert calibration_error(confidence, correct) == pytest.approx(calibration_error(confidence[shuffled], correct[shuffled]))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.5, 0.99, 1.0]), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 12),
)
def test_reliability_table_loses_no_case(rows, bins):
    confidence = np.array([p for p, _ in rows])
    correct = np.array([float(y) for _, y in rows])
    table = reliability_table(confidence, correct, bins)
    assert sum(b.n for b in table) == len(rows)
    assert sum(b.n * b.accuracy for b in table) == pytest.approx(correct.sum())
    assert sum(b.n * b.confidence for b in table) == pytest.approx(confidence.sum())
    assert table[0].low == confidence.min()
    assert table[-1].high == confidence.max()
    assert all(b.low <= b.confidence + 1e-12 and b.confidence <= b.high + 1e-12 for b in table)
    assert all(one.high < other.low for one, other in pairwise(table))
    assert 0 <= calibration_error(confidence, correct, bins) <= 1


def test_bins_hold_equal_mass():
    confidence, correct = sample(300)
    assert [b.n for b in reliability_table(confidence, correct)] == [60] * 5


def test_no_cases_make_no_table():
    assert reliability_table(np.array([]), np.array([])) == ()


def test_weights_are_repetitions():
    confidence, correct = sample(40, seed=2)
    weights = np.random.default_rng(1).integers(0, 4, size=40)
    repeated = WeightedCalibration(np.repeat(confidence, weights), np.repeat(correct, weights))
    expected = repeated.errors(np.ones((1, weights.sum())))
    assert WeightedCalibration(confidence, correct).errors(weights[None, :].astype(float)) == pytest.approx(expected)


def test_temperature_is_recovered():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, size=(1500, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = [int(rng.choice(5, p=row)) for row in p]
    assert fit_temperature(logits.tolist(), labels) == pytest.approx(1.0, abs=0.1)
    assert fit_temperature((3 * logits).tolist(), labels) == pytest.approx(3.0, abs=0.3)


def test_temperature_takes_log_probabilities_and_ragged_rows():
    scores = [[math.log(0.9), math.log(0.1)], [math.log(0.5), math.log(0.3), math.log(0.2)]] * 20
    assert fit_temperature(scores, [0, 1] * 20) > 0


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([], []), ([[0.0, 1.0]], [2]), ([[0.0, 1.0]], [-1]), ([[0.0, math.nan]], [0]), ([[0.0, 1.0]], []), ([[0.0, 1.0]], [True])],
)
def test_temperature_refuses_what_it_cannot_use(scores, labels):
    with pytest.raises(BadInputError):
        fit_temperature(scores, labels)
