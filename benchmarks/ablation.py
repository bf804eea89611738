"""Which terms of the objective earn their place? The demo's student, trained with one term more each time.

    python benchmarks/ablation.py [PROJECT] [--run r1] [--seeds N] [--keep DIRECTORY] [--minutes M] [--quick] [--json]

PROJECT (`./demo` by default) is a project whose run is built, as `distill-gov demo` leaves it: its teaching set and its soft
targets are taught, its weights stand in `distill.yaml` under `train.losses`. `plain` knows nothing of the task; `hard` leaves
out what the grammar forces; from there on each line adds to the one before:

    plain       ordinary fine-tuning: every token of the answers, those that the grammar forces among them
    hard        the answers' own tokens and labels where there is a choice, the teacher's taken for the truth as references are
    + soft      the teacher's distributions on decisions and free text; a label that only the teacher gave is taught softly now
    + hints     hidden states of the mapped layers
    + calibration, + format: these two terms

The sealed holdout stays closed. Measured are `dev` and the suite `benign` together (decisions, calibration, mass under the
grammar along the student's own answers), and free answers to their messages and those of `hazardous` (validity without
constrained decoding). Nothing was trained or chosen on any of them but the teacher's alignment, on `dev`, and no case that is
in the teaching set is among them. Confidences are shown raw and at a fitted temperature: each half of `dev` at the one fitted
on the other, `benign` at the one fitted on all of `dev`, so that none is fitted on what it is measured on. The calibration
error is the debiased one of the first decision field.

Every seed is a line of its own. A difference is to the line before at the same seed, paired by case; `better` or `worse` says
that its 95 % interval leaves zero out. One in twenty does so by chance, and an interval knows nothing of another seed's
student: only what all seeds say counts.

`--keep` holds what each student did, so that a run that was stopped goes on (it knows settings and data, not this code: for
another commit take another directory); `--minutes` stops it. `--quick` takes a few
examples and cases, to see that it works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np

# A script's directory comes first on the path, and scripts beside this one have names of the standard library: last.
sys.path.sort(key=lambda entry: Path(entry or ".").resolve() == Path(__file__).resolve().parent)

from scipy.special import log_softmax

from distill_gov.progress import NoProgress
from distill_gov.project import Project
from distill_gov.records.digest import digest_json, digest_tree
from distill_gov.records.errors import BadInputError, DistillGovError
from distill_gov.records.files import write_json
from distill_gov.settings import DistillSettings, LossSettings
from distill_gov.stages import train as training
from distill_gov.stages.build import Prepared
from distill_gov.stages.contamination import checked
from distill_gov.stages.identifiers import presentable_traces
from distill_gov.stages.settled import FORMAT_SUITE
from distill_gov.stages.student_worker import student_spec
from distill_gov.stages.suites import as_cases, format_cases
from distill_gov.teachers.soft_targets import SoftTargets
from distill_gov.workers import Pool
from evals import measure, request
from evals.calibration import fit_temperature
from evals.cases import Case, dataset_digest
from evals.catalogue import lookup
from evals.evidence import CaseResult, Measurement, Subject, read_cases, write_cases
from evals.results import Said, Scoring

DESK = "desk"
"""The suite that is measured: dev and benign."""
HINTS = 1.0
"""Weight of the hints where the project's own is 0, as the demo's is."""
QUICK = 12
BATCH = 32


@dataclass(frozen=True)
class Condition:
    """One line of the table."""

    name: str
    terms: frozenset[str]
    hard_only: bool = False
    plain: bool = False
    """Nothing is known of the answers but their tokens."""

    def losses(self, own: LossSettings) -> LossSettings:
        """The project's weights of these terms; 0 for all others."""
        weights = {name: getattr(own, name) for name in TERMS} | {"hints": own.hints or HINTS}
        return own.model_copy(update={name: weights[name] if name in self.terms else 0.0 for name in TERMS})


TERMS = (
    "soft_decisions", "hard_decisions", "soft_text", "hard_text", "calibration", "format", "hints", "contrastive", "rationale",
    "confidence_penalty", "unlikelihood",
)  # fmt: skip
"""All terms of the objective: those that no condition names are left out of all."""
_HARD = frozenset({"hard_decisions", "hard_text"})
_SOFT = _HARD | {"soft_decisions", "soft_text"}
CONDITIONS = (
    Condition("plain", frozenset({"hard_text"}), hard_only=True, plain=True),
    Condition("hard", _HARD, hard_only=True),
    Condition("+ soft", _SOFT),
    Condition("+ hints", _SOFT | {"hints"}),
    Condition("+ calibration", _SOFT | {"hints", "calibration"}),
    Condition("+ format", _SOFT | {"hints", "calibration", "format"}),
)


# --- what is measured


@dataclass(frozen=True)
class Measured:
    """The cases, redacted."""

    dev: tuple[Case, ...]
    benign: tuple[Case, ...]
    free: tuple[Case, ...]
    """To be answered without a grammar."""

    @property
    def desk(self) -> tuple[Case, ...]:
        return (*self.dev, *self.benign)


def measured_cases(project: Project, run: Any, quick: bool) -> Measured:
    """The cases of dev and of the suites, without those that were taught.

    Raises:
        BadInputError: no dev or no suite `benign`, or none of its cases is left.
    """
    files = {"dev": project.settings.dev, **{name: project.settings.suites.get(name, "") for name in ("benign", "hazardous")}}
    if not files["dev"] or not files["benign"]:
        raise BadInputError("the ablation needs `dev` and a suite `benign`", where="distill.yaml", fix="Name their files.")
    traces = {name: presentable_traces(project, path) for name, path in files.items() if path}
    suites = {name: as_cases(project, name, rows) for name, rows in traces.items()}
    taught = checked(project, run, suites, traces).cases
    kept = {name: [c for c in cases if c.id not in taught] for name, cases in suites.items()}
    if quick:
        kept = {name: cases[:QUICK] for name, cases in kept.items()}
    if any(not c.reference for name in ("dev", "benign") for c in kept[name]) or len(kept["dev"]) < 4 or not kept["benign"]:
        raise BadInputError("`dev` and `benign` need cases with references that were not taught", where="distill.yaml")
    dev, benign = (tuple(replace(c, suite=DESK) for c in kept[name]) for name in ("dev", "benign"))
    return Measured(dev, benign, tuple(format_cases(kept)))


def scores_of(answer: Mapping[str, Any], field: str, labels: Sequence[str]) -> list[float]:
    return [float(answer["decisions"][field][label]) for label in labels]


def temperatures(cases: Measured, scores: Sequence[Sequence[float]], labels: Sequence[str], field: str) -> list[float]:
    """The temperature of each case of the desk: fitted on dev, and never on the case itself.

    Args:
        scores: of each case of the desk, dev's first, the log-probabilities of the labels.
    """
    count = len(cases.dev)
    truth = [labels.index(str((c.reference or {})[field])) for c in cases.dev]
    even, odd = range(0, count, 2), range(1, count, 2)

    def fitted(part: Sequence[int]) -> float:
        return fit_temperature([scores[i] for i in part], [truth[i] for i in part])

    of_even, of_odd, of_all = fitted(even), fitted(odd), fitted(range(count))
    return [of_odd if i % 2 == 0 else of_even for i in range(count)] + [of_all] * len(cases.benign)


def heated(answers: Sequence[Mapping[str, Any]], cases: Measured, project: Project) -> list[dict[str, dict[str, float]]]:
    """Of each answer to the desk the decisions' log-probabilities at the fitted temperatures."""
    found: list[dict[str, dict[str, float]]] = [{} for _ in answers]
    for field in project.format.fields:
        scores = [scores_of(answer, field.name, field.labels) for answer in answers]
        for row, score, t in zip(found, scores, temperatures(cases, scores, field.labels, field.name), strict=True):
            row[field.name] = dict(zip(field.labels, map(float, log_softmax(np.array(score) / t)), strict=True))
    return found


# --- one student


@dataclass(frozen=True)
class Student:
    condition: Condition
    seed: int

    @property
    def name(self) -> str:
        return f"{self.condition.name.strip('+ ')}-{self.seed}"


def settings_of(student: Student, own: DistillSettings, quick: bool) -> DistillSettings:
    """The project's settings with this student's objective, in one stage, and seed. Temperatures are fitted here, not there."""
    losses = student.condition.losses(own.train.losses)
    more = {"epochs": 1} if quick else {}
    train = own.train.model_copy(update={"losses": losses, "stages": [], **more})
    return own.model_copy(update={"train": train, "seed": own.seed + student.seed, "dev": ""})


def as_student(project: Project, student: Student, quick: bool) -> Project:
    """The same project, its tools shared, with this student's settings."""
    own = copy.copy(project)
    own.settings = settings_of(student, project.settings, quick)
    return own


def train_and_ask(project: Project, run: Any, student: Student, cases: Measured, quick: bool, at: Path) -> None:
    """Train one student and put what it did on the cases at ``at``; its weights are not kept."""
    examples = training.taught(project, run)[: QUICK if quick else None]
    # A place of its own that is always the same: training that was killed goes on from its last checkpoint.
    directory = at.with_name(f"{at.name}.training") / "student"
    own = as_student(project, student, quick)
    clock = Prepared(NoProgress())
    if student.condition.plain:
        examples = [(e, SoftTargets.unscored(t.example, t.token_ids, t.temperature)) for e, t in examples]
    facts = training.make_student(own, examples, directory, clock, hard_only=student.condition.hard_only)
    desk, free = asked(project, directory, cases)
    subject = Subject(student.name, "student", digest_tree(directory), "", "", "grammar", "")
    shutil.rmtree(directory.parent)
    scoring = Scoring(subject, project.answer_schema, tuple(f.name for f in project.format.fields))
    results = results_of(scoring, project, cases, desk) + free_results(scoring, cases, free)
    unfinished = at.with_name(f"{at.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write_cases(unfinished / "cases.parquet", results)
    told = {"student": student.name, "losses": facts["losses"], "seconds": clock.seconds}
    write_json(unfinished / "training.json", told, format="ablation")
    os.replace(unfinished, at)


Answers = list[dict[str, Any]]


def asked(project: Project, directory: Path, cases: Measured) -> tuple[Answers, Answers]:
    """The answers to the desk under the grammar, each with its mass under it, and the free ones."""
    s = project.settings
    spec = student_spec(directory, project.answer_document, {}, s.student.max_tokens)
    with Pool(spec, None, s.workers) as pool:

        def run(kind: str, items: Answers) -> Answers:
            return pool.run(kind, items, length=training.chat_length, size=BATCH)

        items = [{"messages": [dict(m) for m in c.messages]} for c in cases.desk]
        desk = run("grammar", items)
        given = [{**item, "tokens": answer["tokens"]} for item, answer in zip(items, desk, strict=True)]
        masses = run("mass", given)
        free = run("free", [{"messages": [dict(m) for m in c.messages]} for c in cases.free])
    return [{**answer, "mass": mass} for answer, mass in zip(desk, masses, strict=True)], free


def results_of(scoring: Scoring, project: Project, cases: Measured, answers: Answers) -> list[CaseResult]:
    dataset, found = dataset_digest(cases.desk), []
    for case, answer, logp in zip(cases.desk, answers, heated(answers, cases, project), strict=True):
        result = scoring.result(dataset, case, Said(answer["text"], logp, answer["decisions"]))
        found.append(replace(result, scores={**result.scores, **answer["mass"]}))
    return found


def free_results(scoring: Scoring, cases: Measured, answers: Answers) -> list[CaseResult]:
    dataset = dataset_digest(cases.free)
    rows = [scoring.result(dataset, c, Said(a["text"])) for c, a in zip(cases.free, answers, strict=True)]
    # Only validity counts here.
    return [replace(row, scores={"schema_valid": row.scores["schema_valid"]}, decisions=()) for row in rows]


# --- all of them


def students(seeds: int) -> list[Student]:
    """In order of training: a run that is stopped has whole seeds first."""
    return [Student(condition, seed) for seed in range(seeds) for condition in CONDITIONS]


def kept_at(keep: Path, project: Project, run: Any, student: Student, cases: Measured, quick: bool) -> Path:
    """Where a student's results stand: another teaching set, objective or case has another place."""
    identity = digest_json(
        {
            "inputs": training.train_inputs(as_student(project, student, quick), run),
            "hard_only": student.condition.hard_only,
            "cases": [dataset_digest(cases.desk), dataset_digest(cases.free)],
            "quick": quick,
        }
    )
    return keep / f"{student.name}-{identity[7:19]}"


def all_students(project: Project, run: Any, cases: Measured, seeds: int, keep: Path, minutes: float, quick: bool) -> Results:
    started, found = time.monotonic(), {}
    keep.mkdir(parents=True, exist_ok=True)
    for student in students(seeds):
        at = kept_at(keep, project, run, student, cases, quick)
        if not at.exists():
            if time.monotonic() - started > 60 * minutes:
                continue
            begun = time.monotonic()
            train_and_ask(project, run, student, cases, quick, at)
            print(f"{student.name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
        found[student] = read_cases(at / "cases.parquet")
    return found


Results = dict[Student, list[CaseResult]]


def metrics(field: str) -> dict[str, tuple[str, str]]:
    """Column to the metric and its suite."""
    return {
        "exact match": ("exact_match", DESK),
        field: (f"accuracy.{field}", DESK),
        "calibration raw": (f"raw_calibration_error.{field}", DESK),
        "at fitted T": (f"calibration_error.{field}", DESK),
        "Z a token": ("grammar_mass_per_token", DESK),
        "Z an answer": ("grammar_mass", DESK),
        "valid, free": ("schema_validity", FORMAT_SUITE),
    }


def lines(results: Results, field: str) -> Iterator[dict[str, Any]]:
    """One line a student, condition by condition, with each metric's level and its difference to the line before."""
    of = {student.name: rows for student, rows in results.items()}
    place = {condition.name: n for n, condition in enumerate(CONDITIONS)}
    for student in sorted(results, key=lambda s: (place[s.condition.name], s.seed)):
        number = place[student.condition.name]
        before = Student(CONDITIONS[number - 1], student.seed).name if number else ""
        named = {name: of[name] for name in (student.name, before) if name in of}
        columns = {}
        for title, (metric, suite) in metrics(field).items():
            (level,) = measure(named, [request(metric, suite, student.name)])
            columns[title] = {"level": shown(level)}
            if before in named and lookup(metric).methods["difference"]:
                (change,) = measure(named, [request(metric, suite, student.name, reference=before)])
                columns[title] |= {"change": shown(change), "says": says(change)}
        yield {"condition": student.condition.name, "seed": student.seed, "columns": columns}


def shown(m: Measurement) -> dict[str, Any]:
    return {"value": m.value, "low": m.low, "high": m.high, "n": m.n_scored, "note": m.note}


def says(change: Measurement) -> str:
    """``better`` or ``worse`` where the interval leaves zero out; ``unknown`` where there is none."""
    if change.value is None or change.low is None or change.high is None:
        return "unknown"
    sign = 1 if lookup(change.request.metric).direction == "higher" else -1
    if sign * change.low > 0 and sign * change.high > 0:
        return "better"
    return "worse" if sign * change.low < 0 and sign * change.high < 0 else ""


def ablation(root: Path, name: str, seeds: int, keep: Path, minutes: float, quick: bool) -> dict[str, Any]:
    started, project = time.monotonic(), Project.open(root)
    run = project.run(name)
    cases = measured_cases(project, run, quick)
    found = all_students(project, run, cases, seeds, keep, minutes, quick)
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "quick": quick,
        "planned": len(students(seeds)),
        "cases": {"dev": len(cases.dev), "benign": len(cases.benign), "free": len(cases.free)},
        "weights": {c.name: c.losses(project.settings.train.losses).model_dump(mode="json") for c in CONDITIONS},
        "lines": list(lines(found, project.format.fields[0].name)),
    }


def show(found: Mapping[str, Any]) -> str:
    """The same for a person, as a table of Markdown."""
    cases = found["cases"]
    told = [
        f"{len(found['lines'])} of {found['planned']} students, {found['minutes']} minutes, {found['machine']}, "
        f"{found['date']}; "
        f"{cases['dev']} cases of dev and {cases['benign']} benign ones, {cases['free']} free answers",
    ]
    if found["quick"]:
        told.append("QUICK: a few examples and cases; these figures mean nothing")
    if not found["lines"]:
        return "\n".join(told)
    titles = list(found["lines"][0]["columns"])
    told += ["", table(titles, found["lines"], "level"), "", "Difference to the line before at the same seed:", ""]
    told.append(table(titles, [line for line in found["lines"] if line["condition"] != CONDITIONS[0].name], "change"))
    return "\n".join(told)


def table(titles: Sequence[str], rows: Sequence[Mapping[str, Any]], kind: str) -> str:
    written = ["| objective | seed | " + " | ".join(titles) + " |", "|---|--:|" + "--:|" * len(titles)]
    for line in rows:
        cells = [cell(line["columns"][title], kind) for title in titles]
        written.append(f"| {line['condition']} | {line['seed']} | " + " | ".join(cells) + " |")
    return "\n".join(written)


def cell(column: Mapping[str, Any], kind: str) -> str:
    found = column.get(kind)
    if found is None or found["value"] is None:
        return found["note"] if found else "-"
    form = "+.3f" if kind == "change" else ".3f"
    interval = f" [{found['low']:{form}}, {found['high']:{form}}]" if found["low"] is not None else ""
    told = f" {column['says']}" if kind == "change" and column["says"] else ""
    return f"{found['value']:{form}}{interval}{told}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path, nargs="?", default=Path("demo"))
    parser.add_argument("--run", default="r1")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        with TemporaryDirectory() as scratch:
            keep = given.keep or Path(scratch)
            found = ablation(given.project, given.run, max(1, given.seeds), keep, given.minutes, given.quick)
    except DistillGovError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(found, indent=2) if given.json else show(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
