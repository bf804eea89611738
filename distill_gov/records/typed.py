"""Are the fields of a record that was read from a file of the types that its class declares?"""

from __future__ import annotations

import collections.abc
import types
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from distill_gov.records.errors import MalformedFileError

__all__ = ["require_types"]

_EXACT = 2**53
"""Up to here every integer is also a float."""


def require_types(record: Any, *, where: str) -> None:
    """Check every field of a dataclass, and of those inside it, against its annotation.

    Understands str, int, float, bool, None, Any, Literal, unions, ``Mapping[str, X]``, ``tuple[X, ...]`` and dataclasses.

    Raises:
        MalformedFileError: names the first field that does not fit, never its value.
    """
    for name, kind in get_type_hints(type(record)).items():
        if not _fits(getattr(record, name), kind):
            raise MalformedFileError(f"`{name}` has the wrong type", where=where, fix="Restore the file, or make it again.")


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is collections.abc.Mapping:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    if origin is tuple:
        return type(value) is tuple and all(_fits(one, inner[0]) for one in value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return isinstance(value, kind) and all(_fits(getattr(value, f.name), hints[f.name]) for f in fields(kind))
    if kind is float:
        # JSON writes 1.0 and 1 alike. A bool is an int to Python, and no number to us.
        return type(value) is float or (type(value) is int and abs(value) <= _EXACT)
    return type(value) is kind
