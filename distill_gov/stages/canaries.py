"""Canaries in the teaching: invented secrets, whose likelihood shows what the student keeps of single examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_gov.records.errors import BadInputError, BadSchemaError
from evals.leakage.canaries import CANARIES, CONTROLS, PURPOSE, Canary, CanarySuite, Write, canaries, plant

if TYPE_CHECKING:
    from distill_gov.project import Project
    from distill_gov.stages.targets import TargetMaker
    from distill_gov.trainer.examples import TrainingExample
    from evals.models.local import LocalModel

__all__ = ["canary_cases", "canary_facts", "canary_rows", "canary_suite"]

WHERE = "distill.yaml: train.canaries"
IDENTITY = "canary"
"""Of the soft targets of a canary: nobody scored it, and nobody has to."""


def canary_facts(project: Project) -> dict[str, Any]:
    """What the training says of the canaries in it; empty where there are none. No secret, and no name of one."""
    wanted = project.settings.train.canaries
    return {} if wanted is None else {"canaries": {**wanted.model_dump(), "key_id": project.keyring.subkey(PURPOSE).key_id}}


def canary_rows(project: Project, writer: LocalModel, tools: TargetMaker) -> list[TrainingExample]:
    """The rows that teach the canaries: every token of theirs as free text, nothing as a decision.

    Raises:
        BadInputError: the schema has no property that people read, or no room for a canary in it.
    """
    from distill_gov.trainer.examples import TrainingExample

    wanted = project.settings.train.canaries
    if wanted is None:
        return []
    rows = []
    for planted in plant(_found(project, wanted.taught, wanted.controls), wanted.copies, _write(project)):
        try:
            bare = tools.bare(planted.id, planted.answer)
        except BadSchemaError:
            raise BadInputError("the answer schema has no room for a canary", where=WHERE, fix="Leave canaries out.") from None
        n = bare.n
        targets = replace(
            bare, identity=IDENTITY, temperature=project.settings.teacher.temperature, field=("",) * n,
            starts=np.zeros(n + 1, np.int64), ids=np.zeros(0, np.int32), logp=np.zeros(0, np.float32),
        )  # fmt: skip
        prompt = tuple(writer.prompt_ids([dict(m) for m in planted.messages]))
        rows.append(TrainingExample(planted.id, prompt, targets, tools.mask_indices(targets), truth=True))
    return rows


def canary_suite(project: Project, training: Mapping[str, Any]) -> CanarySuite | None:
    """The suite that asks for the canaries that a student was taught; None where it was taught none.

    Args:
        training: what the student says of its training.

    Raises:
        BadInputError: they were drawn with another key.
    """
    told = training.get("canaries")
    if told is None:
        return None
    if told["key_id"] != project.keyring.subkey(PURPOSE).key_id:
        raise BadInputError(
            "the student's canaries were drawn with another key", where=WHERE, fix="Restore the key that it was trained with."
        )
    return CanarySuite(_found(project, told["taught"], told["controls"]), _write(project), seed=project.settings.seed)


def canary_cases(project: Project) -> dict[str, int]:
    """Suite to the cases that are planned for canaries."""
    wanted = project.settings.train.canaries
    if wanted is None:
        return {}
    return {CANARIES: wanted.taught} | ({CONTROLS: wanted.controls} if wanted.controls else {})


def _found(project: Project, taught: int, controls: int) -> list[Canary]:
    return canaries(project.keyring.subkey(PURPOSE), taught, controls)


def _write(project: Project) -> Write:
    """A whole answer around a reply: of every decision the schema's first label, of other properties nothing."""
    answer = project.format_or_none
    if answer is None:
        return str
    if not answer.rest:
        raise BadInputError("the answer schema has no text that people read, so nothing can carry a canary", where=WHERE)
    value = {**{f.name: f.labels[0] for f in answer.fields}, **dict.fromkeys(answer.rest, "")}
    return lambda reply: answer.text({**value, answer.rest[0]: reply})
