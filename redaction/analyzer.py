"""Detection: normalised text through spaCy and every rule, and from their hits the spans that stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import compress
from typing import Any

from distill_gov.records.errors import BadInputError, DistillGovError
from redaction.models import BATCH, load_model, memory_zone, model_digest
from redaction.overlap import resolve, trim
from redaction.policy import RedactionPolicy
from redaction.recognizers.gates import Gates, TextFacts
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.presidio_rules import PresidioRules
from redaction.recognizers.registry import build_lexicon, build_rules
from redaction.recognizers.rule import Hit, Rule, gate_of
from redaction.surrogates import canonical
from redaction.unicode import MASK, DetectionText

__all__ = ["Analyzer", "Detection", "RecognizerFailedError"]

_ZONE = 1024
"""Texts after which the memory of their documents is freed."""
_MAX_CHARS = 200_000
_MARKS = re.compile(r"[^\w\s]{50,}")


class RecognizerFailedError(DistillGovError):
    """A recogniser failed or took too long on a text, so the text is not known to be clean."""


@dataclass(frozen=True, slots=True)
class Detection:
    """A value found in a text: characters ``text[start:end]`` as written, and the same in what the detectors saw."""

    entity: str
    start: int
    end: int
    score: float
    rule: str
    version: str
    value: str = field(repr=False)
    """The value as normalised. For counting and hashing inside this package only: it goes into no record."""


class Analyzer:
    """Finds values under one policy. Loads the spaCy model once per process; holds no state of the texts.

    Raises:
        MissingExtraError: Presidio or spaCy is not installed.
        BadModelError: the policy's model is not installed; it is never downloaded.
        BadInputError: the policy names an entity that no rule finds.
    """

    def __init__(self, policy: RedactionPolicy) -> None:
        self._policy = policy
        name, pinned = policy.model_of(policy.language)
        self._nlp = load_model(name, pinned)
        self.lexicon: Lexicon = build_lexicon(policy, self._nlp)
        self.rules = build_rules(policy, self.lexicon)
        self.presidio = PresidioRules(policy, self._nlp)
        self._allowed = frozenset(canonical("PERSON", value) for value in policy.allow)
        dead = sorted(set(policy.entities) - {rule.entity for rule in self.rules} - self.presidio.entities)
        if dead:
            raise BadInputError(f"no recogniser finds {', '.join(dead)}", where="entities", fix="Remove it from the policy.")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Our own rules; Presidio's recognisers stand beside them."""
        return self._rules

    @rules.setter
    def rules(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._gates = Gates([gate_of(rule) for rule in rules])

    def identity(self) -> dict[str, Any]:
        """What shapes detection beside the policy: rules with versions, the model and the libraries."""
        return {
            "rules": [[rule.id, rule.version] for rule in self.rules] + self.presidio.identity(),
            "model": {key: str(self._nlp.meta.get(key, "")) for key in ("lang", "name", "version", "spacy_git_version")}
            | {"digest": model_digest(self._nlp)},
            "libraries": {name: version(name) for name in ("spacy", "presidio-analyzer", "phonenumbers", "regex")},
        }

    def detect_all(self, texts: Sequence[str], seen: Sequence[DetectionText], *, strict: bool = False) -> list[list[Detection]]:
        """For each text what `detect` finds; the same text is looked at once.

        The memory of what spaCy makes of the texts is freed before it returns.

        Raises:
            RecognizerFailedError, BadInputError: as for the first text that cannot be looked at.
        """
        # A masked text is not like another one that looks the same: the spans behind the masks may differ.
        keys = [(t, None if MASK not in s.text else i) for i, (t, s) in enumerate(zip(texts, seen, strict=True))]
        firsts = list({key: i for i, key in reversed(list(enumerate(keys)))}.items())
        found: dict[tuple[str, int | None], list[Detection]] = {}
        for start in range(0, len(firsts), _ZONE):
            some = firsts[start : start + _ZONE]
            results = self._detect_some([texts[i] for _, i in some], [seen[i] for _, i in some], strict)
            found.update(zip((key for key, _ in some), results, strict=True))
        return [found[key] for key in keys]

    def _detect_some(self, texts: Sequence[str], seen: Sequence[DetectionText], strict: bool) -> list[list[Detection]]:
        with memory_zone(self._nlp):
            documents = self._documents(seen)
            return [self.detect(text, form, doc, strict=strict) for text, (form, doc) in zip(texts, documents, strict=True)]

    def _documents(self, texts: Iterable[DetectionText]) -> Iterator[tuple[DetectionText, Any]]:
        """Each text with its spaCy document, batched through ``nlp.pipe``, in order and lazily."""
        pairs = ((self._checked(t), t) for t in texts)
        try:
            for doc, text in self._nlp.pipe(pairs, as_tuples=True, batch_size=BATCH):
                yield text, doc
        except DistillGovError:
            raise
        except Exception as error:
            raise RecognizerFailedError(f"the language model failed ({type(error).__name__})") from None

    @staticmethod
    def _checked(text: DetectionText) -> str:
        if len(text.text) > _MAX_CHARS:
            raise BadInputError(f"text is longer than {_MAX_CHARS} characters", fix="Split it.")
        if any("\ud800" <= c <= "\udfff" for c in text.text):
            raise BadInputError("text holds half of a surrogate pair, so it is no valid Unicode", fix="Mend the encoding.")
        # spaCy strips marks from a token one by one, in quadratic time. No name hides in 50 marks; offsets stay.
        return _MARKS.sub(lambda run: " " * len(run[0]), text.text)

    def detect(self, text: str, seen: DetectionText, doc: Any, *, strict: bool = False) -> list[Detection]:
        """Values in a text, in order, not overlapping, none of them touching a masked span.

        Args:
            text: the text as written.
            seen: its normalised form.
            doc: spaCy's document of ``seen.text``.
            strict: take what the residual scan takes, see `RedactionPolicy.strict_threshold_of`.

        Raises:
            RecognizerFailedError: a rule raised or timed out.
        """
        hits: list[Hit] = []
        open_rules = compress(self._rules, self._gates.open(TextFacts(seen.text)))
        finders: list[Rule | PresidioRules] = [*open_rules, self.presidio]
        for rule in finders:
            try:
                hits.extend(hit for found in rule.find(seen.text, doc) for hit in _unmasked(found, seen.text))
            except Exception as error:
                # `from None`: the rule's own message could quote the text.
                raise RecognizerFailedError(f"rule {rule.id} failed ({type(error).__name__})") from None
        threshold = self._policy.strict_threshold_of if strict else self._policy.threshold_of
        strong = (hit for hit in hits if hit.score >= threshold(hit.entity))
        standing = resolve((hit for hit in strong if not self._is_allowed(seen.text[hit.start : hit.end])), seen.text)
        return [self._detection(hit, seen) for hit in standing]

    def _is_allowed(self, value: str) -> bool:
        return canonical("PERSON", value) in self._allowed

    @staticmethod
    def _detection(hit: Hit, seen: DetectionText) -> Detection:
        span = seen.original(hit.start, hit.end)
        return Detection(hit.entity, span.start, span.end, hit.score, hit.rule, hit.version, seen.text[hit.start : hit.end])


def _unmasked(hit: Hit, text: str) -> Iterator[Hit]:
    """The hit without the masked spans it runs over, and without edges that are neither letter nor digit if any were cut."""
    value = text[hit.start : hit.end]
    if MASK not in value:
        if any(c.isalnum() for c in value):
            yield hit
        return
    start = hit.start
    for piece in value.split(MASK):
        a, b = trim(text, start, start + len(piece))
        if b > a:
            yield replace(hit, start=a, end=b)
        start += len(piece) + 1
