"""Tool calls: is the right function called, with arguments that are valid and right, and none where none fits?

What counts as right is told as the Berkeley Function Calling Leaderboard tells it by syntax tree (Patil et al. 2025, "The
Berkeley Function Calling Leaderboard (BFCL)", ICML; its ``ast_checker``): every value must be among the accepted ones; an
accepted ``""`` says that the argument may be left out; texts are equal whatever their case, spaces and ``,./-_*^``; the order
of calls does not matter. Three things are told otherwise, on purpose: arguments are held against the whole schema of the
parameters, ``enum`` to the letter and 5.0 an integer; an answer that is empty, or holds a call that cannot be read, has not
"called nothing"; expressions and bare names are no values.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from distill_gov.records.errors import BadInputError, BadSchemaError, MalformedFileError, MissingFileError, NothingLeftError
from distill_gov.records.files import loads_strict
from evals.cases import Case
from evals.catalogue.structured import NO_CALL, TOOL_ARGUMENTS_VALID, TOOL_CALL, TOOL_NAME
from evals.structured import MAX_DEPTH, Schema, TextError, judge, make_schema, parse_answer
from evals.suites import ReadAnswer

__all__ = [
    "TOOL_ERRORS",
    "Call",
    "JudgedCalls",
    "ReadCalls",
    "ToolCalls",
    "ToolError",
    "check_tools",
    "judge_calls",
    "offer_tools",
    "parse_calls",
    "read_bfcl",
]

ToolError = Literal[
    TextError,
    "not_a_call",
    "call_when_none_fits",
    "no_call",
    "unknown_tool",
    "wrong_tool",
    "wrong_count",
    "missing_argument",
    "unexpected_argument",
    "argument_type",
    "argument_invalid",
    "wrong_value",
    "left_out",
]
TOOL_ERRORS: tuple[ToolError, ...] = ToolError.__args__  # type: ignore[attr-defined]
"""The taxonomy, in the order in which the first error is looked for; up to ``too_deep`` they are those of any answer."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_MAX_PYTHON = 1 << 16
"""Characters of calls in Python's syntax; one argument list is far below, and Python's parser takes megabytes per nesting."""


_MAX_BITS = 14_000
"""Of an integer: about the 4,300 digits that Python writes and reads; hexadecimal ones get past its own check."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that an answer makes."""

    name: str
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadCalls:
    """The calls of an answer, or why it has none that can be read."""

    calls: tuple[Call, ...] | None
    """None where the text is no list of calls; empty where it is one of no call."""
    error: ToolError | None
    """None exactly where there are ``calls``."""


@dataclass(frozen=True, slots=True)
class JudgedCalls:
    """What is right about an answer's calls."""

    name_right: bool
    """As many calls as are right, of the right functions."""
    arguments_valid: bool
    """There are calls, each of a function that is offered, with arguments valid under its parameters."""
    right: bool
    """All of it, and every value among the accepted ones; where none fits: no call."""
    error: ToolError | None
    """The first error; None exactly where ``right``."""
    call: int | None = None
    """Which call is wrong, from 0."""
    argument: str | None = None
    """Which argument: a name of the function's own, so never the answer's words."""


# --- reading


def parse_calls(text: str | bytes) -> ReadCalls:
    """Read calls, strictly. Never raises over what the text is, and runs nothing of it.

    Three forms are read: JSON ``{"name": ..., "arguments": {...}}`` or a list of them; OpenAI's ``tool_calls``, in their
    message or alone, arguments as an object or as JSON in a text; Python's ``f(a=1)``, or a list of such calls, with literals
    as values.
    """
    parsed = parse_answer(text)
    if parsed.valid:
        return _json_calls(parsed.value)
    if parsed.error in ("empty", "not_utf8", "too_large", "duplicate_key", "non_finite", "too_deep"):
        return ReadCalls(None, parsed.error)
    shown = text.decode("utf-8") if isinstance(text, bytes) else text
    if not _LOOKS_PYTHON.match(shown):
        return ReadCalls(None, parsed.error)  # type: ignore[arg-type]
    try:
        return ReadCalls(_python_calls(shown.strip()), None)
    except _UnreadableError as error:
        return ReadCalls(None, error.code)


class _UnreadableError(Exception):
    def __init__(self, code: ToolError) -> None:
        super().__init__(code)
        self.code = code


def _json_calls(value: Any) -> ReadCalls:
    try:
        if isinstance(value, dict) and "tool_calls" in value:
            value = value["tool_calls"] or []
        listed = value if isinstance(value, list) else [value]
        return ReadCalls(tuple(_json_call(one) for one in listed), None)
    except _UnreadableError as error:
        return ReadCalls(None, error.code)


def _json_call(value: Any) -> Call:
    if isinstance(value, dict) and isinstance(value.get("function"), dict) and value.keys() <= _OPENAI:
        value = value["function"]
    if not isinstance(value, dict) or value.keys() != {"name", "arguments"} or not isinstance(value["name"], str):
        raise _UnreadableError("not_a_call")
    arguments = value["arguments"]
    if isinstance(arguments, str):
        parsed = parse_answer(arguments)
        if not parsed.valid:
            raise _UnreadableError(parsed.error)  # type: ignore[arg-type]
        arguments = parsed.value
    if not isinstance(arguments, dict):
        raise _UnreadableError("not_a_call")
    return Call(value["name"], arguments)


_OPENAI = frozenset({"id", "type", "index", "function"})
_LOOKS_PYTHON = re.compile(r"\s*\[?\s*[^\W\d][\w.]*\(\s*(?:$|\)|[^\W\d]\w*\s*=)")
"""A call, or the beginning of one; "Note (I can't say)" is prose."""


def _python_calls(text: str) -> tuple[Call, ...]:
    if len(text) > _MAX_PYTHON:
        raise _UnreadableError("too_large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes such as "\d", which Python only warns of
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise _UnreadableError(_python_error(text, error)) from None
    except (RecursionError, MemoryError):
        raise _UnreadableError("too_deep") from None
    listed = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    return tuple(_python_call(node) for node in listed)


def _python_error(text: str, error: Exception) -> ToolError:
    said = str(error)
    if "too many nested" in said:
        return "too_deep"
    if "was never closed" in said or "unterminated" in said:
        return "truncated"
    # "f(a=1) I hope this helps": a whole list of calls, and then words.
    return "fenced_or_prose" if re.search(r"\)\s*\]?\s*[^\W\d_]", text) else "syntax"


def _python_call(node: ast.AST) -> Call:
    if not isinstance(node, ast.Call):
        raise _UnreadableError("not_a_call")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise _UnreadableError("syntax")  # without names nobody can say which argument is meant
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg in arguments:
            raise _UnreadableError("duplicate_key")
        arguments[str(keyword.arg)] = _literal(keyword.value, 1)
    return Call(_dotted(node.func), arguments)


def _dotted(node: ast.AST) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise _UnreadableError("not_a_call")
    return ".".join([node.id, *reversed(parts)])


def _literal(node: ast.AST, depth: int) -> Any:
    """The JSON value that a literal is."""
    if depth > MAX_DEPTH:
        raise _UnreadableError("too_deep")
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = _constant(node.operand.value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item, depth + 1) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        if not all(isinstance(key, str) for key in keys):
            raise _UnreadableError("syntax")
        if len(set(keys)) != len(keys):
            raise _UnreadableError("duplicate_key")
        return {key: _literal(value, depth + 1) for key, value in zip(keys, node.values, strict=True)}
    raise _UnreadableError("syntax")


def _constant(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise _UnreadableError("non_finite")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise _UnreadableError("non_finite")
        return value
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeError:
            raise _UnreadableError("not_utf8") from None
        return value
    raise _UnreadableError("syntax")


# --- judging


def judge_calls(text: str | bytes, tools: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> JudgedCalls:
    """Hold an answer against the right calls. Never raises over what the text is.

    Args:
        text: the answer.
        tools: the functions offered, as in :class:`evals.cases.Case`.
        calls: the right calls, each ``{name: {argument: [accepted values]}}``; empty where none fits.

    Raises:
        BadSchemaError: a function's parameters are no usable JSON Schema.
    """
    read = parse_calls(text)
    if not calls:
        return _judge_silence(read, text, tools)
    if read.calls is None:
        return JudgedCalls(False, False, False, read.error)
    if not read.calls:
        return JudgedCalls(False, False, False, "no_call")
    offered = {str(tool["name"]): tool for tool in tools}
    names = [_offered_name(call.name, offered) for call in read.calls]
    wanted = [next(iter(call)) for call in calls]
    faults = [_invalid(call, offered.get(name or "")) for call, name in zip(read.calls, names, strict=True)]
    name_right = Counter(names) == Counter(wanted)
    first = _first_name_error(names, wanted) or _first(faults)
    if first is None:
        first = _first(_values_wrong(read.calls, names, calls))
    return JudgedCalls(name_right, not any(faults), first is None, *(first or (None, None, None)))


_Fault = tuple[ToolError, str | None]
_Located = tuple[ToolError, int | None, str | None]


def _first(faults: Sequence[_Fault | None]) -> _Located | None:
    found = [(fault[0], n, fault[1]) for n, fault in enumerate(faults) if fault is not None]
    return min(found, key=lambda f: (TOOL_ERRORS.index(f[0]), f[1]), default=None)


def _judge_silence(read: ReadCalls, text: str | bytes, tools: Sequence[Mapping[str, Any]]) -> JudgedCalls:
    if read.calls:
        return JudgedCalls(False, False, False, "call_when_none_fits", 0)
    # Words are the right answer here. Nothing at all is none, and neither is a call that came out broken.
    if read.calls is None and read.error not in ("fenced_or_prose", "syntax", "not_a_call"):
        return JudgedCalls(False, False, False, read.error)
    if read.calls is None and _tries(text, tools):
        return JudgedCalls(False, False, False, "call_when_none_fits")
    return JudgedCalls(True, False, True, None)


_BEGUN = re.compile(r'"(?:arguments|function|tool_calls)"\s*:\s*["{\[]')


def _tries(text: str | bytes, tools: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a text that cannot be read as calls has one in it: a call's form, or an offered function's name as in one."""
    shown = text.decode("utf-8") if isinstance(text, bytes) else text
    if _LOOKS_PYTHON.match(shown) or _BEGUN.search(shown):
        return True
    names = "|".join(re.escape(name) for tool in tools for name in {str(tool["name"]), str(tool["name"]).replace(".", "_")})
    return bool(names) and re.search(rf"""(?<![\w.])(?:{names})\s*\(|(["'])(?:{names})\1\s*[,:}}]""", shown) is not None


def _offered_name(name: str, offered: Mapping[str, Any]) -> str | None:
    """The function meant. Some interfaces allow no dots in names, so that ``math_hypot`` is ``math.hypot``."""
    if name in offered:
        return name
    undotted = [own for own in offered if own.replace(".", "_") == name]
    return undotted[0] if len(undotted) == 1 else None


def _first_name_error(names: Sequence[str | None], wanted: Sequence[str]) -> _Located | None:
    if None in names:
        return ("unknown_tool", names.index(None), None)
    left = Counter(wanted)
    for n, name in enumerate(names):
        if name not in left:
            return ("wrong_tool", n, None)
    return None if Counter(names) == left else ("wrong_count", None, None)


def _invalid(call: Call, tool: Mapping[str, Any] | None) -> _Fault | None:
    """What is wrong with a call's arguments under the function's parameters."""
    if tool is None:
        return ("unknown_tool", None)
    parameters = tool.get("parameters") or {}
    judged = judge(json.dumps(call.arguments), _parameters(json.dumps(parameters, sort_keys=True)))
    if judged.valid:
        return None
    own = judged.instance_path[0] if judged.instance_path else None
    argument = own if isinstance(own, str) and own in parameters.get("properties", {}) else None
    if judged.error == "required" and not judged.instance_path:
        return ("missing_argument", next(name for name in parameters["required"] if name not in call.arguments))
    if judged.error == "additionalProperties" and not judged.instance_path:
        return ("unexpected_argument", None)
    return ("argument_type" if judged.error == "type" else "argument_invalid", argument)


@lru_cache(maxsize=4096)
def _parameters(document: str) -> Schema:
    """Parameters carry no ``$schema`` in the interfaces that they come from; the newest draft is what those mean."""
    return make_schema({"$schema": _DRAFT, **json.loads(document)}, where="a function's parameters")


def _values_wrong(
    made: Sequence[Call], names: Sequence[str | None], wanted: Sequence[Mapping[str, Any]]
) -> list[_Fault | None]:
    """Pair the calls made with the right ones, in whatever order fits most; what is wrong with each."""
    right = [(name, call[name]) for call in wanted for name in call]
    taken: dict[int, int] = {}

    def place(n: int, seen: set[int]) -> bool:
        """Find a right call for one made, moving others aside (Kuhn's augmenting paths)."""
        for k, (name, accepted) in enumerate(right):
            if k in seen or name != names[n] or _wrong_value(made[n].arguments, accepted) is not None:
                continue
            seen.add(k)
            if k not in taken or place(taken[k], seen):
                taken[k] = n
                return True
        return False

    placed = {n for n in range(len(made)) if place(n, set())} & set(taken.values())
    left = [accepted for k, (_, accepted) in enumerate(right) if k not in taken]
    return [
        None if n in placed else (left and _wrong_value(call.arguments, left[0])) or ("wrong_value", None)
        for n, call in enumerate(made)
    ]


def _wrong_value(arguments: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]]) -> _Fault | None:
    for name, value in arguments.items():
        if name not in accepted:
            return ("unexpected_argument", None)
        if not any(_same(value, one) for one in accepted[name]):
            return ("wrong_value", name)
    for name, values in accepted.items():
        if name not in arguments and "" not in values:
            return ("left_out", name)
    return None


_LOOSE = re.compile(r"[ ,./\-_*^]")


def _folded(text: str) -> str:
    return _LOOSE.sub("", text).lower().replace("'", '"')


def _same(value: Any, accepted: Any) -> bool:
    """Whether a value is an accepted one. Of an object each member is accepted by a list, as of the arguments."""
    if isinstance(value, bool) or isinstance(accepted, bool):
        return value is accepted
    if isinstance(value, str) and isinstance(accepted, str):
        return _folded(value) == _folded(accepted)
    if isinstance(value, list) and isinstance(accepted, list):
        return len(value) == len(accepted) and all(map(_same, value, accepted))
    if isinstance(value, dict) and isinstance(accepted, dict):
        if all(isinstance(values, list) for values in accepted.values()) and _wrong_value(value, accepted) is None:
            return True
        return value.keys() == accepted.keys() and all(_same(value[name], accepted[name]) for name in value)
    return bool(value == accepted)


# --- the suite


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """The suite: scores of the cases that have ``calls``."""

    name: str = "tools"

    def derive(self, cases: Sequence[Case]) -> Sequence[Case]:
        """No cases besides. Those that are there are looked through (:func:`check_tools`)."""
        check_tools(cases)
        return ()

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> Mapping[str, float]:
        if case.calls is None:
            return {}
        judged = judge_calls(answer.text, case.tools, case.calls)
        if not case.calls:
            return {NO_CALL: float(judged.right)}
        return {
            TOOL_NAME: float(judged.name_right),
            TOOL_ARGUMENTS_VALID: float(judged.arguments_valid),
            TOOL_CALL: float(judged.right),
        }

    def worst(self, case: Case) -> Mapping[str, float]:
        if case.calls is None:
            return {}
        names = (TOOL_NAME, TOOL_ARGUMENTS_VALID, TOOL_CALL) if case.calls else (NO_CALL,)
        return dict.fromkeys(names, 0.0)


def offer_tools(case: Case) -> Case:
    """The case with its functions, and how to call them, in a system message before the others.

    For models whose own chat template shows none. BFCL's files say nothing of functions in their messages either.
    """
    if not case.tools:
        return case
    said = (
        "You can call these functions:\n"
        f"{json.dumps(list(case.tools), ensure_ascii=False)}\n"
        'Answer with the calls alone, as a JSON list of {"name": ..., "arguments": {...}}. '
        "If none of the functions fits, say so in a sentence instead."
    )
    return replace(case, messages=({"role": "system", "content": said}, *case.messages))


def check_tools(cases: Sequence[Case]) -> None:
    """See that the functions and right calls of cases can be judged by, before any model is asked.

    Raises:
        BadInputError: two functions of a case share a name, or a right call is of none of them, or not of the form; or a
            right call's own accepted values are not valid.
        BadSchemaError: a function's parameters are no usable JSON Schema.
    """
    for case in cases:
        where = f"case {case.id}"
        names = [tool.get("name") for tool in case.tools]
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
            raise BadInputError("each of `tools` needs a `name` of its own", where=where)
        for tool in case.tools:
            try:
                _parameters(json.dumps(tool.get("parameters") or {}, sort_keys=True))
            except BadSchemaError as error:
                raise BadSchemaError(error.what, where=f"{where}: {error.where}", fix=error.fix) from None
        for call in case.calls or ():
            if len(call) != 1 or not all(_is_call(name, accepted, names) for name, accepted in call.items()):
                raise BadInputError(
                    "each of `calls` must be `{name: {argument: [accepted values]}}`, the name one of `tools`", where=where
                )


def _is_call(name: str, accepted: Any, names: Sequence[Any]) -> bool:
    return name in names and isinstance(accepted, dict) and all(isinstance(v, list) and v for v in accepted.values())


# --- BFCL's files

_BFCL_TYPES: Mapping[str, str | None] = {"dict": "object", "float": "number", "tuple": "array", "any": None}


def read_bfcl(path: Path, possible_answers: Path | None = None, *, suite: str = "tools") -> list[Case]:
    """Read a file of questions of the Berkeley Function Calling Leaderboard as it is.

    Its types (``dict``, ``float``, ``tuple``, ``any``) become those of JSON Schema, and a function takes no argument that it
    does not name, as the leaderboard has it.

    Args:
        path: the questions, one JSON object a line.
        possible_answers: the right calls of the same questions; None where no call is right (``irrelevance``).
        suite: what the cases' suite is called.

    Raises:
        MissingFileError, MalformedFileError, BadSchemaError: with file and line.
        NothingLeftError: no questions.
        BadInputError: questions and answers are not of the same ids.
    """
    answers = {row["id"]: row for _, row in _rows(possible_answers, {"ground_truth": list})} if possible_answers else None
    cases: list[Case] = []
    for where, row in _rows(path, {"question": list, "function": list}):
        if answers is not None and row["id"] not in answers:
            raise BadInputError("a question without possible answers", where=where)
        cases.append(_bfcl_case(row, () if answers is None else answers[row["id"]]["ground_truth"], suite, where))
    if answers is not None and len(answers) != len(cases):
        raise BadInputError("possible answers without a question", where=str(possible_answers))
    check_tools(cases)
    return cases


def _bfcl_case(row: Mapping[str, Any], calls: Sequence[Any], suite: str, where: str) -> Case:
    turns = row["question"]
    if len(turns) != 1 or not isinstance(turns[0], list) or not all(map(_is_message, turns[0])) or not turns[0]:
        raise MalformedFileError("`question` must be one turn of messages with `role` and `content`", where=where)
    if not all(isinstance(f, dict) and isinstance(f.get("parameters"), dict) for f in row["function"]) or not row["function"]:
        raise MalformedFileError("`function` must be a list of functions with `parameters`", where=where)
    if not all(isinstance(call, dict) for call in calls):
        raise MalformedFileError("`ground_truth` must be a list of objects", where=where)
    tools = tuple({**f, "parameters": {**_standard(f["parameters"]), "additionalProperties": False}} for f in row["function"])
    return Case(row["id"], suite, tuple(turns[0]), ask="text", tools=tools, calls=tuple(calls))


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.keys() == {"role", "content"} and isinstance(message["content"], str)


def _standard(schema: Any) -> Any:
    """A schema in BFCL's dialect as JSON Schema."""
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            if (kind := _BFCL_TYPES.get(value, value)) is not None:
                found["type"] = kind
        elif key == "properties" and isinstance(value, dict):
            found[key] = {name: _standard(part) for name, part in value.items()}
        elif key == "items":
            found[key] = _standard(value)
        elif key != "optional":  # says of one argument what `required` says already
            found[key] = value
    return found


def _rows(path: Path, wanted: Mapping[str, type]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError("no such file of BFCL", where=str(path)) from error
    seen: set[str] = set()
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        row = loads_strict(line, where=where)
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise MalformedFileError("a line must be an object with an `id`", where=where)
        for key, kind in wanted.items():
            if not isinstance(row.get(key), kind):
                raise MalformedFileError(f"key `{key}` must be a list", where=where)
        if row["id"] in seen:
            raise MalformedFileError("an `id` that came before", where=where)
        seen.add(row["id"])
        yield where, row
    if not seen:
        raise NothingLeftError("no lines in the file", where=str(path))
