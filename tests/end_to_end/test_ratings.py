"""Ratings by the commands a user types: each run has packets, key and answers of its own, and a script's are no person's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from distill_gov.project import Project
from distill_gov.records.manifest import read_manifest
from distill_gov.stages.ratings import key_path
from evals.ratings import read_packets, simulate_responses
from tests.end_to_end.commands import Ended, command
from tests.end_to_end.conftest import Finished
from tests.end_to_end.raters import judge, rate

EXPORT = ("ratings", "export", "--rater", "anna", "--rater", "bert")


@pytest.fixture(scope="module")
def exported_once(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project with packets for people and for a script. Not to be changed."""
    root = tmp_path_factory.mktemp("exported") / "project"
    shutil.copytree(finished.root, root)
    for options in ((), ("--simulated",)):
        assert command(root, *EXPORT, *options).code == 0
    return root


@pytest.fixture
def exported(exported_once: Path, tmp_path: Path) -> Path:
    root = tmp_path / "project"
    shutil.copytree(exported_once, root)
    return root


def simulated_files(root: Path, name: str = "r1") -> list[str]:
    project = Project.open(root)
    run = project.run(name)
    folder = root.parent / f"simulated-{name}"
    kind = "simulated-ratings"
    files = simulate_responses(run.layout.packets(kind), key_path(project, run, kind), directory=folder, shift=0.0, seed=1)
    return [str(file) for file in files]


def human_files(root: Path, name: str = "r1") -> list[str]:
    return [str(file) for file in rate(root / "runs" / name, root.parent / f"answers-{name}")]


def gate(root: Path, policy: str) -> Ended:
    return command(root, "gate", "--policy", policy, "--json")


def codes(ended: Ended) -> dict[str, str]:
    return {o["gate"]: o["code"] for o in ended.json["outcomes"]}


def test_people_rate_after_a_script_did_and_both_are_judged_apart(exported: Path) -> None:
    run = exported / "runs" / "r1"
    assert command(exported, "ratings", "import", "--simulated", *simulated_files(exported)).code == 0
    human, simulated = gate(exported, "gates.rated"), gate(exported, "gates.simulated")
    # A policy that asks for people does not even see the script's: nobody rated.
    assert (human.code, codes(human)["helpfulness_not_inferior"], codes(human)["rater_agreement"]) == (3, "absent", "absent")
    assert (simulated.code, simulated.json["simulated"], human.json["simulated"]) == (0, True, False)
    assert not [name for name in human.json["evidence"] if "simulated" in name]
    before = (run / "verdicts" / "gates.simulated.json").read_bytes()
    imported = command(exported, "ratings", "import", *human_files(exported))
    assert imported.code == 0, imported.err
    human = gate(exported, "gates.rated")
    assert (human.code, human.json["decision"], human.json["simulated"]) == (0, "PASSED", False)
    assert {m["measurement"]["provenance"][0] for m in human.json["outcomes"] if m["gate"] == "helpfulness_not_inferior"} == {
        "human"
    }
    # The other verdict rests on nothing that came in since.
    assert gate(exported, "gates.simulated").code == 0
    assert (run / "verdicts" / "gates.simulated.json").read_bytes() == before
    assert command(exported, "verify").code == 0


def test_a_measurement_is_as_old_as_its_evidence(exported: Path) -> None:
    assert command(exported, "ratings", "import", *human_files(exported)).code == 0
    run = exported / "runs" / "r1"
    made = {stage: read_manifest(run / "manifests" / f"{stage}.json").finished for stage in ("evaluate", "ratings")}
    found = {o["gate"]: o["measurement"]["at"] for o in gate(exported, "gates.rated").json["outcomes"]}
    assert found == {
        **dict.fromkeys(("intent_level", "intent_not_inferior", "confidence_gap"), made["evaluate"]),
        **dict.fromkeys(("helpfulness_not_inferior", "rater_agreement"), made["ratings"]),
    }


def test_a_scripts_answers_to_peoples_packets_are_refused_and_unseal_nothing(exported: Path) -> None:
    project = Project.open(exported)
    files = simulate_responses(
        project.run("r1").layout.packets(), key_path(project, project.run("r1")), directory=exported / "x", shift=0.0, seed=1
    )
    for options in (["--simulated"], []):
        ended = command(exported, "ratings", "import", *options, *map(str, files))
        assert ended.code == 2, ended
    assert project.ledger.find("ratings.unsealed") == []


@pytest.mark.slow
def test_every_run_has_packets_of_its_own(exported: Path) -> None:
    """A second run is exported after the first, and a script's answers to it are opened first."""
    assert command(exported, "run", "--run", "r2").code == 0
    for options in ((), ("--simulated",)):
        assert command(exported, *EXPORT, *options, "--run", "r2").code == 0
    script = simulated_files(exported, "r2")
    assert command(exported, "ratings", "import", "--simulated", *script, "--run", "r2").code == 0
    sealed = {e.facts["key"] for e in Project.open(exported).ledger.find("ratings.sealed")}
    assert len(sealed) == 4
    assert len(opaque_ids(exported)) == len(set(opaque_ids(exported))), "an opened key would tell of other packets"
    for name in ("r1", "r2"):
        # What was opened in the other run says nothing about these raters' blindness: the tables need no times.
        ended = command(exported, "ratings", "import", *tables(exported, name), "--run", name)
        assert ended.code == 0, ended.err
        assert command(exported, "gate", "--policy", "gates.rated", "--run", name).code == 0
        assert command(exported, "verify", "--run", name).code == 0


def opaque_ids(root: Path) -> list[str]:
    packets = [read_packets(path) for path in sorted((root / "runs").glob("*/*ratings/packets"))]
    assert len(packets) == 4
    return [item.item for found in packets for packet in found.values() for item in packet.items]


def tables(root: Path, name: str) -> list[str]:
    """The raters' tables, filled in."""
    files = []
    for path in sorted((root / "runs" / name / "ratings" / "packets").glob("*.csv")):
        lines = path.read_text("utf-8-sig").splitlines()
        head = lines[0].split(",")
        folder = root.parent / f"tables-{name}"
        folder.mkdir(exist_ok=True)
        target = folder / path.name
        target.write_text(_filled(path, head.index("rating")), "utf-8")
        files.append(str(target))
    return files


def _filled(path: Path, column: int) -> str:
    import csv
    import io

    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    for row in rows[1:]:
        row[column] = str(judge(row[2], row[3]))
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows(rows)
    return sink.getvalue()


def test_without_a_seal_nothing_is_imported_and_one_line_says_so(exported: Path) -> None:
    files = human_files(exported)
    lines = (exported / "ledger.jsonl").read_text("utf-8").splitlines()
    (exported / "ledger.jsonl").unlink()
    project = Project.open(exported)
    for row in map(json.loads, lines):
        if row["event"] != "ratings.sealed":
            project.ledger.append(row["event"], row["facts"])
    for verb in (("ratings", "import", *files), EXPORT):
        ended = command(exported, *verb)
        assert (ended.code, "no seal of these packets' key" in ended.error) == (4, True)
    assert project.ledger.find("ratings.unsealed") == []


def test_ratings_are_imported_once(exported: Path) -> None:
    files = human_files(exported)
    assert command(exported, "ratings", "import", *files).code == 0
    project = Project.open(exported)
    head = project.ledger.head
    assert command(exported, "ratings", "import", *files).code == 0, "the same again does nothing"
    assert project.ledger.head == head
    ended = command(exported, "ratings", "import", files[0])
    assert (ended.code, "`responses`" in ended.error) == (2, True)


def test_what_a_rater_saw_is_a_redaction_miss(exported: Path) -> None:
    run = exported / "runs" / "r1"
    messages: set[str] = set()

    def sees(item: str, message: str) -> int | str:
        # Of the first message that is opened, every answer.
        messages.add(message)
        return "personal_data" if len(messages) == 1 else judge(item, message)

    ended = command(exported, "ratings", "import", *map(str, rate(run, exported.parent / "seen", sees)), "--json")
    misses = ended.json["redaction_misses"]
    assert (ended.code, misses >= 1, ended.json["quarantined"]) == (0, True, misses)
    assert read_manifest(run / "manifests" / "ratings.json").facts["redaction_misses"] == misses
    command(exported, "report")
    page = (run / "pages" / "report.html").read_text("utf-8")
    assert f"Answers in which raters saw personal data: {misses}." in page
    assert "NOT RELIABLE" not in page
