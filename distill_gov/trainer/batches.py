"""Batches as tensors alone: what every loss term needs of its positions, reckoned once an example and laid end to end.

Rows are padded on the right and given no attention mask: under a causal mask no real token sees what stands behind it, so that
attention keeps its fast path (``is_causal``), and nothing is ever read at a padded position.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from distill_gov.records.errors import BadInputError, NothingLeftError
from distill_gov.teachers.soft_targets import SoftTargets
from distill_gov.trainer.examples import TrainingExample

__all__ = ["GROUPS", "Collator", "TeachingRows"]

GROUPS = ("decided", "text", "forced", "rationale", "rejected")
"""Answer positions by what can be learned there: where a label is chosen; every other choice; where the grammar leaves none; of
a rationale; the token with which a sample left the grammar."""

Row = dict[str, Any]
_INDEX = ("decided_soft", "decided_settled", "decided_masked", "text_masked", "text_soft")
"""Arrays that hold places within a group; they move by the group's length so far when rows are laid end to end."""
_SUPPORTS = {"decided": ("decided_ids", "decided_logp", "decided_aims"), "text": ("text_ids", "text_logp")}
_FILL = {"ids": 0, "logp": -np.inf, "aims": -1.0}


class TeachingRows(torch.utils.data.Dataset[Row]):
    """Examples as arrays, made once.

    Args:
        forced_every: in how many parts the forced positions are cut, one of which is taught at a step.

    Raises:
        NothingLeftError: no example, or none with a token to learn from.
        BadInputError: an example without a prompt: nothing would predict its first token.
    """

    def __init__(self, examples: Sequence[TrainingExample], *, forced_every: int = 1) -> None:
        if not examples:
            raise NothingLeftError("nothing to train on: the teaching set is empty")
        self.ids = [e.id for e in examples]
        self.forced_every = forced_every
        self._rows = [_row(e, forced_every) for e in examples]
        if not any(len(row[f"{group}_places"]) for row in self._rows for group in GROUPS):
            raise NothingLeftError("no supervised token in the teaching set", fix="Give the examples answers.")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]


def _row(e: TrainingExample, every: int) -> Row:
    if not e.prompt:
        raise BadInputError("an example without a prompt", where=f"example `{e.id}`", fix="Give it one token at least.")
    t = e.targets
    tokens = np.asarray(t.token_ids, np.int64)
    sizes = np.diff(t.starts)
    groups = _groups(e, sizes)
    row: Row = {"id": e.id, "input_ids": np.concatenate([np.asarray(e.prompt, np.int64), tokens])}
    for name, at in groups.items():
        # The position before a token predicts it.
        row[f"{name}_places"], row[f"{name}_tokens"] = len(e.prompt) + at - 1, tokens[at]
    decided, text, forced = groups["decided"], groups["text"], groups["forced"]
    masks = np.asarray(e.masks, np.int64)
    row["forced_residues"] = (forced + zlib.crc32(e.id.encode())) % every
    row["decided_settled"] = np.arange(len(decided) if e.truth else 0)
    for name, at in (("decided", decided), ("text", text)):
        row[f"{name}_masked"] = np.flatnonzero(masks[at] >= 0)
        row[f"{name}_masks"] = masks[at][masks[at] >= 0]
    row["decided_ids"], row["decided_logp"] = _supports(t, decided)
    row["decided_tail"] = np.asarray(t.log_tail)[decided]
    row["decided_labels"] = _places_of(row["decided_ids"], row["decided_logp"], tokens[decided])
    row["decided_aims"] = _aims(row, t.temperature, e.truth)
    # A distribution over labels that nobody scored is there for its labels; it says nothing of their probabilities.
    scored = bool(t.identity)
    row["decided_soft"] = np.arange(len(decided) if scored else 0)
    soft = np.flatnonzero((sizes[text] > 0) & scored)
    row["text_soft"] = soft
    row["text_ids"], row["text_logp"] = _supports(t, text[soft])
    row["text_tail"] = np.asarray(t.log_tail)[text[soft]]
    return row


def _groups(e: TrainingExample, sizes: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    n = e.targets.n
    free = np.ones(n, np.bool_)
    if e.kind == "answer":
        free = ~np.asarray(e.targets.forced)
    labelled = np.array([bool(f) for f in e.targets.field], np.bool_) & (sizes > 0)
    answer, last = e.kind == "answer", np.arange(n) == n - 1
    chosen = {
        "decided": free & labelled & answer,
        "text": free & ~labelled & answer,
        "forced": ~free,
        "rationale": free & (e.kind == "rationale"),
        "rejected": last & (e.kind == "rejected"),
    }
    return {name: np.flatnonzero(mask) for name, mask in chosen.items()}


def _supports(t: SoftTargets, at: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Supports of some positions, padded to the longest: ids with 0, log-probabilities with -inf."""
    sizes = np.diff(t.starts)[at]
    k = int(sizes.max(initial=0))
    there = np.arange(k) < sizes[:, None]
    source = (np.asarray(t.starts)[at][:, None] + np.arange(k))[there]
    ids, logp = np.zeros((len(at), k), np.int64), np.full((len(at), k), -np.inf, np.float32)
    ids[there], logp[there] = np.asarray(t.ids)[source], np.asarray(t.logp)[source]
    return ids, logp


def _places_of(ids: np.ndarray[Any, Any], logp: np.ndarray[Any, Any], tokens: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where the answer's own token stands in its support; -1 where it does not."""
    hits = (ids == tokens[:, None]) & np.isfinite(logp)
    return np.where(hits.any(1), hits.argmax(1), -1) if hits.size else np.full(len(tokens), -1, np.int64)


def _aims(row: Mapping[str, Any], temperature: float, truth: bool) -> np.ndarray[Any, Any]:
    """What each label's probability should be at temperature 1: the truth's, or the teacher's; -1 where there is no label."""
    logp = row["decided_logp"].astype(np.float64)
    there = np.isfinite(logp)
    if truth:
        aims = (np.arange(logp.shape[1]) == row["decided_labels"][:, None]).astype(np.float64)
    else:
        heated = np.where(there, logp * temperature, -np.inf)
        weights = np.exp(heated - heated.max(1, keepdims=True, initial=-1e30))
        aims = weights / np.maximum(weights.sum(1, keepdims=True), 1e-300)
    aimed: np.ndarray[Any, Any] = np.where(there, aims, -1.0).astype(np.float32)
    return aimed


class Collator:
    """Rows to a batch. Every key is a tensor but ``ids`` (the records' names, for errors) and ``counts`` (positions, on the
    host: reading them off the device would make it wait)."""

    def __init__(self, pad: int, *, forced_every: int = 1) -> None:
        self.pad, self.forced_every = pad, forced_every

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        width = max(len(row["input_ids"]) for row in rows)
        ids = np.full((len(rows), width), self.pad, np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row["input_ids"])] = row["input_ids"]
        batch: dict[str, np.ndarray[Any, Any]] = {"input_ids": ids}
        for group in GROUPS:
            columns = np.concatenate([row[f"{group}_places"] for row in rows])
            numbers = np.repeat(np.arange(len(rows)), [len(row[f"{group}_places"]) for row in rows])
            batch[f"{group}_places"] = np.stack([numbers, columns], 1).astype(np.int64)
            batch[f"{group}_tokens"] = np.concatenate([row[f"{group}_tokens"] for row in rows])
        for name in _INDEX:
            lengths = [len(row[f"{name.partition('_')[0]}_places"]) for row in rows]
            starts = np.cumsum([0, *lengths[:-1]])
            batch[name] = np.concatenate([row[name] + start for row, start in zip(rows, starts, strict=True)])
        for name in ("forced_residues", "decided_masks", "text_masks", "decided_tail", "text_tail", "decided_labels"):
            batch[name] = np.concatenate([row[name] for row in rows])
        for names in _SUPPORTS.values():
            for name in names:
                batch[name] = _stacked([row[name] for row in rows], _FILL[name.rpartition("_")[2]])
        # Which answer each of the decided, text and forced positions is of, counted among the rows that are answers.
        of = np.concatenate([batch[f"{group}_places"][:, 0] for group in GROUPS[:3]])
        answers, batch["answer_of"] = np.unique(of, return_inverse=True)
        return {
            **{name: torch.from_numpy(array) for name, array in batch.items()},
            "ids": [row["id"] for row in rows],
            "counts": {**self._counts(batch), "answers": float(len(answers))},
        }

    def _counts(self, batch: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        found = {group: float(len(batch[f"{group}_places"])) for group in GROUPS}
        found |= {name: float(len(batch[name])) for name in _INDEX}
        residues = np.bincount(batch["forced_residues"], minlength=self.forced_every)
        found |= {f"forced_{r}": float(n) for r, n in enumerate(residues)}
        return found


def _stacked(parts: Sequence[np.ndarray[Any, Any]], fill: float) -> np.ndarray[Any, Any]:
    """Tables of several widths, one under the other."""
    width = max(part.shape[1] for part in parts)
    found = np.full((sum(len(part) for part in parts), width), fill, parts[0].dtype)
    start = 0
    for part in parts:
        found[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return found
