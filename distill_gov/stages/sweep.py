"""``sweep``: settings of the training tried on dev, and the best of them with how sure that is. The holdout stays closed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from distill_gov.records.digest import digest_json
from distill_gov.records.errors import BadInputError, BadModelError, DistillGovError, MalformedFileError, MissingFileError
from distill_gov.records.files import write_json
from distill_gov.records.layout import SWEPT
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now, read_manifest
from distill_gov.settings.sweep import TEMPERATURE, SweepSettings, candidates, settings_digest, with_values
from distill_gov.stages.build import Prepared
from distill_gov.stages.review import require_review
from distill_gov.stages.settled import anchor, commit, file_inputs, finish, versions
from distill_gov.stages.swept import EXAMPLES, examples_digest
from distill_gov.stages.train import Taught, base_model, taught
from distill_gov.stages.trials import DEV, Dev, Trial, Trials, read_dev, tuning_project
from distill_gov.teachers.soft_targets import at_temperature
from evals.catalogue import lookup
from evals.evidence import Measurement
from evals.measuring import measure
from evals.requests import request

if TYPE_CHECKING:
    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run
    from distill_gov.settings import DistillSettings

__all__ = ["Swept", "sweep"]

FORMAT = "sweep"


@dataclass(frozen=True, slots=True)
class Swept:
    """A finished sweep."""

    manifest: StageManifest
    path: Path
    """The file of what was found."""


def sweep(project: Project, run: Run, progress: Progress) -> Swept:
    """Train a student with each of the settings that ``distill.yaml`` lists, and measure all on dev.

    Every trial is kept in the cache when it is done, so that a killed sweep goes on with the next one. A sweep of other
    settings stands beside those made before; none is ever replaced.

    Raises:
        BadInputError: there is no ``sweep``, no decision to measure, or a metric that dev says nothing of.
        MissingFileError: the run was not built.
        MalformedFileError: values that cannot stand together, or the file of dev.
        BadModelError: a student that cannot be cut from its base.
        NotReviewedError, ReviewRejectedError, HashMismatchError, IntegrityError: as ``train``.
    """
    wanted = _wanted(project)
    layout, blind = run.layout, tuning_project(project)
    if not layout.manifest("build").exists():
        raise MissingFileError("the run was not built", where=str(layout.root), fix="Run `distill-gov build` first.")
    plan = _plan(blind)
    inputs = _inputs(blind, run, wanted, plan)
    name = digest_json(inputs)[7:19]
    path, stage, place = layout.manifest(SWEPT + name), SWEPT + name, layout.sweep(name)
    if before := done_before(path, inputs):
        anchor(path, stage, project.ledger, layout.name)
        return Swept(before, place)
    own = type(run)(blind, layout)
    require_review(blind, own)
    started, clock = now(), Prepared(progress)
    with clock.step("redacting dev"):
        dev = read_dev(blind, own)
    lessons = taught(blind, own)
    _check_temperatures(blind, plan, lessons)
    trials = Trials(blind, lessons, inputs["teaching set"], dev, _bases(blind, plan))
    done = _tried(trials, wanted, plan, clock)
    found = _summed_up(blind.settings, wanted, plan, done, dev)
    write_json(place, found, format=FORMAT)
    tried = [settings_digest(with_values(blind.settings, values)) for values in plan[: len(done)]]
    manifest = StageManifest(
        stage=stage,
        inputs=inputs,
        outputs=hash_outputs(layout.root, [place]),
        settings=wanted.model_dump(mode="json"),
        seed=blind.settings.seed,
        versions=versions(),
        commit=commit(project.layout.root),
        counts={"trials": len(done), "dev": len(dev.cases)},
        facts={"metrics": list(wanted.metric), "tried": tried, "best": tried[found["best"]["trial"]]},
        started=started,
        finished=now(),
        seconds={**clock.seconds, **{f"trial {number}": trial.seconds for number, trial in enumerate(done)}},
    )
    return Swept(finish(path, manifest, project.ledger, layout.name), place)


# --- what is asked for


def _wanted(project: Project) -> SweepSettings:
    wanted = project.settings.sweep
    if wanted is None:
        raise BadInputError(
            "there is no `sweep`",
            where="distill.yaml: sweep",
            fix="Say what to try, as in `sweep: {over: {train.learning_rate: [1.0e-4, 2.0e-4]}}`.",
        )
    fields = {f.name for f in project.format_or_none.fields} if project.format_or_none else set()
    if not fields:
        raise BadInputError("a sweep needs an answer schema with decision fields", where="distill.yaml: sweep")
    for name in wanted.metric:
        asked = lookup(name).field
        if asked and asked not in fields:
            raise BadInputError(
                f"`{asked}` is no decision field",
                where="distill.yaml: sweep.metric",
                fix=f"One of {', '.join(sorted(fields))}.",
            )
    return wanted


def _plan(project: Project) -> list[dict[str, Any]]:
    """The candidates, each held against its base model before the first one is trained."""
    from distill_gov.trainer.students import chosen_layers

    where = "distill.yaml: sweep.over"
    try:
        plan = candidates(project.settings)
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False, include_context=False)[0]["msg"]
        raise MalformedFileError(f"two of the values cannot stand together ({told})", where=where) from None
    if len(plan) < 2:
        raise BadInputError("nothing is tried but what the file has already", where=where, fix="List other values.")
    for values in plan:
        candidate = type(project)(project.layout, with_values(project.settings, values))
        project.find_model(base_model(candidate))
        if candidate.settings.student.made_from != "layers":
            continue
        config = json.loads((project.model_directory(base_model(candidate)) / "config.json").read_text("utf-8"))
        try:
            chosen_layers(config["num_hidden_layers"], candidate.settings.student.layers)
        except BadModelError as error:
            raise BadModelError(error.what, where=where, fix="Take no more layers than it has.") from None
    return plan


def _check_temperatures(project: Project, plan: Sequence[Mapping[str, Any]], lessons: Sequence[Taught]) -> None:
    """Another temperature than the captured one has to follow from what was captured."""
    for temperature in sorted({values[TEMPERATURE] for values in plan if TEMPERATURE in values}):
        try:
            for _, targets in lessons:
                at_temperature(targets, temperature)
        except DistillGovError as error:
            raise BadInputError(error.what, where=f"distill.yaml: sweep.over.{TEMPERATURE}", fix="Leave it out.") from None


def _bases(project: Project, plan: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = {base_model(type(project)(project.layout, with_values(project.settings, values))) for values in plan}
    return {name: project.model_digest(name) for name in sorted(names)}


def _inputs(project: Project, run: Run, wanted: SweepSettings, plan: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    s = project.settings
    outputs = read_manifest(run.layout.manifest("build")).outputs
    project.file(s.dev)
    return {
        "teaching set": digest_json(dict(sorted(outputs.items()))),
        EXAMPLES: examples_digest(run),
        "distill.yaml (student, train)": settings_digest(s),
        "distill.yaml (sweep)": digest_json([wanted.model_dump(mode="json"), s.evaluate.decoding]),
        "base models": digest_json(_bases(project, plan)),
        "redactor": project.redactor.digest,
        "key": project.keyring.subkey("redaction").key_id,
        **file_inputs(project.layout.root, {"dev": s.dev, "answer schema": s.answer_schema}),
    }


# --- the trials


def _tried(trials: Trials, wanted: SweepSettings, plan: Sequence[Mapping[str, Any]], clock: Prepared) -> list[Trial]:
    """The trials in order, as many as the time allows; the first always."""
    done: list[Trial] = []
    limit = math.inf if wanted.max_minutes is None else 60 * wanted.max_minutes
    with clock.step("trials", len(plan)) as advance:
        for number, values in enumerate(plan):
            if done and sum(trial.seconds for trial in done) >= limit:
                break
            with clock.step(f"trial {number}/{len(plan) - 1}"):
                done.append(trials.run(values, clock.progress))
            if sum(not trial.stopped for trial in done) == 1:
                _check_measured(wanted, next(trial for trial in done if not trial.stopped))
            advance(1)
    if all(trial.stopped for trial in done):
        raise BadInputError("the training of every trial stopped", where="distill.yaml: sweep.over", fix="Try smaller rates.")
    return done


def _check_measured(wanted: SweepSettings, trial: Trial) -> None:
    """A metric that dev has no case for would choose nothing, however many were trained for it."""
    for found in _levels(wanted, [trial], clustered=False)[trial.name]:
        if found.value is None and found.note in ("absent", "empty"):
            raise BadInputError(
                f"`{found.request.metric}` has no case on dev ({found.note})",
                where="distill.yaml: sweep.metric",
                fix="Take another.",
            )


def _levels(wanted: SweepSettings, trials: Sequence[Trial], *, clustered: bool) -> dict[str, list[Measurement]]:
    """Each trial's measurements, one a metric."""
    results = {trial.name: trial.results for trial in trials}
    requests = [request(metric, DEV, name, cluster=clustered) for name in results for metric in wanted.metric]
    measured = measure(results, requests)
    return {name: [m for m in measured if m.request.subject == name] for name in results}


# --- what came of them


def _summed_up(
    settings: DistillSettings, wanted: SweepSettings, plan: Sequence[Mapping[str, Any]], done: Sequence[Trial], dev: Dev
) -> dict[str, Any]:
    whole = [number for number, trial in enumerate(done) if not trial.stopped]
    levels = _levels(wanted, [done[number] for number in whole], clustered=dev.clustered)
    order = sorted(whole, key=lambda number: (*(_merit(m) for m in levels[done[number].name]), number))
    best = order[0]
    others = list(dict.fromkeys([*order[1:2], *([0] if 0 in whole and best != 0 else [])]))
    return {
        "search": wanted.search,
        "metric": list(wanted.metric),
        "dev": {"cases": len(dev.cases), "conversations": dev.conversations, "taught": dev.taught, "digest": dev.digest},
        "planned": len(plan),
        "tried": len(done),
        "trials": [
            {
                "trial": number,
                "rank": order.index(number) + 1 if number in order else None,
                "values": dict(values),
                "settings": settings_digest(with_values(settings, values)),
                **{name: trial.facts[name] for name in ("parameters", "layers", "temperature", "stopped")},
                "measured": [_shown(m) for m in levels.get(trial.name, ())],
            }
            for number, (values, trial) in enumerate(zip(plan, done, strict=False))
        ],
        "best": {
            "trial": best,
            "differences": [
                {"to": other, **_shown(m)} for other in others for m in _differences(wanted, done[best], done[other], dev)
            ],
            "lines": _lines(plan[best]),
            "needs_build": TEMPERATURE in plan[best],
        },
        "caution": _caution(len(done), len(plan), dev),
    }


def _merit(found: Measurement) -> float:
    """For sorting: less is better, and what is undefined is worst."""
    if found.value is None:
        return math.inf
    return -found.value if lookup(found.request.metric).direction == "higher" else found.value


def _differences(wanted: SweepSettings, best: Trial, other: Trial, dev: Dev) -> list[Measurement]:
    """Best minus other, case by case."""
    results = {best.name: best.results, other.name: other.results}
    return measure(
        results, [request(m, DEV, best.name, reference=other.name, cluster=dev.clustered) for m in wanted.metric]
    )  # fmt: skip


def _shown(found: Measurement) -> dict[str, Any]:
    whole = asdict(found)
    names = ("value", "low", "high", "n_scored", "n_clusters", "n_errored", "note")
    of_request = {name: whole["request"][name] for name in ("metric", "method", "confidence")}
    return {**of_request, **{name: whole[name] for name in names}}


def _caution(tried: int, planned: int, dev: Dev) -> str:
    known = f" {dev.taught} cases of dev were left out: they are in the teaching set." if dev.taught else ""
    short = f" {planned - tried} more were planned: `max_minutes` was over." if tried < planned else ""
    return (
        f"{tried} settings were tried on the same {len(dev.cases)} cases of dev, and the best was chosen there: its value is "
        "optimistic, the more so the more were tried, and the intervals do not allow for the choice. What it is worth is "
        f"measured on the holdout, which no trial saw.{short}{known}"
    )


def _lines(values: Mapping[str, Any]) -> str:
    """The lines to put into ``distill.yaml``; empty where it has them already."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        _nest(nested, key.split("."), value)
    return yaml.safe_dump(nested, sort_keys=False, allow_unicode=True) if nested else ""


def _nest(within: dict[str, Any], path: Sequence[str], value: Any) -> None:
    first, *rest = path
    if not rest:
        within[first] = value
    elif first == "stages":
        stages = within.setdefault(first, [])
        stage = next((one for one in stages if one["name"] == rest[0]), None)
        if stage is None:
            stages.append(stage := {"name": rest[0]})
        _nest(stage, rest[1:], value)
    else:
        _nest(within.setdefault(first, {}), rest, value)
