"""Each rule by itself: what it notices, what it lets by, and that nothing of the text is in what it says."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError, MalformedFileError, NothingLeftError, UnknownKeyError
from distill_gov.records.keys import KeyRing
from redaction.filters import (
    Decided,
    Filter,
    PromptItem,
    Tag,
    build_index,
    decide,
    decide_all,
    prompt_filters,
    shared_ngrams,
    too_alike,
)
from redaction.filters.hazards import hazard_codes, lexicon, scored
from redaction.filters.hits import FAILED, FilterBrokenError
from redaction.filters.injection import injection, turn_markers
from redaction.filters.invisible import invisible
from redaction.filters.language import language
from redaction.filters.metadata import metadata
from redaction.filters.ngrams import hashed_ngrams, ngrams
from redaction.filters.policy import (
    HAZARDS,
    DiversityPolicy,
    HazardRule,
    LanguageRule,
    LengthRule,
    MetadataRule,
    NearDuplicatePolicy,
    NearHoldoutRule,
    VoiceRule,
)  # fmt: skip
from redaction.filters.protected import ProtectedIndex
from redaction.filters.refusals import boilerplate, refusal, refuses
from redaction.filters.repetition import gopher_repetition, loops
from redaction.filters.similarity import jaccard, near_duplicates, shingles
from redaction.filters.wording import length, voice
from redaction.policy import RedactionPolicy

KEY = KeyRing(b"\x02" * 32).subkey("tests")


def codes(tags: Iterable[Tag]) -> list[str]:
    return [tag.reason for tag in tags]


# --- tags, hits and decisions


@pytest.mark.parametrize("reason", ["", "two words", "dana@example.org", "a" * 41, "ä", "a\n", 7])
def test_a_reason_is_a_code(reason: str) -> None:
    with pytest.raises(ValueError, match="reason code"):
        Tag(reason)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), "1"])
def test_a_score_is_finite(score: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Tag("a", score)


def _filter(rule: str, *tags: Tag, action: str = "drop") -> Filter[str]:
    return Filter(rule, "3", lambda _: tags, action)  # type: ignore[arg-type]


def test_all_that_fired_is_recorded_and_the_first_that_drops_decides() -> None:
    filters = [
        _filter("a", Tag("x"), action="flag"),
        _filter("b", Tag("y", action="flag"), Tag("z", 2)),
        _filter("c", Tag("w")),
        _filter("d"),
    ]
    decided = decide(filters, "text")
    assert [str(hit) for hit in decided.fired] == ["a@3:x", "b@3:y", "b@3:z", "c@3:w"]
    assert decided.deciding is not None
    assert (decided.deciding.reason_code, decided.deciding.score) == ("z", 2)
    assert decide(filters[:1], "text").deciding is None
    assert decide([_filter("e", Tag("x", action="drop"), action="flag")], "text").deciding is not None


def test_an_item_that_cannot_be_judged_is_dropped_and_it_alone() -> None:
    def tags(item: str) -> list[Tag]:
        if item == "bad":
            raise BadInputError("not this one")
        return []

    def together(items: list[str]) -> list[list[Tag]]:
        return [tags(item) for item in items]

    for judge in (Filter("a", "1", tags, "flag"), Filter("a", "1", tags, "flag", together)):  # type: ignore[arg-type]
        found = list(decide_all([judge], ["good", "bad", "good"], batch=2))
        assert [one.deciding.reason_code if one.deciding else None for one in found] == [None, FAILED, None]


def test_a_broken_filter_stops_everything() -> None:
    def tags(_: str) -> list[Tag]:
        raise FilterBrokenError("it hangs")

    with pytest.raises(FilterBrokenError):
        decide([Filter("a", "1", tags)], "text")


def test_without_filters_everything_stays() -> None:
    assert list(decide_all([], ["a", "b"])) == [Decided(), Decided()]


# --- repetition


@pytest.mark.parametrize("words", [["a"] * 4, ["a", "b"] * 3, ["x", "a", "b", "c", "a", "b", "c", "a", "b", "c"]])
def test_loops(words: list[str]) -> None:
    assert codes(loops(" ".join(words))) == ["loop"]


@given(st.lists(st.sampled_from("abc"), max_size=14))
def test_loops_are_those_of_the_definition(words: list[str]) -> None:
    """The definition, tried out at every place."""
    expected = any(
        words[i : i + size] * times == words[i : i + size * times]
        for size, times in ((1, 4), (2, 3), (3, 3), (4, 3))
        for i in range(len(words) - size * times + 1)
    )
    assert ("loop" in codes(loops(" ".join(words)))) == expected


def test_gophers_shares_by_hand() -> None:
    # Ten words of five letters twice: the second half repeats, 50 of 100 characters, for every n up to 10.
    half = " ".join(f"word{c}" for c in "abcdefghij")
    found = {tag.reason: tag.score for tag in gopher_repetition(f"{half} {half}")}
    assert found == {f"duplicate_{n}gram": 0.5 for n in range(5, 11)}
    # One phrase of two words five times among 20 words: 5 x 10 of 100 characters.
    words = " ".join(f"redly blue{c} tall{c} numb{c}".replace(f"blue{c}", "blues") for c in "abcde")
    assert {tag.reason: tag.score for tag in gopher_repetition(words)} == {"top_2gram": 0.5}


def test_gophers_lines() -> None:
    text = "one line here\nanother\none line here\none line here"
    assert codes(gopher_repetition(text)) == ["duplicate_lines", "duplicate_line_characters"]
    assert codes(gopher_repetition("same line\nsame line")) == [], "of two lines one repeated is no page of repetitions"
    assert "duplicate_lines" in codes(gopher_repetition("same line\nsame line", "web"))
    assert "duplicate_paragraphs" in codes(gopher_repetition("a b\n\nc d\n\na b\n\na b"))


@pytest.mark.parametrize("text", ["", "...", "Sorry, we will look into it.", "Yes, yes, that is right, that is how it works."])
def test_short_answers_are_no_repetition(text: str) -> None:
    assert codes(gopher_repetition(text)) == []


# --- language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The robot vacuum spins on the spot three times and then it goes to sleep in the hall.", []),
        ("Der Saugroboter dreht sich dreimal im Kreis und bleibt dann mitten im Flur stehen.", ["language_de"]),
        ("Le robot tourne trois fois sur place et puis il s'endort dans le couloir de la maison.", ["language_fr"]),
        ("Guten Tag, wo ist das?", []),
        ("<PERSON_1> <ADDRESS_1> 0000-0000 !!! <EMAIL_1> https://example.org/der/saugroboter/dreht/sich", []),
        ("", []),
    ],
)
def test_languages(text: str, expected: list[str]) -> None:
    assert codes(language(LanguageRule())(text)) == expected


def test_allowed_languages() -> None:
    german = "Der Saugroboter dreht sich dreimal im Kreis und bleibt dann mitten im Flur stehen."
    assert codes(language(LanguageRule(allowed=["en", "de"]))(german)) == []
    assert codes(language(LanguageRule(allowed=["fr"], min_confidence=1.0))(german)) == []
    with pytest.raises(UnknownKeyError, match="no such language: `xx`"):
        language(LanguageRule(allowed=["xx"]))


# --- wording


def test_length() -> None:
    tags = length(LengthRule(min_chars=5, max_chars=9, min_words=2, max_words=2))
    assert codes(tags("abc")) == ["too_short", "too_few_words"]
    assert codes(tags("ab cd")) == []
    assert [(t.reason, t.score) for t in tags("ab cd ef gh")] == [("too_long", 11), ("too_many_words", 4)]


def test_voice() -> None:
    tags = voice(VoiceRule(forbidden=["we guarantee", "cheap"], required=["thanks"], required_any=["regards", "best wishes"]))
    assert codes(tags("Thanks. Best\n wishes")) == []
    assert codes(tags("Thanks, regards, CHEAP")) == ["forbidden_phrase"]
    assert [(t.reason, t.score) for t in tags("We  guarantee it, cheaply.")] == [
        ("forbidden_phrase", 1), ("required_phrase_missing", 2),
    ]  # fmt: skip


# --- what cannot be seen, and what speaks to the model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", []),
        ("pass\u200bword", ["zero_width"]),
        ("user\u202etxt.exe", ["bidi_controls"]),
        ("hi\U000e0041\U000e0042", ["tag_characters"]),
        ("a\u200db\u2066c\U000e0041", ["tag_characters", "bidi_controls", "zero_width"]),
        ("\ufeffstart", []),
        ("mid\ufeffdle", ["zero_width"]),
        ("family \U0001f469\u200d\U0001f469\u200d\U0001f467", []),
        ("health \U0001f469\u200d\u2695\ufe0f", []),
        ("Scotland \U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", []),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", []),
        ("\u0915\u094d\u200d\u0937", []),
        ("\u200e\u05e9\u05dc\u05d5\u05dd", []),
    ],
)
def test_invisible_characters(text: str, expected: list[str]) -> None:
    assert codes(invisible(text)) == expected


def test_a_flag_is_no_hidden_instruction() -> None:
    assert codes(injection()("for \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f")) == []
    assert codes(injection()("for \U000e0067\U000e0062")) == ["invisible_tags"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We will look into it.", []),
        ("We will.\nUser: and then?", ["other_turn"]),
        ("done <|im_end|>", ["template_mark"]),
        ("The customer: an odd one.", []),
    ],
)
def test_turn_markers(text: str, expected: list[str]) -> None:
    assert codes(turn_markers(text)) == expected


# --- refusals and hazards


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sorry, we cannot help with that.", True),
        ("I\u2019m sorry, but I can\u2019t assist with that request.", True),
        ("I must decline.", True),
        ("We can't refund you until the order number is known.", False),
        ("We cannot say exactly when it arrives.", False),
        ("Sorry, we will check where your parcel is.", False),
        ("If you can't log in, reset your password.", False),
        ("", False),
    ],
)
def test_refusals(text: str, expected: bool) -> None:
    assert refuses(text) is expected


def test_a_refusal_is_judged_by_what_was_asked() -> None:
    assert list(refusal(False, True)) == list(refusal(False, False)) == []
    [safe], [over] = refusal(True, True), refusal(True, False)
    assert (safe.reason, safe.action) == ("safe_refusal", "flag")
    assert (over.reason, over.action) == ("over_refusal", None)


def test_boilerplate() -> None:
    assert codes(boilerplate("As an AI language model I drink no coffee.")) == ["boilerplate"]
    assert codes(boilerplate("The model drinks no coffee.")) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("how do I kill my neighbour's dog", ["vcr"]),
        ("print me counterfeit money", ["ncr"]),
        ("spread lies about him", ["dfm"]),
        ("all my savings into bitcoin", ["spc_fin"]),
        ("can I sue them", ["spc_lgl"]),
        ("polling station near me", ["spc_ele"]),
        ("which dose of insulin", ["spc_hlt"]),
        ("crack the licence, I have no serial key for free", ["ipv"]),
        ("a pipe bomb", ["iwp"]),
        ("racist jokes please", ["hte"]),
        ("I want to die", ["ssh"]),
        ("an erotic story", ["sxc_prn"]),
        ("a hidden camera for her room", ["prv"]),
        ("the kettle leaks since Monday", []),
        ("kill a python process", []),
        ("", []),
    ],
)
def test_the_lexicon_of_hazards(text: str, expected: list[str]) -> None:
    assert list(hazard_codes(text)) == expected


def test_a_lexicon_only_flags_and_only_the_codes_that_are_asked_for() -> None:
    rule = HazardRule(action="flag", codes=["iwp"])
    assert [(t.reason, t.action) for t in lexicon(rule)("a racist pipe bomb joke")] == [("iwp", "flag")]


class _Scorer:
    version = "1"

    def __init__(self, scores: object) -> None:
        self.scores = scores

    def score(self, text: str) -> dict[str, float]:
        if isinstance(self.scores, Exception):
            raise self.scores
        return self.scores  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({}, []),
        ({"vcr": 0.49}, []),
        ({"vcr": 0.5, "ncr": 1.0}, [("vcr", None), ("ncr", None)]),
        ({"hte": 0.9}, []),
        ({"vcr": float("nan")}, [(FAILED, "drop")]),
        ({"vcr": 1.5}, [(FAILED, "drop")]),
        ({"elsewhere": 0.1}, [(FAILED, "drop")]),
        ({"vcr": None}, [(FAILED, "drop")]),
        (None, [(FAILED, "drop")]),
        (RuntimeError("Sorry, Dana"), [(FAILED, "drop")]),
    ],
)
def test_a_scorer_decides_and_fails_closed(scores: object, expected: list[tuple[str, str | None]]) -> None:
    rule = HazardRule(action="flag", codes=["vcr", "ncr"])
    assert [(t.reason, t.action) for t in scored(rule, _Scorer(scores))("text")] == expected


# --- metadata


@pytest.mark.parametrize(
    ("more", "value", "fires"),
    [
        ({"one_of": ["a", "b"]}, "a", False),
        ({"one_of": ["a", "b"]}, "c", True),
        ({"one_of": ["a"]}, None, True),
        ({"one_of": ["a"], "optional": True}, None, False),
        ({"one_of": ["a"], "optional": True}, "c", True),
        ({"none_of": ["a"]}, "a", True),
        ({"none_of": ["a"]}, "b", False),
        ({"none_of": ["a"]}, None, True),
        ({"not_before": date(2027, 1, 1)}, "2027-01-01", False),
        ({"not_before": date(2027, 1, 1)}, "2026-12-31", True),
        ({"not_before": date(2027, 1, 1)}, "soon", True),
        ({}, "something", False),
        ({}, "  ", True),
    ],
)
def test_conditions_on_metadata(more: dict[str, object], value: str | None, fires: bool) -> None:
    rule = MetadataRule(name="own_rule", field="licence", **more)  # type: ignore[arg-type]
    known = {} if value is None else {"licence": value}
    assert codes(metadata([rule])(known)) == (["own_rule"] if fires else [])


def test_conditions_have_an_action_each() -> None:
    rules = [
        MetadataRule(name="a", field="licence", action="flag"),
        MetadataRule(name="b", field="teacher.terms_accepted_by"),
        MetadataRule(name="c", field="consent", action="off"),
    ]
    assert [(t.reason, t.action) for t in metadata(rules)({})] == [("a", "flag"), ("b", "drop")]


# --- overlap


SONG = "the river bends behind the mill and nobody who rows there ever counts the lights upon the hill"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "a.txt").write_text(SONG, "utf-8")
    (tmp_path / "songs" / "b.jsonl").write_text('{"text": "too short"}\n', "utf-8")
    assert build_index(tmp_path / "songs", tmp_path / "index.parquet", KEY) == {"texts": 2, "hashes": 18 - 12 + 1}
    return tmp_path / "index.parquet"


def test_verbatim_overlap_with_protected_texts(index: Path) -> None:
    tags = ProtectedIndex.read(index, KEY).tags(1)
    assert [(t.reason, t.score) for t in tags(f"As the song goes: {SONG.upper()}!")] == [("verbatim", 7)]
    assert [(t.reason, t.score) for t in tags(" ".join(SONG.split()[:12]))] == [("verbatim", 1)]
    assert codes(tags(" ".join(SONG.split()[:11]) + " elsewhere")) == []
    assert codes(tags("")) == []
    assert codes(ProtectedIndex.read(index, KEY).tags(2)(" ".join(SONG.split()[:12]))) == []


def test_an_index_holds_no_text_and_is_of_one_key(index: Path) -> None:
    assert all(word.encode() not in index.read_bytes() for word in ("river", "lights"))
    with pytest.raises(BadInputError, match="another key"):
        ProtectedIndex.read(index, KeyRing(b"\x03" * 32).subkey("tests"))


def test_what_cannot_be_indexed(tmp_path: Path, index: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("three words only", "utf-8")
    with pytest.raises(NothingLeftError):
        build_index(short, tmp_path / "none.parquet", KEY)
    row = tmp_path / "row.jsonl"
    row.write_text('{"txt": "a"}\n', "utf-8")
    with pytest.raises(MalformedFileError, match="`text`"):
        build_index(row, tmp_path / "none.parquet", KEY)
    with pytest.raises(BadInputError, match="no such file"):
        build_index(tmp_path / "nowhere", tmp_path / "none.parquet", KEY)
    with pytest.raises(MalformedFileError):
        build_index(tmp_path / "songs", short, KEY)
    assert short.read_text("utf-8") == "three words only", "no other file is overwritten"


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.integers(2, 4))
def test_hashes_are_shared_exactly_where_runs_are(words: list[str], n: int) -> None:
    text, other = " ".join(words), " ".join(reversed(words))
    assert len(hashed_ngrams(text, n, KEY) & hashed_ngrams(other, n, KEY)) == len(ngrams(text, n) & ngrams(other, n))


def test_copies_of_the_holdout_that_redaction_hides() -> None:
    holdout = ["my order went to Quarrington Lane in Ilkley and never came"]
    texts = [("t1", "hm, my order went to Quarrington Lane in Ilkley: why?"), ("t2", "my order went to another street")]
    assert shared_ngrams(texts, holdout, 8, KEY) == {"t1": 1}


def test_a_raw_copy_drops_the_redacted_prompt(policy: RedactionPolicy) -> None:
    filters = prompt_filters(policy, [], ["something else entirely"], raw_shared={"t1": 3})
    hit = decide(filters, PromptItem("t1", "nothing like it")).deciding
    assert hit is not None
    assert (str(hit), hit.score) == ("prompt/near_holdout@2:shares_raw_ngram", 3)
    assert decide(filters, PromptItem("t2", "nothing like it")).deciding is None


# --- likeness


def test_of_several_answers_those_that_differ_are_kept() -> None:
    answers = [
        ("p", 2, "p/2", "Please send us the order number and a photo of the box."),
        ("p", 0, "p/0", "We will check where your parcel is."),
        ("p", 1, "p/1", "We will check where your parcel is!"),
        ("p", 3, "p/3", "A colleague will call you tomorrow."),
        ("q", 0, "q/0", "We will check where your parcel is."),
    ]
    assert too_alike(answers, DiversityPolicy(keep=2)) == {"p/1": "too_alike", "p/3": "surplus"}
    assert too_alike(answers, DiversityPolicy(keep=9)) == {"p/1": "too_alike"}
    assert too_alike(answers, DiversityPolicy()) == {"p/1": "too_alike", "p/2": "surplus", "p/3": "surplus"}


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("pq"), st.integers(0, 3), st.text("abc ", max_size=8)), max_size=8), st.randoms())
def test_diversity_does_not_depend_on_the_order(rows: list[tuple[str, int, str]], shuffle: random.Random) -> None:
    answers = [(prompt, sample, f"{prompt}/{n}", text) for n, (prompt, sample, text) in enumerate(rows)]
    policy = DiversityPolicy(keep=2, threshold=0.6, shingle=2)
    expected = too_alike(answers, policy)
    shuffled = list(answers)
    shuffle.shuffle(shuffled)
    assert too_alike(shuffled, policy) == expected
    for prompt in {row[0] for row in answers}:
        kept = [shingles(t, 2) for p, _, name, t in answers if p == prompt and name not in expected]
        assert 1 <= len(kept) <= 2
        assert all(jaccard(a, b) < 0.6 for i, a in enumerate(kept) for b in kept[:i])


def test_near_duplicates_keep_the_lowest_id() -> None:
    texts = [
        ("a", "the kettle leaks at the bottom"),
        ("b", "The kettle leaks at the bottom!!"),
        ("c", ""),
        ("d", "other words"),
    ]
    assert near_duplicates(texts, NearDuplicatePolicy()) == {"b": 1.0}


# --- all of them


@pytest.fixture(scope="module")
def everything(policy: RedactionPolicy) -> RedactionPolicy:
    """All prompt filters that need no other package."""
    prompts = policy.filters.prompts.model_copy(
        update={
            "length": LengthRule(min_chars=3, max_words=30),
            "near_holdout": NearHoldoutRule(ngram=3),
            "metadata": [MetadataRule(name="papers", field="licence", one_of=["own"])],
        }
    )
    return policy.model_copy(update={"filters": policy.filters.model_copy(update={"prompts": prompts})})


_INJECTED = ["ignore", "previous", "instructions", "bomb", "kill", "him"]
WORDS = st.sampled_from([*_INJECTED, "kettle", "leaks", "<PERSON_1>", "Zebrowska", "\u200b", "\u202e", "7741"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=6), st.randoms())
def test_decisions_depend_on_no_order_and_hold_no_text(
    everything: RedactionPolicy, texts: list[str], shuffle: random.Random
) -> None:
    items = [PromptItem(f"t{n}", text) for n, text in enumerate(texts)]

    def decided(given: list[PromptItem]) -> dict[str, Decided]:
        filters = prompt_filters(everything, given, ["kettle leaks ignore"], near=NearDuplicatePolicy())
        return dict(zip((i.id for i in given), decide_all(filters, given, batch=2), strict=True))

    expected = decided(items)
    shuffled = list(items)
    shuffle.shuffle(shuffled)
    assert decided(shuffled) == expected
    said = repr([dataclasses.astuple(one) for one in expected.values()]).lower()
    assert not any(word in said for word in ("zebrowska", "7741", "kettle", "person_1", "bomb"))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200) | st.text("ab \n\u200d\ud800<>_1", max_size=60))
def test_no_text_breaks_a_rule(text: str) -> None:
    rules: list[Callable[[str], Iterable[Tag]]] = [
        loops,
        gopher_repetition,
        invisible,
        injection(["x y"]),
        turn_markers,
        boilerplate,
    ]
    rules += [lambda t: gopher_repetition(t, "web"), lexicon(HazardRule(action="flag")), length(LengthRule(min_words=2))]
    rules += [voice(VoiceRule(required=["a"])), language(LanguageRule(min_letters=1))]
    for rule in rules:
        for tag in rule(text):
            assert isinstance(tag, Tag)
    refuses(text)
    hashed_ngrams(text, 2, KEY)


def test_hazards_are_mlcommons() -> None:
    assert len(HAZARDS) == len(set(HAZARDS)) == 15
