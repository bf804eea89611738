"""The truth simulation: how often is a bad student promoted, and a good one passed?

    python benchmarks/promotions.py [--students N] [--workers 2] [--keep FILE] [--minutes M] [--json]

Every student is made from a truth that is known: case results drawn from it with a seed, the teacher's beside them, measured
by `evals.measure` and judged by `gates.decide.decide` under the support desk's policies, at the sizes that the demo has and
at those that `gate --plan` asks for. What a gate does not look at is good, so that nothing else keeps a bad student back.
Only requests of required gates are measured: the others decide nothing. Ratings have the provenance `human`.

Bars, held within what so many students can tell (exit code 1 where one is missed): a bad student, which is one exactly at the
edge of what a gate allows or beyond it, is promoted at most 5 % of the time, the gate meant for it passes at most 6 % (a point
off nominal is what the catalogue allows a method), evidence that is broken is never promoted, and a student at least as good as
the plan assumes passes all gates together 80 % of the time at the sizes that the plan asks for. Good, bad or between is told
from the truth and the policy. A cell misses its bar where the one-sided 99.9 % bound does, since there are some fifty.
`--keep` holds what was simulated, so that a run that was stopped goes on; `--minutes` stops it, and the tables then say what
there is. All cells grow together.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from evals.evidence import CaseResult, FieldDecision, Provenance, Subject
from evals.intervals import clopper_pearson
from evals.measuring import measure
from gates.decide import decide
from gates.plan import plan
from gates.policy import GateRule, Policy, load_policy
from gates.verdict import Verdict

EXAMPLE = Path(__file__).parents[1] / "examples" / "support_desk"
DEMO_SIZES = {"holdout": 300, "holdout/pii_reply_rate": 128, "hazardous": 150, "benign": 150, "format": 600, "ratings": 100}
"""The demo's cases; 128 of the holdout's messages carry personal data."""

BAD, GATE, GOOD = 0.05, 0.06, 0.80
SURE = 0.999
CHUNK = 20
STUDENT, TEACHER = (Subject(name, name, "m", "p", "t", "grammar", "e") for name in ("student", "teacher"))  # type: ignore[arg-type]
STAGES = ("build", "train", "evaluate")
Sizes = Mapping[str, int]
Rows = dict[str, list[CaseResult]]
Decide = Callable[[Policy, Rows, Sizes], Verdict]


@dataclass(frozen=True)
class Truth:
    """What a student is. Rates are of cases; differences are student minus teacher."""

    intent: float
    """Accuracy."""
    intent_difference: float
    intent_discordant: float
    match_difference: float
    """Of exact match."""
    match_discordant: float
    shift: float
    """Confidence is this much above the probability of being right, everywhere."""
    tilt: float
    """Confidence is above it by this times (rank - 0.45): too low at the bottom, too high at the top. The mean over five bins
    of equal mass is a quarter of this, the gap a twentieth. Smooth, so that where a sample puts its bins hardly matters."""
    invalid: float
    violations: float
    violations_difference: float
    violations_discordant: float
    refusals: float
    pii: float
    """Replies to messages with personal data that repeat some."""
    helpfulness_difference: float
    alpha: float
    broken: bool = False
    """Good, but its evidence is broken in one of the ways of :data:`BREAKS`."""

    def value(self, rule: GateRule) -> float:
        """The true value of what a gate measures."""
        found = {
            ("accuracy.intent", "level"): self.intent,
            ("accuracy.intent", "difference"): self.intent_difference,
            ("exact_match", "difference"): self.match_difference,
            ("calibration_error.intent", "level"): max(abs(self.shift), self.tilt / 4),
            ("confidence_gap.intent", "level"): abs(self.shift + self.tilt / 20),
            ("schema_validity", "level"): 1 - self.invalid,
            ("violation_rate", "level"): self.violations,
            ("violation_rate", "difference"): self.violations_difference,
            ("over_refusal_rate", "level"): self.refusals,
            ("pii_reply_rate", "level"): self.pii,
            ("helpfulness", "difference"): self.helpfulness_difference,
            ("rater_agreement", "level"): self.alpha,
        }
        if (rule.metric, rule.statistic) not in found:
            raise SystemExit(f"no truth is known for gate `{rule.id}`")
        return found[rule.metric, rule.statistic]


@lru_cache
def example(name: str) -> Policy:
    return load_policy(EXAMPLE / f"{name}.yaml")


@lru_cache
def registered(name: str) -> str:
    return example(name).rules_digest


def rules(policy: Policy) -> list[GateRule]:
    return [rule for rule in policy.gates if rule.required]


def good_student(policy: Policy) -> Truth:
    """The student that the plan assumes."""
    gates = {(rule.metric, rule.statistic): rule for rule in rules(policy)}

    def level(metric: str) -> float:
        found = gates[metric, "level"].assumed_value
        if found is None:
            raise SystemExit(f"`{metric}` has no assumed_value")
        return found

    return Truth(
        intent=level("accuracy.intent"),
        intent_difference=0.0,
        intent_discordant=gates["accuracy.intent", "difference"].assumed_discordant,
        match_difference=0.0,
        match_discordant=gates["exact_match", "difference"].assumed_discordant,
        shift=level("confidence_gap.intent"),
        tilt=0.0,
        invalid=1 - level("schema_validity"),
        violations=level("violation_rate"),
        violations_difference=0.0,
        violations_discordant=gates["violation_rate", "difference"].assumed_discordant,
        refusals=level("over_refusal_rate"),
        pii=level("pii_reply_rate"),
        helpfulness_difference=0.0,
        alpha=level("rater_agreement"),
    )


def scenarios(policy: Policy) -> dict[str, tuple[Truth, str]]:
    """Name to the truth and the gate meant for it; none for a good student."""
    good, gates = good_student(policy), {rule.id: rule for rule in rules(policy)}
    at = {name: rule.threshold for name, rule in gates.items()}
    better = replace(
        good, intent=good.intent + 0.02, intent_difference=0.02, match_difference=0.017, shift=good.shift / 2,
        invalid=good.invalid / 2, violations=good.violations / 2, refusals=good.refusals / 2, pii=good.pii / 2,
        helpfulness_difference=0.1,
    )  # fmt: skip
    worse = at["intent_not_inferior"]
    # The student's own level has to hold, so that the difference to the teacher is what it is caught by.
    teachers = max(0.0, min(0.02, 0.7 * at["violations"] - at["violations_not_worse"]))
    return {
        "good, as the plan assumes": (good, ""),
        "better than the teacher": (better, ""),
        "intent worse by the margin": (
            replace(good, intent_difference=worse, match_difference=0.85 * worse), "intent_not_inferior",
        ),
        "intent at its limit": (replace(good, intent=at["intent_level"]), "intent_level"),
        "exact match worse by the margin": (
            replace(good, match_difference=at["exact_match_not_inferior"]), "exact_match_not_inferior",
        ),
        "miscalibrated at the limit": (replace(good, shift=0.0, tilt=4 * at["calibration_intent"]), "calibration_intent"),
        "overconfident by the limit": (replace(good, shift=at["confidence_gap_intent"]), "confidence_gap_intent"),
        "format broken at the limit": (replace(good, invalid=1 - at["schema_valid"]), "schema_valid"),
        "violates at 2 %": (replace(good, violations=0.02), "violations"),
        "violates at the limit": (replace(good, violations=at["violations"]), "violations"),
        "violates more by the margin": (
            replace(good, violations=teachers + at["violations_not_worse"], violations_difference=at["violations_not_worse"]),
            "violations_not_worse",
        ),
        "refuses too much at the limit": (replace(good, refusals=at["over_refusal"]), "over_refusal"),
        "repeats PII at the limit": (replace(good, pii=at["pii_in_replies"]), "pii_in_replies"),
        "less helpful by the margin": (
            replace(good, helpfulness_difference=at["helpfulness_not_inferior"]), "helpfulness_not_inferior",
        ),
        "raters agree at the limit": (replace(good, alpha=at["rater_agreement"]), "rater_agreement"),
        "evidence broken": (replace(good, broken=True), ""),
    }  # fmt: skip


def kind(truth: Truth, policy: Policy) -> str:
    """``good``: nowhere worse than the plan assumes; ``bad``: somewhere at the edge of what is allowed or beyond; between."""
    if truth.broken:
        return "broken"
    good = good_student(policy)
    sure, fine = 1e-9, True
    for rule in rules(policy):
        sign = 1 if rule.side == "lower" else -1
        if sign * (truth.value(rule) - rule.threshold) <= sure:
            return "bad"
        fine = fine and sign * (truth.value(rule) - good.value(rule)) >= -sure
    return "good" if fine else "between"


# --- from a truth to case results


def pairs(rng: np.random.Generator, first: Any, difference: float, discordant: float) -> tuple[Any, Any]:
    """(n,) booleans of the student and, disagreeing as often as said, of the teacher.

    Args:
        first: per case whether the student has it, with the rate ``first.rate`` that they were drawn with.
        difference: of the rates, student minus teacher.
        discordant: share of cases on which they disagree, cut to what the rates allow.
    """
    has, rate = first
    other = rate - difference
    room = min(rate + other, 2 - rate - other)
    share = max(abs(difference), min(discordant, room))
    only_first, only_second = (share + difference) / 2, (share - difference) / 2
    leaves = np.where(has, only_first / rate if rate > 0 else 0.0, only_second / (1 - rate) if rate < 1 else 0.0)
    return has, has != (rng.random(len(has)) < leaves)


def matches(rng: np.random.Generator, truth: Truth, ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Exact matches of both: only where the intent is right, and as often apart as the truth says."""
    only_ours = (truth.match_discordant + truth.match_difference) / 2
    only_theirs = (truth.match_discordant - truth.match_difference) / 2
    one = (truth.intent_discordant + truth.intent_difference) / 2
    other = (truth.intent_discordant - truth.intent_difference) / 2
    both = truth.intent - one
    # Who alone has the intent right mostly has the rest right too; the other disagreements are about the rest.
    x, y = (min(0.85, 0.8 * part / whole) if whole > 0 else 0.0 for part, whole in ((only_ours, one), (only_theirs, other)))
    u, v = (only_ours - x * one) / both, (only_theirs - y * other) / both
    drawn = rng.random(len(ours))
    w = min(0.85, 1 - u - v)
    mine = np.where(theirs, drawn < u + w, drawn < x) & ours
    its = np.where(ours, (drawn >= u) & (drawn < u + w + v), drawn < y) & theirs
    return mine, its


def confidences(rng: np.random.Generator, truth: Truth, n: int) -> tuple[Any, Any]:
    """Confidence in the intent and whether it is right, each of shape (n,)."""
    mean = truth.intent + truth.shift + truth.tilt / 20
    a, b = 5 * mean, 5 * (1 - mean)
    sure = rng.beta(a, b, n)
    over = truth.shift + truth.tilt * (beta.cdf(sure, a, b) - 0.45)
    return sure, rng.random(n) < np.clip(sure - over, 0.0, 1.0)


SPREAD, NOISE, ROUNDED = 0.8, 0.08, 1 / 6
"""Spread of the paired difference of an item's mean ratings; variances of a rater's noise and of rounding to whole points."""


def ratings(rng: np.random.Generator, truth: Truth, n: int) -> tuple[Any, Any]:
    """Whole ratings from 1 to 5 by two raters, of the student and of the teacher, each of shape (2, n).

    Everything is drawn from bounded distributions and rounded up or down at random, so that nothing has to be cut off at 1 or 5
    and the true difference and the true alpha are what the truth says.
    """
    noise = NOISE + ROUNDED
    quality = truth.alpha / (1 - truth.alpha) * noise
    apart = max(0.0, min(1.0, (SPREAD**2 - noise) / (2 * quality)))
    theirs = rng.uniform(-1, 1, n) * np.sqrt(3 * quality)
    ours = np.where(rng.random(n) < apart, rng.uniform(-1, 1, n) * np.sqrt(3 * quality), theirs)
    given = []
    for value in (ours + truth.helpfulness_difference / 2, theirs - truth.helpfulness_difference / 2):
        points = 3 + value + rng.uniform(-1, 1, (2, n)) * np.sqrt(3 * NOISE)
        given.append(np.floor(points + rng.random((2, n))))
    return given[0], given[1]


def evidence(rng: np.random.Generator, truth: Truth, sizes: Sizes) -> Rows:
    """Case results of one student and of the teacher."""
    n = sizes["holdout"]
    sure, right = confidences(rng, truth, n)
    right, theirs = pairs(rng, (right, truth.intent), truth.intent_difference, truth.intent_discordant)
    exact, exact_theirs = matches(rng, truth, right, theirs)
    carries = np.arange(n) < sizes["holdout/pii_reply_rate"]
    echoes = carries & (rng.random(n) < truth.pii)
    scores = [
        {"schema_valid": 1.0, "exact_match": float(e), "carries_pii": float(c), "pii_echo": float(p), "pii_leak": 0.0}
        for e, c, p in zip(exact, carries, echoes, strict=True)
    ]
    said = [(FieldDecision("intent", "x", float(s), bool(r)),) for s, r in zip(sure, right, strict=True)]
    rows = {"student": results(STUDENT, "holdout", scores, said)}
    said = [(FieldDecision("intent", "x", None, bool(r)),) for r in theirs]
    rows["teacher"] = results(TEACHER, "holdout", [{"exact_match": float(e)} for e in exact_theirs], said)
    violates = rng.random(sizes["hazardous"]) < truth.violations
    mine, its = pairs(rng, (violates, truth.violations), truth.violations_difference, truth.violations_discordant)
    rows["student"] += results(STUDENT, "hazardous", [{"violation": float(v)} for v in mine])
    rows["teacher"] += results(TEACHER, "hazardous", [{"violation": float(v)} for v in its])
    for suite, score, rate in (("benign", "over_refusal", truth.refusals), ("format", "schema_valid", 1 - truth.invalid)):
        drawn = rng.random(sizes[suite]) < rate
        rows["student"] += results(STUDENT, suite, [{score: float(d)} for d in drawn])
    for subject, rated in zip((STUDENT, TEACHER), ratings(rng, truth, sizes["ratings"]), strict=True):
        rated_scores = [{"helpfulness": (a + b) / 2, "rating.a": float(a), "rating.b": float(b)} for a, b in rated.T]
        rows[subject.name] += results(subject, "ratings", rated_scores, provenance="human")
    return rows


def results(
    subject: Subject,
    suite: str,
    scores: Sequence[Mapping[str, float]],
    decisions: Sequence[tuple[FieldDecision, ...]] | None = None,
    provenance: Provenance = "measured",
) -> list[CaseResult]:
    said = decisions or [()] * len(scores)
    return [
        CaseResult(DIGESTS[subject.name], suite, f"{suite}{i:05}", suite, f"{suite}{i:05}", (), "ok", s, d, "", provenance)
        for i, (s, d) in enumerate(zip(scores, said, strict=True))
    ]


DIGESTS = {subject.name: subject.digest for subject in (STUDENT, TEACHER)}

BREAKS: Mapping[str, Callable[[CaseResult], CaseResult | None]] = {
    "a score is NaN": lambda r: replace(r, scores={name: float("nan") for name in r.scores}) if _first(r) else r,
    "a suite is missing": lambda r: None if r.suite == "hazardous" else r,
    "a case is missing": lambda r: None if _first(r) else r,
    "all cases errored": lambda r: replace(r, status="errored", scores={}) if r.suite == "hazardous" else r,
    "no case has a score": lambda r: replace(r, scores={}) if r.suite == "format" else r,
    "confidences are missing": lambda r: replace(r, decisions=()),
    "a confidence is NaN": lambda r: replace(r, decisions=tuple(replace(d, confidence=float("nan")) for d in r.decisions)),
    "other cases": lambda r: replace(r, dataset="other") if r.suite == "benign" else r,
    "another model": lambda r: replace(r, subject="other"),
    "ratings by a script": lambda r: replace(r, provenance="simulated") if r.suite == "ratings" else r,
}
"""How evidence can be broken: what becomes of each of the student's rows."""


def _first(row: CaseResult) -> bool:
    return row.case == "hazardous00000"


def broken(rows: Rows, number: int) -> Rows:
    change = list(BREAKS.values())[number % len(BREAKS)]
    return {**rows, "student": [made for row in rows["student"] if (made := change(row)) is not None]}


# --- from case results to a verdict


def judged(policy: Policy, rows: Rows, sizes: Sizes) -> Verdict:
    """Measured and decided as `distill-gov gate` does it."""
    suites = {name: n for name, n in sizes.items() if "/" not in name}
    found = measure(rows, list({rule.request("student"): None for rule in rules(policy)}), suites)
    return decide(
        policy,
        found,
        subject=STUDENT,
        references={"teacher": DIGESTS["teacher"]},
        expected_dataset={suite: suite for suite in suites},
        attempt=1,
        openings=1,
        model_input=policy.headers["model_input"],
        registered=registered(policy.name),
        ledger_head="sha256:none",
        measurements_digest="sha256:none",
        evidence={f"manifests/{stage}.json": "sha256:none" for stage in STAGES},
        at="2026-11-26T12:00:00Z",
    )


@dataclass(frozen=True)
class Chunk:
    """Some students of one cell; picklable, and its text is the key under which its results are kept."""

    policy: str
    digest: str
    sizes: tuple[tuple[str, int], ...]
    scenario: str
    start: int
    count: int


def simulate(chunk: Chunk, judge: Decide = judged) -> dict[str, int]:
    """How many were promoted, and how many passed each gate (``gate:ID``)."""
    policy, sizes = example(chunk.policy), dict(chunk.sizes)
    truth, _ = scenarios(policy)[chunk.scenario]
    stream = int.from_bytes(chunk.scenario.encode()[:16].ljust(16), "big")
    found: Counter[str] = Counter(students=chunk.count, promoted=0)
    for number in range(chunk.start, chunk.start + chunk.count):
        rows = evidence(np.random.default_rng([stream, sizes["holdout"], number]), truth, sizes)
        verdict = judge(policy, broken(rows, number) if truth.broken else rows, sizes)
        found["promoted"] += verdict.decision == "PASSED" and verdict.exit_code == 0
        found.update(f"gate:{outcome.gate}" for outcome in verdict.outcomes if outcome.outcome == "PASS")
    return dict(found)


# --- all cells


def tables(students: int, policies: Sequence[str] = ("gates", "gates.bank")) -> list[dict[str, Any]]:
    """Policy and sizes of each table, with the number of students a cell; the good ones get four times as many."""
    found = []
    for name in policies:
        policy = example(name)
        asked = plan(policy, DEMO_SIZES)
        for where, sizes in (("demo", DEMO_SIZES), ("plan", dict(asked.joint_needed))):
            joint = asked.joint if where == "demo" else GOOD
            found.append({"policy": name, "where": where, "sizes": sizes, "planned": joint})
    # Where the plan says that nobody can pass, a few show that it is so.
    cells = sum(len(scenarios(example(t["policy"]))) + 3 for t in found if t["planned"] > 0)
    for table in found:
        table["students"] = max(1, students // cells) if table["planned"] > 0 else max(1, students // (20 * cells))
    return found


def chunks(table: Mapping[str, Any]) -> Iterator[Chunk]:
    policy = example(table["policy"])
    for scenario in scenarios(policy):
        total = table["students"] * (4 if scenario.startswith("good") else 1)
        for start in range(0, total, CHUNK):
            sizes = tuple(sorted(table["sizes"].items()))
            yield Chunk(table["policy"], policy.digest, sizes, scenario, start, min(CHUNK, total - start))


def run(given: Sequence[Chunk], workers: int, keep: Path | None, minutes: float) -> dict[Chunk, dict[str, int]]:
    """Simulate all, or as many as the time allows, telling on stderr how far it is."""
    lines = keep.read_text().splitlines() if keep and keep.exists() else []
    kept = {row["key"]: row["found"] for row in map(json.loads, lines)}
    done = {chunk: kept[repr(chunk)] for chunk in given if repr(chunk) in kept}
    left = sorted((chunk for chunk in given if chunk not in done), key=lambda chunk: chunk.start)
    started, told = time.monotonic(), 0.0
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else nullcontext() as pool:
        for chunk, found in zip(left, pool.map(simulate, left) if pool else map(simulate, left), strict=True):
            done[chunk] = found
            if keep:
                with keep.open("a") as stream:
                    stream.write(json.dumps({"key": repr(chunk), "found": found}) + "\n")
            if (now := time.monotonic() - started) - told > 15:
                told = now
                simulated, everybody = (sum(c.count for c in chunks) for chunks in (done, given))
                print(f"{simulated:,} of {everybody:,} students, {now / 60:.1f} min", file=sys.stderr, flush=True)
            if now > 60 * minutes:
                if pool:
                    pool.shutdown(cancel_futures=True)
                break
    return done


def row(scenario: str, policy: Policy, planned: bool, counts: Mapping[str, int]) -> dict[str, Any]:
    """One line of a table, with the bars that it misses."""
    truth, gate = scenarios(policy)[scenario]
    n, k, of = counts["students"], counts["promoted"], kind(truth, policy)
    shown = clopper_pearson(k, n)
    alone = counts.get(f"gate:{gate}", 0) if gate else None
    missed = []
    if of == "bad" and _surely(k, n, "lower") > BAD:
        missed.append("promoted too often")
    if of == "bad" and alone is not None and _at_edge(truth, policy, gate) and _surely(alone, n, "lower") > GATE:
        missed.append("its gate passes too often")
    if of == "broken" and k:
        missed.append("promoted on broken evidence")
    if of == "good" and planned and _surely(k, n, "upper") < GOOD:
        missed.append("passes too seldom")
    return {
        "scenario": scenario, "kind": of, "students": n, "promoted": k, "rate": k / n, "low": shown.low, "high": shown.high,
        "gate": gate, "gate_rate": None if alone is None else alone / n, "missed": missed,
        "gates": {rule.id: counts.get(f"gate:{rule.id}", 0) / n for rule in rules(policy)},
    }  # fmt: skip


def _at_edge(truth: Truth, policy: Policy, gate: str) -> bool:
    rule = next(rule for rule in rules(policy) if rule.id == gate)
    return (truth.value(rule) - rule.threshold) * (1 if rule.side == "lower" else -1) <= 1e-9


def _surely(k: int, n: int, side: str) -> float:
    found = clopper_pearson(k, n, confidence=SURE, side=side)  # type: ignore[arg-type]
    return float(found.low if side == "lower" else found.high)  # type: ignore[arg-type]


def measured(students: int, workers: int, keep: Path | None = None, minutes: float = float("inf")) -> dict[str, Any]:
    started, made = time.monotonic(), tables(students)
    done = run([chunk for table in made for chunk in chunks(table)], workers, keep, minutes)
    for table in made:
        policy = example(table["policy"])
        counts: dict[str, Counter[str]] = {}
        for chunk in chunks(table):
            if chunk in done:
                counts.setdefault(chunk.scenario, Counter()).update(done[chunk])
        table["rows"] = [row(scenario, policy, table["where"] == "plan", found) for scenario, found in counts.items()]
    return {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "students": sum(r["students"] for table in made for r in table["rows"]),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "good": asdict(good_student(example("gates"))),
        "tables": made,
    }


def missed(found: Mapping[str, Any]) -> list[str]:
    rows = [(table, row) for table in found["tables"] for row in table["rows"]]
    return [f"{t['policy']}, {t['where']}: {r['scenario']}: {m}" for t, r in rows for m in r["missed"]]


def show(found: Mapping[str, Any]) -> str:
    """The same for a person."""
    lines = [f"{found['students']:,} students, {found['minutes']} minutes, {found['machine']}, {found['date']}"]
    for t in found["tables"]:
        sizes = ", ".join(f"{name} {n:,}" for name, n in sorted(t["sizes"].items()))
        what = "the demo's cases" if t["where"] == "demo" else "the cases that the plan asks for"
        lines += ["", f"{t['policy']}.yaml at {what}: {sizes}; the plan expects {t['planned']:.0%} of the good to pass"]
        lines.append(f"{'scenario':32s} {'truly':8s} {'n':>5s} {'promoted':>9s} {'95 % interval':>16s}  {'its gate passes':s}")
        for r in t["rows"]:
            interval = f"{r['low']:.1%} to {r['high']:.1%}"
            gate = f"{r['gate_rate']:7.1%} {r['gate']}" if r["gate"] else ""
            wrong = f"  MISSED: {', '.join(r['missed'])}" if r["missed"] else ""
            shown = f"{r['scenario']:32s} {r['kind']:8s} {r['students']:5,} {r['rate']:9.1%} {interval:>16s}  {gate}{wrong}"
            lines.append(shown.rstrip())
    return "\n".join([*lines, "", *(missed(found) or ["no bar is surely missed, as far as so many students can tell"])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measured(max(1, given.students), max(1, given.workers), given.keep, given.minutes)
    print(json.dumps(found, indent=2) if given.json else show(found))
    return int(bool(missed(found)))


if __name__ == "__main__":
    sys.exit(main())
