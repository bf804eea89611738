"""Payment cards (Luhn) and IBANs (mod 97)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.recognizers.checksums import iban_valid, luhn
from redaction.recognizers.gates import Needs
from redaction.recognizers.rule import Hit, PatternRule, PresidioPatternRule, Rule, compiled, matches

__all__ = ["IBAN_LENGTHS", "payment_rules"]

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24,
    "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29,
    "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24,
    "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
"""Characters of an IBAN by country (the SWIFT IBAN registry)."""

_IBAN_START = compiled(r"(?<![a-z0-9]) (?P<country>[a-z]{2}) \d{2} (?= (?:[ .-]?[a-z0-9]){11,30} )")
_CARD = compiled(
    r"(?<![\w.]) (?<!\d[ -]) (?=[2-6]|1800|2131|9) (?: \d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7} | \d{4}[ -]?\d{6}[ -]?\d{5} "
    r"| \d{13,19} ) (?![\w]|[.-]\d)"
)
# A mistyped or invented number has no valid check digit; the word before it says what it is.
_CARD_LOOSE = compiled(
    r"(?<![\w.,+-]) \d{4}(?:[ -]?\d{4}){2}(?:[ -]?\d{1,7})? (?![\w]|[.,-]\d) | (?<![\w.,+-]) \d{12,19} (?![\w]|[.,-]\d)"
)
_CARD_WORDS = compiled(
    r"\b (?: (?:credit|debit|bank|gift|payment|charge|visa)?\s?cards? | visa | master\s?card | maestro | amex "
    r"| american\sexpress | discover | diners | cc | kreditkarte\w*"
    r" | kartennummer | carte(?:\s(?:bancaire|bleue|de\scr[eé]dit))? | tarjeta | carta\sdi\scredito | kaart(?:nummer)? "
    r"| karta | cart[aã]o ) \b [^\d\n]{0,25} $"
)
_CARD_CONTEXT_TAIL = compiled(
    r"\b (?: cvv2? | cvc2? | security\scode | prüfziffer | kartenprüfnummer ) (?:\s(?:is|ist"
    r"|code))? \s?[:=]?\s? (?P<value>\d{3,4}) \b"
)


class Ibans:
    """Letters in either case, in groups or not; the country's length says where the number ends."""

    id = "iban/mod97"
    version = "1"
    entity = "IBAN"

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for match in matches(_IBAN_START, text):
            length = IBAN_LENGTHS.get(match["country"].upper())
            end = _end_after(text, match.start(), length) if length else None
            if end is not None and iban_valid(text[match.start() : end]) and not text[end : end + 1].isalnum():
                yield Hit(self.entity, match.start(), end, 1.0, self.id, self.version)


def _end_after(text: str, start: int, wanted: int) -> int | None:
    seen = 0
    for index in range(start, len(text)):
        if text[index].isascii() and text[index].isalnum():
            seen += 1
            if seen == wanted:
                return index + 1
        elif text[index] not in " .-":
            return None
    return None


def payment_rules() -> tuple[Rule, ...]:
    from presidio_analyzer.predefined_recognizers import CreditCardRecognizer

    return (
        PresidioPatternRule(CreditCardRecognizer(name="card"), "CARD", needs=Needs(digits=12)),
        PatternRule("card/luhn", "1", "CARD", _CARD, 1.0, luhn),
        PatternRule("card/named", "1", "CARD", _CARD_LOOSE, 0.7, None, _CARD_WORDS, None, 50),
        PatternRule("card/security_code", "1", "CARD", _CARD_CONTEXT_TAIL, 0.8),
        Ibans(),
    )
