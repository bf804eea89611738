"""E-mail, phone, IP and MAC address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.presidio.phones import PhoneFinder
from redaction.recognizers.gates import Needs
from redaction.recognizers.rule import Hit, PatternRule, PresidioPatternRule, Rule, compiled

__all__ = ["contact_rules"]

# Presidio's e-mail recogniser asks tldextract, which fetches a list from the network at the first hit, and refuses the
# reserved names (example.org is fine, shop.example is not). The shape alone is enough here.
_EMAIL = compiled(r"(?<![\w.+-]) [\w.!\#$%&'*+/=?^`{|}~-]{1,64} @ [\w-]{1,63} (?: \.[\w-]{1,63} ){1,8} (?<![.-])")
_EMAIL_SPELT = compiled(
    r"\b [\w.+-]{1,64} \s? [\[(]\s?(?:at|@)\s?[\])] \s? [\w-]{1,63} (?: \s? (?:\.|[\[(]\s?(?:dot"
    r"|\.)\s?[\])]) \s? [\w-]{2,63} ){1,4}"
)
_SEPARATOR = r"[\s./()-]"
_EXTENSION = r"(?: [,;]?\s?(?:x|ext(?:ension|n)?\.?|\#)\s?\d{1,6}(?!\d) )?"
_INTERNATIONAL = compiled(
    rf"(?<![\w+]) (?:\+|00) [1-9] (?: {_SEPARATOR}{{0,3}} \d ){{6,14}} {_EXTENSION} (?![\w]|[.,]\d|[:/-]\d)"
)
_NATIONAL = compiled(rf"(?<![\w.,:/+#-]|\d\s) \(?0 (?: {_SEPARATOR}{{0,2}} \d ){{8,11}} {_EXTENSION} (?![\w]|[.,]\d|[:/-]\d)")
_NORTH_AMERICAN = compiled(
    r"(?<![\w.,:/+\#-]) (?:\+?1[\s.-])? (?: \(\d{3}\)[\s.-]? | [2-9]\d\d[\s.-] ) \d{3} [\s.-] \d{4}"
    rf" {_EXTENSION} (?![\w]|[-.]\d)"
)
_SHORT = compiled(
    rf"(?<![\w.,:/+\#-]) [+(]{{0,2}}\d (?: {_SEPARATOR}{{0,2}} \d ){{5,14}} {_EXTENSION} (?![\w]|[.,:/-]\d|\s?(?:EUR"
    rf"|USD|GBP|%|€|£|\$))"
)
_PHONE_WORDS = compiled(
    r"\b (?: tel | t[eé]l[eé]?(?:ph|f)\w* | phones? | (?:tele)?fon\w* | mobil\w* | cell(?:phone)? | ph "
    r"| call(?:\sme|\sback|\sus)? | ring(?:\sme|\sus)?"
    r"| reach(?:ed)?(?:\sme|\sus)? | whatsapp | sms | text\sme | fax | handy(?:nummer)? | rufnummer | num[eé]ro "
    r"| numer(?:\stelefonu)? | cellulare | gsm"
    r"| m[oó]vil | portable | (?:my|new|his|her|their|our|your|contact|home|work|office|emergency|registered)\snumber "
    r"| number\s(?:is|to)"
    r" | answer(?:s|ing)?\s(?:at|on) | dial(?:led)? | voicemail | pager | text(?:ed|s)? | messages?\sto | hotline "
    r"| desk | extension | tlf | puh(?:elin)? | tél | rückruf | anrufen | bel(?:len)? "
    r"| dzwoni\w* | zadzwo\w* ) \b"
    r" [^\d\n]{0,30} $"
)
_DATE_LIKE = compiled(r"(?: \d{1,2}[./-]\d{1,2}[./-]\d{2,4} | \d{4}[./-]\d{1,2}[./-]\d{1,2} ) (?: \s .* )?")


def _no_date(value: str) -> bool:
    return _DATE_LIKE.fullmatch(value) is None


def _digits(value: str) -> int:
    return sum(c.isdigit() for c in value)


def _international(value: str) -> bool:
    return 8 <= _digits(value) <= 16 and _no_date(value)


def _national(value: str) -> bool:
    return 9 <= _digits(value) <= 12 and _no_date(value)


class PhoneNumbers:
    """Presidio's phone recogniser: numbers that libphonenumber holds for valid in one of the policy's regions."""

    id = "presidio/phone"
    version = "1"
    entity = "PHONE"
    needs = Needs(digits=7)

    def __init__(self, regions: tuple[str, ...]) -> None:
        from presidio_analyzer.predefined_recognizers import PhoneRecognizer

        self._finder = PhoneFinder(PhoneRecognizer(supported_regions=regions))

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for start, end in self._finder.spans(text):
            if _no_date(text[start:end]):
                yield Hit(self.entity, start, end, 0.5, self.id, self.version)


def contact_rules(regions: tuple[str, ...]) -> tuple[Rule, ...]:
    """The lenient phone tiers are ours: invented, short or mistyped numbers are no valid ones to libphonenumber."""
    from presidio_analyzer.predefined_recognizers import IpRecognizer, MacAddressRecognizer

    return (
        PatternRule("email/address", "1", "EMAIL", _EMAIL, 1.0),
        PatternRule("email/spelt", "1", "EMAIL", _EMAIL_SPELT, 0.8),
        PresidioPatternRule(IpRecognizer(name="ip"), "IP_ADDRESS", needs=Needs(like=r"\d\.\d|:[^:]{0,4}:")),
        PresidioPatternRule(MacAddressRecognizer(name="mac"), "MAC_ADDRESS", needs=Needs(like=r"[0-9a-f]{2}[:.-][0-9a-f]{2}")),
        PhoneNumbers(regions),
        PatternRule("phone/international", "1", "PHONE", _INTERNATIONAL, 0.7, _international),
        PatternRule("phone/national", "1", "PHONE", _NATIONAL, 0.6, _national),
        PatternRule("phone/north_american", "1", "PHONE", _NORTH_AMERICAN, 0.7),
        PatternRule("phone/context", "1", "PHONE", _SHORT, 0.6, _no_date, _PHONE_WORDS, None, 60),
    )
