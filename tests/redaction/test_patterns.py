"""Rules that need no language model, straight: cases by entity, generated keys of every provider, and hostile texts."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redaction import Redactor
from redaction.recognizers import checksums
from redaction.recognizers.named_entities import KEPT
from redaction.recognizers.provider_keys import PROVIDERS, Provider
from redaction.recognizers.rule import Hit, PresidioPatternRule, Rule
from redaction.recognizers.secrets import api_key_rules
from redaction.recognizers.wallets import base58check, bech32
from tests.redaction.test_recognizers import _marked

CASES = yaml.safe_load((Path(__file__).parent / "pattern_cases.yaml").read_text("utf-8"))
NO_DOC = SimpleNamespace(user_data={KEPT: ()})
RULES = api_key_rules()


@pytest.fixture(scope="module")
def rules() -> tuple[Rule, ...]:
    """All rules of the default policy but Presidio's own and the names'."""
    entities = {"PERSON", "LOCATION", "ORGANIZATION", "NRP", "TITLE"}
    found = Redactor()._analyzer.rules
    return tuple(
        r for r in found if r.entity not in entities and not isinstance(r, PresidioPatternRule) and r.id[:8] != "presidio"
    )


def _merged(hits: list[Hit]) -> list[tuple[int, int]]:
    """The hits as stretches: where two rules overlap, the text is covered once."""
    out: list[tuple[int, int]] = []
    for hit in sorted(hits, key=lambda h: (h.start, -h.end)):
        if out and hit.start < out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], hit.end))
        else:
            out.append((hit.start, hit.end))
    return out


def _bare(text: str, span: tuple[int, int]) -> str:
    return text[slice(*span)].strip(" .,;:!?()[]{}\"'")


@pytest.mark.parametrize(("entity", "marked"), [(e, text) for e, texts in CASES.items() for text in texts])
def test_the_rules_of_an_entity_find_what_is_marked(rules: tuple[Rule, ...], entity: str, marked: str) -> None:
    text, spans = _marked(marked)
    hits = [hit for rule in rules if rule.entity == entity for hit in rule.find(text, NO_DOC)]
    assert [_bare(text, span) for span in _merged(hits)] == [_bare(text, span) for span in spans]


def _covers(text: str, value: str) -> bool:
    start = text.index(value)
    return any(hit.start <= start and start + len(value) <= hit.end for rule in RULES for hit in rule.find(text, NO_DOC))


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.name)
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(data=st.data())
def test_a_key_of_every_provider_is_found(provider: Provider, data: st.DataObject) -> None:
    key = data.draw(st.from_regex(provider.pattern, fullmatch=True, alphabet=string.printable[:95]))
    [rule] = [rule for rule in RULES if rule.id == f"api_key/{provider.name}"]
    text = f"here: {key} ok"
    assert [(h.start, h.end) for h in rule.find(text, NO_DOC)] == [(6, 6 + len(key))]
    assert not [*rule.find(f"here: x{key}x ok", NO_DOC)]


def test_there_are_at_least_forty_named_formats() -> None:
    assert len({p.name for p in PROVIDERS}) == len(PROVIDERS) >= 40
    assert all("." in p.source for p in PROVIDERS)


def _random(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(random.Random(length).choices(alphabet, k=length))


def _secrets() -> Iterator[tuple[str, str]]:
    key = _random(32)
    yield f"API_TOKEN={key}", key
    yield f"the secret is {key}.", key
    yield f"clientSecret: '{key}'", key
    yield f"token in the log: {key[:10]}.{key[10:]}", f"{key[:10]}.{key[10:]}"
    yield f"look at {_random(40)} there", _random(40)
    yield f"and {_random(40, '0123456789abcdef')} too", _random(40, "0123456789abcdef")
    part = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    jwt = f"{part}.{part}.{_random(43)}"
    yield f"Authorization: Bearer {jwt}", jwt
    body = "\n".join(_random(64) for _ in range(5))
    for kind in ("RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        whole = f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----"
        yield f"key:\n{whole}\nend", whole
        yield f'"{whole}"'.replace("\n", "\\n"), whole.replace("\n", "\\n")
    putty = f"PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nPrivate-Lines: 1\n{_random(64)}\nPrivate-MAC: {'0a' * 32}"
    yield f"{putty}\n", putty
    yield f"-----BEGIN RSA PRIVATE KEY-----\n{body}", body


@pytest.mark.parametrize(("text", "value"), [pytest.param(*pair, id=str(n)) for n, pair in enumerate(_secrets())])
def test_generic_keys_and_private_keys_are_covered_whole(text: str, value: str) -> None:
    assert _covers(text, value)


@pytest.mark.parametrize(
    "text",
    [
        "commit {hex} fixed it",
        "sha256: {hex}",
        "the path src/components/navigation-bar/index2 and test_api_v2_endpoint_1",
        "the-quick-brown-fox-jumps-over-the-lazy-dog",
        "IBAN DE89370400440532013000",
    ],
)
def test_digests_paths_and_slugs_are_no_keys(text: str) -> None:
    assert not [h for rule in RULES for h in rule.find(text.format(hex=_random(40, "0123456789abcdef")), NO_DOC)]


@pytest.mark.parametrize(
    "piece", ["7", "a", "A", " ", "a.", "7 ", "-", "\n", "a@", "a_", "key ", "Aa ", "1/", "pass=", "http://a", "St ", "(", "٣"]
)
def test_no_rule_times_out_on_a_long_text(rules: tuple[Rule, ...], piece: str) -> None:
    text = piece * (20_000 // len(piece))
    for rule in rules:
        if rule.id != "username/named":
            list(rule.find(text, NO_DOC))


@pytest.mark.parametrize(
    ("check", "valid"),
    [
        (checksums.aba_valid, "021000021"),
        (checksums.dea_valid, "AB1234563"),
        (checksums.npi_valid, "1234567893"),
        (checksums.vin_valid, "1M8GDM9AXKP042788"),
        (base58check, "1BoatSLRHtKNngkdXEeobR76b53LETtpyT"),
        (bech32, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    ],
)
def test_checksums_take_the_example_and_refuse_its_neighbours(check: object, valid: str) -> None:
    assert callable(check)
    assert check(valid)
    assert not check(valid[:-1] + ("2" if valid[-1] != "2" else "3"))
