"""No planted personal value is in any file that a run leaves, in what it prints, or in its log.

Every file is decoded: bytes of a Parquet file are compressed, JSON and HTML escape, and a search through bytes finds nothing.
"""

from __future__ import annotations

import gzip
import html
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import duckdb
import pytest
import yaml

from distill_gov.project import Project
from distill_gov.records.files import read_parquet
from distill_gov.records.layout import SIMULATED_RATINGS
from distill_gov.stages.ratings import key_path
from evals.ratings import simulate_responses
from tests.end_to_end.commands import command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.decoding import UndecodableError, decoded, holds
from tests.end_to_end.tiny_project import PLANTED, gate, policy, redaction_yaml, write_jsonl
from tests.end_to_end.tiny_project import files as files_of_the_project

VALUE = PLANTED[3].value


def leaks(texts: Iterable[str]) -> set[str]:
    """Entities of the planted values found (never the values: this goes into a test's message)."""
    found = set()
    for text in texts:
        found |= {planted.entity for planted in PLANTED if any(holds(text, needle) for needle in planted.needles)}
    return found


def files(root: Path) -> Iterator[Path]:
    """Every file of a project but raw data and keys."""
    spared = (root / "data", root / ".distill-gov" / "keys")
    for path in sorted(root.rglob("*")):
        if path.is_file() and not any(path.is_relative_to(folder) for folder in spared):
            yield path


def test_values_of_many_kinds_are_planted_and_read(finished: Finished) -> None:
    assert len({planted.entity for planted in PLANTED}) == len(PLANTED) >= 12
    # They were there to be leaked: the raw files hold them, and redaction took out what the teaching traces carry.
    assert leaks((finished.root / "data" / "teaching.jsonl").read_text("utf-8").splitlines()) == {p.entity for p in PLANTED}
    build = json.loads((finished.run / "manifests" / "build.json").read_text("utf-8"))
    assert set(build["facts"]["redaction"]["by_entity"]) >= {p.entity for p in PLANTED} - {"USERNAME", "PASSWORD"}


def test_no_planted_value_is_in_any_file_of_a_run(finished: Finished, copy: Path) -> None:
    """After a run, a second policy, ratings, a promotion and some failures."""
    ended = [finished.ended]
    ended += [command(copy, *verb.split()) for verb in (
        "gate --policy gates.strict", "report --policy gates.strict", "gate --plan", "promote", "verify", "doctor",
        "ratings export --rater anna --rater bert --cases 30", "ratings export --rater anna --rater bert --simulated",
    )]  # fmt: skip
    assert [e.code for e in ended[:4]] == [0, 1, 0, 0]
    project = Project.open(copy)
    run = project.run("r1")
    kind = SIMULATED_RATINGS
    answers = simulate_responses(
        run.layout.packets(kind), key_path(project, run, kind), directory=copy / "runs" / "answers", shift=0.0, seed=1
    )
    ended.append(command(copy, "ratings", "import", "--simulated", *map(str, answers)))
    ended.append(command(copy, "verify"))
    assert [e.code for e in ended[-3:]] == [0, 0, 0], ended[-3:]
    with (copy / "data" / "dev.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"id": VALUE, "group": [VALUE]}) + "\n")
    ended.append(command(copy, "build", "--run", "r2"))
    assert ended[-1].code == 2
    assert {p.suffix for p in files(copy)} >= {".parquet", ".json", ".jsonl", ".yaml", ".md", ".html", ".csv", ".safetensors"}
    assert _leaking(copy) == {}
    assert leaks(text for e in ended for text in (e.out, e.err)) == set()
    assert leaks([finished.log]) == set()
    assert "ledger.jsonl" in finished.log, "log records were looked at"


def _dispersed() -> dict[str, list[dict[str, Any]]]:
    """The files of the tiny project with planted values in tags, references and answers, at least one of each in every file."""
    rows = files_of_the_project()
    for name, traces in rows.items():
        for number, row in enumerate(traces):
            planted = PLANTED[number % len(PLANTED)]
            # Some kinds are known by the words around them only.
            said = planted.sentence.format(planted.value)
            row["tags"] |= {"agent": planted.value, "origin": said, "slice": said}
            if name == "hazardous":
                row["tags"]["hazard"] = said
            if name == "teaching" and number % 3 == 0:
                row["reference"] = {"intent": "refund", "action": "ask"}
            if "reference" in row:
                row["reference"]["reply"] = said
            row["messages"].append({"role": "assistant", "content": said})
    return rows


@pytest.mark.slow
def test_no_planted_value_travels_in_tags_references_and_answers(fresh: Path) -> None:
    """With a teacher that reads the gold references in its prompt and teaches the others."""
    rows = _dispersed()
    for name, traces in rows.items():
        write_jsonl(fresh / "data" / f"{name}.jsonl", traces)
    assert command(fresh, "seal").code == 0
    ended = command(fresh, "run")
    assert ended.code in (0, 1, 3), ended.err
    tags = [json.loads(row["tags"]) for row in read_parquet(fresh / "runs/r1/teaching/examples.parquet", format="examples")]
    assert {name for one in tags for name in one} == {"language", "origin", "pii", "slice"}
    assert any("<EMAIL_1>" in one["origin"] for one in tags)
    assert list((fresh / ".distill-gov" / "cache").rglob("*.json")), "what the teacher read is looked at too"
    assert _leaking(fresh) == {}
    assert leaks([ended.out, ended.err]) == set()


def test_no_planted_value_travels_in_recorded_answers(fresh: Path) -> None:
    for name, traces in _dispersed().items():
        for row in traces:
            row.pop("reference", None)
            row["messages"][-1]["content"] = f"Thank you. {row['messages'][-1]['content']}"
        write_jsonl(fresh / "data" / f"{name}.jsonl", traces)
    settings = yaml.safe_load((fresh / "distill.yaml").read_text("utf-8"))
    for key in ("answer_schema", "dev", "gold", "suites"):
        del settings[key]
    settings["teacher"] = {"kind": "recorded", "licence": "invented", "revision": "", "terms_accepted_by": ""}
    settings |= {"student": {"base": "models/teacher", "layers": 1, "max_tokens": 8}, "evaluate": {"decoding": "free"}}
    (fresh / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    (fresh / "redaction.yaml").write_text(redaction_yaml(echo=False), "utf-8")
    for other in fresh.glob("gates.*.yaml"):
        other.unlink()
    (fresh / "gates.yaml").write_text(policy(gate("leaks", "pii_leak_rate", "holdout", "at_most", 0.99, min_n=60)), "utf-8")
    assert command(fresh, "seal").code == 0
    ended = command(fresh, "run")
    assert ended.code in (0, 1, 3), ended.err
    answers = [row["answer"] for row in read_parquet(fresh / "runs/r1/teaching/examples.parquet", format="examples")]
    assert len(answers) > 15
    assert any("<ADDRESS_1>" in answer for answer in answers)
    assert _leaking(fresh) == {}
    assert leaks([ended.out, ended.err]) == set()


@pytest.mark.parametrize(("file", "key"), [("teaching", "id"), ("holdout", "group")])
def test_an_id_that_is_a_planted_value_stops_the_build(fresh: Path, file: str, key: str) -> None:
    rows = files_of_the_project()[file]
    rows[4][key] = PLANTED[1].value
    write_jsonl(fresh / "data" / f"{file}.jsonl", rows)
    assert command(fresh, "seal").code == 0
    ended = command(fresh, "build")
    assert ended.code == 2
    assert f"data/{file}.jsonl:5: key `{key}` holds personal data" in ended.error
    assert leaks([ended.out, ended.err]) == set()
    assert not list((fresh / "runs").rglob("*.parquet"))


def test_an_id_of_a_suite_stops_the_evaluation(copy: Path) -> None:
    (copy / "runs/r1/manifests/evaluate.json").unlink()
    rows = files_of_the_project()["benign"]
    rows[1]["id"] = PLANTED[2].value
    write_jsonl(copy / "data" / "benign.jsonl", rows)
    ended = command(copy, "evaluate")
    assert ended.code == 2
    assert "data/benign.jsonl:2: key `id`" in ended.error
    assert leaks([ended.out, ended.err]) == set()


def _leaking(root: Path) -> dict[str, set[str]]:
    found = {p.relative_to(root).as_posix(): leaks(decoded(p)) for p in files(root)}
    return {name: entities for name, entities in found.items() if entities}


def _parquet(path: Path) -> None:
    rows = "SELECT 1 AS n, [{'role': 'user', 'content': [?]}] AS messages"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)", [VALUE])


def _nested(path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT ? AS output) TO '{path}' (FORMAT parquet, COMPRESSION zstd)", [json.dumps({"reply": VALUE})]
        )


def _metadata(path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS n) TO '{path}' (FORMAT parquet, KV_METADATA {{note: '{VALUE}'}})")


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


def _header(path: Path) -> None:
    header = json.dumps({"__metadata__": {"note": VALUE}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


_quoted = json.dumps(VALUE).encode()


def _zip_bytes(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def _zipped(path: Path, name: str, data: bytes) -> None:
    path.write_bytes(_zip_bytes(name, data))


def _tarred(path: Path, mode: Literal["w", "w:gz"], name: str, data: bytes, owner: str = "") -> None:
    with tarfile.open(path, mode) as archive:
        member = tarfile.TarInfo(name)
        member.size, member.uname = len(data), owner
        archive.addfile(member, io.BytesIO(data))


def _parquet_bytes(folder: Path) -> bytes:
    _parquet(folder / "a.parquet")
    return (folder / "a.parquet").read_bytes()


CONTROLS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "parquet, compressed, in a list of objects": ("a.parquet", _parquet),
    "parquet, JSON in a column": ("a.parquet", _nested),
    "parquet, its metadata": ("a.parquet", _metadata),
    "JSON, escaped": ("a.json", lambda p: p.write_text(f'{{"a": [{{"b": "{_escaped(VALUE)}"}}]}}')),
    "JSON, a key": ("a.json", lambda p: p.write_text(json.dumps({VALUE: 1}))),
    "JSON in JSON": ("a.json", lambda p: p.write_text(json.dumps({"a": f'{{"b": "{_escaped(VALUE)}"}}'}))),
    "JSON Lines": ("a.jsonl", lambda p: p.write_text(f'{{}}\n{{"a": "{_escaped(VALUE)}"}}\n')),
    "YAML": ("a.yaml", lambda p: p.write_text(f'a: "{_escaped(VALUE)}"\n')),
    "YAML, a comment": ("a.yaml", lambda p: p.write_text(f"a: 1  # {VALUE}\n")),
    "Markdown, escaped": ("a.md", lambda p: p.write_text("".join(f"&#{ord(c)};" for c in VALUE))),
    "HTML, escaped": ("a.html", lambda p: p.write_text(f"<p>{html.escape(VALUE).replace(',', '&#44;')}</p>")),
    "HTML, marked up": ("a.html", lambda p: p.write_text(f"<p>{VALUE[:4]}<b>{VALUE[4:]}</b></p>")),
    "HTML, a script": ("a.html", lambda p: p.write_text(f'<script>let a = "{_escaped(VALUE)}";</script>')),
    "CSV": ("a.csv", lambda p: p.write_text(f'\ufeff1,"{VALUE}"\n')),
    "chat template": ("a.jinja", lambda p: p.write_text(VALUE)),
    "weights, their header": ("a.safetensors", _header),
    "a file's name": (f"{VALUE}.json", lambda p: p.write_text("{}")),
    "zip, compressed": ("a.zip", lambda p: _zipped(p, "a.json", _quoted)),
    "zip, a member's name": ("a.zip", lambda p: _zipped(p, f"{VALUE}/a.json", b"{}")),
    "zip in a zip": ("a.zip", lambda p: _zipped(p, "b.zip", _zip_bytes("a.csv", _quoted))),
    "tar": ("a.tar", lambda p: _tarred(p, "w", "a.json", _quoted)),
    "tar, a member's owner": ("a.tar", lambda p: _tarred(p, "w", "a.json", b"{}", VALUE)),
    "tar, compressed": ("a.tar.gz", lambda p: _tarred(p, "w:gz", "a.json", _quoted)),
    "tar, compressed, of the short name": ("a.tgz", lambda p: _tarred(p, "w:gz", f"{VALUE}.md", b"")),
    "gzip": ("a.jsonl.gz", lambda p: p.write_bytes(gzip.compress(_quoted))),
    "parquet in a tar": ("a.tar", lambda p: _tarred(p, "w", "a.parquet", _parquet_bytes(p.parent))),
}


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_planted_value_is_found_in_each_kind_of_file(tmp_path: Path, kind: str) -> None:
    name, write = CONTROLS[kind]
    write(tmp_path / name)
    assert leaks(decoded(tmp_path / name)) == {PLANTED[3].entity}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.entity)
def test_each_value_is_found_whole_in_pieces_and_written_otherwise(planted: object) -> None:
    assert isinstance(planted, type(PLANTED[0]))
    for needle in planted.needles:
        assert planted.entity in leaks([f"before {needle.upper()}, after"])
        assert planted.entity in leaks([needle.replace(" ", "\u00a0").replace("-", " ")])
    assert leaks(["nothing of it"]) == set()


@pytest.mark.parametrize("name", ["a.pickle", "a.zip", "a.tar", "a.tgz", "a.json.gz", "a.txt", "a.bin", "a.db", "a"])
def test_a_type_that_nobody_decodes_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(UndecodableError):
        list(decoded(tmp_path / name))


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_a_member_that_nobody_decodes_is_refused(tmp_path: Path, name: str) -> None:
    if name.endswith("zip"):
        _zipped(tmp_path / name, "a.pickle", b"anything")
    else:
        _tarred(tmp_path / name, "w:gz" if name.endswith("gz") else "w", "a.pickle", b"anything")
    with pytest.raises(UndecodableError):
        list(decoded(tmp_path / name))


def test_a_lock_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.lock").write_bytes(b"x")
    with pytest.raises(UndecodableError):
        list(decoded(tmp_path / "a.lock"))
