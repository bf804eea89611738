"""Distillation objectives as pure functions. Each returns a sum over positions and a count; :func:`normalised` divides.

Shapes: ``logits`` (positions, vocabulary); ``ids`` and ``logp`` (positions, k), padded with ``-inf`` log-probabilities; label
scores (decisions, k), padded with ``-inf``; states (positions, width).
"""

from __future__ import annotations

from distill_gov.trainer.losses.calibration import DecisionQueue as DecisionQueue
from distill_gov.trainer.losses.calibration import brier as brier
from distill_gov.trainer.losses.calibration import confidence_penalty as confidence_penalty
from distill_gov.trainer.losses.calibration import decided as decided
from distill_gov.trainer.losses.calibration import label_binned_ece as label_binned_ece
from distill_gov.trainer.losses.calibration import mmce as mmce
from distill_gov.trainer.losses.calibration import mmce_weighted as mmce_weighted
from distill_gov.trainer.losses.calibration import sb_ece as sb_ece
from distill_gov.trainer.losses.contrastive import info_nce as info_nce
from distill_gov.trainer.losses.contrastive import pooled as pooled
from distill_gov.trainer.losses.divergence import dense_divergence as dense_divergence
from distill_gov.trainer.losses.divergence import draw_targets as draw_targets
from distill_gov.trainer.losses.divergence import sampled_divergence as sampled_divergence
from distill_gov.trainer.losses.divergence import shared_logits as shared_logits
from distill_gov.trainer.losses.divergence import sparse_divergence as sparse_divergence
from distill_gov.trainer.losses.grammar import format_penalty as format_penalty
from distill_gov.trainer.losses.grammar import structural_weights as structural_weights
from distill_gov.trainer.losses.hints import Projections as Projections
from distill_gov.trainer.losses.hints import hidden_cosine as hidden_cosine
from distill_gov.trainer.losses.hints import hidden_mse as hidden_mse
from distill_gov.trainer.losses.hints import layer_map as layer_map
from distill_gov.trainer.losses.likelihood import cross_entropy as cross_entropy
from distill_gov.trainer.losses.likelihood import unlikelihood as unlikelihood
from distill_gov.trainer.losses.term import Term as Term
from distill_gov.trainer.losses.term import normalised as normalised
