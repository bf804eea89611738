"""Exact probabilities of labels, against brute force over their whole token paths."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError
from evals.decisions import answer_format
from evals.models.labels import exact_label_logp, with_exact_labels
from evals.models.local import LocalModel
from tests.tiny import SCHEMA, build_model, tokenizer

DEEP = ["order status", "order refund", "order", "other", "refund", "re"]
CHATS = [[{"role": "user", "content": text}] for text in ("a", "where is my order, please? It was 1234", "")]


def local(seed: int, labels: list[str], **changes: Any) -> LocalModel:
    schema: dict[str, Any] = json.loads(json.dumps(SCHEMA))
    schema["properties"]["intent"]["enum"] = labels
    return LocalModel(build_model(seed), tokenizer(), schema=schema, format=answer_format(schema), max_tokens=160, **changes)


def along_each_path(model: LocalModel, seed: int, chat: list[dict[str, str]], values: list[str]) -> list[float]:
    """Label by label and token by token, each by a full forward pass of the plain model: no cache, batch or padding."""
    assert model.format is not None
    plain, trie = build_model(seed), model.format.trie(model.encode, values)
    start = model.encode(model.chat_text(model.prefix, answer=False)) if model.prefix else []
    start = start + model.prompt_ids(chat) + model.encode(model.format.opening(values))
    found = []
    for path in trie.paths:
        total = 0.0
        for depth, token in enumerate(path):
            others = sorted({p[depth] for p in trie.paths if p[:depth] == path[:depth] and len(p) > depth})
            with torch.inference_mode():
                logits = plain(input_ids=torch.tensor([start + list(path[:depth])])).logits[0, -1]
            total += float(logits[others].log_softmax(0)[others.index(token)])
        found.append(total)
    return found


@settings(max_examples=6)
@given(st.integers(0, 1000), st.booleans())
def test_it_is_the_product_along_the_trie(seed: int, prefixed: bool) -> None:
    model = local(seed, DEEP, prefix=[{"role": "system", "content": "Decide."}] if prefixed else ())
    for chat, found in zip(CHATS, exact_label_logp(model, CHATS), strict=True):
        assert (found.field, found.labels) == ("intent", tuple(DEEP))
        assert math.fsum(math.exp(x) for x in found.raw_logp) == pytest.approx(1.0, abs=1e-6)
        assert found.raw_logp == pytest.approx(along_each_path(model, seed, chat, []), abs=2e-4)
        assert found.logp == pytest.approx(found.raw_logp, abs=1e-9)


def test_a_later_field_follows_what_is_settled() -> None:
    model = local(3, DEEP)
    settled = [["order"], ["other"], ["re"]]
    for chat, values, found in zip(CHATS, settled, exact_label_logp(model, CHATS, settled), strict=True):
        assert found.field == "action"
        assert found.raw_logp == pytest.approx(along_each_path(model, 3, chat, values), abs=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_where_labels_part_at_once_it_is_what_greedy_decoding_says(seed: int) -> None:
    model = local(seed, SCHEMA["properties"]["intent"]["enum"], temperature={"intent": 2.5})
    assert model.format is not None
    assert model.format.trie(model.encode, []).exact_when_greedy
    for answer, found in zip(model.answer(CHATS, decoding="grammar"), exact_label_logp(model, CHATS), strict=True):
        assert found.logp == pytest.approx(answer.decisions[0].logp, abs=1e-4)
        assert found.raw_logp == pytest.approx(answer.decisions[0].raw_logp, abs=1e-4)


def test_where_they_do_not_greedy_decoding_knows_only_what_it_writes() -> None:
    different = 0
    for seed in range(6):
        model = local(seed, DEEP)
        for answer, found in zip(model.answer(CHATS, decoding="grammar"), exact_label_logp(model, CHATS), strict=True):
            written = DEEP.index(json.loads(answer.text)["intent"])
            assert found.logp[written] == pytest.approx(answer.decisions[0].logp[written], abs=1e-4)
            different += found.logp != pytest.approx(answer.decisions[0].logp, abs=1e-2)
    assert different > 0


def test_the_temperature_scales_the_whole_distribution() -> None:
    [found, *_] = exact_label_logp(local(1, DEEP, temperature={"intent": 3.0}), CHATS)
    expected = torch.log_softmax(torch.tensor(found.raw_logp, dtype=torch.float64) / 3, 0)
    assert found.logp == pytest.approx(expected.tolist(), abs=1e-9)
    assert math.fsum(math.exp(x) for x in found.logp) == pytest.approx(1.0)


def test_one_label_is_certain() -> None:
    [found, *_] = exact_label_logp(local(1, ["refund"]), CHATS)
    assert found.raw_logp == (0.0,)


def test_bad_input_is_refused() -> None:
    model = local(1, DEEP)
    assert exact_label_logp(model, []) == []
    for settled in ([["re"], [], []], [["re"]], [["re", "auto"]] * 3):
        with pytest.raises(BadInputError):
            exact_label_logp(model, CHATS, settled)
    with pytest.raises(BadInputError, match="answer format"):
        exact_label_logp(LocalModel(build_model(1), tokenizer()), CHATS)


def test_answers_get_every_labels_own_probability_and_keep_the_rest() -> None:
    model = local(3, DEEP)
    answers = model.answer(CHATS, decoding="grammar")
    found = with_exact_labels(model, CHATS, answers)
    assert [replace(a, decisions=()) for a in found] == [replace(a, decisions=()) for a in answers]
    for chat, one, before in zip(CHATS, found, answers, strict=True):
        written = json.loads(one.text)
        intent, action = one.decisions
        assert intent.raw_logp == pytest.approx(along_each_path(model, 3, chat, []), abs=2e-4)
        # Of what is written greedy decoding knew the probability already, and a field whose labels part once is left alone.
        place = intent.labels.index(written["intent"])
        assert intent.raw_logp[place] == pytest.approx(before.decisions[0].raw_logp[place], abs=2e-4)
        assert action == before.decisions[1]


def test_an_answer_that_breaks_off_keeps_what_it_decided() -> None:
    model = local(3, DEEP)
    [whole] = model.answer(CHATS[:1], decoding="grammar")
    broken = replace(whole, text=whole.text[:12], decisions=whole.decisions[:1])
    assert with_exact_labels(model, CHATS[:1], [broken]) == [broken]
