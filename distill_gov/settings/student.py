"""``student``: what is trained."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from distill_gov.records.settings import Settings

__all__ = ["StudentSettings", "WidthSettings"]

_Index = Annotated[int, Field(ge=0)]


class WidthSettings(Settings):
    """Sizes of a layer; what is left out is the base model's own."""

    hidden: int | None = Field(default=None, ge=1)
    """Dimensions of the hidden states."""
    heads: int | None = Field(default=None, ge=1)
    """Query heads; each keeps the base model's dimension of a head."""
    kv_heads: int | None = Field(default=None, ge=1)
    """Key and value heads; each serves the same number of query heads. Left out: as many as keep the base model's ratio."""
    mlp: int | None = Field(default=None, ge=1)
    """Channels of the feed-forward part."""

    @model_validator(mode="after")
    def _grouped(self) -> Self:
        if self.heads is not None and self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError("`heads` must be a multiple of `kv_heads`: each of these serves the same number of them")
        if not self.model_fields_set:
            raise ValueError("names no size; give `hidden`, `heads`, `kv_heads` or `mlp`, or leave it out")
        return self


class StudentSettings(Settings):
    """What is trained."""

    made_from: Literal["layers", "pretrained", "random"] = Field(default="layers", alias="from")
    """``layers``: layers of the base model, narrower ones where ``width`` is given. ``pretrained``: the base model as it is.
    ``random``: a new model of the base model's kind, with ``layers`` and ``width`` for its sizes."""
    base: str = ""
    """Model that the student is made from, its tokenizer the teacher's; the teacher's own where empty."""
    layers: Annotated[int, Field(ge=1)] | list[_Index] = 6
    """How many, evenly spaced from the first to the last; or which, from 0."""
    width: WidthSettings | None = None
    max_tokens: int = Field(default=96, ge=4)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if isinstance(self.layers, list) and (not self.layers or any(b <= a for a, b in pairwise(self.layers))):
            raise ValueError("`layers` names layers from 0 in ascending order, each once, and at least one")
        if self.made_from == "pretrained":
            if not self.base:
                raise ValueError("`from: pretrained` needs a `base`, the directory of the model")
            if self.model_fields_set & {"layers", "width"}:
                raise ValueError("`from: pretrained` takes the model as it is; leave `layers` and `width` out")
        if self.made_from == "random":
            if not isinstance(self.layers, int):
                raise ValueError("`from: random` takes no layers from anywhere; give their number")
            if self.width is None or None in (self.width.hidden, self.width.heads, self.width.mlp):
                raise ValueError("`from: random` needs `width` with `hidden`, `heads` and `mlp`")
        return self
