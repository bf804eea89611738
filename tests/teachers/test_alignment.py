"""Taking a prompted model's label bias away."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distill_gov.records.errors import BadInputError
from distill_gov.teachers.alignment import FOLDS, Alignment, cross_fitted, fit_alignment, mix_weights

LABELS = ("refund", "order status", "other")


def biased(n: int = 120, seed: int = 0, orders: int = 2) -> tuple[np.ndarray, list[str]]:
    """Label log-probabilities of a model that knows the answer but favours `other` by far."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    columns = []
    for order in range(orders):
        scores = rng.normal(0, 0.5, (n, 3)) + 2.0 * np.eye(3)[truth] + np.array([0.0, -1.0 - order, 6.0])
        columns.append(scores - np.log(np.exp(scores).sum(1, keepdims=True)))
    return np.concatenate(columns, 1), [LABELS[i] for i in truth]


def accuracy(logp: np.ndarray, truth: list[str]) -> float:
    return float(np.mean([LABELS[i] == t for i, t in zip(logp.argmax(1), truth, strict=True)]))


def test_it_recovers_the_labels_from_biased_scores() -> None:
    features, truth = biased()
    assert accuracy(features[:, :3], truth) < 0.5
    alignment, crossed = fit_alignment(features, truth, LABELS)
    assert accuracy(crossed, truth) > 0.9
    fresh, labels = biased(seed=1)
    assert accuracy(alignment(fresh), labels) > 0.9


def test_the_results_are_log_probabilities() -> None:
    features, truth = biased()
    alignment, crossed = fit_alignment(features, truth, LABELS)
    for logp in (alignment(features), crossed):
        assert logp.shape == (len(truth), 3)
        np.testing.assert_allclose(np.exp(logp).sum(1), 1.0)


def test_a_row_is_never_judged_by_a_fit_that_saw_its_label() -> None:
    """Whatever a row's label is said to be, its own cross-fitted scores stay the same; those of other folds do not."""
    features, truth = biased(40)
    before = cross_fitted(features, truth, LABELS, 0.1)
    for row in (0, 7, 39):
        changed = list(truth)
        changed[row] = next(label for label in LABELS if label != truth[row])
        after = cross_fitted(features, changed, LABELS, 0.1)
        same_fold = np.arange(40) % FOLDS == row % FOLDS
        np.testing.assert_array_equal(after[same_fold], before[same_fold])
        assert not np.allclose(after[~same_fold], before[~same_fold])


def test_noise_is_not_learned_by_heart() -> None:
    """Labels that the scores say nothing of: the cross-fitted accuracy is that of chance."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(300, 6))
    truth = [LABELS[i] for i in rng.integers(0, 3, 300)]
    _, crossed = fit_alignment(features, truth, LABELS)
    assert accuracy(crossed, truth) < 0.45


def test_it_survives_json() -> None:
    features, truth = biased()
    alignment, _ = fit_alignment(features, truth, LABELS)
    again = Alignment.from_json(json.loads(json.dumps(alignment.as_json())))
    assert again == alignment
    np.testing.assert_array_equal(again(features), alignment(features))


@pytest.mark.parametrize("majority", [0, 2])
def test_a_label_that_dev_lacks_keeps_some_mass_and_never_wins(majority: int) -> None:
    """With two labels in dev the fit has one intercept only; a large one must not lift the third label."""
    rng = np.random.default_rng(5)
    features = rng.normal(0, 0.3, (200, 3))
    index = np.where(rng.random(200) < 0.95, majority, 2 - majority)
    features[np.arange(200), index] += 1.5
    truth = [LABELS[i] for i in index]
    alignment, crossed = fit_alignment(features, truth, LABELS)
    for logp in (alignment(features), crossed):
        assert np.isfinite(logp).all()
        assert (logp.argmax(1) != 1).all()
        assert (logp[:, 1] < logp.max(1)).all()
    # Every label that dev holds can still be found.
    assert set(alignment(features).argmax(1)) == {0, 2}


def test_a_fourth_label_absent() -> None:
    features, truth = biased()
    alignment, _ = fit_alignment(features, truth, (*LABELS, "cancel"))
    assert (alignment(features).argmax(1) != 3).all()


def test_one_label_only_cannot_be_aligned() -> None:
    features, _ = biased(20)
    with pytest.raises(BadInputError, match="too few labels"):
        fit_alignment(features, ["refund"] * 20, LABELS)


def test_an_unknown_label_is_refused_without_being_shown() -> None:
    features, truth = biased(20)
    with pytest.raises(BadInputError) as caught:
        fit_alignment(features, ["zebra", *truth[1:]], LABELS)
    assert "zebra" not in str(caught.value)


def test_rows_of_any_size_of_score_stay_finite() -> None:
    features, truth = biased()
    alignment, _ = fit_alignment(features, truth, LABELS)
    assert np.isfinite(alignment(features * 1e4)).all()
    assert alignment(features[:0]).shape == (0, 3)


def test_references_richer_in_a_label_do_not_make_it_likelier() -> None:
    """Rows that tell nothing: what the alignment says of a label is how often dev has it."""
    rng = np.random.default_rng(0)
    truth = [LABELS[0]] * 60 + [LABELS[1]] * 30 + [LABELS[2]] * 10 + [LABELS[2]] * 200
    features = rng.normal(size=(300, 4))
    weights = mix_weights(truth, LABELS, 100)
    mixed = [sum(w for w, t in zip(weights, truth, strict=True) if t == label) for label in LABELS]
    assert [m / sum(mixed) for m in mixed] == pytest.approx([0.6, 0.3, 0.1], abs=0.01)
    alignment, _ = fit_alignment(features, truth, LABELS, 100)
    said = np.exp(alignment(features))
    assert np.average(said, axis=0, weights=weights) == pytest.approx([0.6, 0.3, 0.1], abs=0.02)
    unweighted, _ = fit_alignment(features, truth, LABELS)
    assert np.exp(unweighted(features)).mean(0)[2] > 0.6


def test_the_units_of_a_feature_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    truth = [LABELS[i % 3] for i in range(60)]
    features = rng.normal(size=(60, 5))
    features[:, 0] += [i % 3 for i in range(60)]
    features[:, 4] = 7.0  # says nothing, and must not divide by nothing
    plain, _ = fit_alignment(features, truth, LABELS)
    stretched = features * [1000.0, 0.01, 1.0, 5.0, 1.0]
    again, _ = fit_alignment(stretched, truth, LABELS)
    np.testing.assert_allclose(again(stretched), plain(features), atol=1e-3)
