"""A teacher that follows a policy prompt of examples: it decides field by field, then writes the reply under the grammar.

Every example is a few lines (``Message: ...``, then one line a property). A decision field is read off the next-token
distribution after ``Field:`` with the examples in several orders, corrected by the field's alignment; decisions already taken
stand in the prompt. The reply is written inside double quotes, so that its tokens are those of the JSON answer, which the
grammar sees. Prompt and answer ids are made apart and meet at a token boundary, which is asserted.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.records.errors import BadSchemaError
from distill_gov.teachers.alignment import Alignment, Array
from distill_gov.workers import WorkerSpec
from evals.decisions import AnswerFormat, answer_format
from evals.models.attention import SharedPrefix, encode_prefix
from evals.models.local import Batch, LocalModel, load_model, load_tokenizer

__all__ = ["PolicyPrompt", "PromptedTeacher", "answer_value", "spec"]


@dataclass(frozen=True, slots=True)
class PolicyPrompt:
    """The examples and how they are shown.

    Args:
        examples: messages' text under ``message`` and one text a property.
        fields: decision fields, then the free ones, in the schema's order.
        orders: how many orders of the examples a decision is read under, by field.
    """

    examples: tuple[Mapping[str, str], ...]
    fields: tuple[str, ...]
    orders: Mapping[str, int]

    def lines(self, message: str, values: Mapping[str, str], upto: int) -> str:
        """A message with its first ``upto`` properties filled in; free properties stand in quotes."""
        shown = [f"{name.capitalize()}: {values[name]}\n" for name in self.fields[:upto]]
        return f"Message: {message}\n" + "".join(shown)

    def prefix(self, field: str, order: int) -> str:
        """The examples in one of the orders. The first order shows every property, so that one pass over a message serves all
        fields; the others stop at ``field``, which is all they are asked for."""
        examples = list(self.examples)
        random.Random(order).shuffle(examples)
        upto = self.fields.index(field) + 1 if order else len(self.fields)
        return "\n".join(self.lines(e["message"], e, upto) for e in examples) + "\n"

    def question(self, message: str, values: Mapping[str, str], field: str) -> str:
        return self.lines(message, values, self.fields.index(field)) + f"{field.capitalize()}:"


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


class PromptedTeacher:
    """Implements :class:`distill_gov.workers.Worker` with the kinds ``features``, ``answer`` and ``score``."""

    def __init__(
        self, local: LocalModel, prompt: PolicyPrompt, alignments: Mapping[str, Alignment], top_k: int, temperature: float
    ) -> None:
        if local.format is None or local.grammar is None:
            raise BadSchemaError("a prompted teacher needs an answer schema")
        self.local, self.prompt, self.alignments = local, prompt, dict(alignments)
        self.format: AnswerFormat = local.format
        self.grammar = local.grammar
        self.top_k, self.temperature = top_k, temperature
        self._prefixes: dict[str, SharedPrefix] = {}

    def work(self, kind: str, shard: list[dict[str, Any]]) -> list[Any]:
        if kind == "features":
            rows = self.features([s["text"] for s in shard], [s["values"] for s in shard], shard[0]["field"])
            return [[float(x) for x in row] for row in rows]
        if kind == "answer":
            return self.answer([s["text"] for s in shard], [s.get("given", {}) for s in shard])
        if kind == "score":
            return self.score([s["text"] for s in shard], [s["values"] for s in shard], [s["answer"] for s in shard])
        raise ValueError(f"unknown kind of work: {kind}")

    def features(self, messages: Sequence[str], values: Sequence[Mapping[str, str]], field: str) -> Array:
        """Raw label log-probabilities under each order, shape (messages, orders x labels)."""
        return np.concatenate(
            [self._read(messages, values, field, order) for order in range(self.prompt.orders.get(field, 1))], 1
        )

    def _first(self, field: str) -> list[int]:
        """First token of each label of a field."""
        labels = next(f.labels for f in self.format.fields if f.name == field)
        first = [self.local.encode(f" {label}")[0] for label in labels]
        if len(set(first)) < len(first):
            raise BadSchemaError(f"labels of `{field}` share their first token", fix="Rename one of them.")
        return first

    def _read(self, messages: Sequence[str], values: Sequence[Mapping[str, str]], field: str, order: int) -> Array:
        asked = [self.local.encode(self.prompt.question(m, v, field)) for m, v in zip(messages, values, strict=True)]
        return self._label_logp(self.local.logits(asked, 1, self._shared(self.prompt.prefix(field, order))), field)

    def _label_logp(self, logits: torch.Tensor, field: str) -> Array:
        found: Array = torch.log_softmax(logits[:, 0].float(), -1)[:, self._first(field)].cpu().double().numpy()
        return found

    def answer(self, messages: Sequence[str], given: Sequence[Mapping[str, str]] | None = None) -> list[dict[str, Any]]:
        """Answers with their corrected decisions, as JSON values (see :func:`answer_value`).

        Args:
            given: for each message, the properties that its reference settles. They are written as they stand; what the
                teacher thinks of the labels is kept all the same.
        """
        given = given or [{} for _ in messages]
        values: list[dict[str, str]] = [{} for _ in messages]
        logps: list[dict[str, list[float]]] = [{} for _ in messages]
        batch = self.local.batch(self._shared(self.prompt.prefix(self.prompt.fields[0], 0)))
        pending = [self.local.encode(self.prompt.question(m, {}, self.prompt.fields[0])) for m in messages]
        for depth, field in enumerate(self.format.fields):
            with torch.inference_mode():
                features = [self._label_logp(batch.feed(pending, keep=1), field.name)]
            for order in range(1, self.prompt.orders.get(field.name, 1)):
                features.append(self._read(messages, values, field.name, order))
            # What was decided before, with its doubts, is read too: the action follows the intent.
            features += [np.array([lp[f.name] for lp in logps]) for f in self.format.fields[:depth]]
            for row, logp in enumerate(self.alignments[field.name](np.concatenate(features, 1))):
                values[row][field.name] = given[row].get(field.name, field.labels[int(logp.argmax())])
                logps[row][field.name] = [float(x) for x in logp]
            following = self.prompt.fields[depth + 1 : depth + 2]
            quote = ' "' if following and following[0] in self.format.rest else ""
            asked = "".join(f"{n.capitalize()}:{quote}" for n in following)
            pending = [self.local.encode(f" {v[field.name]}\n{asked}") for v in values]
        texts = self._written(batch, pending, values, given)
        return [answer_value(*text, lp, self.format) for text, lp in zip(texts, logps, strict=True)]

    def _written(
        self, batch: Batch, pending: list[list[int]], values: Sequence[Mapping[str, str]], given: Sequence[Mapping[str, str]]
    ) -> list[tuple[str, Sequence[int], str]]:
        """Text, tokens and finish of each answer: the free property is the reference's, or the teacher writes it."""
        free = [self._free()] if self.format.rest else []
        done: dict[int, tuple[str, Sequence[int], str]] = {}
        for row, (value, known) in enumerate(zip(values, given, strict=True)):
            if all(name in known for name in free):
                text = self.format.text({**value, **{name: known[name] for name in free}})
                done[row] = (text, [*self.local.encode(text), self._eos], "stop")
        open_rows = [row for row in range(len(values)) if row not in done]
        if open_rows:
            batch.keep_rows(open_rows)
            names = [f.name for f in self.format.fields]
            openings = [self.local.encode(self.format.opening([values[row][n] for n in names])) for row in open_rows]
            written = self.local.complete(batch, [pending[row] for row in open_rows], openings)
            done |= {row: (w.text, w.token_ids, w.finish) for row, w in zip(open_rows, written, strict=True)}
        return [done[row] for row in range(len(values))]

    def _free(self) -> str:
        if len(self.format.rest) != 1:
            raise BadSchemaError("a prompted teacher writes exactly one free property", fix="Keep one string property.")
        return self.format.rest[0]

    def _asked(self, message: str, values: Mapping[str, str]) -> list[int]:
        return self.local.encode(self.prompt.question(message, values, self._free()) + ' "')

    @property
    def _eos(self) -> int:
        return int(self.local.tokenizer.eos_token_id)

    def _shared(self, prefix: str) -> SharedPrefix:
        if prefix not in self._prefixes:
            self._prefixes[prefix] = encode_prefix(self.local.model, self.local.encode(prefix))
        return self._prefixes[prefix]

    def score(
        self, messages: Sequence[str], values: Sequence[Mapping[str, str]], answers: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Distributions over the free property's tokens of the given answers, restricted to what the grammar allows.

        Returns, for each answer: ``start`` (position of the first free token in the answer), and one entry a position onwards:
        ``ids`` and ``logp`` (top k at the captured temperature), ``log_tail``, ``log_allowed`` (log of the mass the grammar
        allows, at temperature 1), ``forced``.
        """
        names = [f.name for f in self.format.fields]
        asked, tails, starts, masks = [], [], [], []
        for message, value, answer in zip(messages, values, answers, strict=True):
            opening = self.local.encode(self.format.opening([value[n] for n in names]))
            ids = [*self.local.encode(answer), self._eos]
            if ids[: len(opening)] != opening:
                raise BadSchemaError("an answer's free text runs into its opening quote")
            asked.append(self._asked(message, value))
            tails.append(ids[len(opening) :])
            starts.append(len(opening))
            masks.append(self.grammar.masks(ids)[len(opening) :])
        keep = max(map(len, tails))
        rows = [a + t[:-1] for a, t in zip(asked, tails, strict=True)]
        logits = self.local.logits(rows, keep, self._shared(self.prompt.prefix(self._free(), 0)))
        return [
            {"start": start, "positions": self._positions(logits[i, keep - len(tails[i]) :].float(), masks[i])}
            for i, start in enumerate(starts)
        ]

    def _positions(self, logits: torch.Tensor, masks: Sequence[Any]) -> list[dict[str, Any]]:
        found = []
        for row, mask in zip(logits, masks, strict=True):
            allowed = torch.from_numpy(mask).to(row.device)
            log_allowed = float(row[allowed].logsumexp(0) - row.logsumexp(0))
            logp = torch.log_softmax(row.masked_fill(~allowed, float("-inf")) / self.temperature, 0)
            count = min(self.top_k, int(allowed.sum()))
            top = logp.topk(count)
            mass = top.values.double().exp().sum().item()
            found.append(
                {
                    "ids": top.indices.tolist(),
                    "logp": [round(x, 6) for x in top.values.tolist()],
                    "log_tail": float(np.log(max(1.0 - mass, 1e-12))) if count < int(allowed.sum()) else None,
                    "log_allowed": log_allowed,
                    "forced": int(allowed.sum()) == 1,
                }
            )
        return found


def answer_value(
    text: str, tokens: Sequence[int], finish: str, logps: Mapping[str, Sequence[float]], answer: AnswerFormat | None
) -> dict[str, Any]:
    """An answer as a JSON value: ``text``, ``tokens``, ``finish``, ``decisions`` (field -> log-probability by label)."""
    labels = {f.name: f.labels for f in answer.fields} if answer else {}
    return {
        "text": text,
        "tokens": list(tokens),
        "finish": finish,
        "decisions": {name: dict(zip(labels[name], logp, strict=True)) for name, logp in logps.items()},
    }


def _make(
    path: str,
    schema: Mapping[str, Any],
    examples: Sequence[Mapping[str, str]],
    orders: Mapping[str, int],
    alignments: Mapping[str, Any],
    top_k: int,
    temperature: float,
    max_tokens: int,
) -> PromptedTeacher:
    answer = answer_format(schema)
    local = LocalModel(load_model(Path(path)), load_tokenizer(Path(path)), schema=schema, format=answer, max_tokens=max_tokens)
    free = set(answer.rest)
    shown = tuple({k: _quoted(v) if k in free else v for k, v in e.items()} for e in examples)
    prompt = PolicyPrompt(shown, tuple(f.name for f in answer.fields) + answer.rest, orders)
    return PromptedTeacher(local, prompt, {name: Alignment.from_json(a) for name, a in alignments.items()}, top_k, temperature)


def spec(model: Path, **arguments: Any) -> WorkerSpec:
    """The teacher for worker processes; its identity covers weights, tokenizer, prompt, alignment and settings."""
    return WorkerSpec(_make, {"path": str(model), **arguments}, digest_json(["prompted/3", digest_tree(model), arguments]))
