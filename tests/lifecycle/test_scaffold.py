"""`init`: projects that hold together, on the example and on files of each kind."""

from __future__ import annotations

import json
import stat
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_gov.importers import ImportMap
from distill_gov.project import Project
from distill_gov.records.errors import BadInputError, DistillGovError, MissingFileError
from distill_gov.records.keys import KeyRing
from distill_gov.records.settings import load_settings
from distill_gov.scaffold import HOLDOUT_SHARE, Scaffolded, _split, scaffold
from distill_gov.traces import Trace, read_traces
from evals.decisions import answer_format
from gates.policy import load_policy
from redaction.policy import load_policy as load_redaction

SAMPLES = Path(__file__).parent / "samples"
TODAY = date(2026, 11, 22)
INTENTS = ("refund", "delivery", "repair")


def holds_together(root: Path) -> Project:
    """Open a project and read everything that its owners wrote."""
    project = Project.open(root)
    load_redaction(project.layout.redaction)
    for path in root.glob("gates*.yaml"):
        load_policy(path)
    assert project.keyring
    for name in (project.settings.traces, project.settings.holdout):
        assert read_traces(project.file(name))
    return project


def chats(path: Path, count: int, *, answer: bool = True, **more: object) -> Path:
    """A file of conversations of two rows each."""
    rows = []
    for n in range(count):
        turns = [{"role": "user", "content": f"Message {n}: where is parcel {n * 7}?"}]
        if answer:
            turns.append({"role": "assistant", "content": f"Parcel {n * 7} is on its way, number {n} in the queue."})
        rows.append({"messages": turns, "group": f"c{n // 2}", **more})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# --- the example


def test_the_example_is_a_project(tmp_path: Path) -> None:
    made = scaffold(tmp_path / "desk")
    project = holds_together(tmp_path / "desk")
    assert made.teaching == len(read_traces(project.file(project.settings.traces)))
    assert made.holdout == len(read_traces(project.file(project.settings.holdout))) == 300
    assert project.answer_document is not None
    for name in (project.settings.dev, project.settings.gold, *project.settings.suites.values()):
        project.file(name)
    assert not (tmp_path / "desk" / "make_data.py").exists()
    assert not (tmp_path / "desk" / "source").exists()
    assert project.seal().facts["digest"].startswith("sha256:")


def test_keys_and_raw_text_stay_out_of_the_repository(tmp_path: Path) -> None:
    scaffold(tmp_path / "desk")
    ignored = (tmp_path / "desk" / ".gitignore").read_text().split()
    assert {".distill-gov/", "data/", "runs/"} <= set(ignored)
    keys = tmp_path / "desk" / ".distill-gov" / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert stat.S_IMODE((keys / "root.key").stat().st_mode) == 0o600


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    scaffold(tmp_path / "desk")
    before = {path: path.read_bytes() for path in (tmp_path / "desk").rglob("*") if path.is_file()}
    own = chats(tmp_path / "chats.jsonl", 4)
    for files in ([], [own]):
        with pytest.raises(BadInputError, match="already there"):
            scaffold(tmp_path / "desk", files=files)
    assert before == {path: path.read_bytes() for path in (tmp_path / "desk").rglob("*") if path.is_file()}


def test_options_for_own_files_need_files(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--from"):
        scaffold(tmp_path / "desk", label="intent")
    assert not (tmp_path / "desk").exists()


# --- own chats


@pytest.mark.parametrize(
    ("sample", "options"),
    [
        ("openai_chat.jsonl", {}),
        ("prompt_completion.jsonl", {}),
        ("sharegpt.json", {}),
        ("labelled_semicolon.csv", {"text": "message", "label": "intent"}),
    ],
)
def test_a_file_of_each_kind_makes_a_project(tmp_path: Path, sample: str, options: dict[str, str]) -> None:
    made = scaffold(tmp_path / "mydesk", files=[SAMPLES / sample], today=TODAY, **options)  # type: ignore[arg-type]
    project = holds_together(tmp_path / "mydesk")
    assert project.settings.teacher.kind == "recorded"
    assert project.settings.defaults["retention_until"] == "2027-11-22"
    assert made.teaching >= 1
    assert made.holdout >= 1
    assert project.settings.task == "mydesk"


def test_parquet_makes_a_project(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "chats.parquet"
    pq.write_table(pa.table({"prompt": ["Where is it?", "And now?"], "completion": ["Here.", "There."]}), path)
    scaffold(tmp_path / "mydesk", files=[path])
    assert Project.open(tmp_path / "mydesk").settings.answer_schema == ""


def test_a_map_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"q": "Where?", "a": "Here."}\n{"q": "When?", "a": "Now."}\n')
    made = scaffold(tmp_path / "mydesk", files=[path], mapping=ImportMap(prompt="q", completion="a"))
    assert (made.teaching, made.holdout) == (1, 1)


def test_asserted_papers_are_marked_and_said(tmp_path: Path) -> None:
    made = scaffold(tmp_path / "mydesk", files=[chats(tmp_path / "chats.jsonl", 20)], today=TODAY)
    trace = read_traces(tmp_path / "mydesk" / "data" / "teaching.jsonl")[0]
    assert trace.tags["asserted"] == "consent,licence,retention_until"
    assert trace.retention_until == date(2027, 11, 22)
    assert any("nobody has checked" in line for line in made.said)
    # What is asserted must be admitted, or the project would not run.
    admission = load_redaction(tmp_path / "mydesk" / "redaction.yaml").admission
    assert trace.consent in admission.consent
    assert trace.licence in admission.licence


def test_a_refused_consent_is_not_admitted_by_the_way(tmp_path: Path) -> None:
    made = scaffold(tmp_path / "mydesk", files=[chats(tmp_path / "chats.jsonl", 8, consent="denied")])
    assert "denied" not in load_redaction(tmp_path / "mydesk" / "redaction.yaml").admission.consent
    assert any("8 traces have a `consent` or `licence`" in line for line in made.said)


def test_labels_become_decision_fields_with_a_gate(tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text("text,intent\n" + "".join(f"message {n},{INTENTS[n % 3]}\n" for n in range(12)))
    scaffold(tmp_path / "mydesk", files=[path], label="intent")
    project = holds_together(tmp_path / "mydesk")
    assert project.answer_document is not None
    (field,) = answer_format(project.answer_document).fields
    assert (field.name, field.labels) == ("intent", tuple(sorted(INTENTS)))
    assert "\nmax_openings: 10 " in (tmp_path / "mydesk" / "gates.yaml").read_text("utf-8")
    gates = [gate.metric for gate in load_policy(tmp_path / "mydesk" / "gates.yaml").gates]
    # The labels are the teacher here, so comparing with it would say nothing; and there is no text for raters.
    assert gates == ["accuracy.intent", "schema_validity"]


def test_numbers_as_labels_become_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"message {n}", "stars": n % 2}) + "\n" for n in range(6)))
    scaffold(tmp_path / "mydesk", files=[path], label="stars")
    document = json.loads((tmp_path / "mydesk" / "answer.schema.json").read_text())
    assert document["properties"]["stars"] == {"enum": ["0", "1"]}
    assert {t.reference["stars"] for t in read_traces(tmp_path / "mydesk/data/teaching.jsonl") if t.reference} <= {"0", "1"}


def json_answers(path: Path, answers: list[str]) -> Path:
    rows = [{"prompt": f"message {n}", "completion": answer} for n, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_json_answers_give_a_schema_that_they_meet(tmp_path: Path) -> None:
    from evals.structured import judge, load_schema

    answers = [json.dumps({"intent": INTENTS[n % 3], "reply": f"Reply number {n}."}) for n in range(12)]
    scaffold(tmp_path / "mydesk", files=[json_answers(tmp_path / "rows.jsonl", answers)])
    project = holds_together(tmp_path / "mydesk")
    assert project.answer_document is not None
    parsed = answer_format(project.answer_document)
    assert [field.name for field in parsed.fields] == ["intent"]
    assert parsed.rest == ("reply",)
    schema = load_schema(tmp_path / "mydesk" / "answer.schema.json")
    assert all(judge(answer, schema).valid for answer in answers)


@pytest.mark.parametrize(
    "odd",
    [
        "no JSON",
        '{"intent":"refund","reply":"no spaces"}',
        '{"reply": "order", "intent": "refund"}',
        '{"intent": "refund", "reply": 3}',
        '["refund"]',
        '{"intent": "refund"}',
    ],
)
def test_one_answer_of_another_shape_makes_them_free_text(tmp_path: Path, odd: str) -> None:
    answers = [json.dumps({"intent": "refund", "reply": f"Reply {n}."}) for n in range(5)]
    scaffold(tmp_path / "mydesk", files=[json_answers(tmp_path / "rows.jsonl", [*answers, odd])])
    assert Project.open(tmp_path / "mydesk").settings.answer_schema == ""
    assert not (tmp_path / "mydesk" / "answer.schema.json").exists()


def test_what_nobody_answered_is_set_aside_and_said(tmp_path: Path) -> None:
    path = chats(tmp_path / "chats.jsonl", 6)
    more = chats(tmp_path / "more.jsonl", 2, answer=False)
    made = scaffold(tmp_path / "mydesk", files=[path, more])
    assert len(read_traces(tmp_path / "mydesk" / "data" / "unanswered.jsonl")) == 2
    assert made.teaching + made.holdout == 6
    assert any("2 traces carry neither" in line for line in made.said)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('{"prompt": "Where?"}\n{"prompt": "When?"}\n', BadInputError, "nobody can teach"),
        ('{"prompt": "Where?", "completion": "Here."}\n', BadInputError, "only one conversation"),
        ('{"prompt": "Where?"\n', DistillGovError, "rows.jsonl:1"),
        (None, MissingFileError, "rows.jsonl"),
    ],
)
def test_a_file_that_cannot_teach_leaves_nothing(
    tmp_path: Path, content: str | None, error: type[DistillGovError], message: str
) -> None:
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=message) as raised:
        scaffold(tmp_path / "mydesk", files=[path])
    assert raised.value.exit_code == 2
    assert not (tmp_path / "mydesk").exists()


# --- the split


def trace(n: int, group: str) -> Trace:
    messages = ({"role": "user", "content": f"m{n}"}, {"role": "assistant", "content": "a"})
    return Trace(id=f"t{n}", group=group, messages=messages, consent="granted", licence="own", retention_until=TODAY)


@given(st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda groups: len(set(groups)) > 1))
def test_the_split_keeps_conversations_whole_and_both_parts_filled(groups: list[int]) -> None:
    traces = [trace(n, f"g{group}") for n, group in enumerate(groups)]
    key = KeyRing(bytes(range(32))).subkey("holdout-split")
    teaching, holdout = _split(traces, key)
    assert teaching
    assert holdout
    assert not {t.group for t in teaching} & {t.group for t in holdout}
    assert sorted(t.id for t in teaching + holdout) == sorted(t.id for t in traces)
    again = _split(list(reversed(traces)), key)
    assert {t.id for t in again[1]} == {t.id for t in holdout}


def test_the_holdout_is_a_fifth_and_depends_on_the_key() -> None:
    traces = [trace(n, f"g{n}") for n in range(200)]
    parts = [{t.id for t in _split(traces, KeyRing(bytes([n] * 32)).subkey("holdout-split"))[1]} for n in range(2)]
    assert [len(part) for part in parts] == [HOLDOUT_SHARE * 200] * 2
    assert parts[0] != parts[1]


# --- it runs


def test_own_chats_build_a_teaching_set(tmp_path: Path) -> None:
    made: Scaffolded = scaffold(tmp_path / "mydesk", files=[chats(tmp_path / "chats.jsonl", 30)], today=TODAY)
    project = Project.open(tmp_path / "mydesk")
    project.seal()
    manifest = project.run("r1").build()
    assert manifest.counts["traces"] == made.teaching
    assert manifest.counts["examples"] > 0


def test_the_import_map_is_a_settings_file(tmp_path: Path) -> None:
    assert load_settings(SAMPLES / "map.yaml", ImportMap)
