"""`train` with everything that an objective can ask for beside the six terms of every run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.stages.train import read_training
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import write_settings

NOTHING = dict.fromkeys(("soft_decisions", "soft_text", "hard_decisions", "hard_text", "calibration", "format"), 0)
STAGES = [
    {"name": "align", "losses": {**NOTHING, "soft_decisions": 1.0, "soft_text": {"start": 1.0, "end": 0.2}, "format": 0.5}},
    {"name": "hints", "losses": {**NOTHING, "hints": 1.0, "contrastive": 0.1, "confidence_penalty": 0.1, "hard_text": 1.0}},
    {"name": "own", "losses": {**NOTHING, "unlikelihood": 1.0, "own_answers": 5, "hard_text": 1.0}},
    {"name": "gold", "examples": "gold", "losses": {**NOTHING, "hard_decisions": 1.0, "hard_text": 1.0}},
]


def untrained(root: Path, train: dict[str, Any], **more: Any) -> Path:
    """The finished project, built but not trained, with other settings for the training."""
    write_settings(root, **more)
    settings = yaml.safe_load((root / "distill.yaml").read_text("utf-8"))
    (root / "distill.yaml").write_text(yaml.safe_dump({**settings, "train": {"batch_size": 8, **train}}), "utf-8")
    (root / "runs/r1/manifests/train.json").unlink()
    return root


def short_gold(root: Path) -> None:
    """The gold replies as short as the schema has them; its own are too long to be an answer."""
    path = root / "data/gold.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row in rows:
        row["reference"]["reply"] = row["reference"]["reply"][:12].strip()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


@pytest.mark.parametrize("soft", ["cached", "online"])
def test_every_stage_is_logged_with_its_own_terms(copy: Path, soft: str) -> None:
    short_gold(copy)
    ended = command(untrained(copy, {"soft": soft, "stages": STAGES}), "train")
    assert ended.code == 0, ended.err
    logged: dict[str, set[str]] = {}
    for row in read_training(copy / "runs/r1/student")["losses"]:
        logged.setdefault(row["stage"], set()).update(name for name in row if "." not in name)
    about = {"stage", "step", "loss"}
    assert logged == {
        "align": about | {"soft_decisions", "soft_text", "format"},
        "hints": about | {"hints", "contrastive", "confidence_penalty", "hard_text"},
        "own": about | {"unlikelihood", "hard_text"},
        "gold": about | {"hard_decisions", "hard_text"},
    }


def test_a_gold_answer_that_is_none_is_named(copy: Path) -> None:
    ended = command(untrained(copy, {"stages": [STAGES[-1]]}), "train")
    assert ended.code == 2
    assert "does not fit the schema" in ended.error
    assert "gold.jsonl" in ended.error


def test_a_stage_without_examples_is_one_line(copy: Path) -> None:
    stages = [{"name": "domain", "examples": "references", "losses": {**NOTHING, "hard_text": 1.0}}]
    ended = command(untrained(copy, {"stages": stages}), "train")
    assert ended.code == 2
    assert "no example is of `references`" in ended.error
    assert "stage `domain`" in ended.error
    assert "Traceback" not in ended.err


def test_stages_and_losses_beside_each_other_are_refused(copy: Path) -> None:
    ended = command(untrained(copy, {"stages": STAGES, "epochs": 3}), "train")
    assert ended.code == 2
    assert "take them out of `train`" in ended.error
