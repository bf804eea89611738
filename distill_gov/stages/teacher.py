"""Aligning, admitting and asking a prompted teacher."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, TeacherNotAdmittedError
from distill_gov.settings.teacher import DEFAULT
from distill_gov.stages.carried import clean_answered
from distill_gov.stages.chats import CleanChat, asked, clean_chats, languages_of
from distill_gov.stages.settled import versions
from distill_gov.stages.targets import TEMPLATE
from distill_gov.teachers.alignment import fit_alignment
from distill_gov.traces import Trace, read_traces, reference_answer
from distill_gov.workers import Pool, WorkerSpec
from evals.evidence import Subject
from evals.shards import Failed

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.stages.build import Prepared

__all__ = [
    "AdmittedTeacher",
    "Labelled",
    "admitted_teacher",
    "labelled",
    "prompted_spec",
    "teacher_answers",
    "teacher_decisions",
    "teacher_samples",
    "teacher_scores",
    "teacher_subject",
]

SHARD = 16
"""Texts that are decided or written together."""


def _gold(project: Project) -> tuple[list[Trace], list[Trace]]:
    traces = read_traces(project.file(project.settings.gold))
    shown = [t for t in traces if t.tags.get("use") == "prompt"]
    held = [t for t in traces if t.tags.get("use") == "admission"]
    if not shown:
        raise BadInputError("no gold trace is tagged `use: prompt`", where=project.settings.gold)
    return shown, held


def _texts(project: Project, traces: Sequence[Trace]) -> list[str]:
    chats = list(clean_chats(project.redactor, [(t.id, asked(t)) for t in traces], languages=languages_of(traces)))
    _refuse_unredacted(chats)
    return [c.prompt for c in chats]


def _refuse_unredacted(chats: Sequence[CleanChat]) -> None:
    if any(c.refused for c in chats):
        raise BadInputError("a gold or dev message could not be redacted", fix="Remove it from the file.")


def _examples(project: Project, shown: Sequence[Trace]) -> list[dict[str, str]]:
    """What the prompt shows of the gold traces: a message and its right answer, redacted together."""
    names = (*(f.name for f in project.format.fields), *project.format.rest)
    known = [replace(t, reference={n: v for n, v in (t.reference or {}).items() if n in names}) for t in shown]
    chats = list(clean_answered(project.redactor, known, project.format, reference_answer))
    _refuse_unredacted(chats)
    return [
        {"message": chat.prompt, **{name: str(value) for name, value in json.loads(chat.answer or "{}").items()}}
        for chat in chats
    ]


def prompted_spec(
    project: Project, alignments: Mapping[str, Any], model: Path | None = None, *, teacher: str = DEFAULT
) -> WorkerSpec:
    """A prompted teacher (or another model behind the same prompt), for workers.

    Args:
        teacher: its name in ``distill.yaml``.
    """
    from distill_gov.teachers.prompted import spec

    t = project.settings.all_teachers[teacher]
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


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labelled messages on which teachers are aligned and admitted: dev, teaching traces with a reference, held gold."""

    dev: Sequence[Trace]
    referenced: Sequence[str]
    """Ids of the teaching traces."""
    held: Sequence[Trace]
    texts: Sequence[str]
    """What teachers read of each, in this order."""
    truth: Sequence[Mapping[str, Any]]

    @property
    def fitted(self) -> int:
        """How many the alignment is fitted on: all but the held gold."""
        return len(self.dev) + len(self.referenced)

    @property
    def admitting(self) -> list[int]:
        """Those that a teacher is measured on."""
        return [i for i in range(len(self.texts)) if not self.settled(i)]

    def settled(self, place: int) -> bool:
        """Whether a message's labels are a reference's, which stands in its prompt."""
        return len(self.dev) <= place < self.fitted


def labelled(project: Project, referenced: Sequence[tuple[CleanChat, Mapping[str, str]]]) -> Labelled:
    """The messages that admission needs.

    Args:
        referenced: teaching chats with the labels that their references give.
    """
    dev = read_traces(project.file(project.settings.dev))
    _, held = _gold(project)
    return Labelled(
        dev,
        [c.trace for c, _ in referenced],
        held,
        [*_texts(project, dev), *(c.prompt for c, _ in referenced), *_texts(project, held)],
        [dict(t.reference or {}) for t in dev] + [dict(r) for _, r in referenced] + [dict(t.reference or {}) for t in held],
    )


@dataclass(frozen=True, slots=True)
class AdmittedTeacher:
    """A teacher that was aligned, measured against its floor and may teach."""

    spec: WorkerSpec
    facts: dict[str, Any]
    """For the manifest: subject, admission figures, alignments."""
    doubts: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Trace with a reference -> field -> label -> its log-probability by the teacher, aligned without that trace."""
    right: Sequence[float]
    """Share of the decision fields that it got right, for each dev and each held gold case."""


def admitted_teacher(project: Project, cases: Labelled, clock: Prepared, name: str = DEFAULT) -> AdmittedTeacher:
    """Align a teacher on dev and on teaching traces with a reference, and admit it on dev and the held gold cases.

    Args:
        name: its name in ``distill.yaml``.

    Raises:
        TeacherNotAdmittedError: a decision field is under its floor.
    """
    floors, several = project.settings.all_teachers[name].floor, bool(project.settings.teachers)
    texts, truth, fields = cases.texts, cases.truth, project.format.fields
    # A reference's own labels stand in its prompt, as they will when it is scored; the others' are what the teacher decides.
    values: list[dict[str, str]] = [{} for _ in texts]
    alignments: dict[str, Any] = {}
    right: dict[str, list[bool]] = {}
    decided: list[Any] = []
    with (
        clock.step(f"aligning the teacher {name}" if several else "aligning the teacher", len(texts) * len(fields)) as advance,
        Pool(prompted_spec(project, {}, teacher=name), project.layout.cache, project.settings.workers) as pool,
    ):
        for field in fields:
            items = [{"text": t, "values": dict(v), "field": field.name} for t, v in zip(texts, values, strict=True)]
            rows = pool.run("features", items, length=lambda i: len(i["text"]), size=16, advance=advance)
            features = np.concatenate([np.asarray(rows), *decided], 1)
            labels = [str(t[field.name]) for t in truth]
            fitted = cases.fitted
            alignment, crossed = fit_alignment(features[:fitted], labels[:fitted], field.labels, len(cases.dev))
            logp = np.concatenate([crossed, alignment(features[fitted:])]) if cases.held else crossed
            decided.append(logp)
            chosen = [field.labels[int(row.argmax())] for row in logp]
            right[field.name] = [chosen[i] == labels[i] for i in cases.admitting]
            for i, value in enumerate(values):
                value[field.name] = labels[i] if cases.settled(i) else chosen[i]
            alignments[field.name] = alignment.as_json()
    admission = _admission(right, floors, name)
    doubts = {
        trace: {
            field.name: {label: float(x) for label, x in zip(field.labels, logp[len(cases.dev) + i], strict=True)}
            for field, logp in zip(fields, decided, strict=True)
        }
        for i, trace in enumerate(cases.referenced)
    }
    spec = prompted_spec(project, alignments, teacher=name)
    subject = teacher_subject(project, spec, name)
    facts = {"teacher": asdict(subject), "admission": admission, "alignments": alignments, "aligned_on": cases.fitted}
    shares = [sum(row) / len(row) for row in zip(*right.values(), strict=True)]
    return AdmittedTeacher(spec, facts, doubts, shares)


def _admission(right: Mapping[str, Sequence[bool]], floors: Mapping[str, float], name: str) -> dict[str, dict[str, Any]]:
    """The figures of a teacher that is admitted."""
    admission: dict[str, dict[str, Any]] = {
        f"accuracy.{field}": {"value": sum(r) / len(r), "floor": floors.get(field), "n": len(r)} for field, r in right.items()
    }
    who, where = ("the teacher", "teacher") if name == DEFAULT else (f"the teacher `{name}`", f"teachers.{name}")
    for metric, figure in admission.items():
        floor = figure["floor"]
        if floor is not None and not figure["value"] >= floor:
            raise TeacherNotAdmittedError(
                f"{who}'s {metric} is {figure['value']:.3f} on {figure['n']} admission cases, under its floor {floor}",
                where=f"distill.yaml: {where}.floor",
                fix="Give it better examples, or another teacher.",
            )
    return admission


def teacher_answers(
    pool: Pool,
    texts: Sequence[str],
    advance: Callable[[int], None],
    given: Sequence[Mapping[str, str]] | None = None,
    *,
    keep_failures: bool = False,
) -> list[Any]:
    """A prompted model's answers, with its decisions (:meth:`distill_gov.teachers.prompted.PromptedTeacher.answer`).

    All decisions come first: what shares a prompt to write behind is then written together.

    Args:
        advance: called for every text twice, once it is decided and once it is written.
        given: for each text, the properties that its reference settles.
        keep_failures: as :meth:`distill_gov.workers.Pool.run` has it.
    """
    items: list[dict[str, Any]] = [
        {"text": t, "given": dict(g)} for t, g in zip(texts, given or [{}] * len(texts), strict=True)
    ]
    found = pool.run("decide", items, length=lambda i: len(i["text"]), size=SHARD, advance=advance, keep_failures=keep_failures)
    decided = [place for place, answer in enumerate(found) if not isinstance(answer, Failed)]
    items = [{"text": texts[place], "values": found[place]["values"]} for place in decided]
    written = pool.run("write", items, length=_alike, size=SHARD, advance=advance, keep_failures=keep_failures)
    for place, answer in zip(decided, written, strict=True):
        failed = isinstance(answer, Failed)
        found[place] = answer if failed else {**answer, "decisions": found[place]["decisions"]}
    return found


def teacher_decisions(
    pool: Pool, texts: Sequence[str], given: Sequence[Mapping[str, str]], advance: Callable[[int], None]
) -> list[dict[str, dict[str, float]]]:
    """What a prompted model thinks of the labels (field -> label -> log-probability) behind those that ``given`` settles."""
    items = [{"text": t, "given": dict(g)} for t, g in zip(texts, given, strict=True)]
    found = pool.run("decide", items, length=lambda i: len(i["text"]), size=SHARD, advance=advance)
    return [one["decisions"] for one in found]


def teacher_samples(
    pool: Pool,
    texts: Sequence[str],
    values: Sequence[Mapping[str, str]],
    seeds: Sequence[str],
    temperature: float,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Further answers of a prompted model, whose free property is drawn (see its ``write``).

    Args:
        values: the decisions of each, which are not drawn: what the model thinks of every label is taught as it is.
        seeds: one an answer.
    """
    items = [
        {"text": t, "values": dict(v), "draw": {"temperature": temperature, "seed": s}}
        for t, v, s in zip(texts, values, seeds, strict=True)
    ]
    return pool.run("sample", items, length=_alike, size=SHARD, advance=advance)


def teacher_scores(
    pool: Pool,
    texts: Sequence[str],
    values: Sequence[Mapping[str, str]],
    answers: Sequence[str],
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """A prompted model's distributions along given answers (:meth:`distill_gov.teachers.prompted.PromptedTeacher.score`)."""
    items = [{"text": t, "values": dict(v), "answer": a} for t, v, a in zip(texts, values, answers, strict=True)]
    return pool.run("score", items, length=_alike, size=SHARD, advance=advance)


def _alike(item: Mapping[str, Any]) -> tuple[list[str], int]:
    """Brings together what is written behind the same examples, and there what is of like length."""
    return [str(v) for v in item["values"].values()], len(item["text"]) + len(item.get("answer", ""))


def teacher_subject(project: Project, spec: WorkerSpec, name: str = DEFAULT) -> Subject:
    t = project.settings.all_teachers[name]
    arguments = {k: v for k, v in spec.arguments.items() if k != "path"}
    return Subject(
        name=name,
        role="teacher",
        model=project.model_digest(t.model),
        prompt=digest_json(arguments),
        template=digest_json(TEMPLATE),
        decoding=f"grammar, {t.max_tokens} tokens",
        engine=f"transformers {versions().get('transformers', '')}",
        note=t.note,
    )
