"""``student``: what is trained."""

from __future__ import annotations

from pydantic import Field

from distill_gov.records.settings import Settings

__all__ = ["StudentSettings"]


class StudentSettings(Settings):
    """What is trained."""

    base: str = ""
    """Model the student is cut from; the teacher's own where empty."""
    layers: int = Field(default=6, ge=1)
    max_tokens: int = Field(default=96, ge=4)
