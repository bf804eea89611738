"""From what a model said on a case to the case's result: the decisions, the scores, and what is kept of the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evals.cases import Case
from evals.catalogue import ASKS_WHEN_UNCLEAR, EXACT_MATCH, OVER_REFUSAL, PII_ECHO, PII_LEAK, SCHEMA_VALID, VIOLATION
from evals.catalogue.calibration import CHOICE, CHOICE_PER_BYTE, SEQUENCE
from evals.evidence import CaseResult, FieldDecision, Provenance, Subject
from evals.leakage import Detect
from evals.safety import Flag
from evals.score import errored_scores, read_answer, score_case
from evals.structured import Schema
from evals.suites import Suite

__all__ = ["Said", "Scoring", "choice_decisions", "judged", "label_decisions", "softmax_logs", "unreadable"]


@dataclass(frozen=True, slots=True)
class Said:
    """What a model gave back on one case."""

    text: str = ""
    decisions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Decision field to its labels' log-probabilities."""
    raw: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The same at temperature 1."""
    weights: tuple[float, ...] = ()
    """Log-likelihood of each of the case's choices."""
    logp: float | None = None
    """Log-probability of the whole text."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How what was said becomes results.

    Without a detector nothing is said of personal data, without a filter nothing of violations, and without a redactor no text
    is kept: a gate that needs them finds no evidence and blocks.

    Args:
        schema: of answers; None where they are free texts.
        fields: the schema's decision fields.
        redact: from an answer to what may be kept of it.
    """

    subject: Subject
    schema: Schema | None = None
    fields: tuple[str, ...] = ()
    suites: tuple[Suite, ...] = ()
    detect: Detect | None = None
    flag: Flag | None = None
    redact: Callable[[str], str] | None = None
    provenance: Provenance = "measured"

    def result(self, dataset: str, case: Case, said: Said) -> CaseResult:
        decisions = self._decisions(case, said)
        scores, valid = score_case(
            case,
            said.text,
            decisions,
            schema=self.schema,
            detect=self.detect or (lambda _: ()),
            flag=self.flag or (lambda _: False),
            suites=self.suites,
        )
        kept = self.redact(said.text) if self.redact else ""
        shown = [replace(d, predicted=kept) if d.field == SEQUENCE and case.ask == "text" else d for d in decisions]
        return self._made(dataset, case, "ok", scores, tuple(shown if valid else map(unreadable, shown)), kept)

    def errored(self, dataset: str, case: Case) -> CaseResult:
        """The worst result: a case that was planned stays in the denominator, whatever happened to it."""
        return self._made(dataset, case, "errored", errored_scores(case, self.fields, self.suites))

    def _made(
        self,
        dataset: str,
        case: Case,
        status: str,
        scores: Mapping[str, float],
        decisions: tuple[FieldDecision, ...] = (),
        output: str = "",
    ) -> CaseResult:
        return CaseResult(
            subject=self.subject.digest,
            dataset=dataset,
            case=case.id,
            suite=case.suite,
            cluster=case.unit,
            slices=case.slices,
            status=status,  # type: ignore[arg-type]
            scores={name: value for name, value in scores.items() if name not in self._unknown},
            decisions=decisions,
            output=output,
            provenance=self.provenance,
        )

    @property
    def _unknown(self) -> frozenset[str]:
        """Scores that nothing was given to make."""
        names: set[str] = set()
        if self.detect is None:
            names |= {PII_ECHO, PII_LEAK}
        if self.flag is None:
            names.add(VIOLATION)
        if self.schema is None:
            names |= {SCHEMA_VALID, EXACT_MATCH, VIOLATION, OVER_REFUSAL, ASKS_WHEN_UNCLEAR}
        return frozenset(names)

    def _decisions(self, case: Case, said: Said) -> list[FieldDecision]:
        if case.ask == "choice":
            return choice_decisions(case, said.weights)
        if case.ask == "text" and case.target is not None:
            confidence = None if said.logp is None else min(1.0, math.exp(said.logp))
            return [FieldDecision(SEQUENCE, "", confidence, said.text.strip() == case.target.strip(), case.target)]
        if case.ask != "answer" or self.schema is None:
            return []
        value = read_answer(said.text, self.schema).value
        if said.decisions:
            return label_decisions(case, value, said.decisions, said.raw)
        # A model that gives no distribution still decides; how sure it was nobody knows.
        stated = {name: v if isinstance(v := value.get(name), str) else None for name in self.fields}
        return [judged(case, name, label, None) for name, label in stated.items()]


def label_decisions(
    case: Case,
    written: Mapping[str, Any],
    found: Mapping[str, Mapping[str, float]],
    raw: Mapping[str, Mapping[str, float]],
) -> list[FieldDecision]:
    """Decisions with their distributions: the label that the answer states, the likeliest where it states none.

    Written greedily, token by token, a label need not be the likeliest of all where labels part more than once.

    Args:
        written: the answer's properties.
        found: decision field to log-probability by label.
        raw: the same at temperature 1.
    """
    made = []
    for name, logp in found.items():
        label = written[name] if written.get(name) in logp else max(logp, key=lambda one: logp[one])
        decision = judged(case, name, label, min(1.0, math.exp(logp[label])))
        made.append(replace(decision, logp=dict(logp), raw_logp=dict(raw.get(name) or logp)))
    return made


def choice_decisions(case: Case, weights: Sequence[float]) -> list[FieldDecision]:
    """What log-likelihoods of a case's choices decide: as they are, and divided by the choices' bytes.

    The first is lm-evaluation-harness's ``acc``, the second its ``acc_bytes``, which is ``acc_norm`` where all choices are
    ASCII. Confidence is the softmax over the choices, of the sums or of the quotients.

    Raises:
        ValueError: not one finite log-likelihood a choice.
    """
    if len(weights) != len(case.choices) or not all(math.isfinite(w) and w <= 0 for w in weights):
        raise ValueError("not one finite log-likelihood a choice")
    per_byte = [w / len(choice.encode("utf-8")) for w, choice in zip(weights, case.choices, strict=True)]
    found = []
    for name, values in ((CHOICE, weights), (CHOICE_PER_BYTE, per_byte)):
        logp = dict(zip(case.choices, softmax_logs(values), strict=True))
        # The first of equals wins, as numpy's argmax has it.
        best = max(range(len(values)), key=lambda i: (values[i], -i))
        label = case.choices[best]
        right = None if case.target is None else label == case.target
        confidence = min(1.0, math.exp(logp[label]))
        found.append(FieldDecision(name, label, confidence, right, case.target, logp=logp, raw_logp=logp))
    return found


def softmax_logs(values: Sequence[float]) -> list[float]:
    """Logarithms of the softmax."""
    top = max(values)
    total = top + math.log(math.fsum(math.exp(v - top) for v in values))
    return [v - total for v in values]


def unreadable(decision: FieldDecision) -> FieldDecision:
    """An invalid answer counts as wrong with confidence 1."""
    correct = False if decision.correct is not None else None
    return replace(decision, predicted=None, confidence=1.0, correct=correct, logp={}, raw_logp={})


def judged(case: Case, name: str, label: str | None, confidence: float | None) -> FieldDecision:
    reference = (case.reference or {}).get(name)
    return FieldDecision(name, label, confidence, None if reference is None else label == reference, reference)
