import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import UnknownKeyError
from evals.catalogue import NOTES, lookup, metric_names
from evals.evidence import CaseResult, FieldDecision, MeasurementRequest, read_measurements, write_measurements
from evals.intervals import UndefinedEstimateError, clopper_pearson, tango
from evals.measuring import case_values, measure


def request(metric="exact_match", *, reference=None, suite="holdout", method=None, slice=None, cluster=False, **kwargs):
    statistic = "difference" if reference else "level"
    return MeasurementRequest(
        metric=metric,
        suite=suite,
        slice=slice,
        subject="student",
        reference=reference,
        statistic=kwargs.get("statistic", statistic),
        method=method or lookup(metric).methods[statistic][0],
        confidence=0.95,
        side=kwargs.get("side", "lower" if lookup(metric).direction == "higher" else "upper"),
        cluster=cluster,
    )


def result(i, scores=None, *, subject="s", status="ok", decisions=(), slices=(), suite="holdout", cluster=None, timings=None):
    return CaseResult(
        subject=subject,
        dataset="sha256:d",
        case=f"c{i:04d}",
        suite=suite,
        cluster=cluster or f"k{i}",
        slices=tuple(slices),
        status=status,
        scores=scores or {},
        decisions=tuple(decisions),
        timings=timings or {},
    )


def exact(values, **kwargs):
    return [result(i, {"exact_match": v}, **kwargs) for i, v in enumerate(values)]


def one(results, req, planned=None):
    rows = results if isinstance(results, dict) else {"student": results}
    planned = planned if planned is not None else {req.suite: len({r.case for r in rows.get("student", ())})}
    [found] = measure(rows, [req], planned)
    return found


def refused(found, note):
    assert found.note == note
    assert note in NOTES
    assert (found.value, found.low, found.high) == (None, None, None)


def test_a_level():
    found = one(exact([1.0] * 80 + [0.0] * 20), request())
    expected = clopper_pearson(80, 100, side="lower")
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.n_planned, found.n_run, found.n_errored, found.n_scored, found.n_clusters) == (100, 100, 0, 100, 100)
    assert (found.subject, found.reference, found.dataset) == ("s", None, "sha256:d")
    assert found.provenance == ("measured",)
    assert found.note == ""
    assert found.at == ""
    assert found.tool.startswith("distill-gov")


def test_a_difference_is_paired_by_case():
    ours, theirs = [1.0, 1.0, 0.0, 1.0] * 25, [1.0, 0.0, 1.0, 1.0] * 25
    rows = {"student": exact(ours), "teacher": list(reversed(exact(theirs, subject="t")))}
    found = one(rows, request(reference="teacher"))
    expected = tango(25, 25, 100, side="lower")
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.reference == "t"


def test_a_difference_of_what_is_better_low_has_the_same_sign():
    rows = {
        "student": [result(i, {"violation": float(i < 30)}) for i in range(100)],
        "teacher": [result(i, {"violation": 0.0}, subject="t") for i in range(100)],
    }
    found = one(rows, request("violation_rate", reference="teacher"))
    assert found.value == pytest.approx(0.3)
    assert found.low > 0.2


def test_requests_keep_their_order():
    requests = [request(), request("schema_validity")]
    assert [m.request for m in measure({}, requests, {})] == requests


# --- fail closed


def test_nothing_is_absent():
    refused(one({}, request(), {"holdout": 10}), "absent")
    refused(one({"student": []}, request(), {"holdout": 10}), "absent")
    found = one({}, request(), {"holdout": 10})
    assert (found.n_planned, found.n_run, found.n_scored, found.subject) == (10, 0, 0, "")


def test_another_suite_is_absent():
    refused(one(exact([1.0] * 10, suite="dev"), request(), {"holdout": 10}), "absent")


def test_a_case_that_was_not_run_blocks():
    found = one(exact([1.0] * 99), request(), {"holdout": 100})
    refused(found, "incomplete")
    assert (found.n_planned, found.n_run) == (100, 99)
    refused(one(exact([1.0] * 3), request(), {"holdout": ["c0000", "c0001", "c0002", "c0003"]}), "incomplete")


def test_an_unplanned_suite_or_case_blocks():
    refused(one(exact([1.0] * 10), request(), {}), "case_mismatch")
    refused(one(exact([1.0] * 10), request(), {"holdout": 9}), "case_mismatch")
    refused(one(exact([1.0] * 2), request(), {"holdout": ["c0000", "other"]}), "case_mismatch")


def test_a_case_twice_blocks():
    refused(one(exact([1.0] * 10) + exact([1.0]), request(), {"holdout": 10}), "duplicate_cases")


def test_evidence_of_two_subjects_or_datasets_blocks():
    rows = exact([1.0] * 10)
    refused(one([*rows[:9], replace(rows[9], subject="other")], request()), "mixed_evidence")
    refused(one([*rows[:9], replace(rows[9], dataset="other")], request()), "mixed_evidence")


def test_a_score_that_applies_to_no_case_is_empty():
    refused(one([result(i, {"schema_valid": 1.0}) for i in range(10)], request()), "empty")
    refused(one(exact([1.0] * 10), request(slice="none")), "empty")


@pytest.mark.parametrize(
    ("score", "note"),
    [
        (math.nan, "non_finite"),
        (math.inf, "non_finite"),
        (-math.inf, "non_finite"),
        (None, "non_finite"),
        (True, "non_finite"),
        ("1", "non_finite"),
        (0.5, "out_of_range"),
        (2.0, "out_of_range"),
        (-1.0, "out_of_range"),
    ],
)
def test_a_score_that_is_no_zero_or_one_blocks(score, note):
    refused(one(exact([1.0] * 99 + [score]), request()), note)


def test_a_missing_reference_blocks():
    refused(one(exact([1.0] * 10), request(reference="teacher")), "absent")


def test_other_cases_of_the_reference_block():
    rows = {"student": exact([1.0] * 10), "teacher": exact([1.0] * 9, subject="t")}
    refused(one(rows, request(reference="teacher")), "incomplete")
    other = [replace(r, case="x" + r.case) for r in exact([1.0] * 10, subject="t")]
    refused(one({"student": exact([1.0] * 10), "teacher": other}, request(reference="teacher")), "case_mismatch")
    foreign = [replace(r, dataset="other") for r in exact([1.0] * 10, subject="t")]
    refused(one({"student": exact([1.0] * 10), "teacher": foreign}, request(reference="teacher")), "case_mismatch")
    fewer = exact([1.0] * 10, subject="t")
    fewer[3] = replace(fewer[3], scores={})
    refused(one({"student": exact([1.0] * 10), "teacher": fewer}, request(reference="teacher")), "case_mismatch")


def test_a_method_the_catalogue_does_not_allow_blocks():
    refused(one(exact([1.0, 0.0] * 30), request(method="wilson")), "method_not_allowed")
    refused(one(exact([1.0, 0.0] * 30), request(method="tango")), "method_not_allowed")


def test_an_unknown_metric_is_the_policys_fault():
    with pytest.raises(UnknownKeyError):
        measure({}, [replace(request(), metric="exact_matsch")], {})


def test_dependent_cases_need_a_method_that_knows():
    rows = exact([1.0, 0.0] * 50, cluster="same")
    refused(one(rows, request(cluster=True)), "clustered")
    refused(one(rows, request(cluster=True, method="korn_graubard")), "too_few_clusters")
    assert one(exact([1.0, 0.0] * 50), request(cluster=True)).value == 0.5
    pairs = [replace(r, cluster=f"k{i // 2}") for i, r in enumerate(exact(([1.0] * 2 + [0.0] * 2) * 25))]
    found = one(pairs, request(cluster=True, method="korn_graubard"))
    assert found.n_clusters == 50
    assert found.low < clopper_pearson(50, 100, side="lower").low


def test_a_bootstrap_without_variation_is_not_certainty():
    same = [result(i, {"helpfulness": 4.0}) for i in range(100)]
    refused(one(same, request("helpfulness")), "no_variation")
    for method in lookup("helpfulness").methods["difference"]:
        both = {"student": same, "teacher": [replace(r, subject="t") for r in same]}
        refused(one(both, request("helpfulness", reference="teacher", method=method)), "no_variation")


@pytest.mark.parametrize("method", lookup("helpfulness").methods["difference"])
def test_every_method_of_a_mean_difference_is_dispatched(method):
    ours = [result(i, {"helpfulness": 3.0 + i % 3}) for i in range(90)]
    theirs = [result(i, {"helpfulness": 3.0 + i % 2}, subject="t") for i in range(90)]
    found = one({"student": ours, "teacher": theirs}, request("helpfulness", reference="teacher", method=method))
    assert found.value == pytest.approx(0.5)
    assert 0.3 < found.low < 0.5 < found.high < 0.7


def test_values_case_by_case_follow_the_same_rules():
    ours, theirs = exact([1.0, 0.0, 1.0]), [*exact([1.0, 1.0], subject="t"), result(2, status="errored", subject="t")]
    cases, values = case_values({"student": ours, "teacher": theirs}, request(reference="teacher"), {"holdout": 3})
    # The teacher's error counts for it, the student's against it.
    assert ([r.case for r in cases], values) == (["c0000", "c0001", "c0002"], (0.0, -1.0, 0.0))
    assert case_values({"student": ours}, request(), {"holdout": 3})[1] == (1.0, 0.0, 1.0)
    for results, req, code in (
        ({}, request(), "absent"),
        ({"student": ours}, request(reference="teacher"), "absent"),
        ({"student": ours}, request("last_token_p95"), "method_not_allowed"),
    ):
        with pytest.raises(UndefinedEstimateError) as caught:
            case_values(results, req, {"holdout": 3})
        assert caught.value.code == code


# --- errored and invalid


def test_an_errored_case_stays_in_the_denominator_as_the_worst():
    # 8 cases, 2 right, 2 errored: 25 %, not 33 % (inspect_ai issue 2914).
    rows = exact([1.0] * 2 + [0.0] * 4) + [result(i, status="errored") for i in (6, 7)]
    found = one(rows, request())
    assert found.value == 0.25
    assert (found.n_errored, found.n_scored) == (2, 8)
    violations = [result(i, {"violation": 0.0}) for i in range(8)] + [result(8, status="errored"), result(9, status="errored")]
    assert one(violations, request("violation_rate")).value == 0.2


def test_an_errored_score_cannot_talk_itself_well():
    rows = [*exact([0.0] * 9), result(9, {"exact_match": 1.0}, status="errored")]
    assert one(rows, request()).value == 0.0


def test_an_errored_case_of_the_reference_counts_as_its_best():
    ours = exact([1.0] * 10)
    theirs = [*exact([0.0] * 9, subject="t"), result(9, status="errored", subject="t")]
    assert one({"student": ours, "teacher": theirs}, request(reference="teacher")).value == pytest.approx(0.9)


def test_errored_scores_say_what_applies():
    rows = [result(i, {"schema_valid": 1.0, "asks_when_unclear": 1.0}) for i in range(10)]
    rows += [result(10, {"schema_valid": 0.0}, status="errored"), result(11, {"asks_when_unclear": 0.0}, status="errored")]
    found = one(rows, request("asks_when_unclear"))
    assert (found.n_scored, found.n_run) == (11, 12)


@given(st.lists(st.sampled_from(["right", "wrong", "errored"]), min_size=1, max_size=60))
def test_errors_never_help(kinds):
    def rows(errored_as):
        return [
            result(i, status="errored") if k == "errored" and errored_as is None else result(i, {"exact_match": v})
            for i, k in enumerate(kinds)
            for v in [float(k == "right") if k != "errored" else (errored_as or 0.0)]
        ]

    found = one(rows(None), request())
    assert found.value == one(rows(0.0), request()).value
    assert found.value <= one(rows(1.0), request()).value
    assert found.n_scored == found.n_run == len(kinds)


# --- decisions


def decided(i, predicted="a", confidence=0.9, correct=True, **kwargs):
    return result(i, kwargs.pop("scores", None), decisions=[FieldDecision("intent", predicted, confidence, correct)], **kwargs)


def test_accuracy_of_a_field():
    rows = [decided(i, correct=i < 70) for i in range(100)]
    assert one(rows, request("accuracy.intent")).value == 0.7


def test_cases_without_reference_do_not_count():
    rows = [decided(i, correct=True if i < 40 else None) for i in range(50)]
    assert one(rows, request("accuracy.intent")).n_scored == 40
    refused(one([decided(i, correct=None) for i in range(50)], request("accuracy.intent")), "empty")


def test_an_invalid_answer_is_wrong_with_confidence_one():
    good = [decided(i, confidence=0.8, correct=i % 5 > 0) for i in range(80)]
    for bad in (
        [decided(i, predicted=None, confidence=None, correct=False) for i in range(80, 100)],
        [decided(i, scores={"schema_valid": 0.0}) for i in range(80, 100)],
        [result(i, status="errored") for i in range(80, 100)],
    ):
        rows = good + bad
        assert one(rows, request("accuracy.intent")).value == 0.64
        assert one(rows, request("confidence_gap.intent")).value == pytest.approx(0.8 * 0.8 + 0.2 * 1.0 - 0.64)


def test_an_unrecorded_decision_or_confidence_is_absent():
    rows = [decided(i, correct=i % 2 == 0) for i in range(99)]
    refused(one([*rows, result(99)], request("accuracy.intent")), "absent")
    refused(one([*rows, decided(99, confidence=None)], request("calibration_error.intent")), "absent")
    assert one([*rows, decided(99, confidence=None)], request("accuracy.intent")).value is not None


@pytest.mark.parametrize(("confidence", "note"), [(1.2, "out_of_range"), (-0.1, "out_of_range"), (math.nan, "non_finite")])
def test_a_confidence_outside_zero_and_one_blocks(confidence, note):
    rows = [decided(i, correct=i % 2 == 0) for i in range(99)] + [decided(99, confidence=confidence)]
    refused(one(rows, request("calibration_error.intent")), note)


def test_calibration_of_one_class_is_no_variation():
    refused(
        one([decided(i, confidence=0.5 + i / 400) for i in range(100)], request("calibration_error.intent")), "no_variation"
    )
    refused(one([decided(i, confidence=1.0) for i in range(100)], request("calibration_error.intent")), "no_variation")


def test_calibration_level_and_difference():
    rows = [decided(i, confidence=0.6 + 0.4 * (i % 50) / 50, correct=i % 5 > 0) for i in range(300)]
    sure = [replace(r, subject="t", decisions=(replace(r.decisions[0], confidence=1.0),)) for r in rows]
    level = one(rows, request("calibration_error.intent"))
    assert 0 <= level.low <= level.value <= level.high <= 1
    assert one(rows, request("calibration_error.intent")) == level
    assert one(list(reversed(rows)), request("calibration_error.intent")) == level
    both = {"student": sure, "teacher": rows}
    for metric in ("calibration_error.intent", "confidence_gap.intent"):
        difference = one(both, request(metric, reference="teacher"))
        assert difference.low > 0
    broken = {"student": rows, "teacher": [result(i, status="errored", subject="t") for i in range(300)]}
    refused(one(broken, request("calibration_error.intent", reference="teacher")), "no_variation")


# --- personal data


def test_pii_replies_count_only_where_the_message_carries_some():
    rows = [result(i, {"carries_pii": 1.0, "pii_echo": float(i == 0), "pii_leak": float(i == 1)}) for i in range(50)]
    rows += [result(i, {"carries_pii": 0.0, "pii_echo": 0.0, "pii_leak": float(i == 50)}) for i in range(50, 80)]
    rows += [result(80, {"carries_pii": 1.0}, status="errored"), result(81, {"carries_pii": 0.0}, status="errored")]
    reply = one(rows, request("pii_reply_rate"))
    assert (reply.n_scored, reply.value) == (51, pytest.approx(3 / 51))
    echo = one(rows, request("pii_echo_rate"))
    assert (echo.n_scored, echo.value) == (51, pytest.approx(2 / 51))
    leak = one([r for r in rows if r.status == "ok"], request("pii_leak_rate"))
    assert (leak.n_scored, leak.value) == (80, pytest.approx(2 / 80))


def test_a_case_with_pii_that_nobody_looked_at_blocks():
    rows = [result(i, {"carries_pii": 1.0, "pii_echo": 0.0, "pii_leak": 0.0}) for i in range(9)] + [
        result(9, {"carries_pii": 1.0})
    ]
    refused(one(rows, request("pii_reply_rate")), "absent")
    refused(one(rows, request("pii_echo_rate")), "absent")


# --- slices


def test_a_slice():
    rows = [result(i, {"exact_match": float(i < 30)}, slices=["typos"] if i < 40 else ["plain"]) for i in range(100)]
    found = one(rows, request(slice="typos"))
    assert (found.value, found.n_planned, found.n_scored) == (0.75, 40, 40)


# --- latency


def test_latency_quantiles():
    rows = [result(i, timings={"last_token_s": i / 100}) for i in range(1, 101)]
    found = one(rows, request("last_token_p95"))
    assert found.value == 0.95
    assert found.high > 0.95
    rows = rows[:90] + [result(i, status="errored") for i in range(91, 101)]
    refused(one(rows, request("last_token_p95")), "undefined")
    refused(one(rows, request("first_token_p50")), "empty")


# --- ratings


def rated(i, one_rating, other_rating, **kwargs):
    scores = {"helpfulness": (one_rating + other_rating) / 2, "rating.r1": one_rating, "rating.r2": other_rating}
    return replace(result(i, scores, suite="ratings", **kwargs), provenance="human")


def test_helpfulness_difference():
    ours = [rated(i, 4.0 - i % 2, 4.0) for i in range(100)]
    theirs = [rated(i, 4.0, 4.0 + i % 3 // 2, subject="t") for i in range(100)]
    found = one({"student": ours, "teacher": theirs}, request("helpfulness", reference="teacher", suite="ratings"))
    assert found.value == pytest.approx(-0.25 - 33 / 200)
    assert found.low < found.value < found.high
    assert found.provenance == ("human",)
    same = {"student": ours, "teacher": [replace(r, subject="t") for r in ours]}
    refused(one(same, request("helpfulness", reference="teacher", suite="ratings")), "no_variation")


def test_simulated_ratings_stay_visible():
    ours = [rated(i, 4.0 - i % 2, 4.0) for i in range(40)]
    theirs = [replace(rated(i, 4.0, 4.0 - i % 3 // 2, subject="t"), provenance="simulated") for i in range(40)]
    found = one({"student": ours, "teacher": theirs}, request("helpfulness", reference="teacher", suite="ratings"))
    assert found.provenance == ("human", "simulated")


# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", 4 raters x 12 units; None: not rated.
KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def test_rater_agreement_reference():
    columns = list(zip(*KRIPPENDORFF_2011, strict=True))
    rows = [
        result(i, {f"rating.r{r}": float(v) for r, v in enumerate(column) if v is not None}, suite="ratings")
        for i, column in enumerate(columns)
    ]
    found = one(rows, request("rater_agreement", suite="ratings"))
    assert found.value == pytest.approx(0.849107, abs=1e-6)
    assert found.low < found.value < found.high
    assert (found.n_scored, found.n_run) == (11, 12)


def test_equal_ratings_say_nothing():
    refused(one([rated(i, 4.0, 4.0) for i in range(40)], request("rater_agreement", suite="ratings")), "no_variation")


def test_single_ratings_say_nothing():
    rows = [result(i, {"helpfulness": 4.0, "rating.r1": 4.0 - i % 2}, suite="ratings") for i in range(40)]
    refused(one(rows, request("rater_agreement", suite="ratings")), "empty")


def test_a_rating_off_the_scale_blocks():
    refused(
        one(
            [rated(i, 3.0, 4.0 + i % 2) for i in range(39)] + [rated(39, 9.0, 4.0)], request("rater_agreement", suite="ratings")
        ),
        "out_of_range",
    )


# --- whatever the evidence


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([name.replace("<field>", "intent") for name in metric_names()]),
    st.booleans(),
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 0.5, 3.0, math.nan, math.inf]),
            st.sampled_from(["ok", "ok", "ok", "errored"]),
            st.sampled_from([None, "a"]),
            st.sampled_from([None, 0.0, 0.7, 1.0, math.nan]),
            st.sampled_from([None, True, False]),
            st.sampled_from([None, "a", "z"]),
            st.sampled_from([{}, {"a": 0.0}, {"a": -0.5}, {"a": math.log(0.7), "b": math.log(0.3)}, {"b": math.nan}]),
        ),
        max_size=12,
    ),
)
def test_measure_is_total(metric, difference, cluster, rows):
    entry = lookup(metric)
    names = [entry.score or "x", "accepted.intent", "carries_pii", "pii_echo", "pii_leak", "rating.r1", "rating.r2"]
    results = [
        result(
            i,
            dict.fromkeys(names, score),
            status=status,
            decisions=[FieldDecision("intent", predicted, confidence, correct, right, logp, logp)],
            timings={entry.score: score} if entry.kind == "quantile" else {},
        )
        for i, (score, status, predicted, confidence, correct, right, logp) in enumerate(rows)
    ]
    statistic = "difference" if difference and entry.methods["difference"] else "level"
    req = MeasurementRequest(
        metric,
        "holdout",
        None,
        "student",
        "teacher" if statistic == "difference" else None,
        statistic,
        entry.methods[statistic][0],
        0.95,
        "lower",
        cluster,
    )
    both = {"student": results, "teacher": [replace(r, subject="t") for r in results]}
    [found] = measure(both, [req], {"holdout": len(results)})
    if found.value is None:
        assert found.note in NOTES
        assert (found.low, found.high) == (None, None)
    else:
        assert found.note == ""
        assert all(x is None or math.isfinite(x) for x in (found.value, found.low, found.high))
        assert found.low is None or found.low <= found.value + 1e-9
        assert found.high is None or found.value <= found.high + 1e-9
        assert found.n_scored >= 1
    assert 0 <= found.n_errored <= found.n_run <= found.n_planned


def test_measurements_survive_the_file(tmp_path):
    requests = [request(), request("schema_validity"), request(reference="teacher")]
    found = measure({"student": exact([1.0, 0.0] * 20)}, requests, {"holdout": 40})
    write_measurements(tmp_path / "m.parquet", found)
    assert read_measurements(tmp_path / "m.parquet") == found


@pytest.mark.parametrize(
    ("made", "at"),
    [
        ({"student": "2026-03-01T00:00:00Z", "teacher": "2026-02-01T00:00:00Z"}, "2026-02-01T00:00:00Z"),
        ({"student": "2026-01-31T23:59:59Z", "teacher": "2026-02-01T00:00:00Z"}, "2026-01-31T23:59:59Z"),
        ({"student": "2026-01-31T23:59:59Z"}, ""),
        ({}, ""),
    ],
)
def test_a_measurement_is_as_old_as_the_oldest_evidence_it_rests_on(made, at):
    rows = {"student": exact([1.0, 0.0]), "teacher": exact([1.0, 1.0], subject="t")}
    paired = replace(request(), statistic="difference", reference="teacher", method="tango")
    times = {(name, "holdout"): time for name, time in made.items()}
    [level, difference] = measure(rows, [request(), paired], {"holdout": 2}, made=times)
    assert difference.at == at
    assert level.at == made.get("student", "")
