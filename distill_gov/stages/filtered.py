"""The build's filters: prompts before the teacher is paid, answers before they are taught, and what every rule did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distill_gov.records.books import Decision
from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, DistillGovError
from distill_gov.stages.carried import free_texts
from distill_gov.stages.chats import CleanChat, asked, user_text, with_issued
from distill_gov.stages.routing import possible_teachers
from distill_gov.teaching_set.schema_filter import schema_filter
from distill_gov.traces import Trace
from evals.safety import over_refusal
from evals.score import ACTION
from redaction.filters import (
    AnswerItem,
    Decided,
    Filter,
    FilterHit,
    PromptItem,
    Tag,
    answer_filters,
    decide_all,
    prompt_filters,
    shared_ngrams,
    too_alike,
)  # fmt: skip
from redaction.filters.hits import FAILED
from redaction.filters.ngrams import PURPOSE as CONTAMINATION
from redaction.filters.plugins import hazard_scorer, plugin_filter
from redaction.filters.prompts import PROMPT_HAZARDS
from redaction.filters.protected import PURPOSE as PROTECTED
from redaction.findings import Redacted
from redaction.residual import KnownValues, residual_many
from redaction.surrogates import issued_in

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.stages.answers import Candidate
    from evals.decisions import AnswerFormat
    from redaction import Finding, Redactor

__all__ = ["Filtering", "answer_texts", "filter_inputs"]


@dataclass
class Filtering:
    """Filters the items of one build and keeps what its manifest tells of that."""

    project: Project
    decisions: list[Decision]
    """Of the build; those taken here are added."""
    _rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    _refusals: Counter[str] = field(default_factory=Counter)
    _hazardous: set[str] = field(default_factory=set)

    def prompts(
        self, chats: Sequence[CleanChat], traces: Mapping[str, Trace], holdout: Sequence[Trace], guarded: Sequence[str]
    ) -> list[CleanChat]:
        """The chats that the teacher is asked.

        Args:
            traces: those of the chats, by id.
            holdout: the holdout's, as they are before redaction.
            guarded: the holdout's redacted prompts.
        """
        policy, settings = self.project.redactor.policy, self.project.settings
        items = [PromptItem(c.trace, c.text, c.beside, _roles(c), self._known(traces[c.trace])) for c in chats]
        rule = policy.filters.prompts.near_holdout
        shared: Mapping[str, int] = {}
        if rule.on and rule.raw:
            raw = ((c.trace, user_text(asked(traces[c.trace]))) for c in chats)
            key = self.project.keyring.subkey(CONTAMINATION)
            shared = shared_ngrams(raw, (user_text(asked(t)) for t in holdout), rule.ngram, key)
        near = settings.teaching.near_duplicates
        filters = prompt_filters(policy, items, guarded, near=near, raw_shared=shared)
        self._start(filters)
        kept = []
        for chat, item, decided in zip(chats, items, decide_all(filters, items), strict=True):
            if self._take("prompt_filters", item.id, decided, unit="trace"):
                kept.append(chat)
            if _hazardous(traces[chat.trace], decided, policy.filters.prompts.hazards.scorer):
                self._hazardous.add(chat.trace)
        return kept

    def answers(self, candidates: Sequence[Candidate], findings: list[Any]) -> list[Candidate]:
        """The answers that are taught; personal values found in answers are added to ``findings``."""
        project, policy = self.project, self.project.redactor.policy
        items = self._items(candidates)
        # A teacher that writes a personal value nobody gave it would teach that; it is not mended but dropped. What a trace
        # brought along was redacted with its chat, so nothing is found in it here.
        personal = dict(
            zip((i.id for i in items), _invented(project.redactor, [c.chat for c in candidates], items), strict=True)
        )
        findings += [finding for found in personal.values() for finding in found or ()]
        thoughts = {c.id for c in candidates if c.kind == "rationale"}
        registered = [schema_filter(project.answer_schema, thoughts)] if project.answer_schema else []
        registered.append(Filter("answer/personal_data", "1", lambda i: _personal(personal[i.id])))
        chats = {c.chat.trace: c.chat for c in candidates}
        known = KnownValues.of(f for chat in chats.values() for f in chat.findings)
        filters = answer_filters(
            policy, project.redactor, known,
            registered=registered, key=project.keyring.subkey(PROTECTED), root=project.layout.root,
        )  # fmt: skip
        filters = (*filters, _scan(project, known))
        self._start(filters)
        decided = self._diverse(items, list(decide_all(filters, items)), thoughts)
        decided = self._with_answers(items, decided, thoughts)
        kept = []
        several = bool(project.settings.teachers)
        for candidate, item, one in zip(candidates, items, decided, strict=True):
            # Of several teachers the books name the one that answered.
            by = candidate.teacher if several else ""
            made = Decision("teacher", "answer", item.id, "kept", "kept", reason=by, parent=candidate.chat.trace)
            self.decisions.append(made)
            if self._take("answer_filters", item.id, one, unit="answer"):
                kept.append(candidate)
        return kept

    def facts(self) -> dict[str, Any]:
        """What the manifest tells: for every rule that ran its action, how often it fired and how often it decided."""
        facts: dict[str, Any] = {"filters": self._rules}
        if any(rule.startswith("answer/refusal@") for rule in self._rules):
            facts["refusals"] = {
                "to_hazardous": self._refusals["safe_refusal"], "to_benign": self._refusals["over_refusal"],
            }  # fmt: skip
        return facts

    def _known(self, trace: Trace) -> dict[str, str]:
        return {
            "consent": trace.consent,
            "licence": trace.licence,
            "language": trace.language or "",
            "retention_until": trace.retention_until.isoformat(),
            "purpose": trace.purpose or "",
            "region": trace.region or "",
            "tenant": trace.tenant or "",
            **{f"tags.{name}": str(value).lower() if isinstance(value, bool) else value for name, value in trace.tags.items()},
            **self._who_teaches(trace),
        }

    def _who_teaches(self, trace: Trace) -> dict[str, str]:
        """What is known of the trace's teacher.

        Raises:
            BadInputError: a rule asks for what the teachers that it may have differ in.
        """
        settings = self.project.settings
        teachers = [settings.all_teachers[name] for name in possible_teachers(self.project, trace)]
        known = {}
        for name in ("kind", "licence", "revision", "terms_accepted_by"):
            values = {str(getattr(teacher, name)) for teacher in teachers}
            rules = self.project.redactor.policy.filters.prompts.metadata
            if len(values) > 1 and any(rule.on and rule.field == f"teacher.{name}" for rule in rules):
                raise BadInputError(
                    f"a rule asks for the teacher's {name}, and the teachers that a trace may have differ in it",
                    where="redaction.yaml: filters.prompts.metadata",
                    fix="Name in `routing.to` who teaches what, or teachers that the rule does not tell apart.",
                )
            known[f"teacher.{name}"] = ", ".join(sorted(values))
        return known

    def _items(self, candidates: Sequence[Candidate]) -> list[AnswerItem]:
        from evals.structured import judge

        project, schema = self.project, self.project.answer_schema
        items = []
        for candidate in candidates:
            chat, text = candidate.chat, candidate.text
            thought = candidate.kind == "rationale"
            judged = judge(text, schema) if schema and not thought else None
            values = dict(judged.value) if judged and judged.valid and isinstance(judged.value, Mapping) else {}
            # Of an answer that cannot be read everything is taken for what people read.
            readable = bool(judged and judged.valid and project.free_fields)
            free = "\n".join(str(values[name]) for name in project.free_fields if name in values)
            items.append(
                AnswerItem(
                    id=candidate.id,
                    prompt=chat.text,
                    answer_text=text,
                    reply_text=free if readable else text,
                    finish=candidate.finish,
                    fields=values,
                    recorded=thought or _brought(chat, text, project.format_or_none),
                    trace=chat.trace,
                    sample=candidate.sample,
                    refused=over_refusal(_text(values.get(ACTION))),
                    hazardous=chat.trace in self._hazardous,
                    stand_ins=chat.stand_ins,
                )
            )
        return items

    def _with_answers(self, items: Sequence[AnswerItem], decided: list[Decided], thoughts: Container[str]) -> list[Decided]:
        """A rationale is taught beside an answer, never for itself."""
        if not thoughts:
            return decided
        pairs = list(zip(items, decided, strict=True))
        left = {item.trace for item, one in pairs if item.id not in thoughts and one.deciding is None}
        alone = {item.id for item in items if item.id in thoughts and item.trace not in left}
        rule: Filter[AnswerItem] = Filter("answer/rationale", "1", lambda i: [Tag("without_answer")] if i.id in alone else [])
        self._start([rule])
        return [Decided((*one.fired, *rule(item))) for item, one in pairs]

    def _diverse(self, items: Sequence[AnswerItem], decided: list[Decided], thoughts: Container[str]) -> list[Decided]:
        policy = self.project.settings.teaching.diversity
        if policy is None:
            return decided
        # Only answers that are kept otherwise are compared: one that was dropped must not take another's place.
        left = [
            (i.trace, i.sample, i.id, i.reply_text)
            for i, one in zip(items, decided, strict=True)
            if one.deciding is None and i.id not in thoughts
        ]
        surplus = too_alike(left, policy)
        rule: Filter[AnswerItem] = Filter("answer/diversity", "1", lambda i: [Tag(surplus[i.id])] if i.id in surplus else [])
        self._start([rule])
        return [Decided((*one.fired, *rule(item))) for item, one in zip(items, decided, strict=True)]

    def _start(self, filters: Sequence[Filter[Any]]) -> None:
        for judge in filters:
            self._rules[f"{judge.rule}@{judge.version}"] = {"action": judge.action, "fired": 0, "decided": 0}

    def _take(self, stage: str, item: str, decided: Decided, *, unit: Any) -> bool:
        """Enter a decision into the books; whether the item is kept."""
        for rule in {_name(hit) for hit in decided.fired}:
            self._rules[rule]["fired"] += 1
        self._refusals.update({hit.reason_code for hit in decided.fired if hit.rule == "answer/refusal"})
        fired = tuple(dict.fromkeys(str(hit) for hit in decided.fired))
        hit = decided.deciding
        if hit is None:
            self.decisions.append(Decision(stage, unit, item, "kept", "kept", fired=fired))
            return True
        self._rules[_name(hit)]["decided"] += 1
        self.decisions.append(Decision(stage, unit, item, "dropped", hit.rule, hit.version, hit.reason_code, fired=fired))
        return False


def answer_texts(project: Project, answer: str, stand_ins: frozenset[str]) -> list[Redacted]:
    """What people read of an answer, with the stand-ins that it took over from its chat."""
    return [Redacted(text, (), issued_in(text, stand_ins)) for text in free_texts(answer, project.format_or_none)]


def _scan(project: Project, known: KnownValues | None) -> Filter[AnswerItem]:
    """What would be taught of an answer, as the build scans it at its end. The last filter, and no policy can leave it out."""

    def together(items: Sequence[AnswerItem]) -> list[list[Tag]]:
        texts = [answer_texts(project, item.answer_text, item.stand_ins) for item in items]
        hits = iter(residual_many([text for one in texts for text in one], project.redactor, known))
        counts = [sum(len(next(hits)) for _ in one) for one in texts]
        return [[Tag("residual", count)] if count else [] for count in counts]

    return Filter("answer/scan", "1", lambda item: together([item])[0], "drop", together)


def filter_inputs(project: Project) -> dict[str, str]:
    """Digests of what filters read beside the policy: versions of plug-ins, which other code than ours may change."""
    filters = project.redactor.policy.filters
    versions = {name: plugin_filter(name, action, filters.plugin_seconds).version for name, action in filters.plugins.items()}
    for hazards in (filters.prompts.hazards, filters.answers.hazards):
        if hazards.on and hazards.scorer:
            versions[hazards.scorer] = hazard_scorer(hazards.scorer).version
    return {"filter plug-ins": digest_json(versions)} if versions else {}


def _name(hit: FilterHit) -> str:
    return f"{hit.rule}@{hit.version}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _roles(chat: CleanChat) -> tuple[str, ...]:
    return tuple(message["role"] for message in chat.messages)


def _hazardous(trace: Trace, decided: Decided, scorer: str) -> bool:
    """By its tag, by the label somebody gave it, or by a filter; a scorer's word counts in the place of the lexicon's."""
    rule = f"{PROMPT_HAZARDS}/{scorer}" if scorer else PROMPT_HAZARDS
    labelled = over_refusal(_text((trace.reference or {}).get(ACTION)))
    return bool(trace.tags.get("hazard")) or labelled or any(hit.rule == rule for hit in decided.fired)


def _brought(chat: CleanChat, text: str, answer: AnswerFormat | None) -> bool:
    """Whether what people read of an answer came with the trace, and not from the teacher."""
    return chat.answer is not None and free_texts(chat.answer, answer) == free_texts(text, answer)


def _personal(found: Sequence[Finding] | None) -> list[Tag]:
    if found is None:
        return [Tag(FAILED)]
    return [Tag("personal_data", len(found))] if found else []


def _invented(redactor: Redactor, chats: Sequence[CleanChat], items: Sequence[AnswerItem]) -> Iterator[list[Finding] | None]:
    """For each reply the personal values that redaction finds in it, in view of its chat; None where it could not look."""
    turns = [
        (item.id, with_issued([*chat.messages, {"role": "assistant", "content": item.reply_text}], chat.stand_ins))
        for chat, item in zip(chats, items, strict=True)
    ]
    for chat, done in zip(chats, redactor.redact_chats(turns), strict=True):
        if isinstance(done, DistillGovError):
            yield None
        else:
            yield [f for f in done.findings if f.field == f"/{len(chat.messages)}/content"]
