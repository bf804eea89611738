"""A stage's manifest: done once, from these inputs, with fields of the right types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distill_gov.records.errors import (
    DistillGovError,
    ForeignRunError,
    MalformedFileError,
    MissingFileError,
    UnknownFormatError,
)
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now, read_manifest, write_manifest

MANIFEST = StageManifest(
    stage="build",
    inputs={"traces": "sha256:t", "settings": "sha256:s"},
    outputs={"teaching/examples.parquet": "sha256:e"},
    settings={"kind": "recorded", "floor": {"intent": 0.75}},
    seed=7,
    versions={"python": "3.11"},
    counts={"examples": 20},
    facts={"teacher": {"name": "t", "agreement": None}},
    started="2026-11-22T09:00:00Z",
    finished=now(),
    seconds={"redact": 1.5, "teach": 2},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "manifests" / "build.json"
    write_manifest(target, MANIFEST)
    return target


def test_a_manifest_is_read_as_it_was_written(path: Path) -> None:
    assert read_manifest(path) == MANIFEST


def test_a_stage_is_done_where_its_inputs_are_the_same(path: Path, tmp_path: Path) -> None:
    assert done_before(path, dict(MANIFEST.inputs)) == MANIFEST
    assert done_before(tmp_path / "none.json", {}) is None


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"traces": "sha256:other", "settings": "sha256:s"}, "traces"),
        ({"traces": "sha256:t"}, "settings"),
        ({"traces": "sha256:t", "settings": "sha256:s", "dev": "sha256:d"}, "dev"),
        ({"traces": "sha256:other", "settings": "sha256:other"}, "settings"),
        ({}, "settings"),
    ],
)
def test_the_first_input_that_differs_is_named(path: Path, inputs: dict[str, str], named: str) -> None:
    with pytest.raises(ForeignRunError) as caught:
        done_before(path, inputs)
    assert caught.value.what == f"stage `build` was done with another `{named}`"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stage", 1),
        ("stage", None),
        ("inputs", []),
        ("inputs", {"traces": 1}),
        ("inputs", None),
        ("outputs", "x"),
        ("outputs", {"a": None}),
        ("outputs", [["a", "b"]]),
        ("settings", []),
        ("seed", "7"),
        ("seed", True),
        ("seed", 0.5),
        ("versions", {"python": 3.11}),
        ("commit", None),
        ("counts", {"examples": "20"}),
        ("counts", {"examples": True}),
        ("facts", None),
        ("started", 0),
        ("finished", {}),
        ("seconds", {"redact": "1"}),
        ("seconds", {"redact": False}),
        ("seconds", {"redact": 10**400}),
        ("more", 1),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(path: Path, field: str, value: Any) -> None:
    content = json.loads(path.read_text())
    content[field] = value
    path.write_text(json.dumps(content))
    for read in (lambda: read_manifest(path), lambda: done_before(path, dict(MANIFEST.inputs))):
        with pytest.raises(MalformedFileError) as caught:
            read()
        assert caught.value.where == str(path)


@pytest.mark.parametrize("field", ["stage", "inputs", "outputs", "format"])
def test_a_field_that_is_missing_is_refused(path: Path, field: str) -> None:
    content = json.loads(path.read_text())
    del content[field]
    path.write_text(json.dumps(content))
    with pytest.raises(UnknownFormatError if field == "format" else MalformedFileError):
        read_manifest(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_damaged_manifest_does_not_say_that_a_stage_was_not_done(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DistillGovError):
        done_before(path, {})


def test_outputs_are_hashed_by_path_below_the_run(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("d/b", "d/e/a", "c"):
        (tmp_path / name).write_text("same")
    found = hash_outputs(tmp_path, [tmp_path / "d", tmp_path / "c"])
    assert list(found) == ["c", "d/b", "d/e/a"]
    assert len(set(found.values())) == 1
    with pytest.raises(MissingFileError):
        hash_outputs(tmp_path, [tmp_path / "none"])
