"""A project that ``init`` made of somebody's own files runs to a verdict; only its model is a tiny one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from distill_gov.records.files import read_parquet
from gates.verdict import read_verdict
from tests import tiny
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import REPLIES, files

TEXTS = [row["messages"][0]["content"] for name in ("teaching", "holdout") for row in files()[name]]
INTENTS = ("refund", "status", "other")


def free_text(path: Path) -> tuple[str, ...]:
    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"{REPLIES[n % 4]}, case {n}"}]}
        for n, text in enumerate(TEXTS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return ()


def structured(path: Path) -> tuple[str, ...]:
    answers = [json.dumps({"intent": INTENTS[n % 3], "reply": f"{REPLIES[n % 4]}, case {n}"}) for n in range(len(TEXTS))]
    rows = [{"prompt": text, "completion": answer} for text, answer in zip(TEXTS, answers, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return ()


def labelled(path: Path) -> tuple[str, ...]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "intent"), *((text, INTENTS[n % 3]) for n, text in enumerate(TEXTS))])
    return ("--label", "intent")


@pytest.mark.parametrize(
    ("make", "gates"),
    [
        (free_text, {"pii_in_replies", "helpfulness_not_inferior", "rater_agreement"}),
        pytest.param(
            structured,
            {"schema_valid", "pii_in_replies", "helpfulness_not_inferior", "rater_agreement"},
            marks=pytest.mark.slow,
        ),
        (labelled, {"accuracy_intent", "schema_valid"}),
    ],
)
def test_a_project_on_own_chats_runs_to_a_verdict(
    tmp_path: Path, make: Callable[[Path], tuple[str, ...]], gates: set[str]
) -> None:
    source, root = tmp_path / "yours", tmp_path / "mydesk"
    options = make(source)
    assert command(tmp_path, "init", "mydesk", "--from", str(source), *options).code == 0
    tiny.save(root / "models" / "tiny", layers=6)
    settings = (root / "distill.yaml").read_text("utf-8")
    assert "base: wheel:smollm2 " in settings
    (root / "distill.yaml").write_text(settings.replace("wheel:smollm2", "models/tiny") + "workers: 0\n", "utf-8")
    assert "✗" not in command(root, "doctor").out
    assert command(root, "seal").code == 0
    ended = command(root, "run")
    assert ended.code in (1, 3), ended.err
    verdict = read_verdict(root / "runs/r1/verdicts/gates.json")
    assert (verdict.decision, {o.gate for o in verdict.outcomes}) == ("BLOCKED", gates)
    assert not [o for o in verdict.outcomes if o.outcome == "ERROR"]
    assert len(read_parquet(root / "runs/r1/teaching/examples.parquet", format="examples")) > 20
    assert "NOT RELIABLE" not in (root / "runs/r1/pages/report.html").read_text("utf-8")
    assert command(root, "verify").code == 0
