"""Guessed runs: whatever is guessed, a free answer is the one that the model writes without guesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.decisions import answer_format
from evals.models.batch import Batch, lay_out, plain_head
from evals.models.decoding import FormatPath, FormatTokens, FreeWriter
from evals.models.local import LocalModel
from tests.tiny import SCHEMA, build_model, canonical, tokenizer

FORMAT = answer_format(SCHEMA)
CHATS = [[{"role": "user", "content": text}] for text in ("refund", "a longer message, with order 1234", "hm?")]


def encode(text: str) -> list[int]:
    return list(tokenizer()(text, add_special_tokens=False)["input_ids"])


def local(seed: int, **changes: Any) -> LocalModel:
    return LocalModel(build_model(seed), tokenizer(), **({"format": FORMAT, "max_tokens": 24} | changes))


def test_a_path_knows_what_is_certain() -> None:
    path = FormatPath(FormatTokens(FORMAT, encode), onwards=True)
    whole = encode(canonical("order status", "escalate", ""))
    assert path.certain() == encode('{"intent": "')
    taken: list[int] = []
    while path.deciding or path.certain():
        run = path.certain() or [whole[len(taken)]]
        assert whole[len(taken) : len(taken) + len(run)] == run or not path.deciding
        assert all(path.push(token) for token in run)
        taken += run
    assert path.values == ["order status", "escalate"]
    assert taken == encode(FORMAT.opening(["order status", "escalate"]))
    assert not path.push(whole[0])


def test_a_path_ends_where_the_format_is_left() -> None:
    path = FormatPath(FormatTokens(FORMAT, encode))
    assert path.push(path.certain()[0])
    assert not path.push(tokenizer().eos_token_id)


class _Guessing(FreeWriter):
    """Guesses from a list of runs, whatever the format says."""

    runs: Sequence[Sequence[int]] = ()
    truth: Sequence[int] = ()

    def guess(self) -> list[int]:
        number = len(self.tokens)
        honest = list(self.truth[number : number + 3])
        return [*honest, *self.runs[number % len(self.runs)]] if self.runs else []


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 200), st.lists(st.lists(st.integers(3, 200), max_size=4), min_size=1, max_size=5), st.booleans())
def test_wrong_and_right_guesses_change_nothing(seed: int, runs: list[list[int]], prefixed: bool) -> None:
    model = local(seed, prefix=[{"role": "system", "content": "Decide."}] if prefixed else (), weigh_answers=True)
    plain = [model.answer([chat], decoding="free")[0] for chat in CHATS]
    decoding = model._start([model.prompt_ids(chat) for chat in CHATS], False, model.shared)
    for number, answer in enumerate(plain):
        writer = _Guessing(decoding.writers[number].settings)
        writer.runs, writer.truth = runs, answer.token_ids
        decoding.writers[number] = writer  # type: ignore[index]
    for answer, wanted in zip(decoding.run(), plain, strict=True):
        assert (answer.token_ids, answer.text, answer.finish) == (wanted.token_ids, wanted.text, wanted.finish)
        assert answer.logp == pytest.approx(wanted.logp, abs=1e-3)


def test_right_guesses_save_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that keeps to the format: its opening is read in the first step."""
    model = local(1)
    fed: list[int] = []
    states = Batch.states

    def counted(self: Batch, rows: Sequence[Sequence[int]], *, keep: int) -> torch.Tensor:
        fed.append(keep)
        return states(self, rows, keep=keep)

    monkeypatch.setattr(Batch, "states", counted)
    model.answer(CHATS[:1], decoding="free")
    assert fed[0] == len(encode('{"intent": "')) + 1
    assert set(fed[1:]) == {1}  # a random model leaves the format at once


def test_an_answers_probability_is_that_of_its_tokens() -> None:
    model = local(2, weigh_answers=True)
    (answer,) = model.answer(CHATS[:1], decoding="free")
    before = model.prompt_ids(CHATS[0])
    with torch.inference_mode():
        logits = build_model(2)(input_ids=torch.tensor([[*before, *answer.token_ids]])).logits[0]
    logp = logits.log_softmax(-1)
    wanted = sum(float(logp[len(before) - 1 + i, token]) for i, token in enumerate(answer.token_ids))
    assert answer.logp == pytest.approx(wanted, abs=1e-3)
    assert local(2).answer(CHATS[:1], decoding="free")[0].logp is None


def test_a_head_that_is_more_than_a_product_is_left_to_the_model() -> None:
    model = build_model(3)
    assert plain_head(model) is model.lm_head
    forward = type(model).forward

    class Capped(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            out = forward(self, *args, **kwargs)
            out.logits = 3 * torch.tanh(out.logits / 3)
            return out

    capped = build_model(3)
    capped.__class__ = Capped
    assert plain_head(capped) is None
    one = LocalModel(capped, tokenizer(), schema=SCHEMA, format=FORMAT).answer(CHATS, decoding="grammar")
    assert [a.finish for a in one] == ["stop"] * 3
    # Capping keeps the order of logits but not their distances.
    other = LocalModel(model, tokenizer(), schema=SCHEMA, format=FORMAT).answer(CHATS, decoding="grammar")
    assert [d.best for a in one for d in a.decisions] == [d.best for a in other for d in a.decisions]
    assert one[0].decisions[0].logp != pytest.approx(other[0].decisions[0].logp, abs=1e-4)


def test_laying_out_moves_no_value() -> None:
    model, other = build_model(4), build_model(4)
    lay_out(model)
    for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    assert not model.lm_head.weight.is_contiguous()
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_format_of_single_labels_is_certain_throughout() -> None:
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "intent": {"type": "string", "enum": ["refund"]}}}
    model = local(5, schema=schema, format=answer_format(schema), max_tokens=120)
    (answer,) = model.answer(CHATS[:1], decoding="grammar")
    assert answer.decisions[0].logp == (0.0,)
    assert answer.decisions[0].best == "refund"
