"""The suites of a project: which cases a subject answers, redacted like everything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import BadInputError
from distill_gov.stages.chats import asked, clean_chat
from distill_gov.stages.settled import FORMAT_SUITE, HOLDOUT, RATINGS
from distill_gov.traces import Trace, read_traces
from evals.cases import Case

if TYPE_CHECKING:
    from distill_gov.project import Project
    from gates.policy import Policy

__all__ = ["as_cases", "format_cases", "planned_cases"]


def as_cases(project: Project, suite: str, traces: Sequence[Trace]) -> list[Case]:
    """Redacted cases of a suite. A case that cannot be redacted stops the evaluation: dropping it would change the suite."""
    cases = []
    for trace in traces:
        chat = clean_chat(project.redactor, trace, asked(trace))
        if chat.refused:
            raise BadInputError(
                f"case `{trace.id}` of suite `{suite}` could not be redacted ({chat.refused})", fix="Mend or remove the case."
            )
        reference = {k: str(v) for k, v in (trace.reference or {}).items()} or None
        names = {f.name for f in project.format_or_none.fields} if project.format_or_none else set()
        labels = {k: v for k, v in (reference or {}).items() if k in names} or None
        hazard = trace.tags.get("hazard")
        cases.append(
            Case(
                id=trace.id,
                suite=suite,
                messages=chat.messages,
                reference=labels,
                cluster=trace.group,
                slices=tuple(sorted(_slices(trace))),
                expected_action=(labels or {}).get("action"),
                hazard=str(hazard) if hazard else None,
                carries_pii=bool(chat.findings),
            )
        )
    return cases


def _slices(trace: Trace) -> Iterable[str]:
    if trace.language:
        yield f"language={trace.language}"
    if "slice" in trace.tags:
        yield f"style={trace.tags['slice']}"


def format_cases(suites: Mapping[str, Sequence[Case]]) -> list[Case]:
    """Every case of every suite once more, to be answered without a grammar: only validity is scored."""
    from dataclasses import replace

    return [
        replace(c, suite=FORMAT_SUITE, reference=None, expected_action=None, hazard=None) for cs in suites.values() for c in cs
    ]


def planned_cases(project: Project, policy: Policy) -> dict[str, int]:
    """Suite (and ``suite/metric`` where a metric has a denominator of its own) to the number of cases planned."""
    files = {HOLDOUT: project.settings.holdout, **project.settings.suites}
    traces: dict[str, Any] = {name: read_traces(project.file(path)) for name, path in files.items()}
    planned = {name: len(rows) for name, rows in traces.items()}
    planned[FORMAT_SUITE] = sum(planned.values())
    for name, rows in traces.items():
        carrying = sum(1 for t in rows if t.tags.get("pii") is True)
        if carrying:
            planned[f"{name}/pii_reply_rate"] = planned[f"{name}/pii_leak_rate"] = carrying
    if policy.ratings is not None:
        planned[RATINGS] = policy.ratings.items
    return planned
