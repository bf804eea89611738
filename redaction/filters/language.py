"""Which language a text is in, by py3langid, whose model ships in its wheel."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from distill_gov.records.errors import MissingExtraError, UnknownKeyError
from redaction.filters.hits import Tag
from redaction.filters.ngrams import visible
from redaction.filters.policy import LanguageRule

__all__ = ["VERSION", "language"]

VERSION = "1"

_NOT_WORDS = re.compile(r"<[A-Z_]+(?:_[0-9]+|:[0-9a-f]{16}|:enc:[\w:-]+)>|https?://\S+|\S+@\S+|[\d_]+|[^\w\s']+")


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtraError("the language filter needs py3langid", fix="pip install 'distill-gov[redact]'") from error
    # An identifier of our own: another's `set_languages` must not change what is found here.
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language(rule: LanguageRule) -> Callable[[str], Iterator[Tag]]:
    """What says that a text is in a language that is not allowed, with the guess's probability.

    Raises:
        MissingExtraError: py3langid is not installed.
        UnknownKeyError: a language that it does not know.
    """
    identifier, allowed = _identifier(), frozenset(rule.allowed)
    for code in sorted(allowed.difference(identifier.labels)):
        near = difflib.get_close_matches(code, identifier.labels, n=1)
        raise UnknownKeyError(
            f"no such language: `{code}`",
            where="redaction.yaml: language.allowed",
            fix=f"Did you mean `{near[0]}`?" if near else "",
        )

    def tags(text: str) -> Iterator[Tag]:
        words = " ".join(_NOT_WORDS.sub(" ", visible(text)).split())
        if sum(map(str.isalpha, words)) < rule.min_letters:
            return
        found, confidence = identifier.classify(words)
        if found not in allowed and confidence >= rule.min_confidence:
            yield Tag(f"language_{found}", round(float(confidence), 4))

    return tags
