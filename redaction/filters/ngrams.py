"""Texts made comparable: folded words, runs of words, and keyed hashes of such runs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from distill_gov.records.keys import Subkey

__all__ = ["PURPOSE", "folded", "hashed_ngrams", "hashed_runs", "ngrams", "runs", "shared_ngrams", "visible"]

PURPOSE = "contamination"
"""Of the subkey under which raw texts are compared: those of the build's prompts, of the teaching set and of the suites."""

_WORD = re.compile(r"<[A-Z_]+(?:_[0-9]+|:[a-f][0-9a-f]{15}|:enc:[\w:-]+)>|\w+")
_OWN = re.compile(r"(?:_[0-9]+|:.*)>$")
"""What tells one value's placeholder, hash or encrypted token from another's."""


def visible(text: str) -> str:
    """The text in compatibility form, without what cannot be seen."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")


def folded(text: str) -> str:
    """Case, width, punctuation and spacing go; placeholders, hashes and encrypted tokens stay as their entity."""
    words = _WORD.findall(visible(text))
    return " ".join(_OWN.sub(">", w) if w.startswith("<") else w.casefold() for w in words)


def ngrams(text: str, n: int) -> set[str]:
    """The runs of ``n`` folded words; none where the text is shorter."""
    words = folded(text).split()
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def runs(text: str, n: int) -> set[str]:
    """As :func:`ngrams`, but a shorter text is one run, all its words in order; none where it has no word."""
    return ngrams(text, n) or ({whole} if (whole := folded(text)) else set())


def hashed_ngrams(text: str, n: int, key: Subkey) -> set[int]:
    """Keyed 64-bit hashes of the runs of ``n`` folded words; comparable only under the same key."""
    return _hashed(ngrams(text, n), key)


def hashed_runs(text: str, n: int, key: Subkey) -> set[int]:
    """As :func:`hashed_ngrams`, of :func:`runs`."""
    return _hashed(runs(text, n), key)


def _hashed(found: Iterable[str], key: Subkey) -> set[int]:
    return {
        int.from_bytes(hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=8, key=key.secret).digest(), "big")
        for run in found
    }


def shared_ngrams(texts: Iterable[tuple[str, str]], holdout: Iterable[str], n: int, key: Subkey) -> Mapping[str, int]:
    """How many runs of words each text shares with a holdout, by id; those that share none are left out.

    For texts before redaction: only keyed hashes are held, in memory, and nothing of them is returned.

    Args:
        texts: (id, raw text).
    """
    runs: set[int] = set().union(*(hashed_ngrams(text, n, key) for text in holdout))
    return dict(_shared(texts, runs, n, key))


def _shared(texts: Iterable[tuple[str, str]], runs: set[int], n: int, key: Subkey) -> Iterator[tuple[str, int]]:
    for name, text in texts:
        if count := len(runs & hashed_ngrams(text, n, key)):
            yield name, count
