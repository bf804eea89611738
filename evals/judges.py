"""Judges of replies, and what their own errors do to a rate.

A judge is a classifier with a sensitivity and a specificity, not the truth. Both are measured on replies that people labelled,
and the rate that it finds is corrected for them: Rogan & Gladen (1978), American Journal of Epidemiology 107, 71-76.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from distill_gov.records.digest import canonical_json, digest_json
from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    MalformedFileError,
    MissingFileError,
)
from distill_gov.records.files import loads_strict
from evals.cases import Case, case_rows, parse_suite
from evals.catalogue import JUDGE_FLAGGED, JUDGE_LABELS, JUDGE_TRUTH
from evals.evidence import CaseResult, Provenance, dataset_digest
from evals.intervals import Estimate, Side, UndefinedEstimateError, clopper_pearson
from evals.safety import Flag, violation

__all__ = [
    "CallableJudge",
    "Judge",
    "JudgeErrors",
    "JudgeOutageError",
    "Labelled",
    "filter_judge",
    "flag_of",
    "installed_judge",
    "judge_adjusted",
    "judge_errors",
    "label_results",
    "read_labelled",
]

JUDGES = "distill_gov.judges"
"""Entry point group."""

_BOUNDS = 3
"""The rate, the sensitivity and the specificity are bounded at once."""


class Judge(Protocol):
    """Says whether a reply is harmful."""

    @property
    def name(self) -> str:
        """Name and version: a judge measured under another name is another judge."""
        ...

    def flag(self, case: Case, reply: str) -> bool | None:
        """Whether the reply to the case is harmful; None where there is no verdict."""
        ...


class JudgeOutageError(DistillGovError):
    """A judge gave no verdict. The case counts as errored, hence as the worst; it is never clean."""


@dataclass(frozen=True, slots=True)
class CallableJudge:
    """Any callable as a judge: a client of a server, a classifier, a table of people's verdicts.

    It is shown redacted messages, and the reply as the model gave it: a judge outside the house is shown what the model says.
    """

    name: str
    ask: Callable[[Case, str], bool | None]

    def flag(self, case: Case, reply: str) -> bool | None:
        return self.ask(case, reply)


def filter_judge() -> CallableJudge:
    """The filter of ``redaction``, which is the judge where no other is named. It knows English words only."""
    from redaction.filters.harm import HARM_RULE, HARM_VERSION, flag_reply

    return CallableJudge(f"{HARM_RULE}@{HARM_VERSION}", lambda _, reply: flag_reply(reply) is not None)


def installed_judge(name: str) -> Judge:
    """A judge of an installed package: an entry point of the group ``distill_gov.judges`` that makes one.

    Raises:
        BadInputError: none of that name is installed, it cannot be made, or it is none.
    """
    points = {point.name: point for point in entry_points(group=JUDGES)}
    if name not in points:
        known = f"Installed: {', '.join(sorted(points))}." if points else "No package with a judge is installed."
        raise BadInputError(f"no judge `{name}`", where="distill.yaml: evaluate.judge.name", fix=known)
    try:
        made = points[name].load()()
    except Exception as error:
        # Not chained: what it says may quote a text or a key.
        raise BadInputError(f"judge `{name}` cannot be made ({type(error).__name__})", where="distill.yaml") from None
    if not isinstance(getattr(made, "name", None), str) or not made.name or not callable(getattr(made, "flag", None)):
        raise BadInputError(f"`{name}` is no judge", where="distill.yaml", fix="It needs `name` and `flag(case, reply)`.")
    judge: Judge = made
    return judge


def flag_of(judge: Judge, case: Case) -> Flag:
    """The judge as the ``flag`` of :func:`evals.score.score_case`, for one case.

    Raises (when called):
        JudgeOutageError: it answers with anything but true or false, or with an exception, whose text is not repeated: it may
            quote the reply.
    """

    def flag(reply: str) -> bool:
        try:
            found = judge.flag(case, reply)
        except Exception as error:
            raise JudgeOutageError(f"judge `{judge.name}` failed with {type(error).__name__}") from None
        if not isinstance(found, bool):
            raise JudgeOutageError(f"judge `{judge.name}` gave no verdict")
        return found

    return flag


@dataclass(frozen=True, slots=True)
class Labelled:
    """A reply that people judged."""

    case: Case
    reply: str
    violates: bool
    """What people say: whether the answer does harm."""
    action: str | None = "refuse"
    """The action that the answer states, which is judged with the reply; the default leaves the verdict to the judge alone."""

    def __post_init__(self) -> None:
        if not isinstance(self.violates, bool):
            raise BadInputError("a labelled reply must say true or false", where="judge labels: violates")


def read_labelled(path: Path) -> list[Labelled]:
    """Read labelled replies: one JSON object a line, a case of :mod:`evals.cases` with ``reply``, ``violates`` and ``action``.

    Without ``action`` the reply alone is judged. Texts are taken as they stand: redact them first.

    Raises:
        MissingFileError, MalformedFileError, UnknownKeyError, DuplicateIdError: with file and line.
        NothingLeftError: the file holds no line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise MissingFileError("no such file of labelled replies", where=str(path)) from error
    # The case's own keys are put back into their lines, so that every error names the right one.
    labels = [_label(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]
    cases = parse_suite(b"\n".join(canonical_json(case) if case is not None else b"" for case, _ in labels), where=str(path))
    return [Labelled(case, **label) for case, label in zip(cases, (x for case, x in labels if case is not None), strict=True)]


def _label(line: bytes, where: str) -> tuple[Any, dict[str, Any]]:
    if not line.strip():
        return None, {}
    row = loads_strict(line, where=where)
    if not isinstance(row, dict):
        raise MalformedFileError("a labelled reply is a JSON object", where=where)
    label = {name: row.pop(name) for name in ("reply", "violates", "action") if name in row}
    for name, kinds, words in (("reply", (str,), "text"), ("violates", (bool,), "true or false")):
        if not isinstance(label.get(name), kinds):
            raise MalformedFileError(f"key `{name}` must be {words}", where=where)
    if not isinstance(label.get("action", ""), str | None):
        raise MalformedFileError("key `action` must be text or null", where=where)
    return row, label


def label_results(judge: Judge, labelled: Sequence[Labelled], *, provenance: Provenance = "human") -> list[CaseResult]:
    """Have a judge judge what people labelled: the case results of subject ``judge`` on suite ``judge_labels``.

    What is tested is the whole rule that makes the score ``violation``, so that its errors are those of that score.

    Args:
        provenance: of the labels: ``human``, or ``simulated`` where a model wrote them.

    Raises:
        DuplicateIdError: two replies to one case, whose verdicts are not independent.
    """
    if len({one.case.id for one in labelled}) != len(labelled):
        raise DuplicateIdError("two labelled replies are of one case", where="judge labels", fix="Keep one of them.")
    dataset = dataset_digest([_row(one) for one in labelled])
    results = []
    for one in labelled:
        scores, outage = {JUDGE_TRUTH: float(one.violates)}, False
        try:
            scores[JUDGE_FLAGGED] = float(violation(one.action, one.reply, flag_of(judge, one.case)))
        except JudgeOutageError:
            outage = True
        results.append(
            CaseResult(
                subject=digest_json({"judge": judge.name}),
                dataset=dataset,
                case=one.case.id,
                suite=JUDGE_LABELS,
                cluster=one.case.unit,
                slices=one.case.slices,
                status="errored" if outage else "ok",
                scores=scores,
                provenance=provenance,
            )
        )
    return results


def _row(one: Labelled) -> dict[str, object]:
    [row] = case_rows([one.case])
    return {"id": one.case.id, "case": row, "reply": one.reply, "action": one.action, "violates": one.violates}


@dataclass(frozen=True, slots=True)
class JudgeErrors:
    """Counts of a judge's verdicts on labelled replies. An outage is wrong wherever being wrong is worse."""

    flagged: int
    """Violations that it flagged."""
    violations: int
    passed: int
    """Clean replies that it did not flag."""
    clean: int
    violations_errored: int = 0
    clean_errored: int = 0

    def sensitivity(self, *, confidence: float = 0.95, side: Side = "two") -> Estimate:
        """Share of violations flagged, with its exact interval; an outage is a miss to the lower bound, a hit to the upper."""
        return _with_errored(self.flagged, self.violations, self.violations_errored, confidence, side)

    def specificity(self, *, confidence: float = 0.95, side: Side = "two") -> Estimate:
        """Share of clean replies not flagged, likewise."""
        return _with_errored(self.passed, self.clean, self.clean_errored, confidence, side)


def _with_errored(k: int, n: int, errored: int, confidence: float, side: Side) -> Estimate:
    if n == 0:
        raise UndefinedEstimateError("judge_unlabelled")
    worst = clopper_pearson(k, n, confidence=confidence, side=side)
    best = clopper_pearson(k + errored, n, confidence=confidence, side=side)
    return Estimate(worst.value, worst.low, best.high)


def judge_errors(results: Sequence[CaseResult]) -> JudgeErrors:
    """Count the verdicts of :func:`label_results`.

    Raises:
        UndefinedEstimateError: ``absent``, ``non_finite`` or ``out_of_range`` where a score is missing or no 0 or 1.
    """
    cells: dict[tuple[bool, bool | None], int] = {}
    for result in results:
        truth = _verdict(result, JUDGE_TRUTH)
        flagged = None if result.status == "errored" else _verdict(result, JUDGE_FLAGGED)
        cells[truth, flagged] = cells.get((truth, flagged), 0) + 1
    at = cells.get
    return JudgeErrors(
        flagged=at((True, True), 0),
        violations=sum(n for (truth, _), n in cells.items() if truth),
        passed=at((False, False), 0),
        clean=sum(n for (truth, _), n in cells.items() if not truth),
        violations_errored=at((True, None), 0),
        clean_errored=at((False, None), 0),
    )


def _verdict(result: CaseResult, name: str) -> bool:
    value = result.scores.get(name)
    if value is None:
        raise UndefinedEstimateError("absent")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise UndefinedEstimateError("non_finite")
    if value not in (0, 1):
        raise UndefinedEstimateError("out_of_range")
    return value == 1


def judge_adjusted(k: int, n: int, errors: JudgeErrors, *, confidence: float = 0.95, side: Side = "two") -> Estimate:
    """A rate of k in n as its judge found it, corrected for the judge's errors; the interval holds what is unknown of them.

    The value is (k/n + Sp - 1) / (Se + Sp - 1), cut to [0, 1]: Rogan & Gladen (1978). Each bound puts the exact bounds of
    the rate, of Se and of Sp into it, each at a third of the error (Bonferroni). The formula grows in the rate; with the rate
    between 1 - Sp and Se, where it must lie, it falls in Se and grows in Sp. So each bound holds with at least the confidence
    stated, whatever the sizes. Lang & Reiczigel (2014), Preventive Veterinary Medicine 113, 13-22, is narrower and approximate.

    It rests on the judge erring on these cases as on the labelled ones, which no count can show.

    Raises:
        UndefinedEstimateError: ``judge_unlabelled`` without a labelled case of each kind; ``judge_uninformative`` where
            Se + Sp <= 1 on them: what it flags then says nothing, or the contrary.
    """
    # A third of the error beyond each bound; "two" leaves half of it to each side.
    each = {"confidence": 1 - (1 - confidence) / _BOUNDS, "side": side}
    rate = clopper_pearson(k, n, **each)  # type: ignore[arg-type]
    se, sp = errors.sensitivity(**each), errors.specificity(**each)  # type: ignore[arg-type]
    if not se.value + sp.value > 1:
        raise UndefinedEstimateError("judge_uninformative")
    low = _corrected(rate.low or 0.0, _or(se.high, 1.0), sp.low or 0.0, undefined=0.0)
    high = _corrected(_or(rate.high, 1.0), se.low or 0.0, _or(sp.high, 1.0), undefined=1.0)
    return Estimate(_corrected(rate.value, se.value, sp.value, undefined=1.0), low, high)


def _corrected(rate: float, se: float, sp: float, *, undefined: float) -> float:
    if not se + sp > 1:
        return undefined
    return min(1.0, max(0.0, (rate + sp - 1) / (se + sp - 1)))


def _or(bound: float | None, otherwise: float) -> float:
    return otherwise if bound is None else bound
