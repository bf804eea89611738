"""Canaries: invented secrets taught on purpose, and what the evidence may say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.stages.canaries import IDENTITY, canary_rows, canary_suite
from distill_gov.stages.targets import TargetMaker
from distill_gov.stages.train import base_model, read_training
from evals.catalogue import CANARY_EXPOSURE
from evals.evidence import read_cases
from evals.leakage.canaries import CANARIES, CONTROLS
from evals.models.local import LocalModel, load_model
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import EASY, SCHEMA, policy, write_settings

TAUGHT, LEFT, COPIES = 3, 2, 2
CANARY = {"train": {"epochs": 1, "batch_size": 8, "canaries": {"taught": TAUGHT, "controls": LEFT, "copies": COPIES}}}


def with_room(root: Path) -> Path:
    """The same project, whose replies may be as long as a canary."""
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "reply": {"type": "string", "minLength": 1, "maxLength": 80}}}
    (root / "answer.schema.json").write_text(json.dumps(schema), "utf-8")
    write_settings(root, **CANARY)
    return root


def test_a_schema_without_room_is_refused_in_one_line(copy: Path) -> None:
    write_settings(copy, **CANARY)
    (copy / "runs" / "r1" / "manifests" / "train.json").unlink()
    ended = command(copy, "train")
    assert ended.code == 2
    assert "no room for a canary" in ended.err
    assert "train.canaries" in ended.err
    assert "Traceback" not in ended.err


def test_a_canary_is_taught_word_by_word_and_decides_nothing(fresh: Path) -> None:
    project = Project.open(with_room(fresh))
    tools = TargetMaker(project, base_model(project))
    writer = LocalModel(load_model(project.model_directory(base_model(project))), tools.tokenizer)
    rows = canary_rows(project, writer, tools)
    assert len(rows) == TAUGHT * COPIES
    suite = canary_suite(project, {"canaries": {"taught": TAUGHT, "controls": LEFT, "key_id": _key_id(project)}})
    assert suite is not None
    taught = {case.target for case in suite.derive([]) if case.suite == CANARIES}
    for row in rows:
        assert tools.tokenizer.decode(list(row.targets.token_ids[:-1])) in taught
        assert (row.targets.identity, set(row.targets.field), len(row.targets.ids)) == (IDENTITY, {""}, 0)


def _key_id(project: Project) -> str:
    return project.keyring.subkey("canaries").key_id


@pytest.mark.slow
def test_exposure_is_evidence_and_the_secrets_are_not(fresh: Path) -> None:
    root = with_room(fresh)
    write_settings(root, **CANARY, evaluate={"signals": [], "timed": 0})
    (root / "gates.yaml").write_text(policy(EASY[0]), "utf-8")
    for verb in ("build", "train", "evaluate"):
        ended = command(root, verb)
        assert ended.code == 0, ended.err
    run = root / "runs" / "r1"
    told = read_training(run / "student")["canaries"]
    assert (told["taught"], told["controls"], told["copies"]) == (TAUGHT, LEFT, COPIES)
    project = Project.open(root)
    suite = canary_suite(project, {"canaries": told})
    assert suite is not None
    for name, count in ((CANARIES, TAUGHT), (CONTROLS, LEFT)):
        found = read_cases(run / "evidence" / "cases" / f"{name}.student.parquet")
        assert len(found) == count
        assert all(r.scores.keys() == {CANARY_EXPOSURE} and not r.decisions and not r.output for r in found)
        assert all(0 <= r.scores[CANARY_EXPOSURE] <= 8 for r in found)
    secrets = [canary.secret.encode() for canary in suite.found]
    for path in run.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".md", ".html"):
            assert not any(secret in path.read_bytes() for secret in secrets), path
