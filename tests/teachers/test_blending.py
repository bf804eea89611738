"""Mixtures of several teachers' soft targets: exact where every teacher is known, one tail elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import IntegrityError
from distill_gov.teachers.blending import blended, blended_capture, blended_identity
from distill_gov.teachers.soft_targets import Capture, SoftTargets

VOCABULARY = 7


def captured(dense: Sequence[Sequence[float]], k: int, identity: str = "a") -> SoftTargets:
    """The top k of distributions over the whole vocabulary, a position each."""
    ids = [[t for _, t in sorted(((x, t) for t, x in enumerate(row)), reverse=True)[:k]] for row in dense]
    rest = [math.fsum(x for t, x in enumerate(row) if t not in own) for row, own in zip(dense, ids, strict=True)]
    n = len(dense)
    return SoftTargets.ragged(
        "t/0", identity, "grammar", 2.0,
        token_ids=[0] * n, field=[""] * n, forced=[False] * n, ids=ids,
        logp=[[math.log(row[t]) for t in own] for row, own in zip(dense, ids, strict=True)],
        log_tail=[math.log(x) if x > 0 else None for x in rest], log_allowed=[-0.5] * n,
    )  # fmt: skip


@st.composite
def dense(draw: st.DrawFn) -> list[list[float]]:
    rows = draw(st.lists(st.lists(st.floats(0.01, 1), min_size=VOCABULARY, max_size=VOCABULARY), min_size=1, max_size=3))
    return [[x / math.fsum(row) for x in row] for row in rows]


def masses(targets: SoftTargets, position: int) -> tuple[dict[int, float], float]:
    ids, logp = targets.support_at(position)
    return dict(zip(ids.tolist(), np.exp(logp.astype(float)).tolist(), strict=True)), math.exp(targets.log_tail[position])


PAIRS = st.tuples(dense(), dense()).filter(lambda pair: len(pair[0]) == len(pair[1]))
SHARES = st.floats(0.05, 0.95)


@settings(max_examples=60)
@given(PAIRS, SHARES, st.integers(1, VOCABULARY), st.integers(1, VOCABULARY))
def test_what_both_know_is_exact_and_all_of_it_is_one(
    pair: tuple[list[list[float]], list[list[float]]], share: float, k: int, other: int
) -> None:
    one, two = captured(pair[0], k), captured(pair[1], other)
    mixed = blended([one, two], [share, 1 - share])
    for j, (p, q) in enumerate(zip(*pair, strict=True)):
        known, tail = masses(mixed, j)
        common = set(one.support_at(j)[0].tolist()) & set(two.support_at(j)[0].tolist())
        assert set(known) == common
        if not common:
            assert tail == 0, "the whole mass in one bucket teaches nothing"
            continue
        for token, mass in known.items():
            assert mass == pytest.approx(share * p[token] + (1 - share) * q[token], rel=1e-5)
        assert math.fsum(known.values()) + tail == pytest.approx(1, abs=1e-5)
        assert math.exp(mixed.log_allowed[j]) == pytest.approx(math.exp(-0.5), rel=1e-5)


@settings(max_examples=40)
@given(PAIRS, st.integers(1, VOCABULARY), st.integers(1, VOCABULARY))
def test_a_teacher_that_counts_all_is_only_made_coarser(
    pair: tuple[list[list[float]], list[list[float]]], k: int, other: int
) -> None:
    one, two = captured(pair[0], k), captured(pair[1], other)
    mixed = blended([one, two], [3, 0])
    for j in range(mixed.n):
        known, tail = masses(mixed, j)
        own, rest = masses(one, j)
        if not known:
            continue
        assert known == pytest.approx({token: own[token] for token in known}, rel=1e-5)
        left = rest + math.fsum(mass for token, mass in own.items() if token not in known)
        assert tail == pytest.approx(left, rel=1e-4, abs=1e-9)


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


@settings(max_examples=60)
@given(PAIRS, dense(), SHARES, st.integers(1, VOCABULARY))
def test_divergence_from_the_mixture_is_never_overstated(
    pair: tuple[list[list[float]], list[list[float]]], student: list[list[float]], share: float, k: int
) -> None:
    """Data processing: on the coarser partition a student is at most as far away as from the whole mixture."""
    mixed = blended([captured(pair[0], k), captured(pair[1], k)], [share, 1 - share])
    for j, (p, q, s) in enumerate(zip(*pair, student * len(pair[0]), strict=False)):
        whole = [share * a + (1 - share) * b for a, b in zip(p, q, strict=True)]
        known, tail = masses(mixed, j)
        if not known:
            continue
        coarse = [*known.values(), tail]
        own = [*(s[token] for token in known), max(1e-300, math.fsum(x for t, x in enumerate(s) if t not in known))]
        assert divergence(coarse, own) <= divergence(whole, s) + 1e-4


def test_a_union_of_supports_would_take_mass_from_where_teachers_differ() -> None:
    """Each is sure of a token that the other did not store: nobody knows the mixture there, so it is in the tail."""
    one = captured([[0.6, 0.3, 0.05, 0.05]], 2)
    two = captured([[0.04, 0.36, 0.55, 0.05]], 2)
    known, tail = masses(blended([one, two], [0.5, 0.5]), 0)
    assert known == pytest.approx({1: 0.33}, rel=1e-6)
    assert tail == pytest.approx(0.67, rel=1e-6)


def test_three_teachers_agree_on_fewer_tokens() -> None:
    rows = [[[0.5, 0.3, 0.1, 0.1]], [[0.4, 0.1, 0.3, 0.2]], [[0.4, 0.35, 0.05, 0.2]]]
    known, tail = masses(blended([captured(row, 2) for row in rows], [1, 1, 2]), 0)
    assert known == pytest.approx({0: 0.425}, rel=1e-6)
    assert tail == pytest.approx(0.575, rel=1e-6)


def decision(masses: dict[int, float], field: str = "intent") -> SoftTargets:
    return SoftTargets.ragged(
        "t/0", "a", "grammar", 2.0, token_ids=[4, 2], field=[field, ""], forced=[False, True], ids=[list(masses), []],
        logp=[[math.log(x) for x in masses.values()], []], log_tail=[None, None], log_allowed=[0.0, 0.0],
    )  # fmt: skip


def test_decisions_are_mixed_over_their_labels_without_a_tail() -> None:
    mixed = blended([decision({4: 0.9, 5: 0.1}), decision({5: 0.5, 4: 0.5})], [1, 3])
    known, tail = masses(mixed, 0)
    assert known == pytest.approx({4: 0.6, 5: 0.4}, rel=1e-6)
    assert tail == 0
    assert mixed.support_at(1)[0].tolist() == []
    assert mixed.forced.tolist() == [False, True]


def test_drawn_tokens_are_joined() -> None:
    """Weights of draws are unbiased estimates with no mass elsewhere; so is their mean."""
    one, two = (replace(decision(m, ""), kind="sampled") for m in ({4: 0.75, 5: 0.25}, {6: 1.0}))
    known, tail = masses(blended([one, two], [1, 1]), 0)
    assert known == pytest.approx({4: 0.375, 5: 0.125, 6: 0.5}, rel=1e-6)
    assert tail == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"example": "u/0"}, "example"),
        ({"token_ids": np.array([4, 1], np.int32)}, "tokens"),
        ({"temperature": 1.0}, "temperature"),
        ({"support": "full"}, "support"),
        ({"kind": "sampled"}, "kind"),
        ({"forced": np.array([True, True])}, "forced positions"),
        ({"field": ("action", "")}, "decision fields"),
        ({"ids": np.array([4, 6], np.int32)}, "labels of `intent`"),
    ],
)
def test_what_is_not_alike_is_not_mixed(change: dict[str, object], named: str) -> None:
    one = decision({4: 0.9, 5: 0.1})
    with pytest.raises(IntegrityError, match=f"they differ in {named}"):
        blended([one, replace(one, **change)], [1, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", [[1], [0, 0], [-1, 2], [math.nan, 1], [math.inf, 1]])
def test_weights_that_are_none(weights: list[float]) -> None:
    one = decision({4: 0.9, 5: 0.1})
    with pytest.raises(ValueError, match="weight"):
        blended([one, one], weights)


def test_a_mixture_is_captured_from_all_of_its_teachers() -> None:
    one = Capture.of(teacher="a", tokenizer="t", template="l", prompt="p", text="x", temperature=2, k=8, support="grammar")
    two = replace(one, teacher="b", k=4)
    mixed = blended_capture([one, two], [1, 3])
    assert mixed.differences(one) == ["teacher", "k"]
    assert mixed.k == 4
    others = [blended_capture([one, two], [1, 2]), blended_capture([two, one], [1, 3]), blended_capture([one, one], [1, 3])]
    assert mixed.teacher not in {other.teacher for other in others}


def test_the_mixture_has_an_identity_of_its_own() -> None:
    one, two = decision({4: 0.9, 5: 0.1}), replace(decision({4: 0.5, 5: 0.5}), identity="b")
    mixed = blended([one, two], [1, 3])
    assert mixed.identity == blended_identity(["a", "b"], [1, 3])
    assert len({blended_identity(*of) for of in ((["a", "b"], [1, 3]), (["b", "a"], [1, 3]), (["a", "b"], [1, 2]))}) == 3
