"""No planted personal value is in any file that a run leaves, in what it prints, or in its log.

Every file is decoded: bytes of a Parquet file are compressed, JSON and HTML escape, and a search through bytes finds nothing.
"""

from __future__ import annotations

import html
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import duckdb
import pytest

from distill_gov.project import Project
from distill_gov.records.layout import SIMULATED_RATINGS
from distill_gov.stages.ratings import key_path
from evals.ratings import simulate_responses
from tests.end_to_end.commands import command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.decoding import UndecodableError, decoded, holds
from tests.end_to_end.tiny_project import PLANTED

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
    looked_at = list(files(copy))
    assert {p.suffix for p in looked_at} >= {".parquet", ".json", ".jsonl", ".yaml", ".md", ".html", ".csv", ".safetensors"}
    found = {p.relative_to(copy).as_posix(): leaks(decoded(p)) for p in looked_at}
    assert {name: entities for name, entities in found.items() if entities} == {}
    assert leaks(text for e in ended for text in (e.out, e.err)) == set()
    assert leaks([finished.log]) == set()
    assert "ledger.jsonl" in finished.log, "log records were looked at"


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


@pytest.mark.parametrize("name", ["a.pickle", "a.zip", "a.txt", "a.bin", "a.db", "a"])
def test_a_type_that_nobody_decodes_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(UndecodableError):
        list(decoded(tmp_path / name))


def test_a_lock_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.lock").write_bytes(b"x")
    with pytest.raises(UndecodableError):
        list(decoded(tmp_path / "a.lock"))
