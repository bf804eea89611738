"""``build``: from traces to a teaching set with soft targets, and books that balance."""

from __future__ import annotations

import difflib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from distill_gov.records.books import DECISION_FORMAT, DECISION_SCHEMA, Decision, balance
from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, IntegrityError, NothingLeftError, UnknownKeyError
from distill_gov.records.files import loads_strict, write_parquet, write_text
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now
from distill_gov.stages.carried import clean_answered
from distill_gov.stages.chats import CleanChat, asked, clean_chats, languages_of
from distill_gov.stages.contamination import write_text_hashes
from distill_gov.stages.datasheet import datasheet
from distill_gov.stages.filtered import Filtering, answer_texts, filter_inputs
from distill_gov.stages.identifiers import presentable, presentable_traces
from distill_gov.stages.recall import redaction_recall
from distill_gov.stages.review import check_asked, review_packet
from distill_gov.stages.settled import anchor, commit, file_inputs, finish, versions
from distill_gov.stages.untaught import turns_taught
from distill_gov.teaching_set.admission import refusal
from distill_gov.teaching_set.examples import TeachingExample, answer_id, write_examples
from distill_gov.teaching_set.sampling import sampled_out, slice_of
from distill_gov.traces import Trace, carried_answer, parse_trace, recorded_answer, reference_answer
from evals.holdout import open_holdout
from redaction.findings import FINDING_FORMAT, FINDING_SCHEMA, Redacted
from redaction.residual import residual_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run
    from distill_gov.settings import DistillSettings
    from distill_gov.teachers.soft_targets import Capture, SoftTargets
    from distill_gov.workers import Pool

__all__ = ["Prepared", "build", "reserved_traces"]

STAGES = ("admission", "reserve", "redaction", "prompt_filters", "sampling", "teacher", "answer_filters")


@dataclass
class Prepared:
    """Seconds by step, and where to report."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        started = time.perf_counter()
        with self.progress.step(name, total) as step:
            yield step.advance
        self.seconds[name] = round(time.perf_counter() - started, 2)


def build(project: Project, run: Run, progress: Progress, review: int | None = None) -> StageManifest:
    """Build the teaching set of a run.

    Args:
        review: how many rows go out for a reviewer; None leaves it to ``redaction.yaml``.

    Raises:
        NotSealedError, HashMismatchError: the holdout is not sealed, or not what was sealed.
        UnknownKeyError: the floor names what is no decision field.
        MalformedFileError: an id in which redaction finds personal data.
        TeacherNotAdmittedError: the teacher is under the floor.
        NothingLeftError: no trace came in, or none is left.
        IntegrityError: what would be taught still holds personal data.
    """
    settings, layout = project.settings, run.layout
    seal = project.sealed()
    inputs = build_inputs(project, seal)
    path = layout.manifest("build")
    if before := done_before(path, inputs):
        check_asked(before, review, path)
        anchor(path, "build", project.ledger, layout.name)
        return before
    # What a killed build left is made again, so nothing of it may be taken for this one's.
    for left in (layout.teaching, layout.review):
        shutil.rmtree(left, ignore_errors=True)
    _check_floor(project)
    _check_sampling(project)
    started, clock = now(), Prepared(progress)
    redactor = project.redactor
    decisions: list[Decision] = []
    traces = presentable_traces(project, settings.traces)
    admitted = _admit(traces, redactor.policy, settings.today or datetime.now(UTC).date(), decisions)
    holdout = _holdout(project, run, seal, "build: near-duplicates of the holdout")
    remaining = _reserve(admitted, holdout, decisions)
    with clock.step("redacting", len(remaining) + len(holdout)) as advance:
        chats = _clean(project, remaining, decisions, advance)
        asked_of = [(t.id, asked(t)) for t in holdout]
        held = clean_chats(redactor, asked_of, languages=languages_of(holdout))
        guarded = [c.text for c in _advancing(held, advance)]
    by_id = {t.id: t for t in traces}
    filtering = Filtering(project, decisions)
    with clock.step("filtering prompts"):
        chats = filtering.prompts(chats, by_id, holdout, guarded)
        chats = _sample(project, chats, by_id, decisions)
    if not chats:
        raise NothingLeftError("no trace is left after the filters", where=settings.traces, fix="See redaction.yaml.")
    recall = redaction_recall(project, chats, by_id)
    answers, findings, facts, pool = _answers(project, chats, by_id, clock)
    facts["redaction_recall"] = recall
    try:
        kept = filtering.answers(chats, answers, findings)
        if not kept:
            raise NothingLeftError("no answer is left after the filters", where=settings.traces)
        examples = [_example(by_id[c.trace], c, answers[c.trace]) for c in kept]
        scan = _scan(project, kept, examples)
        taught = [by_id[c.trace] for c in kept]
        facts |= {"turns": turns_taught(project, taught), "slices": _slices(settings, traces, taught, holdout)}
        targets = _score(project, pool, kept, answers, examples, facts, clock)
    finally:
        if pool is not None:
            pool.__exit__()
    facts |= filtering.facts()
    facts["text_hashes"] = write_text_hashes(project, run, taught)
    decisions = _sliced(decisions, traces)
    books = balance(decisions, STAGES, len(traces))
    findings += [f for c in chats for f in c.findings]
    facts |= review_packet(project, run, examples, findings, review)
    return _write(project, run, inputs, started, clock, examples, targets, decisions, findings, books, facts, scan)


def build_inputs(project: Project, seal: str) -> dict[str, str]:
    s = project.settings
    inputs = file_inputs(
        project.layout.root,
        {
            "traces": s.traces,
            "dev": s.dev,
            "gold": s.gold,
            "answer schema": s.answer_schema,
            "redaction.yaml": "redaction.yaml",
            "protected index": project.redactor.policy.filters.answers.protected_index.path,
            "pii_spans": s.pii_spans,
        },
    )
    teaching = {
        "teacher": s.teacher.model_dump(mode="json"),
        "teaching": s.teaching.model_dump(mode="json"),
        "seed": s.seed,
        "model_input": s.model_input,
    }
    if s.sampling is not None:
        teaching["sampling"] = s.sampling.model_dump(mode="json")
    inputs |= {
        "holdout": seal,
        "distill.yaml (teacher)": digest_json(teaching),
        "key": project.keyring.subkey("redaction").key_id,
    }
    inputs |= filter_inputs(project)
    if s.teacher.model:
        inputs["teacher's weights"] = project.model_digest(s.teacher.model)
    return inputs


def _check_floor(project: Project) -> None:
    teacher = project.settings.teacher
    known = [field.name for field in project.format.fields] if teacher.kind == "prompted" else []
    for name in teacher.floor if known else ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise UnknownKeyError(
                f"`{name}` is no decision field",
                where="distill.yaml: teacher.floor",
                fix=f"Did you mean `{near[0]}`?" if near else f"One of {', '.join(known)}.",
            )


def _check_sampling(project: Project) -> None:
    sampling, tags = project.settings.sampling, project.redactor.policy.tags
    if sampling is not None and sampling.by not in ("language", *tags):
        near = difflib.get_close_matches(sampling.by, ["language", *tags], n=1, cutoff=0.5)
        raise UnknownKeyError(
            f"`{sampling.by}` is no tag that redaction.yaml lets travel",
            where="distill.yaml: sampling.by",
            fix=f"Did you mean `{near[0]}`?" if near else "Add it to `tags` there, or name another.",
        )


def _admit(traces: Sequence[Trace], policy: Any, today: date, decisions: list[Decision]) -> list[Trace]:
    kept = []
    for trace in traces:
        reason = refusal(trace, policy, today)
        decisions.append(_decision("admission", trace.id, f"admission/{reason}" if reason else None, reason or ""))
        if reason is None:
            kept.append(trace)
    return kept


def _sliced(decisions: Sequence[Decision], traces: Sequence[Trace]) -> list[Decision]:
    """The decisions with the slices of the traces that they, or the questions to their answers, are about."""
    named = {t.id: str(t.tags.get("slice", "")) for t in traces}
    of = {**named, **{answer_id(trace): name for trace, name in named.items()}}
    return [replace(decision, slice=of.get(decision.item, "")) for decision in decisions]


def _decision(stage: str, item: str, rule: str | None, reason: str = "", **more: Any) -> Decision:
    outcome = more.pop("outcome", "dropped" if rule else "kept")
    fired = (f"{rule}@1:{reason}",) if rule else ()
    return Decision(stage, more.pop("unit", "trace"), item, outcome, rule or "kept", reason=reason, fired=fired, **more)


def _holdout(project: Project, run: Run, seal: str, why: str) -> list[Trace]:
    where = project.settings.holdout
    data = open_holdout(project.file(where), project.ledger, seal, {"run": run.layout.name, "purpose": why})
    lines = ((f"{where}:{n}", line) for n, line in enumerate(data.split(b"\n"), start=1) if line.strip())
    rows = [(place, parse_trace(loads_strict(line, where=place), where=place)) for place, line in lines]
    return presentable(project.redactor, rows)


def reserved_traces(project: Project, run: Run, why: str) -> list[Trace]:
    """The holdout's traces; the opening is logged first."""
    return _holdout(project, run, project.sealed(), why)


def _reserve(traces: Sequence[Trace], holdout: Sequence[Trace], decisions: list[Decision]) -> list[Trace]:
    """Traces that are in the holdout, or of one of its conversations, are not taught."""
    ids, groups = {t.id for t in holdout}, {t.group for t in holdout}
    kept = []
    for trace in traces:
        if trace.id in ids or trace.group in groups:
            decisions.append(_decision("reserve", trace.id, "reserve/holdout", "holdout", outcome="reserved"))
        else:
            decisions.append(_decision("reserve", trace.id, None))
            kept.append(trace)
    return kept


def _clean(
    project: Project, traces: Sequence[Trace], decisions: list[Decision], advance: Callable[[int], None]
) -> list[CleanChat]:
    kept = []
    ordered = sorted(traces, key=lambda t: t.id)
    carried = carried_answer if project.settings.teacher.kind == "recorded" else reference_answer
    cleaned = clean_answered(project.redactor, ordered, project.format_or_none, carried)
    for chat in _advancing(cleaned, advance):
        decisions.append(
            _decision("redaction", chat.trace, f"redaction/{chat.refused}" if chat.refused else None, chat.refused or "")
        )
        if chat.refused is None:
            kept.append(chat)
    return kept


def _advancing(chats: Iterable[CleanChat], advance: Callable[[int], None]) -> Iterator[CleanChat]:
    for chat in chats:
        advance(1)
        yield chat


def _sample(
    project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace], decisions: list[Decision]
) -> list[CleanChat]:
    sampling = project.settings.sampling
    passed = [traces[c.trace] for c in chats]
    out = sampled_out(passed, sampling, project.keyring.subkey("sampling")) if sampling else {}
    for chat in chats:
        reason = out.get(chat.trace)
        decisions.append(_decision("sampling", chat.trace, f"sampling/{reason}" if reason else None, reason or ""))
    return [c for c in chats if c.trace not in out]


def _slices(
    settings: DistillSettings, traces: Sequence[Trace], taught: Sequence[Trace], holdout: Sequence[Trace]
) -> dict[str, Any]:
    """How many traces of each slice came in, are taught, and are held out."""
    by = settings.sampling.by if settings.sampling else "slice"
    parts = {"traces": traces, "teaching": taught, "holdout": holdout}
    counts = {part: Counter(slice_of(t, by) for t in held) for part, held in parts.items()}
    names = sorted(set().union(*counts.values()))
    return {"by": by, "counts": {name: {part: counts[part][name] for part in parts} for name in names}}


# -- the teacher ----------------------------------------------------------------------------------------------------------


def _answers(
    project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace], clock: Prepared
) -> tuple[dict[str, dict[str, Any]], list[Any], dict[str, Any], Pool | None]:
    if project.settings.teacher.kind == "recorded":
        return *_recorded(project, chats, traces), None
    from distill_gov.stages.teacher import admitted_teacher, teacher_answers

    given = {c.trace: _given(project, traces[c.trace], c) for c in chats}
    teacher = admitted_teacher(project, [(c, given[c.trace]) for c in chats if given[c.trace]], clock)
    with clock.step("teacher answers", 2 * len(chats)) as advance:
        found = teacher_answers(teacher.pool, [c.prompt for c in chats], advance, [given[c.trace] for c in chats])
    answers = {
        c.trace: {**a, "source": "reference" if given[c.trace] else "teacher"} for c, a in zip(chats, found, strict=True)
    }
    for trace, decisions in teacher.doubts.items():
        answers[trace]["decisions"] = decisions
    return answers, [], teacher.facts, teacher.pool


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


def _recorded(
    project: Project, chats: Sequence[CleanChat], traces: Mapping[str, Trace]
) -> tuple[dict[str, dict[str, Any]], list[Any], dict[str, Any]]:
    answers = {}
    for chat in chats:
        if chat.answer is None:
            raise BadInputError(
                f"trace `{chat.trace}` carries no answer, and the teacher is `recorded`",
                where=project.settings.traces,
                fix="Add the answers, or name a teacher that can answer.",
            )
        source = "teacher" if recorded_answer(traces[chat.trace]) is not None else "reference"
        answers[chat.trace] = {"text": chat.answer, "tokens": [], "finish": "stop", "decisions": {}, "source": source}
    t = project.settings.teacher
    facts = {
        "teacher": {"name": "teacher", "role": "teacher", "note": t.note or "answers recorded in the traces", "declared": True}
    }
    return answers, [], facts


def _example(trace: Trace, chat: CleanChat, answer: Mapping[str, Any]) -> TeachingExample:
    tags = {**trace.tags, "language": trace.language or ""}
    return TeachingExample(f"{trace.id}/0", trace.id, 0, "train", chat.messages, answer["text"], answer["source"], tags)


def _scan(project: Project, chats: Sequence[CleanChat], examples: Sequence[TeachingExample]) -> dict[str, int]:
    """Scan every text that will be taught once more, as it will be stored; ``scanned`` texts, ``residual`` hits.

    Raises:
        IntegrityError: something personal is left. Nothing was written, and nothing was scored by the teacher.
    """
    texts = [text for chat, example in zip(chats, examples, strict=True) for text in _taught_texts(project, chat, example)]
    left = sum(map(len, residual_many(texts, project.redactor)))
    if left:
        raise IntegrityError(
            f"{left} personal values are left in texts to be taught",
            where=project.settings.traces,
            fix="Report it; nothing was written.",
        )
    return {"scanned": len(texts), "residual": left}


def _taught_texts(project: Project, chat: CleanChat, example: TeachingExample) -> Iterator[Redacted]:
    for message, redacted in zip(example.messages, chat.redacted, strict=True):
        yield replace(redacted, text=message["content"])
    yield from answer_texts(project, example.answer, chat.stand_ins)


def _score(
    project: Project,
    pool: Pool | None,
    chats: Sequence[CleanChat],
    answers: Mapping[str, Mapping[str, Any]],
    examples: Sequence[TeachingExample],
    facts: dict[str, Any],
    clock: Prepared,
) -> tuple[list[SoftTargets], Mapping[str, Capture]]:
    if pool is None:
        return [], {}
    from distill_gov.stages.targets import assembled, lost_by_keeping, target_captures
    from distill_gov.stages.teacher import teacher_scores

    names = [f.name for f in project.format.fields]
    written = [json.loads(e.answer) for e in examples]
    values = [{n: value[n] for n in names} for value in written]
    with clock.step("teacher scores", len(examples)) as advance:
        scored = teacher_scores(pool, [c.prompt for c in chats], values, [e.answer for e in examples], advance)
    # What the trainer holds the soft targets against.
    facts["soft_targets"] = {"teacher": pool.spec.identity, "k": project.settings.teacher.top_k, **lost_by_keeping(scored)}
    captures = target_captures(project, pool.spec.identity, examples)
    return assembled(project, captures, chats, examples, answers, scored), captures


# -- what is left behind --------------------------------------------------------------------------------------------------


def _write(
    project: Project,
    run: Run,
    inputs: Mapping[str, str],
    started: str,
    clock: Prepared,
    examples: Sequence[TeachingExample],
    scored: tuple[Sequence[SoftTargets], Mapping[str, Capture]],
    decisions: Sequence[Decision],
    findings: Sequence[Any],
    books: Sequence[Any],
    facts: dict[str, Any],
    scan: Mapping[str, int],
) -> StageManifest:
    layout = run.layout
    write_examples(layout.examples, examples)
    order = sorted(decisions, key=lambda d: (STAGES.index(d.stage), d.item))
    write_parquet(layout.decisions, [asdict(d) for d in order], DECISION_SCHEMA, format=DECISION_FORMAT)
    rows = sorted((asdict(f) for f in findings), key=lambda f: (f["item"], f["field"], f["start"], f["entity"]))
    write_parquet(layout.findings, rows, FINDING_SCHEMA, format=FINDING_FORMAT)
    if scored[0]:
        from distill_gov.teachers.target_store import write_soft_targets

        write_soft_targets(layout.soft_targets, *scored)
        size = sum(path.stat().st_size for path in layout.soft_targets.glob("shard-*"))
        facts["soft_targets"] |= {"tokens": sum(t.n for t in scored[0]), "bytes": size}
    facts |= {
        "books": [asdict(line) for line in books],
        "redaction": {"findings": len(rows), "by_entity": dict(Counter(f["entity"] for f in rows)), **scan},
        "origin": dict(Counter(str(e.tags.get("origin", "given")) for e in examples)),
        "answer_source": dict(Counter(e.answer_source for e in examples)),
    }
    write_text(layout.datasheet, datasheet(project, facts, books))
    manifest = StageManifest(
        stage="build",
        inputs=inputs,
        outputs=hash_outputs(layout.root, [p for p in (layout.teaching, layout.review) if p.is_dir()]),
        settings={
            "teacher": project.settings.teacher.model_dump(mode="json"),
            "teaching": project.settings.teaching.model_dump(mode="json"),
            "model_input": project.settings.model_input,
        },
        seed=project.settings.seed,
        versions=versions(),
        commit=commit(project.layout.root),
        counts={"traces": books[0].came_in, "examples": len(examples), "findings": len(rows)},
        facts=facts,
        started=started,
        finished=now(),
        seconds=clock.seconds,
    )
    return finish(layout.manifest("build"), manifest, project.ledger, layout.name)
