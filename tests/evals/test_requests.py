"""Requests with what nobody said filled in, and measuring what ``run`` gives."""

from __future__ import annotations

import pytest

from distill_gov.records.errors import UnknownKeyError
from evals import measure, request
from evals.catalogue import METHODS, SUBJECTS, default_method, lookup, metric_names, names_of
from evals.evidence import CaseResult


def result(number: int, score: float, suite: str = "holdout", subject: str = "s") -> CaseResult:
    return CaseResult(subject, "d", f"c{number}", suite, f"k{number}", (), "ok", {"exact_match": score})


def test_what_is_not_said_is_the_catalogues() -> None:
    level = request("exact_match", "holdout")
    assert (level.statistic, level.method, level.subject, level.side) == ("level", "clopper_pearson", "student", "two")
    change = request("exact_match", "holdout", reference="teacher")
    assert (change.statistic, change.method, change.reference) == ("difference", "tango", "teacher")
    assert request("exact_match", "holdout", cluster=True).method == "korn_graubard"
    assert request("exact_match", "holdout", method="bootstrap").method == "bootstrap"
    with pytest.raises(UnknownKeyError, match="the nearest is `exact_match`"):
        request("exact_mach", "holdout")


@pytest.mark.parametrize("name", [name.replace("<field>", "intent") for name in metric_names()])
def test_the_default_method_is_one_that_the_metric_allows(name: str) -> None:
    for statistic, allowed in lookup(name).methods.items():
        assert default_method(name, statistic) == (allowed[0] if allowed else "")
        clustered = default_method(name, statistic, cluster=True)
        assert clustered in (*allowed, "")
        assert not any(not METHODS[m].independent for m in allowed) or not METHODS[clustered].independent


def test_every_metric_is_about_something() -> None:
    fields = ("intent", "action")
    shown = [name for subject in SUBJECTS for name in names_of(subject, fields)]
    assert len(shown) == len(set(shown))
    assert {name.replace("<field>", "intent") for name in metric_names()} <= set(shown)
    assert "brier.sequence" not in names_of("calibration", ["sequence"])


def test_results_by_suite_are_measured_as_those_in_a_row() -> None:
    rows = [result(i, float(i % 3 > 0)) for i in range(60)]
    asked = [request("exact_match", "holdout")]
    [one] = measure({"student": rows}, asked)
    assert measure({"student": {"holdout": rows, "format": [result(0, 1.0, "format")]}}, asked) == [one]
    assert (one.value, one.n_planned, one.n_scored, one.note) == (pytest.approx(40 / 60), 60, 60, "")


def test_without_a_plan_what_another_subject_ran_is_missed() -> None:
    whole = [result(i, 1.0, subject="t") for i in range(60)]
    found = measure({"student": [result(i, 1.0) for i in range(59)], "teacher": whole}, [request("exact_match", "holdout")])
    assert (found[0].value, found[0].note, found[0].n_planned) == (None, "incomplete", 60)
    assert measure({}, [request("exact_match", "holdout")])[0].note == "absent"
