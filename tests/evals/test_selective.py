"""Ranking by confidence, the risk-coverage curve, thresholds fixed on dev."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from distill_gov.records.errors import BadInputError
from evals.cases import Case
from evals.catalogue import lookup
from evals.evidence import FieldDecision
from evals.intervals import clopper_pearson
from evals.selective import Abstention, area_under_risk_coverage, auroc, risk_coverage, threshold_at_risk
from evals.suites import ReadAnswer

ROWS = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.5, 0.51, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40).map(
    lambda rows: (np.array([p for p, _ in rows]), np.array([float(y) for _, y in rows]))
)


def value(of, confidence, correct):
    return of(confidence, correct)(np.ones((1, len(confidence))))[0]


@given(ROWS)
def test_auroc_is_mann_whitney(rows):
    p, y = rows
    if 0 < y.sum() < len(y):
        u = mannwhitneyu(p[y == 1], p[y == 0]).statistic
        assert value(auroc, p, y) == pytest.approx(u / (y.sum() * (len(y) - y.sum())))
    else:
        assert math.isnan(value(auroc, p, y))


def test_auroc_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    p, y = rng.beta(5, 2, 300).round(2), rng.integers(0, 2, 300).astype(float)
    assert value(auroc, p, y) == pytest.approx(metrics.roc_auc_score(y, p))


def by_definition(p, y, rng):
    """Mean error rate over coverages, one random order within ties."""
    order = np.lexsort((rng.random(len(p)), -p))
    wrong = np.cumsum(1 - y[order])
    return (wrong / np.arange(1, len(p) + 1)).mean()


def test_the_area_is_the_mean_risk_over_coverages():
    rng = np.random.default_rng(0)
    p, y = rng.random(200), rng.integers(0, 2, 200).astype(float)
    assert value(area_under_risk_coverage, p, y) == pytest.approx(by_definition(p, y, rng))
    # By hand: right, wrong, right: (0 + 1/2 + 1/3) / 3.
    assert value(area_under_risk_coverage, np.array([0.9, 0.8, 0.7]), np.array([1.0, 0.0, 1.0])) == pytest.approx(5 / 18)


def test_ties_are_averaged_over_their_orders():
    rng = np.random.default_rng(1)
    p, y = rng.choice([0.5, 0.9, 1.0], 40), rng.integers(0, 2, 40).astype(float)
    drawn = [by_definition(p, y, rng) for _ in range(20_000)]
    assert value(area_under_risk_coverage, p, y) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / math.sqrt(20_000))


@given(ROWS)
def test_bounds_of_the_area(rows):
    p, y = rows
    found = value(area_under_risk_coverage, p, y)
    best, worst = (value(area_under_risk_coverage, c, y) for c in (y, 1 - y))
    assert 0 <= best <= found + 1e-12
    assert found <= worst + 1e-12 <= 1 + 1e-12
    # A confidence that says nothing leaves the error rate, whatever is covered.
    assert value(area_under_risk_coverage, np.full(len(y), 0.7), y) == pytest.approx(1 - y.mean())


@given(ROWS, st.randoms(use_true_random=False))
def test_order_and_scale_say_nothing(rows, random):
    p, y = rows
    order = list(range(len(p)))
    random.shuffle(order)
    for of in (auroc, area_under_risk_coverage):
        assert value(of, p[order], y[order]) == pytest.approx(value(of, p, y), nan_ok=True)
        assert value(of, p**3 / 2, y) == pytest.approx(value(of, p, y), nan_ok=True)


@given(ROWS, st.data())
def test_weights_are_repetitions(rows, data):
    p, y = rows
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(p), max_size=len(p))))
    if weights.sum():
        for of in (auroc, area_under_risk_coverage):
            expected = value(of, np.repeat(p, weights), np.repeat(y, weights))
            assert of(p, y)(weights[None, :].astype(float))[0] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=25)
@given(ROWS)
def test_the_curve_is_what_each_threshold_gives(rows):
    p, y = rows
    curve = risk_coverage(p, y)
    assert [c.threshold for c in curve] == sorted(set(p.tolist()), reverse=True)
    for point in curve:
        taken = p >= point.threshold
        assert (point.n, point.coverage) == (taken.sum(), pytest.approx(taken.mean()))
        assert point.risk == pytest.approx(1 - y[taken].mean())
        wrong = int(taken.sum() - y[taken].sum())
        assert point.risk_high == pytest.approx(clopper_pearson(wrong, int(taken.sum()), side="upper").high)
    assert curve[-1].coverage == 1.0


def test_no_cases_make_no_curve():
    assert risk_coverage(np.array([]), np.array([])) == ()


def test_a_threshold_covers_most_within_the_risk():
    rng = np.random.default_rng(0)
    p = rng.beta(4, 1, 2000)
    y = (rng.random(2000) < p).astype(float)
    threshold = threshold_at_risk(p, y, 0.1)
    inside = [c for c in risk_coverage(p, y) if c.risk_high <= 0.1]
    assert threshold == inside[-1].threshold
    assert 0.2 < inside[-1].coverage < 0.9
    # On cases that were not looked at it holds, here by far.
    q = rng.beta(4, 1, 20_000)
    fresh = (rng.random(20_000) < q) < 0.5
    assert fresh[q >= threshold].mean() <= 0.11


@pytest.mark.parametrize(("p", "y"), [(np.ones(50), np.zeros(50)), (np.ones(20), np.ones(20))])
def test_no_threshold_is_found_where_nothing_shows_it(p, y):
    # All wrong; or all right, but 20 cases do not show a risk under 10 %.
    assert threshold_at_risk(p, y, 0.1) is None


@pytest.mark.parametrize(
    ("p", "y", "risk"),
    [
        ([], [], 0.1),
        ([0.5], [1.0, 0.0], 0.1),
        ([math.nan], [1.0], 0.1),
        ([1.5], [1.0], 0.1),
        ([0.5], [0.5], 0.1),
        ([0.5], [1.0], 0.0),
        ([0.5], [1.0], math.nan),
        ([0.5], [1.0], True),
        ([True], [1.0], 0.1),
    ],
)
def test_a_threshold_refuses_what_it_cannot_use(p, y, risk):
    with pytest.raises(BadInputError):
        threshold_at_risk(np.array(p), np.array(y), risk)


# --- the suite


def case(reference):
    return Case(id="c", messages=({"role": "user", "content": "x"},), suite="holdout", reference=reference)


def answer(*decisions):
    return ReadAnswer(True, {}, "", "", decisions)


def test_the_suite_marks_what_reaches_the_threshold():
    suite = Abstention({"intent": 0.8})
    for confidence, mark in [(0.8, 1.0), (0.79, 0.0), (1.0, 1.0)]:
        said = answer(FieldDecision("intent", "a", confidence, True), FieldDecision("action", "b", 0.9, True))
        assert suite.score(case({"intent": "a"}), said, "x") == {"accepted.intent": mark}
    assert suite.score(case({"intent": "a"}), answer(FieldDecision("intent", None, 1.0, False)), "x") == {
        "accepted.intent": 0.0
    }
    # How sure it was is not known: that is no score, and measures as absent.
    assert suite.score(case({"intent": "a"}), answer(FieldDecision("intent", "a", None, True)), "x") == {}
    assert suite.score(case(None), answer(FieldDecision("intent", "a", 0.9, None)), "x") == {}
    assert suite.worst(case({"intent": "a"})) == {"accepted.intent": 0.0}
    assert suite.worst(case(None)) == {}
    assert suite.derive([case(None)]) == ()
    assert lookup("coverage.intent").worst == suite.worst(case({"intent": "a"}))["accepted.intent"]


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1, True, math.inf])
def test_a_threshold_must_be_a_probability(bad):
    with pytest.raises(BadInputError, match="`intent`"):
        Abstention({"intent": bad})
