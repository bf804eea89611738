"""Whether a confidence means what it says."""

from __future__ import annotations

from evals.catalogue.metric import BOOTSTRAP, Metric

__all__ = ["CALIBRATION_BINS", "FAMILIES", "METRICS"]

CALIBRATION_BINS = 5

FAMILIES: tuple[Metric, ...] = (
    Metric(
        name="calibration_error",
        kind="calibration_error",
        direction="lower",
        range=(0.0, 1.0),
        estimand=(
            "mean over equal-mass bins of |mean confidence in the predicted label - accuracy|, debiased; confidence is the "
            "label's probability along its trie; an invalid or errored answer is wrong with confidence 1"
        ),
        unit="share",
        min_n=200,
        methods=BOOTSTRAP,
        why="A confidence that routes work to people must mean what it says.",
    ),
    Metric(
        name="confidence_gap",
        kind="confidence_gap",
        direction="lower",
        range=(0.0, 1.0),
        estimand="|mean confidence in the predicted label - accuracy|; an invalid answer is wrong with confidence 1",
        unit="share",
        min_n=30,
        methods=BOOTSTRAP,
        why="Over- and underconfidence as a whole, which needs far fewer cases than the error by bins.",
    ),
)

METRICS: tuple[Metric, ...] = ()
