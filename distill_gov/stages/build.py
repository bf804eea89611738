"""``build``: from traces to a teaching set with soft targets, and books that balance."""

from __future__ import annotations

import difflib
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
from distill_gov.records.errors import IntegrityError, NothingLeftError, UnknownKeyError
from distill_gov.records.files import loads_strict, write_parquet, write_text
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now
from distill_gov.stages.answers import Candidate, answered, check_teachers_fit, scored, section_of
from distill_gov.stages.carried import clean_answered
from distill_gov.stages.chats import CleanChat, asked, clean_chats, languages_of
from distill_gov.stages.contamination import write_text_hashes
from distill_gov.stages.datasheet import datasheet
from distill_gov.stages.filtered import Filtering, answer_texts, filter_inputs
from distill_gov.stages.identifiers import presentable, presentable_traces
from distill_gov.stages.rationales import asked_for_rationale, check_rationales, reasoning_of, wanted
from distill_gov.stages.recall import redaction_recall
from distill_gov.stages.review import check_asked, review_packet
from distill_gov.stages.routing import check_routing
from distill_gov.stages.settled import anchor, commit, file_inputs, finish, versions
from distill_gov.stages.untaught import turns_taught
from distill_gov.teaching_set.admission import refusal
from distill_gov.teaching_set.examples import TeachingExample, trace_of, write_examples
from distill_gov.teaching_set.sampling import sampled_out, slice_of
from distill_gov.traces import Trace, carried_answer, parse_trace, reference_answer
from evals.holdout import open_holdout
from redaction.findings import FINDING_FORMAT, FINDING_SCHEMA, Redacted
from redaction.residual import residual_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run
    from distill_gov.settings import DistillSettings
    from distill_gov.teachers.soft_targets import Capture, SoftTargets

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
    check_teachers_fit(project)
    check_rationales(project)
    started, clock = now(), Prepared(progress)
    redactor = project.redactor
    decisions: list[Decision] = []
    traces = presentable_traces(project, settings.traces)
    check_routing(project, traces)
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
    given = answered(project, chats, by_id, clock)
    decisions += given.decisions
    facts, findings = given.facts, list[Any]()
    facts["redaction_recall"] = recall
    try:
        kept = filtering.answers(given.candidates, findings)
        if not kept:
            raise NothingLeftError("no answer is left after the filters", where=settings.traces)
        thoughts = [_example(by_id[c.chat.trace], c.chat, c) for c in kept if c.kind == "rationale"]
        chats_of = [c.chat for c in kept]
        kept = [c for c in kept if c.kind == "answer"]
        examples = [_example(by_id[c.chat.trace], c.chat, c) for c in kept]
        scan = _scan(project, chats_of, [*examples, *thoughts])
        taught = [by_id[trace] for trace in dict.fromkeys(c.chat.trace for c in kept)]
        facts |= {"turns": turns_taught(project, taught, len(thoughts)), "slices": _slices(settings, traces, taught, holdout)}
        targets = scored(project, given.teachers, kept, examples, facts, clock) if given.teachers is not None else ([], {})
    finally:
        if given.teachers is not None:
            given.teachers.close()
    facts |= filtering.facts()
    facts["text_hashes"] = write_text_hashes(project, run, taught)
    decisions = _sliced(decisions, traces)
    books = balance(decisions, STAGES, len(traces))
    findings += [f for c in chats for f in c.findings]
    facts |= review_packet(project, run, examples, findings, review)
    if thoughts:
        write_examples(layout.rationales, thoughts)
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
        "teacher": s.teacher.shaping(),
        "teaching": s.teaching.model_dump(mode="json"),
        "seed": s.seed,
        "model_input": s.model_input,
    }
    if s.teachers:
        teaching["teachers"] = {name: t.shaping() for name, t in s.teachers.items()}
        teaching["routing"] = s.routing.model_dump(mode="json") if s.routing is not None else None
        teaching["blend"] = dict(s.blend)
    if wanted(s.train):
        teaching["rationales"] = True
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
    inputs |= {f"weights of the teacher {name}": project.model_digest(t.model) for name, t in s.teachers.items()}
    return inputs


def _check_floor(project: Project) -> None:
    teachers = project.settings.all_teachers
    known = [field.name for field in project.format.fields] if project.settings.teacher.kind == "prompted" else []
    for teacher, name in [(t, name) for t in teachers for name in teachers[t].floor] if known else ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise UnknownKeyError(
                f"`{name}` is no decision field",
                where=f"distill.yaml: {section_of(teacher)}.floor",
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
    return [replace(d, slice=named.get(trace_of(d.item) if d.unit == "answer" else d.item, "")) for d in decisions]


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
    thought = reasoning_of if wanted(project.settings.train) else _nothing
    cleaned = clean_answered(project.redactor, ordered, project.format_or_none, carried, thought)
    for chat in _advancing(cleaned, advance):
        decisions.append(
            _decision("redaction", chat.trace, f"redaction/{chat.refused}" if chat.refused else None, chat.refused or "")
        )
        if chat.refused is None:
            kept.append(chat)
    return kept


def _nothing(_: Trace) -> None:
    return None


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


# -- examples ------------------------------------------------------------------------------------------------------------


def _example(trace: Trace, chat: CleanChat, answer: Candidate) -> TeachingExample:
    tags = {**trace.tags, "language": trace.language or ""}
    messages = asked_for_rationale(chat.messages) if answer.kind == "rationale" else chat.messages
    return TeachingExample(
        answer.id, trace.id, answer.sample, "train", messages, answer.text, answer.source, tags, answer.teacher
    )


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
    # Behind the chat's own turns stands nothing but our mark.
    for message, redacted in zip(example.messages[: len(chat.messages)], chat.redacted, strict=True):
        yield replace(redacted, text=message["content"])
    yield from answer_texts(project, example.answer, chat.stand_ins)


# -- what is left behind --------------------------------------------------------------------------------------------------


def _further_teachers(project: Project) -> dict[str, Any]:
    asked = project.settings.model_dump(mode="json", include={"teachers", "routing", "blend"})
    return asked if project.settings.teachers else {}


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
            **_further_teachers(project),
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
