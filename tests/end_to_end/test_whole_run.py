"""The whole way by the commands a user types, on a random model."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.records.books import Decision, balance
from distill_gov.records.errors import NotSealedError
from distill_gov.records.files import read_parquet
from distill_gov.records.manifest import read_manifest
from distill_gov.stages.build import STAGES
from gates.verdict import read_verdict
from tests.end_to_end.commands import command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.content import said
from tests.end_to_end.tiny_project import EASY, files, make_project, write_jsonl, write_settings


def test_run_ends_with_the_code_of_its_gate(finished: Finished) -> None:
    assert finished.ended.code == 0
    assert "PASSED" in finished.ended.out
    assert "ledger head sha256:" in finished.ended.out
    page = (finished.run / "pages" / "report.html").read_text("utf-8")
    assert len(page) > 10_000
    # The page checks all that it reads; what the stages write must be what it expects.
    assert "NOT RELIABLE" not in page
    verdict = read_verdict(finished.run / "verdicts" / "gates.json")
    assert verdict.decision == "PASSED"
    assert {o.gate for o in verdict.outcomes} == {gate["id"] for gate in EASY}


def test_another_policy_judges_the_same_run_by_its_own_limits(copy: Path) -> None:
    before = said(copy / "runs" / "r1")
    strict = command(copy, "gate", "--policy", "gates.strict", "--json")
    large = command(copy, "gate", "--policy", "gates.large", "--json")
    assert (strict.code, large.code) == (1, 3)
    assert (strict.json["exit"], large.json["exit"]) == (1, 3)
    assert {o["gate"]: o["outcome"] for o in strict.json["outcomes"]}["exact_match"] == "FAIL"
    valid = next(o for o in large.json["outcomes"] if o["gate"] == "schema_valid")
    assert (valid["outcome"], valid["code"], valid["needed_n"]) == ("INCONCLUSIVE", "n_too_small", 500)
    after = said(copy / "runs" / "r1")
    assert {name: after[name] for name in before} == before
    assert command(copy, "verify").code == 0


def test_a_second_time_every_stage_does_nothing(copy: Path) -> None:
    run = copy / "runs" / "r1"
    before = {p: p.read_bytes() for p in (*(run / "manifests").iterdir(), *(run / "verdicts").iterdir(), copy / "ledger.jsonl")}
    for stage in ("seal", "build", "train", "evaluate", "gate"):
        assert command(copy, stage).code == 0, stage
    assert {p: p.read_bytes() for p in before} == before
    assert command(copy, "verify").code == 0


def test_the_books_balance_from_the_first_trace_to_the_last_answer(finished: Finished) -> None:
    decisions = [Decision(**row) for row in read_parquet(finished.run / "teaching" / "decisions.parquet", format="decisions")]
    lines = balance(decisions, STAGES, 25)
    assert lines[0].dropped == 1
    for before, after in itertools.pairwise(lines):
        assert after.came_in == before.kept
    assert lines[-1].kept == read_manifest(finished.run / "manifests" / "build.json").counts["examples"] > 15


def test_the_student_is_a_plain_hugging_face_directory(finished: Finished) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(finished.run / "student")
    tokenizer = AutoTokenizer.from_pretrained(finished.run / "student")
    assert model.config.num_hidden_layers == 2
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False, add_generation_prompt=True)
    assert "system" not in chat
    assert chat.endswith(tokenizer.bos_token)


def test_what_must_be_logged_stands_before_what_it_allows(finished: Finished) -> None:
    events = [entry.event for entry in Project.open(finished.root).ledger.entries()]
    assert events[0] == "holdout.sealed"
    done = [i for i, event in enumerate(events) if event == "stage.done"]
    opened = [i for i, event in enumerate(events) if event == "holdout.opened"]
    assert len(done) == 3
    assert opened[0] < done[0]
    assert events.index("requests.registered") < opened[1] < done[2]
    assert events.index("student.measured") < opened[1]
    assert events[-1] == "verdict"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_another_name_in_another_process_gives_the_same_results(finished: Finished, fresh: Path, workers: int) -> None:
    """Nothing is cached here: the teacher's work, the training and every answer are made anew."""
    write_settings(fresh, workers=workers)
    program = Path(sys.executable).with_name("distill-gov")
    done = subprocess.run(
        [str(program), "run", "--run", "again", "-C", str(fresh), "--json"],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decision"] == "PASSED"
    again, first = said(fresh / "runs" / "again"), said(finished.run)
    assert again.keys() == first.keys()
    for name in first:
        assert again[name] == first[name], name


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", [["untrained", "mislabelled", "leaky"], pytest.param(["overconfident", "worse_rated"], marks=pytest.mark.slow)]
)
def test_every_control_is_measured_and_judged(fresh: Path, names: list[str]) -> None:
    write_settings(fresh, evaluate={"controls": names, "timed": 0}, suites={})
    write_jsonl(fresh / "data" / "holdout.jsonl", files()["holdout"][:10])
    assert command(fresh, "seal").code == 0
    assert command(fresh, "run").code == 3, "ten cases are too few"
    run = fresh / "runs" / "r1"
    subjects = {name: command(fresh, "gate", "--subject", name, "--json").json for name in ("student", *names)}
    assert {name: verdict["subject_name"] for name, verdict in subjects.items()} == {name: name for name in subjects}
    assert len({verdict["subject"] for verdict in subjects.values()}) == len(subjects)
    assert all((run / "verdicts" / f"gates.{name}.json").exists() for name in names)
    assert command(fresh, "verify").code == 0


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_stage_without_the_one_before_it_says_what_to_run(fresh: Path, stage: str) -> None:
    ended = command(fresh, stage)
    assert ended.code == 2
    assert "Run `distill-gov" in ended.error
    assert not (fresh / "runs").exists() or not list((fresh / "runs").rglob("*.json"))


def test_gate_without_evidence_is_inconclusive_and_never_passes(fresh: Path) -> None:
    ended = command(fresh, "gate", "--json")
    assert ended.code == 3
    assert ended.json["decision"] == "BLOCKED"
    assert {o["outcome"] for o in ended.json["outcomes"]} == {"INCONCLUSIVE"}
    shutil.rmtree(fresh / "runs")


def test_a_run_that_fails_leaves_a_report_of_how_far_it_came(fresh: Path) -> None:
    write_settings(fresh, student={"layers": 99})
    ended = command(fresh, "run")
    assert (ended.code, "cannot be cut" in ended.error) == (2, True)
    page = (fresh / "runs/r1/pages/report.html").read_text("utf-8")
    assert str(fresh / "runs/r1/pages/report.html") in ended.err
    assert "answer filters" in page.casefold().replace("_", " "), "what was built is shown"
    assert not (fresh / "runs/r1/student").exists()
    write_settings(fresh)
    assert command(fresh, "run").code == 0, "and it goes on from there"


def test_a_run_that_never_began_is_reported_too(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    with pytest.raises(NotSealedError):
        Project.open(root).run("r1").everything()
    assert (root / "runs/r1/pages/report.html").stat().st_size > 1000
