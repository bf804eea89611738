"""Distributions in few bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.teachers.quantisation import (
    BITS,
    FARTHEST,
    dequantised,
    divergences,
    gathered,
    packed,
    quantised,
    width,
)

Array = np.ndarray[Any, np.dtype[Any]]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 2**31 - 1), max_size=40), st.data())
def test_integers_come_back_from_any_place(values: list[int], data: st.DataObject) -> None:
    array = np.array(values, np.int64)
    bits = width(array)
    stored = packed(array, bits)
    assert len(stored) == -(-len(values) * bits // 8) + 8
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    assert gathered(stored, bits, start, stop).tolist() == values[start:stop]
    with pytest.raises(ValueError, match="fewer"):
        gathered(stored, bits, 0, len(values) + 8)


def masses(draw: st.DrawFn, n: int, tail: bool) -> tuple[Array, float]:
    scores = np.array(draw(st.lists(st.floats(-80, 0), min_size=n + tail, max_size=n + tail)))
    logp = scores - np.logaddexp.reduce(scores)
    return (logp[1:], float(logp[0])) if tail else (logp, -np.inf)


@st.composite
def distributions(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    found = [masses(draw, draw(st.integers(1, 6)), draw(st.booleans())) for _ in range(draw(st.integers(0, 4)))]
    logp = np.concatenate([m[0] for m in found]) if found else np.zeros(0)
    return np.array([len(m[0]) for m in found], np.int64), logp, np.array([m[1] for m in found])


@settings(max_examples=80)
@given(distributions())
def test_what_comes_back_is_within_half_a_step_and_sums_to_one(given: tuple[Array, Array, Array]) -> None:
    counts, logp, tail = given
    codes, span, rest = quantised(counts, logp, tail)
    again, again_tail = dequantised(counts, codes, span, rest)
    start = 0
    for i, n in enumerate(counts):
        old, new = logp[start : start + n], again[start : start + n].astype(np.float64)
        assert np.exp([*new, again_tail[i]]).sum() == pytest.approx(1.0, abs=1e-5)
        assert (again_tail[i] == -np.inf) == (tail[i] == -np.inf)
        # Distances from the likeliest token: half a step, and what float16 does to the span.
        below, was = new.max() - new, np.minimum(old.max() - old, FARTHEST)
        off = was.max() * (0.5 / (2**BITS - 1) + 2**-11) + 1e-5
        assert np.abs(below - was).max() <= off
        if tail[i] > -np.inf:
            distance = np.clip(old.max() - tail[i], -60, 60)
            assert abs((new.max() - again_tail[i]) - distance) <= abs(distance) * 2**-11 + 2e-5
        start += n


@settings(max_examples=40)
@given(distributions())
def test_what_came_back_once_comes_back_again(given: tuple[Array, Array, Array]) -> None:
    counts, logp, tail = given
    codes, span, rest = quantised(counts, logp, tail)
    once = dequantised(counts, codes, span, rest)
    twice = dequantised(counts, *quantised(counts, *once))
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3, rtol=1e-3)


def test_a_token_of_no_mass_is_as_far_as_any() -> None:
    codes, span, rest = quantised(np.array([3]), np.array([0.0, -50.0, -np.inf]), np.array([-np.inf]))
    logp, _ = dequantised(np.array([3]), codes, span, rest)
    assert logp.tolist() == [0.0, -FARTHEST, -FARTHEST]


def dense(logits: Array) -> Array:
    return np.asarray(logits - np.logaddexp.reduce(logits))


@pytest.mark.parametrize("k", [1, 3, 31, 40])
def test_the_two_losses_sum_to_the_divergence_from_what_is_kept(k: int) -> None:
    logp = dense(np.random.default_rng(k).normal(0, 3, 40))
    kept = np.sort(logp)[::-1][:k]
    tail = float(np.log(1 - np.exp(kept).sum())) if k < 40 else -np.inf
    by_quantisation, by_tail = divergences(logp, kept, tail)
    codes = quantised(np.array([k]), kept, np.array([tail]))
    again, rest = dequantised(np.array([k]), *codes)
    spread = np.full(40 - k, rest[0] - np.log(40 - k)) if k < 40 else np.zeros(0)
    q = np.concatenate([again, spread])
    p = np.sort(logp)[::-1]
    assert by_quantisation + by_tail == pytest.approx((np.exp(p) * (p - q)).sum(), abs=1e-6)
    assert 0 <= by_quantisation < 1e-4
    assert (by_tail == 0) == (k == 40)


def test_an_even_tail_is_lost_by_nobody() -> None:
    logp = dense(np.array([5.0, 4.0, *[0.0] * 30]))
    kept = np.sort(logp)[::-1][:2]
    assert divergences(logp, kept, float(np.log(1 - np.exp(kept).sum())))[1] == pytest.approx(0, abs=1e-9)
