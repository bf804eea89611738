"""Numbers and codes that look like the value and belong to nobody: fictional, reserved or test ranges where there are any."""

from __future__ import annotations

import re
import string

from redaction.operators.draws import Draws
from redaction.recognizers import checksums

__all__ = ["card", "iban", "imei", "ip_address", "mac_address", "national_id", "phone", "same_shape"]

_NANP_DIGITS = 10
_ID_TRIES = 200


def same_shape(value: str, draws: Draws) -> str:
    """Digits for digits and letters for letters, in the value's case; everything else stays."""
    return "".join(_like(c, draws) for c in value)


def _like(c: str, draws: Draws) -> str:
    if c.isdigit():
        return draws.digits(1)
    if not c.isalpha():
        return c
    letter = draws.of(string.ascii_lowercase)
    return letter.upper() if c.isupper() else letter


def _filled(value: str, digits: str) -> str:
    """The value with its digits replaced in turn, separators kept."""
    rest = iter(digits)
    return "".join(next(rest) if c.isdigit() else c for c in value)


def _drawn(template: str, draws: Draws) -> str:
    """``d`` becomes a digit, ``A`` a digit of 2 to 9; anything else stays."""
    return "".join(draws.digits(1) if c == "d" else str(2 + draws.below(8)) if c == "A" else c for c in template)


_FICTIONAL: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (country, re.compile(pattern), template)
    for country, pattern, template in (
        # NANP 555-0100 to 555-0199 (NANPA, "555 line numbers": reserved for fictional use in any area).
        ("1", r"\d{10}", "Add55501dd"),
        # Ofcom, "Telephone numbers for use in TV and radio drama programmes": mobile, London, and no area.
        ("44", r"7\d{9}", "7700900ddd"),
        ("44", r"20\d{8}", "2079460ddd"),
        ("44", r"\d{10}", "1632960ddd"),
        # Arcep, decision 2018-0881: numbers for audiovisual works.
        ("33", r"[67]\d{8}", "63998dddd"),
        ("33", r"\d{9}", "19900dddd"),
        # Bundesnetzagentur, "Rufnummern für Medienproduktionen": two mobile blocks, and Berlin.
        ("49", r"1\d{9}", "17139200dd"),
        ("49", r"1\d{10}", "176040690dd"),
        ("49", r"[2-9]\d{9}", "3023125ddd"),
    )
)


def phone(value: str, draws: Draws) -> str:
    """A number of a range kept for fiction where the country has one, in the value's writing; else one of the same shape."""
    number = _EXTENSION.sub("", value)
    digits = "".join(c for c in number if c.isdigit())
    for prefix, country, national in _readings(number, digits):
        for code, pattern, template in _FICTIONAL:
            if code == country and pattern.fullmatch(national):
                made = _filled(number, prefix + _drawn(template, draws))
                return made + _digits_only(value[len(number) :], draws)
    # The country's code stays, as it does where there is a range for fiction.
    code_shown = _COUNTRY.match(number)
    kept = code_shown[0] if code_shown else ""
    return kept + same_shape(number[len(kept) :], draws) + _digits_only(value[len(number) :], draws)


_EXTENSION = re.compile(r"\W*(?:extension|ext|x|durchwahl|dw)\W*\d{1,6}$", re.IGNORECASE)
_COUNTRY = re.compile(r"\+\d{2}")


def _digits_only(value: str, draws: Draws) -> str:
    return "".join(draws.digits(1) if c.isdigit() else c for c in value)


def _readings(value: str, digits: str) -> list[tuple[str, str, str]]:
    """(leading digits that stay, country code, national number) that the digits may be."""
    international = digits.removeprefix("00")
    kept = digits[: len(digits) - len(international)]
    if value.lstrip(" (").startswith("+") or kept:
        return [
            (f"{kept}{code}{trunk}", code, international[len(code) + len(trunk) :])
            for code in ("1", "44", "33", "49")
            for trunk in ("0", "")
            if international.startswith(code + trunk)
        ]
    if digits.startswith("0"):
        # Without a country: eleven digits are read as British, ten as French.
        return [("0", {11: "44", 10: "33"}.get(len(digits), ""), digits[1:])]
    if len(digits) == _NANP_DIGITS + 1 and digits.startswith("1"):
        return [("1", "1", digits[1:])]
    return [("", "1", digits)] if digits[:1] >= "2" else []


_TEST_PREFIXES = (
    ("34", "378282"),
    ("37", "378282"),
    ("35", "353011"),
    ("3", "305693"),
    ("5", "555555"),
    ("2", "222300"),
    ("6", "601111"),
    ("", "400000"),
)
"""First digits of the numbers that payment processors publish for tests, by network (Stripe, PayPal and Adyen list them)."""


def card(value: str, draws: Draws) -> str:
    """A number in a test range that passes Luhn, as long and as spaced as the value; a security code keeps its shape."""
    digits = "".join(c for c in value if c.isdigit())
    if len(digits) < 12:
        return same_shape(value, draws)
    prefix = next(test for start, test in _TEST_PREFIXES if digits.startswith(start))
    body = prefix + draws.digits(len(digits) - len(prefix) - 1)
    check = next(d for d in string.digits if checksums.luhn(body + d))
    return _filled(value, body + check)


def iban(value: str, draws: Draws) -> str:
    """Same country and shape, right check digits (ISO 13616), and a bank that there is none of: code 0000 or TEST."""
    compact = [c for c in value if c.isalnum()]
    country = "".join(compact[:2]).upper()
    bank = "".join("TEST"[i] if c.isalpha() else "0" for i, c in enumerate(compact[4:8]))
    rest = bank + "".join(_like(c.upper(), draws) for c in compact[8:])
    number = int("".join(str(int(c, 36)) for c in f"{rest}{country}00"))
    letters = iter(f"{country}{98 - number % 97:02d}{rest}")
    return "".join(_cased(next(letters), c) if c.isalnum() else c for c in value)


def _cased(letter: str, like: str) -> str:
    return letter.lower() if like.islower() else letter


def imei(value: str, draws: Draws) -> str:
    """A type code that begins with 00, which the GSMA keeps for tests."""
    digits = "".join(c for c in value if c.isdigit())
    return _filled(value, "00" + draws.digits(max(0, len(digits) - 2))) if len(digits) > 2 else same_shape(value, draws)


_CHECKS = (
    checksums.bsn_valid,
    checksums.codice_fiscale_valid,
    checksums.cpf_valid,
    checksums.dni_valid,
    checksums.luhn,
    checksums.nhs_valid,
    checksums.nir_valid,
    checksums.pesel_valid,
    checksums.ssn_plausible,
    checksums.steuer_id_valid,
)
_SSN = re.compile(r"\d{3}([- ]?)\d{2}\1\d{4}")
_NINO = re.compile(r"[A-Za-z]{2}[ -]?(?:\d{2}[ -]?){3}[A-Za-z]")


def national_id(value: str, draws: Draws) -> str:
    """Same shape, and valid nowhere: it fails every check that we know.

    US social security numbers get area 000, which is never given; UK national insurance numbers prefix QQ, kept for examples.
    """
    made = same_shape(value, draws)
    for _ in range(_ID_TRIES):
        if _SSN.fullmatch(value):
            made = "000" + made[3:]
        elif _NINO.fullmatch(value):
            made = ("QQ" if value[0].isupper() else "qq") + made[2:]
        if not any(_passes(check, made) for check in _CHECKS):
            return made
        made = same_shape(value, draws)
    return made


def _passes(check: object, value: str) -> bool:
    try:
        return bool(check(value))  # type: ignore[operator]
    except (ValueError, IndexError):
        return False  # not of the length or the letters that the check is about


_V4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_DOCUMENTATION = ("192.0.2.", "198.51.100.", "203.0.113.")


def ip_address(value: str, draws: Draws) -> str:
    """An address for documentation: RFC 5737 for IPv4, RFC 3849 for IPv6. A port or mask behind an IPv4 address stays."""
    if _V4.search(value):
        return _V4.sub(lambda _: draws.of(_DOCUMENTATION) + str(1 + draws.below(254)), value, count=1)
    return "2001:db8::" + ":".join(f"{draws.below(0x10000):x}" for _ in range(4))


def mac_address(value: str, draws: Draws) -> str:
    """Locally administered and unicast (IEEE 802: second bit of the first octet set, first bit clear), so no maker's."""
    places = [i for i, c in enumerate(value) if c in string.hexdigits]
    made = list(value)
    for n, i in enumerate(places):
        digit = draws.of("26ae") if n == 1 else draws.of("0123456789abcdef")
        made[i] = digit.upper() if value.isupper() else digit
    return "".join(made)
