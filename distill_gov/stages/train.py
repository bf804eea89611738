"""``train``: from the teaching set to a student that stands by itself in a Hugging Face directory."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from distill_gov.records.digest import digest_file, digest_json
from distill_gov.records.errors import BadInputError, HashMismatchError, MissingFileError
from distill_gov.records.files import replacing_directory, write_json
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now, read_manifest
from distill_gov.settings import TrainSettings
from distill_gov.settings.teacher import DEFAULT
from distill_gov.stages.build import Prepared
from distill_gov.stages.canaries import canary_facts, canary_rows
from distill_gov.stages.chats import asked, clean_chats, languages_of
from distill_gov.stages.review import require_review
from distill_gov.stages.rows import (
    OwnAnswers,
    answer_rows,
    gold_rows,
    hard_labels_only,
    rationale_rows,
    refuse_unteachable,
    running_teacher,
)
from distill_gov.stages.settled import anchor, check_teaching, commit, finish, versions
from distill_gov.stages.student_worker import student_spec
from distill_gov.stages.swept import swept_before
from distill_gov.stages.targets import TargetMaker, target_captures
from distill_gov.teachers.soft_targets import Capture, SoftTargets, one_support
from distill_gov.teachers.target_store import read_soft_targets
from distill_gov.teaching_set.examples import TeachingExample, read_examples
from distill_gov.traces import read_traces
from distill_gov.workers import Pool
from evals.calibration import fit_temperature
from evals.selective import threshold_at_risk

if TYPE_CHECKING:
    from distill_gov.progress import Progress
    from distill_gov.project import Project, Run

__all__ = ["fitted_on_dev", "make_student", "read_training", "taught", "train"]

TRAINING = "training.json"
MISLABELLED = 0.3
"""Share of the decisions permuted for the control ``mislabelled``."""

Taught = tuple[TeachingExample, SoftTargets]


def train(project: Project, run: Run, progress: Progress) -> StageManifest:
    """Train the student of a run.

    Raises:
        MissingFileError: the run was not built.
        NotReviewedError, ReviewRejectedError: a review did not come back, or not with the result that the policy asks for.
        HashMismatchError: the teaching set is not what the build left.
        IntegrityError: its soft targets do not belong together.
    """
    s, layout = project.settings, run.layout
    built = layout.manifest("build")
    if not built.exists():
        raise MissingFileError("the run was not built", where=str(layout.root), fix="Run `distill-gov build` first.")
    inputs = train_inputs(project, run)
    refuse_unteachable(project)
    path = layout.manifest("train")
    if before := done_before(path, inputs):
        anchor(path, "train", project.ledger, layout.name)
        return before
    require_review(project, run)
    started, clock = now(), Prepared(progress)
    examples = taught(project, run)
    # A recorded answer is all there is to aim at; it carries no distribution over the labels.
    unscored = not any(targets.identity for _, targets in examples)
    thoughts = read_examples(layout.rationales) if layout.rationales.is_file() else []
    facts = make_student(project, examples, layout.student, clock, hard_only=unscored, rationales=thoughts)
    if purged := {record.purge for record, _ in project.purges().touching(f"runs/{layout.name}/teaching/")}:
        # The build's manifest still lists what was taken away before this student could be taught it.
        facts["purged_before"] = sorted(purged)
    if swept := swept_before(project, run):
        facts["sweep"] = swept
    manifest = StageManifest(
        stage="train",
        inputs=inputs,
        outputs=hash_outputs(layout.root, [layout.student]),
        settings=s.train.model_dump(mode="json"),
        seed=s.seed,
        versions=versions(),
        commit=commit(project.layout.root),
        counts={"examples": len(examples)},
        facts=facts,
        started=started,
        finished=now(),
        seconds=clock.seconds,
    )
    return finish(path, manifest, project.ledger, layout.name)


def train_inputs(project: Project, run: Run) -> dict[str, str]:
    s = project.settings
    outputs = read_manifest(run.layout.manifest("build")).outputs
    return {
        "teaching set": digest_json(dict(sorted(outputs.items()))),
        "distill.yaml (student, train)": digest_json(
            {"student": s.student.model_dump(mode="json"), "train": s.train.model_dump(mode="json"), "seed": s.seed}
        ),
        "base model": project.model_digest(base_model(project)),
        **({"gold set": digest_file(project.file(s.gold))} if s.gold and _teaches_gold(s.train) else {}),
        **({"student of the family": project.student_name} if project.student_name else {}),
    }


def _teaches_gold(settings: TrainSettings) -> bool:
    return any(stage.examples == "gold" for stage in settings.stages)


def base_model(project: Project) -> str:
    s = project.settings
    if not (s.student.base or s.teacher.model):
        raise BadInputError("no model to cut the student from", where="distill.yaml: student.base", fix="Name one.")
    return s.student.base or s.teacher.model


def check_vocabulary(project: Project) -> None:
    """Require the teacher's tokenizer of a student that is made from another model: the targets are on its ids.

    Raises:
        BadModelError: names the first id that differs.
    """
    from distill_gov.trainer.vocabulary import check_same_vocabulary

    s = project.settings
    if s.teacher.kind == "prompted" and s.teacher.soft_targets and base_model(project) != s.teacher.model:
        ours, theirs = project.tokenizer(base_model(project)), project.tokenizer(s.teacher.model)
        check_same_vocabulary(theirs, ours, where="distill.yaml: student.base")


def teacher_parameters(project: Project, base: Any) -> int | None:
    """How large the teacher is, without loading it a second time; None where nobody has its weights.

    Args:
        base: the loaded model that the student is made from.
    """
    from distill_gov.trainer.students import parameters, parameters_of_directory

    s = project.settings
    if base_model(project) == s.teacher.model:
        return parameters(base)
    return parameters_of_directory(project.model_directory(s.teacher.model)) if s.teacher.model else None


def taught(project: Project, run: Run) -> list[Taught]:
    """The run's examples with their soft targets; answers that nobody scored get bare ones (their identity is empty).

    Raises:
        HashMismatchError: a file is not what the build left, or soft targets are not those of the examples and settings.
    """
    check_teaching(run)
    examples = read_examples(run.layout.examples)
    wanted: Mapping[str, Capture] = {}
    stored: Mapping[str, SoftTargets] = {}
    if project.settings.teacher.kind == "prompted":
        wanted = target_captures(project, _scorers(project, run, examples), examples)
        stored = read_soft_targets(run.layout.soft_targets, wanted)
    if len(wanted) == len(examples):
        return [(e, stored[e.id]) for e in examples]
    tools = TargetMaker(project, base_model(project))
    return [(e, stored[e.id] if e.id in wanted else tools.bare(e.id, e.answer)) for e in examples]


def _scorers(project: Project, run: Run, examples: Sequence[TeachingExample]) -> dict[str, str]:
    """Identity of each teacher that scored the examples, by name.

    Raises:
        HashMismatchError: the teachers are not those of the build.
    """
    settings = project.settings
    told: Mapping[str, Any] = read_manifest(run.layout.manifest("build")).facts.get("soft_targets", {})
    silent = sorted(name for name, t in settings.all_teachers.items() if not t.soft_targets)
    if {e.teacher for e in examples} - settings.all_teachers.keys() or silent != sorted(told.get("none_of", [])):
        raise HashMismatchError(
            "the teachers are not those that the teaching set was built with",
            where="distill.yaml: teachers",
            fix="Restore them, or build again under a new run name.",
        )
    return {DEFAULT: str(told.get("teacher", "")), **told.get("teachers", {})}


def make_student(
    project: Project,
    examples: Sequence[Taught],
    target: Path,
    clock: Prepared,
    *,
    hard_only: bool = False,
    rationales: Sequence[TeachingExample] = (),
) -> dict[str, Any]:
    """Train a student on the examples and put it at ``target``; returns the facts for the manifest.

    Args:
        hard_only: the answers' own tokens are all there is to learn from; their labels are taken for the truth.
        rationales: rows of reasoning beside them.
    """
    from distill_gov.trainer.students import make_student_model, parameters
    from distill_gov.trainer.train import train_student, training_steps
    from evals.models.local import LocalModel, load_model, render_template

    one_support(targets for _, targets in examples)
    s = project.settings
    check_vocabulary(project)
    tools = TargetMaker(project, base_model(project))
    teacher = load_model(project.model_directory(base_model(project)))
    made = make_student_model(teacher, s.student, seed=s.seed)
    student = made.model
    writer = LocalModel(student, tools.tokenizer)
    rows = [*answer_rows(examples, writer, tools, hard_only=hard_only), *gold_rows(project, writer, tools)]
    rows += [*rationale_rows(rationales, writer, tools), *canary_rows(project, writer, tools)]
    student.set_attn_implementation("sdpa")
    settings = hard_labels_only(s.train) if hard_only else s.train
    beside = running_teacher(project, settings, base_model(project), teacher)
    if beside is not None:
        beside.set_attn_implementation("sdpa")
    masks = np.array(tools.masks) if tools.masks else np.zeros((1, student.config.vocab_size), dtype=bool)
    with clock.step("training", training_steps(settings, rows)) as advance:
        history = train_student(
            student, rows, masks, settings, seed=s.seed, pad=int(tools.tokenizer.pad_token_id or 0),
            temperature=s.teacher.temperature, advance=advance, teacher=beside,
            taken=_taken_layers(project, made.made["layers"]),
            vocabulary=_shared_vocabulary(student, beside, len(tools.tokenizer)),
            scratch=project.layout.cache / "training" / f"{target.parent.name}.{target.name}",
            sample=OwnAnswers(tools, rows, s.student.max_tokens).left_grammar if tools.grammar is not None else None,
        )  # fmt: skip
    facts: dict[str, Any] = {
        "student": {
            "parameters": parameters(student), "layers": student.config.num_hidden_layers,
            "taken": made.made["layers"],
            "teacher_parameters": teacher_parameters(project, teacher), "base": base_model(project),
        },
        "made": dict(made.made),
        "losses": history,
        **canary_facts(project),
    }  # fmt: skip
    tools.tokenizer.chat_template = render_template()
    with replacing_directory(target) as unfinished:
        student.save_pretrained(str(unfinished))
        tools.tokenizer.save_pretrained(str(unfinished))
        facts["temperature"], facts["thresholds"] = fitted_on_dev(project, unfinished, clock)
        write_json(unfinished / TRAINING, {"task": s.task, **facts}, format="training")
    return facts


def _taken_layers(project: Project, layers: list[int]) -> list[int] | None:
    """The teacher's layers that the student was cut from; None where it was made otherwise."""
    return layers if layers and base_model(project) == project.settings.teacher.model else None


def _shared_vocabulary(student: Any, teacher: Any, real: int) -> int | None:
    """Tokens of the tokenizer, where two models pad their heads beyond it, each to a width of its own."""
    return None if teacher is None or teacher.config.vocab_size == student.config.vocab_size else real


def fitted_on_dev(project: Project, directory: Path, clock: Prepared) -> tuple[dict[str, float], dict[str, float]]:
    """Of each decision field the temperature, and the confidence at it from which a decision is taken without a person.

    Both are fitted on dev, where there is one; a field has no threshold where none keeps to the risk accepted.
    """
    s, answer = project.settings, project.format_or_none
    if answer is None or not answer.fields or not s.dev:
        return {}, {}
    dev = [t for t in read_traces(project.file(s.dev)) if t.reference]
    chats = list(clean_chats(project.redactor, [(t.id, asked(t)) for t in dev], languages=languages_of(dev)))
    items = [{"messages": [dict(m) for m in c.messages]} for c in chats]
    spec = student_spec(directory, project.answer_document, {}, s.student.max_tokens)
    with Pool(spec, None, s.workers) as pool, clock.step("fitting the temperature on dev", len(items)) as advance:
        answers = pool.run("grammar", items, length=chat_length, size=16, advance=advance)
    fitted, thresholds = {}, {}
    for field in answer.fields:
        scores = np.array([[a["decisions"][field.name][label] for label in field.labels] for a in answers])
        truth = [field.labels.index(str((t.reference or {})[field.name])) for t in dev]
        fitted[field.name] = fit_temperature(scores.tolist(), truth)
        sure = softmax(scores / fitted[field.name], axis=1).max(axis=1)
        right = (scores.argmax(axis=1) == truth).astype(np.float64)
        threshold = threshold_at_risk(sure, right, s.train.accepted_risk)
        if threshold is not None:
            thresholds[field.name] = threshold
    return fitted, thresholds


def chat_length(item: Mapping[str, Any]) -> int:
    return sum(len(m["content"]) for m in item["messages"])


def read_training(directory: Path) -> dict[str, Any]:
    """What a student says of its own training; empty for one that was trained elsewhere."""
    from distill_gov.records.files import read_json

    path = directory / TRAINING
    return read_json(path, format="training") if path.exists() else {}


def mislabelled(examples: Sequence[Taught], project: Project) -> list[Taught]:
    """The control's teaching set: the decisions of 30 % of the examples are permuted among them."""
    rng = random.Random(f"mislabelled/{project.settings.seed}")
    chosen = sorted(rng.sample(range(len(examples)), round(MISLABELLED * len(examples))))
    donors = chosen[1:] + chosen[:1]
    tools = TargetMaker(project, base_model(project))
    changed = list(examples)
    names = [f.name for f in project.format.fields]
    for place, donor in zip(chosen, donors, strict=True):
        example, targets = examples[place]
        value = {**json.loads(example.answer), **{n: json.loads(examples[donor][0].answer)[n] for n in names}}
        text = project.format.text(value)
        new = tools.bare(example.id, text)
        other = examples[donor][1]
        taken = {f: i for i, f in enumerate(other.field) if f}
        start = new.n - targets.n
        # What it aims at is the teacher's, if of other texts.
        new = replace(_with_decisions(new, other, taken), identity=targets.identity)
        changed[place] = (replace(example, answer=text), _with_tail(new, targets, start))
    return changed


def _with_decisions(new: SoftTargets, donor: SoftTargets, taken: Mapping[str, int]) -> SoftTargets:
    changes = {j: _taken(donor, taken[field]) for j, field in enumerate(new.field) if field in taken}
    return replace(new.with_support(changes), temperature=donor.temperature)


def _with_tail(new: SoftTargets, own: SoftTargets, shift: int) -> SoftTargets:
    """Free positions keep the example's own targets; they stand ``shift`` tokens later."""
    free = [j for j in range(new.n) if not new.forced[j] and not new.field[j] and 0 <= j - shift < own.n]
    return new.with_support({j: _taken(own, j - shift) for j in free})


def _taken(targets: SoftTargets, position: int) -> tuple[Any, Any, float]:
    return *targets.support_at(position), float(targets.log_tail[position])
