"""Evidence that lm-evaluation-harness made: its results file and its samples (``--log_samples``) as case results.

Nothing of the aggregate is trusted: every figure is worked out from the samples again and held against it. What the harness
does not record (validity, personal data, safety, times, how sure a generated text was) stays missing, so that a gate that needs
it blocks. Read as lm-eval 0.4.13 writes them (``loggers/evaluation_tracker.py``).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_gov.records.errors import (
    BadInputError,
    DuplicateIdError,
    HashMismatchError,
    IntegrityError,
    MalformedFileError,
    MissingFileError,
    NothingLeftError,
)
from distill_gov.records.files import loads_strict, read_jsonl
from evals.cases import Case
from evals.catalogue.calibration import SEQUENCE
from evals.evidence import CaseResult, FieldDecision, Subject, dataset_digest
from evals.results import choice_decisions

__all__ = ["read_harness"]

CHOICE, GENERATION = "multiple_choice", "generate_until"
CLOSE = 1e-9
"""How far a mean may be from the aggregate's: both are double precision."""


@dataclass(frozen=True, slots=True)
class _Task:
    """One task of a results file, and the samples that belong to it."""

    name: str
    kind: str
    delimiter: str
    figures: Mapping[str, Any]
    documents: int
    where: Path


def read_harness(results: Path, subject: Subject, *, filter: str | None = None) -> dict[str, list[CaseResult]]:
    """Case results of every task in a results file of lm-evaluation-harness.

    A ``multiple_choice`` sample gives the decisions ``choice`` and ``choice_per_byte``, a ``generate_until`` sample with
    ``exact_match`` the decision ``sequence``, of unknown confidence.

    Args:
        results: ``results_<date>.json``; ``samples_<task>_<date>.jsonl`` must lie beside it.
        subject: who was measured, in the importer's word: ``declared`` must be true.
        filter: name of the harness's filter; needed only where a task has several.

    Returns:
        Results by task, as suites, in the order of the documents.

    Raises:
        BadInputError: the subject is not declared; several filters, or not this one; the run was cut short by ``--limit``.
        MissingFileError, MalformedFileError: a file is not there or not the harness's; NaN is no JSON number.
        DuplicateIdError: a document appears twice.
        NothingLeftError: no task, or a task without a sample.
        HashMismatchError: a document, prompt or target is not the one whose hash the harness recorded.
        IntegrityError: a figure of the results file is not that of the samples.
    """
    if not subject.declared:
        raise BadInputError("evidence made elsewhere needs a declared subject", fix="Set `declared` to true.")
    tasks = _tasks(results)
    return {task.name: _read_task(task, subject, filter) for task in tasks}


def _tasks(path: Path) -> list[_Task]:
    try:
        told = loads_strict(path.read_bytes(), where=str(path))
    except OSError as error:
        raise MissingFileError("no such results file", where=str(path)) from error
    if not isinstance(told, dict) or not all(isinstance(told.get(k), dict) for k in ("results", "configs", "n-samples")):
        raise MalformedFileError("not a results file of lm-evaluation-harness", where=str(path))
    if not path.name.startswith("results_"):
        raise MalformedFileError(
            "a results file is called results_<date>.json", where=str(path), fix="Keep the harness's names."
        )
    date = path.stem.removeprefix("results_")
    made = [_task(name, config, told, path, date) for name, config in told["configs"].items()]
    if not made:
        raise NothingLeftError("the results file holds no task", where=str(path))
    return made


def _task(name: str, config: Any, told: Mapping[str, Any], path: Path, date: str) -> _Task:
    figures, counts = told["results"].get(name), told["n-samples"].get(name)
    if not isinstance(config, dict) or not isinstance(figures, dict) or not isinstance(counts, dict):
        raise MalformedFileError(f"task `{name}` lacks its results or its counts", where=str(path))
    kind, delimiter = config.get("output_type"), config.get("target_delimiter", " ")
    if kind not in (CHOICE, GENERATION):
        raise BadInputError(
            f"task `{name}` is of a kind that is not imported", where=str(path), fix=f"{CHOICE} or {GENERATION}."
        )
    original, effective = counts.get("original"), counts.get("effective")
    if not (type(original) is int and type(effective) is int and 0 < effective <= original and isinstance(delimiter, str)):
        raise MalformedFileError(f"task `{name}` does not say how many documents it has", where=str(path))
    if effective < original:
        raise BadInputError(
            f"task `{name}` was run on {effective} of {original} documents", where=str(path), fix="Run it without --limit."
        )
    return _Task(name, kind, delimiter, figures, original, path.with_name(f"samples_{name}_{date}.jsonl"))


def _read_task(task: _Task, subject: Subject, wanted: str | None) -> list[CaseResult]:
    rows: list[tuple[str, Mapping[str, Any]]] = [(f"{task.where}:{n}", row) for n, row in read_jsonl(task.where)]
    if not rows:
        raise NothingLeftError("no samples in the file", where=str(task.where))
    name = _filter(task, {_text(row, "filter", where) for where, row in rows}, wanted)
    chosen: dict[int, tuple[str, Mapping[str, Any]]] = {}
    for where, row in rows:
        if row["filter"] != name:
            continue
        number = row.get("doc_id")
        if type(number) is not int or number < 0:
            raise MalformedFileError("key `doc_id` must be a whole number", where=where)
        if number in chosen:
            raise DuplicateIdError("a document with this `doc_id` came before", where=where)
        chosen[number] = (where, row)
    if len(chosen) != task.documents:
        raise IntegrityError(f"{len(chosen)} samples of {task.documents} documents", where=str(task.where))
    ordered = [chosen[number] for number in sorted(chosen)]
    for where, row in ordered:
        _same_hashes(row, where)
    scores = [_scores(row, where) for where, row in ordered]
    decisions = [_decisions(task, row, told, where) for (where, row), told in zip(ordered, scores, strict=True)]
    _same_figures(task, name, scores, {metric for _, row in ordered for metric in row["metrics"]})
    ids = [f"{task.name}-{number:06d}" for number in sorted(chosen)]
    dataset = dataset_digest(
        {"id": case, "doc": _sha(_document(row)), "target": row["target"]} for case, (_, row) in zip(ids, ordered, strict=True)
    )
    return [_result(task, subject, dataset, case, made) for case, made in zip(ids, decisions, strict=True)]


def _result(task: _Task, subject: Subject, dataset: str, case: str, decisions: tuple[FieldDecision, ...]) -> CaseResult:
    return CaseResult(
        subject=subject.digest,
        dataset=dataset,
        case=case,
        suite=task.name,
        cluster=case,
        slices=(),
        status="ok",
        scores={},
        decisions=decisions,
        provenance="imported",
    )


def _filter(task: _Task, there: set[str], wanted: str | None) -> str:
    if wanted is None and len(there) == 1:
        return next(iter(there))
    if wanted not in there:
        asked = "several filters, and none is chosen" if wanted is None else f"no filter `{wanted}`"
        raise BadInputError(f"task `{task.name}` has {asked}", where=str(task.where), fix=f"One of {', '.join(sorted(there))}.")
    return wanted


# --- one sample


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise MalformedFileError(f"key `{key}` must be text", where=where)
    return value


def _document(row: Mapping[str, Any]) -> str:
    return json.dumps(row.get("doc"), indent=2, ensure_ascii=False)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _arguments(row: Mapping[str, Any], where: str) -> list[tuple[str, Any]]:
    """(prompt, what is asked of it) of every request."""
    given: Any = row.get("arguments")
    try:
        found = [(given[f"gen_args_{i}"]["arg_0"], given[f"gen_args_{i}"]["arg_1"]) for i in range(len(given))]
    except (TypeError, KeyError) as error:
        raise MalformedFileError("key `arguments` is not the harness's", where=where) from error
    if not found or not all(isinstance(prompt, str) for prompt, _ in found) or len({prompt for prompt, _ in found}) > 1:
        raise MalformedFileError("a sample's requests must share one prompt", where=where)
    return found


def _same_hashes(row: Mapping[str, Any], where: str) -> None:
    """What the harness recorded a hash of is what stands here; a hash that was not recorded is not asked for."""
    prompt = _arguments(row, where)[0][0]
    for key, text in (("doc_hash", _document(row)), ("prompt_hash", prompt), ("target_hash", _text(row, "target", where))):
        if key in row and row[key] != _sha(text):
            raise HashMismatchError(f"not what `{key}` was recorded of", where=where, fix="Restore the harness's own file.")


def _scores(row: Mapping[str, Any], where: str) -> dict[str, float]:
    """The harness's scores of a sample that are numbers."""
    names = row.get("metrics")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MalformedFileError("key `metrics` must be a list of names", where=where)
    found = {}
    for name in names:
        value = row.get(name)
        if isinstance(value, bool) or value is None or isinstance(value, str):
            raise MalformedFileError(f"score `{name}` must be a number", where=where)
        if isinstance(value, int | float):
            found[name] = float(value)
    return found


def _decisions(task: _Task, row: Mapping[str, Any], scores: Mapping[str, float], where: str) -> tuple[FieldDecision, ...]:
    if task.kind == CHOICE:
        return _choice(task, row, scores, where)
    right = scores.get("exact_match")
    if right is None:
        return ()
    if right not in (0.0, 1.0):
        raise MalformedFileError("score `exact_match` must be 0 or 1", where=where)
    # The text itself is not taken over: nobody redacted it.
    return (FieldDecision(SEQUENCE, "", None, right == 1.0, row["target"]),)


def _choice(task: _Task, row: Mapping[str, Any], scores: Mapping[str, float], where: str) -> tuple[FieldDecision, ...]:
    asked = [choice for _, choice in _arguments(row, where)]
    if not all(isinstance(choice, str) for choice in asked):
        raise MalformedFileError("a choice must be text", where=where)
    choices = tuple(choice.removeprefix(task.delimiter) for choice in asked)
    if len(set(choices)) < max(2, len(choices)) or not all(choices):
        raise MalformedFileError("choices must be two or more, none of them empty or twice", where=where)
    weights = _weights(row, len(choices), where)
    right = _right(row["target"], choices, where)
    case = Case("x", task.name, ({"role": "user", "content": ""},), ask="choice", choices=choices, target=choices[right])
    found = choice_decisions(case, weights)
    # As the harness has it: `acc_norm` divides by characters.
    by_length = [weight / len(choice) for weight, choice in zip(weights, choices, strict=True)]
    own = {"acc": _first_best(weights) == right, "acc_norm": _first_best(by_length) == right, "acc_bytes": found[1].correct}
    for name, value in own.items():
        if name in scores and scores[name] != float(bool(value)):
            raise IntegrityError(f"score `{name}` is not that of the sample's own log-likelihoods", where=where)
    return tuple(found)


def _weights(row: Mapping[str, Any], count: int, where: str) -> list[float]:
    """Log-likelihoods; the harness writes them as texts."""
    try:
        found = [float(pair[0]) for pair in row["filtered_resps"]]
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise MalformedFileError("key `filtered_resps` must hold a log-likelihood a choice", where=where) from error
    if len(found) != count or not all(math.isfinite(value) and value <= 0 for value in found):
        raise MalformedFileError("key `filtered_resps` must hold a finite log-likelihood a choice", where=where)
    return found


def _right(target: str, choices: Sequence[str], where: str) -> int:
    """Index of the right choice: the harness writes its number, or the choice itself."""
    named = {choices.index(target)} if target in choices else set()
    numbered = {int(target)} if target.isascii() and target.isdigit() and int(target) < len(choices) else set()
    if len(named | numbered) != 1:
        raise MalformedFileError("key `target` does not tell one of the choices", where=where)
    return (named | numbered).pop()


def _first_best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: (values[i], -i))


# --- the aggregate


def _same_figures(task: _Task, filter: str, scores: Sequence[Mapping[str, float]], logged: set[str]) -> None:
    """Every figure of this filter is the mean of its samples, and every mean stands among the figures.

    Args:
        logged: every metric that the samples name; those that are no number a sample (BLEU, F1) are not imported.
    """
    names = {name for row in scores for name in row}
    for name in sorted(names):
        if not all(name in row for row in scores):
            raise IntegrityError(f"score `{name}` is missing from some samples", where=str(task.where))
        told = task.figures.get(f"{name},{filter}")
        mean = math.fsum(row[name] for row in scores) / len(scores)
        if isinstance(told, bool) or not isinstance(told, int | float) or not abs(told - mean) <= CLOSE:
            raise IntegrityError(
                f"`{name},{filter}` of task `{task.name}` is not the mean of its samples",
                where=str(task.where),
                fix="Use results and samples of one run.",
            )
    for key in task.figures:
        name, comma, of = key.partition(",")
        if comma and of == filter and not name.endswith("_stderr") and name not in logged:
            raise IntegrityError(f"`{key}` of task `{task.name}` has no samples that it could be of", where=str(task.where))
