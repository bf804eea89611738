"""Exports of Langfuse and LangSmith, shaped as their documentation shows them; every person is invented."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_gov.importers import Imported, ImportMap, import_traces
from distill_gov.records.errors import BadInputError, DistillGovError, MalformedFileError, NothingLeftError
from distill_gov.records.keys import KeyRing
from distill_gov.scaffold import IMPORT_KEY, scaffold
from distill_gov.traces import read_traces, write_traces

DEFAULTS = {"consent": "granted", "licence": "own", "retention_until": date(2030, 12, 31)}
KEY = KeyRing(bytes(range(32))).subkey("import")
PERSON = "kim.oddershaw@example.org"
HEX = "3f9a1c2e4b5d6f708192a3b4c5d6e7f8"


def _import(*files: Path, **more: Any) -> Imported:
    return import_traces(files, defaults=DEFAULTS, **{"key": KEY, **more})


def _lines(folder: Path, *rows: object) -> Path:
    path = folder / "export.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _pairs(trace: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in trace.messages]


ASKED = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where is it?"}]
SAID = {"role": "assistant", "content": "On its way."}
PAIRS = [("system", "Be kind."), ("user", "Where is it?"), ("assistant", "On its way.")]


def lf_trace(**more: Any) -> dict[str, Any]:
    """A row of Langfuse's export of its traces table."""
    row = {"id": HEX, "timestamp": "2026-05-01T10:00:00Z", "name": "chat", "userId": None, "sessionId": None, "tags": ["beta"],
           "release": None, "metadata": {"team": "north"}, "input": "Where is it?", "output": "On its way."}  # fmt: skip
    return row | more


def lf_observation(**more: Any) -> dict[str, Any]:
    """A row of its blob storage export: inputs and outputs are texts."""
    row = {"id": HEX[::-1], "trace_id": HEX, "type": "GENERATION", "parent_observation_id": "", "level": "DEFAULT",
           "user_id": "", "session_id": "", "provided_model_name": "m", "metadata": {},
           "input": json.dumps(ASKED), "output": json.dumps(SAID)}  # fmt: skip
    return row | more


def run(**more: Any) -> dict[str, Any]:
    """A run of LangSmith."""
    row = {"id": "0198c0de-0000-7000-8000-0000000000aa", "trace_id": "0198c0de-0000-7000-8000-0000000000bb", "name": "model",
           "run_type": "llm", "parent_run_id": None, "session_id": "0198c0de-0000-7000-8000-0000000000cc", "error": None,
           "extra": {"metadata": {}}, "inputs": {"messages": ASKED}, "outputs": {"choices": [{"message": SAID}]}}  # fmt: skip
    return row | more


# --- Langfuse ---


def test_langfuse_traces_and_what_is_said(tmp_path: Path) -> None:
    got = _import(_lines(tmp_path, lf_trace(sessionId="s-1"), lf_trace(id=f"{HEX}-2", input={"messages": ASKED}, output=SAID)))
    assert got.kind == "Langfuse"
    assert got.said == (
        "detected Langfuse (`input`, `output`) in JSON Lines: 2 rows; asserted from defaults: consent, licence, "
        "retention_until; columns left out: timestamp, name, metadata, tags"
    )
    assert _pairs(got.traces[0]) == PAIRS[1:]
    assert _pairs(got.traces[1]) == PAIRS
    assert got.traces[0].id == HEX


def test_langfuse_generations_are_the_traces_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [
        lf_observation(),
        lf_observation(id="a" * 32, input=json.dumps({"messages": ASKED, "temperature": 0}), output="On its way."),
        lf_observation(id="b" * 32, type="SPAN"),
        lf_observation(id="c" * 32, type="TOOL", parent_observation_id=HEX),
        lf_observation(id="d" * 32, level="ERROR", output=""),
        lf_observation(id="f" * 32, type=PERSON),
        lf_observation(id="e" * 32, output=""),
    ]
    got = _import(_lines(tmp_path, *rows))
    assert "2 rows; passed over: 1 SPAN, 1 TOOL, 1 failed, 1 of another type, 1 without input or output; " in got.said
    assert "; left out of turns: temperature; columns left out: " in got.said
    assert [_pairs(trace) for trace in got.traces] == [PAIRS, PAIRS]
    assert {trace.group for trace in got.traces} == {HEX}


def test_without_generations_the_roots_are_the_traces(tmp_path: Path) -> None:
    rows = [lf_observation(type="AGENT"), lf_observation(id="a" * 32, type="SPAN", parent_observation_id=HEX)]
    got = _import(_lines(tmp_path, *rows))
    assert "1 row; passed over: 1 below another" in got.said


def test_langfuse_csv_holds_json_in_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "traces.csv"
    rows = [
        lf_trace(userId="", sessionId=HEX, metadata='{"agreed": "granted"}', input=json.dumps(ASKED), output='"On its way."'),
        lf_trace(id="a" * 32, userId="", sessionId=HEX, metadata='{"agreed": "granted"}', input="[1] is it?", output="Yes."),
    ]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    got = _import(path, mapping=ImportMap(consent="/metadata/agreed"))
    assert _pairs(got.traces[0]) == PAIRS
    assert _pairs(got.traces[1]) == [("user", "[1] is it?"), ("assistant", "Yes.")]
    assert got.traces[0].consent == "granted"
    assert got.traces[0].tags == {"asserted": "licence,retention_until"}


# --- LangSmith ---


def lc(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": kwargs}


CALL = {"name": "find", "args": {"n": 1}, "id": "c1", "type": "tool_call"}
CHAINED = [
    [
        lc("SystemMessage", content="Be kind."),
        lc("HumanMessage", content="Where is it?"),
        lc("AIMessage", content="", tool_calls=[CALL]),
        lc("ToolMessage", content="near", tool_call_id="c1", status="success"),
    ]
]
GENERATED = {
    "generations": [[{"text": "On its way.", "message": lc("AIMessage", content="On its way.", usage_metadata={"n": 1})}]],
    "llm_output": None,
}


def test_langsmith_runs_of_langchain(tmp_path: Path) -> None:
    got = _import(_lines(tmp_path, run(inputs={"messages": CHAINED}, outputs=GENERATED)))
    (trace,) = got.traces
    assert got.kind == "LangSmith"
    assert [m["role"] for m in trace.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert trace.messages[2]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    ]
    assert "left out of turns: status, text, usage_metadata" in got.said


def test_model_calls_are_the_traces_and_the_project_is_no_conversation(tmp_path: Path) -> None:
    rows = [
        run(),
        run(id="a" * 32, extra={"metadata": {"thread_id": "0198c0de-0000-7000-8000-0000000000dd"}}),
        run(id="b" * 32, run_type="chain"),
        run(id="c" * 32, run_type="tool"),
        run(id="d" * 32, error="Timeout for Kim", outputs=None),
    ]
    got = _import(_lines(tmp_path, *rows))
    assert "2 rows; passed over: 1 chain, 1 failed, 1 tool" in got.said
    assert [t.group for t in got.traces] == [rows[0]["trace_id"], "0198c0de-0000-7000-8000-0000000000dd"]
    assert "Kim" not in got.said


def test_root_runs_where_there_is_no_model_call(tmp_path: Path) -> None:
    state = {"messages": [*ASKED, SAID]}
    rows = [
        run(run_type="chain", outputs=state),
        run(id="a" * 32, run_type="chain", inputs={"question": "Where is it?"}, outputs={"output": "On its way."}),
        run(id="b" * 32, run_type="chain", parent_run_id=HEX),
        run(
            id="c" * 32, run_type="chain", inputs={"input": "And now?", "chat_history": [*ASKED[1:], SAID]}, outputs={"o": SAID}
        ),
    ]
    got = _import(_lines(tmp_path, *rows))
    assert [_pairs(t) for t in got.traces] == [PAIRS, PAIRS[1:], [*PAIRS[1:], ("user", "And now?"), PAIRS[2]]]


def test_langsmith_parquet_holds_json_as_text(tmp_path: Path) -> None:
    rows = [
        {"inputs": {"messages": CHAINED}, "outputs": GENERATED, "extra": {"metadata": {"session_id": HEX}}},
        {"inputs": {"prompts": ["Where is it?"]}, "outputs": {"generations": [[{"text": "Here.", "generation_info": {}}]]}},
    ]
    rows = [run(id="ab"[n] * 32, **{"extra": "{}"} | {k: json.dumps(v) for k, v in row.items()}) for n, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "runs.parquet")
    got = _import(tmp_path / "runs.parquet")
    assert [t.group for t in got.traces] == [HEX, rows[1]["trace_id"]]
    assert _pairs(got.traces[1]) == [("user", "Where is it?"), ("assistant", "Here.")]


# --- ids ---


def test_ids_of_people_become_keyed_groups_and_those_of_machines_stay(tmp_path: Path) -> None:
    rows = [
        lf_trace(sessionId=f"chat of {PERSON}"),
        lf_trace(id="a" * 32, sessionId=f"chat of {PERSON}", userId=PERSON),
        lf_trace(id="b" * 32, userId=PERSON),
        lf_trace(id="order 17 of Kim", sessionId=HEX),
    ]
    path = _lines(tmp_path, *rows)
    got = _import(path)
    groups = [t.group for t in got.traces]
    assert groups[0] == groups[1] != groups[2]
    assert groups[3] == HEX
    assert all("im" not in text and "1" not in text for t in got.traces for text in (groups[2], groups[0]))
    assert got.traces[3].id.startswith("t-")
    assert [t.group for t in _import(path).traces] == groups
    assert [t.group for t in _import(path, key=KeyRing(bytes(32)).subkey("import")).traces][:3] != groups[:3]
    write_traces(tmp_path / "out.jsonl", got.traces)
    assert "oddershaw" not in (tmp_path / "out.jsonl").read_text()


def test_without_a_key_an_id_that_may_be_a_person_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r":1: an id .* Import inside a project") as caught:
        _import(_lines(tmp_path, lf_trace(userId=PERSON)), key=None)
    assert PERSON not in str(caught.value)
    assert _import(_lines(tmp_path, lf_trace(sessionId=HEX)), key=None).traces[0].group == HEX


def test_init_writes_the_key_that_it_hid_ids_with(tmp_path: Path) -> None:
    rows = [lf_trace(id=f"{n:x}" * 32, userId=f"{n}.{PERSON}", input=f"Where is {n}?") for n in range(10, 16)]
    path = _lines(tmp_path, *rows)
    scaffold(tmp_path / "desk", files=[path])
    made = [*read_traces(tmp_path / "desk/data/teaching.jsonl"), *read_traces(tmp_path / "desk/data/holdout.jsonl")]
    key = KeyRing.load(tmp_path / "desk" / ".distill-gov" / "keys").subkey(IMPORT_KEY)
    assert {t.id: t.group for t in made} == {t.id: t.group for t in _import(path, key=key).traces}


def test_a_map_file_may_name_another_group_and_slice(tmp_path: Path) -> None:
    names = ImportMap(id="ticket", group="group", slice="/metadata/team")
    path = _lines(tmp_path, lf_trace(id="not by a machine", userId=PERSON, group="g7", ticket="t9"))
    (trace,) = _import(path, mapping=names, key=None).traces
    assert (trace.id, trace.group, trace.tags["slice"]) == ("t9", "g7", "north")


# --- refusals ---


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"question": "kim", "product": "kettle"}, SAID),
        ({"messages": [ASKED, ASKED]}, SAID),
        ({"n": 5}, SAID),
        ({"messages": ASKED}, {"choices": [{"message": SAID}, {"message": SAID}]}),
        ({"messages": ASKED}, {"documents": [{"text": "kim"}], "answer": "x"}),
        (json.loads("[" * 12 + '"kim"' + "]" * 12), SAID),
    ],
)
def test_what_is_no_conversation_is_refused_with_a_way_out(tmp_path: Path, inputs: Any, outputs: Any) -> None:
    says = r":1: (in|out)puts: cannot be read as a conversation\. Name its parts"
    with pytest.raises(MalformedFileError, match=says) as caught:
        _import(_lines(tmp_path, run(inputs=inputs, outputs=outputs)))
    assert "kim" not in str(caught.value)


def test_the_way_out_is_a_map_file(tmp_path: Path) -> None:
    path = _lines(
        tmp_path, run(inputs={"question": "Where?", "product": "kettle"}, outputs={"answer": "Here.", "documents": []})
    )
    got = _import(path, mapping=ImportMap(prompt="/inputs/question", completion="/outputs/answer"))
    assert _pairs(got.traces[0]) == [("user", "Where?"), ("assistant", "Here.")]


def test_an_export_without_a_conversation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingLeftError, match="no row of the LangSmith export is a conversation"):
        _import(_lines(tmp_path, run(error="x")))


KEYS = ["messages", "generations", "choices", "message", "text", "role", "content", "type", "chat_history", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["hi", '{"a": 1}', "[", '"x"', ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("id", "inputs", "outputs", "extra", "metadata", "trace_id", "parent_run_id", "error", "thread_id", "run_type")
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, JSON))


@given(st.lists(FIELDS, min_size=1, max_size=3))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_runs_give_traces_or_one_of_our_errors(changes: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        path = _lines(Path(folder), *(run(id=f"{n:x}" * 32) | change for n, change in enumerate(changes, start=10)))
        try:
            got = _import(path)
        except DistillGovError as error:
            assert error.exit_code == 2  # noqa: PT017
            return
        write_traces(Path(folder) / "out.jsonl", got.traces)
        assert tuple(read_traces(Path(folder) / "out.jsonl")) == got.traces
