"""The only reader of YAML settings: errors name file, line, key and the nearest key that exists."""

from __future__ import annotations

import difflib
import re
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
    except OSError as error:
        raise MissingFileError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise MalformedFileError("not valid UTF-8 text", where=str(path)) from error
    return parse_settings(text, model, where=str(path))


def parse_settings(text: str, model: type[S], *, where: str) -> S:
    """Check settings that are already text; ``where`` names their source in errors."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(root, where)
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        problem = _QUOTED.sub("...", getattr(error, "problem", None) or "syntax")
        raise MalformedFileError(f"not valid YAML ({problem})", where=line) from None
    except RecursionError:
        raise MalformedFileError("nested too deep", where=where) from None
    if not isinstance(value, dict):
        raise MalformedFileError("must be a mapping of keys to values", where=where)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _explain(error, root, model, where) from None


_QUOTED = re.compile(r"'[^<'][^']+'")
"""What the parser quotes of the file (an alias, a tag). Single characters and its own words, ``'<block end>'``, may stay."""


class _Loader(yaml.SafeLoader):
    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            # What looks like a date, a number or a tagged value and is none: 2026-02-30.
            raise yaml.constructor.ConstructorError(
                None, None, f"no valid {node.tag.rpartition(':')[2]}", node.start_mark
            ) from error


def _refuse_duplicates(root: Any, where: str) -> None:
    # Aliases make one node appear at many places; each is looked at once.
    waiting, looked_at = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in looked_at:
            continue
        looked_at.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, child in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise MalformedFileError("a key must be one word", where=f"{where}:{key.start_mark.line + 1}")
                if key.value in seen:
                    raise MalformedFileError(
                        f"key `{_shown(key.value)}` appears twice", where=f"{where}:{key.start_mark.line + 1}", fix="Keep one."
                    )
                seen.add(key.value)
                waiting.append(child)


def _shown(key: str) -> str:
    """A key as a message may show it: printable, of one line and not long."""
    return "".join(c if c.isprintable() else "?" for c in key[:80])


def _explain(error: ValidationError, root: Any, model: type[BaseModel], where: str) -> MalformedFileError | UnknownKeyError:
    # A misspelt key is also a missing one; "did you mean" helps more than "is missing".
    first = min(error.errors(include_url=False, include_input=False), key=lambda one: one["type"] != "extra_forbidden")
    path = first["loc"]
    line = _line_of(root, path)
    place = f"{where}:{line}" if line else where
    key = _shown(".".join(str(part) for part in path)) or "(whole file)"
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
        # In a file a key goes by its alias: `from` cannot be a name in Python.
        fields = [f.annotation for m in models for name, f in m.model_fields.items() if part in (f.alias or name, name)]
        if fields:
            models = [m for annotation in fields for m in _models_in(annotation)]
    return sorted({field.alias or name for m in models for name, field in m.model_fields.items()})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models_in(part)]
