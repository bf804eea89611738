"""``distill-gov demo``: all of it on the support desk, from invented messages to verdicts, every expectation checked.

It exits 0 only if every expected outcome came: the student BLOCKED under ``gates.yaml`` (nobody rated), each control caught by
the gate that is meant for it, the strict policy not passed, simulated ratings told as such and never promotable.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from distill_gov.project import Project, Run
from distill_gov.records.errors import DistillGovError
from distill_gov.records.keys import KeyRing
from distill_gov.records.manifest import read_manifest
from distill_gov.scaffold import example_directory
from distill_gov.tables import gates_table
from gates.verdict import Verdict, read_verdict

if TYPE_CHECKING:
    from distill_gov.progress import Progress

__all__ = ["Expectation", "run_demo"]

RUN = "r1"
RATERS = ("simulated-a", "simulated-b")
RATING_GATES = frozenset({"helpfulness", "rater_agreement"})
"""Metrics that only raters can supply."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something the demo promises."""

    what: str
    came: bool
    found: str


def run_demo(root: Path, *, progress: Progress, console: Console | None = None) -> int:
    """Run the demo in ``root`` (made, or continued) and return its exit code."""
    console = console or Console(width=132, soft_wrap=True)
    project = _project(root)
    run = project.run(RUN)
    project.seal()
    run.build(progress=progress)
    run.train(progress=progress)
    run.evaluate(progress=progress)
    _simulated_ratings(project, run)
    simulated = run.gate("gates.simulated")
    human = run.gate("gates")
    bank = run.gate("gates.bank")
    names: list[str] = list(project.settings.evaluate.controls)
    controls = {n: read_verdict(run.layout.verdict("gates.simulated", n)) for n in names}
    pages = [run.report(), run.report("gates.simulated")]
    expectations = _expectations(project, run, human, bank, simulated, controls)
    _screen(console, project, run, human, simulated, controls, expectations, pages[0])
    return 0 if all(e.came for e in expectations) else 1


def _project(root: Path) -> Project:
    if not (root / "distill.yaml").exists():
        source = example_directory()
        root.mkdir(parents=True, exist_ok=True)
        for name in ("data", "distill.yaml", "redaction.yaml", "triage.schema.json", "labels.md", "DATASHEET.md"):
            origin = source / name
            if origin.is_dir():
                shutil.copytree(origin, root / name, dirs_exist_ok=True)
            elif name != "distill.yaml":
                shutil.copyfile(origin, root / name)
        for policy in sorted(source.glob("gates*.yaml")):
            shutil.copyfile(policy, root / policy.name)
        (root / ".gitignore").write_text(".distill-gov/\nruns/\n", "utf-8")
        # Last: a directory with this file is taken for a whole project.
        shutil.copyfile(source / "distill.yaml", root / "distill.yaml")
    project = Project.open(root)
    KeyRing.create(project.layout.keys)
    return project


def _simulated_ratings(project: Project, run: Run) -> None:
    """Two sets made by a script: one in which the student is as good, one in which it is half a point worse."""
    from distill_gov.stages.ratings import key_path
    from evals.ratings import simulate_responses

    if not run.layout.manifest("ratings-export").exists():
        run.export_ratings(list(RATERS))
    for control, shift in ((None, 0.0), ("worse_rated", -0.5)):
        stage = f"ratings-{control}" if control else "ratings"
        if run.layout.manifest(stage).exists():
            continue
        folder = project.layout.cache / "simulated" / stage
        shutil.rmtree(folder, ignore_errors=True)
        files = simulate_responses(
            run.layout.packets, key_path(project, run), directory=folder, shift=shift, seed=project.settings.seed
        )
        run.import_ratings(list(files), simulated=True, control=control)


def _not_passed(verdict: Verdict) -> dict[str, str]:
    """Required gates that did not pass, with their metric."""
    return {
        o.gate: (o.measurement.request.metric if o.measurement else "")
        for o in verdict.outcomes
        if o.required and o.outcome not in ("PASS", "WAIVED")
    }


def _failed(verdict: Verdict) -> list[str]:
    return [o.gate for o in verdict.outcomes if o.required and o.outcome == "FAIL"]


MEANT = {
    "untrained": ("intent_not_inferior", "intent_level", "exact_match_not_inferior", "schema_valid"),
    "overconfident": ("calibration_intent", "confidence_gap_intent"),
    "worse_rated": ("helpfulness_not_inferior",),
    "mislabelled": ("intent_not_inferior", "intent_level", "exact_match_not_inferior"),
    "leaky": ("pii_in_replies",),
}
"""The gates of the demo's policies that are meant for each control's defect."""


def _expectations(
    project: Project, run: Run, human: Verdict, bank: Verdict, simulated: Verdict, controls: dict[str, Verdict]
) -> list[Expectation]:
    """What must come whatever the student scores: that it is measured, that the gates bite, that nothing simulated counts.

    Whether the student is good enough is for the gates to say; the screen shows it.
    """
    from gates.policy import load_policy

    rated = {g.id for g in load_policy(project.policy_path()).gates if g.metric in RATING_GATES}
    open_gates = set(_not_passed(human))
    errors = [o.gate for v in (human, simulated, *controls.values()) for o in v.outcomes if o.outcome == "ERROR"]
    passed = {o.gate for o in simulated.outcomes if o.outcome == "PASS"}
    found = [
        Expectation("no gate in error", not errors, ", ".join(errors) or "none"),
        Expectation(
            "gates.yaml: BLOCKED, the human ratings among what is open",
            human.decision == "BLOCKED" and rated <= open_gates,
            f"{human.decision} on {', '.join(sorted(open_gates)) or 'nothing'}",
        ),
        Expectation(
            "gates.simulated.yaml: the equal ratings pass, and the verdict says that they are simulated",
            rated <= passed and simulated.simulated,
            f"passed: {', '.join(sorted(rated & passed)) or 'none of them'}",
        ),
        Expectation("gates.bank.yaml: not passed", bank.decision == "BLOCKED", f"exit {bank.exit_code}"),
        Expectation("a simulated verdict is never promoted", _refused(run), "refused" if _refused(run) else "promoted"),
    ]
    for name, verdict in controls.items():
        caught = caught_by(name, verdict, simulated)
        found.append(
            Expectation(f"control {name}: caught by its gate", bool(caught), ", ".join(_failed(verdict)) or "not caught")
        )
    return found


def caught_by(control: str, verdict: Verdict, student: Verdict) -> list[str]:
    """The gates meant for a control that fail it; none if another gate fails the control but not the student.

    The untrained control is bad at everything, so that further gates may fail it.
    """
    failed = _failed(verdict)
    meant = [g for g in failed if g in MEANT[control]]
    beyond = [g for g in failed if g not in MEANT[control] and g not in _failed(student)]
    return meant if control == "untrained" or not beyond else []


def _refused(run: Run) -> bool:
    try:
        run.promote("gates.simulated", "production")
    except DistillGovError:
        return True
    return False


# -- the screen -----------------------------------------------------------------------------------------------------------


def _screen(
    console: Console,
    project: Project,
    run: Run,
    human: Verdict,
    simulated: Verdict,
    controls: dict[str, Verdict],
    expectations: list[Expectation],
    page: Path,
) -> None:
    build, train, measured = (read_manifest(run.layout.manifest(s)) for s in ("build", "train", "evaluate"))
    kept = build.counts["examples"]
    recall = measured.facts.get("redaction_recall", {}).get("covered_recall")
    found = f", {recall:.1%} of the planted values wholly covered" if recall is not None else ""
    console.print(
        f"[bold]In[/]  {build.counts['traces']} traces: {kept} kept, {build.counts['traces'] - kept} dropped; "
        f"{build.counts['findings']} personal values replaced, none found after{found}"
    )
    student, speed = train.facts["student"], measured.facts["speed"]
    console.print(
        f"[bold]Out[/] teacher {student['teacher_parameters'] / 1e6:.0f}M, {speed['teacher']['last_token_p50']:.2f} s an answer"
        f" -> student {student['parameters'] / 1e6:.0f}M, {speed['student']['last_token_p50']:.2f} s (p50, one at a time)"
    )
    console.print(gates_table(replace(human, outcomes=tuple(o for o in human.outcomes if o.required))))
    blocked = ", ".join(_not_passed(human)) or "nothing"
    console.print(
        f"[bold]{human.decision}[/] under gates.yaml (exit {human.exit_code}): open are {blocked}. "
        f"Next: distill-gov ratings export -C {project.layout.root.name} --rater A --rater B"
    )
    console.print(
        f"With [bold]simulated ratings[/]: {simulated.decision} under gates.simulated.yaml{_because(simulated)};"
        " never promotable."
    )
    bites = "; ".join(f"{n}: {', '.join(caught_by(n, v, simulated)) or 'NOT CAUGHT'}" for n, v in controls.items())
    console.print(f"[bold]Do the gates bite?[/] {bites}")
    console.print(f"[bold]Worth distilling?[/] {_worth(measured.facts)}")
    console.print(
        "These n cannot show: that a passing student is right on other desks' messages, or a violation rate under "
        f"{_smallest(human):.0%}. Customers are invented, ratings simulated."
    )
    for expectation in expectations:
        if not expectation.came:
            console.print(f"[red]not as expected[/]: {expectation.what}; found: {expectation.found}")
    console.print(f"Report: {page}")
    console.print("Yours: distill-gov init mydesk --from your_chats.jsonl")


def _because(verdict: Verdict) -> str:
    """The gates that keep a verdict from passing."""
    gates = _not_passed(verdict)
    return f" on {', '.join(gates)}" if gates else ""


def _worth(facts: Mapping[str, Any]) -> str:
    figures = [(b["name"], b["accuracy.intent"], b["exact_match"]) for b in facts["baselines"] if "accuracy.intent" in b]
    return "intent / all fields right: " + "; ".join(f"{n} {a:.0%} / {e:.0%}" for n, a, e in figures)


def _smallest(verdict: Verdict) -> float:
    return next(
        (
            o.measurement.high
            for o in verdict.outcomes
            if o.gate.startswith("violation") and o.measurement and o.measurement.high
        ),
        0.02,
    )
