"""The entities a policy may name: what each means, what Presidio calls it, and which of two that overlap is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DEFAULT_ENTITIES", "ENTITIES", "PRESIDIO_NAMES", "PRIORITY", "Entity"]


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind of personal value."""

    meaning: str
    """One line for the privacy officer."""
    presidio: tuple[str, ...] = ()
    """Presidio's names of the same; what its recognisers find under them is ours under this one."""
    default: bool = True
    """Whether a policy that names no entities looks for it."""


ENTITIES: Mapping[str, Entity] = {
    "SECRET_URL": Entity("a URL with credentials or a token inside"),
    "CRYPTO": Entity("address of a crypto wallet", ("CRYPTO",)),
    "API_KEY": Entity("API key, token, private key or webhook of a provider, or a string as random as one"),
    "EMAIL": Entity("e-mail address", ("EMAIL_ADDRESS",)),
    "IBAN": Entity("international bank account number (mod 97)", ("IBAN_CODE",)),
    "CARD": Entity("payment card number (Luhn), and its security code", ("CREDIT_CARD",)),
    "MAC_ADDRESS": Entity("hardware address of a network card", ("MAC_ADDRESS",)),
    "IP_ADDRESS": Entity("IPv4 or IPv6 address", ("IP_ADDRESS",)),
    "COORDINATES": Entity("latitude and longitude"),
    "IMEI": Entity("serial number of a phone (15 digits, Luhn)"),
    "VIN": Entity("vehicle identification number (17 characters, check digit)"),
    "DEVICE_ID": Entity("UUID, advertising or session id of a device or person", ("UUID",)),
    "NATIONAL_ID": Entity(
        "identity, social security or tax number that a state gave", ("US_SSN", "US_ITIN", "UK_NHS", "UK_NINO")
    ),
    "PASSPORT": Entity("passport number", ("US_PASSPORT",)),
    "DRIVER_LICENSE": Entity("driving licence number", ("US_DRIVER_LICENSE",)),
    "MEDICAL_LICENSE": Entity("licence number of a person in medicine", ("MEDICAL_LICENSE",)),
    "MEDICAL_RECORD": Entity("number of a patient, medical record or health insurance"),
    "BANK_ACCOUNT": Entity("bank account or routing number that is no IBAN", ("US_BANK_NUMBER",)),
    "ORDER_NUMBER": Entity("order, account or ticket number, by the policy's own patterns", default=False),
    "LICENSE_PLATE": Entity("registration of a vehicle"),
    "URL": Entity("web address or domain", ("URL", "DOMAIN_NAME")),
    "ADDRESS": Entity("street address, PO box or postcode"),
    "BIRTH_DATE": Entity("date of birth"),
    "PASSWORD": Entity("password or PIN"),
    "PHONE": Entity("telephone number", ("PHONE_NUMBER",)),
    "DATE_TIME": Entity("any other date or time", ("DATE_TIME",)),
    "AGE": Entity("age of a person", ("AGE",)),
    "USERNAME": Entity("login name or handle"),
    "PERSON": Entity("name of a person", ("PERSON",)),
    "LOCATION": Entity("country, region, city or other place", ("LOCATION",)),
    "ORGANIZATION": Entity("company, authority or institution", ("ORGANIZATION",)),
    "NRP": Entity("nationality, religious or political group", ("NRP",)),
    "TITLE": Entity("form of address or job title", ("TITLE",)),
}
"""From the most to the least certain: a checksum beats a shape, and a shape beats a guess."""

PRIORITY = tuple(ENTITIES)
DEFAULT_ENTITIES = tuple(name for name, entity in ENTITIES.items() if entity.default)
PRESIDIO_NAMES: Mapping[str, str] = {theirs: name for name, entity in ENTITIES.items() for theirs in entity.presidio}
"""Presidio's name of an entity to ours."""
