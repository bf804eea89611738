"""Answers of a local model: under the grammar, in batches, by forced runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from distill_gov.records.errors import BadModelError
from evals.decisions import answer_format
from evals.models.local import Batch, LocalModel, load_model, load_tokenizer, render_template
from evals.models.protocol import Answer
from tests.tiny import EOS, SCHEMA, build_model, canonical, save, tokenizer

FORMAT = answer_format(SCHEMA)
END = tokenizer().eos_token_id
VALID = Draft202012Validator(SCHEMA)


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def local(seed: int = 0, **changes: Any) -> LocalModel:
    arguments: dict[str, Any] = {"schema": SCHEMA, "format": FORMAT, "max_tokens": 160} | changes
    return LocalModel(build_model(seed), tokenizer(), **arguments)


def same(one: Answer, other: Answer) -> None:
    assert (one.token_ids, one.text, one.finish) == (other.token_ids, other.text, other.finish)
    for a, b in zip(one.decisions, other.decisions, strict=True):
        assert (a.field, a.labels) == (b.field, b.labels)
        assert a.logp == pytest.approx(b.logp, abs=1e-4)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(TEXT, min_size=1, max_size=4), st.booleans())
def test_under_the_grammar_every_answer_is_valid(seed: int, texts: list[str], prefixed: bool) -> None:
    model = local(seed, prefix=[{"role": "system", "content": "Decide."}] if prefixed else ())
    for answer in model.answer([chat(t) for t in texts], decoding="grammar"):
        assert answer.finish == "stop"
        value = json.loads(answer.text)
        VALID.validate(value)
        assert list(value) == ["intent", "action", "reply"]
        assert json.dumps(value, ensure_ascii=False) == answer.text or "\\" in answer.text
        assert answer.token_ids[-1] == END
        assert answer.token_ids.count(END) == 1
        assert EOS not in answer.text
        assert [d.field for d in answer.decisions] == ["intent", "action"]
        for decision in answer.decisions:
            assert math.fsum(math.exp(x) for x in decision.logp) == pytest.approx(1.0, abs=1e-5)
            assert decision.best == value[decision.field]


def test_the_opening_is_cut_as_it_was_taught() -> None:
    """What the student is fed up to its decisions are the very tokens of the canonical text."""
    for answer in local(1).answer([chat("a"), chat("bb")], decoding="grammar"):
        value = json.loads(answer.text)
        opening = FORMAT.opening([value["intent"], value["action"]])
        taught = tokenizer()(opening.removesuffix(' "'), add_special_tokens=False)["input_ids"]
        assert list(answer.token_ids[: len(taught)]) == taught


def test_a_label_distribution_is_that_of_the_full_forward_pass() -> None:
    """Probabilities of the labels' first tokens after the opening, renormalised; computed without cache or grammar."""
    model = local(5)
    (answer,) = model.answer([chat("where is it?")], decoding="grammar")
    before = model.prompt_ids(chat("where is it?"))
    for depth, decision in enumerate(answer.decisions):
        values = [d.best for d in answer.decisions[:depth]]
        tokens = before + model.encode(FORMAT.opening(values))
        with torch.inference_mode():
            logits = build_model(5)(input_ids=torch.tensor([tokens])).logits[0, -1]
        first = [model.encode(label)[0] for label in decision.labels]
        assert decision.logp == pytest.approx(logits[first].log_softmax(0).tolist(), abs=1e-4)


@settings(max_examples=4)
@given(st.integers(0, 1000), st.permutations(range(4)))
@pytest.mark.parametrize("decoding", ["grammar", "free"])
def test_who_else_is_in_the_batch_changes_nothing(decoding: str, seed: int, order: Sequence[int]) -> None:
    texts = ["refund", "a much longer message, with order 1234 and more words than the others", "", "hm?"]
    model = local(seed, prefix=[{"role": "system", "content": "Decide."}], max_tokens=60)
    alone = [model.answer([chat(t)], decoding=decoding)[0] for t in texts]
    together = model.answer([chat(texts[i]) for i in order], decoding=decoding)
    for place, answer in zip(order, together, strict=True):
        same(answer, alone[place])


@pytest.mark.parametrize("seed", range(4))
def test_runs_fed_at_once_equal_tokens_fed_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = local(seed, prefix=[{"role": "system", "content": "Decide."}])
    chats = [chat("refund please")]
    at_once = model.answer(chats, decoding="grammar")
    states = Batch.states

    def one_by_one(self: Batch, rows: Sequence[Sequence[int]], *, keep: int) -> torch.Tensor:
        for token in rows[0]:
            found = states(self, [[token]], keep=keep)
        return found

    monkeypatch.setattr(Batch, "states", one_by_one)
    same(model.answer(chats, decoding="grammar")[0], at_once[0])


@pytest.mark.parametrize("seed", range(3))
def test_free_decoding_is_greedy_decoding_of_the_plain_model(seed: int) -> None:
    model = local(seed, max_tokens=12)
    plain = build_model(seed)
    for answer, text in zip(model.answer([chat("a"), chat("bcd ef")], decoding="free"), ["a", "bcd ef"], strict=True):
        tokens = model.prompt_ids(chat(text))
        for token in answer.token_ids:
            with torch.inference_mode():
                assert int(plain(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()) == token
            tokens.append(token)
        assert not answer.decisions


def test_an_answer_cut_off_says_so() -> None:
    whole = local(0).answer([chat("x")], decoding="grammar")[0]
    cut = local(0, max_tokens=len(whole.token_ids) - 3).answer([chat("x")], decoding="grammar")[0]
    assert cut.finish == "length"
    assert END not in cut.token_ids
    assert cut.token_ids == whole.token_ids[: len(cut.token_ids)]
    assert whole.text.startswith(cut.text.rstrip("\ufffd"))


def test_rows_that_end_at_different_times_do_not_mix() -> None:
    """Replies of fixed, different lengths: rows leave the batch one after the other."""
    model = local(2)
    texts = [f"message {i} " + "z" * i for i in range(6)]
    answers = model.answer([chat(t) for t in texts], decoding="grammar")
    assert len({len(a.token_ids) for a in answers}) > 2
    for text, answer in zip(texts, answers, strict=True):
        same(answer, model.answer([chat(text)], decoding="grammar")[0])


def test_heat_changes_confidence_and_nothing_else() -> None:
    cold, hot = local(3), local(3, temperature={"intent": 4.0})
    one, other = (m.answer([chat("hm")], decoding="grammar")[0] for m in (cold, hot))
    assert one.token_ids == other.token_ids
    assert max(other.decisions[0].logp) < max(one.decisions[0].logp)
    assert other.decisions[1].logp == pytest.approx(one.decisions[1].logp)
    scaled = torch.tensor(one.decisions[0].logp) / 4
    assert other.decisions[0].logp == pytest.approx(scaled.log_softmax(0).tolist(), abs=1e-5)


def _shared_start() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(json.dumps(SCHEMA))
    schema["properties"]["intent"]["enum"] = ["order status", "order refund", "order", "other"]
    return schema


@settings(max_examples=15)
@given(st.integers(0, 500))
def test_labels_with_a_common_start_still_sum_to_one(seed: int) -> None:
    schema = _shared_start()
    answer = local(seed, schema=schema, format=answer_format(schema)).answer([chat("x")], decoding="grammar")[0]
    decision = answer.decisions[0]
    mass = {label: math.exp(x) for label, x in zip(decision.labels, decision.logp, strict=True)}
    assert math.fsum(mass.values()) == pytest.approx(1.0, abs=1e-5)
    # Greedy along the trie: `order...` is entered where its whole mass is the greater, and then its likeliest label is taken.
    chosen = json.loads(answer.text)["intent"]
    ordered = {k: v for k, v in mass.items() if k != "other"}
    if chosen == "other":
        assert mass["other"] >= 0.5
        assert len({round(v, 9) for v in ordered.values()}) == 1
    else:
        assert math.fsum(ordered.values()) >= 0.5
        assert mass[chosen] == max(ordered.values())


def test_an_answer_continued_from_a_settled_opening() -> None:
    """The opening moves the grammar; what the model sees is the caller's own prompt."""
    model = local(6)
    opening = model.encode(FORMAT.opening(["refund", "escalate"]))
    pending = model.encode('Message: x\nReply: "')
    (answer,) = model.complete(model.batch(None), [pending], [opening])
    assert list(answer.token_ids[: len(opening)]) == opening
    VALID.validate(json.loads(answer.text))
    assert answer.token_ids[-1] == END
    assert not answer.decisions


def test_timing_counts_from_the_start() -> None:
    for cached in (True, False):
        times = local(0, prefix=chat("Be short."), max_tokens=20).time_one(chat("x"), decoding="grammar", cached_prefix=cached)
        assert 0 < times["first_token_s"] <= times["last_token_s"]


def test_logits_of_the_last_positions() -> None:
    model = local(1)
    rows = [[5, 6, 7], [9]]
    got = model.logits(rows, 1)
    with torch.inference_mode():
        for row, logits in zip(rows, got, strict=True):
            torch.testing.assert_close(
                logits[-1], build_model(1)(input_ids=torch.tensor([row])).logits[0, -1], atol=1e-4, rtol=1e-4
            )


# -- prompts and loading ----------------------------------------------------------------------------------------------------


def test_a_prompt_ends_in_a_special_token_and_an_answer_is_encoded_alone() -> None:
    model = local()
    messages: list[Mapping[str, str]] = [{"role": "system", "content": "Decide."}, *chat("hi")]
    ids = model.prompt_ids(messages)
    assert ids[-1] == tokenizer().bos_token_id
    text = canonical("refund", "auto", "Hi")
    whole = model.encode(model.chat_text([*messages, {"role": "assistant", "content": text}], answer=False))
    assert whole == [*ids, *model.encode(text), END]
    assert "assistant" not in model.chat_text(messages)


def test_no_system_prompt_is_slipped_in() -> None:
    assert "system" not in local().chat_text(chat("hi"))
    assert render_template().count("default") == 0


def test_saved_and_loaded_it_answers_alike(tmp_path: Path) -> None:
    save(tmp_path, seed=8)
    loaded = LocalModel(load_model(tmp_path), load_tokenizer(tmp_path), schema=SCHEMA, format=FORMAT, max_tokens=160)
    same(loaded.answer([chat("x")], decoding="grammar")[0], local(8).answer([chat("x")], decoding="grammar")[0])
    assert loaded.model.dtype == torch.float32
    assert not loaded.model.training


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match=r"config\.json"):
        load_model(tmp_path)
    with pytest.raises(BadModelError, match="tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadModelError, match="can be loaded"):
        load_model(tmp_path)


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    settings_ = json.loads(path.read_text())
    del settings_["eos_token"]
    path.write_text(json.dumps(settings_))
    with pytest.raises(BadModelError, match="eos"):
        load_tokenizer(tmp_path)
