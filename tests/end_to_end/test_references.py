"""Teaching traces that carry the right answer, or its labels: they are taught, and the teacher's doubts beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path

from distill_gov.records.files import read_parquet
from distill_gov.records.manifest import read_manifest
from distill_gov.teachers.target_store import read_soft_targets
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import INTENTS, SCHEMA, files, trace, write_jsonl

LABELS = {"t-000": {"intent": "status", "action": "refuse"}, "t-003": {"intent": "other", "action": "escalate"}}
WHOLE = {"t-005": {"intent": "refund", "action": "ask", "reply": "which one"}}


def _taught(root: Path) -> Path:
    rows = files()["teaching"]
    for row in rows:
        if row["id"] in LABELS | WHOLE:
            row["reference"] = (LABELS | WHOLE)[row["id"]]
    write_jsonl(root / "data" / "teaching.jsonl", rows)
    assert command(root, "build").code == 0
    return root / "runs" / "r1"


def test_references_are_taught_and_scored_by_the_teacher(fresh: Path) -> None:
    run = _taught(fresh)
    examples = {e["trace"]: e for e in read_parquet(run / "teaching" / "examples.parquet", format="examples")}
    for name, reference in (LABELS | WHOLE).items():
        answer = json.loads(examples[name]["answer"])
        assert examples[name]["answer_source"] == "reference"
        assert {key: answer[key] for key in reference} == reference
        assert answer["reply"], "what the reference leaves open the teacher writes"
    assert {e["answer_source"] for e in examples.values()} == {"teacher", "reference"}
    built = read_manifest(run / "manifests" / "build.json")
    assert built.facts["answer_source"]["reference"] == 3
    assert built.facts["aligned_on"] == 12 + 3, "dev and the references"
    told = (run / "teaching" / "datasheet.md").read_text("utf-8")
    assert "a reference's in 3; the teacher was aligned on 15 labelled messages" in told
    targets = read_soft_targets(run / "teaching" / "soft_targets", {})
    for name, reference in (LABELS | WHOLE).items():
        target = targets[f"{name}/0"]
        decided = {field: i for i, field in enumerate(target.field) if field}
        assert set(decided) == {"intent", "action"}
        for field, place in decided.items():
            labels = SCHEMA["properties"][field]["enum"]
            ids, logp = (part.tolist() for part in target.support_at(place))
            assert len(ids) == len(labels)
            assert math.fsum(map(math.exp, logp)) < 1 + 1e-6
            # The text is the reference's, whatever the teacher thinks of it.
            assert target.token_ids[place] == ids[labels.index(reference[field])]
    assert command(fresh, "train").code == 0


def test_a_reference_that_does_not_fit_the_schema_is_refused(fresh: Path) -> None:
    for reference in ({"intent": INTENTS[0]}, {"intent": INTENTS[0], "action": "ask", "mood": "bad"}):
        write_jsonl(fresh / "data" / "teaching.jsonl", [*files()["teaching"], trace("t-901", "hello", reference=reference)])
        ended = command(fresh, "build")
        assert ended.code == 2
        assert "`t-901` does not fit the answer schema" in ended.error
    wrong = {"intent": "nonsense", "action": "ask"}
    write_jsonl(fresh / "data" / "teaching.jsonl", [*files()["teaching"], trace("t-901", "hello", reference=wrong)])
    ended = command(fresh, "build")
    assert (ended.code, "label" in ended.error) == (2, True)
