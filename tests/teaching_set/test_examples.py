"""Teaching examples: what is written is what is taught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import MalformedFileError, MissingFileError, UnknownFormatError
from distill_gov.records.files import write_parquet
from distill_gov.teaching_set.examples import TeachingExample, read_examples, write_examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
EXAMPLES = st.builds(
    TeachingExample,
    id=TEXT,
    trace=TEXT,
    sample=st.integers(0, 5),
    part=st.sampled_from(["train", "dev"]),
    messages=st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": TEXT})).map(tuple),
    answer=TEXT,
    answer_source=st.sampled_from(["teacher", "reference"]),
    tags=st.dictionaries(TEXT, TEXT | st.booleans(), max_size=3),
    teacher=TEXT,
)
ROW = {
    "id": "t1#0",
    "trace": "t1",
    "sample": 0,
    "part": "train",
    "messages": [{"role": "user", "content": "hello"}],
    "answer": "{}",
    "answer_source": "teacher",
    "tags": "{}",
    "teacher": "teacher",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples") / "examples.parquet"


@given(st.lists(EXAMPLES, max_size=4, unique_by=lambda example: example.id))
@settings(max_examples=40)
def test_examples_are_read_as_they_were_written(place: Path, examples: list[TeachingExample]) -> None:
    write_examples(place, examples)
    assert read_examples(place) == sorted(examples, key=lambda example: example.id)


def test_the_order_in_which_they_come_does_not_change_the_file(tmp_path: Path) -> None:
    made = [TeachingExample(i, "t", 0, "train", ({"role": "user", "content": i},), "a", "teacher", {}) for i in "abc"]
    write_examples(tmp_path / "one", made)
    write_examples(tmp_path / "other", made[::-1])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_file_without_examples_is_read_as_one(tmp_path: Path) -> None:
    write_examples(tmp_path / "none", [])
    assert read_examples(tmp_path / "none") == []


def written(path: Path, row: dict[str, Any], format: str = "examples") -> Path:
    write_parquet(path, [row], pa.Table.from_pylist([row]).schema, format=format)
    return path


def test_a_row_of_the_right_shape_is_an_example(tmp_path: Path) -> None:
    assert read_examples(written(tmp_path / "f", ROW))[0].tags == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"sample": "0"},
        {"sample": 0.5},
        {"part": "holdout"},
        {"messages": None},
        {"messages": "hello"},
        {"messages": [1]},
        {"messages": [{"role": "user", "content": None}]},
        {"answer": None},
        {"answer_source": "student"},
        {"tags": "["},
        {"tags": "[]"},
        {"tags": '{"a": 1, "a": 2}'},
        {"tags": "NaN"},
        {"tags": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_row_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = written(tmp_path / "f", {**ROW, **changes})
    with pytest.raises(MalformedFileError) as caught:
        read_examples(path)
    assert caught.value.where == f"{path}: row 1"


@pytest.mark.parametrize("column", sorted(ROW.keys() - {"teacher"}))
def test_a_column_that_is_missing_is_refused(tmp_path: Path, column: str) -> None:
    with pytest.raises(MalformedFileError):
        read_examples(written(tmp_path / "f", {k: v for k, v in ROW.items() if k != column}))


def test_a_file_of_before_there_were_several_teachers_is_read(tmp_path: Path) -> None:
    [found] = read_examples(written(tmp_path / "f", {k: v for k, v in ROW.items() if k != "teacher"}))
    assert found.teacher == "teacher"


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError):
        read_examples(written(tmp_path / "f", ROW, format="decisions"))
    with pytest.raises(MissingFileError):
        read_examples(tmp_path / "none")
