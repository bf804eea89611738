"""The command line: one function a verb, thin over the Python API.

Results go to stdout, progress and errors to stderr. Exit codes: 0 passed or done, 1 a gate failed, 2 bad input, 3 inconclusive,
4 integrity error, 5 an exception of our own, 130 interrupted. Only `gate`, `run` and `promote` use 1 for a gate.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill_gov.exits import OWN_EXCEPTION, at_project, failed, run_app, say
from distill_gov.privacy_verbs import register
from distill_gov.progress import on_stderr
from distill_gov.records.errors import BadInputError, IntegrityError, MissingFileError
from distill_gov.records.files import format_name, loads_strict
from distill_gov.shown import HERE, AsJson, Directory, RunName
from distill_gov.shown import print_shown as _print
from distill_gov.shown import show as _show

if TYPE_CHECKING:
    from distill_gov.importers import ImportMap
    from distill_gov.project import Project
    from distill_gov.records.manifest import StageManifest
    from gates.verdict import Verdict

__all__ = ["main", "run_arguments"]

app = typer.Typer(
    name="distill-gov",
    help="Distil a language model, and promote the student only on evidence that a stranger can verify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
ratings = typer.Typer(help="Blinded human ratings on files: packets out, responses in.", no_args_is_help=True)
app.add_typer(ratings, name="ratings")
register(app)

PolicyFile = Annotated[
    str | None, typer.Option("--policy", metavar="FILE", help="A gate policy, by file or by name; default: the project's.")
]

MapFile = Annotated[Path | None, typer.Option("--map", metavar="FILE", help="Which column is what (YAML).")]
TextColumn = Annotated[str | None, typer.Option("--text", metavar="COLUMN", help="Column of the customer's message.")]
LabelColumn = Annotated[str | None, typer.Option("--label", metavar="COLUMN", help="Column of the right answer.")]

# --- a project's beginning


@app.command()
def init(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Directory to make; default: the project's.")] = None,
    files: Annotated[list[Path] | None, typer.Option("--from", metavar="FILE", help="Your own chats; repeatable.")] = None,
    mapping: MapFile = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> int:
    """Make a project that runs as it is: on a small sample, or on your own chats."""
    from distill_gov.scaffold import scaffold

    root = directory / name if name else directory
    made = scaffold(root, files=files or [], mapping=_mapping(mapping), text=text, label=label)
    told = [f"made {root}", *made.said, f"next: distill-gov seal{at_project(root)} && distill-gov run{at_project(root)}"]
    return _show(as_json, {**asdict(made), "root": str(root)}, "\n".join(told))


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="JSON Lines, JSON, CSV, XLSX, Parquet, datasets.")],
    mapping: MapFile = None,
    text: TextColumn = None,
    label: LabelColumn = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where to; below the project.")] = Path(
        "data/imported.jsonl"
    ),
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> int:
    """Read other people's files into traces."""
    from distill_gov.importers import import_traces
    from distill_gov.records.layout import ProjectLayout
    from distill_gov.scaffold import IMPORT_KEY, import_key_ring
    from distill_gov.traces import write_traces

    target = directory / out
    if target.exists():
        raise BadInputError("a file is already there", where=str(target), fix="Name another with -o.")
    ring = import_key_ring(ProjectLayout(directory))
    key = ring.subkey(IMPORT_KEY) if ring else None
    imported = import_traces(files, mapping=_mapping(mapping), defaults=_defaults(directory), text=text, label=label, key=key)
    write_traces(target, imported.traces)
    facts = {"kind": imported.kind, "said": imported.said, "traces": len(imported.traces), "file": str(target)}
    return _show(as_json, facts, f"{imported.said}\nwrote {len(imported.traces):,} traces to {target}")


@app.command()
def seal(directory: Directory = HERE, as_json: AsJson = False) -> int:
    """Commit to the holdout, before anything is built: its digest enters the ledger."""
    entry = _open(directory).seal()
    told = f"sealed, entry {entry.seq} of the ledger\nledger head {entry.digest}\nnext: distill-gov run{at_project(directory)}"
    return _show(as_json, {"format": format_name("ledger"), **asdict(entry)}, told)


@app.command()
def protect(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A .txt, .md or .jsonl file, or a directory of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where to; below the project.")] = Path(
        "protected.parquet"
    ),
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> int:
    """Index texts that answers must not repeat verbatim: keyed hashes of 12 words in a row, no text."""
    from redaction.filters import build_index
    from redaction.filters.protected import PURPOSE

    made = build_index(source, directory / out, _open(directory).keyring.subkey(PURPOSE))
    next_step = f"next: `protected_index: {out}` in redaction.yaml, under filters.answers"
    told = f"indexed {made['texts']:,} texts, {made['hashes']:,} hashes\n{next_step}"
    return _show(as_json, {**made, "file": str(directory / out)}, told)


# --- stages


@app.command()
def build(
    review: Annotated[
        int | None,
        typer.Option("--review", metavar="N", min=1, help="Send N redacted rows out; training waits for the answers."),
    ] = None,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Make the teaching set: admit, redact, filter, split, let the teacher answer and score."""
    project_run = _open(directory).run(run)
    manifest = project_run.build(progress=on_stderr(), review=review)
    code = _show_stage(as_json, project_run.layout.manifest("build"), manifest)
    if "review" in manifest.facts and not as_json:
        rows, page = len(manifest.facts["review"]["rows"]), project_run.layout.review / "page.html"
        _print(f"review: {rows} rows in {page}")
        _print(f"next: distill-gov review import FILE --reviewer ROLE --run {run}{at_project(directory)}")
    return code


@app.command()
def train(directory: Directory = HERE, run: RunName = "r1", as_json: AsJson = False) -> int:
    """Train the student on the teacher's soft targets."""
    project_run = _open(directory).run(run)
    return _show_stage(as_json, project_run.layout.manifest("train"), project_run.train(progress=on_stderr()))


@app.command()
def evaluate(
    only: Annotated[list[str] | None, typer.Option("--only", metavar="SUBJECT", help="Only this subject; repeatable.")] = None,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Run the suites on the student, the teacher and the controls. Opens the holdout, which is logged."""
    project_run = _open(directory).run(run)
    return _show_stage(as_json, project_run.layout.manifest("evaluate"), project_run.evaluate(progress=on_stderr(), only=only))


# --- judging


@app.command()
def gate(
    policy: PolicyFile = None,
    plan: Annotated[bool, typer.Option("--plan", help="Judge nothing: print what each gate can show.")] = False,
    subject: Annotated[str, typer.Option("--subject", metavar="NAME", help="Whom to judge.")] = "student",
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Decide, from evidence and policy. Needs neither weights nor torch."""
    project = _open(directory)
    if plan:
        return _plan(project, policy, as_json)
    verdict = project.run(run).gate(policy, subject=subject, progress=on_stderr())
    return _show_verdict(project, verdict, policy, subject, run, as_json)


@app.command()
def report(
    policy: PolicyFile = None,
    serve: Annotated[bool, typer.Option("--serve", help="Open the app on this machine as well.")] = False,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Write the report, one file that opens anywhere."""
    project = _open(directory)
    page = project.run(run).report(policy, progress=on_stderr())
    code = _show(as_json, {"report": str(page)}, f"report: {page}")
    if serve:
        import subprocess

        from reports import run_command

        name = project.policy_path(policy).stem
        return 0 if subprocess.run(run_command(directory, run, policy=name), check=False).returncode == 0 else OWN_EXCEPTION
    return code


@app.command()
def audit(
    sample: Annotated[int, typer.Option("--sample", min=0, metavar="N", help="Taught examples to show, redacted.")] = 20,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Write the audit of the teaching set: what was found, kept and dropped, by which rule; nothing personal in it."""
    from reports import audit_object, read_audit

    made = _open(directory).run(run)
    page = made.audit(sample)
    return _show(as_json, audit_object(read_audit(made.layout, sample=0)), f"audit: {page}")


@app.command("run")
def run_(policy: PolicyFile = None, directory: Directory = HERE, run: RunName = "r1", as_json: AsJson = False) -> int:
    """Build, train, evaluate, gate, and report always. Ends with the code of the stage that failed, or of `gate`."""
    from distill_gov.whole_run import whole_run

    project, codes = _open(directory), [0]

    def reported(result: Path | Exception) -> None:
        if isinstance(result, Exception):
            codes.append(failed(result))
        else:
            say(f"report: {result}")

    verdict = whole_run(project.run(run), policy, on_stderr(), reported)
    return _show_verdict(project, verdict, policy, "student", run, as_json) or codes[-1]


@app.command()
def family(
    students: Annotated[
        list[str] | None, typer.Option("--student", metavar="NAME", help="Only this student of the family; repeatable.")
    ] = None,
    policy: PolicyFile = None,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Train, measure and judge every student under `students:` on one teaching set, each in a run of its own (r1-small ...).

    Ends with the worst student's code.
    """
    from distill_gov.family import train_family
    from distill_gov.tables import family_gates_table, family_table
    from reports import family_object, read_family

    project = _open(directory)
    base = project.run(run)
    _, code = train_family(project, base, students or [], policy, on_stderr(), failed)
    found = read_family(base.layout, project.policy_path(policy).stem)
    if found is None:
        return code
    if as_json:
        return _show(as_json, family_object(found), "", code)
    _print(family_table(found))
    _print(family_gates_table(found))
    return _show(as_json, {}, "\n".join(line for line in (found.of_many, f"family: {base.layout.family}") if line), code)


@app.command()
def promote(
    policy: PolicyFile = None,
    alias: Annotated[str, typer.Option("--alias", metavar="ALIAS", help="What shall stand for the student.")] = "production",
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Let an alias stand for the student: only on a PASSED verdict of the project's policy for exactly this student."""
    from gates.registry import read_aliases

    project = _open(directory)
    project.run(run).promote(policy, alias, progress=on_stderr())
    promotion = read_aliases(project.layout.registry)[alias]
    told = [f"{alias} stands for {promotion.student}", *project.run(run).purged()[1], f"ledger head {project.ledger.head}"]
    return _show(as_json, asdict(promotion), "\n".join(told))


@app.command()
def verify(
    evidence_only: Annotated[bool, typer.Option("--evidence-only", help="For a copy without weights.")] = False,
    expect: Annotated[str | None, typer.Option("--expect", metavar="HEAD", help="The ledger's head, noted elsewhere.")] = None,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Find every changed, missing or added file, check the ledger's chain, and decide again. Repairs nothing."""
    project = _open(directory)
    if not project.layout.run(run).root.is_dir():
        # Nothing to find fault with is not the same as no fault.
        raise MissingFileError("no such run", where=str(project.layout.run(run).root), fix="Name one with --run.")
    problems = project.run(run).verify(evidence_only=evidence_only, expect=expect, progress=on_stderr())
    head, purged, notes = project.ledger.head, *project.run(run).purged()
    lines = [f"{problem.kind}: {problem.path}" for problem in problems] or [f"run {run} holds"]
    lines += [*(f"purged: {name}" for name in purged), *notes]
    value = {"problems": [asdict(problem) for problem in problems], "purged": purged, "notes": notes, "ledger_head": head}
    return _show(as_json, value, "\n".join([*lines, f"ledger head {head}"]), IntegrityError.exit_code if problems else 0)


# --- ratings


@ratings.command("export")
def ratings_export(
    raters: Annotated[list[str], typer.Option("--rater", metavar="NAME", help="One of at least two; repeatable.")],
    cases: Annotated[int | None, typer.Option("--cases", min=1, help="How many cases; default: as the policy has it.")] = None,
    simulated: Annotated[bool, typer.Option("--simulated", help="For a script, apart from people's; never human.")] = False,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Write one offline page and one table a rater, blinded."""
    exported = _open(directory).run(run).export_ratings(raters, cases, simulated=simulated, progress=on_stderr())
    files = {rater: {"page": str(files.page), "table": str(files.table)} for rater, files in exported.raters.items()}
    lines = [f"{rater}: {paths['page']} (or {paths['table']})" for rater, paths in files.items()]
    told = [
        *lines,
        f"{exported.cases} cases; key sealed as {exported.sealed}",
        f"next: distill-gov ratings import FILE...{' --simulated' if simulated else ''} --run {run}{at_project(directory)}",
    ]
    return _show(as_json, {"raters": files, "cases": exported.cases, "sealed": exported.sealed}, "\n".join(told))


@ratings.command("import")
def ratings_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What the raters sent back.")],
    simulated: Annotated[bool, typer.Option("--simulated", help="They were made by a script; never counts as human.")] = False,
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Check the raters' files, log the unsealing, and open the key."""
    manifest = _open(directory).run(run).import_ratings(files, simulated=simulated, progress=on_stderr())
    counts, problems, misses = dict(manifest.counts), list(manifest.facts["problems"]), manifest.facts["redaction_misses"]
    lines = [
        f"{counts['rated']} answers rated, {counts['cannot_judge']} times nobody could judge, {counts['missing']} missing",
        f"redaction misses: {misses} answers in which a rater saw personal data (set aside)",
        *problems,
        f"next: distill-gov gate --run {run}{at_project(directory)}",
    ]
    return _show(as_json, {**counts, "redaction_misses": misses, "problems": problems}, "\n".join(lines))


# --- about


@app.command()
def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help="trace, answer, verdict ... see the error for all.")] = "trace",
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> int:
    """Print the JSON Schema of a file."""
    from distill_gov.schemas import schema_of

    value = schema_of(name, directory)
    return _show(as_json, value, json.dumps(value, indent=2, ensure_ascii=False))


@app.command()
def doctor(directory: Directory = HERE, as_json: AsJson = False) -> int:
    """Look at versions, models, shadowed packages and settings, and say what to fix."""
    from distill_gov.doctor import examine

    checks = examine(directory)
    marks = {"ok": "✓", "note": "○", "problem": "✗"}
    lines = [f"{marks[c.state]} {c.name}: {c.found}" + (f"\n    → {c.fix}" if c.fix else "") for c in checks]
    code = BadInputError.exit_code if any(check.state == "problem" for check in checks) else 0
    return _show(as_json, {"checks": [asdict(check) for check in checks]}, "\n".join(lines), code)


@app.command()
def demo(
    name: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; continued if it is there.")] = Path("demo"),
    as_json: AsJson = False,
) -> int:
    """Go the whole way on the support desk's example. Exits 0 only if every expected outcome came, BLOCKED included."""
    from distill_gov.demo import run_demo

    if not as_json:
        return run_demo(name, progress=on_stderr()).exit_code
    with redirect_stdout(sys.stderr):
        ended = run_demo(name, progress=on_stderr())
    return _show(as_json, {"project": str(name), **ended.as_json()}, "", ended.exit_code)


# --- what the verbs share


def _open(directory: Path) -> Project:
    from distill_gov.project import Project

    return Project.open(directory)


def _mapping(path: Path | None) -> ImportMap | None:
    if path is None:
        return None
    from distill_gov.importers import ImportMap
    from distill_gov.records.settings import load_settings

    return load_settings(path, ImportMap)


def _defaults(directory: Path) -> Mapping[str, Any]:
    return _open(directory).settings.defaults if (directory / "distill.yaml").exists() else {}


def _plan(project: Project, given: str | None, as_json: bool) -> int:
    from distill_gov.tables import plan_table
    from gates.plan import plan
    from gates.policy import load_policy

    policy = load_policy(project.policy_path(given))
    with on_stderr().step("planning the gates", len(policy.gates)) as step:
        made = plan(policy, project.planned_cases(policy), advance=step.advance)
    if as_json:
        return _show(as_json, {"policy": policy.name, "digest": policy.digest, **asdict(made)}, "")
    _print(plan_table(made))
    left_out = f" (without {', '.join(made.not_computed)})" if made.not_computed else ""
    _print(f"such a student passes all required gates together {made.joint:.0%} of the time{left_out}, if they are independent")
    if made.beyond_reach:
        return _show(as_json, {}, f"no number of cases gives 80%: see {', '.join(made.beyond_reach)}")
    sizes = ", ".join(f"{name} {n:,}" for name, n in sorted(made.joint_needed.items()))
    return _show(as_json, {}, f"for 80% it takes {sizes}" if sizes else "no number of cases that was tried gives 80%")


def _show_stage(as_json: bool, path: Path, manifest: StageManifest) -> int:
    counts = ", ".join(f"{name} {count:,}" for name, count in manifest.counts.items())
    seconds = sum(manifest.seconds.values())
    told = f"{manifest.stage} done in {seconds:.0f} s" + (f": {counts}" if counts else "") + f"\nmanifest: {path}"
    return _show(as_json, _held(path) if as_json else {}, told)


def _show_verdict(project: Project, verdict: Verdict, policy: str | None, subject: str, run: str, as_json: bool) -> int:
    from distill_gov.tables import gates_table
    from gates.policy import load_policy
    from reports.headline import headline

    if as_json:
        return _show(as_json, _held(project.layout.run(run).verdict(verdict.policy, subject)), "", verdict.exit_code)
    top = headline(verdict, (), run=run, policy=verdict.policy, simulated=verdict.simulated)
    _print("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in verdict.headers.items()))
    _print(gates_table(verdict, load_policy(project.policy_path(policy))))
    _print(f"{top.icon} {top.state}: {top.why}")
    if verdict.simulated:
        _print("simulated ratings: this verdict can never promote anything")
    opened = f", opened {verdict.openings} of {verdict.max_openings} times" if verdict.openings is not None else ""
    _print(f"attempt {verdict.attempt} of {verdict.max_attempts} on this holdout{opened}")
    # Not the verdict's own `ledger_head`: this one also covers the entry that logs the verdict.
    _print(f"ledger head {project.ledger.head} (note it elsewhere; `verify --expect` checks it)")
    return _show(as_json, {}, f"next: {top.advice} {top.command}{at_project(project.layout.root)}", verdict.exit_code)


def _held(path: Path) -> dict[str, Any]:
    """The object that a file holds, its format included."""
    value: dict[str, Any] = loads_strict(path.read_bytes(), where=str(path))
    return value


# --- the console entry


def run_arguments(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code. No exception leaves it, and none ends in 0."""
    return run_app(app, arguments)


def main() -> None:
    """The console entry."""
    sys.exit(run_arguments(sys.argv[1:]))
