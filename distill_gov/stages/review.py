"""A reviewer looks at redacted rows of the teaching set before anything is trained on them: packet out, answers in.

What counts is not the rate in the sample but what the sample shows: the exact one-sided 95 % upper bound on the share of all
rows that the reviewer would reject (hypergeometric: rows are drawn without replacement, so that a review of all rows is exact).
It is computed as if the rows were drawn without regard to slices; drawing the same share of each varies less. A sample that
could not show the limit with no row rejected is made larger.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, lgamma
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_gov.records.digest import digest_file, digest_json
from distill_gov.records.errors import (
    BadInputError,
    DistillGovError,
    DuplicateIdError,
    ForeignRunError,
    HashMismatchError,
    IntegrityError,
    MalformedFileError,
    MissingFileError,
)
from distill_gov.records.files import read_jsonl, write_bytes, write_json, write_text
from distill_gov.records.manifest import StageManifest, done_before, hash_outputs, now, read_manifest
from distill_gov.stages.settled import anchor, finish, versions
from distill_gov.teaching_set.examples import TeachingExample
from evals.ratings.page import filled
from redaction import Finding
from redaction.policy import load_policy

if TYPE_CHECKING:
    from distill_gov.project import Project, Run

__all__ = [
    "REASONS",
    "NotReviewedError",
    "ReviewRejectedError",
    "ReviewResult",
    "at_most",
    "check_asked",
    "import_review",
    "require_review",
    "review_id",
    "review_packet",
    "reviewed",
    "rows_needed",
]

FORMAT = "review-packet"
STAGE = "review"

REASONS: Mapping[str, str] = {
    "personal_data": "Personal data is left in it",
    "wrong_redaction": "Something was taken out that is nobody's personal data, and the row says something else now",
    "wrong_answer": "The answer is wrong",
    "unsafe": "The answer does harm, or promises what must not be promised",
    "other": "Something else; tell whoever sent the page",
}
"""Why a row is rejected. Codes only: a reviewer who wrote down what was missed would write down somebody's data."""

_DOUBT = 0.05 * (1 - 1e-7)
"""The bound holds with 95 % confidence; what rounding leaves open counts for the doubt."""
_KEYS = frozenset(("packet", "row", "decision", "reason"))
_ROLE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


class NotReviewedError(BadInputError):
    """Rows went out for a review, and no answer came in."""


class ReviewRejectedError(DistillGovError):
    """The review does not show that few enough rows would be rejected."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What a review came to."""

    rows: int
    rejected: int
    population: int
    """Rows of the teaching set that the sample was drawn from."""
    limit: float
    reasons: Mapping[str, int]

    @property
    def upper(self) -> float:
        """The share of all rows that at most would be rejected, with 95 % confidence."""
        return at_most(self.rejected, self.rows, self.population) / self.population

    @property
    def passed(self) -> bool:
        return self.upper <= self.limit

    def told(self) -> str:
        """The result in one line."""
        shown = f"{self.rejected} of {self.rows} reviewed rows rejected ({self.rejected / self.rows:.1%})"
        return f"{shown}, at most {self.upper:.1%} of all {self.population:,} with 95 % confidence; limit {self.limit:.1%}"


# -- how many -------------------------------------------------------------------------------------------------------------


def at_most(rejected: int, rows: int, population: int) -> int:
    """Largest number of bad rows in the population under which so few in the sample have a chance of more than 5 %.

    The exact upper bound for sampling without replacement (Cochran (1977), "Sampling Techniques", section 3.6).
    """
    low, high = rejected, population - rows + rejected
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _chance(rejected, rows, middle, population) > _DOUBT else (low, middle - 1)
    return low


def _chance(rejected: int, rows: int, bad: int, population: int) -> float:
    """Chance of at most so many rejected rows in the sample if so many are bad in the population: hypergeometric."""
    whole = _log_ways(population, rows)
    possible = range(max(0, rows - (population - bad)), min(rejected, bad) + 1)
    return fsum(exp(_log_ways(bad, i) + _log_ways(population - bad, rows - i) - whole) for i in possible)


def _log_ways(of: int, taken: int) -> float:
    return lgamma(of + 1) - lgamma(taken + 1) - lgamma(of - taken + 1)


def rows_needed(population: int, limit: float) -> int:
    """Rows to look at so that a review without a rejected row shows the limit."""
    low, high = 1, population
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if at_most(0, middle, population) <= limit * population else (middle + 1, high)
    return low


# -- out ------------------------------------------------------------------------------------------------------------------


def review_id(project: Project, example: str) -> str:
    """The opaque id under which a packet shows an example."""
    return project.keyring.subkey("review").mac("row", example)[:16]


def check_asked(before: StageManifest, asked: int | None, path: Path) -> None:
    """A build that is done sends out nothing more.

    Raises:
        ForeignRunError: it was asked for another review, or for none.
    """
    facts = before.facts.get("review")
    if asked is not None and (facts is None or facts["asked"] != asked):
        raise ForeignRunError(
            "stage `build` was done with another `--review`", where=str(path), fix="Use a new run name (--run)."
        )


def review_packet(
    project: Project, run: Run, examples: Sequence[TeachingExample], findings: Sequence[Finding], asked: int | None
) -> dict[str, Any]:
    """Write a packet of rows if one is asked for, here or by ``redaction.yaml``; returns the facts for the build's manifest."""
    policy = load_policy(project.layout.redaction).review
    if asked is None and not policy.required:
        return {}
    if asked is not None and asked < 1:
        raise BadInputError("--review needs at least one row")
    population = len(examples)
    least = max(asked or policy.rows, policy.min_rows, rows_needed(population, policy.max_reject_rate))
    chosen = _sampled(project, examples, min(population, least))
    # Ids say nothing about the traces' order: rows are shown in theirs.
    rows = sorted((_row(project, e, findings) for e in chosen), key=lambda row: str(row["row"]))
    packet = {"run": run.layout.name, "reasons": dict(REASONS), "rows": rows}
    digest = digest_json(packet)
    write_json(run.layout.review / "packet.json", packet, format=FORMAT)
    page = filled(Path(__file__).with_name("review_page.html"), {**packet, "packet": digest})
    write_text(run.layout.review / "page.html", page)
    return {
        "review": {
            "asked": asked,
            "packet": digest,
            "rows": [row["row"] for row in rows],
            "population": population,
            "max_reject_rate": policy.max_reject_rate,
        }
    }


def _sampled(project: Project, examples: Sequence[TeachingExample], count: int) -> list[TeachingExample]:
    """A keyed draw: the same share of each slice, by largest remainders. Nobody picks, and nobody without the key foresees."""
    key = project.keyring.subkey("review")
    slices: dict[str, list[TeachingExample]] = defaultdict(list)
    for example in sorted(examples, key=lambda e: key.mac("draw", e.id)):
        slices[str(example.tags.get("slice", ""))].append(example)
    exact = {name: len(rows) * count / len(examples) for name, rows in slices.items()}
    taken = {name: int(share) for name, share in exact.items()}
    for name in sorted(slices, key=lambda n: (taken[n] - exact[n], n))[: count - sum(taken.values())]:
        taken[name] += 1
    return [example for name, rows in slices.items() for example in rows[: taken[name]]]


def _row(project: Project, example: TeachingExample, findings: Sequence[Finding]) -> dict[str, Any]:
    found = Counter(
        (_place(f, example), f.entity, f.rule) for f in findings if f.item in (example.trace, example.id)
    )  # fmt: skip
    return {
        "row": review_id(project, example.id),
        "messages": [dict(m) for m in example.messages],
        "answer": example.answer,
        "found": [{"place": place, "entity": e, "rule": r, "times": n} for (place, e, r), n in sorted(found.items())],
    }


def _place(finding: Finding, example: TeachingExample) -> str:
    """Where something was found, in a reader's words: ``message 1``, ``answer``."""
    number = finding.field.split("/")[1] if finding.field.startswith("/") else ""
    # What a trace brought along behind its own turns is its answer.
    own = finding.item == example.trace and number.isdigit() and int(number) < len(example.messages)
    return f"message {int(number) + 1}" if own else "answer"


# -- in -------------------------------------------------------------------------------------------------------------------


def import_review(project: Project, run: Run, file: Path, reviewer: str) -> StageManifest:
    """Check a reviewer's answers and keep them; ``train`` reads them.

    Args:
        file: JSON Lines, one object a row: ``packet``, ``row``, ``decision`` (accept, reject) and ``reason``.
        reviewer: a role account such as ``privacy-officer``.

    Raises:
        MissingFileError: no rows went out.
        BadInputError: (or a subclass) an answer does not fit, or is missing; names file and line. Nothing is kept then.
        ForeignRunError: other answers were imported before: a review is not repeated until it pleases.
    """
    layout = run.layout
    if not _ROLE.fullmatch(reviewer):
        raise BadInputError(
            "the reviewer must be a role account: 1-64 of a-z, 0-9, dot, dash, underscore", fix="Such as privacy-officer."
        )
    facts = _asked_for(run)
    if facts is None:
        raise MissingFileError("no rows went out for a review", where=layout.name, fix="Build with --review N in a new run.")
    path, started = layout.manifest(STAGE), now()
    result = _result(_answers(file, facts), facts)
    inputs = {"packet": str(facts["packet"]), "answers": digest_file(file)}
    if before := done_before(path, inputs):
        anchor(path, STAGE, project.ledger, layout.name)
        return before
    target = _kept(run)
    write_bytes(target, file.read_bytes())
    manifest = StageManifest(
        stage=STAGE,
        inputs=inputs,
        outputs=hash_outputs(layout.root, [target]),
        versions=versions(),
        counts={"rows": result.rows, "rejected": result.rejected},
        facts={"reviewer": reviewer, "reasons": dict(result.reasons), "upper": result.upper, "passed": result.passed},
        started=started,
        finished=now(),
    )
    return finish(path, manifest, project.ledger, layout.name)


def reviewed(run: Run) -> ReviewResult:
    """The result of a run's imported review, counted anew from the answers.

    Raises:
        NotReviewedError: no answers came in.
        HashMismatchError, IntegrityError: answers or manifest are not those that were imported.
    """
    facts, path, target = _asked_for(run), run.layout.manifest(STAGE), _kept(run)
    if facts is None or not path.exists():
        raise NotReviewedError(
            "rows of the teaching set went out for a review, and no answer came in",
            where=run.layout.name,
            fix=f"Run `distill-gov review import FILE --run {run.layout.name}`.",
        )
    manifest = read_manifest(path)
    name = target.relative_to(run.layout.root).as_posix()
    if not target.is_file() or digest_file(target) != manifest.outputs.get(name):
        raise HashMismatchError("the review's answers are not those that were imported", where=str(target), fix="Restore them.")
    if manifest.inputs.get("packet") != facts["packet"]:
        raise IntegrityError("the review is of another packet", where=str(path), fix="Restore the manifests.")
    return _result(_answers(target, facts), facts)


def require_review(project: Project, run: Run) -> None:
    """Let training begin only if the review that the build sent out came back and shows what it must.

    Raises:
        NotReviewedError: it did not come back, or ``redaction.yaml`` requires one and the build sent none out.
        ReviewRejectedError: too many rows were rejected.
        IntegrityError: its manifest is not the one that the ledger knows.
    """
    layout = run.layout
    if _asked_for(run) is None:
        if load_policy(project.layout.redaction).review.required:
            raise NotReviewedError(
                "redaction.yaml requires a review, and this run was built without one",
                where=layout.name,
                fix="Build anew under a new run name (--run).",
            )
        return
    result = reviewed(run)
    known = {"run": layout.name, "stage": STAGE, "manifest": digest_file(layout.manifest(STAGE))}
    if all(dict(e.facts) != known for e in project.ledger.find("stage.done")):
        raise IntegrityError("the manifest of `review` is not the one the ledger knows", where=layout.name)
    if not result.passed:
        raise ReviewRejectedError(
            f"training is blocked by the review: {result.told()}",
            where=layout.name,
            fix="Mend redaction.yaml or the traces, and build under a new run name (--run).",
        )


def _asked_for(run: Run) -> Mapping[str, Any] | None:
    path = run.layout.manifest("build")
    facts: Mapping[str, Any] | None = read_manifest(path).facts.get("review") if path.exists() else None
    return facts


def _kept(run: Run) -> Path:
    return run.layout.review / "responses" / "answers.jsonl"


def _answers(file: Path, facts: Mapping[str, Any]) -> dict[str, str]:
    """Row to the reason why it was rejected, empty for an accepted one; every row has its answer."""
    found: dict[str, str] = {}
    for number, value in read_jsonl(file):
        where = f"{file}:{number}"
        if set(value) != _KEYS or not all(isinstance(v, str) for v in value.values()):
            raise MalformedFileError(f"an answer has the keys {', '.join(sorted(_KEYS))}, each text", where=where)
        if value["packet"] != facts["packet"]:
            raise BadInputError("the answer belongs to another packet", where=where, fix="Import it where it belongs.")
        if value["row"] not in facts["rows"]:
            raise BadInputError("the row is not in the packet", where=where)
        if value["row"] in found:
            raise DuplicateIdError("the row is answered a second time", where=where, fix="Keep one answer.")
        if value["decision"] not in ("accept", "reject"):
            raise MalformedFileError("key `decision` must be accept or reject", where=where)
        if (value["reason"] in REASONS) != (value["decision"] == "reject") or (
            value["reason"] and value["decision"] == "accept"
        ):
            raise MalformedFileError(
                f"key `reason` must be one of {', '.join(REASONS)} for a rejected row, and empty for an accepted one",
                where=where,
            )
        found[value["row"]] = value["reason"]
    # A row that nobody answered could be the one to reject.
    if missing := len(facts["rows"]) - len(found):
        raise BadInputError(f"{missing} rows have no answer", where=str(file), fix="Answer every row of the page.")
    return found


def _result(answers: Mapping[str, str], facts: Mapping[str, Any]) -> ReviewResult:
    reasons = Counter(reason for reason in answers.values() if reason)
    return ReviewResult(
        len(answers), sum(reasons.values()), int(facts["population"]), float(facts["max_reject_rate"]), dict(reasons)
    )
