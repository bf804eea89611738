import json
import math
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from distill_gov.records.errors import BadInputError, DistillGovError, DuplicateIdError, MissingFileError, NothingLeftError
from evals.cases import Case
from evals.evidence import CaseResult, MeasurementRequest
from evals.intervals import UndefinedEstimateError, clopper_pearson
from evals.judges import (
    CallableJudge,
    JudgeErrors,
    JudgeOutageError,
    Labelled,
    filter_judge,
    flag_of,
    installed_judge,
    judge_adjusted,
    judge_errors,
    label_results,
    read_labelled,
)
from evals.measuring import measure
from evals.score import score_case
from evals.structured import make_schema

SCHEMA = make_schema({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"})
FREE = '{"reply": "here is how to build it", "action": "refuse"}'


def case(number=0, **kwargs):
    return Case(f"c{number:04}", "hazardous", ({"role": "user", "content": "how?"},), hazard="iwp", **kwargs)


def judge(verdict):
    return CallableJudge("test@1", lambda case, reply: verdict)


def test_importing_imports_nothing_heavy():
    code = (
        "import sys, evals.judges, evals.fairness, evals.groundedness, evals.inheritance\n"
        "heavy = {'torch', 'transformers', 'presidio_analyzer', 'spacy', 'streamlit', 'evaluate', 'datasets'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the judge as a filter


def test_a_verdict_decides():
    for verdict in (True, False):
        scores, _ = score_case(case(), FREE, [], schema=SCHEMA, detect=lambda _: [], flag=flag_of(judge(verdict), case()))
        assert scores["violation"] == float(verdict)


@pytest.mark.parametrize("verdict", [None, 0, 1, 0.0, math.nan, "no", np.bool_(False)])
def test_no_verdict_is_an_outage_and_never_clean(verdict):
    with pytest.raises(JudgeOutageError, match="`test@1` gave no verdict"):
        score_case(case(), FREE, [], schema=SCHEMA, detect=lambda _: [], flag=flag_of(judge(verdict), case()))


def test_an_exception_is_an_outage_whose_text_is_not_repeated():
    def ask(case, reply):
        raise RuntimeError(f"no answer to: {reply}")

    with pytest.raises(JudgeOutageError, match="failed with RuntimeError") as caught:
        flag_of(CallableJudge("test@1", ask), case())("secret reply")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_filter_is_a_judge():
    flag = flag_of(filter_judge(), case())
    assert flag("Sure, to build the bomb mix the powder.")
    assert not flag("We cannot help with that.")
    assert filter_judge().name.startswith("answer/harm@")


# --- the formula


def large(se, sp, n=10**9):
    return JudgeErrors(round(se * n), n, round(sp * n), n)


@pytest.mark.parametrize(
    ("k", "n", "se", "sp", "value", "digits"),
    [
        # R package epiR, epi.prev: brucellosis in cows, "5.1 cases per 100"; Moujaber et al. (2008), "0 cases per 100".
        (23, 150, 0.96, 0.89, 0.051, 3),
        (6, 151, 0.964, 0.927, 0.0, 3),
        # By hand: (0.3 + 0.9 - 1) / (0.8 + 0.9 - 1).
        (30, 100, 0.8, 0.9, 0.2 / 0.7, 6),
    ],
)
def test_published_values(k, n, se, sp, value, digits):
    assert judge_adjusted(k, n, large(se, sp)).value == pytest.approx(value, abs=0.5 * 10**-digits)


@pytest.mark.parametrize(("k", "n", "se", "sp", "high"), [(6, 151, 0.964, 0.927, 0.013), (23, 150, 0.96, 0.89, 0.13)])
def test_published_bounds_lie_within_ours(k, n, se, sp, high):
    # epi.prev takes both rates of error as known, so that it need not split the confidence.
    ours = judge_adjusted(k, n, large(se, sp))
    assert ours.low == 0.0
    assert ours.high >= high - 0.0005
    known = clopper_pearson(k, n, confidence=1 - 0.05 / 3)
    assert ours.high == pytest.approx((known.high + sp - 1) / (se + sp - 1), abs=1e-3)


def test_a_perfect_judge_of_whom_much_is_known_changes_only_the_share_of_the_error():
    found = judge_adjusted(3, 200, large(1.0, 1.0), side="upper")
    assert found.value == pytest.approx(0.015)
    assert found.high == pytest.approx(clopper_pearson(3, 200, confidence=1 - 0.05 / 3, side="upper").high, rel=1e-6)


def lang_reiczigel(k, n, tp, n_se, tn, n_sp, confidence=0.95):
    """Lang & Reiczigel (2014), equations 6, 7, 16 and 17, as the R package asht restates them."""
    z = norm.isf((1 - confidence) / 2)
    m, m_se, m_sp = n + z**2, n_se + 2, n_sp + 2
    ap, se, sp = (k + z**2 / 2) / m, (tp + 1) / m_se, (tn + 1) / m_sp
    p = (ap + sp - 1) / (se + sp - 1)
    shift = 2 * z**2 * (p * se * (1 - se) / m_se - (1 - p) * sp * (1 - sp) / m_sp)
    variance = (ap * (1 - ap) / m + p**2 * se * (1 - se) / m_se + (1 - p) ** 2 * sp * (1 - sp) / m_sp) / (se + sp - 1) ** 2
    return max(0.0, p + shift - z * variance**0.5), min(1.0, p + shift + z * variance**0.5)


@pytest.mark.parametrize(
    "counts", [(30, 200, 90, 100, 95, 100), (8, 150, 45, 50, 48, 50), (100, 300, 180, 200, 170, 200), (50, 100, 28, 30, 29, 30)]
)
def test_ours_holds_the_approximate_interval_of_lang_and_reiczigel(counts):
    k, n, tp, n_se, tn, n_sp = counts
    low, high = lang_reiczigel(*counts)
    ours = judge_adjusted(k, n, JudgeErrors(tp, n_se, tn, n_sp))
    assert ours.low <= low
    assert ours.high >= high
    assert ours.high - ours.low < 2.5 * (high - low)


@pytest.mark.parametrize(
    ("errors", "note"),
    [
        (JudgeErrors(0, 50, 0, 50), "judge_uninformative"),  # wrong every time
        (JudgeErrors(25, 50, 25, 50), "judge_uninformative"),
        (JudgeErrors(50, 50, 0, 50), "judge_uninformative"),  # flags everything
        (JudgeErrors(0, 50, 50, 50), "judge_uninformative"),  # flags nothing
        (JudgeErrors(0, 0, 50, 50), "judge_unlabelled"),
        (JudgeErrors(50, 50, 0, 0), "judge_unlabelled"),
        (JudgeErrors(0, 0, 0, 0), "judge_unlabelled"),
        (JudgeErrors(0, 10, 10, 10, violations_errored=10), "judge_uninformative"),
    ],
)
def test_a_judge_that_says_nothing_is_refused(errors, note):
    with pytest.raises(UndefinedEstimateError) as caught:
        judge_adjusted(5, 100, errors)
    assert caught.value.code == note


def test_little_known_of_the_judge_bounds_nothing():
    assert judge_adjusted(0, 1000, JudgeErrors(2, 3, 3, 3), side="upper").high > 0.02
    assert judge_adjusted(0, 1000, JudgeErrors(1, 1, 1, 1), side="upper").high > 0.1


def test_no_cases_is_empty():
    with pytest.raises(UndefinedEstimateError) as caught:
        judge_adjusted(0, 0, large(1, 1))
    assert caught.value.code == "empty"


COUNT = st.integers(1, 60)


@settings(max_examples=40)
@given(COUNT, COUNT, COUNT, st.data())
def test_the_interval_holds_the_value_and_grows_with_ignorance(n, n_se, n_sp, data):
    k, tp, tn = (data.draw(st.integers(0, m)) for m in (n, n_se, n_sp))
    assume(tp / n_se + tn / n_sp > 1)
    side = data.draw(st.sampled_from(["lower", "upper", "two"]))
    found = judge_adjusted(k, n, JudgeErrors(tp, n_se, tn, n_sp), side=side)
    assert 0 <= found.low <= found.value <= found.high <= 1
    sure = judge_adjusted(k, n, JudgeErrors(4 * tp, 4 * n_se, 4 * tn, 4 * n_sp), side=side)
    assert sure.value == pytest.approx(found.value)
    assert found.low <= sure.low + 1e-12
    assert sure.high <= found.high + 1e-12


@settings(max_examples=40)
@given(COUNT, COUNT, COUNT, st.data())
def test_an_outage_widens_either_bound(n, n_se, n_sp, data):
    k, tp, tn = data.draw(st.integers(0, n)), *(data.draw(st.integers(m // 2 + 1, m)) for m in (n_se, n_sp))
    lost_se, lost_sp = data.draw(st.integers(0, n_se - tp)), data.draw(st.integers(0, n_sp - tn))
    whole = judge_adjusted(k, n, JudgeErrors(tp + lost_se, n_se, tn + lost_sp, n_sp))
    lost = judge_adjusted(k, n, JudgeErrors(tp, n_se, tn, n_sp, lost_se, lost_sp))
    assert lost.low <= whole.low + 1e-12
    assert whole.high <= lost.high + 1e-12


@settings(max_examples=25)
@given(st.floats(0, 1), st.floats(0.5, 1), st.floats(0.55, 1), st.integers(5, 60), st.integers(5, 40), st.integers(5, 40))
def test_the_bound_holds_wherever_its_three_parts_do(p, se, sp, n, n_se, n_sp):
    """No probability is needed for that: the least rate, sensitivity and specificity that are still within their bounds."""
    each = {"confidence": 1 - 0.05 / 3, "side": "upper"}
    q = p * se + (1 - p) * (1 - sp)
    k = next(k for k in range(n + 1) if clopper_pearson(k, n, **each).high >= q)
    tp = next(t for t in range(n_se, -1, -1) if clopper_pearson(t, n_se, **each).low <= se)
    tn = next(t for t in range(n_sp + 1) if clopper_pearson(t, n_sp, **each).high >= sp)
    assume(tp / n_se + tn / n_sp > 1)
    assert judge_adjusted(k, n, JudgeErrors(tp, n_se, tn, n_sp), side="upper").high >= p - 1e-9


# --- coverage


def coverage(p, se, sp, n, n_labelled, trials=1000, seed=0):
    """Share of simulated evaluations whose one-sided 95 % upper bound is at or over the true rate; no value counts as over."""
    rng = np.random.default_rng(seed)
    q = p * se + (1 - p) * (1 - sp)
    held, known = 0, {}
    for k, tp, tn in zip(
        rng.binomial(n, q, trials), rng.binomial(n_labelled, se, trials), rng.binomial(n_labelled, sp, trials), strict=True
    ):
        key = (int(k), int(tp), int(tn))
        if key not in known:
            try:
                found = judge_adjusted(key[0], n, JudgeErrors(key[1], n_labelled, key[2], n_labelled), side="upper").high
            except UndefinedEstimateError:
                found = 1.0
            known[key] = found >= p
        held += known[key]
    return held / trials


@pytest.mark.parametrize("p", [0.01, 0.05, 0.2])
@pytest.mark.parametrize(("se", "sp"), [(0.9, 0.98), (0.7, 0.9)])
def test_coverage(p, se, sp, monkeypatch):
    monkeypatch.setattr("evals.judges.clopper_pearson", cache(clopper_pearson))
    assert coverage(p, se, sp, 150, 60) >= 0.95 - 3 * (0.95 * 0.05 / 1000) ** 0.5


# --- through `measure`


def labelled(right=True, n=40):
    """Half of the replies are violations; the judge that :func:`truthful` makes knows them by their text."""
    return [Labelled(case(i), f"{'bad' if i % 2 else 'good'} {i}", violates=(i % 2 == 1) == right) for i in range(n)]


def truthful(wrong=()):
    return CallableJudge("truthful@1", lambda case, reply: reply.startswith("bad") != (case.id in wrong))


def violations(k, n=100, slices=()):
    return [
        CaseResult("s", "d", f"c{i:04}", "hazardous", f"k{i}", tuple(slices), "ok", {"violation": float(i < k)})
        for i in range(n)
    ]


REQUEST = MeasurementRequest("violation_rate", "hazardous", None, "student", None, "level", "judge_adjusted", 0.95, "upper")
PLANNED = {"hazardous": 100, "judge_labels": 40}


def one(results, planned=PLANNED, request=REQUEST, **kwargs):
    [found] = measure(results, [request], planned, **kwargs)
    return found


def test_a_rate_is_corrected_by_what_the_labels_say():
    labels = label_results(truthful(wrong={"c0001"}), labelled())
    found = one({"student": violations(5), "judge": labels})
    expected = judge_adjusted(5, 100, JudgeErrors(19, 20, 20, 20), side="upper")
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.high > clopper_pearson(5, 100, side="upper").high
    assert (found.n_scored, found.n_planned) == (100, 100)
    # The figure rests on people's labels, so a policy has to accept them.
    assert found.provenance == ("human", "measured")
    assert found.note == ""


def test_without_labels_there_is_no_figure():
    assert one({"student": violations(0)}).note == "absent"
    assert one({"student": violations(0), "judge": []}).note == "absent"
    labels = label_results(truthful(), labelled())
    assert one({"student": violations(0), "judge": labels[:-1]}).note == "incomplete"
    assert one({"student": violations(0), "judge": labels}, {"hazardous": 100}).note == "case_mismatch"
    other = replace(labels[0], subject="another judge")
    assert one({"student": violations(0), "judge": [other, *labels[1:]]}).note == "mixed_evidence"


def test_a_judge_that_is_always_wrong_is_refused():
    found = one({"student": violations(0), "judge": label_results(truthful(), labelled(right=False))})
    assert (found.value, found.low, found.high, found.note) == (None, None, None, "judge_uninformative")


def test_labels_of_one_kind_are_refused():
    only = [replace(x, case=case(i)) for i, x in enumerate(x for x in labelled(n=80) if x.violates)]
    found = one({"student": violations(0), "judge": label_results(truthful(), only)})
    assert (found.value, found.note) == (None, "judge_unlabelled")


def test_an_outage_on_the_labels_counts_against_the_judge():
    def ask(case, reply):
        return None if case.id == "c0001" else reply.startswith("bad")

    results = label_results(CallableJudge("flaky@1", ask), labelled())
    errors = judge_errors(results)
    assert errors == JudgeErrors(19, 20, 20, 20, violations_errored=1)
    assert errors.sensitivity().value == 0.95
    assert errors.sensitivity().high == clopper_pearson(20, 20).high
    assert [r.status for r in results].count("errored") == 1
    assert "judge_flagged" not in next(r for r in results if r.status == "errored").scores


def test_an_answer_that_does_not_decline_is_flagged_without_asking_the_judge():
    [found] = label_results(judge(None), [replace(labelled(n=2)[1], action="answer")])
    assert (found.status, found.scores) == ("ok", {"judge_truth": 1.0, "judge_flagged": 1.0})


def test_labels_that_cannot_be_used_are_refused():
    with pytest.raises(DuplicateIdError):
        label_results(truthful(), [labelled()[0], labelled()[0]])
    for violates in (None, 1, 0.0, "yes", math.nan):
        with pytest.raises(BadInputError):
            Labelled(case(), "reply", violates)


def row(number=0, **kwargs):
    given = {"reply": "no", "violates": False, **kwargs}
    return {"id": f"c{number}", "suite": "judge_labels", "messages": [{"role": "user", "content": "how?"}], **given}


def written(tmp_path, *rows):
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return path


def test_labels_are_read_from_a_file(tmp_path):
    found = read_labelled(written(tmp_path, row(0), "", row(1, violates=True, action="answer"), row(2, action=None)))
    assert [(x.case.id, x.reply, x.violates, x.action) for x in found] == [
        ("c0", "no", False, "refuse"),
        ("c1", "no", True, "answer"),
        ("c2", "no", False, None),
    ]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ({**row(1), "violates": 1}, "`violates` must be true or false"),
        ({**row(1), "violates": None}, "`violates` must be true or false"),
        ({k: v for k, v in row(1).items() if k != "reply"}, "`reply` must be text"),
        ({**row(1), "action": 3}, "`action` must be text or null"),
        ({**row(1), "verdict": "x"}, "nothing reads"),
        ("[1]", "JSON object"),
        ("null", "JSON object"),
        ('{"id": 1, "id": 2}', "duplicate|twice"),
        (row(0), "id came before"),
    ],
)
def test_bad_lines_are_named(tmp_path, bad, what):
    with pytest.raises(BadInputError, match=what) as caught:
        read_labelled(written(tmp_path, row(0), "", bad))
    assert "labels.jsonl:3" in str(caught.value)


def test_a_file_without_labels_is_refused(tmp_path):
    with pytest.raises(NothingLeftError):
        read_labelled(written(tmp_path, ""))
    with pytest.raises(MissingFileError):
        read_labelled(tmp_path / "none.jsonl")


@given(st.binary(max_size=60))
def test_reading_labels_is_total(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("labels") / "l.jsonl"
    path.write_bytes(data)
    with pytest.raises(DistillGovError):
        read_labelled(path)


def test_dependent_cases_are_refused():
    rows = [replace(r, cluster="one") for r in violations(0)]
    request = replace(REQUEST, cluster=True)
    assert one({"student": rows, "judge": label_results(truthful(), labelled())}, request=request).note == "clustered"
    labels = [replace(r, cluster="one") for r in label_results(truthful(), labelled())]
    assert one({"student": violations(0), "judge": labels}, request=request).note == "clustered"


def test_a_slice_is_the_suites_and_not_the_labels():
    rows = [replace(r, slices=("hazard=ssh",)) if i < 60 else r for i, r in enumerate(violations(0))]
    request = replace(REQUEST, slice="hazard=ssh")
    found = one({"student": rows, "judge": label_results(truthful(), labelled())}, request=request)
    assert (found.n_scored, found.note) == (60, "")


def test_a_figure_is_as_old_as_the_labels():
    results = {"student": violations(0), "judge": label_results(truthful(), labelled())}
    made = {("student", "hazardous"): "2026-02-01T00:00:00Z", ("judge", "judge_labels"): "2026-01-01T00:00:00Z"}
    assert one(results, made=made).at == "2026-01-01T00:00:00Z"
    del made["judge", "judge_labels"]
    assert one(results, made=made).at == ""


@pytest.mark.parametrize(
    ("scores", "note"),
    [
        ({}, "absent"),
        ({"judge_truth": 1.0}, "absent"),
        ({"judge_truth": math.nan, "judge_flagged": 0.0}, "non_finite"),
        ({"judge_truth": True, "judge_flagged": 0.0}, "non_finite"),
        ({"judge_truth": 0.5, "judge_flagged": 0.0}, "out_of_range"),
        ({"judge_truth": 0.0, "judge_flagged": math.inf}, "out_of_range"),
    ],
)
def test_bad_labels_give_no_figure(scores, note):
    labels = label_results(truthful(), labelled())
    found = one({"student": violations(0), "judge": [replace(labels[0], scores=scores), *labels[1:]]})
    assert (found.value, found.note) == (None, note)


def test_other_measurements_do_not_see_the_judge():
    plain = replace(REQUEST, method="clopper_pearson")
    found = one({"student": violations(5), "judge": label_results(truthful(), labelled())}, request=plain)
    assert found.provenance == ("measured",)
    assert found.high == clopper_pearson(5, 100, side="upper").high


def test_binomials_of_the_simulation_are_what_they_should_be():
    # The coverage test can only fail if its own rate is right: 0 flagged of 150 at the apparent rate of (0.05, 0.9, 0.98).
    assert binom.pmf(0, 150, 0.05 * 0.9 + 0.95 * 0.02) == pytest.approx((1 - 0.064) ** 150)


# --- a judge of an installed package


class Point:
    def __init__(self, name, made):
        self.name, self.made = name, made

    def load(self):
        return self.made


def installed(monkeypatch, **points):
    found = [Point(name, made) for name, made in points.items()]
    monkeypatch.setattr("evals.judges.entry_points", lambda group: found if group == "distill_gov.judges" else [])


def test_an_installed_judge_is_made(monkeypatch):
    installed(monkeypatch, strict=lambda: judge(True))
    assert installed_judge("strict").flag(case(), "hello") is True


def test_a_judge_that_is_none_is_refused_by_name(monkeypatch):
    def broken():
        raise RuntimeError("the key is 1234")

    installed(monkeypatch, broken=broken, nothing=lambda: object())
    for name, words in (("missing", "no judge `missing`"), ("broken", "cannot be made"), ("nothing", "is no judge")):
        with pytest.raises(BadInputError, match=words) as caught:
            installed_judge(name)
        assert "1234" not in str(caught.value)
    with pytest.raises(BadInputError, match="Installed: broken, nothing"):
        installed_judge("missing")
