"""From settings and a batch to loss terms: which of them count, over how many positions, on which rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from distill_gov.settings import LossSettings, Schedule, Weight
from distill_gov.trainer.losses import head as fused

__all__ = ["TERMS", "Objective", "Selection", "weight_at"]

_NEEDS = {
    "soft_decisions": ("decided",),
    "hard_decisions": ("decided",),
    "soft_text": ("text",),
    "hard_text": ("text",),
    "calibration": ("decided",),
    "format": ("decided", "text", "forced"),
    "confidence_penalty": ("decided",),
    "rationale": ("rationale",),
    "unlikelihood": ("rejected",),
    "hints": (),
    "contrastive": (),
}
"""Groups of positions that a term reads logits of."""

TERMS = tuple(_NEEDS)
"""Every term that a weight can be given to, in the order in which they are logged."""


def weight_at(weight: Weight, progress: float) -> float:
    """A term's weight when this share of the stage's steps is done."""
    if not isinstance(weight, Schedule):
        return weight
    share = min(1.0, progress / weight.until)
    if weight.shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return weight.start + share * (weight.end - weight.start)


@dataclass(frozen=True, slots=True)
class Selection:
    """The positions of a batch that the head works on."""

    places: torch.Tensor
    """(row, position) pairs, shape (P, 2)."""
    rows: Mapping[str, torch.Tensor]
    """Of each group, its places in ``places``."""
    forced_tokens: torch.Tensor
    """Tokens of the forced positions that are taught at this step."""


@dataclass(frozen=True)
class Objective:
    """What a stage minimises.

    Args:
        table: grammar masks, shape (masks, vocabulary), bool.
        temperature: of the soft targets.
        forced_every: of the forced positions, one in so many is taught at a step; which of them, the step decides.
        online: soft targets come from a teacher that runs along, not from the cache.
        sampled: the cache holds tokens that were drawn from the teacher's distribution.
    """

    losses: LossSettings
    table: torch.Tensor
    temperature: float
    forced_every: int = 1
    online: bool = False
    sampled: bool = False

    def weight(self, name: str) -> Weight:
        found: Weight = getattr(self.losses, name)
        return found

    @property
    def ever(self) -> list[str]:
        """Terms that count at some time."""
        return [name for name in TERMS if not is_zero(self.weight(name))]

    def weights(self, progress: float) -> dict[str, float]:
        """Weights of the terms that count now."""
        found = {name: weight_at(self.weight(name), progress) for name in self.ever}
        return {name: weight for name, weight in found.items() if weight}

    def counts(self, found: Mapping[str, float], step: int) -> dict[str, float]:
        """Over what each term is a mean, from the counts of the batches of one optimiser step."""
        forced = found[f"forced_{self._residue(step)}"]
        return {
            "soft_decisions": found["decided"] if self.online else found["decided_soft"],
            "hard_decisions": found["decided_settled"],
            "soft_text": found["text"] if self.online else found["text_soft"],
            "hard_text": found["text"],
            "calibration": found["decided"],
            "format": self.losses.structure * forced + found["decided_masked"] + found["text_masked"],
            "confidence_penalty": found["decided"],
            "rationale": found["rationale"],
            "unlikelihood": found["rejected"],
            "hints": found["decided"] + found["text"] + found["forced"],
            "contrastive": found["answers"],
        }

    def _residue(self, step: int) -> int:
        # The step shifts which forced positions are taken, so that all of them come round.
        return -step % self.forced_every

    def select(self, batch: Mapping[str, Any], active: Mapping[str, float], step: int) -> Selection:
        """The positions that terms which count now read logits of."""
        needed = {group for name in active for group in _NEEDS[name]}
        parts: list[torch.Tensor] = []
        rows: dict[str, torch.Tensor] = {}
        start, forced_tokens = 0, batch["forced_tokens"]
        for group in ("decided", "text", "forced", "rationale", "rejected"):
            if group not in needed:
                continue
            places = batch[f"{group}_places"]
            if group == "forced" and self.forced_every > 1:
                taken = batch["forced_residues"] == self._residue(step)
                places, forced_tokens = places[taken], forced_tokens[taken]
            rows[group] = torch.arange(start, start + len(places), device=places.device)
            parts.append(places)
            start += len(places)
        places = torch.cat(parts) if parts else batch["decided_places"][:0]
        return Selection(places, rows, forced_tokens)

    def head_terms(
        self,
        batch: Mapping[str, Any],
        active: Mapping[str, float],
        selected: Selection,
        teacher: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> dict[str, fused.HeadTerm]:
        """The terms that read the head's logits. A name before a dot is the term that a part belongs to.

        Args:
            teacher: of a teacher that runs along, the hidden states that its head sees at ``selected`` and the head's weight.
        """
        rows, smooth = selected.rows, self.losses.label_smoothing
        found: dict[str, fused.HeadTerm] = {}
        if "soft_decisions" in active:
            found["soft_decisions"] = self._soft(batch, "decided", rows["decided"], teacher)
        if "soft_text" in active:
            found["soft_text"] = self._soft(batch, "text", rows["text"], teacher)
        if "hard_decisions" in active:
            at = batch["decided_settled"]
            found["hard_decisions"] = fused.CrossEntropy(rows["decided"][at], batch["decided_tokens"][at], smoothing=smooth)
        if "hard_text" in active:
            found["hard_text"] = fused.CrossEntropy(rows["text"], batch["text_tokens"], smoothing=smooth)
        if "format" in active:
            found |= self._format(batch, rows, selected.forced_tokens)
        if "rationale" in active:
            found["rationale"] = fused.CrossEntropy(rows["rationale"], batch["rationale_tokens"], smoothing=smooth)
        if "unlikelihood" in active:
            found["unlikelihood"] = fused.Unlikelihood(rows["rejected"], batch["rejected_tokens"])
        return {name: term for name, term in found.items() if len(term.rows)}

    def _soft(
        self,
        batch: Mapping[str, Any],
        group: str,
        rows: torch.Tensor,
        teacher: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> fused.HeadTerm:
        kind, beta, heat = self.losses.divergence, self.losses.beta, self.temperature
        if teacher is not None:
            return fused.DenseDivergence(rows, teacher[0][rows], teacher[1], heat, kind, beta)
        soft = batch[f"{group}_soft"]
        rows = rows[soft]
        ids, logp, tail = batch[f"{group}_ids"], batch[f"{group}_logp"], batch[f"{group}_tail"]
        if group == "decided":
            ids, logp, tail = ids[soft], logp[soft], tail[soft]
        # A decision's support is complete: nothing was drawn there.
        if self.sampled and group == "text":
            return fused.SampledDivergence(rows, ids, logp.exp(), heat)
        return fused.SparseDivergence(rows, ids, logp, tail, heat, kind, beta)

    def _format(
        self, batch: Mapping[str, Any], rows: Mapping[str, torch.Tensor], forced: torch.Tensor
    ) -> dict[str, fused.HeadTerm]:
        weight = self.losses.structure
        # Where one token is allowed, -log Z is that token's cross-entropy; no mask of the vocabulary is needed.
        weights = None if weight == 1.0 else torch.full((len(forced),), weight, device=forced.device)
        at = torch.cat([rows["decided"][batch["decided_masked"]], rows["text"][batch["text_masked"]]])
        index = torch.cat([batch["decided_masks"], batch["text_masks"]])
        return {
            "format": fused.GrammarMass(at, index, self.table),
            "format.forced": fused.CrossEntropy(rows["forced"], forced, weights=weights),
        }


def is_zero(weight: Weight) -> bool:
    """Whether a weight is 0 all along."""
    return not (weight.start or weight.end) if isinstance(weight, Schedule) else not weight
