"""Distributions in few bits: integers packed at their width, log-probabilities as steps below the likeliest token's.

Of a position are kept the span from its likeliest to its least likely token (float16), each token's place in that span
(:data:`BITS` bits, even steps), and how far the tail's log-mass is from the likeliest token's (float16). The normaliser is not
kept: the k + 1 masses are made to sum to one again, so that a divergence from them cannot be negative.

Measured on Zipf-like distributions of 49,152 tokens (k = 32; T = 1, 2, 4), largest of the three mean KLs to what was quantised:
even steps of 8 bits 5e-6, of 10 bits 3e-7, float16 8e-8; steps on a square-root scale were worse than even ones at every width.
What the tail loses is 0.2-0.6 nats, so 10 bits are more than a student can see, and keep to 130 bytes a token at 18-bit ids.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BITS", "FARTHEST", "dequantised", "divergences", "gathered", "packed", "quantised", "width"]

Array = np.ndarray[Any, np.dtype[Any]]

BITS = 10
"""Bits of a log-probability."""
FARTHEST = 40.0
"""Nats below the likeliest token from which on all tokens are alike: a mass of 4e-18, under a double's precision."""
_FARTHEST_TAIL = 60.0
_STEPS = (1 << BITS) - 1
_SPARE = 8
"""Bytes behind packed integers, so that a 64-bit word can be read at each of them."""


# -- integers -------------------------------------------------------------------------------------------------------------


def width(values: Array) -> int:
    """Bits that the largest of some non-negative integers takes; at least 1."""
    return max(1, int(values.max(initial=0)).bit_length())


def packed(values: Array, bits: int) -> Array:
    """Non-negative integers below 2**bits, one behind the other, least significant bit first."""
    spread = (values.astype(np.uint64)[:, None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    bytes_ = np.packbits(spread.astype(np.uint8), axis=None, bitorder="little")
    return np.concatenate([bytes_, np.zeros(_SPARE, np.uint8)])


def gathered(data: Array, bits: int, start: int, stop: int) -> Array:
    """The integers from ``start`` to ``stop`` of what :func:`packed` made, as int64.

    Raises:
        ValueError: there are not so many.
    """
    if not 0 <= start <= stop or (stop * bits + 7) // 8 + _SPARE > len(data):
        raise ValueError("fewer integers than asked for")
    places = np.arange(start, stop, dtype=np.int64) * bits
    words: Array = np.ndarray((len(data) - _SPARE + 1,), "<u8", data, strides=(1,))
    found: Array = (words[places >> 3] >> (places & 7).astype(np.uint64)) & np.uint64((1 << bits) - 1)
    return found.astype(np.int64)


# -- distributions --------------------------------------------------------------------------------------------------------


def quantised(counts: Array, logp: Array, log_tail: Array) -> tuple[Array, Array, Array]:
    """Codes of the tokens, and span and tail of the positions.

    Args:
        counts: tokens of each position, at least one; ``logp`` holds the positions' log-probabilities one behind the other.
        log_tail: of each position; -inf where there is no tail.
    """
    logp, log_tail = logp.astype(np.float64), log_tail.astype(np.float64)
    if not len(counts):
        return np.zeros(0, np.int64), np.zeros(0, "<f2"), np.zeros(0, "<f2")
    starts = np.cumsum(counts) - counts
    top = np.maximum.reduceat(logp, starts)
    below = np.minimum(np.repeat(top, counts) - logp, FARTHEST)
    span = np.maximum.reduceat(below, starts).astype("<f2")
    step = np.repeat(span.astype(np.float64), counts) / _STEPS
    codes = np.zeros(len(logp), np.int64)
    np.divide(below, step, out=below, where=step > 0)
    codes[step > 0] = np.minimum(np.rint(below[step > 0]), _STEPS).astype(np.int64)
    distance = np.where(log_tail == -np.inf, np.inf, np.clip(top - log_tail, -_FARTHEST_TAIL, _FARTHEST_TAIL))
    return codes, span, distance.astype("<f2")


def dequantised(counts: Array, codes: Array, span: Array, tail: Array) -> tuple[Array, Array]:
    """Log-probabilities and log-tails (float32); the masses of a position sum to one."""
    if not len(counts):
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    starts = np.cumsum(counts) - counts
    score = -codes * (np.repeat(span.astype(np.float64), counts) / _STEPS)
    rest = -tail.astype(np.float64)
    # The likeliest token's score is 0.
    shift = np.maximum(rest, 0.0)
    mass = np.add.reduceat(np.exp(score - np.repeat(shift, counts)), starts) + np.exp(rest - shift)
    norm = shift + np.log(mass)
    return (score - np.repeat(norm, counts)).astype(np.float32), (rest - norm).astype(np.float32)


def divergences(dense: Array, kept: Array, log_tail: float) -> tuple[float, float]:
    """What keeping a position's likeliest tokens loses, in nats: by quantisation, and by the tail.

    Their sum is KL(dense, q), where q has the kept tokens' masses as they come back and the tail's spread evenly over the
    tokens that were not kept (the chain rule of KL). The first is the KL of the k + 1 masses.

    Args:
        dense: log-probabilities of all tokens that the position has.
        kept: the largest of them.
        log_tail: log of the others' mass; -inf where there are none.
    """
    dense, kept = dense.astype(np.float64), kept.astype(np.float64)
    one = np.array([len(kept)])
    again, rest = dequantised(one, *quantised(one, kept, np.array([log_tail])))
    masses = np.array([*kept, log_tail]) if log_tail > -np.inf else kept
    masses = masses - np.logaddexp.reduce(masses)
    back = np.array([*again, *rest], np.float64)[: len(masses)]
    by_quantisation = float((np.exp(masses) * (masses - back)).sum())
    others = len(dense) - len(kept)
    if not others:
        return max(by_quantisation, 0.0), 0.0
    tail = np.sort(dense)[:others]
    tail = tail[tail > -np.inf]
    even = np.logaddexp.reduce(tail) - np.log(others)
    by_tail = float((np.exp(tail) * (tail - even)).sum())
    return max(by_quantisation, 0.0), max(by_tail, 0.0)
