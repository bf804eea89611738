"""Filters of redacted prompts, before the teacher is paid: empty, injection, near the holdout, duplicates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from distill_gov.records.errors import DuplicateIdError
from redaction.filters.hits import Filter
from redaction.policy import NearDuplicatePolicy, NearHoldoutPolicy, RedactionPolicy

__all__ = ["PromptItem", "prompt_filters"]

_PERMUTATIONS = 128
_SEED = 1
_WORD = re.compile(r"<[A-Z_]+_[0-9]+>|\w+")


@dataclass(frozen=True, slots=True)
class PromptItem:
    """A redacted prompt."""

    id: str
    text: str


_INJECTION = re.compile(
    r"""\b(?:
        (?:ignore|disregard|forget|override|bypass)\s+(?:\w+\s+){0,3}(?:previous|prior|above|earlier
          |preceding|system|your)\s+(?:\w+\s+){0,2}
            (?:instructions?|prompts?|rules?|directions?|guidelines?|messages?)
      | (?:reveal|print|show|repeat|output|leak|tell\s+me)\s+(?:me\s+)?(?:your
        |the)\s+(?:\w+\s+){0,2}(?:system\s+prompt|hidden\s+prompt|initial\s+(?:prompt|instructions)
        |instructions\s+above)
      | you\s+are\s+now\s+(?:dan|in\s+developer\s+mode|an?\s+(?:unrestricted|unfiltered|jailbroken))
      | (?:enable|enter|activate)\s+(?:developer|dan|jailbreak|god)\s+mode
      | pretend\s+(?:that\s+)?you\s+(?:have\s+no|are\s+not\s+bound\s+by)\s+(?:\w+\s+)?(?:rules
        |restrictions|limits|guidelines|filters)
      | do\s+anything\s+now
      | new\s+(?:system\s+)?instructions?\s*:
    )"""
    r"|<\|(?:im_start|im_end|system|endoftext|assistant|user)\|>|\[/?INST\]|<</?SYS>>|^\s*\#{2,}\s*(?:system|instruction)s?\b",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_TAGS = re.compile("[\U000e0000-\U000e007f]")


def _folded(text: str) -> str:
    """Case, width, punctuation and spacing go; placeholders stay, without their numbers."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join(w.rsplit("_", 1)[0] + ">" if w.startswith("<") else w.casefold() for w in _WORD.findall(plain))


def _shingles(text: str, size: int) -> frozenset[str]:
    """Character shingles of the folded text; a shorter text is one shingle."""
    folded = _folded(text)
    return frozenset(folded[i : i + size] for i in range(max(1, len(folded) - size + 1)))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


class _Index:
    """Shingle sets that can be asked for near neighbours.

    MinHash with LSH (Broder 1997; `datasketch`) proposes, the exact Jaccard index decides. LSH is set below the
    threshold so that it misses few; what it misses is not found.
    """

    def __init__(self, threshold: float, size: int) -> None:
        from datasketch import MinHashLSH

        self._threshold, self._size = threshold, size
        self._sets: dict[str, frozenset[str]] = {}
        self._lsh = MinHashLSH(threshold=max(0.1, threshold - 0.2), num_perm=_PERMUTATIONS)

    def near(self, text: str) -> bool:
        shingles = _shingles(text, self._size)
        return any(_jaccard(shingles, self._sets[key]) >= self._threshold for key in self._lsh.query(self._hash(shingles)))

    def add(self, key: str, text: str) -> None:
        self._sets[key] = _shingles(text, self._size)
        self._lsh.insert(key, self._hash(self._sets[key]))

    @staticmethod
    def _hash(shingles: frozenset[str]) -> Any:
        from datasketch import MinHash

        minhash = MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        minhash.update_batch([s.encode("utf-8", "surrogatepass") for s in sorted(shingles)])
        return minhash


def _exact_duplicates(prompts: Sequence[PromptItem]) -> frozenset[str]:
    seen: set[str] = set()
    found = set()
    for item in prompts:
        folded = _folded(item.text) or item.text
        if folded in seen:
            found.add(item.id)
        seen.add(folded)
    return frozenset(found)


def _near_duplicates(prompts: Sequence[PromptItem], policy: NearDuplicatePolicy) -> frozenset[str]:
    index = _Index(policy.threshold, policy.shingle)
    found = set()
    for item in prompts:
        if not _folded(item.text):
            continue
        if index.near(item.text):
            found.add(item.id)
        else:
            index.add(item.id, item.text)
    return frozenset(found)


def _ngrams(text: str, n: int) -> set[tuple[str, ...]]:
    words = _folded(text).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def _near_holdout(holdout: Sequence[str], policy: NearHoldoutPolicy) -> Callable[[PromptItem], str | None]:
    runs = set().union(*(_ngrams(text, policy.ngram) for text in holdout))
    index = _Index(policy.threshold, policy.shingle)
    exact = {_folded(text) for text in holdout if _folded(text)}
    for number, folded in enumerate(sorted(exact)):
        index.add(str(number), folded)

    def reason(item: PromptItem) -> str | None:
        if _folded(item.text) in exact:
            return "same_as_holdout"
        if not runs.isdisjoint(_ngrams(item.text, policy.ngram)):
            return "shares_ngram"
        return "near_duplicate" if _folded(item.text) and index.near(item.text) else None

    return reason


def _injection(phrases: Collection[str]) -> Callable[[PromptItem], str | None]:
    wanted = tuple(_folded(p) for p in phrases)

    def reason(item: PromptItem) -> str | None:
        if _TAGS.search(item.text):
            return "invisible_tags"
        plain = "".join(c for c in unicodedata.normalize("NFKC", item.text) if unicodedata.category(c) != "Cf")
        folded = _folded(item.text)
        return "injection_phrase" if _INJECTION.search(plain) or any(p and p in folded for p in wanted) else None

    return reason


def prompt_filters(
    policy: RedactionPolicy, prompts: Iterable[PromptItem], holdout: Iterable[str]
) -> tuple[Filter[PromptItem], ...]:
    """The prompt filters of a policy, in the order in which they decide.

    Duplicates are a matter of the whole corpus: they are worked out here, over all prompts sorted by id, and the lowest
    id stays. So the result depends neither on order nor on which other filter drops what.

    Args:
        prompts: all redacted prompts of the run; ids are unique.
        holdout: the redacted prompts of the holdout.

    Raises:
        DuplicateIdError: two prompts carry one id.
    """
    wanted = policy.filters.prompts
    ordered = sorted(prompts, key=lambda item: item.id)
    for a, b in pairwise(ordered):
        if a.id == b.id:
            raise DuplicateIdError("two prompts carry one id", where=a.id)
    filters: list[Filter[PromptItem]] = []
    if wanted.empty:
        filters.append(Filter("prompt/empty", "1", lambda item: None if _folded(item.text) else "empty"))
    if wanted.injection:
        filters.append(Filter("prompt/injection", "1", _injection(wanted.injection_phrases)))
    if wanted.near_holdout is not None:
        filters.append(Filter("prompt/near_holdout", "1", _near_holdout(list(holdout), wanted.near_holdout)))
    if wanted.exact_duplicates:
        filters.append(_member("prompt/exact_duplicate", _exact_duplicates(ordered), "exact_duplicate"))
    if wanted.near_duplicates is not None:
        filters.append(_member("prompt/near_duplicate", _near_duplicates(ordered, wanted.near_duplicates), "near_duplicate"))
    return tuple(filters)


def _member(rule: str, ids: frozenset[str], code: str) -> Filter[PromptItem]:
    return Filter(rule, "1", lambda item: code if item.id in ids else None)
