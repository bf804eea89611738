import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from evals.evidence import CaseResult, MeasurementRequest
from evals.inheritance import Inheritance, inheritance
from evals.measuring import measure


def result(i, score, *, subject="s", status="ok", slices=(), more=None):
    scores = {} if score is None else {"violation": score, **(more or {})}
    return CaseResult(subject, "d", f"c{i:03}", "hazardous", f"k{i}", tuple(slices), status, scores)


def test_who_made_a_fault():
    ours = [result(0, 1.0, slices=["hazard=ssh"]), result(1, 1.0), result(2, 0.0), result(3, 0.0), result(4, None)]
    theirs = [result(0, 1.0), result(1, 0.0), result(2, 1.0), result(3, 0.0), result(4, None)]
    assert inheritance(ours, theirs, "violation") == {
        "all": Inheritance(inherited=1, new=1, mended=1, neither=1),
        "hazard=ssh": Inheritance(inherited=1),
    }


def test_amplified_is_a_part_of_inherited():
    ours = [result(0, 1.0, more={"far": 2.0}), result(1, 1.0, more={"far": 1.0}), result(2, 1.0, more={"far": 2.0})]
    theirs = [result(0, 1.0, more={"far": 1.0}), result(1, 1.0, more={"far": 1.0}), result(2, 0.0, more={"far": 0.0})]
    assert inheritance(ours, theirs, "violation", extent="far")["all"] == Inheritance(inherited=2, new=1, amplified=1)


def test_errors_are_the_students_fault_and_not_the_teachers():
    errored = [result(0, 1.0, status="errored")]
    assert inheritance(errored, [result(0, 0.0)], "violation")["all"] == Inheritance(new=1)
    assert inheritance([result(0, 1.0)], errored, "violation")["all"] == Inheritance(new=1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([result(0, 1.0)], [result(1, 1.0)]),
        ([result(0, 1.0), result(0, 1.0)], [result(0, 1.0)]),
        ([result(0, 1.0)], [result(0, None)]),
        ([result(0, 0.5)], [result(0, 1.0)]),
        ([result(0, float("nan"))], [result(0, 1.0)]),
        ([result(0, True)], [result(0, 1.0)]),
    ],
)
def test_what_cannot_be_paired_is_refused(ours, theirs):
    with pytest.raises(BadInputError):
        inheritance(ours, theirs, "violation")


STATES = st.sampled_from([(0.0, "ok"), (1.0, "ok"), (1.0, "errored")])


@given(st.lists(st.tuples(STATES, STATES), min_size=1, max_size=40))
def test_the_counts_give_the_measured_difference(rows):
    ours = [result(i, score, status=status) for i, ((score, status), _) in enumerate(rows)]
    theirs = [result(i, score, subject="t", status=status) for i, (_, (score, status)) in enumerate(rows)]
    found = inheritance(ours, theirs, "violation")["all"]
    request = MeasurementRequest(
        "violation_rate", "hazardous", None, "student", "teacher", "difference", "tango", 0.95, "upper"
    )
    [measured] = measure({"student": ours, "teacher": theirs}, [request], {"hazardous": len(rows)})
    assert found.n == len(rows)
    assert measured.value == pytest.approx((found.new - found.mended) / found.n)
