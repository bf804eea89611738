"""Five hundred invented personal values of 25 kinds, each with a sentence that carries it and the pieces that would tell it.

Made from a seed; checksums are right, so that no recogniser may take them for mistyped. Nobody has these values: e-mail
addresses and hosts end in reserved names (RFC 2606), network addresses are for documentation (RFC 5737), British telephone
numbers are Ofcom's for drama, American ones of the 555-01xx range.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["KINDS", "Value", "planted_values"]


@dataclass(frozen=True, slots=True)
class Value:
    """One planted value."""

    kind: str
    sentence: str
    """What carries it."""
    value: str
    pieces: tuple[str, ...]
    """Parts by which it would be recognised, the whole included."""


_GIVEN = ("Maren", "Tobias", "Ines", "Callum", "Priya", "Joaquin", "Sanne", "Oskar", "Fatima", "Duncan", "Noemi", "Henrik")
_SURNAMES = (
    "Thistlewick", "Okonjo", "Brandvold", "Castellanos", "Rautavaara", "Szymborska", "Quillfeather", "Vandermolen",
    "Achterberg", "Dunleavy", "Marchetti", "Ellingsworth", "Papadakis", "Grunewald", "Lindqvist", "Hargreaves",
    "Montclair", "Winterbourne", "Kowalczyk", "Featherstone",
)  # fmt: skip
_STREETS = ("Quarrington", "Millbrook", "Harrowgate", "Juniper", "Oldfield", "Saltmarsh", "Copperfield", "Wexcombe")
_WORDS = ("kestrel", "marmalade", "bluebird", "lantern", "walnut", "thunder", "pelican", "rhubarb", "saffron", "compass")

Made = tuple[str, tuple[str, ...]]
"""A value and its pieces."""


def _digits(r: random.Random, n: int) -> str:
    return str(r.randint(1, 9)) + "".join(r.choice(string.digits) for _ in range(n - 1))


def _luhn(payload: str) -> str:
    doubled = [int(c) * 2 for c in payload[::-1][::2]]
    total = sum(d - 9 if d > 9 else d for d in doubled) + sum(int(c) for c in payload[::-1][1::2])
    return payload + str(-total % 10)


def _token(r: random.Random, n: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(r.choice(alphabet) for _ in range(n - 2)) + "7q"


def _person(r: random.Random, i: int) -> Made:
    surname = _SURNAMES[i % len(_SURNAMES)]
    return f"{r.choice(_GIVEN)} {surname}", (surname,)


def _email(r: random.Random, i: int) -> Made:
    local = f"{r.choice(_WORDS)}.{_SURNAMES[i % len(_SURNAMES)].lower()}{r.randint(10, 99)}"
    return f"{local}@{r.choice(('example.org', 'mail.example.net', 'example.com'))}", (local,)


def _phone(r: random.Random, i: int) -> Made:
    if i % 2:
        last = f"{r.randint(0, 999):06}"
        return f"+44 7700 900{last[-3:]}", (f"7700900{last[-3:]}",)
    area, last = r.randint(212, 989), f"{r.randint(100, 199):04}"
    return f"({area}) 555-{last}", (f"{area}555{last}",)


def _address(r: random.Random, i: int) -> Made:
    street = f"{_STREETS[i % len(_STREETS)]}{('', 'ton', 'wick')[i % 3]}"
    code = f"LS{r.randint(1, 29)} {r.randint(1, 9)}{r.choice('ABDEFGHJ')}{r.choice('LNPQRSTU')}"
    kind = r.choice(("Lane", "Road", "Avenue", "Street"))
    return f"{r.randint(2, 240)} {street} {kind}, Ilkley {code}", (f"{street} {kind}", code)


def _birth(r: random.Random, i: int) -> Made:
    day, month, year = r.randint(13, 28), r.randint(1, 12), r.randint(1941, 2004)
    return (f"{day:02}/{month:02}/{year}", ()) if i % 2 else (f"{year}-{month:02}-{day:02}", ())


def _card(r: random.Random, i: int) -> Made:
    number = _luhn(("4" if i % 2 else "53") + _digits(r, 14 if i % 2 else 13))
    return (" ".join(number[k : k + 4] for k in range(0, 16, 4)) if i % 3 else number), (number, number[-9:])


def _iban(r: random.Random, i: int) -> Made:
    bban = _digits(r, 18)
    check = 98 - int(bban + "131400") % 97
    compact = f"DE{check:02}{bban}"
    return " ".join(compact[k : k + 4] for k in range(0, 22, 4)), (compact, bban)


def _national(r: random.Random, i: int) -> Made:
    number = f"{r.randint(101, 665)}-{r.randint(11, 99)}-{r.randint(1001, 9999)}"
    return number, ()


def _passport(r: random.Random, i: int) -> Made:
    return f"{r.choice('CFGHJK')}{_digits(r, 8)}", ()


def _ip(r: random.Random, i: int) -> Made:
    return f"{r.choice(('203.0.113', '198.51.100', '192.0.2'))}.{r.randint(100, 254)}", ()


def _mac(r: random.Random, i: int) -> Made:
    return ":".join(f"{r.randint(16, 255):02X}" for _ in range(6)), ()


def _order(r: random.Random, i: int) -> Made:
    number = _digits(r, 5)
    return f"LH-{number}-{r.choice('ABCDEK')}", (f"LH-{number}",)


def _api_key(r: random.Random, i: int) -> Made:
    prefix = ("sk_live_", "ghp_", "xoxb-", "AKIA", "glpat-", "SG.")[i % 6]
    if prefix == "AKIA":
        body = "".join(r.choice(string.ascii_uppercase + "234567") for _ in range(16))
    elif prefix == "SG.":
        return f"SG.{(a := _token(r, 22))}.{(b := _token(r, 43))}", (a, b)
    else:
        body = _token(r, 36 if prefix == "ghp_" else 24)
    return prefix + body, (body,)


def _password(r: random.Random, i: int) -> Made:
    word = r.choice(_WORDS).capitalize()
    value = f"{word}{r.choice('!#_%')}{r.randint(100, 9999)}"
    return value, ()


def _username(r: random.Random, i: int) -> Made:
    return f"{r.choice(_WORDS)}_{_SURNAMES[i % len(_SURNAMES)].lower()}{r.randint(10, 99)}", ()


def _secret_url(r: random.Random, i: int) -> Made:
    secret = f"{r.choice(_WORDS)}{_token(r, 10)}"
    return f"https://deploy:{secret}@git.example.org/{r.choice(_WORDS)}.git", (secret,)


def _crypto(r: random.Random, i: int) -> Made:
    body = "".join(r.choice("0123456789abcdef") for _ in range(40))
    return f"0x{body}", (body,)


def _coordinates(r: random.Random, i: int) -> Made:
    north, west = f"{r.uniform(50, 57):.5f}", f"{r.uniform(-5, -1):.5f}"
    return f"{north}, {west}", (north, west)


def _imei(r: random.Random, i: int) -> Made:
    return _luhn("35" + _digits(r, 12)), ()


def _vin(r: random.Random, i: int) -> Made:
    """49 CFR 565.15: weights, transliteration, the ninth character is the sum modulo 11."""
    letters = dict(
        zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)
    )
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    body = "1HG" + "".join(r.choice("ABCDEFGHJKLMNPRSTUVWXYZ0123456789") for _ in range(5)) + "0"
    body += r.choice("ABCDEFGHJKLMNPRSTVWXY") + r.choice("ABCDEFGH") + _digits(r, 6)
    total = sum((letters[c] if c in letters else int(c)) * w for c, w in zip(body, weights, strict=True))
    return body[:8] + "0123456789X"[total % 11] + body[9:], (body[11:],)


def _licence(r: random.Random, i: int) -> Made:
    return (
        f"{_SURNAMES[i % len(_SURNAMES)][:5].upper()}{_digits(r, 6)}{r.choice('ABCDEJ')}{r.choice('KLMN')}9{r.choice('XYZ')}",
        (),
    )


def _record(r: random.Random, i: int) -> Made:
    number = _digits(r, 7)
    return f"MRN-{number}", (number,)


def _account(r: random.Random, i: int) -> Made:
    return _digits(r, 10), ()


def _plate(r: random.Random, i: int) -> Made:
    area = "".join(r.choice("ABDEFGHK") for _ in range(2))
    return f"{area}{r.randint(11, 73)} {''.join(r.choice('BCDFGHJKLMNPRSTVWX') for _ in range(3))}", ()


def _device(r: random.Random, i: int) -> Made:
    body = "".join(r.choice("0123456789abcdef") for _ in range(32))
    return f"{body[:8]}-{body[8:12]}-4{body[13:16]}-a{body[17:20]}-{body[20:]}", (body[20:],)


KINDS: dict[str, tuple[Callable[[random.Random, int], Made], tuple[str, ...]]] = {
    "PERSON": (_person, ("my name is {} and I wait", "Kind regards,\n{}", "please ask for {}, my neighbour")),
    "EMAIL": (_email, ("write to {} please", "{} is where I read mail", "contact: {}")),
    "PHONE": (_phone, ("call me on {} after six", "my number is {}", "Tel. {}")),
    "ADDRESS": (_address, ("send it to {} please", "I live at {}", "delivery address: {}")),
    "BIRTH_DATE": (_birth, ("date of birth to check: {}", "I was born on {}", "DOB {}")),
    "CARD": (_card, ("the card {} was declined", "charged twice on {}", "card number: {}")),
    "IBAN": (_iban, ("my IBAN is {} by the way", "refund to {} please", "account {}")),
    "NATIONAL_ID": (_national, ("my social security number is {}", "SSN {} as you asked", "ssn: {}")),
    "PASSPORT": (_passport, ("passport {} is mine", "passport number: {}", "my passport no. is {}")),
    "IP_ADDRESS": (_ip, ("the log says src={} twice", "router at {} is down", "from {} again")),
    "MAC_ADDRESS": (_mac, ("device={} offline", "its MAC is {}", "hw {} unknown")),
    "ORDER_NUMBER": (_order, ("order {} is late", "where is {}", "re {} again")),
    "API_KEY": (_api_key, ("key={} stopped", "the token {} is refused", "Authorization: Bearer {}")),
    "PASSWORD": (_password, ("my password is {} and fails", "password: {}", "pass={} does not work")),
    "USERNAME": (_username, ("user={} failed", "my login is {}", "username: {}")),
    "SECRET_URL": (_secret_url, ("clone {} now", "see {} for it", "remote: {}")),
    "CRYPTO": (_crypto, ("pay to {} then", "wallet {}", "my ETH address is {}")),
    "COORDINATES": (_coordinates, ("the van stands at {} now", "GPS {}", "location: {}")),
    "IMEI": (_imei, ("the phone's IMEI is {}", "IMEI: {}", "imei {} blocked")),
    "VIN": (_vin, ("my car's VIN is {}", "VIN {}", "chassis number {} please")),
    "DRIVER_LICENSE": (_licence, ("my driving licence is {}", "driver's license number: {}", "driving licence no {}")),
    "MEDICAL_RECORD": (_record, ("patient {} called", "medical record {}", "see {} in the file")),
    "BANK_ACCOUNT": (_account, ("my bank account number is {}", "account number: {}", "bank account {} please")),
    "LICENSE_PLATE": (_plate, ("my licence plate is {}", "number plate {}", "registration {} was towed")),
    "DEVICE_ID": (_device, ("device id {} lost", "uuid={}", "session {}")),
}
"""Kind to what makes a value of it, and the sentences that may carry it."""


def planted_values(each: int = 20, seed: int = 11) -> Iterator[Value]:
    """``each`` values of every kind, none twice, in a fixed order."""
    for kind, (make, sentences) in KINDS.items():
        r, seen = random.Random(f"{seed}/{kind}"), set[str]()
        number = 0
        while len(seen) < each:
            value, pieces = make(r, number)
            number += 1
            if value in seen:
                continue
            seen.add(value)
            yield Value(kind, sentences[number % len(sentences)].format(value), value, (value, *pieces))
