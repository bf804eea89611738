from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from distill_gov.records.errors import BadInputError
from redaction import Redacted, Redactor
from redaction.residual import KnownValues, residual
from redaction.surrogates import placeholders

CASES = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text("utf-8"))
MARKED = [text for texts in CASES["found"].values() for text in texts]
TEXTS = [text.replace("[[", "").replace("]]", "") for text in MARKED]


def _as_redacted(text: str) -> Redacted:
    return Redacted(text, (), tuple(placeholders(text)))


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_is_left_after_redaction(redactor: Redactor, text: str) -> None:
    assert residual(redactor.redact(text), redactor) == []


def test_a_value_left_behind_is_a_hit_without_its_text(redactor: Redactor) -> None:
    hits = residual(_as_redacted("<EMAIL_1> and a@example.org"), redactor)
    assert [(h.entity, h.start, h.end) for h in hits] == [("EMAIL", 14, 27)]
    assert "example" not in repr(hits)


@pytest.mark.parametrize(
    ("entity", "value", "text"),
    [
        ("PERSON", "Zanthe Quillfeather", "we told zanthe quillfeather about it"),
        ("PERSON", "quillfeather", "so 'Quillfeather', then"),
        ("PASSWORD", "opensesame", "is it opensesame?"),
        ("USERNAME", "moonlighter", "the moonlighter profile"),
        ("ADDRESS", "Gate 7, Old Pier", "at gate 7, old pier!"),
        ("ORDER_NUMBER", "ZZ-1", "ZZ 1"),
    ],
)
def test_a_known_value_that_comes_back_is_a_hit(redactor: Redactor, entity: str, value: str, text: str) -> None:
    known = KnownValues(redactor.key_id, {entity: frozenset({redactor.value_hash(entity, value)})})
    found = residual(_as_redacted(text), redactor, known)
    if entity != "ORDER_NUMBER":
        assert "known_value" in {h.rule for h in found}
    assert residual(_as_redacted("something else, nothing of it here"), redactor, known) == []


def test_short_words_are_not_looked_up(redactor: Redactor) -> None:
    known = KnownValues(redactor.key_id, {"PERSON": frozenset({redactor.value_hash("PERSON", "Will")})})
    assert residual(_as_redacted("this will do"), redactor, known) == []


def test_own_findings_count_as_known(redactor: Redactor) -> None:
    done = redactor.redact("my name is Zanthe Quillfeather")
    leaked = Redacted(done.text + " zanthe quillfeather", done.findings, done.issued)
    assert any(h.rule == "known_value" for h in residual(leaked, redactor))


def test_a_text_that_cannot_be_scanned_raises(redactor: Redactor) -> None:
    with pytest.raises(BadInputError):
        residual(_as_redacted("\ud800"), redactor)
