"""One table per entity. All values are invented or published examples; persons and numbers belong to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from redaction import Redactor
from redaction.recognizers import checksums

CASES = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text("utf-8"))


def _marked(marked: str) -> tuple[str, list[tuple[int, int]]]:
    text, spans = "", []
    for part in marked.split("[["):
        value, closed, rest = part.partition("]]")
        if closed:
            spans.append((len(text), len(text) + len(value)))
            text += value + rest
        else:
            text += part
    return text, spans


@pytest.mark.parametrize(("entity", "marked"), [(e, text) for e, texts in CASES["found"].items() for text in texts])
def test_finds_exactly_the_marked_value(redactor: Redactor, entity: str, marked: str) -> None:
    text, spans = _marked(marked)
    assert spans
    found = [(e, start, end) for e, start, end, _, _ in redactor.detect(text)]
    assert found == [(entity, start, end) for start, end in spans]


@pytest.mark.parametrize("text", CASES["quiet"])
def test_leaves_ordinary_text_alone(redactor: Redactor, text: str) -> None:
    assert redactor.detect(text) == []
    assert redactor.redact(text).text == text


# Published example numbers: ISO 13616 registry (IBAN), payment networks' test cards, Wikipedia's articles on each id.
@pytest.mark.parametrize(
    ("check", "valid"),
    [
        (checksums.luhn, "4111 1111 1111 1111"),
        (checksums.iban_valid, "GB29 NWBK 6016 1331 9268 19"),
        (checksums.dni_valid, "12345678Z"),
        (checksums.dni_valid, "X1234567L"),
        (checksums.nir_valid, "2 55 08 14 168 025 38"),
        (checksums.codice_fiscale_valid, "RSSMRA85T10A562S"),
        (checksums.pesel_valid, "44051401359"),
        (checksums.bsn_valid, "111222333"),
        (checksums.steuer_id_valid, "86095742719"),
        (checksums.nhs_valid, "943 476 5919"),
        (checksums.cpf_valid, "111.444.777-35"),
    ],
)
def test_checksums_take_the_example_and_refuse_its_neighbours(check: object, valid: str) -> None:
    assert callable(check)
    assert check(valid)
    last = max(i for i, c in enumerate(valid) if c.isalnum())
    wrong = "1" if valid[last] != "1" else "2"
    neighbour = valid[:last] + (wrong if valid[last].isdigit() else ("A" if valid[last] != "A" else "B"))
    assert not check(neighbour)
    assert not check("0" * 30)


@pytest.mark.parametrize("value", ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000"])
def test_impossible_social_security_numbers(value: str) -> None:
    assert not checksums.ssn_plausible(value)
