"""Exports of tracing tools: rows with an input and an output of any JSON become rows with ``messages``, ``id``, ``group``.

One trace is made of each call of a model. Where an export has none (only whole traces, or root runs), one of each root. Rows of
other kinds, failed ones and those without an output are passed over, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill_gov.importers.mapping import Kind
from distill_gov.importers.opaque import opaque
from distill_gov.importers.rows import Row, filled
from distill_gov.importers.turns import is_turn, turn, turns
from distill_gov.records.errors import MalformedFileError, NothingLeftError
from distill_gov.records.files import loads_strict
from distill_gov.records.keys import Subkey

__all__ = ["Dialect", "Export", "decoded", "exported"]

_WRAPPERS = ("messages", "generations", "choices", "message")
"""Keys that hold the conversation beside settings of the call, in this order: OpenAI's and LangChain's."""
_HISTORIES = ("chat_history", "history")
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a tool names the parts of its rows; each name is a column, the first one filled wins."""

    kind: Kind
    given: tuple[str, ...]
    answered: tuple[str, ...]
    id: tuple[str, ...]
    groups: Callable[[Mapping[str, Any]], Sequence[Any]]
    """What a row belongs to, the widest first: session, user, trace."""
    type: Callable[[Mapping[str, Any]], str]
    """What kind of row it is; empty: a whole trace."""
    model_calls: str
    types: frozenset[str]
    """The tool's own kinds of rows; any other word is a stranger's, and is not shown."""
    is_root: Callable[[Mapping[str, Any]], bool]
    failed: Callable[[Mapping[str, Any]], bool]
    objects: tuple[str, ...]
    """Columns in which JSON may stand as text, so that pointers of a map file reach into it."""
    used: tuple[str, ...]
    """Columns that are looked at for anything of the above."""


@dataclass(frozen=True, slots=True)
class Export:
    """What an export's rows were made into."""

    kind: Kind
    rows: list[Row]
    read: tuple[str, ...]
    """The columns of the conversation."""
    used: tuple[str, ...]
    """The columns that were looked at for anything else."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Why rows were passed over, and how many."""
    left_out: Counter[str] = field(default_factory=Counter)
    """What turns and inputs held that a trace has no place for."""
    columns_left_out: Counter[str] = field(default_factory=Counter)


def exported(dialect: Dialect, rows: Sequence[Row], key: Subkey | None, *, own: Collection[str], source: str) -> Export:
    """The calls of a model among the rows, each as a row with ``messages``, ``id`` and ``group``.

    Args:
        own: which of ``id`` and ``group`` a map file names columns for.
        source: the file.

    Raises:
        NothingLeftError: no row is a conversation.
        MalformedFileError: an input or output that cannot be read as a conversation.
    """
    held = [Row(row.where, {k: decoded(v) if k in dialect.objects else v for k, v in row.held.items()}) for row in rows]
    calls_only = any(dialect.type(row.held) == dialect.model_calls for row in held)
    made = Export(dialect.kind, [], _read(dialect, held), dialect.used)
    for row in held:
        reason = _passed_over(dialect, row.held, calls_only)
        if reason:
            made.passed_over[reason] += 1
            continue
        more: dict[str, Any] = {"messages": _conversation(dialect, row, made.left_out)}
        if "id" not in own and filled(name := _first(row.held, dialect.id)):
            more["id"] = opaque(name, "t", key, row.where)
        groups = [] if "group" in own else [group for group in dialect.groups(row.held) if filled(group)]
        if groups:
            more["group"] = opaque(groups[0], "g", key, row.where)
        # A list of tags has no names to keep them under.
        made.columns_left_out.update(["tags"] if filled(row.held.get("tags")) else [])
        taken = {"tags", *({"id", "group"} - set(own))}
        made.rows.append(Row(row.where, {**{k: v for k, v in row.held.items() if k not in taken}, **more}))
    if not made.rows:
        raise NothingLeftError(
            f"no row of the {dialect.kind} export is a conversation", where=source, fix="Export model calls."
        )
    return made


def _read(dialect: Dialect, rows: Sequence[Row]) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row.held)
    return tuple(name for name in names if name in (*dialect.given, *dialect.answered))


def _passed_over(dialect: Dialect, held: Mapping[str, Any], calls_only: bool) -> str:
    if calls_only and dialect.type(held) != dialect.model_calls:
        return dialect.type(held) if dialect.type(held) in dialect.types else "of another type"
    if not calls_only and not dialect.is_root(held):
        return "below another"
    if dialect.failed(held):
        return "failed"
    return "" if filled(_first(held, dialect.answered)) and filled(_first(held, dialect.given)) else "without input or output"


def _first(held: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((held[name] for name in names if filled(held.get(name))), None)


def decoded(value: Any) -> Any:
    """What a text holds as JSON: CSV and Parquet write objects, and some texts, that way. Any other text is a text."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
        return value
    try:
        return loads_strict(value, where="a cell")
    except MalformedFileError:
        return value


def _conversation(dialect: Dialect, row: Row, left_out: Counter[str]) -> list[dict[str, Any]]:
    given = _turns_of(_first(row.held, dialect.given), "user", f"{row.where}: {dialect.given[0]}", left_out)
    answered = _turns_of(_first(row.held, dialect.answered), "assistant", f"{row.where}: {dialect.answered[0]}", left_out)
    # Graphs return their whole state: what went in and what came of it.
    return answered if answered[: len(given)] == given else given + answered


def _turns_of(value: Any, role: str, where: str, left_out: Counter[str], depth: int = 0) -> list[dict[str, Any]]:
    value = decoded(value)
    if isinstance(value, str):
        return turns(value, role, where)
    if depth > _DEEPEST:
        raise _unreadable(where)
    if isinstance(value, list):
        if len(value) == 1 and not is_turn(value[0]):
            return _turns_of(value[0], role, where, left_out, depth + 1)
        if value and all(is_turn(one) for one in value):
            return turns(value, role, where, left_out)
        raise _unreadable(where)
    if is_turn(value):
        return [turn(value, where, left_out)]
    if not isinstance(value, dict):
        raise _unreadable(where)
    return _unwrapped({key: part for key, part in value.items() if filled(part)}, role, where, left_out, depth)


def _unwrapped(held: dict[str, Any], role: str, where: str, left_out: Counter[str], depth: int) -> list[dict[str, Any]]:
    if "message" not in held and ("generation_info" in held or held.get("type") == "Generation"):
        held = {"message": held.get("text")}  # LangChain's completion of a model that is no chat model
    wrapper = next((key for key in _WRAPPERS if key in held), None)
    if wrapper is not None:
        left_out.update(key for key in held if key != wrapper)
        return _turns_of(held[wrapper], role, where, left_out, depth + 1)
    history = next((key for key in _HISTORIES if key in held), None)
    before = _turns_of(held.pop(history), "user", where, left_out, depth + 1) if history else []
    # One value can only be what was said; of several, nobody knows which.
    if len(held) != 1:
        raise _unreadable(where)
    return before + _turns_of(next(iter(held.values())), role, where, left_out, depth + 1)


def _unreadable(where: str) -> MalformedFileError:
    fix = "Name its parts in a map file (--map) by pointers: `prompt`, `completion`."
    return MalformedFileError("cannot be read as a conversation", where=where, fix=fix)
