"""Which language model reads a text, where the policy has more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from distill_gov.records.errors import MissingExtraError
from redaction.recognizers.named_entities import named_entities

__all__ = ["KNOWN_LANGUAGES", "LABELS", "LanguageRouter", "relabelled"]

KNOWN_LANGUAGES = (
    "af", "am", "an", "ar", "as", "az", "be", "bg", "bn", "br", "bs", "ca", "cs", "cy", "da", "de", "dz", "el", "en", "eo",
    "es", "et", "eu", "fa", "fi", "fo", "fr", "ga", "gl", "gu", "he", "hi", "hr", "ht", "hu", "hy", "id", "is", "it", "ja",
    "jv", "ka", "kk", "km", "kn", "ko", "ku", "ky", "la", "lb", "lo", "lt", "lv", "mg", "mk", "ml", "mn", "mr", "ms", "mt",
    "nb", "ne", "nl", "nn", "no", "oc", "or", "pa", "pl", "ps", "pt", "qu", "ro", "ru", "rw", "se", "si", "sk", "sl", "sq",
    "sr", "sv", "sw", "ta", "te", "th", "tl", "tr", "ug", "uk", "ur", "vi", "vo", "wa", "xh", "zh", "zu",
)  # fmt: skip
"""ISO 639-1 codes that py3langid tells apart."""

LABELS: Mapping[str, str] = {
    "PER": "PERSON",
    "persName": "PERSON",
    "LOC": "LOC",
    "placeName": "GPE",
    "geogName": "LOC",
    "orgName": "ORG",
    "MISC": "",
}
"""Labels of spaCy's models of other languages (WikiNER's, and those of the Polish corpus) as OntoNotes names them, which the
English models use and the rules know; what is empty is no entity."""

_SURE = 0.7
"""Least confidence, among the policy's languages, that takes a text away from the first of them."""
_SHORTEST = 15
"""Letters of a text whose language can be told."""


class LanguageRouter:
    """Chooses one of the policy's languages for a text.

    The language that the text came with holds if it is one of them, else what py3langid says, and the first where that is not
    sure. With one language nothing is asked.

    Raises:
        MissingExtraError: there is a choice, and py3langid is not installed.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        self._languages = tuple(languages)
        self._identifier = _identifier(self._languages) if len(self._languages) > 1 else None

    def route(self, text: str, declared: str | None = None) -> str:
        """Code of the language whose model reads the text; ``declared`` is a BCP 47 tag."""
        if self._identifier is None:
            return self._languages[0]
        tag = (declared or "").split("-")[0].lower()
        if tag in self._languages:
            return tag
        if sum(c.isalpha() for c in text) < _SHORTEST:
            return self._languages[0]
        language, confidence = self._identifier.classify(text[:2000])
        return str(language) if confidence >= _SURE else self._languages[0]


@lru_cache(maxsize=4)
def _identifier(languages: tuple[str, ...]) -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtraError("more than one language needs py3langid", fix="pip install py3langid") from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(languages)
    return identifier


def relabelled(doc: Any, labels: Mapping[str, str]) -> Any:
    """The document with its entities under the names that the rules know; those without one are gone."""
    if any(entity.label_ in labels for entity in named_entities(doc)):
        from spacy.tokens import Span

        named = ((entity, labels.get(entity.label_, entity.label_)) for entity in doc.ents)
        doc.ents = [Span(doc, entity.start, entity.end, label=label) for entity, label in named if label]
        doc.user_data.clear()
    return doc
