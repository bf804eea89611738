"""Log-likelihoods against the plain forward pass over context and continuation together."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadModelError
from evals.models.likelihood import WORTH_SHARING, common_start, log_likelihoods
from evals.models.local import LocalModel
from tests.tiny import build_model, tokenizer

PLAIN = build_model(7)
LOCAL = LocalModel(build_model(7), tokenizer())


def naive(context: list[int], option: list[int]) -> float:
    with torch.inference_mode():
        logp = PLAIN(input_ids=torch.tensor([[*context, *option]])).logits[0].log_softmax(-1)
    return sum(float(logp[len(context) - 1 + i, token]) for i, token in enumerate(option))


TOKENS = st.lists(st.integers(3, 250), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=4)), min_size=1, max_size=4),
    st.sampled_from([0, 3, WORTH_SHARING + 5]),
)
def test_equal_to_one_forward_pass_each(requests: list[tuple[list[int], list[list[int]]]], shared: int) -> None:
    common = [5 + i for i in range(shared)]
    asked = [([*common, *context], options) for context, options in requests]
    found = log_likelihoods(LOCAL.batch, asked)
    assert [len(row) for row in found] == [len(options) for _, options in asked]
    for (context, options), row in zip(asked, found, strict=True):
        assert row == pytest.approx([naive(context, option) for option in options], abs=1e-3)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_common_start_is_common_and_leaves_something(rows: list[list[int]]) -> None:
    same = common_start(rows)
    assert len({tuple(row[:same]) for row in rows}) == 1
    assert all(len(row) > same for row in rows)
    if len(rows) > 1 and all(len(row) > same + 1 for row in rows):
        assert len({row[same] for row in rows}) > 1


def test_choices_of_a_chat_stand_where_its_answer_would() -> None:
    local = LocalModel(build_model(8), tokenizer(), prefix=[{"role": "system", "content": "Decide."}])
    chats = [[{"role": "user", "content": text}] for text in ("refund", "my order")]
    found = local.weigh(chats, [["refund", "order status"], ["auto", "escalate", "other"]])
    system = [{"role": "system", "content": "Decide."}]
    model = build_model(8)
    for chat, choices, row in zip(chats, [["refund", "order status"], ["auto", "escalate", "other"]], found, strict=True):
        context = local.prompt_ids([*system, *chat])
        for choice, value in zip(choices, row, strict=True):
            ids = local.encode(choice)
            with torch.inference_mode():
                logp = model(input_ids=torch.tensor([[*context, *ids]])).logits[0].log_softmax(-1)
            assert value == pytest.approx(sum(float(logp[len(context) - 1 + i, t]) for i, t in enumerate(ids)), abs=1e-3)


def test_a_choice_without_a_token_is_refused() -> None:
    with pytest.raises(BadModelError, match="without any token"):
        LOCAL.weigh([[{"role": "user", "content": "x"}]], [["", "a"]])


def test_no_request_is_no_work() -> None:
    assert log_likelihoods(LOCAL.batch, []) == []


def test_going_on_is_greedy_and_without_a_template() -> None:
    local = LocalModel(build_model(9), tokenizer(), max_tokens=6)
    for text, answer in zip(["order", ""], local.go_on(["order", ""]), strict=True):
        tokens = local.encode(text) or [tokenizer().bos_token_id]
        for token in answer.token_ids:
            with torch.inference_mode():
                assert int(build_model(9)(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()) == token
            tokens.append(token)
