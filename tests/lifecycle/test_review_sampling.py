"""The numbers of a review: how many rows, and what a sample shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from distill_gov.stages.review import ReviewResult, at_most, rows_needed
from evals.intervals import clopper_pearson


@st.composite
def samples(draw: st.DrawFn) -> tuple[int, int, int]:
    population = draw(st.integers(1, 400))
    rows = draw(st.integers(1, population))
    return draw(st.integers(0, rows)), rows, population


@given(samples())
def test_the_bound_is_the_last_number_that_the_sample_does_not_rule_out(sample: tuple[int, int, int]) -> None:
    """Against scipy's hypergeometric distribution."""
    rejected, rows, population = sample
    bound = at_most(rejected, rows, population)
    assert rejected <= bound <= population - rows + rejected
    assert hypergeom.cdf(rejected, population, bound, rows) > 0.05 - 1e-9 or bound == rejected
    if bound < population - rows + rejected:
        assert hypergeom.cdf(rejected, population, bound + 1, rows) <= 0.05 + 1e-9


def test_a_review_of_all_rows_is_exact() -> None:
    assert at_most(3, 40, 40) == 3


def test_in_a_large_set_the_bound_is_clopper_pearsons() -> None:
    high = clopper_pearson(2, 100, side="upper").high
    assert at_most(2, 100, 2_000_000) / 2_000_000 == pytest.approx(high, abs=1e-4)


def test_the_well_known_59() -> None:
    # 0.95 ** 59 < 0.05 < 0.95 ** 58: 59 clean rows show 5 % of a set without end.
    assert rows_needed(10_000_000, 0.05) == 59
    assert rows_needed(20, 0.0) == 20


@given(st.integers(1, 300), st.floats(0, 0.5))
def test_no_smaller_clean_sample_would_do(population: int, limit: float) -> None:
    rows = rows_needed(population, limit)
    assert at_most(0, rows, population) <= limit * population
    if rows > 1:
        assert at_most(0, rows - 1, population) > limit * population


def test_what_is_told_names_the_rate_the_bound_and_the_limit() -> None:
    result = ReviewResult(rows=100, rejected=2, population=5000, limit=0.05, reasons={"unsafe": 2})
    assert not result.passed, "2 % were rejected, and 6 % cannot be ruled out"
    assert result.told() == "2 of 100 reviewed rows rejected (2.0%), at most 6.1% of all 5,000 with 95 % confidence; limit 5.0%"
