"""What soft targets lose against the dense distribution is reported where it was measured."""

from __future__ import annotations

from typing import Any

from distill_gov.stages.datasheet import _soft_targets
from distill_gov.stages.targets import lost_by_keeping


def test_means_and_the_largest_are_told() -> None:
    scored: list[dict[str, Any]] = [
        {"positions": [{"lost": [1e-6, 0.25]}, {}, {"lost": [3e-6, 0.5]}]},
        {"positions": []},
        {"positions": [{"lost": [2e-6, 0.0]}]},
    ]
    facts = lost_by_keeping(scored)
    assert facts == {"measured": 3, "kl_to_dense": {"by_quantisation": 2e-6, "by_tail": 0.25, "largest": 0.5}}
    [told, _] = _soft_targets({"k": 32, "tokens": 90, "bytes": 9000, **facts})
    assert told == (
        "Soft targets: the 32 likeliest tokens of a position and the mass of the rest; 90 tokens in 9000 bytes. Against the "
        "teacher's whole distribution, on 3 positions: KL 0.25 nats by an even tail and 2e-06 by quantisation, in the mean; "
        "0.5 at most."
    )


def test_nothing_measured_claims_nothing() -> None:
    assert lost_by_keeping([{"positions": [{}]}]) == {"measured": 0}
    [told, _] = _soft_targets({"k": 32, "tokens": 9, "bytes": 900, "measured": 0})
    assert "KL" not in told
    assert _soft_targets({}) == []
