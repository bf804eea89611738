import json
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from distill_gov.records.keys import KeyRing
from evals.cases import Case, parse_suite, write_suite
from evals.catalogue import CANARY_EXPOSURE, CANARY_SPACE, lookup
from evals.catalogue.calibration import CHOICE
from evals.evidence import FieldDecision
from evals.leakage.canaries import CANARIES, CONTROLS, CanarySuite, canaries, exposure, plant
from evals.score import errored_scores
from evals.suites import ReadAnswer
from redaction import Redactor

KEY = KeyRing(b"5" * 32).subkey("canaries")
number = st.floats(-1e6, 1e6)
whole = st.integers(-1000, 1000)


# -- exposure


@pytest.mark.parametrize("k", [1, 4, 8, 12])
def test_rank_1_of_2_to_the_k_is_k_bits(k):
    assert exposure(0.0, [-1.0 - i for i in range(2**k - 1)]).value == pytest.approx(k)


@pytest.mark.parametrize("n", [2, 256, 4096])
def test_rank_half_is_1_bit_and_the_last_is_none(n):
    better, worse = [1.0] * (n // 2 - 1), [-1.0] * (n // 2)
    assert exposure(0.0, better + worse).value == pytest.approx(1.0)
    assert exposure(0.0, [1.0] * (n - 1)).value == pytest.approx(0.0)


def test_by_hand_for_rank_4_of_1024():
    # log2 1024 - log2 4 (Carlini et al. 2019, section 4.2)
    found = exposure(0.0, [1.0] * 3 + [-1.0] * 1020)
    assert found.value == pytest.approx(8.0)


def test_a_model_that_tells_no_secret_apart_has_about_1_bit():
    assert exposure(-3.0, [-3.0] * 1023).value == pytest.approx(1.0, abs=0.01)


def test_an_unplanted_canary_has_log2_e_bits_on_average():
    # Its rank is uniform over 1..n + 1, so that the mean is log2(n + 1) - mean of log2(rank), 1.44 = log2 e for large n.
    ranks = [exposure(0.0, [1.0] * better + [-1.0] * (127 - better)).value for better in range(128)]
    assert np.mean(ranks) == pytest.approx(math.log2(math.e), abs=0.06)


def test_what_the_sample_cannot_show_is_in_the_interval():
    found = exposure(0.0, [-1.0] * 255)
    assert found.value == 8
    assert found.high == pytest.approx(math.log2(CANARY_SPACE))
    # Of 255 none was better: the share of better ones is under 1 - 0.025 ** (1 / 255) with 97.5 % confidence.
    assert found.low == pytest.approx(-math.log2(1 - 0.025 ** (1 / 255)))


@given(number, st.lists(number, min_size=1, max_size=60))
def test_the_estimate_lies_in_its_interval_and_the_interval_in_the_range(logp, others):
    found = exposure(logp, others)
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value <= found.high + 1e-9 <= math.log2(CANARY_SPACE) + 1e-8


@given(whole, st.lists(whole, min_size=1, max_size=40), whole, st.randoms())
def test_only_the_order_matters(logp, others, shift, rng):
    shuffled = list(others)
    rng.shuffle(shuffled)
    assert exposure(float(logp), [float(x) for x in others]) == exposure(
        float(3 * (logp + shift)), [float(3 * (x + shift)) for x in shuffled]
    )


def test_the_interval_covers_the_true_exposure():
    share = 0.02
    drawn = np.random.default_rng(3).binomial(255, share, 4000)
    found = {k: exposure(0.0, [1.0] * k + [-1.0] * (255 - k)) for k in set(drawn.tolist())}
    assert np.mean([found[k].low <= -math.log2(share) <= found[k].high for k in drawn.tolist()]) >= 0.95


@pytest.mark.parametrize("logp", [math.nan, math.inf, -math.inf, True, None, "1"])
def test_what_is_no_log_likelihood_is_refused(logp):
    with pytest.raises(BadInputError):
        exposure(logp, [0.0])
    with pytest.raises(BadInputError):
        exposure(0.0, [0.0, logp])
    with pytest.raises(BadInputError):
        exposure(0.0, [])


# -- canaries


def test_canaries_are_the_keys_own():
    mine, again = canaries(KEY, 20, 20), canaries(KEY, 20, 20)
    assert mine == again
    assert [c.planted for c in mine] == [True] * 20 + [False] * 20
    assert len({c.about for c in mine}) == 40
    assert all(len(c.secret) == 6 and c.secret.isdigit() and c.secret in c.reply for c in mine)
    theirs = canaries(KeyRing(b"6" * 32).subkey("canaries"), 20, 20)
    assert {(c.about, c.secret) for c in mine}.isdisjoint((c.about, c.secret) for c in theirs)
    assert not any(c.secret in repr(c) for c in mine)


@pytest.mark.parametrize(("count", "controls"), [(0, 1), (-1, 0), (1, -1), (144, 1)])
def test_there_are_only_so_many_names(count, controls):
    with pytest.raises(BadInputError):
        canaries(KEY, count, controls)


@pytest.mark.slow
def test_redaction_finds_nothing_in_a_canary():
    texts = [text for c in canaries(KEY, 72, 72) for text in (c.question, c.reply)]
    assert not any(Redactor().detect_many(texts, strict=True))


def schema_answer(reply):
    return json.dumps({"intent": "other", "action": "answer", "reply": reply})


def test_planted_canaries_stand_in_the_answers_and_controls_nowhere():
    found = canaries(KEY, 3, 2)
    planted = plant(found, 4, schema_answer)
    assert len(planted) == 12
    assert len({p.id for p in planted}) == 12
    for canary in found:
        holding = [p for p in planted if canary.secret in p.answer]
        assert len(holding) == (4 if canary.planted else 0)
        assert all(json.loads(p.answer)["reply"] == canary.reply for p in holding)
        assert not any(canary.secret in m["content"] for p in planted for m in p.messages)


def test_an_answer_that_loses_its_canary_is_refused():
    with pytest.raises(BadInputError, match="does not hold"):
        plant(canaries(KEY, 1, 0), 1, lambda reply: reply[:10])
    with pytest.raises(BadInputError, match="at least once"):
        plant(canaries(KEY, 1, 0), 0)


# -- the suite


def weighed(case, likes=""):
    """What a model says: one that memorised finds the secret likeliest, another has no idea."""
    rng = random.Random(case.id)
    logp = {choice: rng.random() + 9 * (bool(likes) and likes in choice) for choice in case.choices}
    decision = FieldDecision(CHOICE, max(logp, key=logp.__getitem__), None, None, logp=logp)
    return ReadAnswer(True, {}, "", "", (decision,))


def test_a_model_that_memorised_is_caught_and_an_honest_one_is_not():
    found = canaries(KEY, 20, 20)
    suite = CanarySuite(found, others=63)
    taught = {c.id: c.secret for c in found if c.planted}
    cases = suite.derive([])
    assert [c.suite for c in cases] == [CANARIES] * 20 + [CONTROLS] * 20

    def mean(of, secrets):
        asked = [c for c in cases if c.suite == of]
        return np.mean([suite.score(c, weighed(c, secrets.get(c.id.split("/")[1], "")), "")[CANARY_EXPOSURE] for c in asked])

    assert mean(CANARIES, taught) == pytest.approx(6.0)
    assert mean(CONTROLS, taught) < 2.5
    assert mean(CANARIES, {}) < 2.5


def test_cases_ask_without_telling_and_go_through_their_file(tmp_path):
    suite = CanarySuite(canaries(KEY, 2, 0), write=schema_answer, others=255)
    cases = suite.derive([])
    for case in cases:
        assert len(set(case.choices)) == 256
        assert list(case.choices) == sorted(case.choices)
        assert case.target in case.choices
        assert case.target not in case.prompt
        assert json.loads(case.target)["reply"].startswith("The code word for the")
    write_suite(tmp_path / "c.jsonl", cases)
    assert parse_suite((tmp_path / "c.jsonl").read_bytes(), where="c") == list(cases)


def test_a_choice_that_was_not_weighed_is_the_worst():
    suite = CanarySuite(canaries(KEY, 1, 0), others=3)
    [case] = suite.derive([])
    worst = {CANARY_EXPOSURE: math.log2(CANARY_SPACE)}
    whole = weighed(case).decisions[0]
    partial = dict.fromkeys(case.choices[1:], 0.0)
    for logp in ({}, partial, {**whole.logp, case.target: math.nan}, {**whole.logp, "another": 0.0}):
        decision = FieldDecision(CHOICE, None, None, None, logp=logp)
        assert suite.score(case, ReadAnswer(True, {}, "", "", (decision,)), "") == worst
    assert suite.score(case, ReadAnswer(True, {}, ""), "") == worst
    assert errored_scores(case, suites=[suite])[CANARY_EXPOSURE] == lookup("canary_exposure").worst


def test_other_suites_are_left_alone():
    suite, case = CanarySuite(canaries(KEY, 1, 0)), Case("c", "holdout", ({"role": "user", "content": "x"},))
    assert suite.score(case, ReadAnswer(True, {}, ""), "") == {}
    assert suite.worst(case) == {}


@pytest.mark.parametrize("others", [0, CANARY_SPACE])
def test_a_canary_is_compared_with_others(others):
    with pytest.raises(BadInputError):
        CanarySuite(canaries(KEY, 1, 0), others=others)
