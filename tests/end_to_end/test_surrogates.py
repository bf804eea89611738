"""A project whose policy puts surrogates, masks, hashes and encrypted values in the place of values, and keeps a vault."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from distill_gov.project import Project
from distill_gov.records.files import read_parquet
from distill_gov.records.ledger import Ledger
from distill_gov.stages.suites import as_cases
from distill_gov.teaching_set.examples import read_examples
from distill_gov.traces import read_traces
from redaction import Vault
from redaction.findings import FINDING_FORMAT
from redaction.operators.stand_ins import item_scope
from redaction.redactor import UNREDACTED
from tests.end_to_end.commands import command
from tests.end_to_end.decoding import decoded, holds
from tests.end_to_end.tiny_project import PLANTED, files, write_jsonl

OPERATORS = ("surrogate", "mask", "hash", "encrypt")
VALUE = "d.okaforsky@example.org"


@pytest.fixture(scope="module")
def built(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after its build; answers come with the traces and repeat the value of their message."""
    root = tmp_path_factory.mktemp("surrogates") / "project"
    shutil.copytree(sealed, root)
    policy = yaml.safe_load((root / "redaction.yaml").read_text("utf-8"))
    for number, entity in enumerate(sorted(policy["entities"])):
        policy["entities"][entity] = {"operator": OPERATORS[number % 2 * 2]}
    for entity, operator in (
        ("PERSON", "surrogate"),
        ("EMAIL", "surrogate"),
        ("CARD", "mask"),
        ("IBAN", "encrypt"),
        ("PHONE", "hash"),
    ):
        policy["entities"][entity] = {"operator": operator}
    policy["filters"]["answers"] = {"residual": True, "secrets": True}
    policy["vault"] = {"enabled": True}
    (root / "redaction.yaml").write_text(yaml.safe_dump(policy), "utf-8")
    settings = yaml.safe_load((root / "distill.yaml").read_text("utf-8"))
    settings["teacher"] = {"kind": "recorded", "licence": "invented", "revision": "0", "terms_accepted_by": "nobody"}
    settings["answer_schema"] = ""
    (root / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    rows = files()["teaching"]
    for number, row in enumerate(rows):
        row["messages"].append({"role": "assistant", "content": f"We look at it, case {number}. {_repeated(row)}"})
    write_jsonl(root / "data" / "teaching.jsonl", rows)
    ended = command(root, "build")
    assert ended.code == 0, ended.err
    return root


def _repeated(row: dict[str, object]) -> str:
    text = json.dumps(row["messages"], ensure_ascii=False)
    return next(
        (f"Dear {p.value}." if p.entity == "PERSON" else f"{p.sentence.format(p.value)}." for p in PLANTED if p.value in text),
        "",
    )


def test_every_example_is_kept_and_no_value_is_left(built: Path) -> None:
    run = built / "runs" / "r1"
    examples = read_examples(run / "teaching" / "examples.parquet")
    texts = [m["content"] for e in examples for m in e.messages] + [e.answer for e in examples]
    assert any(re.search(r"\w+\.\w+\d\d@example\.(com|net|org)", text) for text in texts)
    for needle in ("<IBAN:enc:", "<PHONE:", "****-****-****-****"):
        assert any(needle in text for text in texts), needle
    dropped = [d for d in read_parquet(run / "teaching" / "decisions.parquet", format="decisions") if "residual" in d["reason"]]
    assert dropped == []
    for path in (p for p in run.rglob("*") if p.is_file()):
        whole = "\n".join(decoded(path))
        for planted in PLANTED:
            assert not any(holds(whole, needle) for needle in planted.needles), f"{planted.entity} in {path.name}"


def test_the_prompt_and_its_answer_share_the_stand_in(built: Path) -> None:
    shared = [
        stand_in
        for e in read_examples(built / "runs" / "r1" / "teaching" / "examples.parquet")
        for stand_in in re.findall(r"[\w.]+@example\.\w+|<[A-Z_]+:[^>]+>", e.answer)
        if stand_in in e.messages[0]["content"]
    ]
    assert len(shared) >= 3


def test_findings_say_the_operator(built: Path) -> None:
    rows = read_parquet(built / "runs" / "r1" / "teaching" / "findings.parquet", format=FINDING_FORMAT)
    assert {row["action"] for row in rows} == set(OPERATORS)


def test_a_reply_that_repeats_a_surrogate_is_stored_as_it_is(built: Path) -> None:
    from distill_gov.stages.detections import Detections

    project = Project.open(built)
    rows = [t for t in read_traces(built / "data" / "dev.jsonl") if VALUE in t.messages[0]["content"]][:1]
    [case] = as_cases(project, "dev", rows)
    [address] = [s for s in case.stand_ins if "@" in s]
    chat = [*case.messages, {"role": "assistant", "content": f"we write to {address} and not to a@example.org"}]
    stored = Detections(project.redactor).last_redacted(chat, item=case.id, stand_ins=case.stand_ins)
    assert stored.startswith(f"we write to {address} and not to ")
    assert "a@example.org" not in stored


def test_values_come_back_on_the_command_line(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = next(t for t in read_traces(built / "data" / "teaching.jsonl") if VALUE in t.messages[0]["content"])
    example = next(e for e in read_examples(built / "runs" / "r1" / "teaching" / "examples.parquet") if e.trace == trace.id)
    text = built / "text.txt"
    text.write_text(example.messages[0]["content"], "utf-8")
    before = len(Ledger(built / "ledger.jsonl").find(UNREDACTED))
    asked = ["unredact", str(text), "--item", trace.id, "--actor", "privacy officer"]
    assert command(built, *asked, "--reason", "").code == 2
    assert command(built, *asked).code == 2
    assert command(built, *asked[:-2], "--reason", "x").code == 2
    assert command(built, *asked[:-1], " ", "--reason", "access request").code == 2
    assert len(Ledger(built / "ledger.jsonl").find(UNREDACTED)) == before
    ended = command(built, *asked, "--reason", "access request 12")
    assert (ended.code, ended.out) == (0, trace.messages[0]["content"])
    assert "ledger head" in ended.err
    [entry] = Ledger(built / "ledger.jsonl").find(UNREDACTED)[before:]
    assert (entry.actor, entry.facts["item"], entry.facts["reason"]) == ("privacy officer", trace.id, "access request 12")
    assert VALUE not in (built / "ledger.jsonl").read_text("utf-8")
    other = command(built, *asked[:2], "--actor", "privacy officer", "--reason", "access request", "--json")
    assert (other.code, VALUE in other.out + other.err) == (2, False)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert "not UTF-8" in command(built, "unredact", "-", "--actor", "a", "--reason", "b").error
    assert command(built, "unredact", str(built / "none.txt"), "--actor", "a", "--reason", "b").code == 2


def test_a_purged_trace_is_forgotten_by_the_vault(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(built, root)
    trace = next(t for t in read_traces(root / "data" / "teaching.jsonl") if VALUE in t.messages[0]["content"])
    vault = Vault(root / ".distill-gov" / "vault", Project.open(root).keyring)
    files = [path for path in vault.root.rglob("*") if path.is_file()]
    assert vault.path(item_scope(trace.id)) in files
    ended = command(root, "purge", "--subject", trace.id, "--reason", "erasure request", "--actor", "privacy-officer")
    assert ended.code == 0, ended.err
    assert not vault.path(item_scope(trace.id)).exists()
    assert len([path for path in vault.root.rglob("*") if path.is_file()]) == len(files) - 1
