"""The demo on a tiny project, and the command that it ends with, typed as it is printed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.end_to_end.commands import Ended, command
from tests.end_to_end.raters import rate
from tests.end_to_end.tiny_project import EASY, gate, make_project, policy, rated_policy

POLICIES = {
    "gates": rated_policy("human"),
    "gates.simulated": rated_policy("simulated", margin=0.35),
    "gates.bank": policy(*EASY, gate("exact_match", "exact_match", "holdout", "at_least", 0.05, min_n=300)),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somewhere that needs quoting."""
    controls = {"controls": ["worse_rated"], "baselines": [], "timed": 1}
    root = make_project(tmp_path_factory.mktemp("a demo") / "my desk", settings={"evaluate": controls})
    for path in root.glob("gates*.yaml"):
        path.unlink()
    for name, text in POLICIES.items():
        (root / f"{name}.yaml").write_text(text, "utf-8")
    return root


def typed(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    assert program == "distill-gov"
    return arguments


def next_of(ended: Ended) -> str:
    return next(line for line in ended.out.splitlines() if line.startswith("next: ")).split("distill-gov", 1)[1]


@pytest.mark.slow
def test_the_demo_leaves_a_run_that_people_can_rate(project: Path) -> None:
    shown = run(["demo", str(project)])
    run_directory = project / "runs" / "r1"
    assert (shown.code, "not as expected" in shown.out) == (0, False), shown.out
    assert "BLOCKED under gates.yaml (exit 3) on helpfulness_not_inferior, rater_agreement." in shown.out
    assert "INCONCLUSIVE on 1 gate, needs 300 cases" in shown.out
    human = json.loads((run_directory / "verdicts" / "gates.json").read_text("utf-8"))
    assert {o["gate"]: o["code"] for o in human["outcomes"] if o["outcome"] != "PASS"} == {
        "helpfulness_not_inferior": "absent", "rater_agreement": "absent",
    }  # fmt: skip
    assert human["simulated"] is False
    assert not [name for name in human["evidence"] if "simulated" in name]
    # The commands, as they are printed: on the screen, by `gate`, by `ratings export`, by `ratings import`.
    printed = next(line for line in shown.out.splitlines() if line.startswith("Next: ")).removeprefix("Next: ")
    gated = command(project, "gate")
    assert gated.code == 3
    assert typed(f"distill-gov{next_of(gated)}")[:6] == ["ratings", "export", "--run", "r1", "--rater", "A"]
    exported = run(typed(printed))
    assert exported.code == 0, exported.err
    assert run(typed(f"distill-gov{next_of(gated)}")).code == 0, "the same again"
    answers = [str(path) for path in rate(run_directory, project.parent / "answers")]
    line = typed(f"distill-gov{next_of(exported)}")
    at = line.index("FILE...")
    imported = run([*line[:at], *answers, *line[at + 1 :]])
    assert imported.code == 0, imported.err
    judged = run(typed(f"distill-gov{next_of(imported)}"))
    assert judged.code == 0, judged.out + judged.err
    assert "PASSED" in judged.out
    assert run(typed(f"distill-gov{next_of(judged)}")).code == 0, "promoted"
    assert command(project, "verify").code == 0
    # The demo goes on from there.
    again = run(["demo", str(project), "--json"])
    value = again.json
    assert again.code == 0
    assert (value["verdicts"]["gates"]["decision"], value["verdicts"]["gates.simulated"]["simulated"]) == ("PASSED", True)
    assert value["verdicts"]["gates.bank"]["open"]["exact_match"]["needed_n"] == 300
    assert {e["what"]: e["came"] for e in value["expectations"]}["gates.yaml: judged by people's ratings"]
    assert command(project, "verify").code == 0


def run(arguments: list[str]) -> Ended:
    return command(None, *arguments)
