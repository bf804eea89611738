"""A student that was trained elsewhere, and a teacher whose answers are already in the traces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from distill_gov.records.files import read_parquet
from tests.end_to_end.commands import command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.tiny_project import EASY, files, gate, policy, redaction_yaml, write_jsonl


@pytest.fixture
def elsewhere(fresh: Path, finished: Finished) -> Path:
    """A project with somebody else's Hugging Face directory in the place of the student."""
    student = fresh / "runs" / "ext" / "student"
    shutil.copytree(finished.run / "student", student)
    (student / "training.json").unlink()
    return fresh


def test_a_student_trained_elsewhere_is_gated_all_the_same(elsewhere: Path) -> None:
    (elsewhere / "gates.yaml").write_text(policy(EASY[0], EASY[2], requires=["evaluate"]), "utf-8")
    (elsewhere / "gates.made.yaml").write_text(policy(EASY[0]), "utf-8")
    (elsewhere / "gates.compared.yaml").write_text(policy(EASY[0], EASY[1], requires=[]), "utf-8")
    assert command(elsewhere, "evaluate", "--run", "ext").code == 0
    ended = command(elsewhere, "gate", "--run", "ext", "--json")
    assert (ended.code, ended.json["decision"]) == (0, "PASSED")
    # A policy that wants to know how it was made does not let it pass, and neither does one that compares it with a teacher.
    made = command(elsewhere, "gate", "--run", "ext", "--policy", "gates.made", "--json")
    open_gates = {o["gate"] for o in made.json["outcomes"] if o["outcome"] == "INCONCLUSIVE"}
    assert (made.code, open_gates) == (3, {"requires.build", "requires.train"})
    compared = command(elsewhere, "gate", "--run", "ext", "--policy", "gates.compared", "--json")
    open_gates = {o["gate"] for o in compared.json["outcomes"] if o["outcome"] == "INCONCLUSIVE"}
    assert (compared.code, open_gates) == (3, {"intent_not_inferior"})
    assert command(elsewhere, "report", "--run", "ext").code == 0
    assert command(elsewhere, "verify", "--run", "ext").code == 0
    assert command(elsewhere, "promote", "--run", "ext").code == 0
    weights = elsewhere / "runs" / "ext" / "student" / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    verified = command(elsewhere, "verify", "--run", "ext")
    assert (verified.code, verified.out.splitlines()[0]) == (4, "changed: student")
    assert command(elsewhere, "promote", "--run", "ext").code == 4


def test_answers_that_the_traces_carry_are_taught(fresh: Path) -> None:
    """Free text, no schema, no teacher that runs."""
    replies = ("We look at it.", "Please say more about it.", "A person will call you.", "That is a pity.")
    rows = files()
    for name in ("teaching", "holdout"):
        for number, row in enumerate(rows[name]):
            row["messages"].append({"role": "assistant", "content": f"{replies[number % 4]} Thank you."})
            row.pop("reference", None)
    rows["holdout"] += [{**row, "id": f"{row['id']}-b", "group": f"{row['group']}-b"} for row in rows["holdout"]]
    for name in ("teaching", "holdout"):
        write_jsonl(fresh / "data" / f"{name}.jsonl", rows[name])
    settings = yaml.safe_load((fresh / "distill.yaml").read_text("utf-8"))
    for key in ("answer_schema", "dev", "gold", "suites"):
        del settings[key]
    settings["teacher"] = {"kind": "recorded", "licence": "invented", "revision": "", "terms_accepted_by": ""}
    settings["student"] = {"base": "models/teacher", "layers": 1, "max_tokens": 8}
    settings["evaluate"] |= {"decoding": "free"}
    (fresh / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    (fresh / "redaction.yaml").write_text(redaction_yaml(), "utf-8")
    for other in fresh.glob("gates.*.yaml"):
        other.unlink()
    (fresh / "gates.yaml").write_text(policy(gate("leaks", "pii_leak_rate", "holdout", "at_most", 0.99, min_n=60)), "utf-8")
    assert command(fresh, "seal").code == 0
    ended = command(fresh, "run", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["outcomes"][0]["measurement"]["n_scored"] == 60
    examples = read_parquet(fresh / "runs/r1/teaching/examples.parquet", format="examples")
    assert {e["answer"].removesuffix(" Thank you.") for e in examples} == set(replies)
    assert all(m["role"] == "user" for e in examples for m in e["messages"])
    assert not (fresh / "runs/r1/teaching/soft_targets").exists()
    assert json.loads((fresh / "runs/r1/manifests/train.json").read_text("utf-8"))["counts"]["examples"] == len(examples) > 15
    assert command(fresh, "verify").code == 0
