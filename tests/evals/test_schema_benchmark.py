"""The pieces of benchmarks/schema.py at a size that takes no time; the official suite itself is in test_official_suites."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks import load_benchmark

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """With an official suite of one file, and no BFCL."""
    module = load_benchmark(ROOT, "schema")
    groups = [
        {"description": "int", "schema": {"type": "integer"}, "tests": [tried("one", 1, True), tried("text", "x", False)]},
        {"description": "other", "schema": {"$ref": "http://localhost:1234/int.json"}, "tests": [tried("one", "x", False)]},
        {"description": "true", "schema": True, "tests": [tried("one", 1, True)]},
    ]
    for draft in module.DRAFTS:
        folder = tmp_path / "suite" / "tests" / draft / "optional" / "format"
        folder.mkdir(parents=True)
        (folder.parent.parent / "type.json").write_text(json.dumps(groups))
        (folder.parent / "more.json").write_text(json.dumps(groups[:1]))
        mail = {"description": "mail", "schema": {"format": "email"}, "tests": [tried("none", "x", False)]}
        (folder / "email.json").write_text(json.dumps([mail]))
    (tmp_path / "suite" / "remotes").mkdir()
    (tmp_path / "suite" / "remotes" / "int.json").write_text('{"type": "integer"}')
    monkeypatch.setattr(module, "SUITE", tmp_path / "suite")
    monkeypatch.setattr(module, "SHARED", tmp_path)
    return module


def tried(description: str, data: Any, valid: bool) -> dict[str, Any]:
    return {"description": description, "data": data, "valid": valid}


def test_what_it_prints(benchmark: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--rows", "20", "--rounds", "1"])
    shown = capsys.readouterr().out
    assert "draft2020-12 format" in shown
    assert "BFCL is not at" in shown
    benchmark.main(["--rows", "20", "--rounds", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["wrong"] == 0
    assert found["verdicts"]["ours"]["draft7 required"] == {"n": 4, "wrong": 0, "passed_wrongly": 0, "not_compiled": 0}
    assert found["verdicts"]["jsonschema"]["draft7 required"]["wrong"] == 0
    assert set(found["pace"]) == {"support desk's answers", "official suite's instances"}
    assert found["pace"]["official suite's instances"]["instances"] == 4


def test_a_wrong_verdict_or_a_low_pace_is_told_by_the_exit_code(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"wrong": 0, "ratio": {"validated": benchmark.BAR}}
    monkeypatch.setattr(benchmark, "measure", lambda rows, rounds: found)
    monkeypatch.setattr(benchmark, "show", lambda _: "")
    assert benchmark.main([]) == 0
    for changes in ({"wrong": 1}, {"wrong": None}, {"ratio": {"validated": benchmark.BAR - 0.1}}):
        monkeypatch.setattr(benchmark, "measure", lambda rows, rounds, changes=changes: found | changes)
        assert benchmark.main([]) == 1


def test_what_cannot_be_compiled_or_raises_is_wrong(benchmark: ModuleType) -> None:
    def refuses(schema: Any, draft: str, formats: bool) -> Any:
        raise ValueError

    def raises(schema: Any, draft: str, formats: bool) -> Any:
        return lambda value: 1 / 0

    for broken in (refuses, raises):
        found = benchmark.verdicts(benchmark.official(), broken)["draft7 required"]
        assert (found.wrong, found.not_compiled, found.passed_wrongly) == (4, 4, 0)
    found = benchmark.verdicts(benchmark.official(), lambda *_: lambda value: True)["draft7 required"]
    assert (found.wrong, found.not_compiled, found.passed_wrongly) == (2, 0, 2)


def test_one_answer_in_ten_is_broken(benchmark: ModuleType) -> None:
    ((schema, draft, rows),) = benchmark.desk_answers(200)
    valid = benchmark.ours(schema, draft, True)
    assert [valid(row) for row in rows] == [n % 10 != 0 for n in range(200)]


def test_the_suites_schemas_are_given_only_its_own_remotes(benchmark: ModuleType) -> None:
    benchmark.remotes.cache_clear()
    assert benchmark.local("http://localhost:1234/int.json#/x") == {"type": "integer"}
    with pytest.raises(ValueError, match="not among"):
        benchmark.local("http://example.com/int.json")
