"""The suites of a project: which cases a subject answers, redacted like everything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from distill_gov.records.errors import BadInputError
from distill_gov.stages.chats import CleanChat, Messages, asked, clean_chats, languages_of
from distill_gov.stages.settled import FORMAT_SUITE, HOLDOUT, RATINGS
from distill_gov.stages.signals import asked_besides, planned_signals
from distill_gov.traces import Trace, read_traces
from distill_gov.turns import turn_text
from evals.cases import Case
from evals.catalogue import lookup
from evals.score import counts

if TYPE_CHECKING:
    from distill_gov.project import Project
    from gates.policy import Policy

__all__ = ["as_cases", "format_cases", "planned_cases"]


def as_cases(project: Project, suite: str, traces: Sequence[Trace]) -> list[Case]:
    """Redacted cases of a suite. A case that cannot be redacted stops the evaluation: dropping it would change the suite."""
    cases = []
    chats = clean_chats(project.redactor, ((trace.id, asked(trace)) for trace in traces), languages=languages_of(traces))
    for trace, chat in zip(traces, chats, strict=True):
        if chat.refused:
            raise BadInputError(
                f"case `{trace.id}` of suite `{suite}` could not be redacted ({chat.refused})", fix="Mend or remove the case."
            )
        case = _case(project, suite, trace, chat.messages, _carries_pii(trace, chat))
        cases.append(replace(case, stand_ins=chat.stand_ins))
    return cases


def _case(project: Project, suite: str, trace: Trace, messages: Messages, carries_pii: bool) -> Case:
    reference = {k: str(v) for k, v in (trace.reference or {}).items()} or None
    names = {f.name for f in project.format_or_none.fields} if project.format_or_none else set()
    labels = {k: v for k, v in (reference or {}).items() if k in names} or None
    hazard = trace.tags.get("hazard")
    return Case(
        id=trace.id,
        suite=suite,
        messages=messages,
        reference=labels,
        cluster=trace.group,
        slices=tuple(sorted(_slices(trace))),
        expected_action=(labels or {}).get("action"),
        hazard=str(hazard) if hazard else None,
        carries_pii=carries_pii,
    )


def _as_read(trace: Trace) -> Messages:
    return tuple({"role": turn["role"], "content": turn_text(turn)} for turn in asked(trace))


def _carries_pii(trace: Trace, chat: CleanChat) -> bool:
    """Found by the redaction, or known from the tag: what redaction missed must not leave the denominator with it."""
    return bool(chat.findings) or trace.tags.get("pii") is True


def _slices(trace: Trace) -> Iterable[str]:
    if trace.language:
        yield f"language={trace.language}"
    if "slice" in trace.tags:
        yield f"style={trace.tags['slice']}"
    if trace.tags.get("hazard"):
        yield f"hazard={trace.tags['hazard']}"


def format_cases(suites: Mapping[str, Sequence[Case]]) -> list[Case]:
    """Every case of every suite once more, to be answered without a grammar: only validity is scored."""
    return [
        replace(c, suite=FORMAT_SUITE, reference=None, expected_action=None, hazard=None) for cs in suites.values() for c in cs
    ]


def planned_cases(project: Project, policy: Policy) -> dict[str, int]:
    """Suite, ``suite/slice`` and ``suite/metric`` of every gate to the number of cases that will count.

    A plan redacts nothing, so that it needs no language model: which messages carry personal data is taken from their tags.
    ``evaluate`` counts what redaction finds as well, which can only be more. Where no message is tagged nothing is said.
    """
    files = {HOLDOUT: project.settings.holdout, **project.settings.suites}
    suites: dict[str, list[Case]] = {
        name: [_case(project, name, t, _as_read(t), t.tags.get("pii") is True) for t in read_traces(project.file(path))]
        for name, path in files.items()
    }
    if project.answer_schema is not None:
        suites[FORMAT_SUITE] = format_cases(suites)
    planned = {name: len(cases) for name, cases in suites.items()} | asked_besides(project, suites[HOLDOUT])
    scoring = planned_signals(project)
    for rule in policy.gates:
        if rule.suite in suites:
            cases = suites[rule.suite]
            metric = lookup(rule.metric)
            if not metric.among or any(c.carries_pii for c in cases):
                planned[f"{rule.suite}/{rule.metric}"] = sum(counts(metric, case, scoring) for case in cases)
            if rule.slice is not None:
                planned[f"{rule.suite}/{rule.slice}"] = sum(rule.slice in case.slices for case in cases)
    if policy.ratings is not None:
        planned[RATINGS] = min(policy.ratings.items, planned[HOLDOUT])
    return planned
