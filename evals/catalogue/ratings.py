"""What blinded raters think of an answer."""

from __future__ import annotations

from evals.catalogue.metric import MEAN, Metric

__all__ = ["HELPFULNESS", "METRICS", "RATING_PREFIX"]

HELPFULNESS = "helpfulness"
RATING_PREFIX = "rating."

METRICS: tuple[Metric, ...] = (
    Metric(
        name=HELPFULNESS,
        kind="mean",
        direction="higher",
        range=(1.0, 5.0),
        estimand="mean over items of the item's mean rating by blinded raters",
        unit="points",
        min_n=30,
        methods=MEAN,
        why="What people think of the answer, which no score above sees.",
        score=HELPFULNESS,
    ),
    Metric(
        name="rater_agreement",
        kind="agreement",
        direction="higher",
        range=(-1.0, 1.0),
        estimand="Krippendorff's alpha with interval distance, over answers rated by at least two raters",
        unit="alpha",
        min_n=20,
        methods={"level": ("alpha_bootstrap",), "difference": ()},
        why="Ratings on which raters do not agree measure the raters.",
    ),
)
