"""Tables of other programs: directories that Hugging Face `datasets` saved, Arrow files, and XLSX workbooks."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.importers import Imported, import_traces
from distill_gov.importers.arrow import dataset_rows
from distill_gov.importers.workbook import workbook_rows
from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    MalformedFileError,
    MissingExtraError,
    MissingFileError,
    NothingLeftError,
)

DEFAULTS = {"consent": "granted", "licence": "own", "retention_until": date(2030, 12, 31)}
VALUE = {"dtype": "string", "_type": "Value"}


def _import(*files: Path, **more: Any) -> Imported:
    return import_traces(files, defaults=DEFAULTS, **more)


# --- datasets directories ---


def _stream(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def save(folder: Path, *shards: list[dict[str, Any]], features: dict[str, Any] | None = None, **state: Any) -> Path:
    """A directory as `datasets.Dataset.save_to_disk` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(shards):05d}.arrow" for n in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        _stream(folder / name, pa.Table.from_pylist(rows))
    told = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None} | state
    (folder / "state.json").write_text(json.dumps(told))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))
    return folder


def test_the_shards_of_a_dataset_in_order(tmp_path: Path) -> None:
    got = _import(save(tmp_path / "d", [{"text": "one"}, {"text": "two"}], [{"text": "three"}]))
    assert got.said.startswith("detected text (`text`) in a datasets directory: 3 rows")
    assert [t.messages[0]["content"] for t in got.traces] == ["one", "two", "three"]


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    rows = [{"messages": [{"role": "user", "content": f"q{n}"}], "kind": n % 2} for n in range(5)]
    made = datasets.Dataset.from_list(rows).cast_column("kind", datasets.ClassLabel(names=["refund", "status"]))
    made.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict(train=made).save_to_disk(tmp_path / "all")
    for folder in ("one", "all"):
        got = _import(tmp_path / folder, label="kind")
        assert got.kind == "OpenAI chat"
        assert [t.reference for t in got.traces] == [{"kind": ("refund", "status")[n % 2]} for n in range(5)]


def test_labels_get_their_names_and_sequences_their_objects(tmp_path: Path) -> None:
    features = {
        "kind": {"names": ["refund", "status"], "_type": "ClassLabel"},
        "messages": {"feature": {"role": VALUE, "content": VALUE}, "_type": "Sequence"},
    }
    rows = [{"kind": n, "messages": {"role": ["user", "assistant"], "content": ["a", "b"]}} for n in (1, -1)]
    got = _import(save(tmp_path / "d", rows, features=features), label="kind")
    assert [t.reference for t in got.traces] == [{"kind": "status"}, None]
    assert [m["content"] for m in got.traces[0].messages] == ["a", "b"]
    with pytest.raises(MalformedFileError, match="row 1: a label without a name"):
        _import(save(tmp_path / "e", [{"kind": 2, "text": "x"}], features=features))


def test_nobody_chooses_among_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save(tmp_path / "dd" / split, [{"text": split}])
    (tmp_path / "dd" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(BadInputError, match=r"several splits: train, test\. Name the directory of one: .*train"):
        _import(tmp_path / "dd")
    assert len(_import(tmp_path / "dd" / "test").traces) == 1
    (tmp_path / "dd" / "dataset_dict.json").write_text('{"splits": ["../../etc"]}')
    with pytest.raises(MalformedFileError, match="names no splits"):
        _import(tmp_path / "dd")


@pytest.mark.parametrize("name", ["../data.arrow", "/etc/hosts", "", "..", None, "a\nb"])
def test_a_state_that_leads_out_of_the_directory_is_refused(tmp_path: Path, name: Any) -> None:
    folder = save(tmp_path / "d", [{"text": "x"}], _data_files=[{"filename": name}])
    with pytest.raises(MalformedFileError, match="names no Arrow files beside it"):
        list(dataset_rows(folder))


def test_a_damaged_or_incomplete_directory_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "d", [{"text": "x"}])
    arrow = folder / "data-00000-of-00001.arrow"
    arrow.write_bytes(arrow.read_bytes()[:100])
    with pytest.raises(MalformedFileError, match="not an Arrow file, or a damaged one"):
        _import(folder)
    arrow.unlink()
    with pytest.raises(MissingFileError, match="cannot be read"):
        _import(folder)
    with pytest.raises(MissingFileError, match="not one that `datasets` saved"):
        _import(tmp_path)
    with pytest.raises(MalformedFileError, match=r"kept apart.*flatten_indices"):
        _import(save(tmp_path / "e", [{"text": "x"}], _indices_data_files=[{"filename": "indices.arrow"}]))
    with pytest.raises(NothingLeftError, match="no rows"):
        _import(save(tmp_path / "f"))


@pytest.mark.parametrize("opened", [pa.ipc.new_stream, pa.ipc.new_file])
def test_a_lone_arrow_file(tmp_path: Path, opened: Any) -> None:
    table = pa.table({"text": ["hi"]})
    with pa.OSFile(str(tmp_path / "rows"), "wb") as sink, opened(sink, table.schema) as writer:
        writer.write_table(table)
    assert "in Arrow: 1 row" in _import(tmp_path / "rows").said


# --- workbooks ---

openpyxl = pytest.importorskip("openpyxl")


def book(path: Path, *rows: list[Any], change: Any = None) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    if change:
        change(workbook)
    workbook.save(path)
    return path


def test_a_workbook_of_labelled_texts(tmp_path: Path) -> None:
    path = book(
        tmp_path / "rows.xlsx",
        ["text", "intent", "retention_until", "id", "note"],
        ["Where is it?", "delivery", date(2031, 1, 31), 7, None],
        [None, None, None, None, None],
        ["a\nb _x0041_", "refund", datetime(2032, 2, 1), 8.0, "x"],
    )
    got = _import(path, label="intent")
    assert got.said.startswith(
        "detected text (`text`) in XLSX: 2 rows; asserted from defaults: consent, licence; columns left out"
    )
    assert [t.id for t in got.traces] == ["7", "8"]
    assert [t.retention_until for t in got.traces] == [date(2031, 1, 31), date(2032, 2, 1)]
    assert got.traces[1].reference == {"intent": "refund"}


def test_cells_of_all_kinds(tmp_path: Path) -> None:
    kinds = ["x", 5, 2.5, True, date(2030, 1, 2), datetime(2030, 1, 2, 3, 4), time(3, 4), " "]
    path = book(tmp_path / "rows.xlsx", [f"c{n}" for n in range(len(kinds))], kinds)
    [(where, row)] = workbook_rows(path.read_bytes(), path)
    assert where.endswith(": row 2")
    assert list(row.values()) == ["x", 5, 2.5, True, date(2030, 1, 2), "2030-01-02T03:04:00", "03:04:00", " "]


def test_spreadsheet_escapes_are_undone(tmp_path: Path) -> None:
    path = book(tmp_path / "rows.xlsx", ["text"], ["one_x000D_two _x005F_x0041_"])
    assert [row["text"] for _, row in workbook_rows(path.read_bytes(), path)] == ["one\rtwo _x0041_"]


def _merge(workbook: Any) -> None:
    workbook.active.merge_cells("A2:A3")


def _second_sheet(workbook: Any) -> None:
    workbook.create_sheet("more")["B7"] = "kim"


@pytest.mark.parametrize(
    ("rows", "change", "says"),
    [
        ([["text"], ['="kim"&"x"']], None, ": row 2: cell A2 is a formula that was never calculated"),
        ([["text"], ["kim"], ["x"]], _merge, ": merged cells A2:A3. Split them"),
        ([["text"], ["kim"]], _second_sheet, ": 2 sheets hold something"),
        ([["text", None], ["kim", "x"]], None, ": row 2: a cell stands in a column without a name"),
        ([["text", 5], ["kim", "x"]], None, ": row 1: a column of the header has no name in words"),
        ([["text", "text"], ["kim", "x"]], None, ": row 1: a column of the header has no name in words, or two have one"),
        ([["text"], ["#N/A"]], None, ": row 2: cell A2 holds an error"),
        ([["text"], [timedelta(hours=30)]], None, ": row 2: cell A2 holds no text, number or date"),
        ([["text"], ["x _xD800_"]], None, ": row 2: "),
    ],
)  # fmt: skip
def test_cells_without_one_value_are_refused_by_their_place(tmp_path: Path, rows: list[Any], change: Any, says: str) -> None:
    path = book(tmp_path / "rows.xlsx", *rows, change=change)
    with pytest.raises(BadInputError) as caught:
        _import(path)
    assert str(caught.value).startswith(f"{path}{says}")
    assert "kim" not in str(caught.value)


@pytest.mark.parametrize("rows", [[], [["text"]]])
def test_a_workbook_without_rows_is_refused(tmp_path: Path, rows: list[Any]) -> None:
    with pytest.raises(NothingLeftError, match="no rows"):
        _import(book(tmp_path / "rows.xlsx", *rows))


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kim.txt", "kim")
    with pytest.raises(MalformedFileError, match="rows: not an XLSX file, or a damaged one"):
        _import(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more")
    with pytest.raises(MalformedFileError, match="an old or an encrypted Excel file"):
        _import(path)


def test_without_openpyxl_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = book(tmp_path / "rows.xlsx", ["text"], ["x"])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"needs openpyxl\. pip install 'distill-gov\[xlsx\]'"):
        _import(path)


_WORKBOOK = io.BytesIO()
_made = openpyxl.Workbook()
for _row in (["text", "n"], ["hi", 1], ["ho", 2.5]):
    _made.active.append(_row)
_made.save(_WORKBOOK)


@given(st.lists(st.tuples(st.integers(min_value=4), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_damaged_workbook_gives_rows_or_one_of_our_errors(flips: list[tuple[int, int]]) -> None:
    data = bytearray(_WORKBOOK.getvalue())
    for position, value in flips:
        data[4 + position % (len(data) - 4)] = value
    try:
        rows = list(workbook_rows(bytes(data), Path("rows.xlsx")))
    except DistillGovError:
        return
    assert len(rows) <= 2
