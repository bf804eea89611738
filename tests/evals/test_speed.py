from evals.evidence import CaseResult, FieldDecision
from evals.speed import latency


def result(i, predicted="a", correct=True, *, slices=(), status="ok", timings=None):
    decisions = (FieldDecision("intent", predicted, 0.9, correct),) if status == "ok" else ()
    return CaseResult("s", "d", f"c{i}", "holdout", f"k{i}", tuple(slices), status, {}, decisions, timings=timings or {})


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
