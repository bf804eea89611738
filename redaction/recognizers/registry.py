"""Which rules exist for which entity, and how they are made from a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.rule import Hit, Rule, compiled, matches

if TYPE_CHECKING:
    from redaction.policy import RedactionPolicy

__all__ = ["build_lexicon", "build_rules"]


def build_lexicon(policy: RedactionPolicy, nlp: Any) -> Lexicon:
    words = frozenset(token.casefold() for value in policy.allow for token in value.split())
    return Lexicon(nlp, words)


def build_rules(policy: RedactionPolicy, lexicon: Lexicon) -> tuple[Rule, ...]:
    """All rules of the entities that the policy names, in a fixed order."""
    from redaction.recognizers.addresses import address_rules
    from redaction.recognizers.contact import contact_rules
    from redaction.recognizers.dates import age_rules, birth_date_rules, date_time_rules
    from redaction.recognizers.devices import coordinate_rules, device_rules, vehicle_rules
    from redaction.recognizers.identity import national_id_rules, passport_rules
    from redaction.recognizers.names import name_rules
    from redaction.recognizers.orders import order_rules
    from redaction.recognizers.passwords import password_rules
    from redaction.recognizers.payment import payment_rules
    from redaction.recognizers.records import bank_account_rules, driver_license_rules, medical_rules
    from redaction.recognizers.secrets import api_key_rules
    from redaction.recognizers.usernames import username_rules
    from redaction.recognizers.wallets import wallet_rules
    from redaction.recognizers.web import url_rules

    families: tuple[tuple[Rule, ...], ...] = (
        contact_rules(tuple(policy.phone_regions)),
        url_rules(),
        wallet_rules(),
        device_rules(),
        vehicle_rules(),
        coordinate_rules(),
        payment_rules(),
        national_id_rules(),
        passport_rules(),
        driver_license_rules(),
        medical_rules(),
        bank_account_rules(),
        birth_date_rules(other_dates="DATE_TIME" in policy.entities),
        date_time_rules(),
        age_rules(),
        address_rules(),
        order_rules(tuple(policy.order_numbers)),
        api_key_rules(),
        password_rules(lexicon),
        username_rules(lexicon),
        name_rules(lexicon),
        _deny_rules(policy.deny),
    )
    return tuple(rule for family in families for rule in family if rule.entity in policy.entities)


class DenyRule:
    """Exact values that the policy always takes for an entity, whole words, in any case."""

    version = "1"

    def __init__(self, entity: str, values: list[str]) -> None:
        self.id = f"deny/{entity.lower()}"
        self.entity = entity
        escaped = "|".join(_escape(v) for v in sorted(values, key=len, reverse=True))
        self._pattern = compiled(rf"(?<!\w)(?:{escaped})(?!\w)")

    def find(self, text: str, doc: Any) -> list[Hit]:
        return [Hit(self.entity, m.start(), m.end(), 1.0, self.id, self.version) for m in matches(self._pattern, text)]


def _escape(value: str) -> str:
    return "".join(c if c.isalnum() else rf"\x{ord(c):02x}" if ord(c) < 256 else rf"\u{ord(c):04x}" for c in value)


def _deny_rules(deny: Mapping[str, list[str]]) -> tuple[Rule, ...]:
    return tuple(DenyRule(entity, values) for entity, values in sorted(deny.items()) if values)
