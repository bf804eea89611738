"""The only reader of YAML settings: errors name file, line, key and the nearest key that exists."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from distill_gov.records.errors import MalformedFileError, MissingFileError, UnknownKeyError

__all__ = ["Settings", "load_settings", "parse_settings"]


class Settings(BaseModel):
    """Base of every model of a settings file: unknown keys refused, values strict, no NaN, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=BaseModel)


def load_settings(path: Path, model: type[S]) -> S:
    """Read and check one settings file.

    Raises:
        MissingFileError, MalformedFileError, UnknownKeyError: one line with file, line and key.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingFileError("no such settings file", where=str(path), fix="Run `distill-gov init`.") from error
    except UnicodeDecodeError as error:
        raise MalformedFileError("not valid UTF-8 text", where=str(path)) from error
    return parse_settings(text, model, where=str(path))


def parse_settings(text: str, model: type[S], *, where: str) -> S:
    """Check settings that are already text; ``where`` names their source in errors."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(root, where)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        raise MalformedFileError(f"not valid YAML ({getattr(error, 'problem', None) or 'syntax'})", where=line) from None
    except RecursionError:
        raise MalformedFileError("nested too deep", where=where) from None
    if not isinstance(value, dict):
        raise MalformedFileError("must be a mapping of keys to values", where=where)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _explain(error, root, model, where) from None


def _refuse_duplicates(node: Any, where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            if key.value in seen:
                raise MalformedFileError(
                    f"key `{key.value}` appears twice", where=f"{where}:{key.start_mark.line + 1}", fix="Keep one."
                )
            seen.add(key.value)
            _refuse_duplicates(child, where)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_duplicates(child, where)


def _explain(error: ValidationError, root: Any, model: type[BaseModel], where: str) -> MalformedFileError | UnknownKeyError:
    first = error.errors(include_url=False, include_input=False)[0]
    path = first["loc"]
    line = _line_of(root, path)
    place = f"{where}:{line}" if line else where
    key = ".".join(str(part) for part in path) or "(whole file)"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _keys_at(model, path[:-1]), n=1, cutoff=0.5)
        fix = f"Did you mean `{near[0]}`?" if near else "Remove it."
        return UnknownKeyError(f"unknown key `{key}`", where=place, fix=fix)
    if first["type"] == "missing":
        return MalformedFileError(f"key `{key}` is missing", where=place, fix="Add it.")
    return MalformedFileError(f"key `{key}`: {first['msg']}", where=place)


def _line_of(node: Any, path: tuple[int | str, ...]) -> int | None:
    line: int | None = node.start_mark.line + 1 if node is not None else None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                # pydantic adds the tag of a union member to the path; it is no key of the file.
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    models: list[type[BaseModel]] = [model]
    for part in path:
        if isinstance(part, int):
            continue
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        if fields:
            models = [m for annotation in fields for m in _models_in(annotation)]
    return sorted({name for m in models for name in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models_in(part)]
