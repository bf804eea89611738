"""A teacher that follows a policy prompt of examples: it decides field by field, then writes the reply under the grammar.

Every example is a few lines (``Message: ...``, then one line a property). A decision field is read off the next-token
distribution and the hidden state after ``Field:``, with the examples in one or several orders, by the field's alignment;
decisions already taken stand in the prompt. The reply is written behind only those examples that share the first decision:
behind all of them a small model repeats the last replies it saw, whatever the message says. It is written inside double
quotes, so that its tokens are those of the JSON answer, which the grammar sees. Prompt and answer ids are made apart and meet
at a token boundary, which is asserted.
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
from distill_gov.teachers.quantisation import divergences
from distill_gov.workers import WorkerSpec
from evals.decisions import AnswerFormat, answer_format
from evals.models.attention import SharedPrefix, encode_prefix
from evals.models.local import Batch, LocalModel, load_model, load_tokenizer

__all__ = ["PolicyPrompt", "PromptedTeacher", "spec"]

MEASURED_EVERY = 8
"""Of an answer's free positions that are scored, the share at which is measured what keeping the likeliest tokens loses."""

Shown = tuple[Array, Array]
"""Label log-probabilities and hidden states, a row a message."""


@dataclass(frozen=True, slots=True)
class PolicyPrompt:
    """The examples and how they are shown.

    Args:
        examples: messages' text under ``message`` and one text a property.
        decisions: the decision fields, in the schema's order.
        free: the free properties after them.
        orders: how many orders of the examples a decision is read under, by field.
    """

    examples: tuple[Mapping[str, str], ...]
    decisions: tuple[str, ...]
    free: tuple[str, ...]
    orders: Mapping[str, int]

    @property
    def fields(self) -> tuple[str, ...]:
        return self.decisions + self.free

    def lines(self, message: str, values: Mapping[str, str], upto: int) -> str:
        """A message with its first ``upto`` properties filled in; free properties stand in quotes."""
        shown = [f"{name.capitalize()}: {values[name]}\n" for name in self.fields[:upto]]
        return f"Message: {message}\n" + "".join(shown)

    def prefix(self, field: str, order: int) -> str:
        """The examples in one of the orders, for a decision. The first order shows every decision, so that one pass over a
        message serves all of them; the others stop at ``field``, which is all they are asked for."""
        examples = list(self.examples)
        random.Random(order).shuffle(examples)
        return self._shown(examples, self.fields.index(field) + 1 if order else len(self.decisions))

    def writing_prefix(self, values: Mapping[str, str]) -> str:
        """The examples behind which the free property is written: those that share the first decision (all, where none does),
        last of them those that share every decision."""
        first = self.decisions[:1]
        alike = [e for e in self.examples if all(e[name] == values[name] for name in first)] or list(self.examples)
        alike.sort(key=lambda e: all(e[name] == values[name] for name in self.decisions))
        return self._shown(alike, len(self.fields))

    def _shown(self, examples: Sequence[Mapping[str, str]], upto: int) -> str:
        return "\n".join(self.lines(e["message"], e, upto) for e in examples) + "\n"

    def question(self, message: str, values: Mapping[str, str], field: str) -> str:
        return self.lines(message, values, self.fields.index(field)) + f"{field.capitalize()}:"


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


class PromptedTeacher:
    """Implements :class:`distill_gov.workers.Worker` with the kinds ``features``, ``decide``, ``write`` and ``score``."""

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
            return [[round(float(x), 5) for x in row] for row in rows]
        if kind == "decide":
            return self.decide([s["text"] for s in shard], [s["given"] for s in shard])
        if kind == "write":
            return self.write([s["text"] for s in shard], [s["values"] for s in shard])
        if kind == "score":
            return self.score([s["text"] for s in shard], [s["values"] for s in shard], [s["answer"] for s in shard])
        raise ValueError(f"unknown kind of work: {kind}")

    def features(self, messages: Sequence[str], values: Sequence[Mapping[str, str]], field: str) -> Array:
        """What the model shows when a field is asked: label log-probabilities under each order, then hidden states.

        Shape (messages, orders x labels + orders x width).
        """
        orders = self.prompt.orders.get(field, 1)
        return _joined([self._read(messages, values, field, order) for order in range(orders)])

    def _first(self, field: str) -> list[int]:
        """First token of each label of a field."""
        labels = next(f.labels for f in self.format.fields if f.name == field)
        first = [self.local.encode(f" {label}")[0] for label in labels]
        if len(set(first)) < len(first):
            raise BadSchemaError(f"labels of `{field}` share their first token", fix="Rename one of them.")
        return first

    def _read(self, messages: Sequence[str], values: Sequence[Mapping[str, str]], field: str, order: int) -> Shown:
        asked = [self.local.encode(self.prompt.question(m, v, field)) for m, v in zip(messages, values, strict=True)]
        return self._look(self.local.batch(self._shared(self.prompt.prefix(field, order))), asked, field)

    def _look(self, batch: Batch, asked: Sequence[Sequence[int]], field: str) -> Shown:
        """Label log-probabilities (rows, labels) and hidden states (rows, width) after the given tokens."""
        with torch.inference_mode():
            logits, states = batch.feed_and_look(asked)
        logp = torch.log_softmax(logits.float(), -1)[:, self._first(field)]
        return logp.cpu().double().numpy(), states.float().cpu().double().numpy()

    def answer(self, messages: Sequence[str], given: Sequence[Mapping[str, str]] | None = None) -> list[dict[str, Any]]:
        """Answers as JSON values: ``text``, ``tokens``, ``finish`` and ``decisions`` (field -> label -> log-probability).

        Args:
            given: for each message, the properties that its reference settles (see :meth:`decide`).
        """
        decided = self.decide(messages, given or [{} for _ in messages])
        written = self.write(messages, [d["values"] for d in decided])
        return [{**w, "decisions": d["decisions"]} for w, d in zip(written, decided, strict=True)]

    def decide(self, messages: Sequence[str], given: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """What the answers will hold, and what the teacher thinks of every label.

        Args:
            given: for each message, the properties that its reference settles. They stand as they are; what the teacher thinks
                of the labels is kept all the same.

        Returns:
            For each message ``values`` (property -> text, the given free property among them) and ``decisions`` (field ->
            label -> log-probability).
        """
        values: list[dict[str, str]] = [{} for _ in messages]
        logps: list[dict[str, list[float]]] = [{} for _ in messages]
        batch = self.local.batch(self._shared(self.prompt.prefix(self.prompt.fields[0], 0)))
        pending = [self.local.encode(self.prompt.question(m, {}, self.prompt.fields[0])) for m in messages]
        for depth, field in enumerate(self.format.fields):
            shown = [self._look(batch, pending, field.name)]
            for order in range(1, self.prompt.orders.get(field.name, 1)):
                shown.append(self._read(messages, values, field.name, order))
            # What was decided before, with its doubts, is read too: the action follows the intent.
            before = [np.array([lp[f.name] for lp in logps]) for f in self.format.fields[:depth]]
            for row, logp in enumerate(self.alignments[field.name](np.concatenate([_joined(shown), *before], 1))):
                values[row][field.name] = given[row].get(field.name, field.labels[int(logp.argmax())])
                logps[row][field.name] = [float(x) for x in logp]
            following = [f"{f.name.capitalize()}:" for f in self.format.fields[depth + 1 : depth + 2]]
            pending = [self.local.encode("\n".join([f" {v[field.name]}", *following])) for v in values]
        for value, known in zip(values, given, strict=True):
            value.update({name: known[name] for name in self.format.rest if name in known})
        labels = {f.name: f.labels for f in self.format.fields}
        return [
            {"values": v, "decisions": {n: dict(zip(labels[n], lp, strict=True)) for n, lp in row.items()}}
            for v, row in zip(values, logps, strict=True)
        ]

    def write(self, messages: Sequence[str], values: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """``text``, ``tokens`` and ``finish`` of answers with these properties; the free one is written where it is missing."""
        done: dict[int, dict[str, Any]] = {}
        for row, value in enumerate(values):
            if all(name in value for name in self.format.rest):
                text = self.format.text(value)
                done[row] = _as_value(text, [*self.local.encode(text), self._eos], "stop")
        for prefix, rows in self._grouped(values, [row for row in range(len(values)) if row not in done]).items():
            asked = [self._asked(messages[row], values[row]) for row in rows]
            openings = [self._opening(values[row]) for row in rows]
            written = self.local.complete(self.local.batch(self._shared(prefix)), asked, openings)
            done |= {row: _as_value(w.text, w.token_ids, w.finish) for row, w in zip(rows, written, strict=True)}
        return [done[row] for row in range(len(values))]

    def _grouped(self, values: Sequence[Mapping[str, str]], rows: Sequence[int]) -> dict[str, list[int]]:
        """Rows by the prefix behind which their free property stands."""
        groups: dict[str, list[int]] = {}
        for row in rows:
            groups.setdefault(self.prompt.writing_prefix(values[row]), []).append(row)
        return groups

    def _opening(self, value: Mapping[str, str]) -> list[int]:
        return self.local.encode(self.format.opening([value[f.name] for f in self.format.fields]))

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
        allows, at temperature 1), ``forced``, and at some positions ``lost``
        (:func:`~distill_gov.teachers.quantisation.divergences` of the dense distribution).
        """
        if not self.format.rest:
            # Nothing but decisions: every other token is forced.
            return [{"start": len(self.local.encode(answer)) + 1, "positions": []} for answer in answers]
        tails, starts, masks = [], [], []
        for value, answer in zip(values, answers, strict=True):
            opening = self._opening(value)
            ids = [*self.local.encode(answer), self._eos]
            if ids[: len(opening)] != opening:
                raise BadSchemaError("an answer's free text runs into its opening quote")
            tails.append(ids[len(opening) :])
            starts.append(len(opening))
            masks.append(self.grammar.masks(ids)[len(opening) :])
        positions: dict[int, list[dict[str, Any]]] = {}
        for prefix, rows in self._grouped(values, range(len(values))).items():
            keep = max(len(tails[row]) for row in rows)
            asked = [self._asked(messages[row], values[row]) + tails[row][:-1] for row in rows]
            logits = self.local.logits(asked, keep, self._shared(prefix))
            for place, row in enumerate(rows):
                positions[row] = self._positions(logits[place, keep - len(tails[row]) :].float(), masks[row])
        return [{"start": start, "positions": positions[row]} for row, start in enumerate(starts)]

    def _positions(self, logits: torch.Tensor, masks: Sequence[Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for row, mask in zip(logits, masks, strict=True):
            allowed = torch.from_numpy(mask).to(row.device)
            log_allowed = float(row[allowed].logsumexp(0) - row.logsumexp(0))
            logp = torch.log_softmax(row.masked_fill(~allowed, float("-inf")) / self.temperature, 0)
            count = min(self.top_k, int(allowed.sum()))
            top = logp.topk(count)
            mass = top.values.double().exp().sum().item()
            free = int(allowed.sum()) > 1
            tail = float(np.log(max(1.0 - mass, 1e-12))) if count < int(allowed.sum()) else None
            lost: dict[str, Any] = {}
            if free and sum(not f["forced"] for f in found) % MEASURED_EVERY == 0:
                dense, kept = logp[allowed].cpu().numpy(), top.values.cpu().numpy()
                lost = {"lost": list(divergences(dense, kept, -np.inf if tail is None else tail))}
            found.append(
                {
                    "ids": top.indices.tolist(),
                    "logp": [round(x, 6) for x in top.values.tolist()],
                    "log_tail": tail,
                    "log_allowed": log_allowed,
                    "forced": not free,
                    **lost,
                }
            )
        return found


def _joined(shown: Sequence[Shown]) -> Array:
    """One row a message: the label log-probabilities of every order first, then the hidden states."""
    return np.concatenate([*(logp for logp, _ in shown), *(states for _, states in shown)], 1)


def _as_value(text: str, tokens: Sequence[int], finish: str) -> dict[str, Any]:
    return {"text": text, "tokens": list(tokens), "finish": finish}


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
    prompt = PolicyPrompt(shown, tuple(f.name for f in answer.fields), answer.rest, orders)
    return PromptedTeacher(local, prompt, {name: Alignment.from_json(a) for name, a in alignments.items()}, top_k, temperature)


def spec(model: Path, **arguments: Any) -> WorkerSpec:
    """The teacher for worker processes; its identity covers weights, tokenizer, prompt, alignment and settings."""
    return WorkerSpec(_make, {"path": str(model), **arguments}, digest_json(["prompted/6", digest_tree(model), arguments]))
