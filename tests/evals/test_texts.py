import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evals.cases import Case
from evals.catalogue import lookup
from evals.evidence import CaseResult
from evals.measuring import measure
from evals.score import counts, errored_scores, read_answer, score_case
from evals.structured import make_schema
from evals.suites import ReadAnswer
from evals.texts import TextSuite, chrf, exact_text, normalised, rouge_l, text_scores, token_f1
from tests.evals.test_measuring import request

WORDS = st.lists(
    st.sampled_from(["the", "cat", "Cat!", "a", "sat", "an", "mat,", "12", "don't", "été", "日本語", "-", ""]), max_size=12
).map(" ".join)


def test_lins_own_example():
    # Lin (2004), section 3.1: S1 is the reference, S2 and S3 have ROUGE-L 3/4 and 2/4, S4 2/4.
    reference = "police killed the gunman"
    assert rouge_l("police kill the gunman", reference) == 3 / 4
    assert rouge_l("the gunman kill police", reference) == 2 / 4
    assert rouge_l("the gunman police killed", reference) == 2 / 4


# sacrebleu 2.6.0, sentence_chrf(prediction, [target]).score / 100; rouge-score 0.1.2, RougeScorer(["rougeL"]), fmeasure.
REFERENCE = [
    ("police killed the gunman", "the gunman kill police", 0.667945, 0.5),
    ("police killed the gunman", "police kill the gunman", 0.816239, 0.75),
    ("the gunman police killed", "police killed the gunman", 0.855046, 0.5),
    ("The cat sat on the mat.", "The cat is on the mat.", 0.671727, 0.833333),
    ("hello", "hello world, how are you?", 0.184419, 0.333333),
    ("Das ist gut", "Das ist sehr gut", 0.427365, 0.857143),
    ("ab", "abcdef", 0.312500, 0.0),
    ("Ihr Paket kommt am Montag.", "Das Paket kommt erst am Dienstag.", 0.414434, 0.545455),
]


@pytest.mark.parametrize(("prediction", "target", "of_chrf", "of_rouge_l"), REFERENCE)
def test_reference_values(prediction, target, of_chrf, of_rouge_l):
    assert chrf(prediction, target) == pytest.approx(of_chrf, abs=1e-6)
    assert rouge_l(prediction, target) == pytest.approx(of_rouge_l, abs=1e-6)


@given(WORDS, WORDS.filter(str.strip))
def test_chrf_is_sacrebleus(prediction, target):
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed; its values stand in REFERENCE")
    assert chrf(prediction, target) == pytest.approx(sacrebleu.sentence_chrf(prediction, [target]).score / 100)


@given(WORDS, WORDS)
def test_rouge_l_is_rouge_scores_on_ascii(prediction, target):
    scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="rouge-score is not installed; see REFERENCE")
    one, other = (t.encode("ascii", "ignore").decode() for t in (prediction, target))
    assume(any(c.isalnum() for c in other))
    assert rouge_l(one, other) == pytest.approx(scorer.RougeScorer(["rougeL"]).score(other, one)["rougeL"].fmeasure)


@pytest.mark.parametrize(
    ("prediction", "target", "of_exact", "of_f1"),
    [
        # SQuAD's first question of Super Bowl 50, and what its normalisation is there for.
        ("The Denver Broncos!", "Denver Broncos", 1.0, 1.0),
        ("Denver Broncos of the AFC", "Denver Broncos", 0.0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        ("Broncos Broncos", "Denver Broncos", 0.0, 0.5),
        ("Carolina Panthers", "Denver Broncos", 0.0, 0.0),
        ("in Levi's Stadium", "Levis stadium", 0.0, 0.8),
        ("an apple a day", "apple day", 1.0, 1.0),
        ("theatre", "the atre", 0.0, 0.0),
        ("the", "", 1.0, 1.0),
    ],
)
def test_squads_scores(prediction, target, of_exact, of_f1):
    assert exact_text(prediction, target) == of_exact
    assert token_f1(prediction, target) == pytest.approx(of_f1)


@given(WORDS, WORDS)
def test_token_f1_is_the_best_matching_of_words(prediction, target):
    left = normalised(target).split()
    given_words, wanted = normalised(prediction).split(), len(left)
    same = 0
    for word in given_words:
        if word in left:
            left.remove(word)
            same += 1
    assume(same)
    precision, recall = same / len(given_words), same / wanted
    assert token_f1(prediction, target) == pytest.approx(2 * precision * recall / (precision + recall))


def longest_common_subsequence(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.lists(st.sampled_from("abcd"), min_size=1, max_size=30))
def test_rouge_l_is_that_of_the_plain_table(a, b):
    common = longest_common_subsequence(a, b)
    assert rouge_l(" ".join(a), " ".join(b)) == pytest.approx(2 * common / (len(a) + len(b)))


@given(st.text(max_size=40), st.text(max_size=40))
def test_scores_lie_between_none_and_all(prediction, target):
    scores = text_scores(prediction, target)
    assert all(0 <= score <= 1 for score in scores.values())
    assert set(text_scores(target, target).values()) == {1.0}


@given(st.text(alphabet=string.ascii_letters + " .,", max_size=40))
def test_normalised_is_settled(text):
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize("score", [exact_text, token_f1, rouge_l, chrf])
def test_nothing_against_something_is_zero(score):
    assert score("", "word") == 0
    assert score("word", "") == 0
    assert score("", "") == 1


def test_other_scripts_count():
    assert rouge_l("пакет прибыл", "пакет прибыл вчера") == pytest.approx(0.8)
    assert 0 < chrf("荷物が届いた", "荷物は届いた") < 1


# --- the suite

SCHEMA = make_schema(
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"reply": {"type": "string"}},
        "required": ["reply"],
    },
    where="test",
)
CASE = Case("c1", "holdout", ({"role": "user", "content": "When?"},), target="On Monday.")
UNWRITTEN = Case("c2", "holdout", ({"role": "user", "content": "When?"},))
CHOICE = Case("c3", "holdout", CASE.messages, ask="choice", target="yes", choices=("yes", "no"))
SUITE = TextSuite()


def test_the_reply_is_held_against_the_target():
    answer = read_answer('{"reply": "Monday"}', SCHEMA)
    found = SUITE.score(CASE, answer, "When?")
    assert found == {"has_target_text": 1.0, **text_scores("Monday", "On Monday.")}
    assert SUITE.score(UNWRITTEN, answer, "When?") == SUITE.score(CHOICE, answer, "When?") == {"has_target_text": 0.0}


def test_an_invalid_answer_matches_nothing():
    assert SUITE.score(CASE, read_answer("On Monday.", SCHEMA), "When?") == SUITE.worst(CASE)
    assert SUITE.score(CASE, ReadAnswer(True, {}, "On Monday."), "When?")["exact_text"] == 1.0


def test_worst_names_what_score_names():
    for case in (CASE, UNWRITTEN, CHOICE):
        assert SUITE.worst(case).keys() == SUITE.score(case, read_answer('{"reply": "x"}', SCHEMA), "").keys()
    assert SUITE.derive([CASE]) == ()


@pytest.mark.parametrize("metric", ["exact_text", "token_f1", "rouge_l", "chrf"])
def test_from_answers_to_measurements(metric):
    """Planned, scored and errored cases are told by one rule; an errored case without a target does not count."""
    cases = [Case(f"c{i}", "holdout", CASE.messages, target="On Monday." if i < 60 else None) for i in range(80)]
    assert sum(counts(lookup(metric), case, [SUITE]) for case in cases) == 60
    rows = []
    for i, case in enumerate(cases):
        said = '{"reply": "on monday"}' if i % 3 else '{"reply": "tomorrow"}'
        scores, _ = score_case(case, said, (), schema=SCHEMA, detect=lambda _: (), flag=lambda _: False, suites=[SUITE])
        errored = i in (1, 70)
        rows.append(
            CaseResult(
                "s", "d", case.id, "holdout", case.id, (), "errored" if errored else "ok",
                errored_scores(case, suites=[SUITE]) if errored else scores,
            )
        )  # fmt: skip
    [found] = measure({"student": rows}, [request(metric)], {"holdout": 80})
    assert (found.n_planned, found.n_errored, found.n_scored, found.note) == (80, 2, 60, "")
    right, wrong = (text_scores(said, "On Monday.")[metric] for said in ("on monday", "tomorrow"))
    assert found.value == pytest.approx((39 * right + 20 * wrong) / 60)
    assert found.low < found.value < found.high
