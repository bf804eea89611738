"""The answers that may be taught: who is asked what, how often, and who scores what is taught in the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from distill_gov.records.books import Decision
from distill_gov.records.errors import BadInputError, BadModelError
from distill_gov.settings.teacher import BEST, DEFAULT
from distill_gov.stages.chats import CleanChat
from distill_gov.stages.identifiers import presentable_traces
from distill_gov.stages.rationales import rationales, wanted
from distill_gov.stages.routing import best_teachers, value_of
from distill_gov.teaching_set.examples import TeachingExample, answer_id, rationale_id
from distill_gov.traces import Trace, recorded_answer

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.stages.build import Prepared
    from distill_gov.stages.teacher import AdmittedTeacher, Labelled
    from distill_gov.teachers.soft_targets import Capture, SoftTargets
    from distill_gov.workers import Pool, WorkerSpec

__all__ = ["Answers", "Candidate", "Teachers", "answered", "check_teachers_fit", "scored", "section_of"]

Decided = Mapping[str, Mapping[str, float]]
"""Field to label to log-probability."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer before the filters."""

    chat: CleanChat
    sample: int
    text: str
    finish: str
    source: Literal["teacher", "reference"]
    teacher: str = DEFAULT
    """Who answered, or scores the reference."""
    decisions: Decided = field(default_factory=dict)
    """What this teacher thinks of the labels."""
    kind: Literal["answer", "rationale"] = "answer"

    @property
    def id(self) -> str:
        return answer_id(self.chat.trace, self.sample) if self.kind == "answer" else rationale_id(self.chat.trace)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the teachers gave."""

    candidates: list[Candidate]
    decisions: list[Decision]
    """Answers that are none of their own: drawn twice for one prompt."""
    facts: dict[str, Any]
    teachers: Teachers | None
    """Those who can be asked to score; None of answers that were recorded."""


class Teachers:
    """The admitted teachers. One of them is loaded at a time: that they fit into memory together is not asked."""

    def __init__(self, project: Project, admitted: Mapping[str, AdmittedTeacher]) -> None:
        self.project, self.admitted = project, dict(admitted)
        self._open: tuple[str, Pool] | None = None

    def spec(self, name: str) -> WorkerSpec:
        return self.admitted[name].spec

    def pool(self, name: str) -> Pool:
        from distill_gov.workers import Pool

        if self._open is None or self._open[0] != name:
            self.close()
            self._open = name, Pool(self.spec(name), self.project.layout.cache, self.project.settings.workers)
        return self._open[1]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].__exit__()
            self._open = None


# -- before anybody is asked ----------------------------------------------------------------------------------------------


def check_teachers_fit(project: Project) -> None:
    """Whether every teacher can give what is asked of it, before any is paid.

    Raises:
        BadModelError: soft targets are wanted of a teacher whose tokenizer is not the student's.
        BadInputError: several answers to a prompt are wanted where nothing in them could differ.
    """
    settings = project.settings
    if settings.teacher.kind != "prompted":
        return
    for name, t in settings.all_teachers.items():
        if t.samples > 1 and not project.format.rest:
            raise BadInputError(
                "several answers to a prompt need a property that is written freely",
                where=f"distill.yaml: {section_of(name)}.samples",
                fix="Take `samples` out: the teacher's doubts about the labels are taught anyway.",
            )
    _check_vocabularies(project)


def section_of(name: str) -> str:
    """The section of ``distill.yaml`` that describes a teacher."""
    return DEFAULT if name == DEFAULT else f"teachers.{name}"


def _check_vocabularies(project: Project) -> None:
    from distill_gov.trainer.vocabulary import check_same_vocabulary

    settings = project.settings
    base = settings.student.base or settings.teacher.model
    asked = {name: t.model for name, t in settings.all_teachers.items() if t.soft_targets and t.model != base}
    if not asked:
        return
    own = project.tokenizer(base)
    for name, model in asked.items():
        tokenizer, where = project.tokenizer(model), f"distill.yaml: {section_of(name)}"
        try:
            check_same_vocabulary(tokenizer, own, where=where)
        except BadModelError as error:
            raise BadModelError(
                f"soft targets are asked of a teacher whose tokenizer (`{model}`, {len(tokenizer)} tokens) is not the "
                f"student's (`{base}`, {len(own)} tokens): {error.what}",
                where=where,
                fix="Set `soft_targets: false` there (only its texts are taught), or name a model of that tokenizer.",
            ) from error


# -- answers --------------------------------------------------------------------------------------------------------------


def answered(project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace], clock: Prepared) -> Answers:
    """Admit the teachers, give every chat to one of them, and let them answer; rationales stand behind the answers.

    Args:
        traces: those of the chats, by id.

    Raises:
        TeacherNotAdmittedError: one is under its floor.
        BadInputError: a trace carries no answer, or one that does not fit.
    """
    recorded = project.settings.teacher.kind == "recorded"
    found = _recorded(project, chats, traces) if recorded else _prompted(project, chats, traces, clock)
    if wanted(project.settings.train):
        found.candidates.extend(rationales(project, found.candidates, traces))
    return found


def _prompted(project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace], clock: Prepared) -> Answers:
    from distill_gov.stages.teacher import admitted_teacher, labelled

    given = {c.trace: _given(project, traces[c.trace], c) for c in chats}
    cases = labelled(project, [(c, given[c.trace]) for c in chats if given[c.trace]])
    names = project.settings.all_teachers
    teachers = Teachers(project, {name: admitted_teacher(project, cases, clock, name) for name in names})
    routes, routing = _routes(project, chats, traces, teachers, cases)
    try:
        found = [one for name in names for one in _asked(project, teachers, name, chats, routes, given, clock)]
    except BaseException:
        teachers.close()
        raise
    found.sort(key=lambda one: (one.chat.trace, one.sample))
    candidates, decisions = _distinct(found)
    facts = dict(teachers.admitted[DEFAULT].facts)
    if project.settings.teachers:
        facts["teachers"] = _told(project, teachers, candidates)
    return Answers(candidates, decisions, facts | routing, teachers)


def _routes(
    project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace], teachers: Teachers, cases: Labelled
) -> tuple[dict[str, str], dict[str, Any]]:
    """Who answers each trace; and how that was settled, for the manifest."""
    routing = project.settings.routing
    if routing is None:
        return {c.trace: DEFAULT for c in chats}, {}
    values = {c.trace: value_of(traces[c.trace], routing.by) for c in chats}
    told: dict[str, Any] = {"by": routing.by}
    if isinstance(routing.to, dict):
        to = dict(routing.to)
    else:
        scores = {name: one.right for name, one in teachers.admitted.items()}
        choices = best_teachers(scores, _values(project, cases, routing.by), list(values.values()), routing.min_cases)
        to = {choice.value: choice.teacher for choice in choices}
        told |= {"chosen": [asdict(choice) for choice in choices], "min_cases": routing.min_cases, "rule": BEST}
    return {trace: to.get(value, DEFAULT) for trace, value in values.items()}, {"routing": {**told, "to": to}}


def _values(project: Project, cases: Labelled, by: str) -> list[str]:
    """What the dev and held gold cases are routed by, their tags redacted as the traces' are."""
    dev = {t.id: value_of(t, by) for t in presentable_traces(project, project.settings.dev)}
    gold = {t.id: value_of(t, by) for t in presentable_traces(project, project.settings.gold)}
    return [*(dev[t.id] for t in cases.dev), *(gold[t.id] for t in cases.held)]


def _asked(
    project: Project,
    teachers: Teachers,
    name: str,
    chats: Sequence[CleanChat],
    routes: Mapping[str, str],
    given: Mapping[str, Mapping[str, str]],
    clock: Prepared,
) -> Iterator[Candidate]:
    """One teacher's answers to its chats, further ones among them."""
    from distill_gov.stages.teacher import teacher_answers, teacher_samples

    mine = [c for c in chats if routes[c.trace] == name]
    if not mine:
        return
    t, pool, beside = project.settings.all_teachers[name], teachers.pool(name), _beside(project, name)
    doubts = teachers.admitted[name].doubts
    with clock.step(f"teacher answers{beside}", 2 * len(mine)) as advance:
        found = teacher_answers(pool, [c.prompt for c in mine], advance, [given[c.trace] for c in mine])
    first = [
        Candidate(
            c,
            0,
            a["text"],
            a["finish"],
            "reference" if given[c.trace] else "teacher",
            name,
            doubts.get(c.trace, a["decisions"]),
        )
        for c, a in zip(mine, found, strict=True)
    ]
    yield from first
    # Where a reference gives the text, there is nothing to draw.
    drawn = [
        (one, {**_likeliest(a["decisions"]), **given[one.chat.trace]}, sample)
        for one, a in zip(first, found, strict=True)
        if not set(project.format.rest) <= given[one.chat.trace].keys()
        for sample in range(1, t.samples)
    ]
    if not drawn:
        return
    texts = [one.chat.prompt for one, _, _ in drawn]
    seeds = [f"{project.settings.seed}/{name}/{answer_id(one.chat.trace, sample)}" for one, _, sample in drawn]
    with clock.step(f"further answers{beside}", len(drawn)) as advance:
        further = teacher_samples(pool, texts, [v for _, v, _ in drawn], seeds, t.sample_temperature, advance)
    for (one, _, sample), a in zip(drawn, further, strict=True):
        yield Candidate(one.chat, sample, a["text"], a["finish"], one.source, name, one.decisions)


def _beside(project: Project, name: str) -> str:
    return f": {name}" if project.settings.teachers else ""


def _likeliest(decisions: Decided) -> dict[str, str]:
    return {name: max(labels, key=lambda label: labels[label]) for name, labels in decisions.items()}


def _distinct(found: Sequence[Candidate]) -> tuple[list[Candidate], list[Decision]]:
    """The answers, each text to a prompt once: the lowest sample stays."""
    seen: set[tuple[str, str]] = set()
    kept: list[Candidate] = []
    dropped: list[Decision] = []
    for one in found:
        key = one.chat.trace, one.text
        if key in seen:
            rule, reason = "teacher/duplicate", "same_text"
            dropped.append(
                Decision(
                    "teacher", "answer", one.id, "dropped", rule, reason=reason, parent=one.chat.trace,
                    fired=(f"{rule}@1:{reason}",),
                )
            )  # fmt: skip
        else:
            seen.add(key)
            kept.append(one)
    return kept, dropped


def _told(project: Project, teachers: Teachers, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Of every teacher for the manifest: who it is, how it was admitted, on what terms, and what it answered."""
    answers = Counter(one.teacher for one in candidates)
    return {
        name: {
            **teachers.admitted[name].facts,
            "terms": {
                key: value
                for key, value in project.settings.all_teachers[name].model_dump(mode="json").items()
                if key in ("licence", "revision", "terms_accepted_by", "note")
            },
            "answers": answers[name],
            "blend": project.settings.blend.get(name),
        }
        for name in teachers.admitted
    }


def _given(project: Project, trace: Trace, chat: CleanChat) -> dict[str, str]:
    """The properties of the answer that a trace's reference settles, redacted; the teacher writes the rest."""
    if not trace.reference or chat.answer is None:
        return {}
    answer = project.format
    wanted = {f.name for f in answer.fields}
    if not wanted <= trace.reference.keys() <= wanted | set(answer.rest):
        raise BadInputError(
            f"the reference of trace `{trace.id}` does not fit the answer schema",
            where=project.settings.traces,
            fix=f"Give {', '.join(sorted(wanted))} and nothing that the schema does not have, or no reference.",
        )
    return {name: str(value) for name, value in json.loads(chat.answer).items()}


def _recorded(project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace]) -> Answers:
    candidates = []
    for chat in chats:
        if chat.answer is None:
            raise BadInputError(
                f"trace `{chat.trace}` carries no answer, and the teacher is `recorded`",
                where=project.settings.traces,
                fix="Add the answers, or name a teacher that can answer.",
            )
        theirs = recorded_answer(traces[chat.trace]) is not None
        candidates.append(Candidate(chat, 0, chat.answer, "stop", "teacher" if theirs else "reference"))
    t = project.settings.teacher
    facts = {
        "teacher": {"name": "teacher", "role": "teacher", "note": t.note or "answers recorded in the traces", "declared": True}
    }
    return Answers(candidates, [], facts, None)


# -- scores ---------------------------------------------------------------------------------------------------------------


def scored(
    project: Project,
    teachers: Teachers,
    kept: Sequence[Candidate],
    examples: Sequence[TeachingExample],
    facts: dict[str, Any],
    clock: Prepared,
) -> tuple[list[SoftTargets], dict[str, Capture]]:
    """Soft targets of the examples, by the teacher of each or by the blend, and what they are of; none by a teacher that gives
    only texts.

    Args:
        kept: the answers that the examples were made of.
        facts: those of the manifest; what the trainer holds the soft targets against is added.
    """
    from distill_gov.stages.targets import lost_by_keeping, target_captures
    from distill_gov.teachers.blending import blended

    settings = project.settings
    pairs = list(zip(kept, examples, strict=True))
    facts["soft_targets"] = {"teacher": teachers.spec(DEFAULT).identity}
    identities = {name: teachers.spec(name).identity for name in teachers.admitted}
    if settings.teachers:
        facts["soft_targets"]["teachers"] = identities
    if silent := sorted(name for name, t in settings.all_teachers.items() if not t.soft_targets):
        facts["soft_targets"]["none_of"] = silent
    if settings.blend:
        by = dict.fromkeys(settings.blend, pairs)
    else:
        soft = [name for name, t in settings.all_teachers.items() if t.soft_targets]
        by = {name: [(one, example) for one, example in pairs if one.teacher == name] for name in soft}
    of_each = [_scored_by(project, teachers, name, mine, clock) for name, mine in by.items() if mine]
    captures = target_captures(project, identities, examples)
    lost = lost_by_keeping([score for _, scores in of_each for score in scores])
    facts["soft_targets"] |= {"k": settings.teacher.top_k, **lost}
    if not settings.blend:
        return [targets for own, _ in of_each for targets in own], captures
    weights = list(settings.blend.values())
    mixed = [blended(targets, weights) for targets in zip(*(own for own, _ in of_each), strict=True)]
    return [replace(targets, identity=captures[targets.example].identity) for targets in mixed], captures


def _scored_by(
    project: Project,
    teachers: Teachers,
    name: str,
    pairs: Sequence[tuple[Candidate, TeachingExample]],
    clock: Prepared,
) -> tuple[list[SoftTargets], list[dict[str, Any]]]:
    """One teacher's soft targets of some examples, and the scores that they were made of."""
    from distill_gov.stages.targets import assembled, captures_by
    from distill_gov.stages.teacher import teacher_decisions, teacher_scores

    fields = [f.name for f in project.format.fields]
    pool, beside, doubts = teachers.pool(name), _beside(project, name), teachers.admitted[name].doubts
    prompts, answers = [one.chat.prompt for one, _ in pairs], [example.answer for _, example in pairs]
    written = [json.loads(answer) for answer in answers]
    values = [{field: value[field] for field in fields} for value in written]
    decisions = [one.decisions for one, _ in pairs]
    if others := [place for place, (one, _) in enumerate(pairs) if one.teacher != name]:
        # What another teacher decided, this one judges: each field behind the labels that are taught.
        with clock.step(f"teacher decisions{beside}", len(others)) as advance:
            judged = teacher_decisions(pool, [prompts[i] for i in others], [values[i] for i in others], advance)
        for place, own in zip(others, judged, strict=True):
            decisions[place] = doubts.get(pairs[place][0].chat.trace, own)
    with clock.step(f"teacher scores{beside}", len(pairs)) as advance:
        scores = teacher_scores(pool, prompts, values, answers, advance)
    examples = [example for _, example in pairs]
    captures = captures_by(project, name, teachers.spec(name).identity, examples)
    return assembled(project, name, captures, examples, decisions, scores), scores
