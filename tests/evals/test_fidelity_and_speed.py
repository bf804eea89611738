import pytest

from distill_gov.records.errors import BadInputError
from evals.evidence import CaseResult, FieldDecision
from evals.fidelity import RightWrong, agreement, right_wrong
from evals.speed import latency


def result(i, predicted="a", correct=True, *, slices=(), status="ok", timings=None):
    decisions = (FieldDecision("intent", predicted, 0.9, correct),) if status == "ok" else ()
    return CaseResult("s", "d", f"c{i}", "holdout", f"k{i}", tuple(slices), status, {}, decisions, timings=timings or {})


def test_agreement_counts_equal_decisions():
    student = [result(0, "a"), result(1, "b"), result(2, None), result(3, status="errored")]
    teacher = [result(0, "a"), result(1, "a"), result(2, None), result(3, "a")]
    found = agreement(student, teacher)["intent"]
    assert (found.n, found.agreed, found.share) == (4, 1, 0.25)


def test_agreement_of_nothing_has_no_share():
    assert agreement([], []) == {}


def test_who_was_right_per_slice():
    student = [result(0, slices=["x"]), result(1, correct=False, slices=["x"]), result(2), result(3, status="errored")]
    teacher = [result(0, slices=["x"]), result(1, slices=["x"]), result(2, correct=False), result(3)]
    found = right_wrong(student, teacher, "intent")
    assert found["all"] == RightWrong(both=1, teacher_only=2, student_only=1)
    assert found["x"] == RightWrong(both=1, teacher_only=1)


def test_cases_without_reference_are_left_out():
    assert right_wrong([result(0, correct=None)], [result(0, correct=None)], "intent") == {"all": RightWrong()}


@pytest.mark.parametrize("teacher", [[], [result(1)], [result(0), result(0)]])
def test_other_cases_are_refused(teacher):
    with pytest.raises(BadInputError):
        agreement([result(0)], teacher)
    with pytest.raises(BadInputError):
        right_wrong([result(0)], teacher, "intent")


def test_latency():
    rows = [result(i, timings={"first_token_s": 0.1, "last_token_s": i / 10}) for i in range(1, 21)]
    found = latency(rows)
    assert (found.n, found.first_token_p50, found.last_token_p50, found.last_token_p95) == (20, 0.1, 1.0, 1.9)


def test_latency_without_answers():
    rows = [result(i, timings={"last_token_s": 1.0}) for i in range(10)] + [result(i, status="errored") for i in range(10, 20)]
    found = latency(rows)
    assert found.last_token_p50 == 1.0
    assert found.last_token_p95 is None
    assert found.first_token_p50 is None
    assert latency([]).last_token_p50 is None
