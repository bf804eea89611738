"""Whether an answer holds only what its input and context hold, and asks only where it must."""

from __future__ import annotations

from evals.catalogue.metric import Metric, mean_of, proportion

__all__ = ["METRICS", "NEEDLESS_ASKING", "UNGROUNDED", "UNSUPPORTED_CLAIMS"]

UNGROUNDED = "ungrounded"
UNSUPPORTED_CLAIMS = "unsupported_claims"
NEEDLESS_ASKING = "needless_asking"

METRICS: tuple[Metric, ...] = (
    proportion(
        "ungrounded_rate",
        "lower",
        "probability that `reply` holds a number, date, time, code, address, placeholder or name that neither the case's "
        "messages nor the stated context hold, as patterns and the detector find them; a reply without a word counts",
        "An invented amount, date or name reads like a promise of the desk.",
        score=UNGROUNDED,
        min_n=59,
    ),
    mean_of(
        "unsupported_claim_share",
        "lower",
        "mean over replies of the share of statements under half of whose content words stand in the case's messages or the "
        "stated context: lexical support, no entailment; a reply without a word counts 1",
        "A rise over the teacher's share shows replies that drift from what was asked.",
        score=UNSUPPORTED_CLAIMS,
        min_n=59,
    ),
    proportion(
        NEEDLESS_ASKING,
        "lower",
        "on cases that can be placed (expected action other than `ask`): probability that `action` is `ask`",
        "A model that asks back on everything never guesses wrong, and helps nobody.",
        score=NEEDLESS_ASKING,
        min_n=59,
    ),
)
