"""Attention over a shared prefix against the plain forward pass of the same model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.models.attention import NAME, encode_prefix
from evals.models.local import Batch
from tests.tiny import build_model

MODEL = build_model(3, layers=3)
PLAIN = build_model(3, layers=3)
MODEL.set_attn_implementation(NAME)
PLAIN.set_attn_implementation("eager")
VOCABULARY = MODEL.config.vocab_size


def ids(length: int, seed: int) -> list[int]:
    return torch.randint(3, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def plain(tokens: Sequence[int]) -> torch.Tensor:
    with torch.inference_mode():
        return PLAIN(input_ids=torch.tensor([list(tokens)])).logits[0]


@pytest.mark.parametrize("prefix", [1, 2, 17, 90])
@pytest.mark.parametrize("lengths", [(1,), (5,), (4, 9, 1), (30, 2, 2, 11)])
def test_equals_the_full_forward_pass(prefix: int, lengths: tuple[int, ...]) -> None:
    before = ids(prefix, 1)
    rows = [ids(n, 10 + i) for i, n in enumerate(lengths)]
    keep = max(lengths)
    with torch.inference_mode():
        got = Batch(MODEL, encode_prefix(MODEL, before), 0).feed(rows, keep=keep)
    for row, logits in zip(rows, got, strict=True):
        torch.testing.assert_close(logits[keep - len(row) :], plain(before + row)[prefix:], atol=1e-4, rtol=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 12), st.lists(st.lists(st.integers(1, 6), min_size=3, max_size=3), min_size=2, max_size=4), st.data())
def test_several_ragged_steps_and_rows_that_leave(prefix: int, steps: list[list[int]], data: st.DataObject) -> None:
    """Rows grow by runs of different lengths, leave early, and still see exactly their own text."""
    before = ids(prefix, 2)
    batch = Batch(MODEL, encode_prefix(MODEL, before) if before else None, 0)
    texts: list[list[int]] = [[] for _ in steps[0]]
    for number, lengths in enumerate(steps):
        rows = [ids(lengths[i], 100 * number + i) for i in range(len(texts))]
        texts = [text + row for text, row in zip(texts, rows, strict=True)]
        with torch.inference_mode():
            got = batch.feed(rows, keep=1)[:, -1]
        for text, logits in zip(texts, got, strict=True):
            torch.testing.assert_close(logits, plain(before + text)[-1], atol=1e-4, rtol=1e-4)
        stay = data.draw(st.lists(st.sampled_from(range(len(texts))), min_size=1, unique=True).map(sorted))
        batch.keep_rows(stay)
        texts = [texts[i] for i in stay]


def test_the_prefix_matters() -> None:
    row = ids(6, 4)
    with torch.inference_mode():
        one, other = (Batch(MODEL, encode_prefix(MODEL, ids(9, s)), 0).feed([row], keep=1) for s in (5, 6))
    assert not torch.allclose(one, other, atol=1e-3)


def test_grouped_keys_are_not_copied() -> None:
    shared = encode_prefix(MODEL, ids(7, 1))
    assert len(shared.keys) == len(shared.values) == 3
    assert {tuple(t.shape) for t in (*shared.keys, *shared.values)} == {(2, 7, 8)}


def test_padding_leaves_no_nan() -> None:
    """A padded query sees nothing of its own; its output must stay finite or it would poison the cache."""
    with torch.inference_mode():
        got = Batch(MODEL, encode_prefix(MODEL, ids(3, 1)), 0).feed([ids(1, 2), ids(40, 3)], keep=40)
    assert torch.isfinite(got).all()


def test_very_unlike_scores_on_the_two_sides() -> None:
    """The join works on log-sum-exps: logits of hundreds must not overflow."""
    model, reference = build_model(4), build_model(4)
    for each in (model, reference):
        with torch.no_grad():
            for layer in each.model.layers:
                layer.self_attn.q_proj.weight.mul_(40)
                layer.self_attn.k_proj.weight.mul_(40)
    model.set_attn_implementation(NAME)
    reference.set_attn_implementation("eager")
    before, row = ids(8, 7), ids(5, 8)
    with torch.inference_mode():
        got = Batch(model, encode_prefix(model, before), 0).feed([row], keep=5)[0]
        wanted = reference(input_ids=torch.tensor([before + row])).logits[0, 8:]
    torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)
