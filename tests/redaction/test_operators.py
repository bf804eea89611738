"""What stands in a value's place: in what range it lies, how it keeps the value's shape, and that the key alone decides."""

from __future__ import annotations

import ipaddress
import json
import re
import string
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_gov.records.errors import BadInputError, IntegrityError
from distill_gov.records.keys import KeyRing
from redaction.entities import ENTITIES
from redaction.operators import numbers
from redaction.operators.dates import shifted
from redaction.operators.draws import Draws
from redaction.operators.masks import masked
from redaction.operators.names import LANGUAGES, family_name, given_name, invented_word
from redaction.operators.sealed import is_sealed, seal_value, unseal_value
from redaction.operators.stand_ins import Operators, StandIns, Value
from redaction.policy import EntityPolicy, MaskPolicy, RedactionPolicy
from redaction.recognizers import checksums
from redaction.surrogates import canonical, placeholders

KEYS = KeyRing(b"\x01" * 32)
KEY = KEYS.subkey("test")

values = st.text(string.ascii_letters + string.digits + " -./:+", min_size=1, max_size=24)


def _draws(*parts: str) -> Draws:
    return Draws(KEY, *parts)


def _shape(value: str) -> str:
    return re.sub(r"\d", "9", re.sub("[a-z]", "a", re.sub("[A-Z]", "A", value)))


def _stand_ins(
    operator: str, found: list[tuple[str, str]], text: str = "", item: str = "c", scope: str = "conversation"
) -> StandIns:
    entities = {entity: EntityPolicy(operator=operator, scope=scope) for entity, _ in found}  # type: ignore[arg-type]
    entities.pop("ORDER_NUMBER", None)
    policy = RedactionPolicy(entities=entities)
    return Operators(policy, KEYS).conversation(item, [text], [text], [Value(e, v, v) for e, v in found])


def _of(operator: str, found: list[tuple[str, str]], text: str = "", **more: str) -> list[str]:
    made = _stand_ins(operator, found, text or " ".join(v for _, v in found), **more)
    return [made.of(Value(e, v, v)) for e, v in found]


# --- draws


def test_draws_depend_on_key_and_parts_alone() -> None:
    many = [_draws("a", "b").below(1000) for _ in range(3)]
    assert len(set(many)) == 1
    assert [_draws("a", "b").digits(40), _draws("ab").digits(40)] != [_draws("a", "b").digits(40)] * 2
    assert Draws(KeyRing(b"\x02" * 32).subkey("test"), "a", "b").digits(40) != _draws("a", "b").digits(40)
    stream = _draws("counts")
    assert {stream.below(3) for _ in range(100)} == {0, 1, 2}


# --- numbers


@given(values)
def test_the_same_shape(value: str) -> None:
    made = numbers.same_shape(value, _draws(value))
    assert _shape(made) == _shape(value)


@given(st.from_regex(r"\d{12,19}", fullmatch=True), st.sampled_from(["", " ", "-"]))
def test_a_card_passes_luhn_in_a_test_range(digits: str, separator: str) -> None:
    value = separator.join(digits[i : i + 4] for i in range(0, len(digits), 4))
    made = numbers.card(value, _draws(value))
    assert checksums.luhn(made)
    assert _shape(made) == _shape(value)
    plain = re.sub(r"\D", "", made)
    assert plain.startswith(("378282", "353011", "305693", "555555", "222300", "601111", "400000"))


@pytest.mark.parametrize("value", ["DE89 3704 0044 0532 0130 00", "gb29nwbk60161331926819", "FR1420041010050500013M02606"])
def test_an_iban_passes_mod_97_in_the_same_country(value: str) -> None:
    made = numbers.iban(value, _draws(value))
    assert checksums.iban_valid(made)
    assert (_shape(made), made[:2]) == (_shape(value), value[:2])
    assert re.search("0000|TEST", made.replace(" ", "").upper()[4:8])
    assert made != value


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        ("(415) 867-5309", r"\([2-9]\d\d\) 555-01\d\d"),
        ("+1 415 867 5309", r"\+1 [2-9]\d\d 555 01\d\d"),
        ("1-415-867-5309", r"1-[2-9]\d\d-555-01\d\d"),
        ("+44 7911 123456", r"\+44 7700 900\d\d\d"),
        ("+44 (0)7911 123456", r"\+44 \(0\)7700 900\d\d\d"),
        ("07911 123 456", r"07700 900 \d\d\d"),
        ("020 7123 4567", r"020 7946 0\d\d\d"),
        ("0044 161 496 0000", r"0044 163 296 0\d\d\d"),
        ("06 12 34 56 78", r"06 39 98 \d\d \d\d"),
        ("+33 1 42 34 56 78", r"\+33 1 99 00 \d\d \d\d"),
        ("+49 171 1234567", r"\+49 171 39200\d\d"),
        ("+49 30 12345678", r"\+49 30 23125\d\d\d"),
        ("+34 612 345 678", r"\+34 \d{3} \d{3} \d{3}"),
        ("(415) 867-5309 ext. 12", r"\([2-9]\d\d\) 555-01\d\d ext\. \d\d"),
    ],
)
def test_a_phone_number_of_a_range_for_fiction(value: str, pattern: str) -> None:
    assert re.fullmatch(pattern, numbers.phone(value, _draws(value)))


@given(
    st.sampled_from(["078-05-1120", "123456789", "AB123456C", "44051401359", "12345678Z", "255081416802538", "943 476 5919"])
)
def test_a_national_id_keeps_its_shape_and_is_valid_nowhere(value: str) -> None:
    made = numbers.national_id(value, _draws(value))
    assert _shape(made) == _shape(value)
    assert not checksums.luhn(made)
    assert not checksums.ssn_plausible(made)
    if len(made) == 9 and made[0].isalpha():
        assert made.startswith("QQ")


@given(st.ip_addresses().map(str))
def test_an_address_for_documentation(value: str) -> None:
    made = ipaddress.ip_address(numbers.ip_address(value, _draws(value)))
    ranges = ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"]
    assert any(made in ipaddress.ip_network(r) for r in ranges if (":" in r) == (made.version == 6))
    assert made.version == ipaddress.ip_address(value).version


@pytest.mark.parametrize("value", ["3C:5A:B4:12:9F:0E", "a4-83-e7-2b-91-c0", "a483.e72b.91c0"])
def test_a_hardware_address_is_locally_administered(value: str) -> None:
    made = numbers.mac_address(value, _draws(value))
    assert re.sub("[0-9a-fA-F]", "x", made) == re.sub("[0-9a-fA-F]", "x", value)
    assert int(made[:2], 16) & 0b11 == 0b10
    assert made.isupper() == value.isupper()


# --- dates


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        ("1986-03-14", "1986-03-24"),
        ("14/03/1986", "24/03/1986"),
        ("03/14/1986", "03/24/1986"),
        ("14.3.1986", "24.3.1986"),
        ("25.12.86", "04.01.87"),
        ("2 Sept 1991", "12 Sep 1991"),
        ("December 29, 1986", "January 8, 1987"),
        ("22nd of may 1990", "1st of june 1990"),
        ("7 mai 1991", "17 mai 1991"),
        ("28 mai 1991", "7 juin 1991"),
        ("28. Mai 1991", "7. Juni 1991"),
        ("5 de marzo de 1980", "15 de marzo de 1980"),
        ("MARCH 5 2001", "MARCH 15 2001"),
    ],
)
def test_dates_move_and_stay_written_as_they_were(value: str, moved: str) -> None:
    assert shifted(value, 10) == moved


@pytest.mark.parametrize(
    "value", ["tomorrow", "monday at 5", "31/02/1990", "1986", "9999-12-31", "99/99/9999", "", "1/2/3/4", "٣/٤/١٩٩٠"]
)
def test_what_is_no_whole_date_is_not_moved(value: str) -> None:
    assert shifted(value, 10) is None


@given(
    st.dates(date(1931, 1, 1), date(2029, 12, 31)),
    st.integers(-400, 400),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d %B %Y"]),
)
def test_the_time_between_two_dates_stays(day: date, days: int, form: str) -> None:
    made = shifted(day.strftime(form), days)
    assert made is not None
    assert datetime.strptime(made, form).date() == day + timedelta(days=days)


# --- masks


def test_masks() -> None:
    assert masked("4111 1111 1111 1234", MaskPolicy(keep_last=4)) == "**** **** **** 1234"
    assert masked("dana@example.org", MaskPolicy(keep_first=1)) == "d***@*******.***"
    assert masked("Zoë", MaskPolicy(character="#")) == "###"
    assert masked("4111 1111 1111 1234", MaskPolicy(keep_last=4, length=6)) == "******1234"
    assert masked("4821", MaskPolicy(keep_last=4)) == "****"
    assert masked("<b>", MaskPolicy()) == "(*)"


@given(st.text(min_size=1, max_size=20), st.integers(0, 8), st.integers(0, 8))
def test_a_mask_shows_no_more_than_half(value: str, first: int, last: int) -> None:
    made = masked(value, MaskPolicy(keep_first=first, keep_last=last))
    assert 2 * sum(c.isalnum() for c in made) <= sum(c.isalnum() for c in value)
    assert placeholders(made) == []


# --- encrypted values


@given(st.text(max_size=40), st.sampled_from(sorted(ENTITIES)))
def test_an_encrypted_value_comes_back(value: str, entity: str) -> None:
    token = seal_value(KEY, entity, value, "item c")
    assert unseal_value(KEY, token) == value
    assert is_sealed(token)
    assert [(s.start, s.end) for s in placeholders(token)] == [(0, len(token))]
    assert json.loads(json.dumps({"a": token}))["a"] == token
    assert seal_value(KEY, entity, value, "item c") == token
    assert seal_value(KEY, entity, value, "item d") != token


def test_a_changed_token_or_another_key_is_refused() -> None:
    token = seal_value(KEY, "EMAIL", "dana@example.org", "item c")
    with pytest.raises(IntegrityError, match="changed") as caught:
        unseal_value(KEY, token.replace("<EMAIL", "<PHONE"))
    assert caught.value.__cause__ is None
    body = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
    with pytest.raises(IntegrityError, match="changed"):
        unseal_value(KEY, body)
    with pytest.raises(BadInputError, match="under key"):
        unseal_value(KEYS.subkey("another"), token)
    assert "dana" not in token


# --- names


def test_every_language_has_names() -> None:
    assert set(LANGUAGES) == {"en", "de", "fr", "es", "it", "nl", "pl"}
    for language in (*LANGUAGES, "xx"):
        names = {given_name(_draws(str(n)), language) for n in range(200)}
        families = {family_name(_draws(str(n)), language) for n in range(200)}
        assert len(names) > 25
        assert len(families) > 120
        assert all(name.isalpha() for name in names | families)
    assert re.fullmatch("[A-Z][a-z]{7}", invented_word(_draws("x")))


def test_a_persons_names_are_shared_by_the_parts_of_a_conversation() -> None:
    found = [
        "Dana Whitfield",
        "Dana",
        "DANA WHITFIELD",
        "Ms Whitfield",
        "dana's",
        "D. Whitfield",
        "Dr. Dana Whitfield",
        "Whitfield",
    ]
    whole, dana, capitals, titled, owned, initial, doctor, family = _of("surrogate", [("PERSON", value) for value in found])
    given_part, family_part = whole.split()
    assert dana == given_part
    assert capitals == whole.upper()
    assert titled == f"Ms {family_part}"
    assert owned == f"{given_part.lower()}'s"
    assert initial == f"{given_part[0]}. {family_part}"
    assert doctor == f"Dr. {whole}"
    assert family == family_part


def test_particles_stay_and_other_letters_are_replaced() -> None:
    van, han = _of("surrogate", [("PERSON", "Joris van Dam"), ("PERSON", "张伟")])
    assert re.fullmatch(r"\w+ van \w+", van)
    assert "Joris" not in van
    assert "Dam" not in van.split()
    assert han.isascii()


def test_an_address_keeps_its_kind_of_street() -> None:
    made, german = _of("surrogate", [("ADDRESS", "17 Quarry Lane, Ilkley LS29 4TR"), ("ADDRESS", "Lindenstraße 9, 50674 Köln")])
    assert re.fullmatch(r"\d\d \w+ Lane, \w+ [A-Z]{2}\d\d \d[A-Z]{2}", made)
    assert re.fullmatch(r"\w+straße \d, \d{5} \w+", german)
    for word in ("Quarry", "Ilkley", "Linden", "Köln"):
        assert word not in made + german


# --- all operators over all entities

SAMPLES = {
    "PERSON": "Dana Whitfield",
    "EMAIL": "dana@example.org",
    "PHONE": "+44 7911 123456",
    "ADDRESS": "17 Quarry Lane, Ilkley",
    "BIRTH_DATE": "14/03/1986",
    "DATE_TIME": "next tuesday",
    "URL": "https://dana.example/path",
    "COORDINATES": "51.5007, -0.1246",
    "IP_ADDRESS": "10.1.2.3",
    "CARD": "4012 8888 8888 1881",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "NRP": "Examplian",
    "LOCATION": "Ilkley",
    "ORGANIZATION": "Larkfield Ltd",
}
OPERATORS = ("placeholder", "surrogate", "mask", "hash", "encrypt", "drop")


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("entity", sorted(set(ENTITIES) - {"ORDER_NUMBER"}))
def test_no_stand_in_is_or_holds_the_value(entity: str, operator: str) -> None:
    value = SAMPLES.get(entity, "Xk42-Lm88-0071")
    [made] = _of(operator, [(entity, value)])
    assert made
    assert canonical(entity, value) not in made.casefold()
    if operator in ("surrogate", "hash", "encrypt"):
        assert [made] == _of(operator, [(entity, value)])
        assert [made] != _of(operator, [(entity, value)], item="another")
        assert _of(operator, [(entity, value)], item="a", scope="dataset") == _of(
            operator, [(entity, value)], item="b", scope="dataset"
        )


NAMES = [
    "Dana Whitfield",
    "Wiktor Zielinski",
    "Priya Raman",
    "Kwabena",
    "Noa",
    "Alex",
    "Sam Reed",
    "d.okafor@example.org",
    "a@example.org",
]
people = st.lists(st.sampled_from(NAMES), min_size=1, max_size=len(NAMES), unique=True)


@given(people, st.randoms(use_true_random=False))
def test_surrogates_depend_on_no_order_and_differ(names: list[str], random: object) -> None:
    found = [("EMAIL" if "@" in name else "PERSON", name) for name in names]
    text = "Robin wrote. " + " ".join(names)
    shuffled = [*found]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    made = dict(zip(found, _of("surrogate", found, text), strict=True))
    assert made == dict(zip(shuffled, _of("surrogate", shuffled, text), strict=True))
    assert len({v.casefold() for v in made.values()}) == len(found)
    words = set(re.findall(r"\w+", text.casefold()))
    for (entity, _), surrogate in made.items():
        if entity == "PERSON":
            assert not words & set(re.findall(r"\w+", surrogate.casefold()))


@settings(max_examples=20)
@given(st.sets(st.from_regex(r"[0-9]", fullmatch=True), min_size=1, max_size=10))
def test_where_nothing_is_free_the_hash_stands_in(pins: set[str]) -> None:
    """Ten one-digit PINs leave no digit that is none of them."""
    found = [("PASSWORD", pin) for pin in sorted(pins)]
    made = _of("surrogate", found)
    assert len(set(made)) == len(found)
    for surrogate in made:
        assert surrogate not in pins
        assert re.fullmatch(r"\d|<PASSWORD:[0-9a-f]{16}>", surrogate)
    if len(pins) == 10:
        assert all(s.startswith("<") for s in made)


def test_dates_of_a_conversation_move_together() -> None:
    first, second, words = _of(
        "surrogate", [("BIRTH_DATE", "1986-03-14"), ("BIRTH_DATE", "1986-03-20"), ("DATE_TIME", "tuesday")]
    )
    assert (date.fromisoformat(second) - date.fromisoformat(first)).days == 6
    assert 30 <= abs((date.fromisoformat(first) - date(1986, 3, 14)).days) < 400
    assert re.fullmatch(r"<DATE_TIME:[0-9a-f]{16}>", words)


def test_a_hash_tells_nothing_about_the_findings_hashes() -> None:
    [token] = _of("hash", [("EMAIL", "dana@example.org")], scope="dataset")
    assert token[7:-1] not in KEYS.subkey("redaction").mac("EMAIL", "dana@example.org")
    assert _of("hash", [("EMAIL", "DANA@example.org")], scope="dataset") == [token]


def test_keys_of_one_purpose_are_no_others() -> None:
    operators = Operators(RedactionPolicy(), KEYS)
    keys = [
        operators.hash_key,
        operators.surrogate_key,
        operators.encrypt_key,
        KEYS.subkey("redaction"),
        KEYS.subkey("redaction/vault"),
    ]
    assert len({key.key_id for key in keys}) == len({key.secret for key in keys}) == 5
