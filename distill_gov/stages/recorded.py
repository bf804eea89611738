"""A recorded teacher as a subject: it runs nowhere, so its evidence is what it answered when it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill_gov.records.digest import digest_json
from distill_gov.traces import Trace, recorded_answer, reference_answer
from evals.evidence import Subject
from evals.structured import judge

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["recorded_answers", "recorded_subject"]


def recorded_answers(project: Project, traces: Sequence[Trace]) -> list[str] | None:
    """What the teacher answered to each trace of a suite, as ``build`` takes it; None where one has no whole answer.

    A subject that answered only some of the cases would not be comparable.
    """
    reasoning = project.redactor.policy.keeps_reasoning and project.answer_schema is None
    answers = []
    for trace in traces:
        answer = recorded_answer(trace, reasoning=reasoning)
        if answer is None:
            answer = reference_answer(trace)
            if answer is None or (project.answer_schema is not None and not judge(answer, project.answer_schema).valid):
                return None
        answers.append(answer)
    return answers


def recorded_subject(project: Project, holdout: Sequence[Trace]) -> Subject:
    """The recorded teacher. Who it was is what ``distill.yaml`` declares of it."""
    t = project.settings.teacher
    labels = sum(recorded_answer(trace) is None for trace in holdout)
    note = t.note or "answers recorded in the traces"
    return Subject(
        name="teacher",
        role="teacher",
        model=digest_json(["recorded teacher", t.licence, t.revision, t.note]),
        prompt=digest_json([]),
        template=digest_json("recorded"),
        decoding="as recorded",
        engine="not run here",
        note=note + (f"; of {labels} of {len(holdout)} holdout cases the reference is taken for its answer" if labels else ""),
        declared=True,
    )
