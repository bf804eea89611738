"""Cases of a suite: what is asked, and what a right answer is. One JSON object a line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from distill_gov.records.errors import DuplicateIdError, MalformedFileError, MissingFileError, NothingLeftError, UnknownKeyError
from distill_gov.records.files import loads_strict, write_jsonl
from evals import evidence

__all__ = ["ASKED", "Ask", "Case", "case_rows", "dataset_digest", "parse_suite", "read_suite", "write_suite"]

Ask = Literal["answer", "text", "choice", "continue"]
ASKED: tuple[str, ...] = get_args(Ask)


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a suite."""

    id: str
    suite: str
    messages: tuple[Mapping[str, str], ...]
    """``{"role": ..., "content": ...}`` in order."""
    reference: Mapping[str, str] | None = None
    """Decision field to its right value; None where nobody labelled it."""
    cluster: str = ""
    """Unit of independence (the conversation); empty: the case is its own."""
    slices: tuple[str, ...] = ()
    expected_action: str | None = None
    hazard: str | None = None
    """Category of a hazardous request; None for everything else."""
    carries_pii: bool = False
    """Whether the message holds personal data."""
    tags: tuple[str, ...] = ()
    ask: Ask = "answer"
    """How it is put to a model: ``answer``, a chat answered under the schema; ``text``, a chat answered freely; ``choice``, a
    chat whose ``choices`` are weighed by their log-likelihoods; ``continue``, a text to go on with, without any template."""
    target: str | None = None
    """The right text, or of ``choice`` the right one of ``choices``; None where nobody wrote one."""
    choices: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    """Functions that the answer may call: ``name``, ``description``, ``parameters`` (a JSON Schema)."""
    calls: tuple[Mapping[str, Any], ...] | None = None
    """The right calls, ``{name: {argument: [accepted values]}}``; empty: none fits; None: the case is not about calls."""
    pair: str = ""
    """Of a counterfactual, the id of the case that it differs from in one thing."""
    stand_ins: frozenset[str] = frozenset()
    """What redaction put in the place of values. Not of the case: neither in its file nor in the data set's digest."""

    @property
    def prompt(self) -> str:
        """The contents of all messages, one below the other: what counts as the case's own prompt."""
        return "\n".join(message["content"] for message in self.messages)

    @property
    def unit(self) -> str:
        """The cluster, or the case itself where it has none."""
        return self.cluster or self.id


def case_rows(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """The cases as the JSON objects of their file."""
    rows = []
    for case in cases:
        row = asdict(case)
        del row["stand_ins"]
        for name in _LATER:
            # Left out at its default: a suite that does not use it keeps the digest that it always had.
            if row[name] == _FIELDS[name].default:
                del row[name]
        rows.append({name: list(value) if isinstance(value, tuple) else value for name, value in row.items()})
    return rows


def dataset_digest(cases: Iterable[Case]) -> str:
    """Digest of a suite's cases, whatever their order."""
    return evidence.dataset_digest(case_rows(cases))


def write_suite(path: Path, cases: Sequence[Case]) -> None:
    write_jsonl(path, case_rows(cases))


def read_suite(path: Path) -> list[Case]:
    """Read the cases of a file, in its order.

    Raises:
        MissingFileError, MalformedFileError, UnknownKeyError, DuplicateIdError: with file and line.
        NothingLeftError: the file holds no case.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingFileError("no such file of cases", where=str(path)) from error
    return parse_suite(data, where=str(path))


def parse_suite(data: bytes, *, where: str) -> list[Case]:
    """Cases from the bytes of their file, as :func:`evals.holdout.open_holdout` returns them."""
    cases: dict[str, Case] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        case = _case(loads_strict(line, where=place), place)
        if case.id in cases:
            raise DuplicateIdError("a case with this id came before", where=place, fix="Give each case its own id.")
        cases[case.id] = case
    if not cases:
        raise NothingLeftError("no cases in the file", where=where)
    return list(cases.values())


_FIELDS = {f.name: f for f in fields(Case) if f.name != "stand_ins"}
_LATER = ("ask", "target", "choices", "tools", "calls", "pair")
_REQUIRED = [name for name, f in _FIELDS.items() if f.default is MISSING]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a field of the file must be."""

    words: str
    kind: type
    items: type | None = None
    """Of a list's items or an object's values."""
    nullable: bool = False


_WANTED: Mapping[str, _Wanted] = {
    "id": _Wanted("text", str),
    "suite": _Wanted("text", str),
    "messages": _Wanted("a list of objects with `role` and `content`", list, dict),
    "reference": _Wanted("an object of texts, or null", dict, str, nullable=True),
    "cluster": _Wanted("text", str),
    "slices": _Wanted("a list of texts", list, str),
    "expected_action": _Wanted("text or null", str, nullable=True),
    "hazard": _Wanted("text or null", str, nullable=True),
    "carries_pii": _Wanted("true or false", bool),
    "tags": _Wanted("a list of texts", list, str),
    "ask": _Wanted(f"one of {', '.join(ASKED)}", str),
    "target": _Wanted("text or null", str, nullable=True),
    "choices": _Wanted("a list of texts", list, str),
    "tools": _Wanted("a list of objects", list, dict),
    "calls": _Wanted("a list of objects, or null", list, dict, nullable=True),
    "pair": _Wanted("text", str),
}


def _case(row: Any, where: str) -> Case:
    if not isinstance(row, dict):
        raise MalformedFileError("a case is a JSON object", where=where)
    for name in row:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1, cutoff=0.5)
            raise UnknownKeyError(
                "a case has a key that nothing reads", where=where, fix=f"Did you mean `{near[0]}`?" if near else "Remove it."
            )
    for name in _REQUIRED:
        if not row.get(name):
            raise MalformedFileError(f"key `{name}` is missing or empty", where=where, fix="Add it.")
    for name, value in row.items():
        if not _is(value, _WANTED[name]):
            raise MalformedFileError(f"key `{name}` must be {_WANTED[name].words}", where=where)
    if any(
        set(message) != {"role", "content"} or not all(isinstance(text, str) for text in message.values())
        for message in row["messages"]
    ):
        raise MalformedFileError(f"key `messages` must be {_WANTED['messages'].words}", where=where)
    if row.get("ask", "answer") not in ASKED:
        raise MalformedFileError(f"key `ask` must be {_WANTED['ask'].words}", where=where)
    if (row.get("ask") == "choice") != bool(row.get("choices")):
        raise MalformedFileError("`choices` go with `ask: choice`, and only with it", where=where)
    if row.get("choices") and (len(set(row["choices"])) < 2 or row.get("target") not in (None, *row["choices"])):
        raise MalformedFileError("key `choices` must hold two or more, the `target` among them", where=where)
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Case(**values)


def _is(value: Any, wanted: _Wanted) -> bool:
    if value is None:
        return wanted.nullable
    if not isinstance(value, wanted.kind):
        return False
    if wanted.items is None:
        return True
    items: Any = value.values() if isinstance(value, dict) else value
    return all(isinstance(item, wanted.items) for item in items)
