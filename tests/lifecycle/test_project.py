"""A project: its seal, its files, its policies and its models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.records.digest import digest_file
from distill_gov.records.errors import (
    BadInputError,
    BadModelError,
    BadSchemaError,
    HashMismatchError,
    MissingFileError,
    NotSealedError,
    UnknownKeyError,
)
from evals.holdout import cases_digest

SETTINGS = """\
task: triage
traces: traces.jsonl
holdout: data/holdout.jsonl
teacher: {kind: recorded, licence: none, revision: "1", terms_accepted_by: ""}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "desk"
    (root / "data").mkdir(parents=True)
    (root / "distill.yaml").write_text(SETTINGS)
    (root / "data" / "holdout.jsonl").write_text('{"id": "h1"}\n')
    return Project.open(root)


# -- opening --------------------------------------------------------------------------------------------------------------


def test_a_directory_without_settings_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"distill.yaml: no such settings file"):
        Project.open(tmp_path)


def test_a_misspelt_key_is_named_with_its_line(project: Project) -> None:
    (project.layout.root / "distill.yaml").write_text(SETTINGS.replace("holdout:", "holdoutt:"))
    with pytest.raises(UnknownKeyError, match=r"distill.yaml:3: unknown key `holdoutt`. Did you mean `holdout`\?"):
        Project.open(project.layout.root)


def test_a_relative_root_is_made_absolute(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.layout.root.parent)
    assert Project.open(Path("desk")).layout.root == project.layout.root


@pytest.mark.parametrize("name", ["", "none.jsonl", "data", "data/none/x"])
def test_a_file_that_the_settings_name_must_be_there(project: Project, name: str) -> None:
    with pytest.raises(MissingFileError):
        project.file(name)


def test_a_run_name_stays_inside(project: Project) -> None:
    assert project.run("r2").layout.root == project.layout.root / "runs" / "r2"
    with pytest.raises(BadInputError):
        project.run("../other")


# -- the seal -------------------------------------------------------------------------------------------------------------


def test_sealing_twice_is_logged_once(project: Project) -> None:
    first = project.seal()
    assert project.seal() == first
    assert Project.open(project.layout.root).seal() == first
    assert [e.event for e in project.ledger.entries()] == ["holdout.sealed"]
    holdout = project.layout.root / "data" / "holdout.jsonl"
    assert first.facts == {
        "file": "data/holdout.jsonl",
        "digest": digest_file(holdout),
        "cases": cases_digest(holdout),
    }
    assert project.sealed() == first.facts["digest"]


def test_without_a_seal_nothing_is_sealed(project: Project) -> None:
    with pytest.raises(NotSealedError):
        project.sealed()
    assert not project.layout.ledger.exists()


def test_a_changed_holdout_is_not_the_sealed_one_until_it_is_sealed_anew(project: Project) -> None:
    holdout = project.layout.root / "data" / "holdout.jsonl"
    old = project.seal()
    before = holdout.read_bytes()
    holdout.write_bytes(before + b" ")
    with pytest.raises(HashMismatchError) as caught:
        project.sealed()
    assert caught.value.exit_code == 4
    holdout.write_bytes(before)
    assert project.sealed() == old.facts["digest"]
    holdout.write_bytes(before + b" ")
    new = project.seal()
    assert new.seq == 1
    assert project.sealed() == new.facts["digest"] != old.facts["digest"]
    # Back to the first holdout: that is a seal of its own, not the one of long ago.
    holdout.write_bytes(before)
    assert project.seal().seq == 2


def test_a_holdout_that_is_not_there_is_missing(project: Project) -> None:
    project.seal()
    (project.layout.root / "data" / "holdout.jsonl").unlink()
    for act in (project.seal, project.sealed):
        with pytest.raises(MissingFileError):
            act()
    assert len(project.ledger.entries()) == 1


# -- policies -------------------------------------------------------------------------------------------------------------


def test_a_policy_is_named_in_several_ways(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project.layout.root
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert project.policy_path() == root / "gates.yaml"
    assert project.policy_path("gates.bank") == root / "gates.bank.yaml"
    assert project.policy_path("gates.bank.yaml") == root / "gates.bank.yaml"
    assert project.policy_path(Path("strict.yml")) == root / "strict.yml"
    assert project.policy_path(tmp_path / "mine.yaml") == tmp_path / "mine.yaml"
    (elsewhere / "local.yaml").write_text("")
    assert project.policy_path("local.yaml").resolve() == elsewhere / "local.yaml"


def test_the_projects_own_policy_is_the_one_that_its_settings_name(project: Project) -> None:
    (project.layout.root / "distill.yaml").write_text(SETTINGS + "policy: strict.yaml\n")
    assert Project.open(project.layout.root).policy_path() == project.layout.root / "strict.yaml"


# -- models and schema ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "none", "empty", "file", "wheel:other", "https://example.org/model"])
def test_what_holds_no_model_is_refused(project: Project, name: str) -> None:
    (project.layout.root / "empty").mkdir()
    (project.layout.root / "file").write_text("")
    # The project itself is not taken for a model, whatever lies in it.
    (project.layout.root / "config.json").write_text("{}")
    for act in (project.model_directory, project.model_digest):
        with pytest.raises(BadModelError) as caught:
            act(name)
        assert caught.value.exit_code == 2


def test_a_model_is_a_directory_with_a_configuration(project: Project, tmp_path: Path) -> None:
    inside, outside = project.layout.root / "models" / "m", tmp_path / "m"
    inside.mkdir(parents=True)
    (inside / "config.json").write_text("{}")
    shutil.copytree(inside, outside)
    assert project.model_directory("models/m") == inside
    assert project.model_directory(str(outside)) == outside
    assert project.model_digest("models/m") == project.model_digest(str(outside))
    (outside / "weights").write_bytes(b"1")
    assert Project.open(project.layout.root).model_digest(str(outside)) != project.model_digest("models/m")


def test_a_project_of_free_text_has_no_answer_format(project: Project) -> None:
    assert (project.answer_schema, project.answer_document, project.format_or_none, project.free_fields) == (
        None,
        None,
        None,
        (),
    )
    with pytest.raises(BadSchemaError):
        _ = project.format
