import unicodedata

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.records.errors import (
    BadInputError,
    DuplicateIdError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
    UnknownFormatError,
)
from distill_gov.records.files import read_parquet, write_parquet
from distill_gov.records.keys import KeyRing
from evals.cases import Case
from evals.contamination import (
    FORMAT,
    NEAR,
    SHARED,
    ContaminationIndex,
    asked_text,
    contaminated_cases,
    write_hashes,
)
from evals.evidence import CaseResult, MeasurementRequest
from evals.measuring import measure
from redaction.filters.ngrams import PURPOSE, folded, hashed_ngrams, hashed_runs, runs

KEY = KeyRing(b"5" * 32).subkey(PURPOSE)
OTHER = KeyRing(b"6" * 32).subkey(PURPOSE)
WORDS = [*"abcdefghijklmnop"]
TAUGHT = " ".join(WORDS)
word = st.text(st.characters(categories=["Ll", "Lu", "Lo", "Nd"]), min_size=1, max_size=6)
words = st.lists(word, min_size=1, max_size=25)
plain = st.lists(st.text("abcdefgh", min_size=1, max_size=4), min_size=1, max_size=25)


def index(*texts, key=KEY):
    return ContaminationIndex.of([(f"t{n}", [text]) for n, text in enumerate(texts)], key)


def overlap(text, *taught):
    found = index(*taught).overlap(text)
    return found.shared, found.nearest


# -- runs of words


@given(words, st.integers(1, 10))
def test_a_text_has_its_ngrams_or_is_one_run(parts, n):
    text = " ".join(parts)
    count = len(folded(text).split())
    found = runs(text, n)
    assert all(len(run.split()) == min(n, count) for run in found)
    assert 1 <= len(found) <= max(1, count - n + 1)


@pytest.mark.parametrize("text", ["", " \n", "?!... --", "​"])
def test_a_text_without_a_word_has_no_run(text):
    assert runs(text, 8) == set()
    assert hashed_runs(text, 8, KEY) == set()


@given(plain, st.sampled_from([", ", " - ", "\n", "  ", " ... ", "​ "]), st.integers(1, 10))
def test_case_width_punctuation_and_spacing_change_no_hash(parts, between, n):
    wide = "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in " ".join(parts))
    same = {frozenset(hashed_runs(t, n, KEY)) for t in (" ".join(parts), between.join(parts).upper(), wide + "!")}
    assert len(same) == 1


@given(st.lists(word, min_size=1, max_size=12))
def test_composed_and_decomposed_letters_have_the_same_hashes(parts):
    text = " ".join(parts)
    forms = {frozenset(hashed_runs(unicodedata.normalize(f, text), 3, KEY)) for f in ("NFC", "NFD", "NFKC", "NFKD")}
    assert len(forms) == 1


@given(words, st.integers(1, 10))
def test_hashes_are_of_64_bits_one_a_run_and_of_one_key(parts, n):
    text = " ".join(parts)
    mine, theirs = hashed_runs(text, n, KEY), hashed_runs(text, n, OTHER)
    assert len(mine) == len(runs(text, n))
    assert all(0 <= value < 2**64 for value in mine)
    assert mine.isdisjoint(theirs)
    assert hashed_ngrams(text, n, KEY) <= mine


# -- the rule


@given(plain, st.lists(plain, max_size=3))
def test_a_copy_is_always_contaminated_wholly(parts, others):
    text = " ".join(parts)
    found = index(*(" ".join(o) for o in others), text).overlap(f"  {text.upper()}?")
    assert found.shared == 1
    assert found.contaminated


@given(plain, st.lists(plain, min_size=1, max_size=4))
def test_overlaps_are_shares_and_grow_with_the_teaching_set(parts, others):
    text, taught = " ".join(parts), [" ".join(o) for o in others]
    less, more = index(*taught[:1]).overlap(text), index(*taught).overlap(text)
    assert 0 <= less.shared <= more.shared <= 1
    assert 0 <= less.nearest <= more.nearest <= 1


@given(plain, st.lists(plain, min_size=1, max_size=4))
def test_the_index_counts_as_sets_do(parts, others):
    """An independent count, of the runs themselves."""
    text, taught = " ".join(parts), [" ".join(o) for o in others]
    own, three = runs(text, 8), runs(text, 3)
    found = index(*taught).overlap(text)
    assert found.shared == pytest.approx(len(own & set().union(*(runs(t, 8) for t in taught))) / len(own))
    nearest = max(len(three & runs(t, 3)) / len(three) for t in taught) if len(parts) >= 8 else 0
    assert found.nearest == pytest.approx(nearest)


def test_seven_of_ten_runs_of_eight_are_contamination_and_six_are_not():
    # 17 words have 10 runs of 8. The last words of the case are others, so the first runs alone are taught.
    taught = " ".join(WORDS)
    at, under = (" ".join([*WORDS[:n], *(f"new{i}" for i in range(17 - n))]) for n in (14, 13))
    assert overlap(at, taught)[0] == pytest.approx(0.7)
    assert overlap(under, taught)[0] == pytest.approx(0.6)
    assert index(taught).overlap(at).shared >= SHARED
    assert index(taught).overlap(under).shared < SHARED


def test_a_case_put_together_from_several_examples_is_found_by_the_first_clause_alone():
    a, b = "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 a13 a14 a15", "b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 b11 b12 b13 b14 b15"
    c = " ".join(f"c{i}" for i in range(1, 36))
    long = " ".join([c, *a.split(), *b.split()])
    shared, nearest = overlap(long, a, b, c)
    assert shared >= SHARED
    assert nearest < NEAR


@pytest.mark.parametrize("place", [0, 5, 11])
def test_one_changed_word_does_not_hide_a_copy(place):
    changed = list(WORDS[:12])
    changed[place] = "altered"
    assert index(TAUGHT).overlap(" ".join(changed)).contaminated
    assert index(TAUGHT).overlap(" ".join(["please", *WORDS[:12], "thanks"])).contaminated


def test_phrases_from_several_examples_are_no_near_copy():
    halves = [" ".join(WORDS[:8]) + " and so on it goes", "this begins otherwise " + " ".join(WORDS[8:])]
    assert not index(*halves).overlap(TAUGHT).contaminated


def test_a_short_text_counts_only_where_a_whole_text_is_the_same():
    assert overlap("where is it", "Where is it?") == (1, 0)
    assert overlap("where is it", "tell me where is it and why") == (0, 0)
    assert overlap("where is", "Where is it?") == (0, 0)
    assert overlap("it is where", "Where is it?") == (0, 0)


def test_a_text_without_a_word_is_in_no_teaching_set():
    assert overlap("?!", "anything") == (0, 0)


def test_placeholders_count_as_their_entity():
    taught = "my name is <PERSON_1> and the parcel <ORDER_NUMBER_2> never came to me"
    assert overlap("My name is <PERSON_7> and the parcel <ORDER_NUMBER_1> never came to me!", taught)[0] == 1


def test_only_the_cases_that_are_in_it_are_named():
    cases = [("c1", TAUGHT), ("c2", "an honest message that nobody ever taught to any student"), ("c3", "!")]
    found = contaminated_cases(cases, index(TAUGHT))
    assert found.keys() == {"c1"}
    assert found["c1"].shared == 1


def test_answers_are_taught_too():
    found = ContaminationIndex.of([("t", ["a question", TAUGHT])], KEY)
    assert found.overlap(TAUGHT).contaminated


def test_what_is_compared_of_a_case_is_what_the_user_wrote():
    messages = [("system", "Context documents: all the same"), ("user", "first"), ("assistant", "well"), ("user", "second")]
    case = Case("c", "holdout", tuple({"role": r, "content": t} for r, t in messages))
    assert asked_text(case) == "first\nsecond"


@pytest.mark.parametrize("texts", [[], [("t", [])], [("t", ["?", ""])]])
def test_a_teaching_set_without_a_word_is_no_index(texts, tmp_path):
    with pytest.raises(NothingLeftError):
        ContaminationIndex.of(texts, KEY)
    with pytest.raises(NothingLeftError):
        write_hashes(tmp_path / "hashes.parquet", texts, KEY)
    assert not list(tmp_path.iterdir())


def test_ids_are_their_own(tmp_path):
    with pytest.raises(DuplicateIdError):
        ContaminationIndex.of([("t", ["a"]), ("t", ["b"])], KEY)


# -- the file


def stored(tmp_path, *texts, key=KEY):
    path = tmp_path / "hashes.parquet"
    counts = write_hashes(path, [(f"t{n}", [text, "the answer"]) for n, text in enumerate(texts)], key)
    return path, counts


def test_a_stored_index_is_the_index(tmp_path):
    texts = [TAUGHT, "short one", ""]
    path, counts = stored(tmp_path, *texts)
    assert counts["traces"] == 3
    assert counts["hashes"] == sum(len(row["hashes"]) for row in read_parquet(path, format=FORMAT))
    read, made = (
        ContaminationIndex.read(path, KEY),
        ContaminationIndex.of([(f"t{n}", [text, "the answer"]) for n, text in enumerate(texts)], KEY),
    )
    for text in (TAUGHT, "short one", "the answer", "something else", " ".join(WORDS[:9]) + " and more of it"):
        assert read.overlap(text) == made.overlap(text)


def test_the_same_texts_make_the_same_file_in_whatever_order(tmp_path):
    one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
    write_hashes(one, [("a", [TAUGHT]), ("b", ["hello there"])], KEY)
    write_hashes(two, [("b", ["hello there"]), ("a", [TAUGHT])], KEY)
    assert one.read_bytes() == two.read_bytes()


def test_no_word_is_in_the_file(tmp_path):
    secret = "Saoirse Brennigan lives at 17 Quarrington Lane and pays with 5500 0000 0000 0004"
    path, _ = stored(tmp_path, secret)
    shown = str(pq.read_table(path).to_pydict()).casefold()
    assert not [w for w in folded(secret).split() if len(w) > 3 and (w in shown and not w.isdigit())]
    assert b"rennigan" not in path.read_bytes()


def test_another_key_is_refused(tmp_path):
    path, _ = stored(tmp_path, TAUGHT)
    with pytest.raises(BadInputError, match="another key"):
        ContaminationIndex.read(path, OTHER)


@pytest.mark.parametrize(
    "change",
    {
        "no rows": lambda rows: [],
        "two keys": lambda rows: [{**rows[0], "key_id": "other"}, *rows[1:]],
        "another length": lambda rows: [{**row, "ngram": 5} for row in rows],
        "one length only": lambda rows: [row for row in rows if row["ngram"] == 8],
        "a trace twice": lambda rows: [*rows, rows[0]],
        "no hashes": lambda rows: [{**row, "hashes": []} for row in rows],
    }.items(),
    ids=lambda item: item[0],
)
def test_a_file_that_is_no_index_is_refused(tmp_path, change):
    path, _ = stored(tmp_path, TAUGHT)
    schema = pq.read_schema(path).remove_metadata()
    write_parquet(path, change[1](read_parquet(path, format=FORMAT)), schema, format=FORMAT)
    with pytest.raises(MalformedFileError, match="holds no hashes"):
        ContaminationIndex.read(path, KEY)


def test_a_missing_damaged_or_foreign_file_is_refused(tmp_path):
    path, _ = stored(tmp_path, TAUGHT)
    with pytest.raises(MissingFileError):
        ContaminationIndex.read(tmp_path / "none.parquet", KEY)
    rows, schema = read_parquet(path, format=FORMAT), pq.read_schema(path).remove_metadata()
    write_parquet(path, rows, schema, format="findings")
    with pytest.raises(UnknownFormatError):
        ContaminationIndex.read(path, KEY)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(MalformedFileError):
        ContaminationIndex.read(path, KEY)


def test_one_case_is_enough_for_its_suite_to_have_no_value():
    def results(**of_first):
        return [
            CaseResult("s", "d", f"c{n}", "holdout", f"c{n}", (), "ok", {"exact_match": 1.0, **(of_first if n == 0 else {})})
            for n in range(40)
        ]

    wanted = MeasurementRequest("exact_match", "holdout", None, "student", None, "level", "clopper_pearson", 0.95, "lower")
    [honest] = measure({"student": results()}, [wanted], {"holdout": 40})
    [taught] = measure({"student": results(contaminated=1.0)}, [wanted], {"holdout": 40})
    assert (honest.value, honest.note) == (1.0, "")
    assert (taught.value, taught.low, taught.note) == (None, None, "contaminated")
