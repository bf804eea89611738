"""Rationales: the reasoning that traces bring along, taught as rows of their own beside the answers.

A student that writes a rationale first is slow; one that was taught to write it behind another prompt is not, for when it
runs it is only asked for the answer (Hsieh et al. 2023, "Distilling Step-by-Step!", arXiv:2305.02301).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distill_gov.records.errors import BadInputError, MalformedFileError
from distill_gov.records.files import loads_strict
from distill_gov.settings.train import Schedule, TrainSettings
from distill_gov.stages.chats import Messages
from distill_gov.traces import Trace, recorded_answer

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.stages.answers import Candidate

__all__ = ["asked_for_rationale", "check_rationales", "rationales", "reasoning_of", "wanted"]

_MARK = {"role": "system", "content": "[rationale]"}


def wanted(settings: TrainSettings) -> bool:
    """Whether any stage of the training gives rationales a weight."""
    weights = [losses.rationale for losses in ([stage.losses for stage in settings.stages] or [settings.losses])]
    return any((w.start or w.end) if isinstance(w, Schedule) else w for w in weights)


def check_rationales(project: Project) -> None:
    """Whether rationales can be taught, where they are wanted.

    Raises:
        BadInputError: the policy drops all reasoning, or an answer without a schema holds its reasoning already.
    """
    if not wanted(project.settings.train):
        return
    if not project.redactor.policy.keeps_reasoning:
        raise BadInputError(
            "the loss `rationale` teaches reasoning, and redaction.yaml drops it",
            where="distill.yaml: train",
            fix="Set `admission.reasoning: keep` there, or give `rationale` no weight.",
        )
    if project.answer_schema is None:
        raise BadInputError(
            "an answer of free text is taught with its reasoning, and the loss `rationale` would teach that twice",
            where="distill.yaml: train",
            fix="Give `rationale` no weight.",
        )


def reasoning_of(trace: Trace) -> str | None:
    """What was thought before the answer that a trace ends with."""
    last = trace.messages[-1]
    return str(last["reasoning"]) if last["role"] == "assistant" and last.get("reasoning") else None


def asked_for_rationale(messages: Messages) -> Messages:
    """A chat that asks for the rationale, not the answer."""
    return (*messages, _MARK)


def rationales(project: Project, candidates: Sequence[Candidate], traces: Mapping[str, Trace]) -> list[Candidate]:
    """The rationales of the answers that are those the reasoning led to: with the same decisions, or, where nothing is decided,
    with the same text. Another answer's reasoning would argue against what is taught."""
    from distill_gov.stages.answers import Candidate

    found = []
    for one in candidates:
        recorded = recorded_answer(traces[one.chat.trace])
        if one.sample == 0 and one.chat.rationale is not None and recorded is not None and _alike(project, recorded, one.text):
            found.append(Candidate(one.chat, 0, one.chat.rationale, "stop", one.source, one.teacher, kind="rationale"))
    return found


def _alike(project: Project, recorded: str, taught: str) -> bool:
    names = [field.name for field in project.format.fields]
    if not names:
        return recorded == taught
    ours, theirs = _decided(recorded, names), _decided(taught, names)
    return ours is not None and ours == theirs


def _decided(text: str, names: Sequence[str]) -> list[Any] | None:
    try:
        value = loads_strict(text, where="an answer")
    except MalformedFileError:
        return None
    return [value[name] for name in names] if isinstance(value, dict) and value.keys() >= set(names) else None
