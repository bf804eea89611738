"""Answers that are drawn: each token by its share of what the grammar allows, at a temperature."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
import torch

from evals.grammar import GrammarState
from evals.models.decoding import Draw, GrammarWriter, WriterSettings

END = 0
LOGITS = torch.tensor([1.0, 9.0, 2.0, 0.5, -40.0])
ALLOWED = np.array([False, False, True, True, True])


class Open:
    """A grammar that always allows the same tokens and forces none."""

    def mask(self) -> Any:
        return ALLOWED

    def forced(self) -> list[int]:
        return []

    def accept(self, token: int) -> None:
        assert ALLOWED[token]


def tokens(temperature: float, seed: str, count: int) -> tuple[int, ...]:
    settings = WriterSettings(end=END, max_tokens=count, decode=str, temperature={})
    writer = GrammarWriter(settings, cast(GrammarState, Open()), draw=Draw(temperature, seed))
    while not writer.finished:
        assert len(writer.settle(1, LOGITS)) == 1
    return writer.answer().token_ids


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_tokens_are_drawn_by_their_share(temperature: float) -> None:
    count = 4000
    found = Counter(tokens(temperature, "one", count))
    wanted = torch.softmax(LOGITS[2:] / temperature, 0).tolist()
    for token, share in zip((2, 3, 4), wanted, strict=True):
        # Five standard errors; the seed is fixed, so that this holds always or never.
        assert abs(found[token] / count - share) <= 5 * (share * (1 - share) / count) ** 0.5
    assert set(found) <= {2, 3, 4}, "what is likeliest of all is not allowed"


def test_a_seed_is_an_answer() -> None:
    assert tokens(1.0, "one", 50) == tokens(1.0, "one", 50)
    assert tokens(1.0, "one", 50) != tokens(1.0, "other", 50)
