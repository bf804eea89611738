import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from evals.calibration import (
    WeightedCalibration,
    brier_decomposition,
    calibration_error,
    classwise_error,
    fit_temperature,
    reliability_table,
)


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


# --- the bias of the usual estimate, and what is left of it


def fixed_width(confidence, correct, bins=15):
    """The usual plug-in error over bins of equal width, the last one closed."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    found = [(place == b) for b in range(bins) if (place == b).any()]
    return sum(b.mean() * abs(confidence[b].mean() - correct[b].mean()) for b in found)


@pytest.mark.parametrize(
    ("n", "plug_in_mean", "runs"),
    [(50, 0.143, 800), (100, 0.105, 500), (200, 0.076, 300), (500, 0.048, 150), (1000, 0.035, 100), (5000, 0.016, 40)],
)
def test_the_plug_in_error_of_a_perfect_model(n, plug_in_mean, runs):
    # Reference values: the note's table, Beta(5, 2) confidences and 15 bins.
    one = np.ones((1, n))
    plain, ours, squared = [], [], []
    for seed in range(runs):
        confidence, correct = sample(n, seed=seed)
        plain.append(fixed_width(confidence, correct))
        weighted = WeightedCalibration(confidence, correct)
        ours.append(weighted.errors(one)[0])
        squared.append(weighted.squared_errors(one)[0])
    assert np.mean(plain) == pytest.approx(plug_in_mean, abs=0.004)
    # Five bins and debiasing leave under half of it; only the squared error has none.
    assert np.mean(ours) < 0.5 * plug_in_mean
    assert abs(np.mean(squared)) < 4 * np.std(squared) / math.sqrt(runs)


def test_the_squared_error_of_a_perfect_model_is_zero_on_average_and_negative_half_the_time():
    # Kumar, Liang & Ma (2019); the note measured a mean of -5e-6 at n = 1000.
    found = []
    for seed in range(400):
        confidence, correct = sample(1000, seed=seed)
        found.append(WeightedCalibration(confidence, correct, 15).squared_errors(np.ones((1, 1000)))[0])
    assert abs(np.mean(found)) < 2e-4
    assert 0.4 < np.mean(np.array(found) < 0) < 0.65


def test_the_squared_error_is_the_formula():
    # By hand: two bins of 3 and of 2 cases, with mean confidences 0.2 and 0.9 and accuracies 1/3 and 1/2.
    confidence = np.array([0.1, 0.2, 0.3, 0.9, 0.9])
    correct = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    # By rank 5 cases fall 3 and 2.
    expected = 3 / 5 * ((0.2 - 1 / 3) ** 2 - (2 / 9) / 2) + 2 / 5 * ((0.9 - 0.5) ** 2 - 0.25 / 1)
    assert WeightedCalibration(confidence, correct, 2).squared_errors(np.ones((1, 5)))[0] == pytest.approx(expected)


def test_the_squared_error_sees_a_shift():
    confidence, correct = sample(50_000, error=0.1, a=20, b=5)
    assert WeightedCalibration(confidence, correct).squared_errors(np.ones((1, 50_000)))[0] == pytest.approx(0.01, abs=0.002)


# --- bugs of others that ours does not have


def test_a_confidence_of_one_is_in_the_last_bin():
    # torchmetrics 3510: confidence 1.0 went to a bin beyond the last; 1646 and 1744: confidence 0 to the one before the first.
    confidence, correct = np.array([0.0, 0.2, 0.6, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.0, 1.0])
    table = reliability_table(confidence, correct, 5)
    assert sum(b.n for b in table) == 5
    assert (table[0].low, table[-1].high) == (0.0, 1.0)
    assert table[-1].n == 2
    assert table[-1].accuracy == 0.5


def test_a_saturated_model_is_judged_by_all_its_cases():
    # A quarter of a real record's confidences are exactly 1.0 (netcal's WRN); here all of them, and 80 % right.
    correct = np.array([1.0, 1.0, 1.0, 1.0, 0.0] * 60)
    weighted = WeightedCalibration(np.ones(300), correct)
    assert calibration_error(np.ones(300), correct) == pytest.approx(0.2, abs=1e-6)
    assert weighted.squared_errors(np.ones((1, 300)))[0] == pytest.approx(0.04 - 0.16 / 299)


def test_all_right_is_not_calibrated():
    # helm writes 0.0 where all answers are right or all wrong, whatever the confidence.
    confidence = np.full(100, 0.6)
    assert calibration_error(confidence, np.ones(100)) == pytest.approx(0.4)
    assert calibration_error(confidence, np.zeros(100)) == pytest.approx(0.6)


# --- by label


def distributions(n, k, seed, *, saturated=False):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 0.7), size=n)
    if saturated:
        p[: n // 2] = np.eye(k)[rng.integers(0, k, n // 2)]
    return p, np.array([rng.choice(k, p=row) for row in p])


def test_the_classwise_error_is_each_label_on_its_own():
    p, y = distributions(200, 4, 0, saturated=True)
    alone = sum(WeightedCalibration(p[:, c], (y == c).astype(float)).errors(np.ones((1, 200)))[0] for c in range(4))
    assert classwise_error(p, y)(np.ones((1, 200)))[0] == pytest.approx(alone)


def test_the_classwise_error_sees_what_the_predicted_label_hides():
    # Label 0 always wins at 0.6 and is right in 60 %: calibrated. The rest goes evenly to 1 and 2, but it is always 1.
    p = np.tile([0.6, 0.2, 0.2], (1000, 1))
    y = np.array([0] * 600 + [1] * 400)
    one = np.ones((1, 1000))
    assert calibration_error(p[:, 0], (y == 0).astype(float)) == pytest.approx(0.0, abs=0.02)
    assert classwise_error(p, y)(one)[0] == pytest.approx(0.4, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 6), st.booleans())
def test_invariants_of_distributions(seed, n, k, saturated):
    p, y = distributions(n, k, seed, saturated=saturated)
    order, labels = np.random.default_rng(seed).permutation(n), np.random.default_rng(seed).permutation(k)
    back = np.argsort(labels)
    for of in (lambda p, y: classwise_error(p, y)(np.ones((1, n)))[0], lambda p, y: brier_decomposition(p, y).score):
        assert of(p[order], y[order]) == pytest.approx(of(p, y))
        assert of(p[:, labels], back[y]) == pytest.approx(of(p, y))
    found = brier_decomposition(p, y)
    assert found.reliability - found.resolution + found.uncertainty + found.within == pytest.approx(found.score)
    assert found.score == pytest.approx(np.mean(((p - np.eye(k)[y]) ** 2).sum(axis=1)))
    assert min(found.reliability, found.resolution, found.uncertainty) >= 0
    assert found.uncertainty == pytest.approx(1 - sum(np.mean(y == c) ** 2 for c in range(k)))
    assert 0 <= found.score <= 2


def test_murphys_terms_where_forecasts_are_few():
    # Murphy (1973): two forecasts, 0.8 and 0.3, right in 3 of 4 and 1 of 4. Both labels give the same terms, hence twice.
    p = np.array([[0.8, 0.2]] * 4 + [[0.3, 0.7]] * 4)
    y = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    found = brier_decomposition(p, y, bins=2)
    assert found.within == pytest.approx(0.0)
    assert found.reliability == pytest.approx(2 * (0.05**2 + 0.05**2) / 2)
    assert found.resolution == pytest.approx(2 * 0.25**2)
    assert found.uncertainty == pytest.approx(2 * 0.25)


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
