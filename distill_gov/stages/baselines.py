"""Baselines: what simpler ways reach on the same holdout. Was it worth distilling?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distill_gov.records.digest import digest_json
from distill_gov.records.files import read_jsonl
from distill_gov.records.manifest import read_manifest
from distill_gov.stages import train as training
from distill_gov.stages.bench import Bench
from distill_gov.stages.chats import prompt_text, user_text
from distill_gov.stages.controls import untrained_student
from distill_gov.stages.scoring import best
from distill_gov.stages.settled import HOLDOUT
from distill_gov.stages.student_worker import student_spec
from distill_gov.stages.targets import TargetMaker
from distill_gov.teaching_set.examples import TeachingExample, read_examples
from evals.cases import Case

__all__ = ["BASELINES"]


def gold_only(bench: Bench) -> None:
    project = bench.project
    tools = TargetMaker(project, training.base_model(project))
    examples = []
    for example, label in _labelled(bench):
        text = project.format.text(label)
        examples.append((replace(example, answer=text, answer_source="reference"), tools.bare(example.id, text)))
    inputs = digest_json(training.train_inputs(project, bench.run))
    target = bench.scratch("gold_only", digest_json([inputs, [e.answer for e, _ in examples]]))
    if not target.exists():
        training.make_student(project, examples, target, bench.clock, hard_only=True)
    spec = student_spec(target, project.answer_document, {}, project.settings.student.max_tokens)
    items = [{"messages": [dict(m) for m in c.messages]} for c in bench.suites[HOLDOUT]]
    size = bench.settings.evaluate.batch_size
    with bench.pool(spec) as pool, bench.clock.step("gold_only: holdout", len(items)) as advance:
        found = pool.run("grammar", items, length=training.chat_length, size=size, advance=advance)
    _note(bench, "gold_only", _decided(bench, found), "the same student from our labels of the teaching set, no teacher")


def small_prompted(bench: Bench) -> None:
    from distill_gov.stages.teacher import prompted_spec, teacher_answers

    orders = bench.settings.teacher.orders
    aligned = read_manifest(bench.run.layout.manifest("build")).facts["alignments"]
    alignments = {name: _untouched(a, orders.get(name, 1)) for name, a in aligned.items()}
    spec = prompted_spec(bench.project, alignments, untrained_student(bench))
    texts = [prompt_text(c.messages) for c in bench.suites[HOLDOUT]]
    with bench.pool(spec) as pool, bench.clock.step("small_prompted: holdout", 2 * len(texts)) as advance:
        found = teacher_answers(pool, texts, advance)
    _note(bench, "small_prompted", _decided(bench, found), "the untrained small model behind the teacher's long prompt")


def linear(bench: Bench) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    rows, cases = _labelled(bench), bench.suites[HOLDOUT]
    predicted: dict[str, list[str]] = {}
    for field in bench.project.format.fields:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        model = make_pipeline(make_union(words, letters), LogisticRegression(C=30.0, max_iter=2000))
        model.fit([user_text(e.messages) for e, _ in rows], [label[field.name] for _, label in rows])
        predicted[field.name] = [str(x) for x in model.predict([user_text(c.messages) for c in cases])]
    _note(bench, "linear", predicted, "TF-IDF and logistic regression on our labels; decides, but writes no reply")


def _labelled(bench: Bench) -> list[tuple[TeachingExample, dict[str, str]]]:
    """The teaching examples that have labels of ours."""
    project = bench.project
    labels = {row["id"]: row for _, row in read_jsonl(project.file(project.settings.labels))}
    names = [f.name for f in project.format.fields] + list(project.free_fields)
    rows = [(e, labels[e.trace]) for e in read_examples(bench.run.layout.examples) if e.trace in labels]
    return [(e, {n: str(label.get("reference", label)[n]) for n in names}) for e, label in rows]


def _untouched(alignment: Mapping[str, Any], orders: int) -> dict[str, Any]:
    """The same shape of correction that corrects nothing but averages the orders."""
    labels, features = len(alignment["labels"]), len(alignment["centre"])
    read = range(orders * labels)
    weights = [[1.0 / orders if c in read and c % labels == row else 0.0 for c in range(features)] for row in range(labels)]
    return {**alignment, "centre": [0.0] * features, "scale": [1.0] * features, "weights": weights, "bias": [0.0] * labels}


def _decided(bench: Bench, answers: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The labels chosen, by decision field."""
    return {f.name: [best(a["decisions"][f.name]) for a in answers] for f in bench.project.format.fields}


def _note(bench: Bench, name: str, predicted: Mapping[str, Sequence[str]], note: str) -> None:
    bench.baselines.append({"name": name, **_accuracies(bench.suites[HOLDOUT], predicted), "note": note})


def _accuracies(cases: Sequence[Case], predicted: Mapping[str, Sequence[str]]) -> dict[str, float]:
    right = {
        name: [(c.reference or {}).get(name) == p for c, p in zip(cases, labels, strict=True)]
        for name, labels in predicted.items()
    }
    every = [all(column) for column in zip(*right.values(), strict=True)]
    figures = {f"accuracy.{name}": sum(r) / len(r) for name, r in right.items()}
    return {**figures, "exact_match": sum(every) / len(every)}


BASELINES: Mapping[str, Callable[[Bench], None]] = {
    "gold_only": gold_only,
    "linear": linear,
    "small_prompted": small_prompted,
}
