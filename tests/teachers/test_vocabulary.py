"""When two tokenizers have one vocabulary."""

from __future__ import annotations

from distill_gov.teachers.vocabulary import vocabulary_digest
from tests.tiny import WORDS, build_tokenizer


def test_ids_that_mean_the_same_are_one_vocabulary() -> None:
    assert vocabulary_digest(build_tokenizer()) == vocabulary_digest(build_tokenizer())


def test_the_same_size_is_not_the_same_vocabulary() -> None:
    one, other = build_tokenizer(), build_tokenizer((*WORDS[1:], WORDS[0]))
    assert len(one) == len(other)
    assert vocabulary_digest(one) != vocabulary_digest(other)


def test_another_end_of_answers_is_another_vocabulary() -> None:
    one, other = build_tokenizer(), build_tokenizer()
    other.eos_token = other.bos_token
    assert vocabulary_digest(one) != vocabulary_digest(other)
