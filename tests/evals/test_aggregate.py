import math
import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError, MalformedFileError, MissingFileError, UnknownFormatError, UnknownKeyError
from distill_gov.records.files import write_parquet
from evals.aggregate import aggregate
from evals.catalogue import lookup
from evals.evidence import CaseResult, FieldDecision, MeasurementRequest, write_cases
from evals.measuring import measure

METRICS = ["exact_match", "violation_rate", "pii_reply_rate", "asks_when_unclear", "accuracy.intent", "token_f1", "helpfulness"]
SCORES = {
    "exact_match": [0.0, 1.0],
    "violation": [0.0, 1.0],
    "asks_when_unclear": [0.0, 1.0],
    "carries_pii": [0.0, 1.0],
    "pii_echo": [0.0, 1.0],
    "pii_leak": [0.0, 1.0],
    "schema_valid": [1.0, 1.0, 0.0],
    "has_target_text": [0.0, 1.0],
    "token_f1": [0.0, 0.25, 2 / 3, 1.0],
    "helpfulness": [1.0, 2.5, 5.0],
}
BAD = [math.nan, math.inf, None, 0.5, 7.0, -1.0]


def every_request(metrics=METRICS, slices=(None, "x", "it's"), suite="holdout"):
    found = []
    for name in metrics:
        for statistic in ("level", "difference"):
            for method in lookup(name).methods[statistic]:
                for slice in slices:
                    for cluster in (False, True):
                        reference = "teacher" if statistic == "difference" else None
                        made = MeasurementRequest(
                            name, suite, slice, "student", reference, statistic, method, 0.95, "lower", cluster
                        )
                        found.append(made)
    return [r for r in found if r.method in ("clopper_pearson", "tango", "bootstrap", "order_statistics")]


def both(rows, requests, planned, **more):
    with TemporaryDirectory() as folder:
        files = {}
        for name, results in rows.items():
            files[name] = [Path(folder) / f"{name}.parquet"]
            write_cases(files[name][0], results)
        return aggregate(files, requests, planned, **more), measure(rows, requests, planned, **more)


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        request = one.request
        if request.method != "bootstrap" or other.value is None:
            assert one == other, request
            continue
        assert one.value == pytest.approx(other.value, abs=1e-12), request
        assert replace(one, value=0.0, low=None, high=None) == replace(other, value=0.0, low=None, high=None)
        if other.n_clusters >= 20:
            # The same distribution by other random numbers; how it is at few units is tested in test_multinomial.
            low, high = lookup(request.metric).range
            slack = 0.2 * (other.high - other.low) + (min(high, 10.0) - low) / other.n_clusters
            assert one.low == pytest.approx(other.low, abs=slack), request
            assert one.high == pytest.approx(other.high, abs=slack), request
        assert one.low <= one.value <= one.high


def some_results(rng, subject, bad=False):
    """Results of up to 40 cases, of which about anything may be missing or, if ``bad``, wrong."""
    made = []
    held = rng.choice([0.8, 1.0])
    for i in range(rng.randint(1, 60)):
        scores = {name: rng.choice(values) for name, values in SCORES.items() if rng.random() < held}
        if bad and rng.random() < 0.03:
            scores[rng.choice(sorted(SCORES))] = rng.choice(BAD)
        predicted, correct = rng.choice([("a", True), ("a", False), (None, False), ("a", None)])
        confidence = rng.choice([0.5, 1.0, None, *([math.nan, 1.5] if bad and rng.random() < 0.1 else [])])
        errored = rng.random() < 0.1
        made.append(
            CaseResult(
                subject, "d", f"c{i:02d}", "other" if rng.random() < 0.05 else "holdout",
                f"k{i // 2 if rng.random() < 0.1 else i}", tuple(s for s in ("x", "y", "it's") if rng.random() < 0.7),
                "errored" if errored else "ok", {} if errored and rng.random() < 0.5 else scores,
                () if bad and rng.random() < 0.02 else (FieldDecision("intent", predicted, confidence, correct),),
                provenance=rng.choice(["measured", "measured", "imported"]),
            )
        )  # fmt: skip
    return made


# Shrinking would start DuckDB a thousand times; the seed is enough to look at.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
FEW, MANY = (settings(max_examples=n, deadline=None, phases=PHASES) for n in (3, 15))
REQUESTS = every_request()


def measures_alike(seed):
    rng = random.Random(seed)
    student = some_results(rng, "s")
    # The teacher ran the same cases and did otherwise on half of them.
    teacher = [replace(r, subject="t") for r in student]
    for i, row in enumerate(teacher):
        if rng.random() < 0.5:
            changed = {name: rng.choice(SCORES[name]) for name in row.scores}
            kept = {n: row.scores[n] for n in ("carries_pii", "has_target_text") if n in row.scores}
            teacher[i] = replace(row, scores={**changed, **kept}, status="errored" if rng.random() < 0.1 else row.status)
    ids = [r.case for r in student if r.suite == "holdout"]
    same(*both({"student": student, "teacher": teacher}, REQUESTS, {"holdout": rng.choice([ids, len(ids)])}))


def fails_alike(seed):
    rng = random.Random(seed)
    student, teacher = some_results(rng, "s", bad=True), some_results(rng, "t", bad=True)
    if rng.random() < 0.7:
        teacher = [replace(r, subject="t") for r in student]
    n = sum(r.suite == "holdout" for r in student)
    planned = rng.choice([n, n, n, 0, n + 3, ["c00", "c01"]])
    same(*both({"student": student, "teacher": teacher}, REQUESTS, {"holdout": planned}))


SEEDS = st.integers(0, 2**32)
test_it_measures_as_measure_does = FEW(given(SEEDS)(measures_alike))
test_whatever_is_wrong_has_the_same_name = FEW(given(SEEDS)(fails_alike))
test_it_measures_as_measure_does_often = pytest.mark.slow(MANY(given(SEEDS)(measures_alike)))
test_whatever_is_wrong_has_the_same_name_often = pytest.mark.slow(MANY(given(SEEDS)(fails_alike)))


def rows_of(n, subject="s"):
    return [
        CaseResult(
            subject, "d", f"c{i:04d}", "holdout", f"k{i}", ("x",) if i % 2 else (), "ok", {"exact_match": float(i % 4 > 0)}
        )
        for i in range(n)
    ]  # fmt: skip


def test_most_of_it_has_values():
    """So that the comparison is not one of reasons only."""
    ours, _ = both(
        {"student": rows_of(40), "teacher": rows_of(40, "t")}, every_request(["exact_match"], (None, "x")), {"holdout": 40}
    )
    assert sum(m.value is not None for m in ours) >= len(ours) / 2


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows + rows[:1],
        lambda rows: [*rows, replace(rows[0], status="errored", cluster="z", slices=("x",))],
        lambda rows: [*rows[:-1], replace(rows[-1], subject="other")],
        lambda rows: [*rows[:-1], replace(rows[-1], dataset="other")],
        lambda rows: [*rows[:-1], replace(rows[-1], case="other")],
        lambda rows: [*rows[:-1], replace(rows[-1], slices=("x", "it's"))],
        lambda rows: [*rows[:-1], replace(rows[-1], scores={"exact_match": 1.0, "contaminated": 1.0})],
        lambda rows: rows[:-1],
        lambda rows: [replace(r, cluster="one") for r in rows],
        lambda rows: [replace(r, cluster=f"k{i // 2}") for i, r in enumerate(rows)],
    ],
)
def test_evidence_that_contradicts_itself(change):
    good, teacher, requests = rows_of(60), rows_of(60, "t"), every_request(["exact_match"], (None, "x"))
    made = {("student", "holdout"): "2026-01-02T00:00:00Z", ("teacher", "holdout"): "2026-01-01T00:00:00Z"}
    same(*both({"student": change(good), "teacher": teacher}, requests, {"holdout": 60}, made=made))
    same(*both({"student": good, "teacher": change(teacher)}, requests, {"holdout": [r.case for r in good]}, made=made))


def test_nothing_is_absent():
    requests = [replace(r, suite="nothing") for r in every_request(["exact_match"], (None, "x"))]
    for plan in ({"nothing": 3}, {"nothing": ["a", "b"]}, {}):
        same(*both({"student": rows_of(60)}, requests, plan))
    same(*both({}, requests, {"nothing": 3}))


def test_times_and_costs():
    requests = every_request(["first_token_p50", "last_token_p95", "cost_per_request"], (None, "x"))
    timed = [
        replace(r, timings={"first_token_s": i / 100, "last_token_s": 1 + i / 100, "cost": i * 1e-5})
        for i, r in enumerate(rows_of(90))
    ]
    errored = [*timed[:-1], replace(timed[-1], status="errored", timings={})]
    wrong = [*timed[:-1], replace(timed[-1], timings={"last_token_s": -1.0, "cost": math.nan})]
    for rows in (timed, errored, wrong, rows_of(90)):
        same(*both({"student": rows, "teacher": timed}, requests, {"holdout": 90}))


def test_several_files_of_one_subject(tmp_path):
    rows = rows_of(80)
    for i in range(2):
        write_cases(tmp_path / f"{i}.parquet", rows[i::2])
    requests = every_request(["exact_match"], (None,))[:1]
    ours = aggregate({"student": [tmp_path / "0.parquet", tmp_path / "1.parquet"]}, requests, {"holdout": 80})
    assert ours == measure({"student": rows}, requests, {"holdout": 80})


def test_more_slices_than_a_word_has_bits():
    rows = [replace(r, slices=(f"s{i % 70}", "s69")) for i, r in enumerate(rows_of(140))]
    requests = every_request(["exact_match"], [f"s{i}" for i in range(70)])
    same(*both({"student": rows, "teacher": rows}, [r for r in requests if r.method == "clopper_pearson"], {"holdout": 140}))


@pytest.mark.parametrize("name", ["calibration_error.intent", "confidence_gap.intent", "rater_agreement"])
def test_what_needs_all_decisions_is_refused_by_name(name):
    request = replace(every_request(["exact_match"])[0], metric=name, method=lookup(name).methods["level"][0])
    with pytest.raises(BadInputError, match=name):
        aggregate({}, [request], {})


def test_unknown_metrics_and_files_are_refused(tmp_path):
    [request, *_] = every_request(["exact_match"])
    with pytest.raises(UnknownKeyError):
        aggregate({}, [replace(request, metric="exact_matsch")], {})
    with pytest.raises(MissingFileError):
        aggregate({"student": [tmp_path / "none.parquet"]}, [request], {})
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(MalformedFileError):
        aggregate({"student": [tmp_path / "bad.parquet"]}, [request], {})
    write_parquet(tmp_path / "other.parquet", [], pa.schema([pa.field("a", pa.string())]), format="measurements")
    with pytest.raises(UnknownFormatError):
        aggregate({"student": [tmp_path / "other.parquet"]}, [request], {})
    write_parquet(tmp_path / "columns.parquet", [], pa.schema([pa.field("a", pa.string())]), format="cases")
    with pytest.raises(MalformedFileError):
        aggregate({"student": [tmp_path / "columns.parquet"]}, [request], {})
    whole = tmp_path / "cut.parquet"
    write_cases(whole, rows_of(500))
    data = bytearray(whole.read_bytes())
    data[40:400] = b"x" * 360
    whole.write_bytes(bytes(data))
    with pytest.raises(MalformedFileError):
        aggregate({"student": [whole]}, [request], {"holdout": 500})


@pytest.mark.parametrize(
    "scores", [{}, {"schema_valid": 0.0}, {"carries_pii": 0.0}, {"carries_pii": 1.0}, {"carries_pii": None}]
)
def test_errored_scores_say_what_applies(scores):
    seen = {"carries_pii": 1.0, "pii_echo": 0.0, "pii_leak": 0.0}
    rows = [replace(r, scores={**seen, "pii_leak": float(i == 0)}) for i, r in enumerate(rows_of(59))]
    rows.append(replace(rows_of(60)[59], status="errored", scores=scores))
    requests = every_request(["pii_reply_rate", "pii_leak_rate", "pii_echo_rate"], (None,))
    same(*both({"student": rows, "teacher": rows}, requests, {"holdout": 60}))
