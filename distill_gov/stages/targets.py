"""From answers to what the trainer aims at: soft targets out of the teacher's scores, bare ones where nobody scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_gov.records.digest import digest_bytes
from distill_gov.stages.chats import CleanChat, prompt_text
from distill_gov.teachers.soft_targets import Capture, SoftTargets
from distill_gov.teaching_set.examples import TeachingExample
from evals.decisions import AnswerFormat, LabelTrie

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["TargetMaker", "assembled", "lost_by_keeping", "reference_targets", "target_captures"]

TEMPLATE = "policy prompt lines/1"
"""How the teacher is asked."""


class TargetMaker:
    """The base model's tokenizer and grammar, as targets and masks need them."""

    def __init__(self, project: Project, base: str) -> None:
        from evals.grammar import Grammar
        from evals.models.local import load_tokenizer

        directory = project.model_directory(base)
        self.tokenizer = load_tokenizer(directory)
        self.format = project.format_or_none
        size = json.loads((directory / "config.json").read_text("utf-8"))["vocab_size"]
        document = project.answer_document
        self.grammar = Grammar.compile(document, self.tokenizer, size) if document is not None else None
        self._table: dict[bytes, int] = {}
        self.masks: list[Any] = []
        """Grammar masks met so far; :meth:`mask_indices` gives places in it."""

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def bare(self, example: str, text: str) -> SoftTargets:
        forced = None
        if self.grammar is not None:
            tokens = [*self.encode(text), int(self.tokenizer.eos_token_id)]
            forced = [int(m.sum()) == 1 for m in self.grammar.masks(tokens)]
        return reference_targets(example, text, self.format, self.encode, int(self.tokenizer.eos_token_id), forced)

    def mask_indices(self, targets: SoftTargets) -> tuple[int, ...]:
        if self.grammar is None:
            return (-1,) * targets.n
        found = []
        for mask, forced in zip(self.grammar.masks(targets.token_ids.tolist()), targets.forced.tolist(), strict=True):
            if forced:
                found.append(-1)
                continue
            key = np.packbits(mask).tobytes()
            if key not in self._table:
                self._table[key] = len(self.masks)
                self.masks.append(mask)
            found.append(self._table[key])
        return tuple(found)


def _node(trie: LabelTrie, logp: Mapping[str, float], walked: Sequence[int], temperature: float) -> dict[int, float]:
    """Log-probability at ``temperature`` of each branch at a node of the trie."""
    branches = trie.branches(walked)
    mass = {t: float(np.logaddexp.reduce([logp[trie.labels[i]] for i in below])) / temperature for t, below in branches.items()}
    total = float(np.logaddexp.reduce(list(mass.values())))
    return {t: m - total for t, m in mass.items()}


class _Line:
    """The positions of one answer, filled from the left."""

    def __init__(self, tokens: Sequence[int]) -> None:
        n = len(tokens)
        self.field, self.forced = [""] * n, [True] * n
        self.ids: list[tuple[int, ...]] = [()] * n
        self.logp: list[tuple[float, ...]] = [()] * n
        self.tail: list[float | None] = [None] * n
        self.allowed = [0.0] * n

    def decide(
        self, answer: AnswerFormat, encode: Callable[[str], list[int]], values: Sequence[str],
        logps: Mapping[str, Mapping[str, float]], temperature: float,
    ) -> None:  # fmt: skip
        for depth, field in enumerate(answer.fields):
            before = list(values[:depth])
            start = len(encode(answer.opening(before)))
            trie = answer.trie(encode, before)
            path = trie.paths[trie.labels.index(values[depth])]
            for step in range(len(path)):
                node = _node(trie, logps[field.name], path[:step], temperature)
                if len(node) > 1:
                    place = start + step
                    self.field[place], self.forced[place] = field.name, False
                    self.ids[place], self.logp[place] = tuple(node), tuple(node.values())

    def targets(self, example: str, identity: str, support: str, temperature: float, tokens: Sequence[int]) -> SoftTargets:
        return SoftTargets.ragged(
            example, identity, support, temperature, token_ids=tokens, field=self.field, forced=self.forced, ids=self.ids,
            logp=self.logp, log_tail=self.tail, log_allowed=self.allowed,
        )  # fmt: skip


def target_captures(project: Project, teacher: str, examples: Sequence[TeachingExample]) -> dict[str, Capture]:
    """What the soft targets of each example must be of, by example.

    Args:
        teacher: :attr:`WorkerSpec.identity` of the teacher that scored them.
    """
    t = project.settings.teacher
    vocabulary = digest_bytes(project.tokenizer(t.model).backend_tokenizer.to_str().encode())
    return {
        e.id: Capture.of(
            teacher=teacher, tokenizer=vocabulary, template=TEMPLATE, prompt=prompt_text(e.messages), text=e.answer,
            temperature=t.temperature, k=t.top_k, support="grammar",
        )
        for e in examples
    }  # fmt: skip


def assembled(
    project: Project,
    captures: Mapping[str, Capture],
    chats: Sequence[CleanChat],
    examples: Sequence[TeachingExample],
    answers: Mapping[str, Mapping[str, Any]],
    scored: Sequence[Mapping[str, Any]],
) -> list[SoftTargets]:
    """Soft targets of the examples, from the teacher's decisions and its scores of the free text.

    Args:
        captures: those of :func:`target_captures`.
    """
    t = project.settings.teacher
    tokenizer = project.tokenizer(t.model)

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    found = []
    for chat, example, score in zip(chats, examples, scored, strict=True):
        tokens = (*encode(example.answer), int(tokenizer.eos_token_id))
        line = _Line(tokens)
        value = json.loads(example.answer)
        values = [value[f.name] for f in project.format.fields]
        line.decide(project.format, encode, values, answers[chat.trace]["decisions"], t.temperature)
        for offset, position in enumerate(score["positions"]):
            place = score["start"] + offset
            line.forced[place], line.allowed[place] = position["forced"], position["log_allowed"]
            if not position["forced"]:
                line.ids[place], line.logp[place] = tuple(position["ids"]), tuple(position["logp"])
                line.tail[place] = position["log_tail"]
        found.append(line.targets(example.id, captures[example.id].identity, "grammar", t.temperature, tokens))
    return found


def lost_by_keeping(scored: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What soft targets lose against the teacher's dense distributions, where the teacher measured it: means and the largest
    sum, in nats (:func:`distill_gov.teachers.quantisation.divergences`)."""
    lost = np.array([p["lost"] for score in scored for p in score["positions"] if "lost" in p]).reshape(-1, 2)
    if not len(lost):
        return {"measured": 0}
    means = {"by_quantisation": lost[:, 0].mean(), "by_tail": lost[:, 1].mean(), "largest": lost.sum(1).max()}
    return {"measured": len(lost), "kl_to_dense": {name: float(f"{value:.4g}") for name, value in means.items()}}


def reference_targets(
    example: str,
    text: str,
    answer: AnswerFormat | None,
    encode: Callable[[str], list[int]],
    end: int,
    forced: Sequence[bool] | None,
) -> SoftTargets:
    """Targets of an answer nobody scored: only its own tokens, with the labels' branches where a field is decided."""
    tokens = (*encode(text), end)
    line = _Line(tokens)
    line.forced = list(forced) if forced is not None else [False] * len(tokens)
    if answer is not None and answer.fields:
        value = json.loads(text)
        even = {f.name: {label: -float(np.log(len(f.labels))) for label in f.labels} for f in answer.fields}
        line.decide(answer, encode, [value[f.name] for f in answer.fields], even, 1.0)
    return line.targets(example, "", "grammar" if answer else "full", 1.0, tokens)
