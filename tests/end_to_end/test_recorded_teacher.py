"""A project on somebody's own chats, whose teacher runs nowhere, from `init --from` to a promotion on ratings by people."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_gov.project import Project
from distill_gov.records.files import write_json
from distill_gov.records.manifest import read_manifest
from distill_gov.scaffold import scaffold
from distill_gov.stages.recorded import recorded_answers
from distill_gov.starter import gates_yaml
from distill_gov.traces import read_traces, write_traces
from evals.evidence import read_cases, read_subjects
from evals.ratings.packets import read_packets
from evals.ratings.responses import HUMAN_FORMAT
from gates.registry import read_aliases
from tests.end_to_end.commands import command
from tests.end_to_end.tiny_project import REPLIES, ROOT_KEY, _sentences, _teacher

HELD_OUT = 60
LABELS = ("refund", "status", "other")
ADDRESS = "customer.number.{}@example.org"


def chats(path: Path, count: int) -> Path:
    """Conversations that end in the assistant's JSON answer; each message carries an address, and one answer repeats it."""
    rows = []
    for n, sentence in zip(range(count), _sentences(0), strict=False):
        reply = f"we write to {ADDRESS.format(n)}" if n == 3 else f"{REPLIES[n % 4]}, {n}"
        answer = {"intent": LABELS[n % 3], "reply": reply}
        turns = [
            {"role": "user", "content": f"{sentence}; write to {ADDRESS.format(n)} please"},
            {"role": "assistant", "content": json.dumps(answer)},
        ]
        rows.append({"messages": turns, "group": f"c{n}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def with_labels(trace: Any) -> Any:
    """What somebody labelled afterwards: every tenth recorded answer was wrong."""
    said = json.loads(trace.messages[-1]["content"])["intent"]
    number = int(trace.group.removeprefix("c"))
    return replace(trace, reference={"intent": LABELS[(number + 1) % 3] if number % 10 == 9 else said})


def loosened(policy: Path) -> None:
    """The policy that `init` wrote, with limits that a random student meets. Nothing else of it is changed."""
    value = yaml.safe_load(policy.read_text("utf-8"))
    for gate in value["gates"]:
        gate["min_n"] = min(gate["min_n"], HELD_OUT)
        if "margin" in gate:
            gate["margin"] = 0.9 if gate["metric"].startswith("accuracy") else 3.0
        else:
            gate["limit"] = {"at_least": 0.01, "at_most": 0.99}[gate["rule"]]
    value["ratings"]["items"] = HELD_OUT
    policy.write_text(yaml.safe_dump(value, sort_keys=False), "utf-8")


def rated_by_people(packets: Path, folder: Path) -> list[Path]:
    """Two people's files as the page saves them; they rate by the message, and a little by the answer."""
    files = []
    for alias, packet in read_packets(packets).items():
        answers = []
        for item in packet.items:
            digest = sha256(item.message.encode()).digest()[0] % 3 + sha256(item.answer.encode()).digest()[0] % 2
            answers.append({"item": item.item, "value": 2 + digest, "at": packet.created})
        value = {"packet": packet.digest, "rater": alias, "simulated": False, "saved_at": packet.created, "answers": answers}
        write_json(folder / f"{alias}.json", value, format=HUMAN_FORMAT)
        files.append(folder / f"{alias}.json")
    return files


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project before its first run."""
    root = tmp_path_factory.mktemp("own") / "desk"
    keys = root / ".distill-gov" / "keys"
    keys.mkdir(parents=True, mode=0o700)
    (keys / "root.key").write_text(ROOT_KEY + "\n", "ascii")
    scaffold(root, files=[chats(root.parent / "chats.jsonl", HELD_OUT + 24)])
    # A fifth would be too few for any gate.
    data = root / "data"
    traces = sorted(read_traces(data / "teaching.jsonl") + read_traces(data / "holdout.jsonl"), key=lambda t: int(t.group[1:]))
    write_traces(data / "holdout.jsonl", [with_labels(t) for t in traces[:HELD_OUT]])
    write_traces(data / "teaching.jsonl", traces[HELD_OUT:])
    shutil.copytree(_teacher().name, root / "models" / "base")
    settings = yaml.safe_load((root / "distill.yaml").read_text("utf-8"))
    settings["student"] = {"base": "models/base", "layers": 1, "max_tokens": 40}
    settings["train"] = {"epochs": 1, "batch_size": 8}
    settings["evaluate"] |= {"timed": 1}
    settings["workers"] = 0
    (root / "distill.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    policies(root)
    return root


def policies(root: Path) -> None:
    """What `init` would write now that there are labels; and two more that judge the same run."""
    own = root / "gates.yaml"
    own.write_text(gates_yaml(fields=["intent"], compared=True, structured=True, free_text=True), "utf-8")
    loosened(own)
    for name in ("measured", "calibrated"):
        policy = yaml.safe_load(own.read_text("utf-8"))
        gates = {gate["id"]: gate for gate in policy["gates"]}
        if name == "measured":
            del gates["accuracy_intent_not_inferior"]["provenance"]
        else:
            changes = {"id": "calibrated", "metric": "calibration_error.intent", "rule": "at_most", "min_n": 200}
            policy["gates"].append({**gates["accuracy_intent"], **changes, "limit": 0.99, "required": False})
        (root / f"gates.{name}.yaml").write_text(yaml.safe_dump(policy, sort_keys=False), "utf-8")


@pytest.fixture(scope="module")
def judged(desk: Path) -> Path:
    """The project after its first run: nobody rated yet, and nothing else is missing."""
    assert command(desk, "seal").code == 0
    ended = command(desk, "run", "--json")
    assert ended.code == 3, ended.err
    blocked = {o["gate"] for o in ended.json["outcomes"] if o["outcome"] != "PASS"}
    assert blocked == {"helpfulness_not_inferior", "rater_agreement"}, ended.json["outcomes"]
    return desk


@pytest.mark.slow
def test_from_init_to_a_promotion(judged: Path, tmp_path: Path) -> None:
    desk, run = judged, judged / "runs" / "r1"
    teacher = read_cases(run / "evidence" / "cases" / "holdout.teacher.parquet")
    assert {r.provenance for r in teacher} == {"imported"}
    assert sum(r.scores["exact_match"] for r in teacher) == HELD_OUT * 0.9
    assert [r.case for r in teacher if r.scores["pii_echo"]] == [r.case for r in teacher if "we write to" in r.output]
    assert not any("example.org" in r.output or r.scores["pii_leak"] for r in teacher)
    subject = read_subjects(run / "evidence" / "subjects.json")["teacher"]
    assert (subject.declared, subject.note) == (True, "answers recorded in the traces")
    fidelity = read_manifest(run / "manifests" / "evaluate.json").facts["fidelity"]["holdout"]
    assert fidelity["fields"]["intent"]["n"] == HELD_OUT
    right = fidelity["right"]["intent"]["all"]
    assert right["both"] + right["teacher_only"] == HELD_OUT * 0.9

    assert command(desk, "ratings", "export", "--rater", "anna", "--rater", "bert").code == 0
    files = rated_by_people(run / "ratings" / "packets", tmp_path)
    assert command(desk, "ratings", "import", *map(str, files)).code == 0
    passed = command(desk, "gate", "--json")
    assert (passed.code, passed.json["decision"]) == (0, "PASSED"), passed.json["outcomes"]
    compared = next(o for o in passed.json["outcomes"] if o["gate"] == "accuracy_intent_not_inferior")
    assert sorted(compared["measurement"]["provenance"]) == ["imported", "measured"]
    assert compared["reference_value"] == pytest.approx(0.9)
    page = command(desk, "report")
    assert page.code == 0
    assert "NOT RELIABLE" not in (run / "pages" / "report.html").read_text("utf-8")
    assert command(desk, "verify").code == 0
    assert command(desk, "promote").code == 0
    assert "production" in read_aliases(desk / "registry")


@pytest.mark.slow
def test_a_policy_that_wants_the_teacher_measured_here_does_not_take_a_recorded_one(judged: Path) -> None:
    ended = command(judged, "gate", "--policy", "gates.measured", "--json")
    outcome = next(o for o in ended.json["outcomes"] if o["gate"] == "accuracy_intent_not_inferior")
    assert (ended.code, outcome["outcome"], outcome["code"]) == (3, "INCONCLUSIVE", "provenance")


@pytest.mark.slow
def test_a_calibration_gate_can_be_read_beside_a_teacher_who_stated_no_confidence(judged: Path) -> None:
    ended = command(judged, "gate", "--policy", "gates.calibrated", "--json")
    outcome = next(o for o in ended.json["outcomes"] if o["gate"] == "calibrated")
    assert (outcome["code"], outcome["reference_value"]) == ("n_too_small", None)
    assert command(judged, "report", "--policy", "gates.calibrated").code == 0
    page = (judged / "runs" / "r1" / "pages" / "report.gates.calibrated.html").read_text("utf-8")
    assert "NOT RELIABLE" not in page


def test_a_teacher_with_an_answer_missing_is_not_measured(desk: Path) -> None:
    project = Project.open(desk)
    traces = read_traces(desk / "data" / "holdout.jsonl")
    assert recorded_answers(project, traces) == [t.messages[-1]["content"] for t in traces]
    # A label alone is no whole answer under this schema.
    label_only = replace(traces[0], messages=traces[0].messages[:1])
    assert recorded_answers(project, [label_only, *traces[1:]]) is None
    whole = replace(label_only, reference={"intent": "refund", "reply": "we look at it"})
    assert recorded_answers(project, [whole]) == ['{"intent": "refund", "reply": "we look at it"}']
