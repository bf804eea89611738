import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from distill_gov.records.errors import BadInputError
from evals.catalogue import NOTES
from evals.evidence import CaseResult, MeasurementRequest
from evals.intervals import holm, mcnemar_exact
from evals.slices import search_slices

LEVEL = MeasurementRequest("exact_match", "holdout", None, "student", None, "level", "clopper_pearson", 0.95, "lower")
DIFFERENCE = replace(LEVEL, reference="teacher", statistic="difference", method="tango")


def rows(values, *, subject="s", score="exact_match"):
    """From slice name to the values of its cases."""
    return [
        CaseResult(subject, "sha256:d", f"{name}{i:03d}", "holdout", f"{name}{i}", (name, "all"), "ok", {score: v})
        for name, of in values.items()
        for i, v in enumerate(of)
    ]


def search(request, student, teacher=None, **kwargs):
    results = {"student": rows(student)} | ({"teacher": rows(teacher, subject="t")} if teacher else {})
    return search_slices(results, request, {"holdout": sum(map(len, student.values()))}, **kwargs)


def row_of(found, name):
    [row] = [row for row in found.rows if row.slice == name]
    return row


def test_a_slice_in_which_the_student_is_worse_is_found_and_no_other():
    teacher = {name: [1.0] * 40 for name in "abcdefgh"}
    student = teacher | {"c": [1.0] * 28 + [0.0] * 12, "f": [0.0] + [1.0] * 39}
    found = search(DIFFERENCE, student, teacher)
    assert set(found.findings) == {"c", "all"}
    row = row_of(found, "c")
    assert (row.n, row.value, row.finding) == (40, -0.3, "worse")
    assert row.p == pytest.approx(0.5**12)
    # Nine slices were searched; "all", with 13 lost, comes first.
    assert row.adjusted == pytest.approx(8 * 0.5**12)
    assert [r.slice for r in found.rows[:3]] == ["all", "c", "f"]
    assert row_of(found, "a").p == 1.0


def test_one_sided_better_is_no_finding():
    teacher = {"a": [0.0] * 40, "b": [1.0] * 40}
    assert search(DIFFERENCE, {"a": [1.0] * 40, "b": [1.0] * 40}, teacher).findings == ()
    # Of a metric that is better when lower, worse is higher.
    request = replace(DIFFERENCE, metric="violation_rate")
    results = {
        "student": rows({"a": [1.0] * 30}, score="violation"),
        "teacher": rows({"a": [0.0] * 30}, subject="t", score="violation"),
    }
    assert search_slices(results, request, {"holdout": 30}).findings == ("a", "all")
    swapped = {"student": results["teacher"], "teacher": results["student"]}
    assert search_slices(swapped, request, {"holdout": 30}).findings == ()


def test_small_slices_are_named_and_show_no_number():
    student = {"big": [1.0] * 30, "small": [0.0] * 19}
    found = search(DIFFERENCE, student, {"big": [1.0] * 30, "small": [1.0] * 19})
    row = row_of(found, "small")
    assert (row.n, row.value, row.p, row.adjusted, row.finding) == (19, None, None, None, "too_small")
    assert found.too_small == ("small",)
    assert set(found.searched) == {"big", "all"}
    # They are not among the tests that are adjusted for.
    assert row_of(found, "all").adjusted == pytest.approx(2 * 0.5**19)
    assert "small" in search(DIFFERENCE, student, {"big": [1.0] * 30, "small": [1.0] * 19}, min_cell=19).findings


def test_a_level_is_held_against_its_limit():
    student = {"a": [1.0] * 30 + [0.0] * 10, "b": [1.0] * 39 + [0.0]}
    found = search(LEVEL, student, limit=0.9)
    assert found.findings == ("a",)
    assert row_of(found, "a").p == pytest.approx(binom.cdf(30, 40, 0.9))
    assert row_of(found, "all").n == 80


def test_a_mean_is_searched_by_permutation():
    rng = np.random.default_rng(0)
    request = replace(DIFFERENCE, metric="helpfulness", method="bca")
    base = {name: list(rng.integers(2, 5, 30).astype(float)) for name in "ab"}
    worse = base | {"a": [v - 1.0 if i % 2 else v for i, v in enumerate(base["a"])]}
    results = {
        "student": rows(worse, score="helpfulness"),
        "teacher": rows(base, subject="t", score="helpfulness"),
    }
    found = search_slices(results, request, {"holdout": 60})
    assert set(found.findings) == {"a", "all"}
    assert row_of(found, "b").p == 1.0


def test_clusters_are_taken_whole_or_not_at_all():
    student, teacher = {"a": [0.0] * 10 + [1.0] * 30}, {"a": [1.0] * 40}
    results = {
        who: [replace(r, cluster=f"k{i // 2}") for i, r in enumerate(rows(values, subject=who))]
        for who, values in (("student", student), ("teacher", teacher))
    }
    found = search_slices(results, replace(DIFFERENCE, cluster=True), {"holdout": 40})
    # Five clusters were lost, not ten cases.
    assert row_of(found, "a").p == pytest.approx(0.5**5, abs=0.02)
    assert row_of(found, "a").p > mcnemar_exact(0, 10, alternative="less")
    level = search_slices(results, replace(LEVEL, cluster=True), {"holdout": 40}, limit=0.5)
    assert (row_of(level, "a").finding, row_of(level, "a").note) == ("unusable", "clustered")
    few = {who: [replace(r, cluster=f"k{i // 4}") for i, r in enumerate(of)] for who, of in results.items()}
    found = search_slices(few, replace(DIFFERENCE, cluster=True), {"holdout": 40})
    assert row_of(found, "a").note == "too_few_clusters"
    assert found.searched == ()


def test_what_cannot_be_measured_finds_nothing_and_says_why():
    for results, planned, code in (
        ({}, {}, "absent"),
        ({"student": rows({"a": [1.0] * 30})}, {"holdout": 31}, "incomplete"),
        ({"student": rows({"a": [1.0, math.nan] * 30})}, {"holdout": 60}, "non_finite"),
        ({"student": [replace(r, slices=()) for r in rows({"a": [1.0] * 30})]}, {"holdout": 30}, "empty"),
    ):
        found = search_slices(results, LEVEL, planned, limit=0.9)
        assert (found.rows, found.note) == ((), code)
        assert code in NOTES


@pytest.mark.parametrize(
    ("request_", "kwargs"),
    [
        (replace(LEVEL, slice="a"), {"limit": 0.9}),
        (LEVEL, {}),
        (DIFFERENCE, {"limit": 0.9}),
        (LEVEL, {"limit": math.nan}),
        (LEVEL, {"limit": True}),
        (LEVEL, {"limit": 1.0}),
        (replace(LEVEL, metric="helpfulness"), {"limit": 0.5}),
        (DIFFERENCE, {"min_cell": 1}),
        (DIFFERENCE, {"min_cell": True}),
    ],
)
def test_bad_requests_are_refused(request_, kwargs):
    with pytest.raises(BadInputError):
        search(request_, {"a": [1.0] * 30}, {"a": [1.0] * 30}, **kwargs)


def test_without_harm_a_search_seldom_finds_any():
    # Twenty slices of an equal student, 300 times: unadjusted, well over a third of the searches would find something.
    rng = np.random.default_rng(0)
    found = unadjusted = 0
    for _ in range(300):
        pairs = rng.multinomial(60, [0.15, 0.15, 0.7], size=20)
        p = [mcnemar_exact(int(b), int(c), alternative="less") for b, c, _ in pairs]
        found, unadjusted = found + (min(holm(p)) <= 0.05), unadjusted + (min(p) <= 0.05)
    assert found / 300 <= 0.05
    assert unadjusted / 300 > 0.3


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40), min_size=1))
def test_every_slice_has_one_row_and_adjusting_only_raises(student):
    found = search(DIFFERENCE, student, {name: [1.0] * len(values) for name, values in student.items()})
    assert sorted(r.slice for r in found.rows) == sorted({*student, "all"})
    for row in found.rows:
        if row.p is None:
            assert row.finding == "too_small"
            assert row.n < 20
        else:
            assert row.p <= row.adjusted <= 1
            assert (row.finding == "worse") == (row.adjusted <= 0.05 + 1e-12)
