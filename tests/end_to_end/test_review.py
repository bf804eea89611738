"""``build --review``: training waits for people who looked at redacted rows, and for what they found."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.records.files import read_json, read_parquet
from tests.end_to_end.commands import command
from tests.end_to_end.decoding import decoded
from tests.end_to_end.tiny_project import PLANTED

ROLE = ("--reviewer", "privacy-officer")


def answers(root: Path, file: Path, reject: Mapping[int, str] | None = None, **changes: Any) -> Path:
    """Answer every row of a run's packet; ``reject`` gives reasons by the row's place."""
    facts = json.loads((root / "runs/r1/manifests/build.json").read_text("utf-8"))["facts"]["review"]
    rows = []
    for number, row in enumerate(facts["rows"]):
        reason = (reject or {}).get(number, "")
        decision = "reject" if reason else "accept"
        rows.append({"packet": facts["packet"], "row": row, "decision": decision, "reason": reason, **changes})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def ask_for_a_review(root: Path, **policy: Any) -> None:
    path = root / "redaction.yaml"
    settings = yaml.safe_load(path.read_text("utf-8"))
    settings["review"] = policy
    path.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")


@pytest.fixture(scope="module")
def built(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose policy requires a review, built. Not to be changed."""
    import shutil

    root = tmp_path_factory.mktemp("reviewed") / "project"
    shutil.copytree(sealed, root)
    ask_for_a_review(root, required=True, rows=6, min_rows=6, max_reject_rate=0.2)
    assert command(root, "build").code == 0
    return root


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    import shutil

    root = tmp_path / "project"
    shutil.copytree(built, root)
    return root


def test_a_packet_shows_redacted_rows_and_who_redacted_them(built: Path) -> None:
    packet = read_json(built / "runs/r1/review/packet.json", format="review-packet")
    examples = read_parquet(built / "runs/r1/teaching/examples.parquet", format="examples")
    texts = {row["messages"][0]["content"] for row in examples}
    assert len(packet["rows"]) >= 6
    assert {row["messages"][0]["content"] for row in packet["rows"]} <= texts
    assert any(
        found["entity"] and found["rule"] and found["place"] == "message 1" for row in packet["rows"] for found in row["found"]
    )
    assert not any(row["id"] in text for row in examples for text in decoded(built / "runs/r1/review/packet.json"))
    for name in ("packet.json", "page.html"):
        said = "\n".join(decoded(built / "runs/r1/review" / name))
        assert not any(needle in said for planted in PLANTED for needle in planted.needles)
    page = (built / "runs/r1/review/page.html").read_text("utf-8")
    assert len(re.findall(r"'sha256-[\w+/=]{44}'", page)) == 2
    assert command(built, "verify").code == 0


def test_training_waits_for_the_answers(out: Path, tmp_path: Path) -> None:
    ended = command(out, "train")
    assert (ended.code, "no answer came in" in ended.error) == (2, True)
    ended = command(out, "review", "import", str(answers(out, tmp_path / "a.jsonl")), *ROLE)
    assert (ended.code, "0 of " in ended.out) == (0, True), ended.err
    assert command(out, "verify").code == 0
    assert command(out, "train").code == 0
    # What was reviewed stays reviewed: neither other answers nor another sample.
    other = command(out, "review", "import", str(answers(out, tmp_path / "b.jsonl", {0: "other"})), *ROLE)
    assert (other.code, "another `answers`" in other.error) == (2, True)
    assert command(out, "build", "--review", "9").code == 2
    assert command(out, "build").code == 0


def test_too_many_rejected_rows_block_training(out: Path, tmp_path: Path) -> None:
    file = answers(out, tmp_path / "a.jsonl", {0: "personal_data", 1: "personal_data", 2: "wrong_answer"})
    ended = command(out, "review", "import", str(file), *ROLE, "--json")
    assert (ended.code, ended.json["passed"], ended.json["reasons"]) == (0, False, {"personal_data": 2, "wrong_answer": 1})
    ended = command(out, "train")
    assert (ended.code, "training is blocked by the review: 3 of " in ended.error) == (1, True)
    kept = out / "runs/r1/review/responses/answers.jsonl"
    kept.write_text(kept.read_text("utf-8").replace("reject", "accept").replace("wrong_answer", ""), "utf-8")
    assert command(out, "train").code == 4, "answers were changed after they were imported"
    assert not (out / "runs/r1/student").exists()


def test_a_forged_manifest_of_a_review_is_noticed(out: Path, tmp_path: Path) -> None:
    assert command(out, "review", "import", str(answers(out, tmp_path / "a.jsonl")), *ROLE).code == 0
    path = out / "runs/r1/manifests/review.json"
    path.write_text(path.read_text("utf-8").replace("privacy-officer", "somebody-else"), "utf-8")
    assert command(out, "train").code == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"packet": "sha256:0"}, "another packet"),
        ({"row": "0" * 16}, "not in the packet"),
        ({"decision": "maybe"}, "accept or reject"),
        ({"decision": "reject"}, "must be one of personal_data"),
        ({"reason": "personal_data"}, "must be one of personal_data"),
        ({"comment": "Saoirse Brennigan"}, "has the keys"),
    ],
)
def test_answers_that_do_not_fit_are_refused_with_their_line(
    out: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    file = answers(out, tmp_path / "a.jsonl", **changes)
    ended = command(out, "review", "import", str(file), *ROLE)
    assert (ended.code, told in ended.error, f"{file}:1" in ended.error) == (2, True, True)
    assert "Brennigan" not in ended.err
    assert not (out / "runs/r1/manifests/review.json").exists()


def test_every_row_needs_one_answer(out: Path, tmp_path: Path) -> None:
    file = answers(out, tmp_path / "a.jsonl")
    lines = file.read_text("utf-8").splitlines(keepends=True)
    for text, told in (("".join(lines[1:]), "1 rows have no answer"), ("".join([*lines, lines[0]]), "a second time")):
        file.write_text(text, "utf-8")
        ended = command(out, "review", "import", str(file), *ROLE)
        assert (ended.code, told in ended.error) == (2, True)


def test_a_build_without_a_review_cannot_be_trained_where_one_is_required(copy: Path) -> None:
    ask_for_a_review(copy, required=True)
    (copy / "runs/r1/manifests/train.json").unlink()
    ended = command(copy, "train")
    assert (ended.code, "requires a review" in ended.error) == (2, True)


def test_a_purge_takes_a_packet_that_shows_the_trace(out: Path, tmp_path: Path) -> None:
    packet = read_json(out / "runs/r1/review/packet.json", format="review-packet")
    examples = read_parquet(out / "runs/r1/teaching/examples.parquet", format="examples")
    shown = {row["messages"][0]["content"] for row in packet["rows"]}
    name, text = next((e["trace"], e["messages"][0]["content"]) for e in examples if e["messages"][0]["content"] in shown)
    assert command(out, "purge", "--subject", name, "--actor", "privacy-officer", "--reason", "asked").code == 0
    assert not any(text in found for p in (out / "runs").rglob("*") if p.is_file() for found in decoded(p))
    # The reviewer who has the page can still send it back.
    assert command(out, "review", "import", str(answers(out, tmp_path / "a.jsonl")), *ROLE).code == 0
    assert command(out, "verify").code == 0
