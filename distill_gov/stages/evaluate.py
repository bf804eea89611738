"""``evaluate``: the suites are run on the student, the teacher, the controls and the baselines."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.records.errors import BadInputError, MissingFileError
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now
from distill_gov.stages.baselines import BASELINES
from distill_gov.stages.bench import Bench
from distill_gov.stages.build import Prepared, reserved_traces
from distill_gov.stages.contamination import checked, teaching_inputs
from distill_gov.stages.controls import CONTROLS
from distill_gov.stages.identifiers import presentable_traces
from distill_gov.stages.registration import register
from distill_gov.stages.settled import (
    EVALUATION,
    FORMAT_SUITE,
    HOLDOUT,
    MEASURED,
    anchor,
    commit,
    file_inputs,
    finish,
    versions,
)
from distill_gov.stages.suites import as_cases, format_cases
from distill_gov.stages.summaries import ABOUT, summaries
from distill_gov.traces import Trace
from evals.cases import Case
from evals.evidence import write_subjects, write_summaries

if TYPE_CHECKING:
    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run
    from distill_gov.settings import EvaluateSettings

__all__ = ["evaluate"]

EXTRAS = {**CONTROLS, **BASELINES}
"""Who can be run beside student and teacher."""


def evaluate(project: Project, run: Run, progress: Progress, only: Sequence[str] | None = None) -> StageManifest:
    """Measure every subject of a run on every suite.

    Args:
        only: names of controls and baselines to run instead of those in ``distill.yaml``.

    Raises:
        BadInputError: a name that nobody has, before anything is measured; or the teaching set was hashed under another key.
        MissingFileError: there is no student.
        NotSealedError, HashMismatchError: the holdout; or the teaching set is not what the build left.
    """
    layout, s = run.layout, project.settings
    wanted = _wanted(s.evaluate, only)
    if not layout.student.is_dir():
        raise MissingFileError(
            "there is no student", where=str(layout.student), fix="Run `distill-gov train`, or copy one there."
        )
    seal, student = project.sealed(), digest_tree(layout.student)
    inputs = {
        "student": student,
        "holdout": seal,
        "key": project.keyring.subkey("redaction").key_id,
        "redactor": project.redactor.digest,
        "distill.yaml (evaluate, suites)": digest_json(
            {
                "evaluate": s.evaluate.model_dump(mode="json"),
                "suites": s.suites,
                "only": list(only) if only is not None else None,
                "teacher": s.teacher.shaping(),
                "student": s.student.model_dump(mode="json"),
                "seed": s.seed,
            }
        ),
        **_files(project),
        **teaching_inputs(run),
        **({"student of the family": project.student_name} if project.student_name else {}),
    }
    path = layout.manifest("evaluate")
    if before := done_before(path, inputs):
        anchor(path, "evaluate", project.ledger, layout.name)
        return before
    # Killed, it may have measured a subject that is not asked for any more.
    shutil.rmtree(layout.subjects.parent / "cases", ignore_errors=True)
    started, clock = now(), Prepared(progress)
    _register(project, run)
    _count_attempt(project, run, student, seal)
    suites, traces = _suites(project, run, clock)
    contamination = checked(project, run, suites, traces)
    bench = Bench(project, run, suites, traces, clock, contamination.cases)
    bench.teacher()
    bench.student()
    for name in wanted:
        EXTRAS[name](bench)
    labels = bench.judge_labels()
    write_subjects(layout.subjects, bench.subjects.values())
    sizes = {name: len(cases) for name, cases in bench.suites.items()}
    fields = [f.name for f in project.format_or_none.fields] if project.format_or_none else []
    with clock.step("summing up", ABOUT) as advance:
        write_summaries(layout.summaries, summaries(bench.models(), fields, advance=advance))
    errored = bench.errored()
    lost = sum(n for suites in errored.values() for causes in suites.values() for n in causes.values())
    manifest = StageManifest(
        stage="evaluate",
        inputs=inputs,
        outputs=hash_outputs(layout.root, [layout.subjects.parent / "cases", layout.subjects, layout.summaries]),
        settings=s.evaluate.model_dump(mode="json"),
        seed=s.seed,
        versions=versions(),
        commit=commit(project.layout.root),
        counts={**sizes, **({"errored": lost} if lost else {})},
        facts={
            "suites": sizes,
            "datasets": {suite: rows[0].dataset for suite, rows in bench.results["student"].items()},
            "cases": {**{name: sorted(c.id for c in cases) for name, cases in bench.suites.items()}, **bench.pairs, **labels},
            "subjects": {name: subject.digest for name, subject in bench.subjects.items()},
            "errored": errored,
            "contamination": contamination.facts(suites),
            "fidelity": bench.fidelity(),
            "baselines": bench.baselines,
            "speed": bench.speed,
            "tokens": bench.tokens,
            "model_input": s.model_input,
        },
        started=started,
        finished=now(),
        seconds=clock.seconds,
    )
    return finish(path, manifest, project.ledger, layout.name)


def _wanted(settings: EvaluateSettings, only: Sequence[str] | None) -> list[str]:
    names = list(dict.fromkeys(only if only is not None else [*settings.controls, *settings.baselines]))
    for name in names:
        if name not in EXTRAS:
            raise BadInputError(
                f"no control or baseline is called `{name}`",
                fix=f"One of {', '.join(EXTRAS)}; student and teacher are always measured.",
            )
    return names


def _files(project: Project) -> dict[str, str]:
    """Digests of the files that are read beside the holdout."""
    s = project.settings
    named = {"answer schema": s.answer_schema, "labels": s.labels, "judge's labels": s.evaluate.judge.labels}
    named |= {"prices": s.evaluate.prices}
    named |= {f"suite {name}": path for name, path in s.suites.items()}
    return file_inputs(project.layout.root, named)


def _register(project: Project, run: Run) -> None:
    """What will be judged, and how, enters the ledger before the holdout is opened."""
    for policy in project.policies():
        register(project.ledger, run.layout.name, policy)


def _count_attempt(project: Project, run: Run, student: str, seal: str) -> None:
    if all(e.facts["student"] != student or e.facts["seal"] != seal for e in project.ledger.find(MEASURED)):
        project.ledger.append(MEASURED, {"run": run.layout.name, "student": student, "seal": seal})


def _suites(project: Project, run: Run, clock: Prepared) -> tuple[dict[str, list[Case]], dict[str, list[Trace]]]:
    """The redacted cases of every suite, and the traces that they were made from."""
    with clock.step("redacting the suites"):
        traces = {HOLDOUT: reserved_traces(project, run, EVALUATION)}
        traces |= {name: presentable_traces(project, path) for name, path in project.settings.suites.items()}
        suites = {name: as_cases(project, name, rows) for name, rows in traces.items()}
    if project.answer_schema is not None:
        suites[FORMAT_SUITE] = format_cases(suites)
    ids = [c.id for c in suites.get(FORMAT_SUITE, [])]
    if len(set(ids)) != len(ids):
        raise BadInputError("two suites share a case id", where="distill.yaml: suites", fix="Give every case its own id.")
    return suites, traces
