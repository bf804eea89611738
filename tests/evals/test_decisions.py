"""Decision fields, their labels' token paths, and probabilities along the trie."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from distill_gov.records.errors import BadSchemaError
from evals.decisions import AnswerFormat, DecisionField, LabelTrie, answer_format
from tests.tiny import SCHEMA, canonical, tokenizer

FORMAT = answer_format(SCHEMA)


def encode(text: str) -> list[int]:
    return list(tokenizer()(text, add_special_tokens=False)["input_ids"])


def one_field(*labels: str, rest: tuple[str, ...] = ("note",)) -> AnswerFormat:
    return AnswerFormat((DecisionField("kind", labels),), rest, dict.fromkeys(rest))


# A label that starts with punctuation may share a token with the opening quote; it is refused, as tested below.
LABEL = st.builds(
    str.__add__, st.sampled_from("aoré0"), st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
)
LABELS = st.lists(LABEL, min_size=2, max_size=6, unique=True)


def test_a_schema_is_read() -> None:
    assert [f.name for f in FORMAT.fields] == ["intent", "action"]
    assert FORMAT.fields[0].labels == ("refund", "order status", "other")
    assert FORMAT.rest == ("reply",)
    assert FORMAT.max_characters == {"reply": 24}


def test_the_opening_is_a_prefix_of_the_answer() -> None:
    assert FORMAT.opening([]) == '{"intent": "'
    assert FORMAT.opening(["refund"]) == '{"intent": "refund", "action": "'
    text = canonical("refund", "auto", "Done.")
    assert text.startswith(FORMAT.opening(["refund", "auto"]))
    assert FORMAT.text({"reply": "Done.", "action": "auto", "intent": "refund"}) == text


@given(LABELS, st.booleans())
def test_paths_spell_the_label_and_its_closing_quote(labels: list[str], more: bool) -> None:
    """Any label, escapes and letters beyond ASCII included: its path is the part of the canonical answer that spells it."""
    answer = one_field(*labels, rest=("note",) if more else ())
    trie = answer.trie(encode, [])
    start = encode(answer.opening([]))
    for label, path in zip(trie.labels, trie.paths, strict=True):
        whole = answer.text({"kind": label, **({"note": "n"} if more else {})})
        assert encode(whole)[: len(start) + len(path)] == [*start, *path]
        spelt = json.dumps(label, ensure_ascii=False)[1:]
        shown = tokenizer().decode(path)
        assert shown.startswith(spelt)
        assert len(shown) - len(spelt) <= 1, "no more than the comma or brace that is merged with the quote"


def _walk(trie: LabelTrie, weights: dict[int, float]) -> list[float]:
    """Product along each label's path of its branch's share at every node."""
    found = []
    for path in trie.paths:
        p = 1.0
        for depth, token in enumerate(path):
            branches = trie.branches(path[:depth])
            p *= weights.get(token, 1.0) / math.fsum(weights.get(t, 1.0) for t in branches)
        found.append(p)
    return found


@given(LABELS, st.data())
def test_products_along_the_trie_sum_to_one(labels: list[str], data: st.DataObject) -> None:
    trie = one_field(*labels).trie(encode, [])
    assume(len(set(trie.paths)) == len(trie.paths))
    tokens = sorted({t for path in trie.paths for t in path})
    weights = {t: data.draw(st.floats(1e-3, 1e3)) for t in tokens}
    assert math.fsum(_walk(trie, weights)) == pytest.approx(1.0)


def test_labels_with_a_common_start_branch_later() -> None:
    answer = one_field("order status", "order refund", "order", "other")
    trie = answer.trie(encode, [])
    order, other = encode("order")[0], encode("other")[0]
    assert trie.branches([]) == {order: (0, 1, 2), other: (3,)}
    below = trie.branches([order])
    assert sorted(i for labels in below.values() for i in labels) == [0, 1, 2]
    # `order"` ends where `order status` goes on: the closing quote is what tells them apart.
    assert len(below) == 3
    assert trie.branches(trie.paths[0]) == {}


def test_a_label_that_starts_another_is_told_apart_by_its_quote() -> None:
    trie = one_field("a", "ab", "abc").trie(encode, [])
    assert len(set(trie.paths)) == 3
    assert all(not (p != q and q[: len(p)] == p) for p in trie.paths for q in trie.paths)


def _shared(trie: LabelTrie, weights: dict[int, float]) -> list[float]:
    """What greedy decoding says: the mass of a branch that is not taken is shared evenly among its labels."""
    found, walked = [1.0] * len(trie.labels), ()
    while branches := trie.branches(walked):
        total = math.fsum(weights[t] for t in branches)
        best = max(branches, key=lambda t: weights[t])
        for token, labels in branches.items():
            for label in labels:
                found[label] *= weights[token] / total / (1 if token == best else len(labels))
        walked = (*walked, best)
    return found


@given(LABELS, st.data())
def test_greedy_decoding_is_exact_where_it_says_so(labels: list[str], data: st.DataObject) -> None:
    trie = one_field(*labels).trie(encode, [])
    assume(len(set(trie.paths)) == len(trie.paths))
    tokens = sorted({t for path in trie.paths for t in path})
    weights = {t: data.draw(st.floats(1e-3, 1e3)) for t in tokens}
    exact = _walk(trie, weights)
    if trie.exact_when_greedy:
        assert _shared(trie, weights) == pytest.approx(exact)
    # Whatever it shares, of the label that it writes it knows the probability.
    walked: tuple[int, ...] = ()
    while branches := trie.branches(walked):
        walked = (*walked, max(branches, key=lambda t: weights[t]))
    written = trie.paths.index(walked)
    assert _shared(trie, weights)[written] == pytest.approx(exact[written])


def test_labels_that_part_twice_are_not_exact() -> None:
    """By hand: `a` or one of three `b`, and greedy decoding goes to `a`."""
    trie = LabelTrie(("a", "bx", "by", "bz"), ((1, 9), (2, 3), (2, 4), (2, 5)))
    assert trie.forks == ((), (2,))
    assert not trie.exact_when_greedy
    weights = {1: 6.0, 2: 4.0, 3: 8.0, 4: 1.0, 5: 1.0, 9: 1.0}
    assert _walk(trie, weights) == pytest.approx([0.6, 0.32, 0.04, 0.04])
    assert _shared(trie, weights) == pytest.approx([0.6, 0.4 / 3, 0.4 / 3, 0.4 / 3])


@pytest.mark.parametrize(
    ("paths", "forks"),
    [
        (((1, 9), (2, 9), (3, 9)), ((),)),
        (((7, 1), (7, 2)), ((7,),)),
        (((7, 9),), ()),
    ],
)
def test_labels_that_part_once_are_exact(paths: tuple[tuple[int, ...], ...], forks: tuple[tuple[int, ...], ...]) -> None:
    trie = LabelTrie(tuple("abc"[: len(paths)]), paths)
    assert trie.forks == forks
    assert trie.exact_when_greedy


@pytest.mark.parametrize("name", ["choice", "choice_per_byte", "sequence"])
def test_a_field_must_not_bear_the_name_of_another_probability(name: str) -> None:
    with pytest.raises(BadSchemaError, match=f"`{name}`"):
        answer_format({"type": "object", "properties": {name: {"enum": ["a", "b"]}}})
    # A free text may: it is no decision.
    assert answer_format({"type": "object", "properties": {name: {"type": "string"}}}).rest == (name,)


def test_a_later_field_follows_the_values_before_it() -> None:
    trie = FORMAT.trie(encode, ["order status"])
    assert trie.labels == ("auto", "escalate")
    assert [p[0] for p in trie.paths] == [encode("auto")[0], encode("escalate")[0]]


def test_a_label_that_runs_into_the_opening_is_refused() -> None:
    def merging(text: str) -> list[int]:
        """A tokenizer that has one token for `"r`."""
        return [ord(c) for c in text.replace('"r', "\u0001")]

    with pytest.raises(BadSchemaError, match="token of its own"):
        FORMAT.trie(merging, [])


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array"}, "object"),
        ({"type": "object"}, "properties"),
        ({"type": "object", "properties": {}}, "properties"),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, "neither"),
        ({"type": "object", "properties": {"n": {"enum": [1, 2]}}}, "neither"),
        ({"type": "object", "properties": {"n": True}}, "neither"),
        (
            {"type": "object", "properties": {"note": {"type": "string"}, "kind": {"enum": ["a", "b"]}}},
            "after a free property",
        ),
    ],
)
def test_other_schemas_are_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadSchemaError, match=reason):
        answer_format(schema)
