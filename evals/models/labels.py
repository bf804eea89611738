"""Exact probabilities of a decision field's labels, where greedy decoding sees only the branch that it takes.

Greedy decoding is exact where all labels part at one node (:attr:`evals.decisions.LabelTrie.exact_when_greedy`). Elsewhere each
further fork takes a look of its own: here all forks of a chat are looked at behind one encoding of its prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

import torch

from distill_gov.records.errors import BadInputError, BadSchemaError
from evals.decisions import AnswerFormat, LabelTrie
from evals.models.local import LocalModel
from evals.models.protocol import Answer, LabelDistribution
from evals.structured import parse_answer

__all__ = ["exact_label_logp", "with_exact_labels"]


def exact_label_logp(
    model: LocalModel,
    chats: Sequence[Sequence[Mapping[str, str]]],
    settled: Sequence[Sequence[str]] | None = None,
) -> list[LabelDistribution]:
    """The distribution over the labels of the decision field after those that are settled, one a chat.

    ``raw_logp`` is the sum, along a label's path, of log-softmax over the branches of each fork. ``logp`` is
    log-softmax(``raw_logp`` / T): the temperature scales the distribution over labels, which is what is fitted on dev. Where
    all labels part at one fork both are what greedy decoding gives.

    Args:
        model: with an answer format.
        chats: redacted messages; may be empty.
        settled: per chat the values of the decision fields before; none by default, so that the first field is read. All of
            the same length.

    Raises:
        BadInputError: the model has no answer format, or no decision field is left.
        BadSchemaError: two labels are the same tokens.
    """
    if not chats:
        return []
    before = [tuple(values) for values in settled] if settled is not None else [()] * len(chats)
    if model.format is None or len({len(values) for values in before}) > 1 or len(before) != len(chats):
        raise BadInputError("reading labels needs an answer format, and for each chat values of the same fields")
    if len(before[0]) >= len(model.format.fields):
        raise BadInputError("every decision field is settled already")
    field = model.format.fields[len(before[0])]
    heat = model.temperature.get(field.name, 1.0)
    tries = {values: _distinct(model.format.trie(model.encode, values), field.name) for values in set(before)}
    found = []
    opened = [
        model.prompt_ids(chat) + model.encode(model.format.opening(values)) for chat, values in zip(chats, before, strict=True)
    ]
    for logits, values in zip(_at_forks(model, opened, [tries[v].forks for v in before]), before, strict=True):
        raw = _along(tries[values], logits)
        scaled = torch.log_softmax(torch.tensor(raw, dtype=torch.float64) / heat, 0).tolist()
        found.append(LabelDistribution(field.name, tries[values].labels, tuple(scaled), tuple(raw)))
    return found


def with_exact_labels(
    model: LocalModel, chats: Sequence[Sequence[Mapping[str, str]]], answers: Sequence[Answer]
) -> list[Answer]:
    """The answers with every label's exact probability, also where greedy decoding saw only the branches that it took."""
    if model.format is None:
        return list(answers)
    written = [_labels_written(model.format, answer.text) for answer in answers]
    decisions = [list(answer.decisions) for answer in answers]
    exact: dict[tuple[str, ...], bool] = {}
    for depth in range(len(model.format.fields)):
        reached = [n for n, labels in enumerate(written) if len(labels) > depth and len(decisions[n]) > depth]
        for settled in {written[n][:depth] for n in reached}:
            exact[settled] = model.format.trie(model.encode, settled).exact_when_greedy
        rows = [n for n in reached if not exact[written[n][:depth]]]
        found = exact_label_logp(model, [chats[n] for n in rows], [written[n][:depth] for n in rows])
        for n, distribution in zip(rows, found, strict=True):
            decisions[n][depth] = distribution
    return [replace(answer, decisions=tuple(of_one)) for answer, of_one in zip(answers, decisions, strict=True)]


def _labels_written(answer: AnswerFormat, text: str) -> tuple[str, ...]:
    """The labels that a text states, up to the first field for which it states none."""
    value = parse_answer(text).value
    if not isinstance(value, dict):
        return ()
    stated = [value.get(field.name) for field in answer.fields]
    known = [label in field.labels for label, field in zip(stated, answer.fields, strict=True)]
    return tuple(str(label) for label, _ in takewhile(lambda pair: pair[1], zip(stated, known, strict=True)))


def _distinct(trie: LabelTrie, field: str) -> LabelTrie:
    if len(set(trie.paths)) != len(trie.paths):
        raise BadSchemaError(f"two labels of `{field}` are the same tokens")
    return trie


def _at_forks(model: LocalModel, opened: Sequence[list[int]], forks: Sequence[Sequence[tuple[int, ...]]]) -> list[torch.Tensor]:
    """Per chat the logits at its forks, shape (forks, vocabulary); each prompt is encoded once."""
    batch = model.batch(model.shared)
    with torch.inference_mode():
        # The last token of each prompt is held back, so that a fork without further tokens has one to be looked at behind.
        batch.feed([ids[:-1] for ids in opened], keep=1)
        rows = [row for row, nodes in enumerate(forks) for _ in nodes]
        if not rows:
            return [torch.empty(0, 0) for _ in opened]
        batch.keep_rows(rows)
        seen = batch.feed(
            [[opened[row][-1], *node] for row, node in zip(rows, (n for f in forks for n in f), strict=True)], keep=1
        )
    return list(torch.split(seen[:, -1].float().cpu(), [len(nodes) for nodes in forks]))


def _along(trie: LabelTrie, logits: torch.Tensor) -> list[float]:
    sums = [0.0] * len(trie.labels)
    for row, node in zip(logits, trie.forks, strict=True):
        branches = trie.branches(node)
        logp = torch.log_softmax(row[list(branches)].double(), 0).tolist()
        for share, labels in zip(logp, branches.values(), strict=True):
            for label in labels:
                sums[label] += share
    return sums
