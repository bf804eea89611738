"""National identity numbers and passports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redaction.recognizers import checksums
from redaction.recognizers.gates import Needs
from redaction.recognizers.rule import PatternRule, PresidioPatternRule, Rule, compiled

__all__ = ["national_id_rules", "passport_rules"]

_NINO = compiled(r"(?<!\w) [a-ceghj-pr-tw-z][a-ceghj-npr-tw-z] (?:[ -]?\d\d){3} [ -]?[a-d] (?!\w)")
_SSN = compiled(r"(?<![\w-]) \d{3}[- ]\d{2}[- ]\d{4} (?![\w-])")
_DNI = compiled(r"(?<!\w) (?:\d{8}|[xyz][ -]?\d{7}|\d{2}\.\d{3}\.\d{3}) [ -]?[a-z] (?!\w)")
_NIR = compiled(r"(?<!\w) [12][ .]?\d{2}[ .]?\d{2}[ .]?(?:\d{2}|2[ab])[ .]?\d{3}[ .]?\d{3}[ .]?\d{2} (?!\w)")
_FISCAL = compiled(r"(?<!\w) (?:[a-z]{3}[ ]?){2} \d{2}[a-ehlmprst]\d{2} [ ]? [a-z]\d{3} [ ]? [a-z] (?!\w)")
_ELEVEN = compiled(r"(?<![\w+.,-]) \d{11} (?![\w]|[.,-]\d)")
_ELEVEN_SPACED = compiled(r"(?<![\w+.,-]) \d{2}[ ]\d{3}[ ]\d{3}[ ]\d{3} (?![\w]|[ .,-]\d)")
_CPF = compiled(r"(?<!\w) \d{3}\.\d{3}\.\d{3}-\d{2} (?!\w)")
_AHV = compiled(r"(?<!\w) 756\.\d{4}\.\d{4}\.\d{2} (?!\w)")
_BELGIAN = compiled(r"(?<!\w) \d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2} (?!\w)")
_NORDIC = compiled(r"(?<![\w-]) (?:\d{6}|\d{8})[-+]\d{4} (?![\w-])")
_FINNISH = compiled(r"(?<!\w) \d{6}[-+a]\d{3}[0-9a-fhj-npr-y] (?!\w)")

_ID_WORDS = compiled(
    r"\b (?: ssn | social(?:\ssecurity)?(?:\sn\w*)? | national\s(?:id\w*|insurance|number|no) "
    r"| nat(?:ional)?\s?id | id(?:entity)?\s?(?:no\b|nr\b|num\w*|card|document)"
    r"| i\.?d\.? | nino | n\.?i\.?\snumber | personal\s(?:no|number|code|id) | tax\s?(?:id|number|no)\w* | tin "
    r"| nhs | bsn | burgerservicenummer | sofinummer"
    r"| steuer-?\s?(?:id\w*|nummer)\w* | idnr | personalausweis\w* | ausweis\w* | sozialversicherungs\w* | svnr "
    r"| rentenversicherungs\w* | dni | nie | nif"
    r"| documento | c[eé]dula | curp | nir | s[eé]curit[eé]\ssociale | num[eé]ro\sd'identit[eé] "
    r"| carte\sd'identit[eé] | codice\sfiscale | cod\.?\sfisc\w* | c\.?f\.?"
    r"| carta\sd'identit[àa] | pesel | dow[oó]d\w* | nip | personnummer | fødselsnummer | cpr(?:-nr)? | cpf "
    r"| pps[n]? | rijksregister\w* | hetu | ahv | aadhaar | sin"
    r"| (?:driving|driver'?s?)\slicen[cs]e )"
    r" (?: \s?(?:no\b|nr\b|num\w*|\#)\.? )? [\s:=\#.\"'(-]* (?:(?:is|ist|es|est|è|to|jest|was|of)\b\s*)? [:=\"'(]{0,2} $"
)
_ID_NEAR = compiled(
    r"\b (?: ssn | social\ssecurity | national\s(?:id\w*|insurance|number) | identity\s(?:number|card|document) "
    r"| id\s(?:number|no|nr|card) | bsn | pesel | dni"
    r"| steuer-?id\w* | burgerservicenummer | codice\sfiscale | personal(?:ausweis\w*|\snumber) | nhs ) \b [^\ufffc]{0,40} $"
)
_ID_VALUE = compiled(
    r"(?<![\w-]) (?:[a-z]{1,3}[ ])? (?=[a-z]{0,6}\d)[a-z0-9]{1,16}(?:[ .\-/](?=[a-z]{0,3}\d)[a-z0-9]{1,9}){0,6}"
    r" (?:[ -][a-z](?!\w))? (?![\w-])"
)
_ID_DIGITS = compiled(r"(?<![\w.,+-]) [a-z]{0,3}\d(?:[ .\-/]?\d){5,14}[ -]?[a-z]{0,2} (?![\w]|[.,-]\d)")

_PASSPORT_WORDS = compiled(
    r"\b (?: passports? | reisepass\w* | reisepaß | paspoort\w* | pasaporte | passeport | passaporto "
    r"| paszport\w* | passaporte | pass-?nr\.? | passnummer )"
    r" \b [^\n\ufffc]{0,50} $"
)
_PASSPORT_AFTER = compiled(
    r"[^\w\n]{0,3} [^\n\d]{0,20} \b(?:passport|reisepass|paspoort|pasaporte|passeport|passaporto|paszport)\b"
)
_PASSPORT_VALUE = compiled(
    r"(?<![\w-]) (?: \d{3}[ ]\d{3}[ ]\d{3} | [a-z]{0,3}[ ]?\d{6,9}[a-z]? | [a-z]\d{2}[ ]?\d{5,6} "
    r"| (?=[a-z0-9]*\d[a-z0-9]*\d) (?=[a-z0-9]*[a-z]) [a-z0-9]{8,10} | \d{2}[a-z]{2}\d{5} ) (?![\w-])"
)
_PASSPORT_ZONE = compiled(r"p[a-z<][a-z]{3}[a-z]+<<[a-z<]{5,40} (?: \s? [a-z0-9<]{30,44} )?")


def _six_digits(value: str) -> bool:
    return sum(c.isdigit() for c in value) >= 6


def national_id_rules() -> tuple[Rule, ...]:
    """Numbers with a check digit stand by themselves; the others need a word before them."""
    from presidio_analyzer.predefined_recognizers import ItFiscalCodeRecognizer

    entity = "NATIONAL_ID"

    def alone(name: str, pattern: Any, check: Callable[[str], bool] | None = None, score: float = 0.9) -> PatternRule:
        return PatternRule(f"national_id/{name}", "1", entity, pattern, score, check)

    return (
        alone("gb_nino", _NINO, score=0.8),
        alone("us_ssn", _SSN, checksums.ssn_plausible, 0.8),
        alone("es_dni", _DNI, checksums.dni_valid),
        alone("fr_nir", _NIR, checksums.nir_valid),
        alone("it_codice_fiscale", _FISCAL, checksums.codice_fiscale_valid),
        alone("pl_pesel", _ELEVEN, checksums.pesel_valid, 0.8),
        alone("de_steuer_id", _ELEVEN, checksums.steuer_id_valid, 0.7),
        alone("de_steuer_id_spaced", _ELEVEN_SPACED, checksums.steuer_id_valid, 0.7),
        alone("br_cpf", _CPF, checksums.cpf_valid),
        alone("ch_ahv", _AHV),
        alone("be_rijksregister", _BELGIAN),
        alone("nordic", _NORDIC, lambda v: checksums.luhn(v[-11:]), 0.7),
        alone("fi_hetu", _FINNISH, None, 0.7),
        PresidioPatternRule(
            ItFiscalCodeRecognizer(name="it_fiscal_code"),
            entity,
            needs=Needs(token=16, like="[a-z]{6}[0-9l-np-v]{2}[a-ehlmpr-t]"),
        ),
        PatternRule(
            "national_id/nl_bsn",
            "1",
            entity,
            compiled(r"(?<!\w)\d{3}[. ]?\d{3}[. ]?\d{3}(?!\w)"),
            0.9,
            checksums.bsn_valid,
            _ID_NEAR,
            None,
            60,
        ),
        PatternRule(
            "national_id/gb_nhs",
            "1",
            entity,
            compiled(r"(?<!\w)\d{3}[ -]?\d{3}[ -]?\d{4}(?!\w)"),
            0.9,
            checksums.nhs_valid,
            _ID_NEAR,
            None,
            60,
        ),
        PatternRule("national_id/named", "1", entity, _ID_VALUE, 0.7, _six_digits, _ID_WORDS, None, 50),
        PatternRule("national_id/near", "1", entity, _ID_DIGITS, 0.6, _six_digits, _ID_NEAR, None, 70),
    )


def passport_rules() -> tuple[Rule, ...]:
    return (
        PatternRule("passport/named", "1", "PASSPORT", _PASSPORT_VALUE, 0.8, None, _PASSPORT_WORDS, _PASSPORT_AFTER, 70),
        PatternRule("passport/zone", "1", "PASSPORT", _PASSPORT_ZONE, 0.9),
    )
