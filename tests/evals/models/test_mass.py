"""The mass of a model under its grammar, against sums over everything that it could say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from distill_gov.records.errors import BadInputError, BadSchemaError
from evals.catalogue import lookup
from evals.grammar import Grammar, GrammarMass, allowed_log_mass
from evals.models.local import LocalModel
from evals.models.mass import grammar_mass, mass_scores
from tests.tiny import SCHEMA, build_model, canonical, tokenizer

SMALL: dict[str, Any] = {"enum": ["a", "refund", 7]}
END = int(tokenizer().eos_token_id)
CHAT = [{"role": "user", "content": "where is it?"}]


def local(seed: int = 0, **changes: Any) -> LocalModel:
    return LocalModel(build_model(seed), tokenizer(), **({"schema": SCHEMA} | changes))


def log_probabilities(model: LocalModel, tokens: list[int]) -> np.ndarray:
    """Of every next token, by a plain forward pass: no cache, no padding."""
    ids = model.prompt_ids(CHAT) + tokens[:-1]
    with torch.inference_mode():
        logits = model.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -len(tokens) :]
    return torch.log_softmax(logits.double(), -1).numpy()


def everything(grammar: Grammar, begun: tuple[int, ...] = ()) -> Iterator[list[int]]:
    """Every sequence of tokens that the grammar accepts, in every way of cutting it up."""
    state = grammar.start()
    for token in begun:
        state.accept(token)
    for token in np.flatnonzero(state.mask()).tolist():
        if token == END:
            yield [*begun, token]
        else:
            yield from everything(grammar, (*begun, token))


@pytest.mark.parametrize("seed", [0, 3])
def test_the_mean_over_constrained_draws_is_the_probability_that_a_free_draw_is_in_the_grammar(seed: int) -> None:
    """sum_x q(x) prod_t Z_t = sum_x p(x) over all of a small language: the estimand itself, without sampling."""
    model = local(seed, schema=SMALL)
    assert model.grammar is not None
    language = list(everything(model.grammar))
    assert len(language) > 5
    free, constrained, weighted = 0.0, 0.0, 0.0
    for tokens, mass in zip(language, grammar_mass(model, [CHAT] * len(language), language), strict=True):
        assert mass is not None
        logp = log_probabilities(model, tokens)
        p = math.exp(math.fsum(logp[n, t] for n, t in enumerate(tokens)))
        q = math.exp(
            math.fsum(
                logp[n, t] - np.logaddexp.reduce(logp[n, m])
                for n, (t, m) in enumerate(zip(tokens, model.grammar.masks(tokens), strict=True))
            )
        )
        free, constrained, weighted = free + p, constrained + q, weighted + q * mass.product
    assert constrained == pytest.approx(1.0)
    assert weighted == pytest.approx(free, rel=1e-4)
    assert 0 < free < 1


def test_of_every_position_the_allowed_probabilities_are_added() -> None:
    model = local(1, prefix=())
    texts = [canonical("refund", "auto", "hi"), canonical("order status", "escalate", "well, we will see")]
    assert model.grammar is not None
    for text, mass in zip(texts, grammar_mass(model, [CHAT] * 2, texts), strict=True):
        tokens = [*model.encode(text), END]
        logp, masks = log_probabilities(model, tokens), model.grammar.masks(tokens)
        assert mass is not None
        assert mass.log_mass == pytest.approx(
            [
                math.log(sum(math.exp(x) for x, ok in zip(row, m, strict=True) if ok))
                for row, m in zip(logp, masks, strict=True)
            ],
            abs=1e-4,
        )
        assert mass.product == pytest.approx(math.exp(sum(mass.log_mass)))
        assert mass.per_token == pytest.approx(mass.product ** (1 / len(tokens)))


def test_neither_batches_nor_a_shared_prefix_change_it() -> None:
    texts = [canonical("refund", "auto", "x" * n) for n in range(1, 6)]
    chats = [[{"role": "user", "content": "y" * n}] for n in range(5)]
    model = local(2, prefix=[{"role": "system", "content": "Decide."}])
    together = grammar_mass(model, chats, texts, batch_size=5)
    for one, other in zip(together, grammar_mass(model, chats, texts, batch_size=1), strict=True):
        assert one is not None
        assert other is not None
        assert one.log_mass == pytest.approx(other.log_mass, abs=1e-4)
    plain = LocalModel(model.model, tokenizer(), schema=SCHEMA)
    prefixed = [[{"role": "system", "content": "Decide."}, *chat] for chat in chats]
    for one, other in zip(together, grammar_mass(plain, prefixed, texts), strict=True):
        assert one is not None
        assert other is not None
        assert one.log_mass == pytest.approx(other.log_mass, abs=1e-4)


def test_the_models_own_answer_has_a_mass() -> None:
    model = local(4, max_tokens=160)
    (answer,) = model.answer([CHAT], decoding="grammar")
    (mass,) = grammar_mass(model, [CHAT], [answer.token_ids])
    assert mass is not None
    assert len(mass.log_mass) == len(answer.token_ids)
    assert 0 <= mass.product <= mass.per_token <= 1


@pytest.mark.parametrize("answer", ["", "Sure!", '{"intent": "refund"', canonical("zebra", "auto", "x"), [], [5, 6]])
def test_an_answer_outside_the_grammar_has_none_and_scores_worst(answer: Any) -> None:
    model = local()
    found = grammar_mass(model, [CHAT, CHAT], [answer, canonical("other", "auto", "x")])
    assert found[0] is None
    assert found[1] is not None
    assert set(mass_scores(found[0]).values()) == {0.0}


def test_an_answer_that_was_cut_off_has_none() -> None:
    model = local(0, max_tokens=4)
    (answer,) = model.answer([CHAT], decoding="grammar")
    assert answer.finish == "length"
    assert grammar_mass(model, [CHAT], [answer.token_ids]) == [None]


def test_it_needs_a_schema_and_an_answer_to_each() -> None:
    with pytest.raises(BadInputError):
        grammar_mass(local(schema=None), [CHAT], ["x"])
    with pytest.raises(BadInputError):
        grammar_mass(local(), [CHAT], [])


def test_scores_are_those_of_the_catalogue() -> None:
    for name, score in mass_scores(GrammarMass((0.0, math.log(0.25)))).items():
        metric = lookup(name)
        assert metric.score == name
        assert (metric.direction, metric.range, metric.worst) == ("higher", (0.0, 1.0), 0.0)
        assert score == pytest.approx({"grammar_mass": 0.25, "grammar_mass_per_token": 0.5}[name])


# --- the function alone


@given(st.data(), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=100)
def test_it_is_a_probability_and_everything_is_exactly_one(data: st.DataObject, tokens: int, vocabulary: int) -> None:
    shape = (tokens, vocabulary)
    logits = data.draw(arrays.arrays(np.float64, shape, elements=st.floats(-700, 700)))
    mask = data.draw(arrays.arrays(np.bool_, shape))
    found = allowed_log_mass(logits, list(mask))
    assert (found <= 0).all()
    assert (allowed_log_mass(logits, list(np.ones(shape, bool))) == 0).all()
    assert np.exp(found) + np.exp(allowed_log_mass(logits, list(~mask))) == pytest.approx(np.ones(tokens))
    assert allowed_log_mass(logits + 5, list(mask)) == pytest.approx(found, abs=1e-9)


def test_nothing_allowed_is_no_mass() -> None:
    found = allowed_log_mass(np.zeros((1, 3)), [np.zeros(3, bool)])
    assert found.tolist() == [-math.inf]
    assert GrammarMass(tuple(found)).product == 0.0


@pytest.mark.parametrize(
    ("logits", "masks"),
    [
        (np.zeros((0, 3)), []),
        (np.zeros((1, 3)), [np.ones(2, bool)]),
        (np.zeros(3), [np.ones(3, bool)]),
        (np.array([[0.0, math.nan]]), [np.ones(2, bool)]),
        (np.array([[0.0, math.inf]]), [np.ones(2, bool)]),
        (np.array([[-math.inf, -math.inf]]), [np.ones(2, bool)]),
    ],
)
def test_what_is_no_distribution_is_refused(logits: np.ndarray, masks: list[np.ndarray]) -> None:
    with pytest.raises(BadInputError):
        allowed_log_mass(logits, masks)


def test_a_text_leaves_the_grammar_where_its_masks_say_so() -> None:
    grammar = Grammar.compile(SMALL, tokenizer(), len(tokenizer()))
    assert all(grammar.masks(tokens)[-1][END] for tokens in itertools.islice(everything(grammar), 3))
    with pytest.raises(BadSchemaError):
        grammar.masks(tokenizer()("zebra", add_special_tokens=False)["input_ids"])
