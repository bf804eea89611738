"""Texts against a right text: exact, by tokens, by longest common subsequence, by character n-grams.

Every score lies in [0, 1] and is of one text: what is reported is their mean over cases, so that it has an interval by case.
Corpus scores, which pool counts over all texts (sacreBLEU's corpus chrF), are other numbers. Where the right text holds nothing
that a score counts, the score is 1 for an answer that holds nothing either, else 0, as SQuAD 2.0 counts unanswerable questions.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.cases import Case
from evals.catalogue import CHRF, EXACT_TEXT, HAS_TARGET_TEXT, ROUGE_L, TOKEN_F1
from evals.suites import ReadAnswer

__all__ = ["TextSuite", "chrf", "exact_text", "normalised", "rouge_l", "text_scores", "token_f1"]

CHRF_ORDER = 6
CHRF_BETA = 2

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WORD = re.compile(r"[^\W_]+")


def normalised(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single spaces: SQuAD's normalisation.

    Rajpurkar et al. (2016), "SQuAD", evaluation script 1.1 and 2.0.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_text(prediction: str, target: str) -> float:
    """1 where both texts are the same after :func:`normalised`, else 0."""
    return float(normalised(prediction) == normalised(target))


def token_f1(prediction: str, target: str) -> float:
    """F1 of the bags of normalised words. Rajpurkar et al. (2016), section 6.1."""
    given, wanted = normalised(prediction).split(), normalised(target).split()
    if not wanted:
        return float(not given)
    return _f_measure(_common(given, wanted), len(given), len(wanted))


def rouge_l(prediction: str, target: str) -> float:
    """ROUGE-L, F-measure with beta = 1 over words. Lin (2004), "ROUGE", section 3.1, equations 2 to 4.

    Words are runs of letters and digits of any script, in lower case and unstemmed. Of ASCII text they are those of Google's
    rouge-score, which sees nothing else. Scripts without spaces make one word of a clause: read chrF there.
    """
    given, wanted = _WORD.findall(prediction.lower()), _WORD.findall(target.lower())
    if not wanted:
        return float(not given)
    return _f_measure(_common_subsequence(given, wanted), len(given), len(wanted))


def chrf(prediction: str, target: str) -> float:
    """chrF2: F-measure with beta = 2 of mean character n-gram precision and recall, n = 1 to 6, white space left out.

    Popovic (2015), "chrF", section 2, and Popovic (2017) for beta. As in sacreBLEU, orders that one of the texts is too short
    for do not count.
    """
    given, wanted = "".join(prediction.split()), "".join(target.split())
    if not wanted:
        return float(not given)
    shares = []
    for n in range(1, min(CHRF_ORDER, len(given), len(wanted)) + 1):
        ours, theirs = ([text[i : i + n] for i in range(len(text) - n + 1)] for text in (given, wanted))
        same = _common(ours, theirs)
        shares.append((same / len(ours), same / len(theirs)))
    precision, recall = (sum(column) / len(shares) for column in zip(*shares, strict=True)) if shares else (0.0, 0.0)
    weight = CHRF_BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall) if precision + recall > 0 else 0.0


def text_scores(prediction: str, target: str) -> dict[str, float]:
    """All scores of one text, by their names in the catalogue."""
    return {
        EXACT_TEXT: exact_text(prediction, target),
        TOKEN_F1: token_f1(prediction, target),
        ROUGE_L: rouge_l(prediction, target),
        CHRF: chrf(prediction, target),
    }


@dataclass(frozen=True, slots=True)
class TextSuite:
    """Scores what a person reads against the case's ``target``.

    Cases without a target do not count, nor do those whose target is one of ``choices``: a choice is weighed, not written. An
    answer that is not valid under its schema matches nothing.
    """

    name: str = "texts"

    def derive(self, cases: Sequence[Case]) -> Sequence[Case]:
        return ()

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> Mapping[str, float]:
        if not answer.valid or not _written(case):
            return self.worst(case)
        return {HAS_TARGET_TEXT: 1.0, **text_scores(answer.reply, case.target or "")}

    def worst(self, case: Case) -> Mapping[str, float]:
        if not _written(case):
            return {HAS_TARGET_TEXT: 0.0}
        return {HAS_TARGET_TEXT: 1.0, EXACT_TEXT: 0.0, TOKEN_F1: 0.0, ROUGE_L: 0.0, CHRF: 0.0}


def _written(case: Case) -> bool:
    return case.target is not None and case.ask != "choice"


def _common(given: Iterable[str], wanted: Iterable[str]) -> int:
    """Size of the intersection of two bags."""
    return (Counter(given) & Counter(wanted)).total()


def _f_measure(common: int, given: int, wanted: int) -> float:
    """Harmonic mean of common/given and common/wanted."""
    return 2 * common / (given + wanted) if common else 0.0


def _common_subsequence(given: Sequence[str], wanted: Sequence[str]) -> int:
    """Length of the longest common subsequence: one column of the table a step, as the bits of an integer.

    Crochemore et al. (2001), "A fast and practical bit-vector algorithm for the longest common subsequence problem".
    """
    places: dict[str, int] = {}
    for i, word in enumerate(wanted):
        places[word] = places.get(word, 0) | 1 << i
    whole = (1 << len(wanted)) - 1
    column = whole
    for word in given:
        hits = column & places.get(word, 0)
        column = ((column + hits) | (column - hits)) & whole
    return len(wanted) - column.bit_count()
