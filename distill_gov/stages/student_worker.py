"""A local model as a worker: it answers redacted chats under the grammar or freely."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.workers import WorkerSpec
from evals.decisions import answer_format
from evals.models.labels import with_exact_labels
from evals.models.local import LocalModel, load_model, load_tokenizer
from evals.models.mass import grammar_mass, mass_scores

__all__ = ["StudentWorker", "student_spec"]


class StudentWorker:
    """A :class:`distill_gov.workers.Worker` with the kinds ``grammar``, ``free``, ``continue``, ``choice`` and ``mass``."""

    def __init__(self, local: LocalModel) -> None:
        self.local = local

    def work(self, kind: str, shard: list[dict[str, Any]]) -> list[Any]:
        if kind == "mass":
            masses = grammar_mass(self.local, [s["messages"] for s in shard], [s["tokens"] for s in shard])
            return [mass_scores(mass) for mass in masses]
        if kind == "choice":
            return self._choose(shard)
        if kind == "continue":
            answers = self.local.go_on(["\n".join(m["content"] for m in s["messages"]) for s in shard])
        else:
            chats = [s["messages"] for s in shard]
            answers = self.local.answer(chats, decoding=kind)
            answers = with_exact_labels(self.local, chats, answers) if kind == "grammar" else answers
        return [
            {
                "text": a.text,
                "tokens": list(a.token_ids),
                "finish": a.finish,
                "decisions": {d.field: dict(zip(d.labels, d.logp, strict=True)) for d in a.decisions},
                "raw": {d.field: dict(zip(d.labels, d.raw_logp, strict=True)) for d in a.decisions},
            }
            for a in answers
        ]

    def _choose(self, shard: list[dict[str, Any]]) -> list[Any]:
        """The likeliest of the choices, and the log-likelihood of each."""
        found = self.local.weigh([s["messages"] for s in shard], [s["choices"] for s in shard])
        likeliest = [s["choices"][max(range(len(w)), key=lambda i: w[i])] for s, w in zip(shard, found, strict=True)]
        return [
            {"text": text, "tokens": [], "finish": "stop", "decisions": {}, "weights": list(w)}
            for text, w in zip(likeliest, found, strict=True)
        ]


def _make(path: str, schema: Mapping[str, Any] | None, temperature: Mapping[str, float], max_tokens: int) -> StudentWorker:
    answer = answer_format(schema) if schema is not None else None
    directory = Path(path)
    local = LocalModel(
        load_model(directory), load_tokenizer(directory), schema=schema, format=answer, temperature=temperature,
        max_tokens=max_tokens,
    )  # fmt: skip
    return StudentWorker(local)


def student_spec(
    directory: Path, schema: Mapping[str, Any] | None, temperature: Mapping[str, float], max_tokens: int
) -> WorkerSpec:
    """A student for worker processes."""
    arguments: dict[str, Any] = {"schema": schema, "temperature": dict(temperature), "max_tokens": max_tokens}
    return WorkerSpec(
        _make, {"path": str(directory), **arguments}, digest_json(["student/3", digest_tree(directory), arguments])
    )
