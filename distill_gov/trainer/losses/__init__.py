"""Distillation objectives as pure functions. Each returns a sum over positions and a count; :func:`normalised` divides.

Shapes: ``logits`` (positions, vocabulary); ``ids`` and ``logp`` (positions, k), padded with ``-inf`` log-probabilities.
"""

from __future__ import annotations

from distill_gov.trainer.losses.calibration import brier
from distill_gov.trainer.losses.divergence import (
    dense_divergence,
    draw_targets,
    sampled_divergence,
    shared_logits,
    soft_targets,
    sparse_divergence,
)
from distill_gov.trainer.losses.grammar import format_penalty
from distill_gov.trainer.losses.likelihood import cross_entropy
from distill_gov.trainer.losses.term import Term, normalised

__all__ = [
    "Term",
    "brier",
    "cross_entropy",
    "dense_divergence",
    "draw_targets",
    "format_penalty",
    "normalised",
    "sampled_divergence",
    "shared_logits",
    "soft_targets",
    "sparse_divergence",
]
