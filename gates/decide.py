"""From measurements and a policy to a verdict: a pure function that never raises over what was measured.

Only a bound that is known to be on the right side passes. Every comparison is written ``if not (bound >= limit)``, because a
comparison with NaN is false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from distill_gov.records.errors import IntegrityError
from distill_gov.records.layout import RunLayout
from evals.catalogue import CONTRADICTIONS, NOTES, lookup
from evals.evidence import Measurement, MeasurementRequest, Subject
from gates.plan import needed_cases
from gates.policy import GateRule, Policy, shown
from gates.verdict import GateOutcome, Outcome, Verdict

__all__ = ["decide", "decide_again", "verify_verdict"]

_TOLERANCE = 1e-9
"""Rounding of the interval methods, where a bound and the value are the same number."""


@dataclass(frozen=True, slots=True)
class _Circumstances:
    """What the measurements are held against, besides the policy."""

    subject_name: str
    subject: str
    datasets: Mapping[str, str]
    references: Mapping[str, str]
    attempt: int
    openings: int | None
    model_input: str
    registered: str
    evidence: Mapping[str, str]
    at: str


@dataclass(frozen=True, slots=True)
class _Finding:
    """An outcome before it is tied to its gate."""

    outcome: Outcome
    code: str
    reason: str
    needed_n: int | None = None


def decide(
    policy: Policy,
    measurements: Sequence[Measurement],
    *,
    subject: Subject | None,
    references: Mapping[str, str],
    expected_dataset: Mapping[str, str],
    attempt: int,
    openings: int | None,
    model_input: str,
    registered: str,
    ledger_head: str,
    measurements_digest: str,
    evidence: Mapping[str, str],
    at: str,
) -> Verdict:
    """Judge one subject.

    Args:
        policy: the policy.
        measurements: what was measured; those that no gate asks for are ignored.
        subject: who is judged; None where nothing was measured.
        references: name to :attr:`Subject.digest` of the subjects that gates compare with.
        expected_dataset: suite to the digest of the cases that had to be used.
        attempt: the how-manieth student measured on this holdout, from 1.
        openings: how often this holdout had been opened for an evaluation by then, from 1. None: a verdict of a release that
            did not count them is decided again.
        model_input: what the subjects read, ``redacted`` or ``raw``; empty where it is not recorded.
        registered: :attr:`Policy.rules_digest` as the ledger had it before this run's evaluation opened the holdout; empty
            where it had none.
        ledger_head: the ledger's last digest.
        measurements_digest: digest of the measurements file.
        evidence: path below the run to digest of every evidence file, the manifests of the stages included.
        at: time of the decision, RFC 3339.

    Returns:
        The verdict; PASSED only if every required gate passed and nothing is in error.
    """
    circumstances = _Circumstances(
        subject_name=subject.name if subject else "student",
        subject=subject.digest if subject else "",
        datasets=dict(expected_dataset),
        references=dict(references),
        attempt=attempt,
        openings=openings,
        model_input=model_input,
        registered=registered,
        evidence=dict(evidence),
        at=at,
    )
    return _judge(policy, measurements, circumstances, ledger_head=ledger_head, measurements_digest=measurements_digest)


def decide_again(verdict: Verdict, policy: Policy, measurements: Sequence[Measurement], *, at: str | None = None) -> Verdict:
    """The verdict that the same evidence gives, at the verdict's own time or at another one."""
    circumstances = _Circumstances(
        subject_name=verdict.subject_name,
        subject=verdict.subject,
        datasets=verdict.datasets,
        references=verdict.references,
        attempt=verdict.attempt,
        openings=verdict.openings,
        model_input=verdict.model_input,
        registered=verdict.registered,
        evidence=verdict.evidence,
        at=verdict.at if at is None else at,
    )
    return _judge(
        policy, measurements, circumstances, ledger_head=verdict.ledger_head, measurements_digest=verdict.measurements
    )


def verify_verdict(verdict: Verdict, policy: Policy, measurements: Sequence[Measurement]) -> None:
    """Decide again from stored files and compare. Wording and ``needed_n`` may differ between releases; nothing else may.

    Raises:
        IntegrityError: the policy is another one, or a gate or the decision comes out differently.
    """
    if (verdict.policy, verdict.policy_digest) != (policy.name, policy.digest):
        raise IntegrityError(f"verdict was made under another policy than `{policy.name}`", fix="Restore that policy file.")
    again = decide_again(verdict, policy, measurements)
    stored = {outcome.gate: outcome for outcome in verdict.outcomes}
    if len(stored) != len(verdict.outcomes):
        raise IntegrityError("verdict names a gate twice")
    for outcome in again.outcomes:
        if outcome.gate not in stored:
            raise IntegrityError(f"gate `{outcome.gate}` is missing from the verdict")
        if _comparable(stored[outcome.gate]) != _comparable(outcome):
            raise IntegrityError(
                f"gate `{outcome.gate}` was stored as {stored[outcome.gate].outcome} and decides again as {outcome.outcome}"
            )
    if foreign := sorted(set(stored) - {outcome.gate for outcome in again.outcomes}):
        raise IntegrityError(f"gate `{foreign[0]}` is in the verdict and not in the policy")
    for name in ("decision", "simulated", "max_attempts", "max_openings", "headers"):
        if getattr(verdict, name) != getattr(again, name):
            raise IntegrityError(f"`{name}` of the verdict is not what its gates and policy give")


def _comparable(outcome: GateOutcome) -> GateOutcome:
    return replace(outcome, reason="", needed_n=None)


def _judge(
    policy: Policy,
    measurements: Sequence[Measurement],
    circumstances: _Circumstances,
    *,
    ledger_head: str,
    measurements_digest: str,
) -> Verdict:
    absent = [stage for stage in policy.requires if _manifest(stage) not in circumstances.evidence]
    missing = (*map(_missing_stage, absent), *_other_input(policy, circumstances))
    everywhere = (
        _not_registered(policy, circumstances)
        or _too_many_attempts(policy, circumstances)
        or _too_many_openings(policy, circumstances)
    )
    gates = tuple(_outcome(rule, everywhere, measurements, circumstances) for rule in policy.gates)
    outcomes = (*missing, *gates)
    evaluated = {outcome.gate for outcome in gates if outcome.required}
    complete = bool(evaluated) and evaluated == policy.required
    passed = complete and not any(outcome.blocks for outcome in outcomes)
    used = (outcome.measurement for outcome in outcomes)
    return Verdict(
        decision="PASSED" if passed else "BLOCKED",
        outcomes=outcomes,
        policy=policy.name,
        policy_digest=policy.digest,
        headers={key: shown(value) for key, value in policy.headers.items()},
        model_input=circumstances.model_input,
        subject_name=circumstances.subject_name,
        subject=circumstances.subject,
        attempt=circumstances.attempt,
        max_attempts=policy.max_attempts,
        simulated=policy.accepts_simulated or any(m is not None and "simulated" in m.provenance for m in used),
        measurements=measurements_digest,
        evidence=circumstances.evidence,
        ledger_head=ledger_head,
        at=circumstances.at,
        registered=circumstances.registered,
        datasets=circumstances.datasets,
        references=circumstances.references,
        openings=circumstances.openings,
        max_openings=None if circumstances.openings is None else policy.max_openings,
    )


def _manifest(stage: str) -> str:
    return RunLayout(Path()).manifest(stage).as_posix()


def _missing_stage(stage: str) -> GateOutcome:
    return _not_met(stage, "absent", f"the policy requires stage `{stage}`, and its manifest is not among the evidence")


def _other_input(policy: Policy, given: _Circumstances) -> tuple[GateOutcome, ...]:
    """Whether the subjects read another kind of text than the policy is about. Where nothing was measured, nothing was read."""
    wanted = policy.headers["model_input"]
    if not given.subject or given.model_input == wanted:
        return ()
    was = f"{given.model_input} text" if given.model_input else "text of a kind that is not recorded"
    return (_not_met("model_input", "other_input", f"the policy is about models that read {wanted} text, these read {was}"),)


def _not_met(requirement: str, code: str, reason: str) -> GateOutcome:
    return GateOutcome(
        gate=f"requires.{requirement}",
        outcome="INCONCLUSIVE",
        reason=reason,
        code=code,
        measurement=None,
        reference_value=None,
        limit=0.0,
        needed_n=None,
    )


def _outcome(
    rule: GateRule, everywhere: _Finding | None, measurements: Sequence[Measurement], given: _Circumstances
) -> GateOutcome:
    """The outcome of one gate; a finding that holds for every gate comes before its own."""
    request = rule.request(given.subject_name)
    found = [m for m in measurements if m.request == request]
    measurement = found[0] if len(found) == 1 else None
    finding = (
        everywhere
        or _selected(request, found, measurements)
        or next((f for check in _CHECKS if measurement and (f := check(rule, measurement, given))), None)
    )
    if finding is None and measurement is not None:
        finding = _bound(rule, measurement)
    if finding is None:  # not reachable; a gate without a finding must not pass
        finding = _Finding("ERROR", "undecided", "no check decided on this gate")
    return GateOutcome(
        gate=rule.id,
        outcome=finding.outcome,
        reason=finding.reason,
        code=finding.code,
        measurement=_finite_only(measurement),
        reference_value=_reference_value(rule, measurements, given),
        limit=rule.threshold,
        needed_n=finding.needed_n,
        required=rule.required,
    )


def _not_registered(policy: Policy, given: _Circumstances) -> _Finding | None:
    """Whether limits may have been chosen after the results were seen. Where nothing was measured there was nothing to see."""
    if not given.subject or given.registered == policy.rules_digest:
        return None
    if given.registered:
        reason = "requests or rules are not those registered before the holdout was opened; restore them"
    else:
        reason = "the policy was not registered before the holdout was opened; have it in the project"
    return _Finding("ERROR", "not_registered", f"{reason}, or evaluate under a new run name")


def _too_many_attempts(policy: Policy, given: _Circumstances) -> _Finding | None:
    if not given.attempt >= 1:
        return _Finding("ERROR", "contradictory", f"attempt {given.attempt} is no count of students measured")
    if not given.attempt <= policy.max_attempts:
        reason = f"attempt {given.attempt} of {policy.max_attempts}; renew the holdout"
        return _Finding("INCONCLUSIVE", "attempts_exhausted", reason)
    return None


def _too_many_openings(policy: Policy, given: _Circumstances) -> _Finding | None:
    """Whether the holdout was looked at too often to be unseen. Where nothing was measured nothing was opened."""
    if given.openings is None or not given.subject:
        return None
    if not given.openings >= 1:
        return _Finding("ERROR", "contradictory", f"{given.openings} openings of the holdout, and yet it was measured on")
    if not given.openings <= policy.max_openings:
        reason = f"the holdout was opened {given.openings} times, the policy allows {policy.max_openings}; renew the holdout"
        return _Finding("INCONCLUSIVE", "openings_exhausted", reason)
    return None


def _selected(
    request: MeasurementRequest, found: Sequence[Measurement], measurements: Sequence[Measurement]
) -> _Finding | None:
    """Whether exactly one measurement answers the request."""
    if len(found) == 1:
        return None
    if found:
        return _Finding("ERROR", "contradictory", f"{len(found)} measurements answer one request")
    if any(_asks_the_same(m.request, request) for m in measurements):
        return _Finding(
            "ERROR", "request_mismatch", "it was measured by another method, reference, side or confidence than asked"
        )
    return _Finding("INCONCLUSIVE", "absent", "it was not measured")


def _asks_the_same(one: MeasurementRequest, other: MeasurementRequest) -> bool:
    def key(r: MeasurementRequest) -> tuple[object, ...]:
        return r.metric, r.suite, r.slice, r.subject, r.statistic

    return key(one) == key(other)


def _contradictory(rule: GateRule, m: Measurement, given: _Circumstances) -> _Finding | None:
    def error(reason: str, code: str = "contradictory") -> _Finding:
        return _Finding("ERROR", code, reason)

    numbers = [x for x in (m.value, m.low, m.high) if x is not None]
    if any(isinstance(x, bool) or not math.isfinite(x) for x in numbers):
        return error("value or interval is not a finite number", "non_finite")
    if not 0 <= m.n_errored <= m.n_run <= m.n_planned:
        return error(f"counts contradict: {m.n_errored} errored, {m.n_run} run, {m.n_planned} planned")
    if not (0 <= m.n_scored <= m.n_planned and 0 <= m.n_clusters <= m.n_planned):
        return error(f"counts contradict: {m.n_scored} scored, {m.n_clusters} clusters, {m.n_planned} planned")
    if m.value is None:
        return error("an interval without a value") if len(numbers) > 0 else None
    if m.n_scored == 0:
        return error("a value over no case")
    if m.low is not None and not m.low <= m.value + _TOLERANCE:
        return error("the lower bound is above the value")
    if m.high is not None and not m.value - _TOLERANCE <= m.high:
        return error("the upper bound is below the value")
    lowest, highest = lookup(rule.metric).range
    if rule.statistic == "difference":
        lowest, highest = lowest - highest, highest - lowest
    if not lowest - _TOLERANCE <= m.value <= highest + _TOLERANCE:
        return error("the value is outside the metric's range")
    if rule.statistic == "difference" and m.reference is not None and m.reference == m.subject:
        return error("it was compared with itself")
    return None


def _unusable(rule: GateRule, m: Measurement, given: _Circumstances) -> _Finding | None:
    # A note says why there is no value. Whatever it says, known or not, a value beside it is not trusted.
    code = m.note or ("undefined" if m.value is None else "")
    if not code:
        return None
    return _Finding("ERROR" if code in CONTRADICTIONS else "INCONCLUSIVE", code, NOTES.get(code, f"noted as `{code}`"))


def _foreign(rule: GateRule, m: Measurement, given: _Circumstances) -> _Finding | None:
    if not (given.subject and m.subject == given.subject):
        return _Finding("INCONCLUSIVE", "other_subject", f"it was measured on another model than this {given.subject_name}")
    expected = given.datasets.get(rule.suite)
    if not (expected and m.dataset == expected):
        return _Finding("INCONCLUSIVE", "other_dataset", f"it was measured on other cases than the recorded `{rule.suite}`")
    if rule.statistic == "difference":
        reference = given.references.get(rule.reference or "")
        if not (reference and m.reference == reference):
            return _Finding("INCONCLUSIVE", "other_subject", f"it was compared with another model than this {rule.reference}")
    return None


def _provenance(rule: GateRule, m: Measurement, given: _Circumstances) -> _Finding | None:
    foreign = sorted(set(m.provenance) - set(rule.accepted))
    if not m.provenance or foreign:
        has = ", ".join(foreign) or "unknown"
        code = "simulated" if "simulated" in foreign else "provenance"
        return _Finding("INCONCLUSIVE", code, f"provenance is {has}, the policy accepts {', '.join(rule.accepted)}")
    return None


def _stale(rule: GateRule, m: Measurement, given: _Circumstances) -> _Finding | None:
    if rule.max_age_days is None:
        return None
    measured, decided = _time(m.at), _time(given.at)
    if measured is None or decided is None:
        return _Finding("INCONCLUSIVE", "stale", "its age is unknown, and the policy limits it")
    if measured > decided:
        return _Finding("ERROR", "contradictory", "it was measured after the decision")
    days = (decided - measured).total_seconds() / 86_400
    if not days <= rule.max_age_days:
        # Not how old it is: the verdict would read differently every day.
        return _Finding("INCONCLUSIVE", "stale", f"it was made on {m.at}, the policy accepts {rule.max_age_days} days")
    return None


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None


def _too_few(rule: GateRule, m: Measurement, given: _Circumstances) -> _Finding | None:
    if m.n_scored < rule.min_n:
        needed = max(rule.min_n, needed_cases(rule) or 0)
        return _Finding("INCONCLUSIVE", "n_too_small", f"{m.n_scored} cases; it takes {needed}", needed)
    if m.n_run != m.n_planned:
        return _Finding("INCONCLUSIVE", "incomplete", f"{m.n_run} of {m.n_planned} planned cases were run")
    return None


_Check = Callable[[GateRule, Measurement, _Circumstances], _Finding | None]
# The order is the order of severity: what contradicts itself is an error before it is foreign, foreign before it is small.
_CHECKS: tuple[_Check, ...] = (_contradictory, _unusable, _foreign, _provenance, _stale, _too_few)


def _bound(rule: GateRule, m: Measurement) -> _Finding:
    """Hold the one-sided bound against the limit, after everything else was in order."""
    lower = rule.side == "lower"
    decisive, other = (m.low, m.high) if lower else (m.high, m.low)
    if decisive is None:
        return _Finding("INCONCLUSIVE", "undefined", f"no {rule.side} bound was given")
    limit = rule.threshold
    side, sense = rule.side, "at least" if lower else "at most"
    if decisive >= limit if lower else decisive <= limit:
        return _Finding("PASS", "within_limit", f"{side} bound {decisive:.4g} is {sense} {limit:.4g}")
    if other is not None and (other < limit if lower else other > limit):
        return _Finding("FAIL", "beyond_limit", f"the whole interval, to {other:.4g}, misses {sense} {limit:.4g}")
    return _Finding(
        "INCONCLUSIVE", "straddles", f"{side} bound {decisive:.4g} is not {sense} {limit:.4g}, the other bound might be"
    )


def _reference_value(rule: GateRule, measurements: Sequence[Measurement], given: _Circumstances) -> float | None:
    request = rule.reference_request()
    digest = given.references.get(rule.reference or "")
    found = [m for m in measurements if request is not None and m.request == request and digest and m.subject == digest]
    value = found[0].value if len(found) == 1 else None
    return value if value is not None and math.isfinite(value) else None


def _finite_only(m: Measurement | None) -> Measurement | None:
    """The measurement as JSON can hold it; where a number is taken out, the gate's code is ``non_finite``."""
    if m is None:
        return None

    def kept(x: float | None) -> float | None:
        return x if x is not None and math.isfinite(x) else None

    return replace(m, value=kept(m.value), low=kept(m.low), high=kept(m.high))
