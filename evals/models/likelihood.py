"""Log-likelihoods of given continuations, many to a context.

A context is read once, whatever the number of its continuations; a prefix that all contexts share is read once for all; the
output head sees the positions of the continuations and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from evals.models.attention import SharedPrefix, encode_prefix
from evals.models.batch import Batch

__all__ = ["common_start", "log_likelihoods", "sharing_prefix"]

WORTH_SHARING = 16
"""Tokens that rows must have in common for these to be read apart."""
ROWS = 64
"""Continuations that are run together."""
POSITIONS = 256
"""Positions whose logits over the whole vocabulary are held at once."""

Tokens = Sequence[int]


def common_start(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with, so that at least one is left of each."""
    if len(rows) < 2:
        return 0
    first, last = min(rows), max(rows)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return max(0, min(same, min(map(len, rows)) - 1))


def sharing_prefix(model: torch.nn.Module, rows: Sequence[Tokens]) -> tuple[SharedPrefix | None, list[list[int]]]:
    """The prefix that rows have in common, encoded, and what is left of each; None where it is not worth it."""
    same = common_start([list(row) for row in rows])
    if same < WORTH_SHARING:
        return None, [list(row) for row in rows]
    return encode_prefix(model, list(rows[0][:same])), [list(row[same:]) for row in rows]  # type: ignore[arg-type]


def log_likelihoods(
    start: Callable[[SharedPrefix | None], Batch], requests: Sequence[tuple[Tokens, Sequence[Tokens]]]
) -> list[list[float]]:
    """Sum of the log-probabilities of each continuation's tokens, for each request's context and continuations.

    Args:
        start: makes an empty batch behind a prefix.
        requests: contexts of one token or more, each with continuations of one token or more.

    Returns:
        For each request one sum a continuation, natural logarithm.
    """
    found: list[list[float]] = [[0.0] * len(options) for _, options in requests]
    if not requests:
        return found
    with torch.inference_mode():
        shared, left = sharing_prefix(start(None).model, [context for context, _ in requests])
        batch = start(shared)
        last = batch.states(left, keep=1)[:, -1]
        firsts = [(i, j, option[0]) for i, (_, options) in enumerate(requests) for j, option in enumerate(options)]
        _add(found, batch, last[[i for i, _, _ in firsts]], firsts)
        longer = [(i, j) for i, (_, options) in enumerate(requests) for j, option in enumerate(options) if len(option) > 1]
        longer.sort(key=lambda spot: len(requests[spot[0]][1][spot[1]]))
        for some in _cut(longer, ROWS):
            _rest(found, batch.repeated([i for i, _ in some]), some, [requests[i][1][j] for i, j in some])
    return found


def _rest(found: list[list[float]], batch: Batch, spots: Sequence[tuple[int, int]], options: Sequence[Tokens]) -> None:
    """Everything of the options but their first tokens."""
    width = max(map(len, options)) - 1
    states = batch.states([option[:-1] for option in options], keep=width)
    places = [(row, back) for row, option in enumerate(options) for back in range(1, len(option))]
    for some in _cut(places, POSITIONS):
        wanted = [(*spots[row], options[row][-back]) for row, back in some]
        _add(found, batch, states[[row for row, _ in some], [-back for _, back in some]], wanted)


def _add(found: list[list[float]], batch: Batch, states: torch.Tensor, wanted: Sequence[tuple[int, int, int]]) -> None:
    """Add the log-probability of a token at each state (positions, width) to its request's continuation."""
    for start in range(0, len(wanted), POSITIONS):
        some = wanted[start : start + POSITIONS]
        logits = batch.logits(states[start : start + POSITIONS]).float()
        tokens = torch.tensor([token for _, _, token in some], device=logits.device)
        # Never above zero, which rounding alone could bring about.
        logp = (logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)).clamp_max(0.0)
        for (i, j, _), value in zip(some, logp.tolist(), strict=True):
            found[i][j] += value


def _cut(items: Sequence[tuple[int, int]], size: int) -> Iterator[Sequence[tuple[int, int]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
