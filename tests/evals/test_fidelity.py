import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from evals.evidence import CaseResult, FieldDecision
from evals.fidelity import MIN_CELL, Paired, agreement, fidelity, right_wrong, with_agreement
from evals.measuring import measure
from tests.evals.test_measuring import request


def result(i, predicted="a", correct=True, *, slices=(), status="ok", confidence=0.9, scores=None, urgency=None):
    decisions = [FieldDecision("intent", predicted, confidence, correct)]
    if urgency is not None:
        decisions.append(FieldDecision("urgency", *urgency))
    kept = tuple(decisions) if status == "ok" else ()
    return CaseResult("s", "d", f"c{i:03d}", "holdout", f"k{i}", tuple(slices), status, scores or {}, kept)


def test_agreement_counts_equal_decisions():
    student = [result(0, "a"), result(1, "b"), result(2, None), result(3, status="errored")]
    teacher = [result(0, "a"), result(1, "a"), result(2, None), result(3, "a")]
    found = agreement(student, teacher)["intent"]
    assert (found.n, found.agreed, found.share) == (4, 1, 0.25)
    assert found.interval[0] < 0.25 < found.interval[1]


def test_agreement_of_nothing_has_no_share():
    assert agreement([], []) == {}
    found = fidelity([], [])
    assert (found.n, found.exact.share, found.exact.interval, found.worst) == (0, None, None, ())


def test_answers_without_decisions_agree_with_nothing():
    rows = [replace(result(i), decisions=()) for i in range(3)]
    assert fidelity(rows, rows).exact.agreed == 0


def test_an_invalid_answer_agrees_with_nothing():
    bad = result(0, scores={"schema_valid": 0.0})
    assert fidelity([bad], [result(0)]).exact.agreed == fidelity([bad], [bad]).exact.agreed == 0


def test_who_was_right_per_slice():
    student = [result(0, slices=["x"]), result(1, correct=False, slices=["x"]), result(2), result(3, status="errored")]
    teacher = [result(0, slices=["x"]), result(1, slices=["x"]), result(2, correct=False), result(3)]
    found = right_wrong(student, teacher, "intent")
    assert found["all"] == Paired(both=1, teacher_only=2, student_only=1)
    assert found["x"] == Paired(both=1, teacher_only=1)


def test_what_both_failed_on_stays_in_the_table():
    rows = [result(0), result(1, status="errored")]
    assert right_wrong(rows, rows, "intent")["all"] == Paired(both=1, neither=1)


def test_cases_without_reference_are_left_out():
    assert right_wrong([result(0, correct=None)], [result(0, correct=None)], "intent") == {"all": Paired()}


@pytest.mark.parametrize("teacher", [[], [result(1)], [result(0), result(0)], [replace(result(0), dataset="other")]])
def test_other_cases_are_refused(teacher):
    for compare in (agreement, fidelity, with_agreement):
        with pytest.raises(BadInputError):
            compare([result(0)], teacher)
    with pytest.raises(BadInputError):
        right_wrong([result(0)], teacher, "intent")


def test_the_whole():
    valid = {"schema_valid": 1.0}
    teacher = [result(i, scores={**valid, "violation": float(i == 3)}, urgency=("high", 0.8, True)) for i in range(8)]
    student = list(teacher)
    student[0] = replace(teacher[0], decisions=result(0, "b", False, urgency=("low", 0.99, False)).decisions)
    student[1] = result(1, "b", False, confidence=0.95, scores=teacher[1].scores, urgency=("high", 0.8, True))
    student[2] = result(2, None, False, confidence=1.0, scores={"schema_valid": 0.0, "violation": 0.0})
    student[4] = replace(teacher[4], scores={**valid, "violation": 1.0})
    student[5] = result(5, status="errored", scores={"schema_valid": 0.0, "violation": 0.0})
    found = fidelity(student, teacher)
    assert (found.n, found.exact.agreed) == (8, 4)
    assert {one.field: one.agreed for one in found.fields} == {"intent": 4, "urgency": 5}
    assert found.format == Paired(both=6, teacher_only=2)
    assert found.policy == {"violation": Paired(both=1, student_only=1, neither=6), "over_refusal": Paired()}
    assert found.n_errored == Paired(student_only=1, neither=7)
    assert found.right["intent"] == {"all": Paired(both=4, teacher_only=4)}
    assert [(w.case, w.why, w.fields, w.confidence) for w in found.worst] == [
        ("c004", ("violation",), (), None),
        ("c005", ("errored", "lost"), ("intent", "urgency"), None),
        ("c002", ("invalid", "lost"), ("intent", "urgency"), 1.0),
        ("c000", ("lost",), ("intent", "urgency"), 0.99),
        ("c001", ("lost",), ("intent",), 0.95),
    ]
    assert found.n_worse == 5


def test_without_references_what_differs_is_listed():
    teacher = [result(i, correct=None) for i in range(3)]
    student = [result(0, "b", None), result(1, correct=None), result(2, "b", None, confidence=0.99)]
    found = fidelity(student, teacher, worst=1)
    assert [(w.case, w.why) for w in found.worst] == [("c002", ("differs",))]
    assert found.n_worse == 2
    assert found.right == {"intent": {}}


def test_small_slices_are_named_and_not_counted():
    rows = [result(i, slices=["large", *(["small"] if i < MIN_CELL - 1 else [])]) for i in range(MIN_CELL)]
    found = fidelity(rows, rows)
    assert set(found.right["intent"]) == {"all", "large"}
    assert found.small == ("small",)


@pytest.mark.parametrize(
    "bad",
    [
        result(0, "b", False, confidence=float("nan")),
        result(0, "b", False, confidence=1.5),
        result(0, scores={"violation": 0.5}),
        result(0, scores={"schema_valid": float("nan")}),
        result(0, scores={"violation": True}),
    ],
)
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(BadInputError, match="c000"):
        fidelity([bad], [result(0)])


def test_the_facts_are_json_and_hold_no_text():
    rows = [replace(result(i, slices=["x"]), output=f"secret {i}") for i in range(6)]
    other = [replace(r, decisions=(FieldDecision("intent", "b", 0.5, False),)) for r in rows]
    facts = fidelity(other, rows).facts()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert "secret" not in json.dumps(facts)
    assert facts["fields"]["intent"] == {"n": 6, "agreed": 0, "low": 0.0, "high": pytest.approx(0.459, abs=1e-3)}


def test_agreement_with_the_teacher_can_be_measured():
    teacher = [result(i) for i in range(60)]
    student = [result(i, "a" if i % 3 else "b", correct=None) for i in range(59)] + [result(59, status="errored")]
    scored = with_agreement(student, teacher)
    [found] = measure({"student": scored}, [request("teacher_agreement")], {"holdout": 60})
    assert found.value == pytest.approx(39 / 60)
    assert (found.n_scored, found.n_errored) == (60, 1)
    [absent] = measure({"student": student[:59]}, [request("teacher_agreement")], {"holdout": 59})
    assert absent.note == "empty"


KINDS = st.sampled_from([("a", True), ("b", False), (None, False), "errored"])


@given(st.lists(st.tuples(KINDS, KINDS, st.booleans(), st.booleans()), max_size=30))
def test_every_case_counts_once(kinds):
    def rows(which):
        made = []
        for i, kind in enumerate(kinds):
            slices = ["x"] if kind[2] else []
            if kind[which] == "errored":
                made.append(result(i, status="errored", slices=slices))
            else:
                predicted, correct = kind[which]
                made.append(result(i, predicted, correct if kind[3] else None, slices=slices))
        return made

    found = fidelity(rows(0), rows(1), min_cell=1)
    assert found.format.n <= found.n == len(kinds) == found.n_errored.n
    for tables in found.right.values():
        assert all(tables["all"].n >= table.n > 0 for table in tables.values())
    assert len({w.case for w in found.worst}) == len(found.worst) == min(20, found.n_worse)
    assert found.n_worse >= sum(tables["all"].teacher_only for tables in found.right.values() if tables)
    assert found.exact.agreed + found.n_worse <= found.n
    assert fidelity(rows(1), rows(1)).worst == ()
