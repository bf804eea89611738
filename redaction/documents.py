"""JSON, as values and as text: every string, number and key that may hold something personal, and others in their place.

A document is walked by one function, `mapped`, that hands each leaf to a visitor and puts in what comes back. Text that is a
JSON object or array (a tool call's arguments, a structured answer) is walked as well, wherever it stands as a string, and keeps
every character outside the strings that change: order, spaces, doubled keys, `1.0` and `1e5`, endless numbers, `NaN`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from distill_gov.records.errors import MalformedFileError

__all__ = [
    "DEEPEST",
    "JsonLeaf",
    "JsonValue",
    "NestedTooDeepError",
    "Path",
    "Visitor",
    "is_json_text",
    "mapped",
    "mapped_text",
    "pointer",
    "string_leaves",
    "with_leaves",
]

JsonValue = Any
Path = tuple[str | int, ...]

DEEPEST = 200
"""Levels of objects and arrays, those in strings included."""
_LONGEST_TEXT = 5_000_000
"""Characters of JSON in a string; longer ones are text, which is refused (`max_chars` goes no further)."""
_LONGEST_NUMBER = 400
"""Bits. Nobody's number is longer, and Python refuses to write out the longest."""


class NestedTooDeepError(MalformedFileError):
    """A document is nested deeper than `DEEPEST`."""


@dataclass(frozen=True, slots=True)
class JsonLeaf:
    """One place of a document that may hold something personal."""

    path: Path
    """Keys and indices from the root. It goes on into JSON that stands in a string. A key's path ends with the key itself."""
    text: str
    """The string, the key, or the number as written."""
    kind: Literal["string", "number", "key"] = "string"


Visitor = Callable[[JsonLeaf], str]
"""What stands in a leaf's place. A number stays one if its own text comes back, and becomes a string otherwise."""


def pointer(path: Path) -> str:
    """JSON pointer (RFC 6901) of a path."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def mapped(value: JsonValue, visit: Visitor, path: Path = (), *, into_text: bool = True) -> JsonValue:
    """A copy of a JSON value with each leaf as the visitor wants it: same types and order.

    Args:
        visit: called once a leaf, keys before their values, always in the same order.
        into_text: whether strings that are JSON objects or arrays are walked too, rather than visited.

    Raises:
        MalformedFileError: the value is no JSON.
        NestedTooDeepError: it is nested deeper than `DEEPEST`.
    """
    if len(path) > DEEPEST:
        raise NestedTooDeepError(f"JSON nested deeper than {DEEPEST}")
    if isinstance(value, str):
        inner = mapped_text(value, visit, path) if into_text else None
        return visit(JsonLeaf(path, value)) if inner is None else inner
    if isinstance(value, Mapping):
        return _mapped_object(value, visit, path, into_text=into_text)
    if isinstance(value, list | tuple):
        return [mapped(child, visit, (*path, index), into_text=into_text) for index, child in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _mapped_number(value, visit, path)
    raise MalformedFileError(f"{type(value).__name__} is no JSON value")


def _mapped_object(value: Mapping[Any, Any], visit: Visitor, path: Path, *, into_text: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, child in value.items():
        if not isinstance(key, str):
            raise MalformedFileError("JSON object with a key that is no string")
        clean = visit(JsonLeaf((*path, key), key, "key"))
        while clean in out:  # two spellings of one value
            clean += "_"
        out[clean] = mapped(child, visit, (*path, key), into_text=into_text)
    return out


def _mapped_number(value: float, visit: Visitor, path: Path) -> JsonValue:
    if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER:
        return value
    text = str(value)
    clean = visit(JsonLeaf(path, text, "number"))
    return value if clean == text else clean


def string_leaves(value: JsonValue) -> Iterator[tuple[str, str]]:
    """(JSON pointer, text) of every string that is a value, JSON in strings taken as text.

    Raises:
        as `mapped`.
    """
    leaves: list[tuple[str, str]] = []

    def look(leaf: JsonLeaf) -> str:
        if leaf.kind == "string":
            leaves.append((pointer(leaf.path), leaf.text))
        return leaf.text

    mapped(value, look, into_text=False)
    return iter(leaves)


def with_leaves(value: JsonValue, texts: Mapping[str, str]) -> JsonValue:
    """A copy with the strings at the given pointers replaced: same keys, types and order."""

    def put(leaf: JsonLeaf) -> str:
        return texts.get(pointer(leaf.path), leaf.text) if leaf.kind == "string" else leaf.text

    return mapped(value, put, into_text=False)


def is_json_text(text: str) -> bool:
    """Whether a text is a JSON object or array, and nothing else."""
    try:
        return _tokens(text) is not None
    except NestedTooDeepError:
        return True


def mapped_text(text: str, visit: Visitor, path: Path = ()) -> str | None:
    """As `mapped`, of a JSON object or array given as text; None if the text is none.

    Raises:
        NestedTooDeepError: it is nested deeper than `DEEPEST`.
    """
    tokens = _tokens(text, len(path))
    if tokens is None:
        return None
    out: list[str] = []
    position = 0
    for token in tokens:
        raw = text[token.start : token.end]
        clean = _mapped_token(raw, token.kind, visit, (*path, *token.path))
        if clean != raw:
            out += (text[position : token.start], clean)
            position = token.end
    return "".join([*out, text[position:]])


def _mapped_token(raw: str, kind: Literal["string", "number", "key"], visit: Visitor, path: Path) -> str:
    if kind == "number":
        clean = visit(JsonLeaf(path, raw, "number"))
        return raw if clean == raw else json.dumps(clean)
    value = json.loads(raw)
    inner = mapped_text(value, visit, path) if kind == "string" else None
    clean = visit(JsonLeaf(path, value, kind)) if inner is None else inner
    return raw if clean == value else json.dumps(clean, ensure_ascii=raw.isascii())


@dataclass(frozen=True, slots=True)
class _Token:
    path: Path
    kind: Literal["string", "number", "key"]
    start: int
    end: int


_LEXEME = re.compile(
    r"""[ \t\n\r]*+(?: (?P<mark>[\[\]{},:])
    | (?P<string>"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+")
    | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?(?![\w.]))
    | (?P<word>true|false|null|NaN|-?Infinity)\b )""",
    re.VERBOSE,
)
_BLANK = " \t\n\r"


def _tokens(text: str, depth: int = 0) -> list[_Token] | None:
    """Strings, numbers and keys of a JSON object or array with their places; None if the text is no such thing."""
    if len(text) > _LONGEST_TEXT:
        return None
    bare = text.strip(_BLANK)
    if bare[:1] + bare[-1:] not in ("{}", "[]"):
        return None
    try:
        return list(_scan(text, depth))
    except _NoJsonError:
        return None


class _NoJsonError(ValueError):
    pass


def _scan(text: str, depth: int) -> Iterator[_Token]:
    """The grammar of RFC 8259, and Python's `NaN` and `Infinity`; without recursion, since strangers send it."""
    path: list[str | int] = []
    closers: list[str] = []
    expected = "value"
    position, end = 0, len(text.rstrip(_BLANK))
    deepest: int | None = None
    found: list[_Token] = []
    while position < end:
        match = _LEXEME.match(text, position)
        if match is None:
            raise _NoJsonError
        position = match.end()
        lexeme, kind = match[match.lastgroup or 0], match.lastgroup
        if kind == "mark" and lexeme in "[{":
            if expected not in ("value", "value or ]"):
                raise _NoJsonError
            closers.append("]" if lexeme == "[" else "}")
            path.append(0 if lexeme == "[" else "")
            expected = "value or ]" if lexeme == "[" else "key or }"
            if depth + len(path) > DEEPEST:
                deepest = depth + len(path)
        elif kind == "mark" and lexeme in "]}":
            if not closers or closers.pop() != lexeme or expected not in ("comma", f"value or {lexeme}", f"key or {lexeme}"):
                raise _NoJsonError
            path.pop()
            expected = "comma"
        elif lexeme == ",":
            if expected != "comma" or not closers:
                raise _NoJsonError
            last = path[-1]
            if isinstance(last, int):
                path[-1] = last + 1
            expected = "value" if closers[-1] == "]" else "key"
        elif lexeme == ":":
            if expected != "colon":
                raise _NoJsonError
            expected = "value"
        elif expected in ("key", "key or }"):
            if kind != "string":
                raise _NoJsonError
            path[-1] = json.loads(lexeme)
            found.append(_Token(_seen(path), "key", match.start("string"), position))
            expected = "colon"
        elif expected in ("value", "value or ]") and closers:
            if kind in ("string", "number"):
                found.append(_Token(_seen(path), "string" if kind == "string" else "number", match.start(kind), position))
            expected = "comma"
        else:
            raise _NoJsonError
    if closers or expected != "comma":
        raise _NoJsonError
    if deepest is not None:
        raise NestedTooDeepError(f"JSON nested deeper than {DEEPEST}")
    return iter(found)


def _seen(path: list[str | int]) -> Path:
    # What is nested too deep is refused in the end; until then, a path must not cost more for every level.
    return tuple(path) if len(path) <= DEEPEST else ()
