"""Addresses of crypto wallets, by their checksums where these cost little."""

from __future__ import annotations

import hashlib

from redaction.recognizers.gates import Needs
from redaction.recognizers.rule import CASE, PatternRule, Rule, compiled

__all__ = ["wallet_rules"]

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_B58 = "[1-9A-HJ-NP-Za-km-z]"

_LEGACY = compiled(rf"(?<![\w-]) [13LMDAXr2mn] {_B58}{{24,34}} (?![\w-])", CASE)
_SEGWIT = compiled(rf"(?<![\w-]) (?: bc1 | tb1 | ltc1 | bcrt1 ) [{_BECH32}]{{11,87}} (?![\w-])")
_CARDANO = compiled(rf"(?<![\w-]) (?: addr1 | stake1 | cosmos1 | osmo1 | terra1 ) [{_BECH32}]{{30,110}} (?![\w-])")
_ETHEREUM = compiled(r"(?<![\w-]) 0x[0-9a-f]{40} (?![\w-])")
_MONERO = compiled(rf"(?<![\w-]) [48][0-9AB] {_B58}{{93}} (?: {_B58}{{11}} )? (?![\w-])", CASE)
_TRON = compiled(rf"(?<![\w-]) T {_B58}{{33}} (?![\w-])", CASE)
_SOLANA = compiled(rf"(?<![\w-]) (?={_B58}*\d) {_B58}{{32,44}} (?![\w-])", CASE)
_SOLANA_WORDS = compiled(
    r"\b (?: sol(?:ana)? | spl | phantom | wallet | crypto | usdc | airdrop | token\saccount | recipient ) \b [^\n]{0,60} $"
)
_WALLET_NAMED = compiled(
    r"\b (?: (?:wallet|btc|bitcoin|eth(?:ereum)?|xmr|monero|ltc|litecoin|doge|xrp|usdt)\s(?:address|addr) ) \s?(?:is|:"
    r"|=)?\s? (?P<value>[a-z0-9]{25,110}) (?![\w-])"
)


def base58check(value: str) -> bool:
    """Base58Check (Bitcoin wiki): the last four bytes are the start of the double SHA-256 of the others."""
    number = 0
    for char in value:
        number = number * 58 + _BASE58.index(char)
    try:
        raw = number.to_bytes(25, "big")
    except OverflowError:
        return False
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def bech32(value: str) -> bool:
    """Bech32 and Bech32m (BIP 173 and 350)."""
    lower = value.lower()
    if lower != value and value.upper() != value:
        return False
    prefix, _, data = lower.rpartition("1")
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + [_BECH32.index(c) for c in data]
    check = 1
    for v in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ v
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)


def _random(value: str) -> bool:
    """Solana's addresses have no checksum: letters of both cases and digits, mixed, and no piece of hexadecimal."""
    return (
        sum(c.isdigit() for c in value) >= 2 and sum(c.isupper() for c in value) >= 4 and sum(c.islower() for c in value) >= 4
    )


def wallet_rules() -> tuple[Rule, ...]:
    entity = "CRYPTO"
    return (
        PatternRule("crypto/base58check", "1", entity, _LEGACY, 1.0, base58check, needs=Needs(token=25)),
        PatternRule("crypto/bech32", "1", entity, _SEGWIT, 1.0, bech32, needs=Needs(token=14)),
        PatternRule("crypto/bech32_other", "1", entity, _CARDANO, 0.9, bech32, needs=Needs(token=35)),
        PatternRule("crypto/ethereum", "1", entity, _ETHEREUM, 0.8, needs=Needs(token=42)),
        PatternRule("crypto/monero", "1", entity, _MONERO, 0.9, needs=Needs(token=95)),
        PatternRule("crypto/tron", "1", entity, _TRON, 1.0, base58check, needs=Needs(token=34)),
        PatternRule("crypto/solana", "1", entity, _SOLANA, 0.6, _random, _SOLANA_WORDS, None, 80, needs=Needs(token=32)),
        PatternRule("crypto/named", "1", entity, _WALLET_NAMED, 0.7, lambda v: any(c.isdigit() for c in v)),
    )
