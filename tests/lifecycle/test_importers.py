"""Import: one sample file of each kind, every refusal, and arbitrary bytes."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from distill_gov.importers import Imported, ImportMap, import_traces
from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
    UnknownKeyError,
)
from distill_gov.records.settings import load_settings
from distill_gov.traces import read_traces, recorded_answer, write_traces

SAMPLES = Path(__file__).parent / "samples"
DEFAULTS = {"consent": "granted", "licence": "CC-BY-4.0", "retention_until": date(2030, 12, 31), "language": "en"}
SECRET = "kim@example.org"


def _import(*files: Path, defaults: dict[str, Any] = DEFAULTS, **more: Any) -> Imported:
    return import_traces(files, defaults=defaults, **more)


def _lines(folder: Path, *rows: object, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _pairs(messages: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]


# --- one sample of each kind ---


def test_openai_chat() -> None:
    got = _import(SAMPLES / "openai_chat.jsonl")
    assert got.kind == "OpenAI chat"
    assert got.said == (
        "detected OpenAI chat (`messages`) in JSON Lines: 3 rows; "
        "asserted from defaults: consent, licence, retention_until, language; columns left out: model"
    )
    first, second, third = got.traces
    assert _pairs(first.messages)[-1] == ("assistant", "Sorry to hear that, we will help.")
    assert _pairs(second.messages)[:2] == [("system", "Be brief."), ("user", "Which kettle is quiet?")]
    assert [trace.group for trace in got.traces] == ["c-1", "c-2", "c-2"]
    assert len({trace.id for trace in got.traces}) == 3
    assert first.tags == {"asserted": "consent,licence,retention_until,language"}
    assert (first.consent, first.licence, first.retention_until, first.language) == tuple(DEFAULTS.values())
    assert recorded_answer(second) == "The small one."
    assert recorded_answer(third) is None


def test_prompt_and_completion() -> None:
    got = _import(SAMPLES / "prompt_completion.jsonl")
    assert got.kind == "prompt/completion"
    assert [(trace.id, trace.group) for trace in got.traces] == [("7", "7"), ("8", "8")]
    assert _pairs(got.traces[0].messages) == [("user", "My parcel is late."), ("assistant", "Sorry, we will look into it.")]
    assert _pairs(got.traces[1].messages) == [("user", "Cancel my plan."), ("assistant", "We will cancel it.")]


def test_sharegpt_as_json_array_and_as_json_lines(tmp_path: Path) -> None:
    got = _import(SAMPLES / "sharegpt.json")
    assert got.kind == "ShareGPT"
    assert "ShareGPT (`conversations`) in a JSON array: 2 rows" in got.said
    assert [trace.id for trace in got.traces] == ["s-1", "s-2"]
    assert _pairs(got.traces[0].messages) == [
        ("system", "You are a help desk."),
        ("user", "I want my money back."),
        ("assistant", "We will help with the refund."),
    ]
    lines = _lines(tmp_path, *json.loads((SAMPLES / "sharegpt.json").read_text(encoding="utf-8")))
    assert _import(lines).traces == got.traces


def test_csv_with_bom_semicolons_and_quoted_newlines() -> None:
    got = _import(SAMPLES / "labelled_semicolon.csv", text="message", label="intent")
    assert got.kind == "text"
    assert got.said.startswith("detected text (`message`) in CSV: 3 rows; 1 without a label; asserted from defaults: consent,")
    assert got.said.endswith("; columns left out: team")
    first, second, third = got.traces
    assert _pairs(first.messages) == [("user", 'First line,\r\nsecond line; "quoted"')]
    assert [trace.reference for trace in got.traces] == [{"intent": "refund"}, None, {"intent": "delivery"}]
    assert second.id != third.id  # same text, other label


def test_csv_that_brings_its_own_papers_asserts_nothing() -> None:
    got = _import(SAMPLES / "papers.csv", defaults={})
    assert got.said == "detected text (`text`) in CSV: 1 row"
    assert got.traces[0].tags == {}
    assert got.traces[0].retention_until == date(2031, 1, 31)


def test_parquet() -> None:
    got = _import(SAMPLES / "chat.parquet")
    assert (
        got.said == "detected OpenAI chat (`messages`) in Parquet: 2 rows; asserted from defaults: consent, licence, language"
    )
    assert [trace.group for trace in got.traces] == ["3", "3"]
    assert got.traces[0].retention_until == date(2031, 1, 31)
    assert recorded_answer(got.traces[0]) == "Yes."


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"prompt": ["hi"], "completion": ["yes"]}, "prompt/completion"),
        ({"conversations": [[{"from": "human", "value": "hi"}]]}, "ShareGPT"),
        ({"text": ["hi"]}, "text"),
    ],
)
def test_parquet_of_the_other_shapes(tmp_path: Path, columns: dict[str, Any], kind: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    got = _import(tmp_path / "rows.parquet")
    assert got.kind == kind
    assert got.traces[0].messages[0] == {"role": "user", "content": "hi"}


def test_a_map_file_names_columns_and_pointers() -> None:
    got = _import(SAMPLES / "mapped.jsonl", mapping=load_settings(SAMPLES / "map.yaml", ImportMap))
    (trace,) = got.traces
    assert got.kind == "ShareGPT"
    assert (trace.id, trace.reference, trace.consent) == ("1", {"0": "technical"}, "granted")
    assert trace.tags == {"asserted": "licence,retention_until,language"}
    assert "left out" not in got.said


def test_a_misspelt_key_of_the_map_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("text: body\nlable: kind\n", encoding="utf-8")
    with pytest.raises(UnknownKeyError, match=r"map\.yaml:2: .*`lable`.*`label`"):
        load_settings(tmp_path / "map.yaml", ImportMap)


def test_a_system_column_goes_before_the_turns(tmp_path: Path) -> None:
    for row in ({"messages": [{"role": "user", "content": "hi"}]}, {"prompt": "hi"}):
        (trace,) = _import(_lines(tmp_path, row | {"system": "Be kind."})).traces
        assert _pairs(trace.messages) == [("system", "Be kind."), ("user", "hi")]


def test_pointers_follow_rfc_6901(tmp_path: Path) -> None:
    path = _lines(tmp_path, {"a/b": {"m~n": ["hi"]}, "k": [1]})
    got = _import(path, mapping=ImportMap(text="/a~1b/m~0n/0"))
    assert _pairs(got.traces[0].messages) == [("user", "hi")]
    assert got.said.endswith("columns left out: k")
    with pytest.raises(UnknownKeyError, match="no row has a column"):
        _import(path, mapping=ImportMap(text="/a~1b/m~0n/1"))


def test_importing_our_own_traces_changes_nothing(tmp_path: Path) -> None:
    made = list(_import(SAMPLES / "labelled_semicolon.csv", text="message", label="intent").traces)
    write_traces(tmp_path / "traces.jsonl", made)
    again = _import(tmp_path / "traces.jsonl", defaults={})
    assert list(again.traces) == made == read_traces(tmp_path / "traces.jsonl")
    assert "asserted" not in again.said


def test_a_later_assertion_joins_an_earlier_one(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "hi"}], "consent": "granted", "tags": {"asserted": "consent", "x": None}}
    got = _import(_lines(tmp_path, row))
    assert got.traces[0].tags == {"asserted": "consent,licence,retention_until,language"}
    assert "asserted from defaults: licence, retention_until, language" in got.said


def test_a_reference_column_of_chat_rows_is_used(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}]
    got = _import(_lines(tmp_path, {"messages": turns, "reference": "yes"}, {"messages": turns, "reference": {"a": 1}}))
    assert [trace.reference for trace in got.traces] == [{"text": "yes"}, {"a": 1}]


def test_context_reasoning_slice_and_papers_have_columns_of_their_own(tmp_path: Path) -> None:
    row = {
        "prompt": "hi",
        "completion": "yes",
        "reasoning": "hm",
        "context": ["one", {"title": "t", "text": "two"}],
        "ch": "mail",
    }
    got = _import(_lines(tmp_path, row, row | {"region": "EU", "context": "three"}), mapping=ImportMap(slice="ch"))
    first, second = got.traces
    assert first.messages[-1] == {"role": "assistant", "content": "yes", "reasoning": "hm"}
    assert first.context == ({"text": "one"}, {"title": "t", "text": "two"})
    assert second.context == ({"text": "three"},)
    assert (first.tags["slice"], first.region, second.region) == ("mail", None, "EU")
    assert first.id != second.id
    assert "left out" not in got.said


def test_an_empty_region_never_becomes_one_by_default(tmp_path: Path) -> None:
    defaults = DEFAULTS | {"region": "EU", "purpose": "support"}
    got = _import(_lines(tmp_path, {"text": "a", "region": "US"}, {"text": "b"}), defaults=defaults)
    assert [(t.region, t.purpose) for t in got.traces] == [("US", "support"), (None, "support")]
    assert "language, purpose" in got.said
    assert "region" not in got.said
    assert "region" not in str(got.traces[0].tags)


@pytest.mark.parametrize("context", [5, {"a": SECRET}, [5], [{"title": SECRET}]])
def test_context_that_is_no_documents_is_refused(tmp_path: Path, context: Any) -> None:
    with pytest.raises(MalformedFileError, match=r":1: ") as caught:
        _import(_lines(tmp_path, {"text": "hi", "context": context}))
    assert SECRET not in str(caught.value)


# --- ids ---


def test_ids_from_content_are_stable_and_repeats_get_a_suffix(tmp_path: Path) -> None:
    first = _import(_lines(tmp_path, {"text": "a"}, {"text": "b"}, {"text": "a"})).traces
    other = _import(_lines(tmp_path, {"text": "b"}, {"text": "a"}, name="other.jsonl")).traces
    assert first[2].id == f"{first[0].id}-2"
    assert [trace.id for trace in other] == [first[1].id, first[0].id]
    assert all(trace.group == trace.id for trace in first)


def test_a_made_id_gives_way_to_one_that_a_row_brings(tmp_path: Path) -> None:
    (made,) = _import(_lines(tmp_path, {"text": "a"})).traces
    rows = [{"text": "a"}, {"text": "b", "id": made.id}, {"text": "c", "id": f"{made.id}-2"}]
    assert [trace.id for trace in _import(_lines(tmp_path, *rows)).traces] == [f"{made.id}-3", made.id, f"{made.id}-2"]


def test_duplicate_ids_are_refused_across_files(tmp_path: Path) -> None:
    first = _lines(tmp_path, {"text": "a", "id": SECRET}, name="a.jsonl")
    second = _lines(tmp_path, {"text": "b", "id": SECRET}, name="b.jsonl")
    with pytest.raises(DuplicateIdError, match=r"b\.jsonl:1: its id was taken by .*a\.jsonl:1") as caught:
        _import(first, second)
    assert SECRET not in str(caught.value)


# --- defaults ---


@pytest.mark.parametrize("missing", ["consent", "licence", "retention_until"])
def test_a_missing_default_is_named(missing: str) -> None:
    given_defaults = {key: value for key, value in DEFAULTS.items() if key != missing}
    with pytest.raises(BadInputError, match=f"no `{missing}` in the file.*`defaults:` in distill.yaml"):
        _import(SAMPLES / "openai_chat.jsonl", defaults=given_defaults)


def test_language_needs_no_default() -> None:
    got = _import(SAMPLES / "openai_chat.jsonl", defaults=DEFAULTS | {"language": None})
    assert all(trace.language is None for trace in got.traces)


@pytest.mark.parametrize(
    ("defaults", "error", "says"),
    [
        ({"licens": "x"}, UnknownKeyError, "defaults: unknown key `licens`. Did you mean `licence`?"),
        ({"retention_until": "soon"}, MalformedFileError, "defaults: key `retention_until` must be a date"),
        ({"retention_until": datetime(2030, 1, 1)}, MalformedFileError, "defaults: "),
        ({"consent": True}, MalformedFileError, "defaults: key `consent` must be text"),
    ],
)
def test_a_bad_default_is_refused(defaults: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        _import(SAMPLES / "openai_chat.jsonl", defaults=DEFAULTS | defaults)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("rows", [[{"consent": ""}], [{"consent": "granted"}, {"consent": None}], [{}, {"consent": "granted"}]])
def test_an_empty_consent_never_becomes_consent_by_default(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(MalformedFileError, match="`consent` is empty here"):
        _import(_lines(tmp_path, *({"text": "hi"} | row for row in rows)))


# --- refusals ---

TURN = {"role": "user", "content": SECRET}


@pytest.mark.parametrize(
    ("rows", "where", "says"),
    [
        ([{"messages": [TURN], "prompt": SECRET}], ":1", "ambiguous: the row has `messages` and `prompt`"),
        ([{"text": SECRET, "conversations": [TURN]}], ":1", "ambiguous: the row has `conversations` and `text`"),
        ([{"prompt": SECRET}, {"text": SECRET}], ":2", "ambiguous: this row has `text`, those before have `prompt`"),
        ([{"question": SECRET}], ":1", "no `messages`, `prompt`, `conversations`, `text` in this row"),
        ([{"text": "hi"}, {"text": " "}], ":2", "no `messages`"),
        ([{"prompt": SECRET, "completion": "x"}, {"prompt": SECRET}], ":2", "`completion` is empty here"),
        ([{"prompt": SECRET, "completion": "x"}, {"prompt": SECRET, "completion": ""}], ":2", "`completion` is empty here"),
        ([{"messages": [TURN, {"role": "bot", "content": SECRET}]}], ":1", "key `messages.1.role` must be one of"),
        ([{"messages": [TURN | {"function_call": [1]}]}], ":1: turn 1", "a trace has no place for `function_call` of a turn"),
        ([{"messages": [TURN, {"role": "assistant", "content": None}]}], ":1: turn 2", "a turn needs a role and a text"),
        ([{"messages": [SECRET]}], ":1: turn 1", "not a JSON object"),
        ([{"messages": {"a": SECRET}}], ":1", "neither text nor a list of turns"),
        ([{"messages": [{"role": "user", "content": {"a": SECRET}}]}], ":1", "key `messages.0.content` must be text"),
        ([{"messages": [{"role": ["user"], "content": SECRET}]}], ":1", "key `messages.0.role` must be one of"),
        ([{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}], ":1: turn 1", "something other than text"),
        ([{"messages": [{"role": "user", "content": [SECRET]}]}], ":1: turn 1", "not a JSON object"),
        ([{"messages": [{"role": "assistant", "content": SECRET}]}], ":1", "at least one of them by the user"),
        ([{"conversations": [{"from": "robot", "value": SECRET}]}], ":1", "key `messages.0.role` must be one of"),
        ([{"conversations": [{"from": "system", "value": "a"}], "system": "b"}], ":1", "`system` and a system turn"),
        ([{"text": SECRET, "id": [1]}], ":1", "key `id` must be text"),
        ([{"text": SECRET, "id": 2**60, "group": 1.5}], ":1", "key `group` must be text"),
        ([{"text": SECRET, "retention_until": "2030"}], ":1", "key `retention_until` must be a date"),
        ([{"messages": [TURN], "tags": "vip"}], ":1", "key `tags` must be an object"),
        ([{"messages": [TURN], "tags": {"n": 1}}], ":1", "key `tags.n` must be text, true or false"),
        ([{"messages": [TURN], "reference": [SECRET]}], ":1", "key `reference` must be an object"),
        ([{"messages": [TURN], "reference": {"n": 2**60}}], ":1", "a value that is no JSON"),
        ([SECRET, {"text": "hi"}], ":1", "not valid UTF-8 text"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_with_file_and_line_and_never_the_value(
    tmp_path: Path, rows: list[Any], where: str, says: str
) -> None:
    path = _lines(tmp_path, *rows)
    if rows[0] == SECRET:
        path.write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(BadInputError) as caught:
        _import(path)
    assert str(caught.value).startswith(f"{path}{where}: ")
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_naming_the_column_settles_what_was_ambiguous(tmp_path: Path) -> None:
    path = _lines(tmp_path, {"messages": [TURN], "prompt": "hi", "body": "ho"})
    assert _import(path, mapping=ImportMap(messages="messages")).kind == "OpenAI chat"
    assert _import(path, mapping=ImportMap(prompt="prompt")).kind == "prompt/completion"
    got = _import(path, text="body")
    assert _pairs(got.traces[0].messages) == [("user", "ho")]
    assert got.said.endswith("columns left out: messages, prompt")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"text": "bodi"}, UnknownKeyError, "no row has a column `bodi` for `text`. Did you mean `body`?"),
        ({"text": "body", "label": "kind"}, UnknownKeyError, "no row has a column `kind` for `label`"),
        ({"text": "body", "mapping": ImportMap(text="other")}, BadInputError, "--text and the map file name different columns"),
        ({"text": "body", "mapping": ImportMap(prompt="body")}, BadInputError, "both `prompt` and `text` are mapped"),
        ({"text": "body", "mapping": ImportMap(completion="body")}, BadInputError, "there is no prompt to go with it"),
        ({"text": "body", "label": "many"}, MalformedFileError, "the label is not one text, number or truth value"),
    ],
)
def test_bad_column_names_are_refused(tmp_path: Path, options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        _import(_lines(tmp_path, {"body": SECRET, "many": [1]}), **options)
    assert says in str(caught.value)


def test_a_label_beside_a_reference_is_ambiguous(tmp_path: Path) -> None:
    path = _lines(tmp_path, {"messages": [TURN], "reference": {"a": 1}, "b": 2})
    with pytest.raises(BadInputError, match="a label and a `reference`"):
        _import(path, label="b")


def test_files_of_several_kinds_are_refused() -> None:
    with pytest.raises(BadInputError, match=r"files of several kinds: OpenAI chat in .*, ShareGPT in .*Import each kind apart"):
        _import(SAMPLES / "openai_chat.jsonl", SAMPLES / "sharegpt.json")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"[]", b"text,label\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows").write_bytes(content)
    with pytest.raises(NothingLeftError, match="no rows"):
        _import(tmp_path / "rows")


def test_no_file_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NothingLeftError, match="no file"):
        _import()
    with pytest.raises(MissingFileError, match="absent"):
        _import(tmp_path / "absent")
    with pytest.raises(MissingFileError, match="cannot be read"):
        _import(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"text;a,b\nhi;x,y\n", ":1: the header can be split by more than one"),
        (b'text,a\nhi,x\n"two\nlines",y\nshort\n', ":5: 1 cells where the header has 2"),
        (b'text,a\nhi,"open\n\n', ":2: not valid CSV"),
        (b'text,a\n"hi"x,b\n', ":2: not valid CSV"),
        (b"text,\nhi,x\n", ":1: a column of the header has no name"),
        (b"text,text\nhi,x\n", ":1: a column of the header has no name, or two have one"),
        ("text\nü\n".encode("latin-1"), ": neither JSON, Parquet nor UTF-8 text"),
        ("text\nhi\n".encode("utf-16"), ": neither JSON, Parquet nor UTF-8 text"),
        (b"\x1f\x8b\x08\x00", ": neither JSON, Parquet nor UTF-8 text"),
        (b"PAR1 no more", ": not a Parquet file, or a damaged one"),
        (b'{"text": "hi"}\n{"text": \n', ":2: not valid JSON"),
        (b'[{"text": "hi"}, 3]', ": row 2: not a JSON object"),
        (b'[{"text": "hi"}', ": not valid JSON"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(MalformedFileError) as caught:
        _import(path)
    assert str(caught.value).startswith(f"{path}{says}")


def test_a_label_column_that_arrow_knows_and_json_does_not_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["hi"], "b": [b"x"], "n": [float("nan")]}), tmp_path / "rows.parquet")
    for label in ("b", "n"):
        with pytest.raises(MalformedFileError, match="row 1: "):
            _import(tmp_path / "rows.parquet", label=label)


def test_a_chat_log_in_a_byte_order_marked_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"\xef\xbb\xbf" + b'{"text": "hi"}\r\n{"text": "ho"}\r\n')
    assert len(_import(tmp_path / "rows").traces) == 2


# --- properties ---

CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n",;\t'), max_size=20).map(
    lambda text: text + "x"
)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=4), st.sampled_from(",;\t"), st.booleans())
def test_csv_cells_arrive_unchanged(cells: list[tuple[str, str]], delimiter: str, bom: bool) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows([("text", "kind"), *cells])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_text(stream.getvalue(), encoding="utf-8-sig" if bom else "utf-8", newline="")
        got = _import(path, label="kind")
    assert [(trace.messages[0]["content"], (trace.reference or {})["kind"]) for trace in got.traces] == cells


def _parquet_bytes() -> bytes:
    return (SAMPLES / "chat.parquet").read_bytes()


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["messages", "prompt", "completion", "conversations", "text", "system", "id", "group", "consent", "tags", "reference", "x"]
)
RECORDS = st.lists(st.dictionaries(KEYS, VALUE, max_size=4), max_size=3)
FLIPS = st.lists(st.tuples(st.integers(min_value=4), st.integers(0, 255)), min_size=1, max_size=4)


def _flipped(flips: list[tuple[int, int]]) -> bytes:
    data = bytearray(_parquet_bytes())
    for position, value in flips:
        data[position % len(data)] = value
    return bytes(data)


@given(
    st.binary(max_size=100)
    | st.text(st.sampled_from('text,;\t"\n\r [{0'), max_size=40).map(lambda text: ("text" + text).encode())
    | RECORDS.map(lambda rows: json.dumps(rows).encode())
    | RECORDS.map(lambda rows: "\n".join(json.dumps(row) for row in rows).encode())
    | FLIPS.map(_flipped)
)
@example(b"[" * 100_000)
@example(b'{"messages":' + b"[" * 600 + b"]" * 600 + b"}")
@example(b'{"messages":[{"role":"user","content":"a"}],"reference":{"a":' + b"[" * 900 + b"]" * 900 + b"}}")
@example(b"text\n" + b"a" * 200_000)
@example(b"\x1c\n")
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_give_traces_or_one_of_our_errors(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.write_bytes(content)
        try:
            got = _import(path)
        except DistillGovError as error:
            refused = error
        else:
            assert got.traces
            write_traces(Path(folder) / "traces.jsonl", got.traces)
            assert tuple(read_traces(Path(folder) / "traces.jsonl")) == got.traces
            return
    assert "\n" not in str(refused)
    assert refused.exit_code == 2
