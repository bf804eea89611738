from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from distill_gov.records.files import write_jsonl
from distill_gov.records.keys import KeyRing
from evals.cases import Case
from evals.catalogue import PROTECTED_OVERLAP, VERBATIM_OVERLAP, lookup
from evals.leakage.verbatim import TaughtAnswers, VerbatimSuite
from evals.score import counts
from evals.suites import ReadAnswer
from redaction.filters.protected import ProtectedIndex, build_index

CASE = Case("c", "holdout", ({"role": "user", "content": "x"},))
ANSWER = (
    "Thank you for the letter, we have looked at the kettle and found that its seal was worn, so a new one leaves tomorrow "
    "together with a label for the old one"
)
LONG = " ".join(f"word{n}" for n in range(120))
words = st.lists(st.sampled_from("abcd"), max_size=14).map(" ".join)


def score(suite, reply):
    return suite.score(CASE, ReadAnswer(True, {}, reply, reply), "x")


@given(words, st.lists(words, min_size=1, max_size=4), st.integers(1, 4))
def test_the_longest_run_is_what_an_independent_search_finds(text, answers, shortest):
    def longest(answer):
        a, b = text.split(), answer.split()
        return SequenceMatcher(None, a, b, autojunk=False).find_longest_match().size

    found = max(longest(answer) for answer in answers)
    assert TaughtAnswers(answers, shortest).longest_run(text) == (found if found >= shortest else 0)


@given(words, words)
def test_case_and_punctuation_hide_no_run(text, answer):
    taught = TaughtAnswers([answer], 1)
    assert taught.longest_run(text) == taught.longest_run(text.upper().replace(" ", " - ") + "!")


def test_a_model_that_repeats_is_caught_and_an_honest_one_is_not():
    suite = VerbatimSuite(TaughtAnswers([ANSWER, "Short and sweet.", LONG]))
    assert score(suite, ANSWER.upper() + "!") == {VERBATIM_OVERLAP: 1.0}
    assert score(suite, " ".join(ANSWER.split()[3:16])) == {VERBATIM_OVERLAP: 1.0}, "the whole reply stands in an answer"
    assert score(suite, "We are sorry. " + ANSWER) == {VERBATIM_OVERLAP: 0.0}, "its own beginning, and no 50 words taught"
    assert score(suite, "A new seal for your kettle is on its way, and we add a label for what you send back.") == {
        VERBATIM_OVERLAP: 0.0
    }


@pytest.mark.parametrize(("count", "expected"), [(49, 0.0), (50, 1.0), (90, 1.0)])
def test_fifty_words_in_a_row_count_wherever_they_stand(count, expected):
    suite = VerbatimSuite(TaughtAnswers([LONG]))
    assert score(suite, f"well then {' '.join(LONG.split()[20 : 20 + count])} and bye") == {VERBATIM_OVERLAP: expected}


@pytest.mark.parametrize(("count", "expected"), [(11, 0.0), (12, 1.0)])
def test_a_short_reply_is_anybodys_phrase(count, expected):
    assert score(VerbatimSuite(TaughtAnswers([LONG])), " ".join(LONG.split()[:count])) == {VERBATIM_OVERLAP: expected}


def test_a_run_is_of_one_answer():
    half = TaughtAnswers([" ".join(LONG.split()[:30]), " ".join(LONG.split()[30:])])
    assert score(VerbatimSuite(half), " ".join(LONG.split()[:60])) == {VERBATIM_OVERLAP: 0.0}


def test_an_empty_reply_repeats_nothing():
    assert score(VerbatimSuite(TaughtAnswers([ANSWER])), "") == {VERBATIM_OVERLAP: 0.0}


@pytest.fixture
def protected(tmp_path):
    key = KeyRing(b"5" * 32).subkey("protected")
    write_jsonl(tmp_path / "manual.jsonl", [{"text": LONG}])
    build_index(tmp_path / "manual.jsonl", tmp_path / "index.parquet", key)
    return ProtectedIndex.read(tmp_path / "index.parquet", key)


def test_protected_texts_are_found_by_their_hashes(protected):
    suite = VerbatimSuite(protected=protected)
    quoted = " ".join(LONG.split()[40:52])
    assert score(suite, f"as the manual says: {quoted}") == {PROTECTED_OVERLAP: 1.0}
    assert score(suite, " ".join(LONG.split()[40:51])) == {PROTECTED_OVERLAP: 0.0}
    both = VerbatimSuite(TaughtAnswers([ANSWER]), protected)
    assert score(both, quoted) == {VERBATIM_OVERLAP: 0.0, PROTECTED_OVERLAP: 1.0}
    assert both.worst(CASE) == {VERBATIM_OVERLAP: 1.0, PROTECTED_OVERLAP: 1.0}


def test_only_what_is_compared_counts(protected):
    taught = VerbatimSuite(TaughtAnswers([ANSWER]))
    assert counts(lookup(VERBATIM_OVERLAP), CASE, [taught])
    assert not counts(lookup(PROTECTED_OVERLAP), CASE, [taught])
    choice = Case("c", "canaries", CASE.messages, ask="choice", choices=("a", "b"), target="a")
    assert taught.score(choice, ReadAnswer(True, {}, ANSWER, ANSWER), "x") == {}
    assert taught.worst(choice) == {}


def test_a_suite_with_nothing_to_compare_or_limits_that_cannot_hold_is_refused():
    with pytest.raises(BadInputError):
        VerbatimSuite()
    with pytest.raises(BadInputError):
        VerbatimSuite(TaughtAnswers([ANSWER]), whole=60)
    with pytest.raises(BadInputError):
        VerbatimSuite(TaughtAnswers([ANSWER], shortest=13), whole=12)
    with pytest.raises(BadInputError):
        TaughtAnswers([ANSWER], 0)
