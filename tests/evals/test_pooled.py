"""Decisions as measurements read them, and statistics of all of them together."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import UnknownKeyError
from evals.catalogue import NLL_CAP, NOTES, default_method, lookup, metric_names
from evals.evidence import CaseResult, FieldDecision, MeasurementRequest
from evals.intervals import UndefinedEstimateError
from evals.measuring import measure
from evals.pooled import STATISTICS, Decided, calibration_figures, case_value, pooled, read_decision
from evals.resampling import bootstrap

LABELS = ("a", "b", "c")
FAMILIES = [name.removesuffix(".<field>") for name in metric_names() if name.endswith(".<field>")]
NEW = [f for f in FAMILIES if f not in ("accuracy", "calibration_error", "confidence_gap")]


def decided(i, p=(0.7, 0.2, 0.1), reference="a", *, raw=None, scores=None, status="ok", subject="s", **changes):
    """A readable answer whose prediction is the likeliest label."""
    logp = {label: math.log(x) if x > 0 else -math.inf for label, x in zip(LABELS, p, strict=True)}
    best = max(logp, key=logp.__getitem__)
    raws = logp if raw is None else {k: math.log(x) for k, x in zip(LABELS, raw, strict=True)}
    decision = FieldDecision("intent", best, max(p), best == reference, reference, logp, raws)
    marks = {"schema_valid": 1.0, "accepted.intent": float(max(p) >= 0.6)} | (scores or {})
    return CaseResult(subject, "d", f"c{i:04d}", "holdout", f"c{i}", (), status, marks, (replace(decision, **changes),))


def errored(i, **kwargs):
    return replace(decided(i, **kwargs), status="errored", scores={}, decisions=())


def invalid(i, reference="a", **kwargs):
    return decided(i, reference=reference, scores={"schema_valid": 0.0}, **kwargs)


def sample(n, seed=0, *, subject="s", heat=1.0):
    """Answers of a calibrated model, sharpened by ``heat``; ``raw`` is twice as sharp."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        p = rng.dirichlet((1.0, 0.7, 0.5))
        reference = LABELS[rng.choice(3, p=p)]
        sharp, raw = p**heat / (p**heat).sum(), p**2 / (p**2).sum()
        rows.append(decided(i, tuple(sharp), reference, raw=tuple(raw), subject=subject))
    return rows


def one(rows, metric, reference=None, **kwargs):
    entry, statistic = lookup(metric), "difference" if reference else "level"
    side = "lower" if entry.direction == "higher" else "upper"
    method = default_method(metric, statistic, cluster=kwargs.get("cluster", False))
    request = MeasurementRequest(
        metric, "holdout", None, "student", "teacher" if reference else None, statistic, method, 0.95, side, **kwargs
    )
    both = {"student": rows} | ({"teacher": reference} if reference else {})
    [found] = measure(both, [request], {"holdout": len(rows)})
    return found


def refused(found, note):
    assert note in NOTES
    assert (found.note, found.value, found.low, found.high) == (note, None, None, None)


def of(statistic, rows):
    found = [d for r in rows if (d := read_decision(r, "intent", needs=STATISTICS[statistic][1])) is not None]
    return pooled(statistic, found)(np.ones((1, len(found))))[0]


# --- what a decision says


def test_the_distribution_is_read_scaled_or_raw():
    row = decided(0, (0.6, 0.3, 0.1), raw=(0.9, 0.05, 0.05))
    assert read_decision(row, "intent").confidence == 0.6
    assert read_decision(row, "intent", raw=True).confidence == pytest.approx(0.9)
    assert read_decision(row, "intent", needs="distribution").probability["b"] == pytest.approx(0.3)
    assert read_decision(row, "intent", raw=True, needs="distribution").probability["b"] == pytest.approx(0.05)


def test_the_raw_confidence_is_of_the_label_that_was_written():
    # A trie that parts twice: what is written need not be the likeliest label.
    row = decided(0, (0.4, 0.35, 0.25), raw=(0.3, 0.5, 0.2))
    assert read_decision(row, "intent", raw=True).confidence == pytest.approx(0.3)


@pytest.mark.parametrize("bad", [errored(0), invalid(0), decided(0, predicted=None), decided(0, predicted=None, correct=None)])
def test_an_invalid_answer_is_wrong_with_certainty(bad):
    for raw in (False, True):
        found = read_decision(bad, "intent", raw=raw, needs="distribution")
        assert (found.confidence, found.correct, found.predicted, dict(found.probability)) == (1.0, False, None, {})
    if bad.status == "ok":
        assert case_value("brier", bad, "intent", raw=False) == lookup("brier.intent").worst == 2.0
        assert case_value("nll", bad, "intent", raw=False) == lookup("nll.intent").worst == NLL_CAP


@pytest.mark.parametrize(
    ("changes", "needs", "note"),
    [
        ({"logp": {}}, "distribution", "absent"),
        ({"reference": None, "correct": False}, "distribution", "absent"),
        ({"reference": None, "correct": False}, "label", "absent"),
        ({"confidence": None}, "confidence", "absent"),
        ({"confidence": math.nan}, "correctness", "non_finite"),
        ({"confidence": True}, "confidence", "non_finite"),
        ({"confidence": "1"}, "label", "non_finite"),
        ({"confidence": 1.01}, "correctness", "out_of_range"),
        ({"logp": {"a": math.nan, "b": -1.0}}, "distribution", "non_finite"),
        ({"logp": {"a": True, "b": -1.0}}, "distribution", "non_finite"),
        ({"logp": {"a": math.inf, "b": -1.0}}, "distribution", "non_finite"),
        ({"logp": {"a": -0.1, "b": -0.1}}, "distribution", "out_of_range"),
        ({"logp": {"a": -3.0}}, "distribution", "out_of_range"),
        ({"logp": {"a": 0.5}}, "distribution", "out_of_range"),
        ({"logp": {"b": 0.0}}, "distribution", "out_of_range"),
    ],
)
def test_what_cannot_be_read_is_named(changes, needs, note):
    with pytest.raises(UndefinedEstimateError) as caught:
        read_decision(decided(0, **changes), "intent", needs=needs)
    assert caught.value.code == note


def test_raw_confidence_that_nobody_kept_is_absent():
    with pytest.raises(UndefinedEstimateError) as caught:
        read_decision(decided(0, raw_logp={}), "intent", raw=True)
    assert caught.value.code == "absent"


def test_a_right_answer_tells_its_reference():
    assert read_decision(decided(0, reference="a", correct=True), "intent", needs="label").reference == "a"
    row = decided(0, correct=True)
    row = replace(row, decisions=(replace(row.decisions[0], reference=None),))
    assert read_decision(row, "intent", needs="label").reference == "a"


# --- scores of one case


def test_proper_scores_by_hand():
    row = decided(0, (0.7, 0.2, 0.1), "b")
    assert case_value("brier", row, "intent", raw=False) == pytest.approx(0.49 + 0.64 + 0.01)
    assert case_value("nll", row, "intent", raw=False) == pytest.approx(-math.log(0.2))
    # A reference that is no label of the field has probability 0.
    beyond = decided(0, (0.7, 0.2, 0.1), "z")
    assert case_value("brier", beyond, "intent", raw=False) == pytest.approx(0.49 + 0.04 + 0.01 + 1)
    assert case_value("nll", beyond, "intent", raw=False) == NLL_CAP
    sure = decided(0, (1.0, 0.0, 0.0), "a")
    assert (case_value("brier", sure, "intent", raw=False), case_value("nll", sure, "intent", raw=False)) == (0.0, 0.0)
    wrong = decided(0, (1.0, 0.0, 0.0), "c")
    assert (case_value("brier", wrong, "intent", raw=False), case_value("nll", wrong, "intent", raw=False)) == (2.0, NLL_CAP)


@given(st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=3), st.sampled_from([*LABELS, "z"]))
def test_scores_lie_in_their_range(p, reference):
    row = decided(0, tuple(x / sum(p) for x in p), reference)
    for family in ("brier", "nll"):
        low, high = lookup(f"{family}.intent").range
        assert low <= case_value(family, row, "intent", raw=False) <= high


# --- macro-F1


def test_macro_f1_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rows = sample(300)
    truth = [r.decisions[0].reference for r in rows]
    said = [r.decisions[0].predicted for r in rows]
    assert of("macro_f1", rows) == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    weights = np.random.default_rng(0).integers(0, 3, 300)
    found = [read_decision(r, "intent", needs="label") for r in rows]
    expected = metrics.f1_score(np.repeat(truth, weights), np.repeat(said, weights), average="macro")
    assert pooled("macro_f1", found)(weights[None, :].astype(float))[0] == pytest.approx(expected)


def test_macro_f1_by_hand_with_what_is_invalid():
    rows = [decided(i, reference="a") for i in range(3)] + [decided(3, (0.1, 0.9, 0.0), "b"), decided(4, (0.1, 0.9, 0.0), "a")]
    assert of("macro_f1", rows) == pytest.approx((6 / 7 + 2 / 3) / 2)
    # An invalid answer misses its reference; one that errored, and whose reference nobody knows, misses every label.
    assert of("macro_f1", [*rows, invalid(5, "b")]) == pytest.approx((6 / 7 + 2 / 4) / 2)
    assert of("macro_f1", [*rows, errored(5)]) == pytest.approx((6 / 8 + 2 / 4) / 2)


def test_in_a_pair_either_side_tells_the_reference():
    ours = [decided(i, reference="a") for i in range(3)] + [decided(3, (0.1, 0.9, 0.0), "b"), errored(4)]
    theirs = [decided(i, reference="a") for i in range(3)] + [errored(3), decided(4, (0.1, 0.9, 0.0), "b")]
    # Ours misses `b` once, and `a` never; theirs is taken as right on what it did not answer, which was `b` too.
    found = one(ours, "macro_f1.intent", [replace(r, subject="t") for r in theirs])
    assert found.value == pytest.approx((1 + 2 / 3) / 2 - 1)


def test_a_label_that_is_never_found_halves_macro_f1():
    rows = [decided(i) for i in range(99)] + [decided(99, reference="b")]
    assert of("macro_f1", rows) == pytest.approx(198 / 199 / 2)


# --- by label


def test_classwise_counts_invalid_answers_as_certain_and_wrong():
    # Calibrated but for 10 of 100 that are invalid: 10 points on the label that is never right, 10 on the reference.
    rows = [decided(i, (1.0, 0.0, 0.0), "a") for i in range(90)]
    assert of("classwise_calibration", rows) == pytest.approx(0.0)
    expected = 2 * 0.1 / 3
    assert of("classwise_calibration", rows + [invalid(i, "c") for i in range(90, 100)]) == pytest.approx(expected, abs=0.01)
    assert of("classwise_calibration", rows + [errored(i) for i in range(90, 100)]) == pytest.approx(expected, abs=0.01)
    sure = [decided(i, (1.0, 0.0, 0.0), "c") for i in range(90, 100)]
    assert of("classwise_calibration", rows + sure) == pytest.approx(expected, abs=0.01)


def test_classwise_needs_one_set_of_labels():
    other = decided(1, logp={"a": math.log(0.5), "x": math.log(0.5)})
    refused(one([*sample(100), replace(other, case="c9999")], "classwise_calibration.intent"), "undefined")


# --- measured


@pytest.mark.parametrize("family", NEW)
def test_levels_and_differences(family):
    metric = f"{family}.intent"
    rows = sample(300)
    level = one(rows, metric)
    assert level.note == ""
    low, high = lookup(metric).range
    assert low <= level.low <= level.value <= level.high <= high
    assert one(rows, metric) == one(list(reversed(rows)), metric) == level
    if not lookup(metric).methods["difference"]:
        refused(one(rows, metric, sample(300, subject="t")), "method_not_allowed")
        return
    worse = [invalid(i, r.decisions[0].reference) if i % 3 == 0 else r for i, r in enumerate(rows)]
    found = one(worse, metric, [replace(r, subject="t") for r in rows])
    assert found.note == ""
    harm = found.value if lookup(metric).direction == "lower" else -found.value
    assert harm > 0
    assert found.low <= found.value <= found.high


def test_temperature_scaling_shows():
    """Calibrated as scaled, twice as sharp raw: the raw metrics are the worse ones, and the label is the same."""
    rows = sample(600)
    for family in ("calibration_error", "confidence_gap", "brier", "nll"):
        assert one(rows, f"raw_{family}.intent").value > one(rows, f"{family}.intent").value


@pytest.mark.parametrize("family", NEW)
def test_an_errored_case_never_helps(family):
    metric = f"{family}.intent"
    rows = sample(200, seed=3)
    broken = [errored(i) if i % 5 == 0 else r for i, r in enumerate(rows)]
    whole, worse = one(rows, metric), one(broken, metric)
    assert (worse.n_scored, worse.n_errored) == (200 if family != "selective_risk" else worse.n_scored, 40)
    assert worse.value < whole.value if lookup(metric).direction == "higher" else worse.value > whole.value
    if lookup(metric).methods["difference"]:
        # And where the reference errored, it counts as right and as sure as it should be.
        against = one(rows, metric, [replace(r, subject="t") for r in broken])
        even = one(broken, metric, [replace(r, subject="t") for r in rows])
        sign = 1 if lookup(metric).direction == "higher" else -1
        assert sign * even.value < 0
        assert sign * against.value < 0


@pytest.mark.parametrize("family", ["calibration_l2", "auroc", "aurc", "calibration_error", "raw_calibration_error"])
@pytest.mark.parametrize("kind", ["right", "wrong", "certain and right", "certain and wrong"])
def test_one_class_is_no_variation(family, kind):
    p = (1.0, 0.0, 0.0) if "certain" in kind else None
    rng = np.random.default_rng(0)
    rows = []
    for i in range(300):
        top = rng.uniform(0.5, 0.9)
        shown = p or (top, 1 - top - 0.05, 0.05)
        rows.append(decided(i, shown, "a" if "right" in kind else "c", raw=(0.8, 0.1, 0.1)))
    refused(one(rows, f"{family}.intent"), "no_variation")


def test_certain_and_sometimes_wrong():
    rows = [decided(i, (1.0, 0.0, 0.0), "a" if i % 5 else "b") for i in range(300)]
    refused(one(rows, "auroc.intent"), "no_variation")
    assert one(rows, "calibration_l2.intent").value == pytest.approx(0.04, abs=0.001)
    assert one(rows, "aurc.intent").value == pytest.approx(0.2)
    assert one(rows, "brier.intent").value == pytest.approx(0.4)
    assert one(rows, "classwise_calibration.intent").value == pytest.approx(0.4 / 3, abs=0.01)


def test_too_few_wrong_answers_for_an_auroc():
    # A resample without any wrong answer has no value, and so the interval has none.
    refused(
        one([decided(i, (0.5 + i / 1000, 0.4 - i / 1000, 0.1), "a" if i > 1 else "b") for i in range(300)], "auroc.intent"),
        "undefined",
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_no_case_and_one_case(family):
    metric = f"{family}.intent"
    refused(one([], metric), "absent")
    refused(one([decided(i, correct=None, reference=None) for i in range(50)], metric), "empty")
    found = one([decided(0)], metric)
    if lookup(metric).kind == "proportion":
        # Exact bounds of one case say next to nothing, and min_n keeps it from deciding anything.
        assert found.high - found.low > 0.9
    else:
        assert (found.value, found.note) in ((None, "undefined"), (None, "no_variation"))


@pytest.mark.parametrize("family", NEW)
def test_clusters(family):
    metric = f"{family}.intent"
    rows = [replace(r, cluster=f"k{i // 3}") for i, r in enumerate(sample(300))]
    few = [replace(r, cluster=f"k{i % 10}") for i, r in enumerate(rows)]
    wide, narrow = one(rows, metric, cluster=True), one(rows, metric)
    assert wide.note == ""
    assert (wide.value, wide.n_scored) == (narrow.value, narrow.n_scored)
    assert (wide.low, wide.high) != (narrow.low, narrow.high)
    refused(one(few, metric, cluster=True), "too_few_clusters")


# --- abstaining


def test_coverage_and_selective_risk():
    rows = [decided(i, (0.7, 0.2, 0.1), "a" if i < 60 else "b") for i in range(70)]
    rows += [decided(i, (0.5, 0.3, 0.2), "b") for i in range(70, 100)]
    coverage, risk = one(rows, "coverage.intent"), one(rows, "selective_risk.intent")
    assert (coverage.value, coverage.n_scored) == (0.7, 100)
    assert (risk.value, risk.n_scored) == (pytest.approx(10 / 70), 70)
    # What is invalid is not covered, and wrong among what is.
    spoilt = [*rows, invalid(100), errored(101), decided(102, predicted=None, confidence=1.0, correct=False)]
    coverage, risk = one(spoilt, "coverage.intent"), one(spoilt, "selective_risk.intent")
    assert coverage.value == pytest.approx(70 / 103)
    assert (risk.value, risk.n_scored) == (pytest.approx(13 / 73), 73)


def test_without_a_threshold_there_is_no_coverage():
    rows = [replace(r, scores={"schema_valid": 1.0}) for r in sample(100)]
    for metric in ("coverage.intent", "selective_risk.intent"):
        refused(one(rows, metric), "absent")
        refused(one([decided(i, scores={"accepted.intent": 0.5}) for i in range(50)], metric), "out_of_range")


def test_nothing_accepted_is_empty():
    rows = [decided(i, scores={"accepted.intent": 0.0}) for i in range(50)]
    refused(one(rows, "selective_risk.intent"), "empty")
    assert lookup("coverage.intent").methods["level"][0] == "clopper_pearson"


# --- invariants


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.permutations(LABELS))
def test_neither_order_nor_the_names_of_labels_matter(seed, n, names):
    rows = sample(n, seed)
    renamed = dict(zip(LABELS, names, strict=True))

    def rename(row):
        [d] = row.decisions
        logp = {renamed[k]: v for k, v in d.logp.items()}
        new = replace(d, predicted=renamed[d.predicted], reference=renamed[d.reference], logp=logp)
        return replace(row, decisions=(new,))

    right = {r.decisions[0].correct for r in rows}
    for statistic in STATISTICS if len(right) == 2 else ("classwise_calibration", "macro_f1"):
        expected = of(statistic, rows)
        assert of(statistic, [rename(r) for r in rows]) == pytest.approx(expected)
        order = np.random.default_rng(seed).permutation(n)
        assert of(statistic, [rows[i] for i in order]) == pytest.approx(expected)


# --- what plots show


def test_figures_raw_and_scaled():
    rows = [*sample(300), invalid(300), errored(301)]
    scaled, raw = calibration_figures(rows, "intent"), calibration_figures(rows, "intent", raw=True)
    for figures, name in ((scaled, "brier.intent"), (raw, "raw_brier.intent")):
        assert figures.n == sum(b.n for b in figures.reliability) == figures.risk_coverage[-1].n == 302
        assert figures.brier.score == pytest.approx(one(rows, name).value)
    assert raw.brier.reliability > scaled.brier.reliability
    assert [b.accuracy for b in raw.reliability] != [b.confidence for b in raw.reliability]


def test_figures_where_less_is_known():
    stated = [decided(i, logp={}, raw_logp={}) for i in range(20)]
    assert calibration_figures(stated, "intent").brier is None
    with pytest.raises(UndefinedEstimateError) as caught:
        calibration_figures(stated, "intent", raw=True)
    assert caught.value.code == "absent"
    with pytest.raises(UndefinedEstimateError) as caught:
        calibration_figures([], "intent")
    assert caught.value.code == "empty"
    with pytest.raises(UndefinedEstimateError) as caught:
        calibration_figures([decided(0, logp={"a": math.nan})], "intent")
    assert caught.value.code == "non_finite"


# --- what is estimated is said


@pytest.mark.parametrize(
    "family", [f for f in FAMILIES if f not in ("classwise_calibration", "macro_f1") and not f.startswith("raw_")]
)
def test_each_confidence_has_an_estimand_of_its_own(family):
    fields = ["intent", "choice", "choice_per_byte", "sequence"]
    if family in ("brier", "nll"):
        fields.remove("sequence")
        with pytest.raises(UnknownKeyError, match="distribution over labels"):
            lookup(f"{family}.sequence")
    said = {field: lookup(f"{family}.{field}").estimand for field in fields}
    assert len(set(said.values())) == len(fields)
    assert all("fitted" not in text and "trie" not in text for field, text in said.items() if field != "intent")
    assert "softmax" in said["choice"]
    assert "bytes" in said["choice_per_byte"]
    assert "exact match with the target" in said.get("sequence", "exact match with the target")


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.startswith("raw_")])
@pytest.mark.parametrize("field", ["choice", "choice_per_byte", "sequence"])
def test_only_decisions_have_a_temperature(family, field):
    with pytest.raises(UnknownKeyError, match="no temperature is fitted"):
        lookup(f"{family}.{field}")


@pytest.mark.parametrize("family", ["classwise_calibration", "macro_f1"])
@pytest.mark.parametrize("field", ["choice", "choice_per_byte", "sequence"])
def test_what_needs_fixed_labels_is_not_asked_of_other_answers(family, field):
    with pytest.raises(UnknownKeyError, match="the same in every case"):
        lookup(f"{family}.{field}")


def test_raw_and_scaled_say_which_temperature():
    assert "at temperature 1" in lookup("raw_nll.intent").estimand
    assert "fitted on dev" in lookup("nll.intent").estimand
    assert lookup("raw_nll.intent").raw
    assert not lookup("nll.intent").raw


@pytest.mark.parametrize("field", ["choice", "sequence"])
def test_calibration_of_choices_and_sequences(field):
    rows = []
    for row in sample(300):
        d = replace(row.decisions[0], field=field, logp=row.decisions[0].logp if field == "choice" else {}, raw_logp={})
        rows.append(replace(row, scores={}, decisions=(d,)))
    for family in ("accuracy", "calibration_error", "confidence_gap", "calibration_l2", "auroc", "aurc"):
        assert one(rows, f"{family}.{field}").note == ""
        refused(one(rows, f"{family}.{'sequence' if field == 'choice' else 'choice'}"), "absent")
    if field == "choice":
        assert one(rows, "brier.choice").note == ""


# --- do the intervals hold what they promise?


def calibrated(rng, n, sharpness):
    """Decisions of a model with four labels whose truth is its own distribution to the power of ``sharpness``."""
    p = np.exp(rng.normal(0, 1.5, (n, 4)))
    p /= p.sum(axis=1, keepdims=True)
    q = p**sharpness / (p**sharpness).sum(axis=1, keepdims=True)
    right = (q.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 3)
    top, names = p.argmax(axis=1), ("a", "b", "c", "d")
    return [
        Decided(float(row[t]), bool(t == y), names[t], names[y], dict(zip(names, row.tolist(), strict=True)))
        for row, t, y in zip(p, top, right, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("sharpness", [1.0, 0.6], ids=["calibrated", "overconfident"])
def test_the_bound_that_a_gate_looks_at_covers(sharpness):
    """At n = 300: at least 95 % but 2.5 points, of which the simulation's own noise is 1.1 at 400 trials."""
    many = calibrated(np.random.default_rng(7), 100_000, sharpness)
    held = dict.fromkeys(STATISTICS, 0)
    truth = {name: pooled(name, many)(np.ones((1, len(many))))[0] for name in STATISTICS}
    for trial in range(400):
        drawn = calibrated(np.random.default_rng([trial, 5]), 300, sharpness)
        for name in STATISTICS:
            higher = lookup(f"{name}.intent").direction == "higher"
            found = bootstrap(
                pooled(name, drawn), 300, confidence=0.95, side="lower" if higher else "upper", seed=trial, resamples=300
            )
            held[name] += found.low <= truth[name] if higher else found.high >= truth[name]
    assert {name: share for name, k in held.items() if (share := k / 400) < 0.925} == {}
