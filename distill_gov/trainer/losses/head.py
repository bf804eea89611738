"""Terms that read the head's logits (stand-in until the fused head is merged)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

__all__ = ["ConfidencePenalty", "CrossEntropy", "DenseDivergence", "GrammarMass", "HeadLoss", "HeadTerm", "SampledDivergence", "SparseDivergence", "Unlikelihood", "head_loss"]


@dataclass(frozen=True)
class CrossEntropy:
    rows: torch.Tensor
    tokens: torch.Tensor
    weights: torch.Tensor | None = None
    smoothing: float = 0.0


@dataclass(frozen=True)
class SparseDivergence:
    rows: torch.Tensor
    ids: torch.Tensor
    logp: torch.Tensor
    log_tail: torch.Tensor
    temperature: float
    kind: str = "forward_kl"
    beta: float = 0.0


@dataclass(frozen=True)
class SampledDivergence:
    rows: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    temperature: float


@dataclass(frozen=True)
class DenseDivergence:
    rows: torch.Tensor
    hidden: torch.Tensor
    weight: torch.Tensor
    temperature: float
    kind: str = "forward_kl"
    beta: float = 0.0


@dataclass(frozen=True)
class GrammarMass:
    rows: torch.Tensor
    index: torch.Tensor
    table: torch.Tensor


@dataclass(frozen=True)
class Unlikelihood:
    rows: torch.Tensor
    tokens: torch.Tensor


@dataclass(frozen=True)
class ConfidencePenalty:
    rows: torch.Tensor


HeadTerm = CrossEntropy | SparseDivergence | SampledDivergence | DenseDivergence | GrammarMass | Unlikelihood | ConfidencePenalty


@dataclass(frozen=True)
class HeadLoss:
    total: torch.Tensor
    sums: dict[str, torch.Tensor]


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, terms: Mapping[str, HeadTerm], factors: Mapping[str, float], *, chunk: int = 128, vocabulary: int | None = None) -> HeadLoss:
    from distill_gov.trainer.plain import plain_loss

    return plain_loss(torch.nn.functional.linear(hidden, weight, bias), terms, factors, vocabulary=vocabulary)
