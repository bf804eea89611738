"""The privacy officer's verbs: ``purge``, ``trace``, ``unredact`` and ``review import``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill_gov.exits import at_project, say
from distill_gov.progress import on_stderr
from distill_gov.records.errors import BadInputError, MalformedFileError, MissingFileError
from distill_gov.records.ledger import Ledger
from distill_gov.shown import HERE, AsJson, Directory, RunName, show

if TYPE_CHECKING:
    from distill_gov.purging.purge import Purged
    from distill_gov.purging.tracing import InRun

__all__ = ["register"]

review = typer.Typer(help="People look at redacted rows before anything is trained on them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(purge)
    app.command()(trace)
    app.command()(unredact)
    app.add_typer(review, name="review")


def purge(
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; stored redacted.")],
    actor: Annotated[str, typer.Option("--actor", metavar="ROLE", help="A role account, such as privacy-officer.")],
    expired: Annotated[bool, typer.Option("--expired", help="Traces whose retention_until is over.")] = False,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="KEY", help="A trace's id, a group's, a value's hash; - reads a value from stdin."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; nothing does.")] = False,
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> int:
    """Take the content of traces out of data, runs and caches. Hashes, reason, actor and date stay."""
    from distill_gov.project import Project
    from distill_gov.purging.purge import PurgeRequest
    from distill_gov.purging.purge import purge as act

    if expired == (subject is not None):
        raise BadInputError("purge needs either --expired or --subject KEY", fix="Give one of them.")
    project = Project.open(directory)
    value = _value() if subject == "-" else ""
    asked = PurgeRequest("expired" if expired else "subject", reason, actor, subject or "", value)
    done = act(project, asked, on_stderr(), dry_run=dry_run)
    told = [*_told(done), f"ledger head {project.ledger.head}"]
    record = None if done.record is None else {**asdict(done.record), "traces": len(done.record.traces)}
    facts = {"record": record, "resumed": list(done.resumed), "dry_run": dry_run, "holdout": done.holdout}
    return show(as_json, {**facts, "ledger_head": project.ledger.head}, "\n".join(told))


def unredact(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Redacted text; - for stdin.")],
    reason: Annotated[str, typer.Option("--reason", metavar="WHY", help="Goes into the ledger first; nothing personal.")],
    actor: Annotated[str, typer.Option("--actor", metavar="ROLE", help="Who asks: a role, for the ledger.")],
    item: Annotated[str, typer.Option("--item", metavar="ID", help="The trace that the text is from.")] = "",
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> int:
    """Bring back the values behind encrypted tokens and, with the vault, any other stand-in. Logged before it happens."""
    from distill_gov.project import Project

    if not actor.strip():
        raise BadInputError("nobody asks for the values", where="--actor", fix="Name a role.")
    project = Project.open(directory)
    text, journal = _text(file), Ledger(project.layout.ledger, actor=actor.strip())
    plain = project.redactor.unredact(text, reason=reason, journal=journal, item=item)
    if as_json:
        return show(as_json, {"text": plain, "ledger_head": journal.head}, "")
    sys.stdout.write(plain)
    say(f"ledger head {journal.head}")
    return 0


def _text(file: str) -> str:
    """A text file, or stdin for ``-``."""
    try:
        return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8")
    except OSError as error:
        raise MissingFileError(f"the text cannot be read ({error.strerror})", where=file) from error
    except UnicodeDecodeError:
        # Not chained: the error's own text would quote the file.
        raise MalformedFileError("not UTF-8", where=file) from None


def _value() -> str:
    """A personal value, from a prompt that does not show it or from the first line of stdin. It never was an argument."""
    import getpass

    value = getpass.getpass("value to look for (not shown): ") if sys.stdin.isatty() else sys.stdin.readline()
    if not value.strip():
        raise BadInputError("standard input holds no value to look for")
    return value.strip()


def _told(done: Purged) -> list[str]:
    lines = [f"purge {name} had been interrupted; it is done now" for name in done.resumed]
    record = done.record
    if record is None:
        return [*lines, "nothing to purge"]
    verb = "would be purged" if done.dry_run else f"purged as {record.purge}"
    rows = sum(file.rows for file in record.files)
    lines.append(f"{len(record.traces):,} traces, {rows:,} rows in {len(record.files)} files: {verb}")
    lines += [f"  {f.path}: {f.rows:,} {'rows' if f.after else 'file removed'}" for f in record.files]
    lines += [f"  {name}: {count:,} files removed" for name, count in record.also_removed.items() if count]
    lines += [f"student of run {s.run} affected: taught {s.taught:,}, tuned on {s.tuned:,}" for s in record.students]
    if done.holdout:
        lines.append(
            f"the holdout loses {done.holdout:,} cases, which breaks its seal: verdicts so far stand on the whole of it and "
            "cannot be measured again; the next run needs `distill-gov seal` and a new --run"
        )
    if record.unsearched:
        lines.append(
            f"{record.unsearched:,} rows could not be redacted and were searched by letters only: look at them yourself"
        )
    lines += [f"not searched, look into it yourself: {name}" for name in record.not_searched]
    return lines if done.dry_run else [*lines, "pages are gone with the rest: `distill-gov report` makes them again"]


def trace(
    name: Annotated[str, typer.Argument(metavar="ID", help="Id of a trace.")],
    directory: Directory = HERE,
    as_json: AsJson = False,
) -> int:
    """Which runs and students hold a trace, why another one dropped it, where it was promoted, when it was purged."""
    from distill_gov.project import Project
    from distill_gov.purging.tracing import where_is

    found = where_is(Project.open(directory), name)
    lines = [f"in {file}" for file in found.files] or ["in no raw file"]
    lines += [line for run in found.runs for line in _of_run(run)]
    lines += [
        f"purged on {p.at[:10]} as {p.purge} by {p.actor} ({p.kind}): {p.reason}" + ("" if p.finished else " - unfinished")
        for p in found.purges
    ]
    if found.not_comparable:
        lines.append(f"{found.not_comparable} purges are under another key and cannot be compared")
    return show(as_json, asdict(found), "\n".join(lines))


def _of_run(run: InRun) -> list[str]:
    parts = [run.outcome] if run.outcome else []
    if run.rule:
        parts[-1] += f" at {run.stage} by {run.rule}"
    parts += [f"case of {', '.join(run.suites)}"] if run.suites else []
    parts += ["seen by a reviewer"] if run.reviewed else []
    lines = [f"run {run.run}: {'; '.join(parts)}"]
    if run.student and run.outcome.startswith("taught"):
        stands = f", which {', '.join(run.aliases)} stands for" if run.aliases else ""
        marked = "; marked as affected" if run.affected else ""
        lines.append(f"  student {run.student.removeprefix('sha256:')[:12]}{stands}{marked}")
    return lines


@review.command("import")
def review_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the page saved: JSON Lines, an answer a row.")],
    reviewer: Annotated[str, typer.Option("--reviewer", metavar="ROLE", help="A role account, such as privacy-officer.")],
    directory: Directory = HERE,
    run: RunName = "r1",
    as_json: AsJson = False,
) -> int:
    """Keep a reviewer's answers; `train` goes on if they show what redaction.yaml asks for."""
    from distill_gov.project import Project
    from distill_gov.stages.review import reviewed

    project_run = Project.open(directory).run(run)
    project_run.import_review(file, reviewer)
    result = reviewed(project_run)
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(result.reasons.items()))
    lines = [result.told(), *([f"rejected for: {reasons}"] if reasons else [])]
    lines.append(
        f"next: distill-gov run --run {run}{at_project(directory)}"
        if result.passed
        else "training is blocked: mend redaction.yaml or the traces, and build under a new run name"
    )
    return show(as_json, {**asdict(result), "upper": result.upper, "passed": result.passed}, "\n".join(lines))


# The second positional word of `review` would otherwise be taken for the only command's argument.
@review.callback()
def _review() -> None:
    """People look at redacted rows before anything is trained on them."""
