"""Whatever happens to the evidence of a run that passed, it does not pass any more, and a line names the file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.records.digest import digest_file
from distill_gov.records.manifest import StageManifest, hash_outputs, read_manifest, write_manifest
from distill_gov.stages.settled import anchor
from evals.evidence import CaseResult, read_cases, write_cases
from tests.end_to_end.commands import Ended, command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.raters import rate
from tests.end_to_end.tiny_project import write_settings

FOREIGN = "sha256:" + "9" * 64
Damage = Callable[[Path], object]


@contextmanager
def damaged(path: Path, damage: Damage) -> Iterator[None]:
    """A file as the damage leaves it; restored afterwards."""
    before = path.read_bytes()
    damage(path)
    try:
        yield
    finally:
        path.write_bytes(before)


def with_nan(path: Path) -> None:
    if path.suffix == ".parquet" and "cases" in path.parts:
        write_cases(path, [replace(r, scores=dict.fromkeys(r.scores, float("nan"))) for r in read_cases(path)])
    else:
        path.write_bytes(path.read_bytes().replace(b"1", b"NaN", 1))


def foreign(path: Path) -> None:
    """The same kind of file, of another subject."""
    if path.suffix == ".parquet" and "cases" in path.parts:
        write_cases(path, [replace(r, subject=FOREIGN) for r in read_cases(path)])
    else:
        path.write_bytes(path.read_bytes().replace(b"sha256:", b"sha256:0", 1) + b"\n")


DAMAGES: dict[str, Damage] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "NaN": with_nan,
    "foreign": foreign,
}


def evidence(root: Path) -> list[Path]:
    run = root / "runs" / "r1"
    return sorted([*(run / "evidence" / "cases").iterdir(), run / "evidence" / "subjects.json", *(run / "manifests").iterdir()])


@pytest.mark.parametrize("kind", DAMAGES)
def test_no_damage_to_a_file_of_evidence_passes(copy: Path, kind: str) -> None:
    assert len(evidence(copy)) == 17
    for path in evidence(copy):
        name = path.relative_to(copy / "runs" / "r1").as_posix()
        with damaged(path, DAMAGES[kind]):
            gated, verified = command(copy, "gate", "--json"), command(copy, "verify")
            promoted = command(copy, "promote")
        assert gated.code in (2, 3, 4), (name, gated)
        assert gated.json.get("decision") != "PASSED", name
        if "cases" in path.parts:
            assert gated.code == 4, (name, gated)
        said = gated.err + gated.out
        assert path.name in said or path.stem in said, (name, said)
        assert verified.code in (2, 4), (name, verified)
        assert path.name in verified.out + verified.err or path.stem in verified.out + verified.err, (name, verified)
        assert promoted.code in (2, 4), (name, promoted)
        assert not (copy / "registry" / "aliases.json").exists()
    assert command(copy, "gate").code == 0, "restored, it passes again"


@pytest.fixture(scope="session")
def rated_once(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose own policy asks for people's ratings, and got them. Not to be changed."""
    root = tmp_path_factory.mktemp("rated") / "project"
    shutil.copytree(finished.root, root)
    write_settings(root, policy="gates.rated.yaml")
    assert command(root, "ratings", "export", "--rater", "anna", "--rater", "bert").code == 0
    answers = rate(root / "runs" / "r1", root.parent / "answers")
    assert command(root, "ratings", "import", *map(str, answers)).code == 0
    assert command(root, "gate").code == 0
    return root


@pytest.fixture
def rated(rated_once: Path, tmp_path: Path) -> Path:
    root = tmp_path / "rated"
    shutil.copytree(rated_once, root)
    return root


@pytest.mark.parametrize("kind", DAMAGES)
def test_no_damage_to_ratings_passes(rated: Path, kind: str) -> None:
    run = rated / "runs" / "r1"
    judged = [run / "evidence" / "cases" / f"ratings.{name}.parquet" for name in ("student", "teacher")]
    judged += [run / "manifests" / f"{stage}.json" for stage in ("ratings-export", "ratings")]
    packets, answers = sorted((run / "ratings" / "packets").iterdir()), sorted((run / "ratings").glob("responses/*/*"))
    assert ({p.suffix for p in packets}, len(packets), len(answers)) == ({".html", ".csv", ".json"}, 6, 2)
    # A verdict does not rest on what raters were sent and sent back; still no run with other packets or answers is promoted.
    for path in (*judged, *packets[:3], *answers[:1]):
        with damaged(path, DAMAGES[kind]):
            gated = command(rated, "gate", "--json") if path in judged else None
            verified, promoted = command(rated, "verify"), command(rated, "promote")
        if gated is not None:
            assert gated.code in (2, 3, 4), (path.name, gated)
            assert gated.json.get("decision") != "PASSED", path.name
            if path in judged[:2]:
                assert (gated.code, path.name in gated.error) == (4, True), (path.name, gated)
        assert verified.code in (2, 4), (path.name, verified)
        assert path.name in verified.out + verified.err or path.stem in verified.out + verified.err, (path.name, verified)
        assert promoted.code in (2, 4), (path.name, promoted)
        assert not (rated / "registry" / "aliases.json").exists()
    assert command(rated, "gate").code == 0, "restored, it passes again"
    assert command(rated, "promote").code == 0


def rerecord(root: Path, stage: str, change: Callable[[StageManifest], StageManifest] = lambda m: m) -> None:
    """Record a run's files anew, as if the stage had made them so: only their content can speak against them now."""
    project = Project.open(root)
    layout = project.run("r1").layout
    path = layout.manifest(stage)
    outputs = hash_outputs(layout.root, [layout.root / "evidence" / "cases", layout.subjects])
    write_manifest(path, change(replace(read_manifest(path), outputs=outputs)))
    anchor(path, stage, project.ledger, layout.name)


def rewrite(root: Path, name: str, change: Callable[[CaseResult], CaseResult]) -> None:
    write_cases(cases(root, name), [change(r) for r in read_cases(cases(root, name))])


def _nan(result: CaseResult) -> CaseResult:
    broken = [replace(d, confidence=float("nan")) for d in result.decisions]
    return replace(result, decisions=tuple(broken))


def _nan_rating(result: CaseResult) -> CaseResult:
    return replace(result, scores=dict.fromkeys(result.scores, float("nan")))


STUDENTS, TEACHERS = "ratings.student.parquet", "ratings.teacher.parquet"
RATINGS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "ratings are NaN": (lambda root: rewrite(root, STUDENTS, _nan_rating), 4, "non_finite"),
    "beyond the scale": (
        lambda root: rewrite(root, STUDENTS, lambda r: replace(r, scores=dict.fromkeys(r.scores, 6.0))), 4, "out_of_range",
    ),
    "another student's": (lambda root: rewrite(root, STUDENTS, lambda r: replace(r, subject=FOREIGN)), 3, "other_subject"),
    "another teacher's": (lambda root: rewrite(root, TEACHERS, lambda r: replace(r, subject=FOREIGN)), 3, "other_subject"),
    "of other cases": (lambda root: rewrite(root, STUDENTS, lambda r: replace(r, dataset=FOREIGN)), 4, "other_dataset"),
    "of renamed cases": (lambda root: rewrite(root, STUDENTS, lambda r: replace(r, case=r.case + "x")), 4, "case_mismatch"),
    "no rows": (lambda root: write_cases(cases(root, STUDENTS), []), 3, "absent"),
    "no file": (lambda root: cases(root, STUDENTS).unlink(), 3, "absent"),
    "half of them": (lambda root: write_cases(cases(root, STUDENTS), read_cases(cases(root, STUDENTS))[::2]), 3, "incomplete"),
    "by a script": (lambda root: rewrite(root, STUDENTS, lambda r: replace(r, provenance="simulated")), 3, "simulated"),
}  # fmt: skip


def cases(root: Path, name: str) -> Path:
    return root / "runs" / "r1" / "evidence" / "cases" / name


@pytest.mark.parametrize("kind", RATINGS)
def test_ratings_that_are_recorded_but_wrong_do_not_pass(rated: Path, kind: str) -> None:
    change, code, reason = RATINGS[kind]
    change(rated)
    rerecord(rated, "ratings")
    ended = command(rated, "gate", "--json")
    assert ended.code == code
    assert ended.json["decision"] == "BLOCKED"
    assert reason in {o["code"] for o in ended.json["outcomes"]}


CONTENTS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "confidence is NaN": (lambda root: rewrite(root, "holdout.student.parquet", _nan), 4, "non_finite"),
    "another student's": (
        lambda root: rewrite(root, "holdout.student.parquet", lambda r: replace(r, subject=FOREIGN)), 3, "other_subject",
    ),
    "another teacher's": (
        lambda root: rewrite(root, "holdout.teacher.parquet", lambda r: replace(r, subject=FOREIGN)), 3, "other_subject",
    ),
    "other cases": (
        lambda root: rewrite(root, "holdout.student.parquet", lambda r: replace(r, dataset=FOREIGN)), 4, "other_dataset",
    ),
    "renamed cases": (
        lambda root: rewrite(root, "holdout.student.parquet", lambda r: replace(r, case=r.case + "x")), 4, "case_mismatch",
    ),
    "no rows": (lambda root: write_cases(root / "runs/r1/evidence/cases/holdout.student.parquet", []), 3, "absent"),
    "no file": (lambda root: (root / "runs/r1/evidence/cases/holdout.student.parquet").unlink(), 3, "absent"),
    "half of the rows": (
        lambda root: write_cases(
            root / "runs/r1/evidence/cases/holdout.student.parquet",
            read_cases(root / "runs/r1/evidence/cases/holdout.student.parquet")[::2],
        ), 3, "incomplete",
    ),
    "made by a script": (
        lambda root: rewrite(root, "holdout.student.parquet", lambda r: replace(r, provenance="simulated")), 3, "simulated",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTENTS)
def test_evidence_that_is_recorded_but_wrong_does_not_pass(copy: Path, kind: str) -> None:
    change, code, reason = CONTENTS[kind]
    change(copy)
    rerecord(copy, "evaluate")
    ended = command(copy, "gate", "--json")
    assert ended.code == code
    assert ended.json["decision"] == "BLOCKED"
    assert reason in {o["code"] for o in ended.json["outcomes"]}


def test_a_manifest_changed_without_the_ledger_is_no_evidence(copy: Path) -> None:
    path = copy / "runs" / "r1" / "manifests" / "evaluate.json"
    rewrite(copy, "holdout.student.parquet", lambda r: replace(r, scores={**r.scores, "exact_match": 1.0}))
    outputs = hash_outputs(copy / "runs" / "r1", [copy / "runs" / "r1" / "evidence" / "cases"])
    manifest = read_manifest(path)
    write_manifest(path, replace(manifest, outputs={**manifest.outputs, **outputs}))
    for verb in ("gate", "verify"):
        ended = command(copy, verb)
        assert ended.code == 4, verb
        assert "evaluate" in ended.error


def test_a_stage_that_was_lost_with_its_manifest_is_missed(copy: Path) -> None:
    run = copy / "runs" / "r1"
    (run / "manifests" / "train.json").unlink()
    shutil.rmtree(run / "student")
    ended = command(copy, "verify")
    assert (ended.code, ended.out.splitlines()[0]) == (4, "missing: manifests/train.json")


@pytest.mark.parametrize("stage", ["build", "train"])
def test_a_stage_that_the_policy_requires_and_nobody_did_blocks(copy: Path, stage: str) -> None:
    (copy / "runs" / "r1" / "manifests" / f"{stage}.json").unlink()
    ended = command(copy, "gate", "--json")
    assert ended.code == 3
    assert {o["gate"]: o["outcome"] for o in ended.json["outcomes"]}[f"requires.{stage}"] == "INCONCLUSIVE"


def test_too_many_students_on_one_holdout_are_inconclusive(copy: Path) -> None:
    project = Project.open(copy)
    entry = project.ledger.find("student.measured")[0]
    manifest = read_manifest(copy / "runs" / "r1" / "manifests" / "evaluate.json")
    text = (copy / "ledger.jsonl").read_text("utf-8")
    (copy / "ledger.jsonl").unlink()
    # A ledger in which five other students came first, and this run's stages after them.
    for number in range(5):
        project.ledger.append("student.measured", {**entry.facts, "student": f"sha256:{number:064d}"})
    for line in text.splitlines():
        row = json.loads(line)
        project.ledger.append(row["event"], row["facts"])
    ended = command(copy, "gate", "--json")
    assert manifest.inputs["student"] == entry.facts["student"]
    assert ended.code == 3
    assert (ended.json["attempt"], ended.json["max_attempts"]) == (6, 5)
    assert {o["code"] for o in ended.json["outcomes"]} == {"attempts_exhausted"}


def test_a_holdout_opened_too_often_is_inconclusive_and_verifies(copy: Path) -> None:
    project = Project.open(copy)
    entry = next(e for e in project.ledger.find("holdout.opened") if e.facts["purpose"] == "evaluate")
    text = (copy / "ledger.jsonl").read_text("utf-8")
    (copy / "ledger.jsonl").unlink()
    # A ledger in which ten evaluations of another run were cut short before this run's.
    for _ in range(10):
        project.ledger.append("holdout.opened", {**entry.facts, "run": "r0"})
    for line in text.splitlines():
        row = json.loads(line)
        project.ledger.append(row["event"], row["facts"])
    ended = command(copy, "gate", "--json")
    assert ended.code == 3
    assert (ended.json["openings"], ended.json["max_openings"]) == (11, 10)
    assert {o["code"] for o in ended.json["outcomes"]} == {"openings_exhausted"}
    assert command(copy, "verify").code == 0


LEDGERS: dict[str, Damage] = {
    "a line changed": lambda path: path.write_bytes(path.read_bytes().replace(b'"run": "r1"', b'"run": "r2"', 1)),
    "a line removed": lambda path: path.write_bytes(b"".join(path.read_bytes().splitlines(True)[1:])),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": Path.unlink,
}


@pytest.mark.parametrize("kind", LEDGERS)
def test_a_ledger_that_does_not_hold_is_found(copy: Path, kind: str) -> None:
    LEDGERS[kind](copy / "ledger.jsonl")
    verified = command(copy, "verify")
    assert verified.code == 4
    assert command(copy, "promote").code in (2, 4)
    if kind in ("a line changed", "a line removed"):
        gated = command(copy, "gate")
        assert gated.code == 4
        assert "ledger.jsonl" in gated.error


def test_verify_knows_a_head_that_was_noted_elsewhere(copy: Path) -> None:
    head = Project.open(copy).ledger.head
    assert command(copy, "verify", "--expect", head).code == 0
    lines = (copy / "ledger.jsonl").read_bytes().splitlines(True)
    (copy / "ledger.jsonl").write_bytes(b"".join(lines[:-1]))
    ended = command(copy, "verify", "--expect", head)
    assert ended.code == 4
    assert "never had this head" in ended.error


def test_verify_finds_every_file_changed_missing_or_added(copy: Path) -> None:
    run = copy / "runs" / "r1"
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.parent.name not in ("manifests", "pages"))
    assert {p.relative_to(run).parts[0] for p in files} == {"teaching", "student", "evidence", "verdicts"}
    for path in files:
        name = path.relative_to(run).as_posix()
        with damaged(path, lambda p: p.write_bytes(p.read_bytes() + b" ")):
            ended = command(copy, "verify")
            assert (ended.code, f"changed: {name}" in ended.out) == (4, True), (name, ended)
        with damaged(path, Path.unlink):
            ended = command(copy, "verify")
            assert (ended.code, f"missing: {name}" in ended.out) == (4, True), (name, ended)
    for folder in (
        "teaching",
        "student",
        "evidence/cases",
        "evidence/measurements",
        "verdicts",
        "ratings",
        "pages",
        "manifests",
        ".",
    ):
        stray = run / folder / "stray.txt"
        stray.parent.mkdir(exist_ok=True)
        stray.write_text("", "utf-8")
        ended = command(copy, "verify")
        assert (ended.code, "added: " in ended.out) == (4, True), folder
        stray.unlink()
    assert command(copy, "verify").code == 0


def test_verify_decides_again(copy: Path) -> None:
    """A verdict that was changed together with the ledger's entry still contradicts its evidence."""
    project = Project.open(copy)
    assert command(copy, "gate", "--policy", "gates.strict").code == 1
    path = copy / "runs" / "r1" / "verdicts" / "gates.strict.json"
    value = json.loads(path.read_text("utf-8"))
    value["decision"] = "PASSED"
    for outcome in value["outcomes"]:
        outcome["outcome"] = "PASS"
    path.write_text(json.dumps(value), "utf-8")
    logged = project.ledger.find("verdict")[-1]
    project.ledger.append("verdict", {**logged.facts, "digest": digest_file(path), "decision": "PASSED"})
    ended = command(copy, "verify")
    assert ended.code == 4
    assert "decides again as FAIL" in ended.error


LIGHT = """
import contextlib, io, json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "accelerate", "datasets", "evaluate", "llguidance", "sklearn",
                                  "spacy", "presidio_analyzer", "streamlit", "altair"}:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, Blocked())
from distill_gov.cli import run_arguments

ended = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_arguments([*arguments, "-C", sys.argv[2]])
    ended.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(ended))
"""
"""Commands in an interpreter that has only what the plain install has."""


def light(root: Path, *commands: list[str]) -> list[Ended]:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, json.dumps(commands), str(root)], capture_output=True, text=True, check=True
    )
    return [Ended(*ended) for ended in json.loads(done.stdout)]


def test_gate_and_verify_need_neither_weights_nor_torch(copy: Path, finished: Finished) -> None:
    run = copy / "runs" / "r1"
    for folder in (run / "student", run / "teaching", copy / "models", copy / "data", copy / ".distill-gov"):
        shutil.rmtree(folder)
    verified, gated, reported, whole = light(copy, ["verify", "--evidence-only"], ["gate", "--json"], ["report"], ["verify"])
    assert verified.code == 0, verified
    assert (gated.code, gated.json["decision"]) == (0, "PASSED"), gated
    assert (run / "verdicts" / "gates.json").read_bytes() == (finished.run / "verdicts" / "gates.json").read_bytes()
    assert reported.code == 0, reported
    assert (whole.code, "missing: student/model.safetensors" in whole.out) == (4, True)
    path = run / "evidence" / "cases" / "holdout.student.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    [broken] = light(copy, ["verify", "--evidence-only"])
    assert (broken.code, f"changed: evidence/cases/{path.name}" in broken.out) == (4, True)
