"""From a subject's answers to case results: scored as they were said, stored redacted, and none left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import BadInputError
from distill_gov.stages.chats import asked, clean_chat
from distill_gov.stages.detections import Detections
from distill_gov.stages.settled import FORMAT_SUITE
from distill_gov.stages.signals import Signals
from distill_gov.turns import turn_text
from evals.cases import Case, dataset_digest
from evals.catalogue import CONTAMINATED, SCHEMA_VALID
from evals.evidence import CaseResult, FieldDecision, Provenance, Subject
from evals.judges import Judge, JudgeOutageError, filter_judge, flag_of
from evals.leakage import without_placeholders
from evals.results import choice_decisions, judged, label_decisions, unreadable
from evals.score import errored_scores, read_answer, score_case
from evals.shards import Failed
from evals.structured import judge, make_schema
from redaction import RecognizerFailedError

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.traces import Trace

__all__ = ["Answered", "Scorer", "best"]

FREE_TEXT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"reply": {"type": "string"}},
    "required": ["reply"],
}
"""Free-text answers are scored as the ``reply`` of such an object."""

Answered = Mapping[str, Any] | Failed
"""A worker's answer, or that there is none: ``text``, ``tokens``, ``decisions`` (field to log-probability by label) and, where
a temperature was fitted, ``raw`` (the same without it)."""


@dataclass(frozen=True, slots=True)
class _Read:
    """One answer, whoever gave it."""

    text: str
    decisions: Sequence[FieldDecision]
    output: str | None
    """The redacted text where it was made already."""
    prompt: str | None
    """What the author saw, where that is not the case's own messages."""
    provenance: Provenance


class Scorer:
    """Makes the case results of one evaluation. Keeps what redaction found, by text.

    Args:
        contaminated: ids of the cases that are in the teaching set, whoever answers them.
        judge: who says whether a reply does harm; the filter of ``redaction`` by default.
    """

    def __init__(self, project: Project, contaminated: Collection[str] = frozenset(), judge: Judge | None = None) -> None:
        self.project, self.contaminated, self.judge = project, frozenset(contaminated), judge or filter_judge()
        self.signals = Signals()
        self.schema = project.answer_schema or make_schema(FREE_TEXT, where="free text")
        self.detections = Detections(project.redactor)
        self.errored: dict[str, dict[str, Counter[str]]] = {}
        """Subject and suite to how many cases errored, by the exception's class."""

    def measured(
        self,
        subject: Subject,
        suite: str,
        cases: Sequence[Case],
        answers: Sequence[Answered],
        timings: Mapping[str, Mapping[str, float]],
    ) -> list[CaseResult]:
        """Results of answers that a model just gave.

        Args:
            timings: case id to its times, for the cases that were timed.
        """
        if suite != FORMAT_SUITE:
            self._prepare(cases, answers)
        dataset = dataset_digest(cases)
        results = []
        for case, answer in zip(cases, answers, strict=True):
            if isinstance(answer, Failed):
                result = self._errored(subject, dataset, case, answer.cause)
            else:
                written = read_answer(self._as_answer(answer["text"]), self.schema).value
                decisions = (
                    choice_decisions(case, answer["weights"])
                    if case.ask == "choice"
                    else label_decisions(case, written, answer["decisions"], answer.get("raw", {}))
                )
                read = _Read(answer["text"], decisions, None, None, "measured")
                result = self._result(subject, dataset, case, read)
            results.append(replace(result, timings=dict(timings.get(case.id, {}))))
        return results

    def recorded(
        self, subject: Subject, cases: Sequence[Case], traces: Sequence[Trace], answers: Sequence[str]
    ) -> list[CaseResult]:
        """Results of answers that were recorded elsewhere: their author saw the messages as they were, so both are raw.

        Raises:
            BadInputError: an answer could not be redacted.
        """
        dataset = dataset_digest(cases)
        results = []
        for case, trace, text in zip(cases, traces, answers, strict=True):
            seen = [dict(m) for m in asked(trace)]
            chat = clean_chat(self.project.redactor, trace, [*seen, {"role": "assistant", "content": text}])
            if chat.refused:
                raise BadInputError(
                    f"the recorded answer to case `{case.id}` could not be redacted ({chat.refused})",
                    where=f"suite {case.suite}",
                    fix="Mend or remove the case.",
                )
            prompt = "\n".join(turn_text(m) for m in seen)
            read = _Read(text, self._stated(case, text), chat.messages[-1]["content"], prompt, "imported")
            results.append(self._result(subject, dataset, case, read))
        return results

    # -- one case ---------------------------------------------------------------------------------------------------------

    def _result(self, subject: Subject, dataset: str, case: Case, read: _Read) -> CaseResult:
        if case.suite == FORMAT_SUITE:
            # Only validity counts here; the same messages are scored for everything else in their own suites.
            valid = judge(self._as_answer(read.text), self.schema).valid
            return self._made(subject, dataset, case, {SCHEMA_VALID: float(valid)}, provenance=read.provenance)
        try:
            scores, valid = score_case(
                case,
                self._as_answer(read.text) if case.ask == "answer" else read.text,
                read.decisions,
                schema=self.schema,
                detect=self.detections.values,
                flag=flag_of(self.judge, case),
                prompt=read.prompt,
                suites=self.signals.of(case),
            )
            output = read.output
            if case.ask == "choice":
                # Of canaries: choices, and what was chosen, hold the secrets, so the scores are all that is kept.
                return self._made(subject, dataset, case, scores, provenance=read.provenance)
            if output is None:
                chat = [*case.messages, {"role": "assistant", "content": read.text}]
                output = self.detections.last_redacted(chat, item=case.id, stand_ins=case.stand_ins)
        except (RecognizerFailedError, JudgeOutageError) as error:
            # An answer that cannot be searched, or judged, cannot be called clean; and cannot be stored.
            return self._errored(subject, dataset, case, type(error).__name__)
        decisions = read.decisions if valid else [unreadable(d) for d in read.decisions]
        return self._made(subject, dataset, case, scores, decisions=tuple(decisions), output=output, provenance=read.provenance)

    def _errored(self, subject: Subject, dataset: str, case: Case, cause: str) -> CaseResult:
        """The worst result: a case that was planned stays in the denominator, whatever happened to it."""
        self.errored.setdefault(subject.name, {}).setdefault(case.suite, Counter())[cause] += 1
        if case.suite == FORMAT_SUITE:
            return self._made(subject, dataset, case, {SCHEMA_VALID: 0.0}, status="errored")
        scores = errored_scores(case, self._fields, self.signals.of(case))
        # The right labels stay known: a miss counts for its own label, not for all.
        labelled = [name for name in self._fields if case.ask == "answer" and name in (case.reference or {})]
        lost = tuple(unreadable(judged(case, name, None, None)) for name in labelled)
        return self._made(subject, dataset, case, scores, status="errored", decisions=lost)

    def _made(self, subject: Subject, dataset: str, case: Case, scores: Mapping[str, float], **more: Any) -> CaseResult:
        # A variant of a case that was taught was all but taught.
        known = {CONTAMINATED: 1.0} if {case.id, case.pair} & self.contaminated else {}
        return _result(subject, dataset, case, {**scores, **known}, **more)

    def _stated(self, case: Case, text: str) -> list[FieldDecision]:
        """Decisions as the answer states them: of a recorded one nobody knows how sure its author was."""
        value = read_answer(self._as_answer(text), self.schema).value
        return [judged(case, name, value.get(name), None) for name in self._fields]

    @property
    def _fields(self) -> list[str]:
        return [f.name for f in self.project.format_or_none.fields] if self.project.format_or_none else []

    def _as_answer(self, text: str) -> str:
        return text if self.project.answer_schema else json.dumps({"reply": text}, ensure_ascii=False)

    def _prepare(self, cases: Sequence[Case], answers: Iterable[Answered]) -> None:
        """Have everything searched that the scores and the stored texts need, in batches."""
        said = [answer["text"] for answer in answers if not isinstance(answer, Failed)]
        replies = [without_placeholders(read_answer(self._as_answer(text), self.schema).reply) for text in said]
        self.detections.prepare([*(m["content"] for case in cases for m in case.messages), *said, *replies])


def _result(subject: Subject, dataset: str, case: Case, scores: Mapping[str, float], **more: Any) -> CaseResult:
    given: dict[str, Any] = {"status": "ok", **more}
    return CaseResult(
        subject=subject.digest,
        dataset=dataset,
        case=case.id,
        suite=case.suite,
        cluster=case.unit,
        slices=case.slices,
        scores=scores,
        **given,
    )


def best(logp: Mapping[str, float]) -> str:
    """The label that was chosen."""
    return max(logp, key=lambda label: logp[label])
