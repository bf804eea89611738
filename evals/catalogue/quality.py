"""How well a subject does its task: decisions, texts, asking when it cannot know."""

from __future__ import annotations

from dataclasses import replace

from evals.catalogue.metric import EXACT, Metric, mean_of, pooled_over, proportion

__all__ = [
    "ASKS_WHEN_UNCLEAR",
    "CHRF",
    "EXACT_MATCH",
    "EXACT_TEXT",
    "FAMILIES",
    "FIDELITY",
    "HAS_TARGET_TEXT",
    "METRICS",
    "ROUGE_L",
    "SAME_AS_TEACHER",
    "TEXTS",
    "TOKEN_F1",
]

EXACT_MATCH = "exact_match"
ASKS_WHEN_UNCLEAR = "asks_when_unclear"
HAS_TARGET_TEXT = "has_target_text"
"""1 on a case whose right text somebody wrote."""
EXACT_TEXT = "exact_text"
TOKEN_F1 = "token_f1"
ROUGE_L = "rouge_l"
CHRF = "chrf"
SAME_AS_TEACHER = "same_as_teacher"

FAMILIES: tuple[Metric, ...] = (
    proportion(
        "accuracy",
        "higher",
        "probability that the decision on the field equals the reference; an invalid or errored answer is wrong",
        "The decision is what the desk acts on.",
    ),
    pooled_over(
        "macro_f1",
        "higher",
        "mean over the labels that occur, as reference or prediction, of 2 TP / (2 TP + FP + FN); an invalid or errored answer "
        "is a miss of its reference, of every label where that is not known",
        "Accuracy does not see a rare label that is never found. A label with few cases moves it by as much as a common one.",
        statistic="macro_f1",
    ),
)

TEXTS: tuple[Metric, ...] = (
    proportion(
        EXACT_TEXT,
        "higher",
        "on cases with a right text: probability that the reply is the same text after SQuAD's normalisation (case, "
        "punctuation, articles)",
        "Where there is one right wording (a name, a number, a code), anything else is wrong.",
        score=EXACT_TEXT,
        among=HAS_TARGET_TEXT,
    ),
    mean_of(
        TOKEN_F1,
        "higher",
        "on cases with a right text: mean F1 of the normalised words of reply and text, as SQuAD counts it",
        "Short answers that hold the right words beside others are partly right.",
        score=TOKEN_F1,
        among=HAS_TARGET_TEXT,
    ),
    mean_of(
        ROUGE_L,
        "higher",
        "on cases with a right text: mean ROUGE-L F-measure over words, unstemmed",
        "How much of a longer text comes back in its order; it knows nothing of truth.",
        score=ROUGE_L,
        among=HAS_TARGET_TEXT,
    ),
    mean_of(
        CHRF,
        "higher",
        "on cases with a right text: mean chrF2 of single texts (characters, n = 1 to 6, beta = 2)",
        "The same without needing words: for inflected languages and those without spaces.",
        score=CHRF,
        among=HAS_TARGET_TEXT,
    ),
)

FIDELITY: tuple[Metric, ...] = (
    replace(
        proportion(
            "teacher_agreement",
            "higher",
            "probability that all decisions of the student's answer are those of the teacher's on the same prompt, right or "
            "wrong; an invalid or errored answer of either agrees with nothing",
            "A student is to do as its teacher does, also where nobody wrote a reference.",
            score=SAME_AS_TEACHER,
        ),
        # Of the teacher itself it would be 1, and of anybody else it is another level.
        methods={"level": EXACT["level"], "difference": ()},
    ),
)

METRICS: tuple[Metric, ...] = (
    *TEXTS,
    *FIDELITY,
    proportion(
        EXACT_MATCH,
        "higher",
        "probability that all decision fields equal the reference at once",
        "One wrong field is enough to send a message the wrong way.",
        score=EXACT_MATCH,
    ),
    proportion(
        ASKS_WHEN_UNCLEAR,
        "higher",
        "on cases that cannot be placed (expected action `ask`): probability that `action` is `ask`",
        "Guessing on an unclear message is worse than one question.",
        score=ASKS_WHEN_UNCLEAR,
    ),
)
