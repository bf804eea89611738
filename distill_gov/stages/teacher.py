"""Aligning and admitting the prompted teacher, and putting its soft targets together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, TeacherNotAdmittedError
from distill_gov.stages.carried import clean_answered
from distill_gov.stages.chats import CleanChat, clean_chats
from distill_gov.stages.settled import versions
from distill_gov.teachers.alignment import fit_alignment
from distill_gov.traces import Trace, read_traces
from distill_gov.workers import Pool, WorkerSpec
from evals.evidence import Subject

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.stages.build import Prepared

__all__ = ["admitted_teacher", "prompted_spec", "teacher_subject"]


def _gold(project: Project) -> tuple[list[Trace], list[Trace]]:
    traces = read_traces(project.file(project.settings.gold))
    shown = [t for t in traces if t.tags.get("use") == "prompt"]
    held = [t for t in traces if t.tags.get("use") == "admission"]
    if not shown:
        raise BadInputError("no gold trace is tagged `use: prompt`", where=project.settings.gold)
    return shown, held


def _texts(project: Project, traces: Sequence[Trace]) -> list[str]:
    chats = list(clean_chats(project.redactor, [(t.id, t.messages) for t in traces]))
    _refuse_unredacted(chats)
    return [c.text for c in chats]


def _refuse_unredacted(chats: Sequence[CleanChat]) -> None:
    if any(c.refused for c in chats):
        raise BadInputError("a gold or dev message could not be redacted", fix="Remove it from the file.")


def _examples(project: Project, shown: Sequence[Trace]) -> list[dict[str, str]]:
    """What the prompt shows of the gold traces: a message and its right answer, redacted together."""
    chats = list(clean_answered(project.redactor, shown, project.format))
    _refuse_unredacted(chats)
    return [
        {"message": chat.text, **{name: str(value) for name, value in json.loads(chat.answer or "{}").items()}}
        for chat in chats
    ]


def prompted_spec(project: Project, alignments: Mapping[str, Any], model: Path | None = None) -> WorkerSpec:
    """The prompted teacher (or another model behind the same prompt), for workers."""
    from distill_gov.teachers.prompted import spec

    t = project.settings.teacher
    shown, _ = _gold(project)
    examples = _examples(project, shown)
    return spec(
        model or project.model_directory(t.model),
        schema=project.answer_document,
        examples=examples,
        orders=dict(t.orders),
        alignments=dict(alignments),
        top_k=t.top_k,
        temperature=t.temperature,
        max_tokens=t.max_tokens,
    )


def admitted_teacher(project: Project, clock: Prepared) -> tuple[Pool, dict[str, Any]]:
    """Align the teacher on dev, admit it on the held gold cases and dev, and return it ready for work.

    Raises:
        TeacherNotAdmittedError: a decision field is under its floor.
    """
    s = project.settings
    dev = read_traces(project.file(s.dev))
    _, held = _gold(project)
    texts = _texts(project, dev + held)
    fields = project.format.fields
    values: list[dict[str, str]] = [{} for _ in texts]
    alignments: dict[str, Any] = {}
    right: dict[str, list[bool]] = {}
    decided: list[Any] = []
    truth = [dict(t.reference or {}) for t in dev + held]
    with (
        clock.step("aligning the teacher", len(texts) * len(fields)) as advance,
        Pool(prompted_spec(project, {}), project.layout.cache, s.workers) as pool,
    ):
        for field in fields:
            items = [{"text": t, "values": dict(v), "field": field.name} for t, v in zip(texts, values, strict=True)]
            rows = pool.run("features", items, length=lambda i: len(i["text"]), size=16, advance=advance)
            features = np.concatenate([np.asarray(rows), *decided], 1)
            labelled = [t[field.name] for t in truth]
            alignment, crossed = fit_alignment(features[: len(dev)], labelled[: len(dev)], field.labels)
            logp = np.concatenate([crossed, alignment(features[len(dev) :])]) if held else crossed
            decided.append(logp)
            chosen = [field.labels[int(row.argmax())] for row in logp]
            right[field.name] = [a == b for a, b in zip(chosen, labelled, strict=True)]
            for value, label in zip(values, chosen, strict=True):
                value[field.name] = label
            alignments[field.name] = alignment.as_json()
    admission = {
        f"accuracy.{name}": {"value": sum(r) / len(r), "floor": s.teacher.floor.get(name, 0.0), "n": len(r)}
        for name, r in right.items()
    }
    for name, figure in admission.items():
        if not figure["value"] >= figure["floor"]:
            raise TeacherNotAdmittedError(
                f"the teacher's {name} is {figure['value']:.3f} on {figure['n']} admission cases,"
                f" under its floor {figure['floor']}",
                where="distill.yaml: teacher.floor",
                fix="Give it better examples, or another teacher.",
            )
    spec = prompted_spec(project, alignments)
    subject = teacher_subject(project, spec)
    facts = {"teacher": asdict(subject), "admission": admission, "alignments": alignments}
    return Pool(spec, project.layout.cache, s.workers), facts


def teacher_subject(project: Project, spec: WorkerSpec) -> Subject:
    t = project.settings.teacher
    arguments = {k: v for k, v in spec.arguments.items() if k != "path"}
    return Subject(
        name="teacher",
        role="teacher",
        model=project.model_digest(t.model),
        prompt=digest_json(arguments),
        template=digest_json("policy prompt lines/1"),
        decoding=f"grammar, {t.max_tokens} tokens",
        engine=f"transformers {versions().get('transformers', '')}",
        note=t.note,
    )
