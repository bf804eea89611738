"""Files: strict in, atomic out, and nothing but our errors on the way."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import MalformedFileError, MissingFileError, UnknownFormatError
from distill_gov.records.files import (
    format_name,
    loads_strict,
    read_json,
    read_jsonl,
    read_parquet,
    write_bytes,
    write_json,
    write_jsonl,
    write_parquet,
    write_text,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT.filter(lambda key: key != "format"), VALUES, max_size=5)
SCHEMA = pa.schema(
    [pa.field("id", pa.string(), nullable=False), pa.field("n", pa.int32()), pa.field("x", pa.list_(pa.float64()))]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": TEXT,
            "n": st.none() | st.integers(-(2**31), 2**31 - 1),
            "x": st.none() | st.lists(st.none() | st.floats(allow_nan=False), max_size=3),
        }
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


# -- JSON -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1, "a": 2}',
        b'{"x": [{"a": 1, "b": 2, "a": 1}]}',
        b'{"a": 1, "\\u0061": 2}',
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"1e999",
        b"-1e999",
        b'"\\ud800"',
        b'{"\\udc00": 1}',
        b'"\xed\xa0\x80"',
        b"\xff\xfe",
        b'"caf\xe9"',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
        b"",
        b"{} {}",
        b"{'a': 1}",
        b'"a\nb"',
        b"01",
        b"[1,]",
    ],
)
def test_what_is_no_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedFileError) as caught:
        loads_strict(text, where="here.json:3")
    assert caught.value.where == "here.json:3"
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ['{"name": "Okaforsky", "name": 1}', '{"Okaforsky"}', '["Okaforsky', '{"a": Okaforsky}'])
def test_a_refusal_does_not_quote(text: str) -> None:
    with pytest.raises(MalformedFileError) as caught:
        loads_strict(text, where="f")
    assert "Okaforsky" not in str(caught.value)


@given(VALUES)
def test_json_values_come_back(value: Any) -> None:
    assert loads_strict(json.dumps(value), where="f") == value
    assert loads_strict(json.dumps(value, ensure_ascii=False).encode(), where="f") == value


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_give_a_value_or_our_error(data: bytes) -> None:
    try:
        value = loads_strict(data, where="f")
    except MalformedFileError:
        pass
    else:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode("utf-8")


@given(OBJECTS)
@settings(max_examples=40)
def test_an_object_is_read_as_it_was_written(place: Path, value: dict[str, Any]) -> None:
    path = place / "object.json"
    write_json(path, value, format="thing")
    assert read_json(path, format="thing") == value
    assert next(iter(json.loads(path.read_bytes()))) == "format"


@pytest.mark.parametrize("value", [{"a": math.nan}, {"a": math.inf}, {"a": "\ud800"}, {"a": {1, 2}}, {"format": "mine"}])
def test_what_could_not_be_read_is_not_written(tmp_path: Path, value: dict[str, Any]) -> None:
    path = tmp_path / "object.json"
    write_json(path, {"old": True}, format="thing")
    with pytest.raises(MalformedFileError):
        write_json(path, value, format="thing")
    assert read_json(path, format="thing") == {"old": True}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"format": "distill-gov/thing/2"}, "format is distill-gov/thing/2, expected distill-gov/thing/1"),
        ({"format": "distill-gov/other/1"}, "format is distill-gov/other/1, expected"),
        ({}, "format is none of ours"),
        ({"format": 1}, "format is none of ours"),
        ({"format": None}, "format is none of ours"),
        ({"format": "distill-gov/\nOkaforsky"}, "format is none of ours"),
    ],
)
def test_another_format_is_refused(tmp_path: Path, content: dict[str, Any], error: str) -> None:
    path = tmp_path / "thing.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UnknownFormatError, match=error):
        read_json(path, format="thing")


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "3"])
def test_a_json_file_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "thing.json").write_text(content)
    with pytest.raises(MalformedFileError, match="not a JSON object"):
        read_json(tmp_path / "thing.json", format="thing")


@pytest.mark.parametrize(
    "read",
    [lambda p: read_json(p, format="x"), lambda p: list(read_jsonl(p)), lambda p: read_parquet(p, format="x")],
    ids=["json", "jsonl", "parquet"],
)
def test_a_file_that_is_not_there_is_missing(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(MissingFileError):
        read(tmp_path / "none")
    with pytest.raises(MissingFileError):
        read(tmp_path)


# -- JSON Lines -----------------------------------------------------------------------------------------------------------


def test_lines_are_numbered_from_one_and_blank_ones_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\n{"a": 1}\r\n  \n{"a": "\xe2\x80\xa8"}')
    assert list(read_jsonl(path)) == [(2, {"a": 1}), (4, {"a": "\u2028"})]


@pytest.mark.parametrize("line", [b"{", b"[1]", b"3", b'{"a": NaN}', b'{"a": 1, "a": 1}', b'{"a": "\xff"}'])
def test_a_bad_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b"\n")
    rows = read_jsonl(path)
    assert next(rows)[0] == 1
    with pytest.raises(MalformedFileError) as caught:
        next(rows)
    assert caught.value.where == f"{path}:3"


@given(st.lists(OBJECTS, max_size=4))
@settings(max_examples=40)
def test_rows_are_read_as_they_were_written(place: Path, rows: list[dict[str, Any]]) -> None:
    path = place / "rows.jsonl"
    write_jsonl(path, rows)
    assert list(read_jsonl(path)) == list(enumerate(rows, start=1))


def test_one_bad_row_leaves_the_old_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(MalformedFileError):
        write_jsonl(path, [{"a": 2}, {"a": math.nan}])
    assert list(read_jsonl(path)) == [(1, {"a": 1})]


# -- Parquet --------------------------------------------------------------------------------------------------------------


@given(ROWS)
@settings(max_examples=40)
def test_a_table_is_read_as_it_was_written(place: Path, rows: list[dict[str, Any]]) -> None:
    path = place / "rows.parquet"
    write_parquet(path, rows, SCHEMA, format="rows")
    assert read_parquet(path, format="rows") == rows


def test_a_table_carries_its_schema_and_format(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, [], SCHEMA, format="rows")
    schema = pq.read_schema(path)
    assert schema.equals(SCHEMA)
    assert schema.metadata[b"format"] == b"distill-gov/rows/1" == format_name("rows").encode()
    with pytest.raises(UnknownFormatError, match="format is distill-gov/rows/1, expected distill-gov/cases/2"):
        read_parquet(path, format="cases")


@pytest.mark.parametrize("tag", [None, b"distill-gov/rows/2", b"\xff\xfe", b"rows"])
def test_a_table_of_another_format_is_refused(tmp_path: Path, tag: bytes | None) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"id": ["a"]})
    pq.write_table(table.replace_schema_metadata({b"format": tag} if tag is not None else None), path)
    with pytest.raises(UnknownFormatError):
        read_parquet(path, format="rows")


@pytest.mark.parametrize(
    "row",
    [
        {"id": None},
        {},
        {"id": 3},
        {"id": "a", "n": "Okaforsky"},
        {"id": "a", "n": 2**40},
        {"id": "a", "x": 1.0},
        {"id": "a", "x": [object()]},
        {"id": "\ud800"},
        {"id": "a", "n": 10**30},
    ],
)
def test_a_row_that_does_not_fit_is_not_written(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "rows.parquet"
    write_parquet(path, [{"id": "old"}], SCHEMA, format="rows")
    with pytest.raises(MalformedFileError) as caught:
        write_parquet(path, [row], SCHEMA, format="rows")
    assert "Okaforsky" not in str(caught.value)
    assert [r["id"] for r in read_parquet(path, format="rows")] == ["old"]


def test_text_in_a_table_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    raw = pa.array([b"\xff\xfe"], pa.binary())
    text = pa.StringArray.from_buffers(1, raw.buffers()[1], raw.buffers()[2])
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": text}).replace_schema_metadata({b"format": format_name("rows").encode()}), path)
    with pytest.raises(MalformedFileError):
        read_parquet(path, format="rows")


_ARROW = [
    pa.ArrowInvalid,
    pa.ArrowIOError,
    pa.ArrowKeyError,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    pa.ArrowMemoryError,
    pa.ArrowException,
    pa.lib.ArrowCapacityError,
    pa.lib.ArrowIndexError,
    pa.lib.ArrowSerializationError,
]


@pytest.mark.parametrize("error", _ARROW)
def test_every_error_of_arrow_becomes_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error("Okaforsky")

    path = tmp_path / "rows.parquet"
    write_parquet(path, [], SCHEMA, format="rows")
    monkeypatch.setattr(pq, "read_table", fail)
    monkeypatch.setattr(pq, "write_table", fail)
    for act in (lambda: read_parquet(path, format="rows"), lambda: write_parquet(path, [], SCHEMA, format="rows")):
        with pytest.raises(MalformedFileError) as caught:
            act()
        assert "Okaforsky" not in str(caught.value)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_table_are_refused(place: Path, data: bytes) -> None:
    path = place / "any.parquet"
    path.write_bytes(data)
    with pytest.raises(MalformedFileError):
        read_parquet(path, format="rows")


@given(st.data())
@settings(max_examples=40)
def test_a_table_cut_short_is_refused(place: Path, data: st.DataObject) -> None:
    path = place / "cut.parquet"
    write_parquet(path, [{"id": str(n), "n": n, "x": [0.5]} for n in range(50)], SCHEMA, format="rows")
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(MalformedFileError):
        read_parquet(path, format="rows")


# -- atomic ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_failure_at_any_step_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "sub" / "file.txt"
    write_text(path, "old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file.txt", "old")]


def test_the_new_file_is_whole_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file.txt", []
    replace = os.replace

    def spy(source: str, target: Path) -> None:
        assert Path(source).parent == target.parent
        seen.append(Path(source).read_bytes())
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    write_bytes(path, b"new" * 1000)
    assert seen == [b"new" * 1000] == [path.read_bytes()]
