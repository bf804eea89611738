"""``distill-gov demo``: all of it on the support desk, from invented messages to verdicts, every expectation checked.

It exits 0 only if every expected outcome came: the student BLOCKED under ``gates.yaml`` (nobody rated), each control caught by
the gate that is meant for it, the strict policy not passed and saying how many cases it takes, simulated ratings told as such
and never promotable.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from distill_gov.exits import at_project
from distill_gov.project import Project, Run
from distill_gov.records.errors import DistillGovError
from distill_gov.records.keys import KeyRing
from distill_gov.records.layout import HUMAN_RATINGS, SIMULATED_RATINGS
from distill_gov.records.manifest import StageManifest, read_manifest
from distill_gov.scaffold import LEFT_OUT, example_directory
from distill_gov.stages.settled import exported_stage, imported_stage
from distill_gov.tables import gates_table
from gates.policy import Policy, load_policy
from gates.verdict import Verdict, read_verdict

if TYPE_CHECKING:
    from distill_gov.progress import Progress

__all__ = ["DemoEnded", "Expectation", "run_demo"]

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


@dataclass(frozen=True, slots=True)
class Judged:
    """Every verdict of the demo."""

    human: Verdict
    """Under ``gates.yaml``, which asks for people's ratings."""
    simulated: Verdict
    bank: Verdict
    controls: Mapping[str, Verdict]
    """Under the policy that takes simulated ratings, by the control's name."""


@dataclass(frozen=True, slots=True)
class DemoEnded:
    """How the demo ended."""

    judged: Judged
    expectations: tuple[Expectation, ...]
    report: Path
    command: str
    """The command that comes next, as it can be typed where the user stands."""

    @property
    def exit_code(self) -> int:
        return 0 if all(e.came for e in self.expectations) else 1

    def as_json(self) -> dict[str, Any]:
        """Verdicts, what keeps each from passing, and which expectations came."""
        verdicts = {v.policy: _told(v) for v in (self.judged.human, self.judged.simulated, self.judged.bank)}
        controls = {
            name: {**_told(v), "caught_by": caught_by(name, v, self.judged.simulated)}
            for name, v in self.judged.controls.items()
        }
        expectations = [asdict(e) for e in self.expectations]
        ends = {"report": str(self.report), "next": self.command}
        return {"verdicts": verdicts, "controls": controls, "expectations": expectations, **ends}


def _told(verdict: Verdict) -> dict[str, Any]:
    open_gates = {o.gate: {"outcome": o.outcome, "code": o.code, "needed_n": o.needed_n} for o in verdict.outcomes if o.blocks}
    return {"decision": verdict.decision, "exit": verdict.exit_code, "simulated": verdict.simulated, "open": open_gates}


def run_demo(root: Path, *, progress: Progress, console: Console | None = None) -> DemoEnded:
    """Run the demo in ``root`` (made, or continued), show its screen and return how it ended."""
    console = console or Console(width=132, soft_wrap=True)
    project = _project(root)
    run = project.run(RUN)
    project.seal()
    run.build(progress=progress)
    run.train(progress=progress)
    run.evaluate(progress=progress)
    # As an unattended run is judged: nobody rated.
    human = run.gate("gates", progress=progress)
    _simulated_ratings(project, run, progress)
    simulated = run.gate("gates.simulated", progress=progress)
    bank = run.gate("gates.bank", progress=progress)
    names: Sequence[str] = project.settings.evaluate.controls
    controls = {n: read_verdict(run.layout.verdict("gates.simulated", n)) for n in names}
    page = run.report(progress=progress)
    run.report("gates.simulated", progress=progress)
    judged = Judged(human, simulated, bank, controls)
    facts = {stage: read_manifest(run.layout.manifest(stage)) for stage in ("build", "train", "evaluate")}
    rated = run.layout.manifest(imported_stage(HUMAN_RATINGS)).exists()
    policies = [load_policy(project.policy_path(name)) for name in ("gates", "gates.bank")]
    residual = facts["build"].facts["redaction"].get("residual")
    expectations = _expectations(judged, *policies, rated=rated, refused=_refused(run), residual=residual)
    command = f"distill-gov ratings export{at_project(project.layout.root)} --rater A --rater B"
    ended = DemoEnded(judged, tuple(expectations), page, command)
    _screen(console, ended, facts)
    return ended


def _project(root: Path) -> Project:
    if not (root / "distill.yaml").exists():
        source = example_directory()
        shutil.copytree(source, root, ignore=shutil.ignore_patterns(*LEFT_OUT, "distill.yaml"), dirs_exist_ok=True)
        (root / ".gitignore").write_text(".distill-gov/\nruns/\n", "utf-8")
        # Last: a directory with this file is taken for a whole project.
        shutil.copyfile(source / "distill.yaml", root / "distill.yaml")
    project = Project.open(root)
    KeyRing.create(project.layout.keys)
    return project


def _simulated_ratings(project: Project, run: Run, progress: Progress) -> None:
    """Two sets made by a script: one in which the student is as good, one in which it is half a point worse.

    They have packets and a key of their own, so that people can still rate this run.
    """
    from distill_gov.stages.ratings import key_path
    from evals.ratings import simulate_responses

    kind, layout = SIMULATED_RATINGS, run.layout
    if not layout.manifest(exported_stage(kind)).exists():
        run.export_ratings(list(RATERS), simulated=True, progress=progress)
    for control, shift in ((None, 0.0), ("worse_rated", -0.5)):
        stage = imported_stage(kind, control)
        if layout.manifest(stage).exists():
            continue
        folder = project.layout.cache / "simulated" / stage
        shutil.rmtree(folder, ignore_errors=True)
        files = simulate_responses(
            layout.packets(kind), key_path(project, run, kind), directory=folder, shift=shift, seed=project.settings.seed
        )
        run.import_ratings(list(files), simulated=True, control=control, progress=progress)


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
    judged: Judged, policy: Policy, bank_policy: Policy, *, rated: bool, refused: bool, residual: int | None
) -> list[Expectation]:
    """What must come whatever the student scores: that it is measured, that the gates bite, that nothing simulated counts.

    Whether the student is good enough is for the gates to say; the screen shows it.

    Args:
        policy: ``gates.yaml``.
        bank_policy: ``gates.bank.yaml``.
        rated: whether people's ratings were imported into the run since.
        refused: whether a simulated verdict was refused promotion.
        residual: values of personal data found after redaction; None where nobody looked.
    """
    human, simulated = judged.human, judged.simulated
    ratings = {g.id for g in policy.gates if g.metric in RATING_GATES}
    open_gates = _not_passed(human)
    absent = {o.gate for o in human.outcomes if o.code == "absent"}
    every = (human, simulated, judged.bank, *judged.controls.values())
    errors = [o.gate for v in every for o in v.outcomes if o.outcome == "ERROR"]
    passed = {o.gate for o in simulated.outcomes if o.outcome == "PASS"}
    found = [
        Expectation("no gate in error", not errors, ", ".join(errors) or "none"),
        Expectation(
            "no personal value found after redaction", residual == 0, "nobody looked" if residual is None else f"{residual}"
        ),
        Expectation(
            "gates.yaml: judged by people's ratings" if rated else "gates.yaml: BLOCKED, the ratings open because nobody rated",
            not ratings & absent if rated else human.decision == "BLOCKED" and ratings <= absent,
            f"{human.decision} on {', '.join(sorted(open_gates)) or 'nothing'}",
        ),
        Expectation(
            "gates.simulated.yaml: the equal ratings pass, and the verdict says that they are simulated",
            ratings <= passed and simulated.simulated,
            f"passed: {', '.join(sorted(ratings & passed)) or 'none of them'}",
        ),
        _expected_of_the_bank(judged.bank, bank_policy),
        Expectation("a simulated verdict is never promoted", refused, "refused" if refused else "promoted"),
    ]
    for name, verdict in judged.controls.items():
        caught = caught_by(name, verdict, simulated)
        found.append(
            Expectation(f"control {name}: caught by its gate", bool(caught), ", ".join(_failed(verdict)) or "not caught")
        )
    return found


def _expected_of_the_bank(verdict: Verdict, policy: Policy) -> Expectation:
    """The demo's cases are too few for the strict policy, and each gate that is short of them must say how many it takes.

    A gate that has its cases may fail outright.
    """
    least = {gate.id: gate.min_n for gate in policy.gates}
    short = [o for o in verdict.outcomes if o.measurement and 0 < o.measurement.n_scored < least.get(o.gate, 0)]
    told = [o for o in short if o.outcome == "INCONCLUSIVE" and (o.needed_n or 0) >= least[o.gate]]
    return Expectation(
        "gates.bank.yaml: not passed, and every gate short of cases says how many it takes",
        verdict.decision == "BLOCKED" and bool(short) and told == short,
        f"{verdict.decision}; {', '.join(f'{o.gate} {o.outcome} needs {o.needed_n}' for o in short) or 'no gate is short'}",
    )


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


def _screen(console: Console, ended: DemoEnded, manifests: Mapping[str, StageManifest]) -> None:
    build, train, measured = (manifests[stage] for stage in ("build", "train", "evaluate"))
    human, simulated, bank = ended.judged.human, ended.judged.simulated, ended.judged.bank
    kept = build.counts["examples"]
    residual = build.facts["redaction"].get("residual")
    after = "not looked for again" if residual is None else f"{residual or 'none'} found after"
    recall = build.facts.get("redaction_recall", {}).get("covered_recall")
    found = f", {recall:.1%} of the planted values wholly covered" if recall is not None else ""
    console.print(
        f"[bold]In[/]  {build.counts['traces']} traces: {kept} kept, {build.counts['traces'] - kept} dropped; "
        f"{build.counts['findings']} personal values replaced, {after}{found}"
    )
    student, speed = train.facts["student"], measured.facts["speed"]
    console.print(
        f"[bold]Out[/] teacher {student['teacher_parameters'] / 1e6:.0f}M, {speed['teacher']['last_token_p50']:.2f} s an answer"
        f" -> student {student['parameters'] / 1e6:.0f}M, {speed['student']['last_token_p50']:.2f} s (p50, one at a time)"
    )
    console.print(gates_table(replace(human, outcomes=tuple(o for o in human.outcomes if o.required))))
    console.print(f"[bold]{human.decision}[/] under gates.yaml (exit {human.exit_code}){_because(human)}.")
    console.print(f"Next: {ended.command}", markup=False)
    console.print(
        f"With [bold]simulated ratings[/]: {simulated.decision} under gates.simulated.yaml{_because(simulated)};"
        " never promotable."
    )
    console.print(f"With a bank's limits, gates.bank.yaml: {_of_the_bank(bank)}")
    controls = ended.judged.controls
    bites = "; ".join(f"{n}: {', '.join(caught_by(n, v, simulated)) or 'NOT CAUGHT'}" for n, v in controls.items())
    console.print(f"[bold]Do the gates bite?[/] {bites}")
    console.print(f"[bold]Worth distilling?[/] {_worth(measured.facts)}")
    console.print(
        "These n cannot show: that a passing student is right on other desks' messages, or a violation rate under "
        f"{_smallest(human):.0%}. Customers are invented, ratings simulated."
    )
    for expectation in ended.expectations:
        if not expectation.came:
            console.print(f"[red]not as expected[/]: {expectation.what}; found: {expectation.found}")
    console.print(f"Report: {ended.report}", markup=False)
    console.print("Yours: distill-gov init mydesk --from your_chats.jsonl")


_FEW = 3
"""Gates that a line can name; the table above has them all."""


def _because(verdict: Verdict) -> str:
    """The gates that keep a verdict from passing."""
    gates = list(_not_passed(verdict))
    if len(gates) <= _FEW:
        return f" on {', '.join(gates)}" if gates else ""
    absent = [o.gate for o in verdict.outcomes if o.required and o.code == "absent"]
    unrated = f", {' and '.join(absent)} because nobody rated" if 0 < len(absent) <= _FEW else ""
    return f" on {len(gates)} of {sum(o.required for o in verdict.outcomes)} gates{unrated}"


def _of_the_bank(verdict: Verdict) -> str:
    needed = [o.needed_n for o in verdict.outcomes if o.code == "n_too_small" and o.needed_n]
    failed = len(_failed(verdict))
    gates = "1 gate" if len(needed) == 1 else f"{len(needed)} gates"
    few = f"INCONCLUSIVE on {gates}, needs {max(needed):,} cases" if needed else verdict.decision
    return few + (f"; FAIL on {failed}" if failed else "")


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
