"""Presidio's rule that a word before a value makes it more likely, without lemmas for every text.

`LemmaContextAwareEnhancer` of presidio-analyzer 2.2.366 looks whether a lemma among the last words before a value, the value's
own included, has a context word in it. Lemmas cost a quarter of spaCy's time, and for most texts any lemma that a token could
have gives the same answer; only where it does not, the tagger, the attribute ruler and the lemmatizer are run. A test compares
the two on every text of a set.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["CONTEXT_GAIN", "CONTEXT_MINIMUM", "Contexts"]

CONTEXT_GAIN = 0.35
"""What a context word adds to a score: Presidio's ``context_similarity_factor``."""
CONTEXT_MINIMUM = 0.4
"""The least score beside a context word: Presidio's ``min_score_with_context_similarity``."""
_BEFORE, _AFTER = 6, 1
"""Keywords looked at from the value's first token on, itself included: Presidio's prefix and suffix counts, 5 and 0, plus 1."""
_MANY_FORMS = 50_000
_PIPES = ("tagger", "attribute_ruler", "lemmatizer")


class Contexts:
    """Answers for documents of one spaCy pipeline; the documents need not be tagged.

    Args:
        nlp: the pipeline that made the documents; its tagger, attribute ruler and lemmatizer may be disabled.
    """

    def __init__(self, nlp: Any) -> None:
        self._nlp = nlp
        self._pipes = [nlp.get_pipe(name) for name in _PIPES if name in nlp.component_names]
        self._forms = _PossibleLemmas.of(nlp)
        self._stop_or_punctuation: dict[str, bool] = {}

    def document(self, doc: Any) -> DocumentContext:
        return DocumentContext(self, doc)

    def lemmatize(self, doc: Any) -> None:
        """Give a document its lemmas, exactly as the whole pipeline would have."""
        for pipe in self._pipes:
            doc = pipe(doc)

    @property
    def foresees(self) -> bool:
        """Whether it is known, for this pipeline, which lemmas a token can get."""
        return self._forms is not None

    def possible(self, text: str) -> frozenset[str]:
        """Every lemma that a token so written can get."""
        assert self._forms is not None
        return self._forms(text)

    def is_keyword(self, lemma: str) -> bool:
        """Whether Presidio counts a lemma among the keywords of its text, as far as the lemma itself decides."""
        known = self._stop_or_punctuation.get(lemma)
        if known is None:
            if len(self._stop_or_punctuation) > _MANY_FORMS:
                self._stop_or_punctuation.clear()
            lexeme = self._nlp.vocab[lemma]
            known = self._stop_or_punctuation[lemma] = bool(lexeme.is_stop or lexeme.is_punct or lemma == "-PRON-")
        return not known


class DocumentContext:
    """The words around values of one document."""

    def __init__(self, contexts: Contexts, doc: Any) -> None:
        self._contexts, self._doc = contexts, doc
        self._ends: list[int] = []
        self._exact: list[frozenset[str]] = []
        self._pieces: frozenset[str] | None = None

    def supports(self, words: Sequence[str], start: int) -> bool:
        """Whether one of the words, in lower case, is part of a keyword near the value that starts at a character."""
        if not len(self._doc):
            return False
        index = self._token_at(start)
        if not self._exact:
            if self._contexts.foresees and (answer := self._answer(words, index)) is not None:
                return answer
            self._contexts.lemmatize(self._doc)
            self._exact = [frozenset((token.lemma_,)) for token in self._doc]
            self._pieces = None
        return bool(self._answer(words, index))

    def _token_at(self, start: int) -> int:
        """The token that covers a character, or the next one; the last one if the value starts after it."""
        if not self._ends:
            self._ends = [token.idx + len(token) for token in self._doc]
        return min(bisect_right(self._ends, start), len(self._ends) - 1)

    def _lemmas(self, index: int) -> frozenset[str]:
        """The lemma of a token if it is known, else all that it may have."""
        return self._exact[index] if self._exact else self._contexts.possible(self._doc[index].text)

    def _answer(self, words: Sequence[str], index: int) -> bool | None:
        """True or False where it is certain whatever lemmas the tokens get, None where it depends."""
        before = self._look(words, range(index, -1, -1), _BEFORE)
        if before:
            return True
        after = self._look(words, range(index, len(self._doc)), _AFTER)
        if after:
            return True
        return None if before is None or after is None else False

    def _look(self, words: Sequence[str], indices: Iterable[int], limit: int) -> bool | None:
        """Whether one of the first ``limit`` keywords at the indices has one of the words in it."""
        certain = possible = 0
        open_question = False
        for index in indices:
            forms = self._lemmas(index)
            kept = [form.lower() for form in forms if self._may_be_keyword(form)]
            if not kept:
                continue
            surely = all(self._is_surely_keyword(form) for form in forms)
            having = sum(any(word in form for word in words) for form in kept)
            if having:
                if surely and having == len(kept) and possible < limit:
                    return True
                open_question = True
            possible += 1
            certain += surely
            if certain == limit:
                break
        return None if open_question else False

    def _may_be_keyword(self, lemma: str) -> bool:
        if ":" in lemma:
            return False
        return self._contexts.is_keyword(lemma) or lemma.lower() in self._colon_pieces()

    def _is_surely_keyword(self, lemma: str) -> bool:
        if ":" in lemma:
            return False
        return self._contexts.is_keyword(lemma) or (bool(self._exact) and lemma.lower() in self._colon_pieces())

    def _colon_pieces(self) -> frozenset[str]:
        """Presidio cuts keywords at colons, and what comes off counts as a keyword wherever it stands in the text."""
        if self._pieces is None:
            self._pieces = frozenset(
                piece
                for index, token in enumerate(self._doc)
                if ":" in token.text
                for lemma in self._lemmas(index)
                if self._contexts.is_keyword(lemma)
                for piece in lemma.lower().split(":")
            )
        return self._pieces


class _PossibleLemmas:
    """Every lemma that spaCy's English attribute ruler and rule lemmatizer can give to a token, by how it is written.

    The ruler sets a lemma for listed words; otherwise the lemmatizer takes, by the part of speech, the word itself, an
    exception of its tables, or the word with one ending replaced (`Lemmatizer.rule_lemmatize` of spaCy 3.8).
    """

    def __init__(self, given: Sequence[tuple[re.Pattern[str], str]], tables: Mapping[str, Any]) -> None:
        self._given = given
        self._exceptions = list(tables["lemma_exc"].values())
        self._endings = sorted({(old, new) for rules in tables["lemma_rules"].values() for old, new in rules})
        self._known: dict[str, frozenset[str]] = {}

    @classmethod
    def of(cls, nlp: Any) -> _PossibleLemmas | None:
        """None for a pipeline whose lemmas come from elsewhere."""
        if not {"attribute_ruler", "lemmatizer"} <= set(nlp.component_names):
            return None
        lemmatizer, ruler = nlp.get_pipe("lemmatizer"), nlp.get_pipe("attribute_ruler")
        if getattr(lemmatizer, "mode", "") != "rule" or lemmatizer.overwrite:
            return None
        given = [_given_lemma(pattern) for pattern in ruler.patterns if "LEMMA" in pattern["attrs"]]
        names = ("lemma_exc", "lemma_rules")
        if None in given or not all(lemmatizer.lookups.has_table(name) for name in names):
            return None
        tables = {name: lemmatizer.lookups.get_table(name) for name in names}
        return cls([lemma for several in given if several for lemma in several], tables)

    def __call__(self, text: str) -> frozenset[str]:
        known = self._known.get(text)
        if known is None:
            if len(self._known) > _MANY_FORMS:
                self._known.clear()
            known = self._known[text] = frozenset(self._all(text))
        return known

    def _all(self, text: str) -> Iterable[str]:
        lower = text.lower()
        yield text
        yield lower
        for exceptions in self._exceptions:
            yield from exceptions.get(lower, ())
        for old, new in self._endings:
            if lower.endswith(old) and (form := lower[: len(lower) - len(old)] + new):
                yield form
        for pattern, lemma in self._given:
            if pattern.search(lower):
                yield lemma


def _given_lemma(rule: Mapping[str, Any]) -> list[tuple[re.Pattern[str], str]] | None:
    """The words that a rule of the attribute ruler gives a lemma, as patterns of their lower-case form; None if not clear."""
    found = []
    for pattern in rule["patterns"]:
        lower = pattern[rule["index"]].get("LOWER")
        if isinstance(lower, str):
            source = rf"\A{re.escape(lower)}\Z"
        elif isinstance(lower, Mapping) and set(lower) == {"IN"}:
            source = rf"\A(?:{'|'.join(map(re.escape, lower['IN']))})\Z"
        elif isinstance(lower, Mapping) and set(lower) == {"REGEX"}:
            source = lower["REGEX"]
        else:
            return None
        found.append((re.compile(source), rule["attrs"]["LEMMA"]))
    return found
