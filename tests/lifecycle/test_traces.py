"""Traces: strict reading, writing, and the published schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
    UnknownKeyError,
)
from distill_gov.traces import TRACE_SCHEMA, Trace, parse_trace, read_traces, recorded_answer, trace_row, write_traces

ROW: dict[str, Any] = {
    "id": "t1",
    "group": "g1",
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where is it?"}],
    "reference": {"intent": "delivery"},
    "consent": "granted",
    "licence": "CC-BY-4.0",
    "retention_until": "2030-12-31",
    "language": "en",
    "tags": {"slice": "plain", "pii": False},
}


def _file(folder: Path, *rows: object) -> Path:
    path = folder / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_full_row_becomes_a_trace(tmp_path: Path) -> None:
    (trace,) = read_traces(_file(tmp_path, ROW))
    assert trace == Trace(
        id="t1",
        group="g1",
        messages=({"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where is it?"}),
        reference={"intent": "delivery"},
        consent="granted",
        licence="CC-BY-4.0",
        retention_until=date(2030, 12, 31),
        language="en",
        tags={"slice": "plain", "pii": False},
    )
    assert trace_row(trace) == ROW


def test_reference_and_language_may_be_absent_and_order_is_kept(tmp_path: Path) -> None:
    bare = {key: value for key, value in ROW.items() if key not in ("reference", "language")}
    first, second = read_traces(_file(tmp_path, bare | {"id": "b"}, bare | {"id": "a"}))
    assert (first.id, second.id) == ("b", "a")
    assert first.reference is None
    assert first.language is None
    assert trace_row(first) == bare | {"id": "b"}


CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def test_tools_context_reasoning_and_papers_come_back_as_they_were(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning": "I look."},
        {"role": "tool", "content": "", "tool_call_id": "c1", "name": "find"},
    ]
    papers = {"purpose": "support", "region": "EU", "tenant": "north"}
    row = ROW | papers | {"messages": turns, "context": [{"title": "Parcels", "text": "Two days."}, {"text": "Or three."}]}
    (trace,) = read_traces(_file(tmp_path, row))
    assert trace_row(trace) == row
    assert (trace.purpose, trace.region, trace.tenant) == ("support", "EU", "north")
    assert trace.context[1] == {"text": "Or three."}


def _with(**changes: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {key: value for key, value in (ROW | changes).items() if value is not ...}


SECRET = "kim@example.org"
USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("row", "error", "says"),
    [
        (_with(licence=..., licens="x"), UnknownKeyError, "unknown key `licens`. Did you mean `licence`?"),
        (_with(zzz=SECRET), UnknownKeyError, "unknown key `zzz`. Remove it."),
        (_with(messages=[USER | {"nickname": SECRET}]), UnknownKeyError, "unknown key `messages.0.nickname`"),
        (_with(consent=...), MalformedFileError, "key `consent` is missing"),
        (_with(tags=...), MalformedFileError, "key `tags` is missing"),
        (_with(messages=[{"role": "user"}]), MalformedFileError, "key `messages.0.content` is missing"),
        (
            _with(messages=[USER, {"role": "bot", "content": SECRET}]),
            MalformedFileError,
            "key `messages.1.role` must be one of",
        ),
        (_with(messages=[{"role": "assistant", "content": SECRET}]), MalformedFileError, "at least one of them by the user"),
        (_with(messages=[]), MalformedFileError, "at least one of them by the user"),
        (_with(messages=SECRET), MalformedFileError, "key `messages` must be a list"),
        (
            _with(messages=[USER, {"role": "user", "content": " \n"}]),
            MalformedFileError,
            "key `messages.1.content` must be text",
        ),
        (_with(id=7), MalformedFileError, "key `id` must be text"),
        (_with(region=""), MalformedFileError, "key `region` must be text"),
        (_with(context=[]), MalformedFileError, "key `context` must be a list of documents"),
        (_with(context=[{"title": SECRET}]), MalformedFileError, "key `context.0.text` is missing"),
        (
            _with(messages=[USER | {"tool_calls": [CALL]}]),
            MalformedFileError,
            "key `messages.0.role` must be assistant where there is `tool_calls`",
        ),
        (
            _with(messages=[USER | {"reasoning": SECRET}]),
            MalformedFileError,
            "key `messages.0.role` must be assistant where there is `reasoning`",
        ),
        (
            _with(messages=[USER | {"name": SECRET}]),
            MalformedFileError,
            "key `messages.0.role` must be tool where there is `name`",
        ),
        (
            _with(messages=[USER, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}]),
            MalformedFileError,
            "key `messages.1.tool_calls.0.function.arguments` is missing",
        ),
        (_with(id="x" * 201), MalformedFileError, "at most 200 characters"),
        (_with(group=" "), MalformedFileError, "key `group` must be text"),
        (_with(consent=True), MalformedFileError, "key `consent` must be text"),
        (_with(licence=""), MalformedFileError, "key `licence` must be text"),
        (_with(retention_until="31.12.2030"), MalformedFileError, "key `retention_until` must be a date such as 2027-12-31"),
        (_with(retention_until="2030-02-30"), MalformedFileError, "key `retention_until` must be a date"),
        (_with(retention_until="20301231"), MalformedFileError, "key `retention_until` must be a date"),
        (_with(retention_until="2030-12-31T00:00:00Z"), MalformedFileError, "key `retention_until` must be a date"),
        (_with(retention_until="2030-12-31\n"), MalformedFileError, "key `retention_until` must be a date"),
        (_with(retention_until="٢٠٣٠-12-31"), MalformedFileError, "key `retention_until` must be a date"),
        (_with(language="english please"), MalformedFileError, "key `language` must be a language tag"),
        (_with(language=None), MalformedFileError, "key `language` must be a language tag"),
        (_with(reference="refund"), MalformedFileError, "key `reference` must be an object"),
        (_with(reference={}), MalformedFileError, "key `reference` must be an object"),
        (_with(reference={"n": 2**60}), MalformedFileError, "no canonical JSON form"),
        (_with(tags={"n": 3}), MalformedFileError, "key `tags.n` must be text, true or false"),
        (_with(tags=[]), MalformedFileError, "key `tags` must be an object"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_and_key_and_never_the_value(
    tmp_path: Path, row: Callable[[], dict[str, Any]], error: type[BadInputError], says: str
) -> None:
    path = _file(tmp_path, ROW, row() | ({"id": "t2"} if row()["id"] == "t1" else {}))
    with pytest.raises(error) as caught:
        read_traces(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_strange_key_cannot_break_the_line(tmp_path: Path) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        read_traces(_file(tmp_path, ROW | {"a\nb" + "c" * 500: 1}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("line", ["{", "[1]", '"text"', '{"id": NaN}', '{"id": "a", "id": "b"}', "nonsense"])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(ROW) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(MalformedFileError, match=r"traces\.jsonl:3: "):
        read_traces(path)


def test_duplicate_ids_name_both_lines_and_not_the_id(tmp_path: Path) -> None:
    path = _file(tmp_path, ROW | {"id": SECRET}, ROW, ROW | {"id": SECRET})
    with pytest.raises(DuplicateIdError, match=r"jsonl:3: its id was taken by .*jsonl:1") as caught:
        read_traces(path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_traces_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.jsonl").write_bytes(content)
    with pytest.raises(NothingLeftError, match=r"empty\.jsonl: no traces"):
        read_traces(tmp_path / "empty.jsonl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="absent"):
        read_traces(tmp_path / "absent.jsonl")


def _trace(**changes: Any) -> Trace:
    fields: dict[str, Any] = {
        "id": "t1", "group": "t1", "messages": (USER,), "consent": "c", "licence": "l", "retention_until": date(2030, 1, 1)
    }  # fmt: skip
    return Trace(**fields | changes)


@pytest.mark.parametrize(
    ("traces", "error"),
    [
        ([], NothingLeftError),
        ([_trace(), _trace()], DuplicateIdError),
        ([_trace(messages=())], MalformedFileError),
        ([_trace(reference={"x": float("nan")})], MalformedFileError),
        ([_trace(reference={"x": {1, 2}})], MalformedFileError),
        ([_trace(messages=({"role": "user", "content": "\ud800"},))], MalformedFileError),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, traces: list[Trace], error: type[Exception]) -> None:
    with pytest.raises(error):
        write_traces(tmp_path / "out.jsonl", traces)
    assert not list(tmp_path.iterdir())


def test_recorded_answer_is_the_last_turn_if_the_assistants() -> None:
    answer = {"role": "assistant", "content": "Yes."}
    assert recorded_answer(_trace(messages=(USER, answer))) == "Yes."
    assert recorded_answer(_trace(messages=(USER, answer, USER))) is None
    assert recorded_answer(_trace()) is None


def test_the_published_schema_is_a_json_schema_and_agrees_with_an_independent_validator() -> None:
    # jsonschema (Python) is a second implementation; reading uses jsonschema-rs.
    jsonschema.Draft202012Validator.check_schema(TRACE_SCHEMA)
    validator = jsonschema.Draft202012Validator(TRACE_SCHEMA)
    assert validator.is_valid(ROW)
    assert not validator.is_valid(ROW | {"consent": ""})
    assert not validator.is_valid(ROW | {"messages": []})
    assert json.loads(json.dumps(TRACE_SCHEMA)) == TRACE_SCHEMA


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SOLID = TEXT.map(lambda text: text + "x")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": SOLID}), max_size=4
).map(lambda turns: (*turns, USER))
TRACES = st.lists(
    st.builds(
        Trace,
        id=SOLID,
        group=SOLID,
        messages=MESSAGES,
        reference=st.none() | st.dictionaries(TEXT, JSON, min_size=1, max_size=3),
        consent=SOLID,
        licence=SOLID,
        retention_until=st.dates(),
        language=st.none() | st.sampled_from(["en", "pt-BR", "zh-Hant-TW"]),
        tags=st.dictionaries(TEXT, TEXT | st.booleans(), max_size=3),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda trace: trace.id,
)


@given(TRACES)
def test_what_is_written_is_read_back_the_same(traces: list[Trace]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "traces.jsonl"
        write_traces(path, traces)
        assert read_traces(path) == traces


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()) | st.dictionaries(
    st.sampled_from([*ROW, "mesages"]), JSON | st.sampled_from(list(ROW.values()))
).map(lambda row: json.dumps(ROW | row).encode()))  # fmt: skip
@example(b'{"reference": ' + b"[" * 100_000)
@example(json.dumps(ROW | {"reference": {"x": 1}}).replace("1", "[" * 600 + "]" * 600).encode())
def test_any_bytes_give_traces_or_one_of_our_errors(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "traces.jsonl"
        path.write_bytes(content)
        try:
            assert read_traces(path)
            return
        except DistillGovError as error:
            refused = error
    assert "\n" not in str(refused)
    assert refused.exit_code == 2


@pytest.mark.parametrize("key", ["dana@example.org", "+44 7700 900482", "4111-1111-1111-1111"])
def test_a_key_that_may_be_somebodys_is_not_shown(key: str) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        parse_trace({**ROW, key: 1}, where="a.jsonl:1")
    assert key not in str(caught.value)
    assert "not shown" in str(caught.value)
