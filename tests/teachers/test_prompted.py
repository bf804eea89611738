"""The prompted teacher on a tiny random model: what it decides, what it writes, how it scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

from distill_gov.records.errors import BadSchemaError
from distill_gov.teachers.alignment import Alignment
from distill_gov.teachers.prompted import PolicyPrompt, PromptedTeacher, spec
from evals.decisions import answer_format
from evals.models.local import LocalModel
from tests.tiny import SCHEMA, build_model, canonical, save, tokenizer

ORDERS = {"intent": 2}
EXAMPLES = (
    {"message": "money back", "intent": "refund", "action": "escalate", "reply": '"We will."'},
    {"message": "where is it", "intent": "order status", "action": "auto", "reply": '"On its way."'},
)
MESSAGES = ["hello", "refund my order, please", "?"]
END = int(tokenizer().eos_token_id)


WIDTH = int(build_model(0).config.hidden_size)


def even(labels: tuple[str, ...], orders: int, before: int = 0) -> Alignment:
    """Adds the orders' log-probabilities up and leaves alone hidden states and the labels of earlier fields (``before``)."""
    read = orders * len(labels)
    rest = orders * WIDTH + before
    return Alignment(
        labels, (0.0,) * (read + rest), (1.0,) * (read + rest),
        tuple((*(float(i % len(labels) == j) for i in range(read)), *(0.0,) * rest) for j in range(len(labels))),
        (0.0,) * len(labels), 1.0,
    )  # fmt: skip


ALIGNMENTS = {"intent": even(("refund", "order status", "other"), 2), "action": even(("auto", "escalate"), 1, 3)}


def teacher(seed: int = 0, *, top_k: int = 8, temperature: float = 2.0, schema: dict[str, Any] = SCHEMA) -> PromptedTeacher:
    answer = answer_format(schema)
    local = LocalModel(build_model(seed), tokenizer(), schema=schema, format=answer, max_tokens=160)
    prompt = PolicyPrompt(EXAMPLES, ("intent", "action"), ("reply",), ORDERS)
    return PromptedTeacher(local, prompt, ALIGNMENTS, top_k, temperature)


def plain_logits(seed: int, text: str, tokens: list[int] | None = None) -> torch.Tensor:
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"] + (tokens or [])
    with torch.inference_mode():
        return build_model(seed)(input_ids=torch.tensor([ids])).logits[0]


def test_features_are_the_labels_scores_after_the_whole_prompt() -> None:
    t = teacher(1)
    values = [{"intent": "refund"}] * 3
    for field, labels, orders in (("intent", ALIGNMENTS["intent"].labels, 2), ("action", ALIGNMENTS["action"].labels, 1)):
        got = t.features(MESSAGES, values, field)
        assert got.shape == (3, orders * (len(labels) + WIDTH))
        first = [t.local.encode(f" {label}")[0] for label in labels]
        for row, message in zip(got, MESSAGES, strict=True):
            for order in range(orders):
                text = t.prompt.prefix(field, order) + t.prompt.question(message, values[0], field)
                wanted = plain_logits(1, text)[-1].log_softmax(0)[first].tolist()
                assert row[order * len(labels) : (order + 1) * len(labels)] == pytest.approx(wanted, abs=2e-4)
                # The hidden state is what the output head makes the next token's scores of.
                start = orders * len(labels) + order * WIDTH
                state = torch.tensor(row[start : start + WIDTH], dtype=torch.float32)
                scores = build_model(1).get_output_embeddings()(state)
                assert scores.log_softmax(0)[first].tolist() == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_is_valid_and_holds_the_corrected_decisions(seed: int) -> None:
    """What is decided while answering in one pass is what the alignment says of the features it was fitted on."""
    t = teacher(seed)
    values: list[dict[str, str]] = [{} for _ in MESSAGES]
    answers = t.answer(MESSAGES)
    before: list[Any] = []
    for field in ("intent", "action"):
        corrected = ALIGNMENTS[field](np.concatenate([t.features(MESSAGES, values, field), *before], 1))
        before.append(corrected)
        for row, (value, answer) in enumerate(zip(values, answers, strict=True)):
            decided = answer["decisions"][field]
            assert list(decided.values()) == pytest.approx(corrected[row].tolist(), abs=5e-4)
            assert math.fsum(map(math.exp, decided.values())) == pytest.approx(1.0)
            value[field] = max(decided, key=decided.__getitem__)
    for value, answer in zip(values, answers, strict=True):
        written = json.loads(answer["text"])
        Draft202012Validator(SCHEMA).validate(written)
        assert {k: written[k] for k in value} == value
        assert answer["finish"] == "stop"
        assert answer["tokens"][-1] == END
        json.dumps(answer, allow_nan=False)


def test_answers_do_not_depend_on_the_batch() -> None:
    t = teacher(2)
    together = t.answer(MESSAGES)
    assert [a["text"] for a in together] == [t.answer([m])[0]["text"] for m in MESSAGES]


def test_a_text_is_written_behind_the_examples_that_share_the_decision() -> None:
    prompt = PolicyPrompt(
        (*EXAMPLES, {"message": "swap it", "intent": "refund", "action": "auto", "reply": '"Done."'}),
        ("intent", "action"), ("reply",), {},
    )  # fmt: skip
    messages = [
        [line for line in prompt.writing_prefix(values).splitlines() if line.startswith("Message")]
        for values in (
            {"intent": "refund", "action": "escalate"},
            {"intent": "refund", "action": "auto"},
            {"intent": "other", "action": "auto"},
        )
    ]
    assert messages[0] == ["Message: swap it", "Message: money back"], "those with every decision in common stand last"
    assert messages[1] == ["Message: money back", "Message: swap it"]
    assert len(messages[2]) == 3, "none shares it: all are shown"
    assert PolicyPrompt(EXAMPLES, (), ("reply",), {}).writing_prefix({}).count("Message") == 2, "nothing to share"


def test_decisions_alone_need_no_text() -> None:
    schema = json.loads(json.dumps(SCHEMA))
    del schema["properties"]["reply"]
    schema["required"].remove("reply")
    local = LocalModel(build_model(0), tokenizer(), schema=schema, format=answer_format(schema), max_tokens=60)
    t = PromptedTeacher(local, PolicyPrompt(EXAMPLES, ("intent", "action"), (), ORDERS), ALIGNMENTS, 8, 2.0)
    [answer] = t.answer(MESSAGES[:1])
    value = json.loads(answer["text"])
    Draft202012Validator(schema).validate(value)
    assert t.score(MESSAGES[:1], [value], [answer["text"]]) == [{"start": len(answer["tokens"]), "positions": []}]


def test_what_a_reference_settles_is_written_and_the_doubts_are_kept() -> None:
    t = teacher(1)
    alone = t.answer(MESSAGES)
    given: list[dict[str, str]] = [
        {}, {"intent": "other", "action": "escalate"}, {"intent": "refund", "action": "auto", "reply": "Sent."}
    ]  # fmt: skip
    first, second, third = t.answer(MESSAGES, given)
    assert first["text"] == alone[0]["text"]
    written = json.loads(second["text"])
    Draft202012Validator(SCHEMA).validate(written)
    assert (written["intent"], written["action"]) == ("other", "escalate")
    assert third["text"] == canonical("refund", "auto", "Sent.")
    assert third["tokens"] == [*t.local.encode(third["text"]), END]
    for with_reference, without in zip((second, third), alone[1:], strict=True):
        assert list(with_reference["decisions"]["intent"].values()) == pytest.approx(
            list(without["decisions"]["intent"].values()), abs=5e-4
        )
    assert [a["text"] for a in t.answer(MESSAGES[2:], given[2:])] == [third["text"]]


def drawn(t: PromptedTeacher, seeds: list[str], temperature: float = 1.0) -> list[str]:
    items = [
        {"text": message, "values": {"intent": "refund", "action": "auto"}, "draw": {"temperature": temperature, "seed": seed}}
        for message, seed in zip([MESSAGES[0]] * len(seeds), seeds, strict=True)
    ]
    return [answer["text"] for answer in t.work("sample", items)]


def test_further_answers_are_drawn_by_their_own_seed() -> None:
    t = teacher(1)
    several = drawn(t, ["a", "b", "c", "a"])
    assert several[0] == several[3]
    assert len(set(several)) == 3
    assert drawn(t, ["c"]) == [several[2]], "who is drawn beside it changes nothing"
    for text in several:
        value = json.loads(text)
        Draft202012Validator(SCHEMA).validate(value)
        assert (value["intent"], value["action"]) == ("refund", "auto")
    [likeliest] = t.write(MESSAGES[:1], [{"intent": "refund", "action": "auto"}])
    assert drawn(t, ["a"], temperature=1e-4) == [likeliest["text"]]


def test_scores_are_the_distributions_the_full_model_gives_under_the_grammar() -> None:
    t = teacher(3, top_k=4, temperature=2.0)
    answers = [canonical("refund", "auto", "Hi."), canonical("other", "escalate", "Sent to a person.")]
    values = [{k: v for k, v in json.loads(a).items() if k != "reply"} for a in answers]
    scored = t.score(MESSAGES[:2], values, answers)
    for message, value, answer, score in zip(MESSAGES, values, answers, scored, strict=False):
        tokens = [*t.local.encode(answer), END]
        start = score["start"]
        assert tokens[:start] == t.local.encode(t.format.opening([value["intent"], value["action"]]))
        assert len(score["positions"]) == len(tokens) - start
        text = t.prompt.writing_prefix(value) + t.prompt.question(message, value, "reply") + ' "'
        before = len(t.local.encode(text))
        logits = plain_logits(3, text, tokens[start:])
        masks = t.grammar.masks(tokens)
        for offset, position in enumerate(score["positions"]):
            here = logits[before - 1 + offset].double()
            allowed = torch.from_numpy(masks[start + offset])
            assert position["log_allowed"] == pytest.approx(here.softmax(0)[allowed].sum().log().item(), abs=1e-3)
            assert position["forced"] == (int(allowed.sum()) == 1)
            p = here.masked_fill(~allowed, -math.inf).div(2.0).softmax(0)
            assert position["logp"] == pytest.approx(p[position["ids"]].log().tolist(), abs=1e-3)
            mass = math.fsum(map(math.exp, position["logp"]))
            rest = 0.0 if position["log_tail"] is None else math.exp(position["log_tail"])
            assert mass + rest == pytest.approx(1.0, abs=1e-4)
            assert bool(allowed[position["ids"]].all())
            if "lost" in position:
                known, others = p[position["ids"]], p[allowed].sort(descending=True).values[len(position["ids"]) :]
                wanted = (others * (others / (others.sum() / len(others))).log()).sum().item() if len(others) else 0.0
                assert position["lost"][1] == pytest.approx(wanted, abs=1e-3)
                assert 0 <= position["lost"][0] < 1e-4 * known.sum().item()
        free = [position for position in score["positions"] if not position["forced"]]
        assert ["lost" in position for position in free] == [place % 8 == 0 for place in range(len(free))]
        assert score["positions"][-1]["forced"], "after the closing brace only the end is allowed"


def test_an_answer_outside_the_grammar_is_not_scored() -> None:
    with pytest.raises(BadSchemaError, match="left the grammar"):
        teacher().score(["x"], [{"intent": "refund", "action": "auto"}], [canonical("refund", "auto", "x" * 99)])


def test_labels_that_share_their_first_token_are_refused() -> None:
    schema = json.loads(json.dumps(SCHEMA))
    schema["properties"]["intent"]["enum"] = ["order status", "order refund"]
    with pytest.raises(BadSchemaError, match="share their first token"):
        teacher(schema=schema).features(["x"], [{}], "intent")


def test_unknown_work_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        teacher().work("dance", [])


def test_a_worker_made_from_a_directory_does_the_same(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "schema": SCHEMA, "examples": [{**e, "reply": json.loads(e["reply"])} for e in EXAMPLES], "orders": ORDERS,
        "alignments": {k: a.as_json() for k, a in ALIGNMENTS.items()}, "top_k": 8, "temperature": 2.0, "max_tokens": 160,
    }  # fmt: skip
    made = spec(save(tmp_path / "model", seed=4), **arguments)
    worker = made.make(**made.arguments)
    t = teacher(4)
    shard = [{"text": m, "values": {}, "field": "intent"} for m in MESSAGES]
    np.testing.assert_allclose(worker.work("features", shard), t.features(MESSAGES, [{}] * 3, "intent"), atol=1e-5)
    decided = worker.work("decide", [{"text": m, "given": {}} for m in MESSAGES])
    assert decided == t.decide(MESSAGES, [{}] * 3)
    written = worker.work("write", [{"text": m, "values": d["values"]} for m, d in zip(MESSAGES, decided, strict=True)])
    assert [a["text"] for a in written] == [a["text"] for a in t.answer(MESSAGES)]
    assert spec(tmp_path / "model", **arguments).identity == made.identity
    assert spec(tmp_path / "model", **{**arguments, "top_k": 9}).identity != made.identity
