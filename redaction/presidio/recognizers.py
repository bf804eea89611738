"""Presidio's own recogniser objects, run with the findings of its `AnalyzerEngine` (2.2.366) and without its costs.

What is saved, with the same result: patterns are compiled once and tried only where a cheap gate says that they can match,
phone regions likewise, lemmas are made only where a context word depends on them, and nothing is copied or explained. What
differs on purpose: a pattern that takes too long is an error and not skipped, an e-mail's domain is looked up in the suffix
list that tldextract ships and never in the network's, and a value beyond the last token is a finding and not a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import regex  # type: ignore[import-untyped]

from distill_gov.records.errors import BadInputError
from redaction.models import BATCH, memory_zone
from redaction.presidio.context import CONTEXT_GAIN, CONTEXT_MINIMUM, Contexts
from redaction.recognizers.gates import Gates, Needs, TextFacts
from redaction.recognizers.named_entities import named_entities
from redaction.recognizers.required import required
from redaction.recognizers.rule import matches

__all__ = ["DEFAULT_RECOGNIZERS", "Found", "PresidioRecognizers", "pin_suffix_list"]

DEFAULT_RECOGNIZERS = (
    "CreditCardRecognizer",
    "UsBankRecognizer",
    "UsLicenseRecognizer",
    "UsItinRecognizer",
    "UsPassportRecognizer",
    "UsSsnRecognizer",
    "NhsRecognizer",
    "CryptoRecognizer",
    "DateRecognizer",
    "EmailRecognizer",
    "IbanRecognizer",
    "IpRecognizer",
    "MedicalLicenseRecognizer",
    "MacAddressRecognizer",
    "UuidRecognizer",
    "PhoneRecognizer",
    "UrlRecognizer",
    "SpacyRecognizer",
)
"""What Presidio's default registry loads for English; a test compares the two."""

_FLAGS = regex.DOTALL | regex.MULTILINE | regex.IGNORECASE
"""Presidio's registry sets these on every pattern recogniser, also on those whose class has others (IBAN)."""


class Found(NamedTuple):
    """What a recogniser found: Presidio's name of the entity, characters ``text[start:end]``, score in (0, 1]."""

    entity: str
    start: int
    end: int
    score: float
    recognizer: str


_BY_HAND = {
    # A letter beside a digit, and the typo `A-Z]]` of one branch.
    "ab1eb0b240f2": Needs(like=r"[A-Z][0-9]|[0-9][A-Z]|\][0-9]"),  # UsLicenseRecognizer, alphanumeric
    "1f98697e78e0": Needs(like="[A-Z]{2}[0-9]{2}"),  # IbanRecognizer
    "a101077778af": Needs(words=(":", "-")),  # MacAddressRecognizer
    "8b00da21c7ca": Needs(like=r"[A-Z]\d{7}"),  # MedicalLicenseRecognizer
    "7405c3a8b8c3": Needs(like=r"[a-z0-9.-]\.[a-z]"),  # UrlRecognizer without a scheme
    "58b5bbbc4796": Needs(like=r"[\"'][^\"']+[\"']"),  # UrlRecognizer in quotation marks
}
"""What the slowest patterns need beside what follows from them, by the start of the pattern's SHA-256: the patterns of another
release are others, and this is then not asked."""

_ZONE = 1024
"""Texts after which the memory of their documents is freed."""

_Finder = Callable[[str, Any, Sequence[bool]], Iterable[Found]]


class PresidioRecognizers:
    """Some of Presidio's recognisers over texts and their spaCy documents.

    Args:
        names: class names in ``presidio_analyzer.predefined_recognizers``.
        nlp: the spaCy pipeline that makes the documents. Its tagger, attribute ruler and lemmatizer are run when they are
            needed, and are better disabled.
        phone_regions: ISO codes of the countries whose phone numbers are known without a country code; None: Presidio's.
        keep: entities of Presidio that are wanted although its settings leave them out (ORGANIZATION).

    Raises:
        BadInputError: there is no such recogniser, or it is of a kind that cannot be run here.
    """

    def __init__(
        self,
        names: Sequence[str],
        nlp: Any,
        *,
        phone_regions: Sequence[str] | None = None,
        keep: Collection[str] = frozenset(),
    ) -> None:
        pin_suffix_list()
        self._nlp = nlp
        self._contexts = Contexts(nlp)
        self.recognizers = [_recognizer(name, phone_regions) for name in names]
        self._words = {r.name: tuple(word.lower() for word in r.context or ()) for r in self.recognizers}
        labels = _labels(self.recognizers, keep)
        self._model_labels = {name for label in _ner_labels(nlp) if (name := labels(label))}
        needs: list[tuple[Needs, ...]] = []
        self._finders: list[tuple[_Finder, range]] = []
        for recognizer in self.recognizers:
            finder, wanted = _finder(recognizer, labels)
            self._finders.append((finder, range(len(needs), len(needs) + len(wanted))))
            needs += wanted
        self._gates = Gates(needs)

    @property
    def entities(self) -> frozenset[str]:
        """Presidio's names of what can be found; of the model's entities, those that it has a label for."""
        patterns = (r for r in self.recognizers if not isinstance(r, _spacy_kind()))
        return frozenset(self._model_labels).union(*(r.supported_entities for r in patterns))

    def find(self, text: str, doc: Any) -> list[Found]:
        """What `AnalyzerEngine.analyze` returns for a text, with the same entities, spans and scores, in its order.

        Args:
            text: the text.
            doc: the spaCy document of it; it may be given its tags and lemmas.

        Raises:
            TimeoutError: a pattern took longer than ``redaction.recognizers.rule.TIMEOUT_S``.
        """
        is_open = self._gates.open(TextFacts(text))
        context = None
        found: list[Found] = []
        for finder, gates in self._finders:
            mine = is_open[gates.start : gates.stop]
            if not any(mine):
                continue
            for one in finder(text, doc, mine):
                words = self._words[one.recognizer]
                # More than 1 it cannot become.
                if words and one.score < 1:
                    context = context or self._contexts.document(doc)
                    if context.supports(words, one.start):
                        one = one._replace(score=min(max(one.score + CONTEXT_GAIN, CONTEXT_MINIMUM), 1.0))
                found.append(one)
        return without_duplicates(found)

    def find_many(self, texts: Sequence[str]) -> list[list[Found]]:
        """As `find`, of many texts: each different one once, in batches, with spaCy's memory freed at the end."""
        distinct = list(dict.fromkeys(texts))
        found: dict[str, list[Found]] = {}
        for start in range(0, len(distinct), _ZONE):
            with memory_zone(self._nlp):
                for doc in self._nlp.pipe(distinct[start : start + _ZONE], batch_size=BATCH):
                    found[doc.text] = self.find(doc.text, doc)
        return [found[text] for text in texts]


def pin_suffix_list() -> None:
    """Let tldextract use the list of domain suffixes in its package. By default it fetches the newest from the network, at the
    first e-mail address of a process, and findings depend on the day."""
    import tldextract

    if getattr(tldextract.extract, "__self__", None) is not _pinned():
        tldextract.extract = _pinned().__call__


_extractor: Any = None


def _pinned() -> Any:
    global _extractor
    if _extractor is None:
        import tldextract

        _extractor = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    return _extractor


def without_duplicates(found: Iterable[Found]) -> list[Found]:
    """Findings without those that lie in another of the same entity with as high a score: `EntityRecognizer.remove_duplicates`.

    Of equal ones the first stays.
    """
    distinct = list({one[:4]: one for one in reversed(list(found))}.values())
    if len(distinct) > 1:
        distinct.sort(key=lambda f: (f.entity, f.start, f.start - f.end, -f.score))
    kept: list[Found] = []
    for _, group in groupby(distinct, key=lambda f: f.entity):
        active: list[Found] = []
        for one in group:
            active = [other for other in active if other.end >= one.start]
            if not any(other.start <= one.start and one.end <= other.end and one.score <= other.score for other in active):
                kept.append(one)
                active.append(one)
    return sorted(kept, key=lambda f: (-f.score, f.start, f.start - f.end))


def _recognizer(name: str, phone_regions: Sequence[str] | None) -> Any:
    from presidio_analyzer import EntityRecognizer, PatternRecognizer, predefined_recognizers

    kind = getattr(predefined_recognizers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, EntityRecognizer)):
        raise BadInputError("Presidio has no such recogniser", where=name)
    if kind.enhance_using_context is not EntityRecognizer.enhance_using_context:
        raise BadInputError("this recogniser of Presidio changes scores by itself, which is not done here", where=name)
    make: Any = kind
    regions = {"supported_regions": tuple(phone_regions)} if phone_regions and name == "PhoneRecognizer" else {}
    recognizer = make(supported_language="en", **regions)
    if isinstance(recognizer, PatternRecognizer):
        recognizer.global_regex_flags = _FLAGS
    recognizer.context = _english_context().get(name, recognizer.context)
    return recognizer


@cache
def _english_context() -> dict[str, list[str]]:
    """Context words that Presidio's settings give to a recogniser in place of its class's own."""
    return {
        entry["name"]: language["context"]
        for entry in _settings("default_recognizers.yaml")["recognizers"]
        for language in entry.get("supported_languages") or ()
        if isinstance(language, dict) and language["language"] == "en" and language.get("context")
    }


def _finder(recognizer: Any, labels: Callable[[str], str | None]) -> tuple[_Finder, Sequence[tuple[Needs, ...]]]:
    """How to run a recogniser, and the gate of each of its patterns."""
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import IbanRecognizer, PhoneRecognizer, SpacyRecognizer

    name, analyze = recognizer.name, type(recognizer).analyze
    if analyze is SpacyRecognizer.analyze:
        return _SpacyEntities(name, labels).find, [()]
    if analyze is PhoneRecognizer.analyze:
        return _Phones(recognizer).find, [(Needs(digits=2),)]
    if analyze is PatternRecognizer.analyze or analyze is IbanRecognizer.analyze:
        kind = _Ibans if analyze is IbanRecognizer.analyze else _Patterns
        return kind(recognizer).find, [_needs(pattern.regex) for pattern in recognizer.patterns]
    raise BadInputError("this recogniser of Presidio looks for values in a way that is not known here", where=name)


def _needs(source: str) -> tuple[Needs, ...]:
    more = _BY_HAND.get(sha256(source.encode()).hexdigest()[:12])
    return (*required(source, _FLAGS), *([more] if more else []))


class _Patterns:
    """What `PatternRecognizer.analyze` does."""

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer
        self._entity: str = recognizer.supported_entities[0]
        self._patterns = [(regex.compile(p.regex, recognizer.global_regex_flags), p.score) for p in recognizer.patterns]

    def find(self, text: str, doc: Any, is_open: Sequence[bool]) -> list[Found]:
        found: list[Found] = []
        for (pattern, score), gate in zip(self._patterns, is_open, strict=True):
            if gate:
                for match in matches(pattern, text):
                    found += self._valued(text, match.start(), match.end(), score)
        return without_duplicates(found) if len(found) > 1 else found

    def _valued(self, text: str, start: int, end: int, score: float) -> Iterator[Found]:
        value = text[start:end]
        if not value:
            return
        valid = self._recognizer.validate_result(value)
        if valid is not None:
            score = 1.0 if valid else 0
        if score > 0 and not self._recognizer.invalidate_result(value):
            yield Found(self._entity, start, end, score, self._recognizer.name)


class _Ibans(_Patterns):
    """What `IbanRecognizer.analyze` does: of each match the longest valid number, cut after one of the pattern's groups."""

    def find(self, text: str, doc: Any, is_open: Sequence[bool]) -> list[Found]:
        found: list[Found] = []
        for (pattern, score), gate in zip(self._patterns, is_open, strict=True):
            for match in matches(pattern, text) if gate else ():
                for group in range(len(match.groups()), 0, -1):
                    end = match.end(group) if match.end(group) > 0 else match.end()
                    one = next(self._valued(text, match.start(), end, score), None)
                    if one is not None:
                        found.append(one)
                        break
        return found


class _Phones:
    """What `PhoneRecognizer.analyze` does."""

    def __init__(self, recognizer: Any) -> None:
        from redaction.presidio.phones import PhoneFinder

        self._finder = PhoneFinder(recognizer)
        self._entity: str = recognizer.supported_entities[0]
        self._score: float = recognizer.SCORE
        self._name: str = recognizer.name

    def find(self, text: str, doc: Any, is_open: Sequence[bool]) -> list[Found]:
        return [Found(self._entity, start, end, self._score, self._name) for start, end in self._finder.spans(text)]


class _SpacyEntities:
    """What `SpacyNlpEngine` and `SpacyRecognizer` do with the entities of a document."""

    def __init__(self, name: str, labels: Callable[[str], str | None]) -> None:
        self._name, self._labels = name, labels
        self._score = _ner_configuration().default_score

    def find(self, text: str, doc: Any, is_open: Sequence[bool]) -> Iterator[Found]:
        for entity in named_entities(doc):
            name = self._labels(entity.label_)
            if name is not None:
                yield Found(name, entity.start_char, entity.end_char, self._score, self._name)


def _spacy_kind() -> Any:
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    return SpacyRecognizer


def _ner_labels(nlp: Any) -> Sequence[str]:
    return nlp.get_pipe("ner").labels if "ner" in nlp.component_names else ()


def _labels(recognizers: Sequence[Any], keep: Collection[str]) -> Callable[[str], str | None]:
    """Presidio's entity for a label of the model, or None if it is left out."""
    configuration = _ner_configuration()
    mapping, ignored = configuration.model_to_presidio_entity_mapping, set(configuration.labels_to_ignore) - set(keep)
    known = {entity for r in recognizers if isinstance(r, _spacy_kind()) for entity in r.supported_entities}

    def entity_of(label: str) -> str | None:
        name = mapping.get(label, label)
        return None if label in ignored or name in ignored or name not in known else name

    return entity_of


def _ner_configuration() -> Any:
    """Presidio's own settings for spaCy, from its package."""
    from presidio_analyzer.nlp_engine import NerModelConfiguration

    return NerModelConfiguration(**_settings("default.yaml")["ner_model_configuration"])


def _settings(name: str) -> Any:
    import presidio_analyzer
    import yaml

    return yaml.safe_load((Path(presidio_analyzer.__file__).parent / "conf" / name).read_text("utf-8"))
