from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from redaction.entities import ENTITIES, PRESIDIO_NAMES, PRIORITY
from redaction.overlap import resolve
from redaction.recognizers.rule import Hit

TEXT = "ab 12 cd 34 ef 56 gh"


def hit(entity: str, start: int, end: int, score: float = 0.5, rule: str = "r") -> Hit:
    return Hit(entity, start, end, score, rule, "1")


def test_a_name_of_presidio_stands_for_one_entity() -> None:
    assert len(PRESIDIO_NAMES) == sum(len(entity.presidio) for entity in ENTITIES.values())


def test_priority_beats_length_beats_score() -> None:
    assert resolve([hit("PASSWORD", 0, 20, 1.0), hit("EMAIL", 0, 5)], "x" * 5 + " " * 15) == [hit("EMAIL", 0, 5)]
    assert resolve([hit("PERSON", 0, 5, 1.0), hit("PERSON", 0, 8)], "x" * 20) == [hit("PERSON", 0, 8)]
    assert resolve([hit("PERSON", 0, 5, 0.4), hit("PERSON", 0, 5, 0.9)], "x" * 20) == [hit("PERSON", 0, 5, 0.9)]


def test_digits_of_a_beaten_hit_stay_covered() -> None:
    found = resolve([hit("PHONE", 3, 17), hit("ORDER_NUMBER", 9, 11)], TEXT)
    assert found == [hit("PHONE", 3, 8), hit("ORDER_NUMBER", 9, 11), hit("PHONE", 12, 17)]


def test_no_word_of_a_beaten_address_stays_behind() -> None:
    text = "17 Quarry Lane, 00123 Sometown"
    found = resolve([hit("ADDRESS", 0, 30), hit("BANK_ACCOUNT", 16, 21)], text)
    assert found == [hit("ADDRESS", 0, 14), hit("BANK_ACCOUNT", 16, 21), hit("ADDRESS", 22, 30)]


def test_words_of_a_beaten_name_stay_covered() -> None:
    text = "Anna Berg of Acme, 5 Mill Lane"
    assert resolve([hit("ORGANIZATION", 0, 17), hit("EMAIL", 5, 9)], text) == [
        hit("ORGANIZATION", 0, 4),
        hit("EMAIL", 5, 9),
        hit("ORGANIZATION", 10, 17),
    ]
    # a mere link does not stay; of a secret every word does
    assert resolve([hit("ORGANIZATION", 5, 12), hit("EMAIL", 5, 9)], text) == [hit("EMAIL", 5, 9)]
    assert resolve([hit("PASSWORD", 0, 9), hit("EMAIL", 5, 9)], text) == [hit("PASSWORD", 0, 4), hit("EMAIL", 5, 9)]


def test_the_longest_of_two_kinds_of_name_stands() -> None:
    assert resolve([hit("PERSON", 0, 4, 0.9), hit("ORGANIZATION", 0, 9, 0.5)], "Anna Berg") == [hit("ORGANIZATION", 0, 9)]
    assert resolve([hit("PERSON", 0, 9, 0.5), hit("LOCATION", 0, 9, 0.9)], "Anna Berg") == [hit("LOCATION", 0, 9, 0.9)]


hits = st.builds(
    lambda e, a, n, s, r: hit(e, a, min(a + n, 20), s, r),
    st.sampled_from(PRIORITY),
    st.integers(0, 19),
    st.integers(1, 20),
    st.floats(0.1, 1.0),
    st.sampled_from("ab"),
)


@given(st.lists(hits, max_size=8), st.randoms())
def test_result_is_disjoint_sorted_and_independent_of_order(given_hits: list[Hit], random: object) -> None:
    found = resolve(given_hits, TEXT)
    assert all(a.end <= b.start for a, b in pairwise(found))
    shuffled = list(given_hits)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert resolve(shuffled, TEXT) == found
    for h in given_hits:
        for i in range(h.start, h.end):
            assert not TEXT[i].isdigit() or any(k.start <= i < k.end for k in found)
