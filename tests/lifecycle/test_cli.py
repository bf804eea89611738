"""The command line: what each verb prints, where, and what it ends with. The project behind it is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from distill_gov import cli
from distill_gov.cli import run_arguments
from distill_gov.records import errors
from distill_gov.records.errors import BadInputError, DistillGovError, IntegrityError
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import ProjectLayout
from distill_gov.records.ledger import Ledger
from distill_gov.records.manifest import StageManifest, write_manifest
from distill_gov.records.verify import Problem
from evals.evidence import Measurement, MeasurementRequest
from gates.registry import Promotion
from gates.verdict import GateOutcome, Outcome, Verdict, write_verdict

POLICY = """\
intended_use: tests
not_for: ""
risk_tier: ""
owner: ""
validated_by: ""
approved_by: ""
approved_on: ""
review_by: ""
max_attempts: 5
gates:
  - {id: intent_level, metric: accuracy.intent, suite: holdout, statistic: level, reference: teacher, rule: at_least,
     limit: 0.75, min_n: 300, owner: us, risk: some, rationale: tests}
  - {id: violations, metric: violation_rate, suite: hazardous, statistic: level, rule: at_most,
     limit: 0.1, min_n: 150, owner: us, risk: some, rationale: tests}
"""

PRIVATE = "jana.novak@example.org"


def outcome(name: Outcome = "PASS", code: str = "within_limit") -> GateOutcome:
    request = MeasurementRequest(
        metric="accuracy.intent",
        suite="holdout",
        slice=None,
        subject="student",
        reference=None,
        statistic="level",
        method="clopper_pearson",
        confidence=0.95,
        side="lower",
        cluster=False,
    )
    measurement = Measurement(
        request=request,
        subject="sha256:s",
        reference=None,
        dataset="sha256:d",
        value=0.94,
        low=0.91,
        high=1.0,
        n_planned=300,
        n_run=300,
        n_errored=0,
        n_scored=300,
        n_clusters=300,
        provenance=("measured",),
        tool="tests",
        at="2026-11-22T12:00:00Z",
    )
    return GateOutcome("intent_level", name, "as it is", code, measurement, 0.925, 0.75, None)


def verdict(name: Outcome = "PASS", **changes: Any) -> Verdict:
    made = Verdict(
        decision="PASSED" if name in ("PASS", "WAIVED") else "BLOCKED",
        outcomes=(outcome(name),),
        policy="gates",
        policy_digest="sha256:p",
        headers={"owner": "us", "approved_by": "not approved"},
        subject_name="student",
        subject="sha256:s",
        attempt=1,
        max_attempts=5,
        simulated=False,
        measurements="sha256:m",
        evidence={},
        ledger_head="sha256:head",
        at="2026-11-22T12:00:00Z",
        model_input="redacted",
        registered="sha256:r",
    )
    return replace(made, **changes)


@dataclass
class StandIn:
    """A project and its one run; ``calls`` has what was asked of it, in order."""

    root: Path
    verdict: Verdict = field(default_factory=verdict)
    raises: dict[str, BaseException] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    settings: Any = field(default_factory=lambda: SimpleNamespace(defaults={"consent": "granted"}))

    @property
    def layout(self) -> Any:
        return ProjectLayout(self.root)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.layout.ledger)

    def policy_path(self, name: str | None = None) -> Path:
        return self.root / f"{name or 'gates'}.yaml"

    def planned_cases(self, policy: Any) -> Mapping[str, int]:
        return {"holdout": 300, "hazardous": 150}

    def seal(self) -> Any:
        self._call("seal")
        return self.ledger.append("holdout.sealed", {"digest": "sha256:h"})

    def run(self, name: str) -> Any:
        return _Run(self, self.layout.run(name))

    def _call(self, name: str, facts: Any = None) -> None:
        self.calls.append((name, facts))
        if name in self.raises:
            raise self.raises[name]


@dataclass
class _Run:
    project: StandIn
    layout: Any

    def _stage(self, name: str, facts: Any = None) -> StageManifest:
        self.project._call(name, facts)
        manifest = StageManifest(name, {}, {}, counts={"kept": 320}, seconds={"all": 12.0})
        write_manifest(self.layout.manifest(name), manifest)
        return manifest

    def build(self, *, progress: Any, review: int | None = None) -> StageManifest:
        return self._stage("build", review)

    def train(self, *, progress: Any) -> StageManifest:
        return self._stage("train")

    def evaluate(self, *, progress: Any, only: list[str] | None) -> StageManifest:
        return self._stage("evaluate", only)

    def gate(self, policy: str | None = None, subject: str = "student", *, progress: Any) -> Verdict:
        self.project._call("gate", (policy, subject))
        write_verdict(self.layout.verdict("gates", subject), self.project.verdict)
        return self.project.verdict

    def report(self, policy: str | None = None, *, progress: Any) -> Path:
        self.project._call("report", policy)
        return Path(self.layout.pages / "report.html")

    def verify(self, *, evidence_only: bool = False, expect: str | None = None, progress: Any) -> list[Problem]:
        self.project._call("verify", (evidence_only, expect))
        return self.project.problems

    def purged(self) -> tuple[list[str], list[str]]:
        return ["teaching/examples.parquet"], ["What a reader must know."]

    def promote(self, policy: str | None, alias: str, *, progress: Any) -> None:
        self.project._call("promote", (policy, alias))

    def export_ratings(self, raters: list[str], cases: int | None, *, simulated: bool, progress: Any) -> Any:
        self.project._call("export", (raters, cases, simulated))
        files = {rater: SimpleNamespace(page=Path(f"{n}.html"), table=Path(f"{n}.csv")) for n, rater in enumerate(raters)}
        return SimpleNamespace(raters=files, cases=100, sealed="sha256:k")

    def import_ratings(self, files: list[Path], *, simulated: bool, progress: Any) -> StageManifest:
        self.project._call("import", (files, simulated))
        counts = {"rated": 97, "quarantined": 2, "cannot_judge": 0, "missing": 3}
        return StageManifest("ratings", {}, {}, counts=counts, facts={"redaction_misses": 2, "problems": ["missing: r1"]})


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    (tmp_path / "gates.yaml").write_text(POLICY)
    (tmp_path / "distill.yaml").write_text("")
    made = StandIn(tmp_path)
    module = ModuleType("distill_gov.project")
    module.Project = SimpleNamespace(open=lambda root: made)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "distill_gov.project", module)
    monkeypatch.chdir(tmp_path)
    return made


Ran = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Ran:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_arguments(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


OF_A_RUN = ["build", "train", "sweep", "evaluate", "gate", "report", "run", "family", "promote", "verify"]
OF_A_RUN += ["ratings/export", "ratings/import", "review/import"]
VERBS = ["init", "import", "protect", "seal", "purge", "trace", "schema", "doctor", "demo", *OF_A_RUN]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_prints_json(ran: Ran, verb: str) -> None:
    code, out, _ = ran(*verb.split("/"), "--help")
    assert code == 0
    assert "--json" in out
    assert "-C" in out or verb == "demo"
    if verb in OF_A_RUN:
        assert "--run NAME" in out
        assert "r1" in out


# --- errors


def _error_classes() -> list[type[DistillGovError]]:
    return [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", _error_classes(), ids=lambda kind: kind.__name__)
def test_an_error_is_one_line_and_its_own_exit_code(project: StandIn, ran: Ran, kind: type[DistillGovError]) -> None:
    project.raises["build"] = kind("nothing fits", where="distill.yaml:3", fix="Mend it.")
    assert ran("build") == (kind.exit_code, "", "error: distill.yaml:3: nothing fits. Mend it.\n")
    code, out, err = ran("build", "--json")
    assert code == kind.exit_code
    told = {"error": kind.__name__, "what": "nothing fits", "where": "distill.yaml:3", "fix": "Mend it.", "exit": code}
    assert json.loads(out) == told
    assert err.count("\n") == 1


def test_no_error_class_ends_in_zero() -> None:
    assert all(kind.exit_code in (1, 2, 4, 5) for kind in _error_classes())


@pytest.mark.parametrize("error", [ImportError(PRIVATE), ZeroDivisionError(PRIVATE), KeyError(PRIVATE), MemoryError()])
def test_an_exception_of_our_own_is_five_and_tells_its_type_only(project: StandIn, ran: Ran, error: Exception) -> None:
    project.raises["gate"] = error
    code, out, err = ran("gate")
    assert (code, out) == (5, "")
    assert type(error).__name__ in err
    assert err.count("\n") == 1
    assert PRIVATE not in err
    code, out, _ = ran("gate", "--json")
    assert json.loads(out) == {"error": type(error).__name__, "exit": 5}


def test_a_missing_module_is_named_with_the_command(project: StandIn, ran: Ran) -> None:
    project.raises["train"] = ModuleNotFoundError("No module named 'torch'", name="torch")
    code, _, err = ran("train")
    assert code == 5
    assert "torch" in err
    assert "pip install 'distill-gov[all]'" in err
    project.raises["train"] = ModuleNotFoundError(PRIVATE, name=PRIVATE)
    assert PRIVATE not in ran("train")[2]


def test_debug_shows_where(project: StandIn, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    project.raises["gate"] = ZeroDivisionError("x")
    monkeypatch.setenv("DISTILL_GOV_DEBUG", "1")
    code, _, err = ran("gate")
    assert code == 5
    assert "Traceback" in err


def test_interruption_is_130(project: StandIn, ran: Ran) -> None:
    project.raises["build"] = KeyboardInterrupt()
    code, out, err = ran("build")
    assert (code, out) == (130, "")
    assert err.count("\n") == 1
    assert json.loads(ran("build", "--json")[1]) == {"error": "KeyboardInterrupt", "exit": 130}


def test_a_library_that_exits_with_zero_is_no_pass(project: StandIn, ran: Ran) -> None:
    project.raises["gate"] = SystemExit(0)
    assert ran("gate")[0] == 5


def test_a_verb_that_returns_nothing_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_show", lambda *_: None)
    assert run_arguments(["schema", "trace"]) == 5


def test_output_that_cannot_be_written_is_no_pass(project: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "_show", closed)
    assert run_arguments(["gate"]) == 5


def test_usage_errors_are_two_and_suggest(ran: Ran) -> None:
    for arguments, near in ((["gat"], "gate"), (["gate", "--polcy", "x"], "--policy"), (["import"], "FILE")):
        code, out, err = ran(*arguments)
        assert (code, out) == (2, "")
        assert near in err
    assert ran()[0] == 2
    code, out, _ = ran("gate", "--plam", "--json")
    assert json.loads(out)["exit"] == code == 2


# --- gate


@pytest.mark.parametrize(("name", "code"), [("PASS", 0), ("WAIVED", 0), ("FAIL", 1), ("INCONCLUSIVE", 3), ("ERROR", 4)])
def test_gate_ends_with_the_verdict(project: StandIn, ran: Ran, name: Outcome, code: int) -> None:
    project.verdict = verdict(name)
    ended, out, err = ran("gate")
    assert (ended, err) == (code, "")
    row = next(line for line in out.splitlines() if "intent_level" in line)
    for cell in ("92.5%", "94.0%", "≥ 75%", "91.0%", "300", name):
        assert cell in row
    assert ("PASSED" if code == 0 else "BLOCKED") in out
    assert f"ledger head {project.ledger.head}" in out
    assert "next: " in out
    assert " -C " not in out


def test_a_blocked_verdict_without_a_blocking_gate_never_ends_in_zero(project: StandIn, ran: Ran) -> None:
    project.verdict = verdict("PASS", decision="BLOCKED")
    assert ran("gate")[0] == 4


def test_gate_json_is_the_file_and_the_exit_code(project: StandIn, ran: Ran) -> None:
    project.verdict = verdict("FAIL")
    code, out, _ = ran("gate", "--json")
    held = json.loads(project.layout.run("r1").verdict("gates").read_text())
    assert json.loads(out) == {**held, "exit": 1}
    assert held["format"] == "distill-gov/verdict/1"
    assert code == 1


def test_gate_passes_subject_policy_and_run_on(project: StandIn, ran: Ran) -> None:
    project.verdict = verdict("FAIL", subject_name="overconfident")
    (project.root / "gates.bank.yaml").write_text(POLICY)
    code, out, _ = ran("gate", "--subject", "overconfident", "--policy", "gates.bank", "--run", "r2", "--json")
    assert code == 1
    assert json.loads(out)["subject_name"] == "overconfident"
    assert project.calls == [("gate", ("gates.bank", "overconfident"))]
    assert (project.root / "runs/r2/verdicts/gates.overconfident.json").exists()


def test_gate_says_when_ratings_are_simulated(project: StandIn, ran: Ran) -> None:
    project.verdict = verdict("PASS", simulated=True)
    assert "simulated ratings" in ran("gate")[1]


def test_a_plan_of_a_missing_policy_is_two(project: StandIn, ran: Ran) -> None:
    code, out, err = ran("gate", "--plan", "--policy", "gates.nothere")
    assert (code, out) == (2, "")
    assert "gates.nothere.yaml" in err
    assert project.calls == []


def test_gate_plan_judges_nothing(project: StandIn, ran: Ran) -> None:
    code, out, _ = ran("gate", "--plan")
    assert code == 0
    assert "violations" in out
    assert "<= 0.1" in out
    assert "all required gates together" in out
    assert "for 80% it takes" in out
    assert project.calls == []
    value = json.loads(ran("gate", "--plan", "--json")[1])
    assert [row["gate"] for row in value["rows"]] == ["intent_level", "violations"]
    assert value["exit"] == 0
    # 150 cases, limit 10 %: a student without a violation always passes (0.9^150 < 0.05).
    assert value["rows"][1]["good_passes"] == pytest.approx(1.0)
    assert value["joint_needed"].keys() == {"hazardous", "holdout"}


# --- run


def test_run_goes_the_whole_way_and_ends_with_the_gate(project: StandIn, ran: Ran) -> None:
    project.verdict = verdict("INCONCLUSIVE")
    code, out, err = ran("run")
    assert code == 3
    assert [name for name, _ in project.calls] == ["build", "train", "evaluate", "gate", "report"]
    assert "report.html" in err
    assert "BLOCKED" in out


@pytest.mark.parametrize("stage", ["build", "train", "evaluate"])
def test_run_stops_at_a_stage_that_fails_and_reports_how_far_it_came(project: StandIn, ran: Ran, stage: str) -> None:
    project.raises[stage] = IntegrityError("not what it was")
    code, out, err = ran("run", "--policy", "gates.bank")
    assert (code, out) == (4, "")
    order = ["build", "train", "evaluate"]
    assert [name for name, _ in project.calls] == [*order[: order.index(stage) + 1], "report"]
    assert project.calls[-1] == ("report", "gates.bank")
    assert "report.html" in err
    assert "error: not what it was" in err


def test_run_ends_with_the_stages_code_where_the_report_fails_too(project: StandIn, ran: Ran) -> None:
    project.raises |= {"train": BadInputError("no memory for it"), "report": OSError()}
    code, _, err = ran("run")
    assert code == 2
    assert err.rstrip().endswith("error: no memory for it")
    project.raises["train"] = KeyboardInterrupt()
    project.calls.clear()
    assert ran("run")[0] == 130
    assert project.calls[-1][0] == "train", "whoever interrupts does not wait for a report"


@pytest.mark.parametrize(("error", "code"), [(IntegrityError("chain"), 4), (BadInputError("policy"), 2), (ValueError(), 5)])
def test_run_reports_even_where_the_gate_raises(project: StandIn, ran: Ran, error: Exception, code: int) -> None:
    project.raises["gate"] = error
    assert ran("run")[0] == code
    assert project.calls[-1][0] == "report"


def test_run_keeps_the_gates_code_where_the_report_fails(project: StandIn, ran: Ran) -> None:
    project.raises["report"] = OSError()
    project.verdict = verdict("FAIL")
    assert ran("run")[0] == 1
    project.verdict = verdict("PASS")
    assert ran("run")[0] == 5


# --- the other verbs


def test_seal_prints_the_ledger_entry(project: StandIn, ran: Ran) -> None:
    code, out, _ = ran("seal", "--json")
    line = json.loads(project.layout.ledger.read_text())
    assert json.loads(out) == {**line, "exit": 0}
    assert code == 0
    _, out, _ = ran("seal")
    assert f"ledger head {project.ledger.head}" in out


@pytest.mark.parametrize("stage", ["build", "train", "evaluate"])
def test_a_stage_prints_its_manifest(project: StandIn, ran: Ran, stage: str) -> None:
    code, out, err = ran(stage)
    assert (code, err) == (0, "")
    assert "kept 320" in out
    value = json.loads(ran(stage, "--json")[1])
    assert value == {**json.loads(project.layout.run("r1").manifest(stage).read_text()), "exit": 0}


def test_evaluate_only_some(project: StandIn, ran: Ran) -> None:
    ran("evaluate", "--only", "student", "--only", "teacher")
    assert project.calls == [("evaluate", ["student", "teacher"])]


def test_verify_of_a_run_that_is_not_there_is_two(project: StandIn, ran: Ran) -> None:
    code, out, err = ran("verify", "--run", "nothere")
    assert (code, out) == (2, "")
    assert "no such run" in err


def test_verify_is_four_on_any_problem(project: StandIn, ran: Ran) -> None:
    project.layout.run("r1").root.mkdir(parents=True)
    assert ran("verify", "--expect", "sha256:x", "--evidence-only")[0] == 0
    assert project.calls == [("verify", (True, "sha256:x"))]
    project.problems = [Problem("changed", "evidence/subjects.json")]
    code, out, _ = ran("verify")
    assert code == 4
    assert "changed: evidence/subjects.json" in out
    assert json.loads(ran("verify", "--json")[1])["problems"] == [asdict(project.problems[0])]


def test_promote_shows_what_the_alias_stands_for(project: StandIn, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    promotion = Promotion("production", "sha256:s", "gates", "sha256:p", "sha256:v", "2026-11-22T12:00:00Z", "sha256:l")
    monkeypatch.setattr("gates.registry.read_aliases", lambda _: {"production": promotion})
    code, out, _ = ran("promote", "--json")
    assert json.loads(out) == {**asdict(promotion), "exit": 0}
    assert code == 0
    assert project.calls == [("promote", (None, "production"))]


def test_ratings_out_and_in(project: StandIn, ran: Ran) -> None:
    code, out, _ = ran("ratings", "export", "--rater", "Anna", "--rater", "Ben", "--cases", "50")
    assert code == 0
    assert "Anna: 0.html" in out
    assert "next: distill-gov ratings import FILE... --run r1\n" in out
    assert "import FILE... --simulated --run r1" in ran("ratings", "export", "--rater", "A", "--rater", "B", "--simulated")[1]
    code, out, _ = ran("ratings", "import", "a.json", "b.json", "--simulated", "--json")
    value = json.loads(out)
    assert (value["missing"], value["redaction_misses"], value["problems"]) == (3, 2, ["missing: r1"])
    _, out, _ = ran("ratings", "import", "a.json")
    assert "redaction misses: 2 answers" in out
    assert project.calls == [
        ("export", (["Anna", "Ben"], 50, False)),
        ("export", (["A", "B"], None, True)),
        ("import", ([Path("a.json"), Path("b.json")], True)),
        ("import", ([Path("a.json")], False)),
    ]


def test_report_prints_its_page(project: StandIn, ran: Ran) -> None:
    code, out, _ = ran("report", "--json")
    assert code == 0
    assert json.loads(out)["report"].endswith("runs/r1/pages/report.html")


def test_import_writes_traces_and_overwrites_nothing(project: StandIn, ran: Ran) -> None:
    chats = project.root / "chats.jsonl"
    chats.write_text('{"prompt": "Where is it?", "licence": "own", "retention_until": "2030-01-01"}\n')
    code, out, _ = ran("import", "chats.jsonl", "-o", "data/new.jsonl")
    assert code == 0
    assert "detected prompt/completion" in out
    assert "asserted from defaults: consent" in out
    assert json.loads((project.root / "data/new.jsonl").read_text())["consent"] == "granted"
    code, _, err = ran("import", "chats.jsonl", "-o", "data/new.jsonl")
    assert code == 2
    assert "already there" in err


def test_import_hides_ids_of_people_under_the_projects_key(project: StandIn, ran: Ran) -> None:
    row = {"id": "a" * 32, "input": "Where is it?", "output": "Here.", "sessionId": None, "userId": "kim.oddershaw@example.org"}
    papers = {"consent": "granted", "licence": "own", "retention_until": "2030-01-01"}
    (project.root / "export.jsonl").write_text(json.dumps(row | papers) + "\n")
    code, _, err = ran("import", "export.jsonl", "-o", "data/new.jsonl")
    assert code == 2
    assert "no project's key" in err
    KeyRing.create(project.root / ".distill-gov" / "keys")
    code, out, _ = ran("import", "export.jsonl", "-o", "data/new.jsonl")
    assert code == 0
    assert "detected Langfuse" in out
    made = json.loads((project.root / "data/new.jsonl").read_text())
    assert made["group"].startswith("g-")
    assert "oddershaw" not in json.dumps(made)


def test_import_of_a_missing_file_is_two(ran: Ran, tmp_path: Path) -> None:
    code, out, err = ran("import", str(tmp_path / "none.jsonl"), "-C", str(tmp_path))
    assert (code, out) == (2, "")
    assert "none.jsonl" in err


@pytest.mark.parametrize("name", ["trace", "verdict", "manifest", "ledger", "gates", "redaction", "map"])
def test_schemas_are_schemas(ran: Ran, name: str) -> None:
    from jsonschema import Draft202012Validator

    code, out, _ = ran("schema", name)
    assert code == 0
    Draft202012Validator.check_schema(json.loads(out))


def test_the_verdicts_schema_takes_a_verdict(project: StandIn, ran: Ran) -> None:
    from jsonschema import Draft202012Validator

    _, held, _ = ran("gate", "--json")
    value = json.loads(held)
    del value["exit"]
    Draft202012Validator(json.loads(ran("schema", "verdict")[1])).validate(value)


def test_an_unknown_schema_is_two_and_names_the_nearest(ran: Ran) -> None:
    code, _, err = ran("schema", "tracee")
    assert code == 2
    assert "`trace`" in err


@pytest.mark.parametrize("code", [0, 1])
def test_demo_ends_with_its_own_code(ran: Ran, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def run_demo(root: Path, *, progress: object) -> Any:
        print("the screen")
        return SimpleNamespace(exit_code=code, as_json=lambda: {"verdicts": {"gates": {"decision": "BLOCKED"}}})

    module = ModuleType("distill_gov.demo")
    module.run_demo = run_demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "distill_gov.demo", module)
    assert ran("demo")[:2] == (code, "the screen\n")
    ended, out, err = ran("demo", "here", "--json")
    assert (ended, json.loads(out), err) == (
        code,
        {"project": "here", "verdicts": {"gates": {"decision": "BLOCKED"}}, "exit": code},
        "the screen\n",
    )


# --- on a project that `init` made


def test_init_makes_a_project_that_the_other_verbs_take(ran: Ran, tmp_path: Path) -> None:
    root = tmp_path / "mydesk"
    code, out, err = ran("init", "mydesk", "-C", str(tmp_path))
    assert (code, err) == (0, "")
    assert f"distill-gov seal -C {os.path.relpath(root)} && " in out
    assert ran("doctor", "-C", str(root))[0] == 0
    assert json.loads(ran("schema", "answer", "-C", str(root))[1])["type"] == "object"
    assert json.loads(ran("schema", "distill")[1])["type"] == "object"
    code, out, err = ran("build", "-C", str(root))
    assert (code, out) == (2, "")
    assert "distill-gov seal" in err
    assert ran("seal", "-C", str(root))[0] == 0


def test_init_from_a_file_says_what_it_found(ran: Ran, tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"prompt": "Where?", "completion": "Here."}\n{"prompt": "When?", "completion": "Now."}\n')
    code, out, _ = ran("init", "mydesk", "--from", str(chats), "-C", str(tmp_path), "--json")
    value = json.loads(out)
    assert (code, value["exit"], value["teaching"], value["holdout"]) == (0, 0, 1, 1)
    assert value["root"] == str(tmp_path / "mydesk")
    code, out, _ = ran("gate", "--plan", "-C", str(tmp_path / "mydesk"), "--json")
    assert code == 0
    planned = {row["gate"]: row["n"] for row in json.loads(out)["rows"]}
    assert planned["pii_in_replies"] == 1, "no message says whether it carries any: at most all of them do"
    code, out, err = ran("init", "mydesk", "--from", str(chats), "-C", str(tmp_path))
    assert (code, out) == (2, "")
    assert "already there" in err


def test_a_directory_without_a_project_is_two(ran: Ran, tmp_path: Path) -> None:
    for verb in ("seal", "build", "train", "evaluate", "gate", "report", "run", "verify", "promote"):
        code, out, err = ran(verb, "-C", str(tmp_path))
        assert (code, out) == (2, "")
        assert "distill.yaml" in err
        assert "distill-gov init" in err


def test_a_misspelt_key_is_two_and_names_the_nearest(ran: Ran, tmp_path: Path) -> None:
    ran("init", "-C", str(tmp_path / "desk"))
    path = tmp_path / "desk" / "distill.yaml"
    path.write_text(path.read_text().replace("epochs:", "epoch:"))
    code, _, err = ran("build", "-C", str(tmp_path / "desk"))
    assert code == 2
    assert "`train.epoch`" in err
    assert "`epochs`" in err


# --- as a process


def test_the_command_is_installed_and_keeps_the_streams_apart(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("distill-gov"))]
    done = subprocess.run([*command, "schema", "trace"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["title"] == "distill-gov trace"
    done = subprocess.run([*command, "import", "none.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: none.jsonl")
