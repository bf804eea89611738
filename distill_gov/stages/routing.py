"""Which teacher a trace is given to: by its language or a tag, as ``distill.yaml`` says, or to the one that is best at it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill_gov.records.errors import BadInputError, UnknownKeyError
from distill_gov.settings.teacher import BEST, DEFAULT
from distill_gov.teaching_set.sampling import NO_SLICE
from distill_gov.traces import Trace

if TYPE_CHECKING:
    from distill_gov.project import Project

__all__ = ["Choice", "best_teachers", "check_routing", "possible_teachers", "value_of"]


def value_of(trace: Trace, by: str) -> str:
    """What a trace is routed by: its language or its tag of that name, as text (``true`` and ``false`` as YAML writes them)."""
    value = trace.language if by == "language" else trace.tags.get(by)
    if isinstance(value, bool):
        return str(value).lower()
    return NO_SLICE if value in (None, "") else str(value)


def check_routing(project: Project, traces: Sequence[Trace]) -> None:
    """Whether there is anything to route by.

    Raises:
        UnknownKeyError: the tag is none that may travel.
        BadInputError: no trace has a value that is given to a teacher.
    """
    routing, tags = project.settings.routing, project.redactor.policy.tags
    if routing is None:
        return
    if routing.by not in ("language", *tags):
        near = difflib.get_close_matches(routing.by, ["language", *tags], n=1, cutoff=0.5)
        raise UnknownKeyError(
            f"`{routing.by}` is no tag that redaction.yaml lets travel",
            where="distill.yaml: routing.by",
            fix=f"Did you mean `{near[0]}`?" if near else "Add it to `tags` there, or name another.",
        )
    met = {value_of(trace, routing.by) for trace in traces}
    if routing.to == BEST and met <= {NO_SLICE}:
        raise BadInputError(f"no trace has a `{routing.by}` to route by", where="distill.yaml: routing.by")
    for value in routing.to if isinstance(routing.to, dict) else ():
        if value not in met:
            near = difflib.get_close_matches(value, sorted(met), n=1, cutoff=0.5)
            raise BadInputError(
                f"no trace has the `{routing.by}` that `routing.to` names as `{value}`",
                where="distill.yaml: routing.to",
                fix=f"Did you mean `{near[0]}`?" if near else "Mend it, or take it out.",
            )


def possible_teachers(project: Project, trace: Trace) -> list[str]:
    """Who may come to teach a trace, as far as it is known before anybody was measured."""
    settings = project.settings
    if settings.blend:
        return list(dict.fromkeys([DEFAULT, *settings.blend]))
    if settings.routing is None:
        return [DEFAULT]
    if isinstance(settings.routing.to, dict):
        return [settings.routing.to.get(value_of(trace, settings.routing.by), DEFAULT)]
    return list(settings.all_teachers)


@dataclass(frozen=True, slots=True)
class Choice:
    """Who was found best at the traces of one value, and why."""

    value: str
    teacher: str
    why: str
    """``best``; ``tie``: nobody was better than the first of them; ``few_cases``: the default teacher, unmeasured."""
    cases: int
    accuracy: Mapping[str, float]
    """By teacher, on these cases; empty where they are too few."""


def best_teachers(
    scores: Mapping[str, Sequence[float]], values: Sequence[str], wanted: Sequence[str], min_cases: int
) -> list[Choice]:
    """For each value the teacher with the highest mean score on the cases of that value; of equals the first.

    Which is best is chosen on few cases, so the winner's own figure flatters it: it is no measurement of the teacher.

    Args:
        scores: by teacher, the default one first: one a case, in [0, 1].
        values: one a case.
        wanted: values to choose for.
        min_cases: with fewer the default teacher (the first) is taken.
    """
    default = next(iter(scores))
    choices = []
    for value in sorted(set(wanted)):
        own = [place for place, of in enumerate(values) if of == value]
        if len(own) < min_cases:
            choices.append(Choice(value, default, "few_cases", len(own), {}))
            continue
        accuracy = {name: sum(row[place] for place in own) / len(own) for name, row in scores.items()}
        best = max(accuracy, key=lambda name: accuracy[name])
        tie = list(accuracy.values()).count(accuracy[best]) > 1
        choices.append(Choice(value, best, "tie" if tie else "best", len(own), accuracy))
    return choices
