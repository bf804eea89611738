"""Check digits. Each function takes the value as written; separators are skipped."""

from __future__ import annotations

__all__ = [
    "aba_valid",
    "bsn_valid",
    "codice_fiscale_valid",
    "cpf_valid",
    "dea_valid",
    "dni_valid",
    "iban_valid",
    "luhn",
    "nhs_valid",
    "nir_valid",
    "npi_valid",
    "pesel_valid",
    "ssn_plausible",
    "steuer_id_valid",
    "vin_valid",
]


def _digits(value: str) -> list[int]:
    return [int(c) for c in value if c.isascii() and c.isdigit()]


def _alnum(value: str) -> str:
    return "".join(c for c in value.upper() if c.isascii() and c.isalnum())


def luhn(value: str) -> bool:
    """ISO/IEC 7812-1, annex B. A number of one repeated digit is refused."""
    digits = _digits(value)
    doubled = [d * 2 - 9 if d > 4 else d * 2 for d in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def iban_valid(value: str) -> bool:
    """ISO 13616: the first four characters go to the end, letters count from 10, remainder 1 modulo 97."""
    compact = _alnum(value)
    return len(compact) >= 15 and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def ssn_plausible(value: str) -> bool:
    """US social security number: no check digit, but areas 000, 666, 9xx, group 00 and serial 0000 are never given."""
    digits = "".join(str(d) for d in _digits(value))
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return len(digits) == 9 and area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"


def dni_valid(value: str) -> bool:
    """Spanish DNI and NIE: the letter is the number modulo 23 (X, Y, Z stand for 0, 1, 2)."""
    compact = _alnum(value)
    number = compact[:-1].replace("X", "0", 1).replace("Y", "1", 1).replace("Z", "2", 1)
    return number.isdigit() and compact[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def nir_valid(value: str) -> bool:
    """French NIR: the key is 97 minus the first thirteen digits modulo 97 (Corsica's 2A and 2B count as 19 and 18)."""
    compact = _alnum(value)
    number, key = compact[:13].replace("2A", "19").replace("2B", "18"), compact[13:]
    return len(compact) == 15 and number.isdigit() and key.isdigit() and 97 - int(number) % 97 == int(key)


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        ],
        strict=True,
    )
)


def codice_fiscale_valid(value: str) -> bool:
    """Italian codice fiscale: the sixteenth character, by the tables of the decree of 23 December 1976."""
    compact = _alnum(value)
    if len(compact) != 16:
        return False
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in compact[1:15:2])
    return chr(65 + (even + sum(_ODD[c] for c in compact[0:15:2])) % 26) == compact[15]


def pesel_valid(value: str) -> bool:
    """Polish PESEL: weights 1, 3, 7, 9, and a possible date of birth in the first six digits."""
    digits = _digits(value)
    if len(digits) != 11 or not 1 <= (digits[2] * 10 + digits[3]) % 20 <= 12 or not 1 <= digits[4] * 10 + digits[5] <= 31:
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return sum(d * w for d, w in zip(digits, weights, strict=True)) % 10 == 0


def bsn_valid(value: str) -> bool:
    """Dutch BSN: the eleven test."""
    digits = _digits(value)
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return len(digits) == 9 and any(digits) and sum(d * w for d, w in zip(digits, weights, strict=True)) % 11 == 0


def steuer_id_valid(value: str) -> bool:
    """German tax id: ISO 7064 mod 11,10."""
    digits = _digits(value)
    if len(digits) != 11 or digits[0] == 0:
        return False
    product = 10
    for digit in digits[:10]:
        total = (digit + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == digits[10]


def nhs_valid(value: str) -> bool:
    """British NHS number: weights 10 to 2, modulo 11."""
    digits = _digits(value)
    if len(digits) != 10:
        return False
    check = 11 - sum(d * w for d, w in zip(digits[:9], range(10, 1, -1), strict=True)) % 11
    return (0 if check == 11 else check) == digits[9]


def cpf_valid(value: str) -> bool:
    """Brazilian CPF: two check digits, modulo 11."""
    digits = _digits(value)
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    for size in (9, 10):
        total = sum(d * w for d, w in zip(digits[:size], range(size + 1, 1, -1), strict=True))
        if total * 10 % 11 % 10 != digits[size]:
            return False
    return True


def aba_valid(value: str) -> bool:
    """US routing number: weights 3, 7, 1 modulo 10, and a first pair that the Federal Reserve gives."""
    digits = _digits(value)
    if len(digits) != 9:
        return False
    pair = digits[0] * 10 + digits[1]
    given = pair <= 12 or 21 <= pair <= 32 or 61 <= pair <= 72 or pair == 80
    return given and any(digits) and sum(d * w for d, w in zip(digits, (3, 7, 1) * 3, strict=True)) % 10 == 0


def dea_valid(value: str) -> bool:
    """US DEA number: (d1 + d3 + d5) + 2 (d2 + d4 + d6) ends in the seventh digit (21 CFR 1301, as pharmacies compute it)."""
    digits = _digits(value[2:])
    return len(digits) == 7 and any(digits) and (sum(digits[0:6:2]) + 2 * sum(digits[1:6:2])) % 10 == digits[6]


def npi_valid(value: str) -> bool:
    """US national provider identifier: Luhn over 80840 and the ten digits (45 CFR 162.406)."""
    return len(_digits(value)) == 10 and value[0] in "12" and luhn("80840" + value)


_VIN_LETTERS = zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True)
_VIN_VALUES = {**{str(d): d for d in range(10)}, **dict(_VIN_LETTERS)}
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin_valid(value: str) -> bool:
    """North American vehicle identification number: the ninth character (49 CFR 565.15; ISO 3779 leaves it open)."""
    compact = _alnum(value)
    if len(compact) != 17 or any(c not in _VIN_VALUES for c in compact):
        return False
    check = sum(_VIN_VALUES[c] * w for c, w in zip(compact, _VIN_WEIGHTS, strict=True)) % 11
    return compact[8] == ("X" if check == 10 else str(check))
