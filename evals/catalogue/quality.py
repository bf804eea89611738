"""How well a subject does its task: decisions, texts, asking when it cannot know."""

from __future__ import annotations

from evals.catalogue.metric import Metric, pooled_over, proportion

__all__ = ["ASKS_WHEN_UNCLEAR", "EXACT_MATCH", "FAMILIES", "METRICS"]

EXACT_MATCH = "exact_match"
ASKS_WHEN_UNCLEAR = "asks_when_unclear"

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

METRICS: tuple[Metric, ...] = (
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
