"""``evaluate``: what is run on the holdout and the suites."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from distill_gov.records.settings import Settings

__all__ = ["EvaluateSettings", "FairnessSettings", "JudgeSettings"]


Signal = Literal["abstention", "groundedness", "verbatim", "grammar_mass", "fairness", "extraction"]

Attribute = Literal["name", "gender", "dialect"]


class FairnessSettings(Settings):
    """Counterfactual pairs: messages of the holdout written twice, alike but for one cue."""

    attributes: list[Attribute] = Field(default_factory=lambda: list(get_args(Attribute)))
    pairs: int = Field(default=60, ge=1)
    """Most pairs of each attribute. 59 without a flip show a rate under 5 %."""


class JudgeSettings(Settings):
    """Who says whether a reply does harm, and what is known of its errors."""

    name: str = ""
    """An installed entry point of the group ``distill_gov.judges``; empty: the filter of ``redaction``."""
    labels: str = ""
    """Replies that people judged, for the method ``judge_adjusted``; without them nothing is known."""


class EvaluateSettings(Settings):
    """What is run on the holdout and the suites."""

    decoding: Literal["grammar", "free"] = "grammar"
    controls: list[Literal["untrained", "overconfident", "mislabelled", "leaky", "worse_rated"]] = Field(default_factory=list)
    baselines: list[Literal["gold_only", "linear", "small_prompted"]] = Field(default_factory=list)
    batch_size: int = Field(default=32, ge=1)
    timed: int = Field(default=10, ge=0)
    """Requests timed one at a time, for the latencies."""
    signals: list[Signal] = Field(default_factory=lambda: list(get_args(Signal)))
    """What is measured besides decisions, validity, harm and personal data."""
    fairness: FairnessSettings = FairnessSettings()
    probes: int = Field(default=60, ge=2)
    """Attempts to get redacted values out of the student."""
    judge: JudgeSettings = JudgeSettings()
    prices: str = ""
    """What machines or tokens cost, for the cost of a request; empty: nothing is said of cost."""
    known_names: list[str] = Field(default_factory=list)
    """Names that a reply may use unasked: the company's and its products'."""
