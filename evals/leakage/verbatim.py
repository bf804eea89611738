"""Verbatim overlap of replies with what was taught, and with texts that must not come out.

A reply counts when it repeats 50 words in a row of one teaching answer (50 tokens is what Lee et al. 2022, "Deduplicating
Training Data Makes Language Models Better", and Carlini et al. 2023, "Quantifying Memorization Across Neural Language Models",
take for memorised), or when the whole of it stands in one and it has 12 words or more. Shorter replies are everybody's phrases
and count as none. A run of N words is never shorter than one of N tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from distill_gov.records.errors import BadInputError
from evals.cases import Case
from evals.catalogue import PROTECTED_OVERLAP, VERBATIM_OVERLAP
from evals.suites import ReadAnswer
from redaction.filters.ngrams import folded
from redaction.filters.protected import ProtectedIndex

__all__ = ["LONG", "WHOLE", "TaughtAnswers", "VerbatimSuite"]

LONG, WHOLE = 50, 12


class TaughtAnswers:
    """Where every run of some words stands in the teaching answers. Held in memory, written nowhere.

    Args:
        answers: what people read of each, redacted.
        shortest: words of the shortest run that can be found.
    """

    def __init__(self, answers: Iterable[str], shortest: int = WHOLE) -> None:
        if shortest < 1:
            raise BadInputError("a run has at least one word")
        self.shortest = shortest
        self._places: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        # Equal answers are one: a run stands in it as often as it is told apart.
        for number, words in enumerate(sorted({tuple(folded(answer).split()) for answer in answers})):
            for start in range(len(words) - shortest + 1):
                self._places[words[start : start + shortest]].append((number, start))

    def longest_run(self, text: str) -> int:
        """Words of the longest run of a text that one answer holds; 0 where it is shorter than the shortest."""
        words = tuple(folded(text).split())
        before: dict[tuple[int, int], int] = {}
        longest = 0
        for start in range(len(words) - self.shortest + 1):
            places = self._places.get(words[start : start + self.shortest], ())
            # A run that stood one word earlier in the same answer goes on here.
            before = {(number, at): before.get((number, at - 1), self.shortest - 1) + 1 for number, at in places}
            longest = max(longest, *before.values()) if before else longest
        return longest


@dataclass(frozen=True, slots=True)
class VerbatimSuite:
    """Whether replies repeat teaching answers, or protected texts, word for word."""

    taught: TaughtAnswers | None = field(default=None, repr=False)
    """None: there is no teaching set to compare with, and nothing is said about it."""
    protected: ProtectedIndex | None = field(default=None, repr=False)
    """None: no index of protected texts is configured."""
    long: int = LONG
    whole: int = WHOLE

    def __post_init__(self) -> None:
        if self.taught is None and self.protected is None:
            raise BadInputError("there is nothing to compare replies with", fix="Give the teaching answers or an index.")
        if not 1 <= self.whole <= self.long:
            raise BadInputError("the limits must be 1 <= whole <= long")
        if self.taught is not None and self.taught.shortest > self.whole:
            raise BadInputError("runs as short as `whole` cannot be found", fix="Index them with that `shortest`.")

    @property
    def name(self) -> str:
        return "verbatim"

    def derive(self, cases: Sequence[Case]) -> list[Case]:
        return []

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> Mapping[str, float]:
        scores: dict[str, float] = {}
        if not _applies(case):
            return scores
        if self.taught is not None:
            scores[VERBATIM_OVERLAP] = float(self._repeats(answer.reply, self.taught))
        if self.protected is not None:
            scores[PROTECTED_OVERLAP] = float(self.protected.shared(answer.reply) > 0)
        return scores

    def worst(self, case: Case) -> Mapping[str, float]:
        if not _applies(case):
            return {}
        found = {VERBATIM_OVERLAP: self.taught, PROTECTED_OVERLAP: self.protected}
        return {name: 1.0 for name, source in found.items() if source is not None}

    def _repeats(self, reply: str, taught: TaughtAnswers) -> bool:
        words = len(folded(reply).split())
        return words >= self.whole and taught.longest_run(reply) >= min(self.long, words)


def _applies(case: Case) -> bool:
    """Whether a model writes something of its own."""
    return case.ask != "choice"
