"""The privacy officer's page explains every key of the policy, and its examples are valid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from redaction.entities import ENTITIES
from redaction.policy import RedactionPolicy

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "privacy.md").read_text("utf-8")
ALL = PAGE + (DOCS / "filters.md").read_text("utf-8") + (DOCS / "operators.md").read_text("utf-8")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in _models(field.annotation):
            yield from _keys(inner)


def test_every_key_is_explained() -> None:
    known = set(_keys(RedactionPolicy))
    assert {"entities", "pointer", "max_reject_rate", "near_holdout", "not_before"} <= known
    assert {key for key in known if not re.search(rf"\b{key}\b", ALL)} == set()
    assert {key for key in RedactionPolicy.model_fields if f"`{key}`" not in PAGE} == set()


def test_every_entity_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", PAGE, re.MULTILINE)
    assert dict(rows) == {name: entity.meaning for name, entity in ENTITIES.items()}


_WHOLE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
_KEYS = "|".join(RedactionPolicy.model_fields)
_CELLS = re.findall(rf"\| `((?:{_KEYS}): [^`]+)` \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("example", [*_WHOLE, *_CELLS])
def test_every_example_is_valid(example: str) -> None:
    settings = yaml.safe_load(example.replace("sha256: ...", f"sha256: {'a' * 64}"))
    entities = {name: {} for name in ENTITIES}
    settings.setdefault("order_numbers", ["x1"])
    RedactionPolicy.model_validate({"entities": entities, **settings})


def test_there_are_examples() -> None:
    assert len(_WHOLE) >= 3
    assert len(_CELLS) >= 15
