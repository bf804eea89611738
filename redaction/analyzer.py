"""Detection: normalised text through spaCy and every rule, and from their hits the spans that stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import compress
from typing import Any

import regex  # type: ignore[import-untyped]

from distill_gov.records.errors import BadInputError, DistillGovError
from redaction.casing import recased
from redaction.context import ContextWords
from redaction.encodings import ACROSS_LINES, DEEPEST, hidden_texts, joined_texts
from redaction.entities import PRIORITY
from redaction.fields import Part
from redaction.findings import Span
from redaction.languages import LABELS, LanguageRouter, relabelled
from redaction.limits import RecognizerFailedError, RecognizerTimeoutError, pieces
from redaction.models import BATCH, load_model, memory_zone, model_digest
from redaction.overlap import resolve, trim
from redaction.policy import RedactionPolicy
from redaction.recognizers import rule as rule_module
from redaction.recognizers.gates import Gates, TextFacts
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.presidio_rules import PresidioRules
from redaction.recognizers.registry import build_lexicon, build_rules
from redaction.recognizers.rule import Hit, Rule, gate_of
from redaction.surrogates import canonical, placeholders
from redaction.unicode import MASK, DetectionText, detection_text

__all__ = ["Analyzer", "Detection", "RecognizerFailedError"]

_ZONE = 1024
"""Texts after which the memory of their documents is freed."""
_MARKS = re.compile(r"[^\w\s]{50,}")


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
        self._models = {language: load_model(pin.name, pin.digest) for language, pin in policy.models.items()}
        self._nlp = next(iter(self._models.values()))
        self._router = LanguageRouter(list(self._models))
        self._labels = {**LABELS, **policy.labels}
        self.lexicon: Lexicon = build_lexicon(policy, self._nlp)
        self.rules = build_rules(policy, self.lexicon)
        self.presidio = PresidioRules(policy, self._nlp)
        self._allowed = frozenset(canonical("PERSON", value) for value in policy.allow)
        self._allowed_patterns = [regex.compile(pattern, regex.IGNORECASE) for pattern in policy.allow_patterns]
        self._context = {entity: ContextWords(own.context) for entity, own in policy.entities.items() if own.context}
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
            "models": {language: _identity(nlp) for language, nlp in self._models.items()},
            "libraries": {name: version(name) for name in ("spacy", "presidio-analyzer", "phonenumbers", "regex")},
        }

    def detect_each(
        self, parts: Sequence[Part], seen: Sequence[DetectionText], *, strict: bool = False
    ) -> list[list[Detection] | DistillGovError]:
        """For each text what `detect` returns or raises; the same text is looked at once.

        The memory of what spaCy makes of the texts is freed before it returns.
        """
        # A masked text is not like another one that looks the same: the spans behind the masks may differ.
        keys = [(p.text, p.how, None if MASK not in s.text else i) for i, (p, s) in enumerate(zip(parts, seen, strict=True))]
        firsts = list({key: i for i, key in reversed(list(enumerate(keys)))}.items())
        found: dict[Any, list[Detection] | DistillGovError] = {}
        for start in range(0, len(firsts), _ZONE):
            some = firsts[start : start + _ZONE]
            results = self._detect_some([parts[i] for _, i in some], [seen[i] for _, i in some], strict)
            found.update(zip((key for key, _ in some), results, strict=True))
        return [found[key] for key in keys]

    def _detect_some(
        self, parts: Sequence[Part], seen: Sequence[DetectionText], strict: bool
    ) -> list[list[Detection] | DistillGovError]:
        out: list[list[Detection] | DistillGovError] = []
        try:
            with ExitStack() as zones:
                for nlp in self._models.values():
                    zones.enter_context(memory_zone(nlp))
                for part, form, doc in zip(parts, seen, self._documents(seen, parts), strict=True):
                    out.append(self._tried(part, form, doc, strict))
        except DistillGovError as error:
            if len(parts) == 1:
                return [error]
            # One text spoilt the batch: go on one by one, so that only it is lost.
            for part, form in zip(parts[len(out) :], seen[len(out) :], strict=True):
                out += self._detect_some([part], [form], strict)
        return out

    def _tried(self, part: Part, form: DetectionText, doc: Any, strict: bool) -> list[Detection] | DistillGovError:
        try:
            return self.detect(part, form, doc, strict=strict)
        except DistillGovError as error:
            return error

    def _documents(self, texts: Sequence[DetectionText], parts: Sequence[Part]) -> Iterator[Any]:
        """Each text's spaCy document, in order and lazily; of a part without a model, its tokens."""
        languages = [self._router.route(t.text, part.language) for t, part in zip(texts, parts, strict=True)]
        # spaCy strips marks from a token one by one, in quadratic time. No name hides in 50 marks; offsets stay.
        plain = [recased(_MARKS.sub(lambda run: " " * len(run[0]), t.text), self.lexicon) for t in texts]
        cut = [list(pieces(text)) if part.model else [] for text, part in zip(plain, parts, strict=True)]
        try:
            read = {language: _read(nlp, language, languages, cut) for language, nlp in self._models.items()}
            for text, language, some in zip(plain, languages, cut, strict=True):
                docs = [next(read[language]) for _ in some] or [self._models[language].make_doc(text)]
                yield self._document(docs)
        except DistillGovError:
            raise
        except Exception as error:
            raise RecognizerFailedError(f"the language model failed ({type(error).__name__})") from None

    def _document(self, docs: list[Any]) -> Any:
        """One document of those of a text's pieces, with labels that the rules know."""
        whole = docs[0]
        if len(docs) > 1:
            whole = type(whole).from_docs(docs, ensure_whitespace=False)
        return relabelled(whole, self._labels)

    def detect(self, part: Part, seen: DetectionText, doc: Any, *, strict: bool = False) -> list[Detection]:
        """Values in a text, in order, not overlapping, none of them touching a masked span or what leads the text.

        Args:
            part: the text as written, and what to look for in it.
            seen: its normalised form.
            doc: spaCy's document of ``seen.text``.
            strict: take what the residual scan takes, see `RedactionPolicy.strict_threshold_of`.

        Raises:
            RecognizerFailedError: a rule raised or timed out.
        """
        hidden = list(self._hidden(part, seen.text, strict, seen.overridden))
        # A token that can be read is no random key, whatever it looks like.
        plain = (h for h in self._hits(part, seen.text, doc) if not any(t.start <= h.start and h.end <= t.end for t in hidden))
        hits = [*hidden, *plain]
        hits += self._across_lines(part, seen.text)
        lead = len(part.lead)
        strong = self._strong(hits, part, seen.text, strict)
        inside = (hit if hit.start >= lead else replace(hit, start=lead) for hit in strong if hit.end > lead)
        standing = resolve(
            (hit for hit in inside if not self._is_allowed(hit.value or seen.text[hit.start : hit.end])), seen.text
        )
        return _apart([self._detection(hit, seen) for hit in standing])

    def _strong(self, hits: Iterable[Hit], part: Part, text: str, strict: bool) -> Iterator[Hit]:
        """The hits that reach their threshold, by themselves or with words of context."""
        wanted = self._policy.strict_threshold_of if strict else self._policy.threshold_of
        for hit in hits:
            threshold = max(part.least, wanted(hit.entity))
            words = self._context.get(hit.entity)
            lifted = hit if words is None else words.lifted(hit, text, threshold)
            if lifted.score >= threshold:
                yield lifted

    def _hits(self, part: Part, text: str, doc: Any, entities: frozenset[str] | None = None) -> list[Hit]:
        hits: list[Hit] = []
        wanted = part.entities if entities is None else entities if part.entities is None else part.entities & entities
        finders: list[Rule | PresidioRules] = [
            rule for rule in compress(self._rules, self._gates.open(TextFacts(text))) if wanted is None or rule.entity in wanted
        ]
        if self.presidio.entities:
            finders.append(self.presidio)
            doc = doc if doc.vocab is self._nlp.vocab else self._nlp.make_doc(text)
        for rule in finders:
            try:
                found = [hit for one in rule.find(text, doc) for hit in _unmasked(one, text)]
                hits.extend(hit for hit in found if wanted is None or hit.entity in wanted)
            except TimeoutError:
                raise RecognizerTimeoutError(f"rule {rule.id} failed (TimeoutError)") from None
            except Exception as error:
                # `from None`: the rule's own message could quote the text.
                raise RecognizerFailedError(f"rule {rule.id} failed ({type(error).__name__})") from None
        return hits

    def _hidden(self, part: Part, text: str, strict: bool, overridden: Sequence[Span] = (), depth: int = 1) -> Iterator[Hit]:
        """One hit for each stretch of a text that stands for a text with something in it: the whole stretch has to go."""
        for hidden in hidden_texts(text, overridden):
            seen = detection_text(hidden.text, placeholders(hidden.text))
            found = self._hits(part, seen.text, self._nlp.make_doc(seen.text))
            if depth < DEEPEST:
                found += self._hidden(part, seen.text, strict, seen.overridden, depth + 1)
            strong = self._strong(found, part, seen.text, strict)
            first = min(strong, key=lambda hit: (PRIORITY.index(hit.entity), -hit.score, hit.start), default=None)
            if first is not None:
                value = first.value or seen.text[first.start : first.end]
                yield replace(first, start=hidden.span.start, end=hidden.span.end, rule=hidden.rule, version="1", value=value)

    def _across_lines(self, part: Part, text: str) -> Iterator[Hit]:
        for joined in joined_texts(text):
            found = self._hits(part, joined.text, self._nlp.make_doc(joined.text), ACROSS_LINES)
            yield from (hit for one in found if (hit := joined.mended(one, "encoded/line_break")) is not None)

    def _is_allowed(self, value: str) -> bool:
        if canonical("PERSON", value) in self._allowed:
            return True
        try:
            return any(p.fullmatch(value, timeout=rule_module.TIMEOUT_S) for p in self._allowed_patterns)
        except TimeoutError:
            raise RecognizerTimeoutError("a pattern of `allow_patterns` took too long") from None

    @staticmethod
    def _detection(hit: Hit, seen: DetectionText) -> Detection:
        span = seen.original(hit.start, hit.end)
        return Detection(
            hit.entity, span.start, span.end, hit.score, hit.rule, hit.version, hit.value or seen.text[hit.start : hit.end]
        )


def _read(nlp: Any, language: str, languages: Sequence[str], cut: Sequence[Sequence[str]]) -> Iterator[Any]:
    """Documents of the pieces of the texts in one language."""
    own = (piece for code, some in zip(languages, cut, strict=True) if code == language for piece in some)
    return iter(nlp.pipe(own, batch_size=BATCH))


def _identity(nlp: Any) -> dict[str, str]:
    known = {key: str(nlp.meta.get(key, "")) for key in ("lang", "name", "version", "spacy_git_version")}
    return {**known, "digest": model_digest(nlp)}


def _apart(detections: Sequence[Detection]) -> list[Detection]:
    """Detections that do not overlap in the original: two may hold a half each of one written character, such as a ligature."""
    out: list[Detection] = []
    for one in detections:
        if out and one.start < out[-1].end:
            out[-1] = replace(out[-1], end=max(out[-1].end, one.end))
        else:
            out.append(one)
    return out


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
