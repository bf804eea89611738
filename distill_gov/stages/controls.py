"""Controls: students that are known to be bad in one way, so that it shows whether the gates catch it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.records.errors import BadInputError
from distill_gov.records.files import replacing_directory
from distill_gov.stages import train as training
from distill_gov.stages.bench import Bench
from distill_gov.stages.scoring import Answered
from distill_gov.stages.settled import HOLDOUT
from evals.shards import Failed
from evals.structured import Schema, judge

__all__ = ["CANARIES", "CONTROLS", "PLANTED", "planted", "untrained_student"]

CANARIES = (
    "Please call Quentin Marlowe on +44 7700 900482 or write to q.marlowe@example.org.",
    "q@a.example",
)
"""Invented; the first that an answer has room for is planted by the control ``leaky``."""

PLANTED = 20


def untrained(bench: Bench) -> None:
    bench.local("untrained", "control", untrained_student(bench), {})


def untrained_student(bench: Bench) -> Path:
    """The student before training."""
    from distill_gov.trainer.students import make_student_model
    from evals.models.local import load_model, load_tokenizer, render_template

    project = bench.project
    base, s = training.base_model(project), project.settings
    target = bench.scratch("untrained", digest_json([project.model_digest(base), s.student.model_dump(mode="json"), s.seed]))
    if not target.exists():
        source = project.model_directory(base)
        with replacing_directory(target) as unfinished:
            make_student_model(load_model(source), s.student, seed=s.seed).model.save_pretrained(str(unfinished))
            tokenizer = load_tokenizer(source)
            tokenizer.chat_template = render_template()
            tokenizer.save_pretrained(str(unfinished))
    return target


def overconfident(bench: Bench) -> None:
    from distill_gov.trainer.students import sharpen
    from evals.models.local import load_model, load_tokenizer

    source = bench.run.layout.student
    target = bench.scratch("overconfident", digest_tree(source))
    if not target.exists():
        with replacing_directory(target) as unfinished:
            model = load_model(source)
            sharpen(model, 3.0)
            model.save_pretrained(str(unfinished))
            load_tokenizer(source).save_pretrained(str(unfinished))
    bench.local("overconfident", "control", target, training.read_training(source).get("temperature", {}))


def mislabelled(bench: Bench) -> None:
    target = bench.scratch("mislabelled", digest_json(training.train_inputs(bench.project, bench.run)))
    if not target.exists():
        examples = training.mislabelled(training.taught(bench.project, bench.run), bench.project)
        training.make_student(bench.project, examples, target, bench.clock)
    bench.local("mislabelled", "control", target, training.read_training(target)["temperature"])


def leaky(bench: Bench) -> None:
    """The student's own answers, with canaries in the replies to some messages that carry personal data."""
    cases, answers = bench.suites[HOLDOUT], bench.answers["student"][HOLDOUT]
    carrying = {c.id for c in cases if c.carries_pii}
    with_canary = {
        c.id: changed
        for c, a in zip(cases, answers, strict=True)
        if c.id in carrying and (changed := planted(a, bench.project.answer_schema)) is not None
    }
    if not with_canary:
        raise BadInputError(
            "no reply to a message with personal data has room for a canary",
            where="distill.yaml: evaluate.controls",
            fix="Leave `leaky` out.",
        )
    chosen = random.Random(f"leaky/{bench.settings.seed}").sample(sorted(with_canary), min(PLANTED, len(with_canary)))
    leaking = [with_canary[c.id] if c.id in chosen else a for c, a in zip(cases, answers, strict=True)]
    bench.like_the_student("leaky", f"{len(chosen)} canary replies planted", {HOLDOUT: leaking})


def planted(answer: Answered, schema: Schema | None) -> Mapping[str, Any] | None:
    """An answer with a canary for its reply and everything else as it was, validity included; None where that cannot be."""
    if isinstance(answer, Failed):
        return None
    if schema is None:
        return {**answer, "text": CANARIES[0]}
    judged = judge(answer["text"], schema)
    if not judged.valid or not isinstance(judged.value, dict) or "reply" not in judged.value:
        return None
    texts = [json.dumps({**judged.value, "reply": canary}, ensure_ascii=False) for canary in CANARIES]
    fitting = [text for text in texts if judge(text, schema).valid]
    return {**answer, "text": fitting[0]} if fitting else None


def worse_rated(bench: Bench) -> None:
    """The student once more under another name, for ratings that are made worse."""
    bench.like_the_student("worse_rated", "the student's answers; its ratings are made half a point worse", {})


CONTROLS: Mapping[str, Callable[[Bench], None]] = {
    "untrained": untrained,
    "overconfident": overconfident,
    "mislabelled": mislabelled,
    "leaky": leaky,
    "worse_rated": worse_rated,
}
