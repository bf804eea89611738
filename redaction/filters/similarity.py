"""Which texts are nearly the same: shingles, the Jaccard index, and an index of neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from typing import Any

from redaction.filters.ngrams import folded
from redaction.filters.policy import DiversityPolicy, NearDuplicatePolicy

__all__ = ["NeighbourIndex", "jaccard", "near_duplicates", "shingles", "too_alike"]

Signed = tuple[frozenset[str], Any]
"""Shingles and their MinHash."""

_PERMUTATIONS = 128
_SEED = 1


def shingles(text: str, size: int) -> frozenset[str]:
    """Character shingles of the folded text; a shorter text is one shingle."""
    plain = folded(text)
    return frozenset(plain[i : i + size] for i in range(max(1, len(plain) - size + 1)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


@cache
def _bands(threshold: float) -> tuple[int, int]:
    """Bands and rows that datasketch takes for a threshold; it integrates to find them, which takes a while."""
    from datasketch import MinHashLSH

    lsh = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    return int(lsh.b), int(lsh.r)


@cache
def _empty() -> Any:
    """To be copied: permutations drawn anew for every text took half of the time."""
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=_SEED)


class NeighbourIndex:
    """Shingle sets that can be asked for near neighbours.

    MinHash with LSH (Broder 1997; `datasketch`) proposes, the exact Jaccard index decides. LSH is set below the
    threshold so that it misses few; what it misses is not found.
    """

    def __init__(self, threshold: float, size: int) -> None:
        from datasketch import MinHashLSH

        self._threshold, self._size = threshold, size
        self._sets: dict[str, frozenset[str]] = {}
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(max(0.1, threshold - 0.2)))

    def signed(self, text: str) -> Signed:
        """A text as the index compares it."""
        found = shingles(text, self._size)
        minhash = _empty().copy()
        minhash.update_batch([s.encode("utf-8", "surrogatepass") for s in sorted(found)])
        return found, minhash

    def nearest(self, signed: Signed) -> float:
        """The Jaccard index with the nearest neighbour at the threshold or over it; 0 where there is none."""
        own, minhash = signed
        found = (jaccard(own, self._sets[key]) for key in self._lsh.query(minhash))
        return max((index for index in found if index >= self._threshold), default=0.0)

    def add(self, key: str, signed: Signed) -> None:
        self._sets[key], minhash = signed
        self._lsh.insert(key, minhash)


def near_duplicates(texts: Iterable[tuple[str, str]], policy: NearDuplicatePolicy) -> Mapping[str, float]:
    """The (id, text) that are near an earlier one which stays, with the Jaccard index. Texts without a word are left alone.

    Args:
        texts: sorted by id, so that the lowest stays and the result depends on no other order.
    """
    index = NeighbourIndex(policy.threshold, policy.shingle)
    found = {}
    for name, text in texts:
        if not folded(text):
            continue
        signed = index.signed(text)
        if near := index.nearest(signed):
            found[name] = near
        else:
            index.add(name, signed)
    return found


def too_alike(answers: Iterable[tuple[Hashable, int, str, str]], policy: DiversityPolicy) -> Mapping[str, str]:
    """Answers that add nothing to those of the same prompt that are kept: id to ``too_alike`` or ``surplus``.

    Greedy, the lowest sample first: an answer is kept while fewer than ``keep`` are and none of them is as similar as the
    threshold. A prompt has few answers, so the exact Jaccard index is taken of each pair, without MinHash.

    Args:
        answers: (prompt, sample, id, text), in any order.
    """
    kept: dict[Hashable, list[frozenset[str]]] = {}
    found = {}
    for prompt, _, name, text in sorted(answers, key=lambda a: (a[1], a[2])):
        own, others = shingles(text, policy.shingle), kept.setdefault(prompt, [])
        if any(jaccard(own, other) >= policy.threshold for other in others):
            found[name] = "too_alike"
        elif len(others) >= policy.keep:
            found[name] = "surplus"
        else:
            others.append(own)
    return found
