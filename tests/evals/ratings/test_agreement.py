from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from evals.evidence import CaseResult
from evals.ratings.agreement import Level, _alpha, _interval_alphas, agreement, alpha

NAN = math.nan

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: 4 observers x 12 units, with his results.
KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
# Wikipedia, "Krippendorff's alpha": 3 coders x 15 units; nominal 0.691 and interval 0.811 there.
WIKIPEDIA = [
    [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
    [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
    [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
]


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)])
def test_published_table(level: Level, value: float) -> None:
    found = alpha(KRIPPENDORFF_2011, level=level, resamples=50)
    assert found.value == pytest.approx(value, abs=0.0005)
    assert found.raters == 4
    assert found.units == 11
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("level", "value"), [("nominal", 0.691), ("interval", 0.811)])
def test_second_published_table(level: Level, value: float) -> None:
    assert alpha(WIKIPEDIA, level=level, resamples=50).value == pytest.approx(value, abs=0.0005)


def _interval_alpha_of_two(a: np.ndarray, b: np.ndarray) -> float:
    """From the definition, for two raters without gaps: 1 - (mean squared difference in units) / (the same over all pairs)."""
    pool = np.concatenate([a, b])
    n = len(pool)
    expected = ((pool[:, None] - pool[None, :]) ** 2).sum() / (n * (n - 1))
    return float(1 - ((a - b) ** 2).mean() / expected)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=30))
def test_two_raters_against_the_definition(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    found = alpha([a, b], resamples=2)
    if len({*a, *b}) == 1:
        assert found.note == "no_variation"
        assert found.value is None
    else:
        assert found.value == pytest.approx(_interval_alpha_of_two(a, b), abs=1e-9)


def test_equal_ratings_are_no_agreement() -> None:
    found = alpha(np.full((3, 40), 4.0))
    assert (found.value, found.low, found.high, found.note) == (None, None, None, "no_variation")


@pytest.mark.parametrize(
    "matrix",
    [
        np.empty((0, 5)),
        np.empty((2, 0)),
        [[1.0, 2.0, 3.0]],
        [[1.0, NAN], [NAN, 2.0]],
        np.full((2, 3), NAN),
    ],
)
def test_fewer_than_two_raters_a_unit_is_undefined(matrix: object) -> None:
    found = alpha(matrix)  # type: ignore[arg-type]
    assert (found.value, found.low, found.note) == (None, None, "undefined")


def test_variation_that_nobody_shares_does_not_count() -> None:
    # The second rater's other values stand in units that nobody else rated.
    assert alpha([[3, 3, NAN, NAN], [3, 3, 1, 5]]).note == "no_variation"


def test_one_odd_unit_cannot_lift_the_lower_bound() -> None:
    # Agreement on 39 equal units and one other: most of it hangs on that one unit, which a third of the resamples miss.
    ratings = np.full((2, 40), 4.0)
    ratings[:, 0] = 2.0
    found = alpha(ratings)
    assert found.value == 1.0
    assert found.low == -1.0


@given(seed=st.integers(0, 10_000), raters=st.integers(2, 4), units=st.integers(2, 25), gaps=st.floats(0, 0.4))
@settings(max_examples=25, deadline=None)
def test_resamples_by_sums_are_what_evalica_gives_one_by_one(seed: int, raters: int, units: int, gaps: float) -> None:
    rng = np.random.default_rng(seed)
    ratings = np.where(rng.random((raters, units)) < gaps, NAN, rng.integers(1, 4, (raters, units)))
    ratings[:2, 0] = 2.0  # at least one unit that two rated
    ratings = ratings[:, np.count_nonzero(~np.isnan(ratings), axis=0) >= 2]
    draws = rng.integers(0, ratings.shape[1], (20, ratings.shape[1]))
    times = np.stack([np.bincount(draw, minlength=ratings.shape[1]) for draw in draws]).astype(float)
    for quick, draw in zip(_interval_alphas(ratings, times), draws, strict=True):
        slow = _alpha(ratings[:, draw], "interval")
        assert quick == slow if slow is None else quick == pytest.approx(slow, abs=1e-9)


def test_same_seed_same_interval_and_wider_confidence_wider_interval() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(3, 1, 60)
    ratings = np.clip(np.rint(truth + rng.normal(0, 0.5, (2, 60))), 1, 5)
    narrow, wide = (alpha(ratings, confidence=c, seed=1, resamples=300) for c in (0.8, 0.95))
    assert alpha(ratings, confidence=0.8, seed=1, resamples=300) == narrow
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high  # type: ignore[operator]


def test_clusters_are_drawn_whole() -> None:
    rng = np.random.default_rng(5)
    ratings = np.clip(np.rint(rng.normal(3, 1, 20) + rng.normal(0, 0.6, (2, 20))), 1, 5)
    # The same units five times over hold no more information; only the clustered interval knows that.
    copies = np.tile(ratings, 5)
    once, blind = alpha(ratings, resamples=300), alpha(copies, resamples=300)
    told = alpha(copies, clusters=[str(i % 20) for i in range(100)], resamples=300)
    assert told.high - told.low > 0.8 * (once.high - once.low)  # type: ignore[operator]
    assert blind.high - blind.low < 0.7 * (told.high - told.low)  # type: ignore[operator]


@pytest.mark.parametrize(
    "call",
    [
        lambda: alpha([1.0, 2.0]),
        lambda: alpha([[1.0, math.inf], [1.0, 2.0]]),
        lambda: alpha([[1.0, 2.0]] * 2, confidence=1.0),
        lambda: alpha([[1.0, 2.0]] * 2, confidence=NAN),
        lambda: alpha([[1.0, 2.0]] * 2, resamples=0),
        lambda: alpha([[1.0, 2.0]] * 2, clusters=["a"]),
    ],
)
def test_bad_arguments_are_refused(call: object) -> None:
    with pytest.raises(BadInputError):
        call()  # type: ignore[operator]


def _result(subject: str, case: str, scores: dict[str, float], status: str = "ok") -> CaseResult:
    return CaseResult(subject, "d", case, "ratings", case, (), status, scores)  # type: ignore[arg-type]


def test_case_results_become_raters_by_units() -> None:
    results = [_result("s", f"{i}", {"helpfulness": 3, "rating.a": i % 5 + 1, "rating.b": i % 5 + 1}) for i in range(10)]
    results += [_result("s", "x", {"rating.a": 1.0}), _result("s", "y", {}, "errored")]
    found = agreement(results)
    assert (found.value, found.raters, found.units) == (1.0, 2, 10)
    assert agreement([]).note == "undefined"
    assert agreement([_result("s", "1", {"helpfulness": 3.0})]).note == "undefined"


def test_import_loads_no_heavy_package() -> None:
    probe = (
        "import sys, evals.ratings, evals.ratings.agreement as a; a.alpha;"
        "assert not {'torch', 'pandas', 'evalica', 'playwright', 'streamlit', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)
