"""Devices, vehicles and places on the map: IMEI, VIN, device and session ids, licence plates, coordinates."""

from __future__ import annotations

from redaction.recognizers.checksums import luhn, vin_valid
from redaction.recognizers.gates import Needs
from redaction.recognizers.rule import CASE, PatternRule, Rule, compiled

__all__ = ["coordinate_rules", "device_rules", "vehicle_rules"]

_JOIN = (
    r"(?: [\"']? (?:\s?(?:no\b|nr\b|num(?:ber)?\b|id\b|code\b|\#)\.?)? [\"'\s]{0,2} (?: [:=\#>]{1,2} | \b(?:is|was|ist"
    r"|es|est|è)\b | \s? ) \s? [\"'(\[]? )"
)

_IMEI = compiled(r"(?<![\w.,+-]) \d{15} (?![\w]|[.,-]\d) | (?<![\w.,+-]) \d{2}[- ]\d{6}[- ]\d{6}[- ]\d (?![\w]|[.,-]\d)")
_IMEI_WORDS = compiled(r"\b (?: imei | meid | handset | serial | mobile | phone | device | sim ) \w{0,12} \b [^\n]{0,40} $")
_IMEI_NAMED = compiled(
    rf"\b (?: imei\d? | imeisv | meid | esn | iccid | imsi ) {_JOIN} (?P<value>\d[\d -]{{12,22}}\d|[0-9a-f]{{8}}"
    rf"|[0-9a-f]{{14}}) (?![\w])"
)

_UUID = compiled(r"(?<![\w-]) \{? (?P<value>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) \}? (?![\w-])")
_DEVICE_NAMED = compiled(
    r"(?: (?<![\p{L}\d]) | (?<=[\p{Ll}\d])(?=\p{Lu}) ) (?: (?:device|android|advertising|ad|installation|install"
    r"|hardware|machine|client|visitor|session|sess|cookie|tracking"
    r"|browser|fingerprint|anonymous|instance|push|vendor|customer|subscriber|unique)[ _-]?(?:id|identifier|uuid|guid"
    r"|token) | idf[av] | gaid | aaid | udid | sessionid"
    r" | jsessionid | phpsessid | asp\.net_sessionid | session | serial(?:[ _-]?(?:number|no|num|\#)) | s/n"
    rf" | mac[ _-]?address ) {_JOIN} (?P<value>(?=[a-z_-]{{0,20}}\d)[\w-]{{6,128}}) (?![\w-])"
)

_VIN = compiled(r"(?<![\w-]) (?=[A-Z0-9]{0,16}\d) (?=[A-Z0-9]{0,16}[A-Z]) [A-HJ-NPR-Z0-9]{17} (?![\w-])")
_VIN_NAMED = compiled(
    rf"\b (?: vin | vehicle\sid(?:entification)?(?:\snumber)? | chassis | fahrgestellnummer "
    rf"| fin ) {_JOIN} (?P<value>(?=[a-z]{{0,16}}\d)[a-hj-npr-z0-9]{{11,17}}) (?![\w-])"
)

_PLATE_WORDS = compiled(
    r"\b (?: (?:licen[cs]e|number|registration|reg|vehicle|car|truck|van)[ -]?plates? | plates? | tags? "
    r"| registration(?:\s(?:number|no))? | reg\.?(?:\s(?:number|no))?"
    r" | kennzeichen | nummernschild | immatriculation | matr[ií]cula | targa | kenteken | rejestracyjn\w+ ) \b"
    r" (?:\s(?:number|no|nr|is|was|of|ist|on|that|reads?|with))* [\s:=\#.\"'(-]{0,4} $"
)
_PLATE = compiled(
    r"(?<![\w-]) (?=[A-Z0-9 -]{0,9}\d) (?=[A-Z0-9ÄÖÜ -]{0,9}[A-ZÄÖÜ]) (?: [A-Z]{2}\d{2}[ ]?[A-Z]{3} "
    r"| [A-Z]{1,3}[ -]\d{1,4}(?:[ -][A-Z]{1,3})? | [A-ZÄÖÜ]{1,3}[- ][A-Z]{1,2}[ ]?\d{1,4}[EH]?"
    r" | \d{1,4}[ -][A-Z]{1,3}(?:[ -]\d{1,4})? | [A-Z]{2}[- ]?\d{3}[- ]?[A-Z]{2} | \d[A-Z]{3}[ ]?\d{3} "
    r"| [A-Z]{2}[ ]\d{2}[ ][A-Z]{1,3}[ ]\d{1,4} | [A-Z0-9]{5,8} ) (?![\w-])",
    CASE,
)
_PLATE_LOWER = compiled(
    rf"\b licen[cs]e\splate {_JOIN} (?P<value>(?=[a-z]{{0,6}}\d)[a-z0-9]{{4,8}}"
    rf"|(?=[a-z -]{{0,6}}\d)[a-z0-9]{{1,4}}(?:[ -][a-z0-9]{{1,4}}){{1,2}}) (?![\w-])"
)

_NORTH = r"[+-]?(?:90(?:\.0{3,15})?|[0-8]?\d\.\d{%d,15})[ ]?°?[ ]?[NS]?"
_EAST = r"[+-]?(?:180(?:\.0{3,15})?|(?:1[0-7]\d|\d{1,2})\.\d{%d,15})[ ]?°?[ ]?[EWO]?(?!\w)"
_PAIR = rf"(?<![\w.,-]) {_NORTH} [ ]?[,;/ ][ ]{{0,2}} {_EAST} (?![\d]|\.\d|,[ ]?-?\d)"
_DECIMAL = compiled(_PAIR.replace("%d", "4"))
_DECIMAL_SHORT = compiled(_PAIR.replace("%d", "2"))
_MAP_WORDS = compiled(
    r"\b (?: gps | coord\w* | lat(?:itude)?s? | lon\w* | lng | location | position | geo\w* | pinned? ) \b [^\n]{0,40} $"
)
_NAMED = compiled(
    rf"(?: (?<![\p{{L}}]) | (?<=\p{{Ll}})(?=\p{{Lu}}) ) (?: lat(?:itude)? | lon(?:g(?:itude)?)? "
    rf"| lng ) {_JOIN} (?P<value>[+-]?\d{{1,3}}\.\d{{2,15}}) (?!\d|\.\d)"
)
_DEGREES = compiled(
    r"(?<![\w.]) (?P<value> \d{1,3}[ ]?°[ ]?(?:\d{1,2}(?:\.\d{1,6})?[ ]?['′’][ ]?(?:\d{1,2}(?:\.\d{1,6})?[ ]?(?:\"|″|”"
    r"|'')[ ]?)?)? [NSEWO]"
    r" (?: [ ,;/]{1,3} \d{1,3}[ ]?°[ ]?(?:\d{1,2}(?:\.\d{1,6})?[ ]?['′’][ ]?(?:\d{1,2}(?:\.\d{1,6})?[ ]?(?:\"|″|”"
    r"|'')[ ]?)?)? [NSEWO] )? ) (?!\w)"
)
_GEO = compiled(r"(?<!\w) geo: (?P<value>-?\d{1,2}(?:\.\d+)?,-?\d{1,3}(?:\.\d+)?)")
_MAPS = compiled(
    r"https?://(?:www\.|maps\.)?(?:google\.[a-z.]{2,6}/maps|maps\.google\.[a-z.]{2,6}|maps\.apple\.com"
    r"|openstreetmap\.org|osm\.org|bing\.com/maps|waze\.com)"
    r" [^\s<>\"'\ufffc]{0,300}? (?P<value>-?\d{1,2}\.\d{2,15}(?:,|%2C|/|~|&mlon=|&lon=)-?\d{1,3}\.\d{2,15})"
)
_PLUS_CODE = compiled(r"(?<!\w) [23456789CFGHJMPQRVWX]{8}\+[23456789CFGHJMPQRVWX]{2,3} (?!\w)", CASE)
_WHAT3WORDS = compiled(r"(?<![\w/]) ///\p{L}{3,20}\.\p{L}{3,20}\.\p{L}{3,20} (?![\w.])")


def device_rules() -> tuple[Rule, ...]:
    return (
        PatternRule("imei/luhn", "1", "IMEI", _IMEI, 0.9, luhn, _IMEI_WORDS, None, 70),
        PatternRule("imei/named", "1", "IMEI", _IMEI_NAMED, 0.7),
        PatternRule("device_id/uuid", "1", "DEVICE_ID", _UUID, 0.6, needs=Needs(token=36)),
        PatternRule("device_id/named", "1", "DEVICE_ID", _DEVICE_NAMED, 0.7),
    )


def vehicle_rules() -> tuple[Rule, ...]:
    return (
        PatternRule("vin/check_digit", "1", "VIN", _VIN, 0.8, vin_valid, needs=Needs(digits=1, token=17)),
        PatternRule("vin/named", "1", "VIN", _VIN_NAMED, 0.7),
        PatternRule("license_plate/named", "1", "LICENSE_PLATE", _PLATE, 0.6, None, _PLATE_WORDS, None, 45),
        PatternRule("license_plate/lower", "1", "LICENSE_PLATE", _PLATE_LOWER, 0.6),
    )


def coordinate_rules() -> tuple[Rule, ...]:
    entity = "COORDINATES"
    return (
        PatternRule("coordinates/decimal", "1", entity, _DECIMAL, 0.6),
        PatternRule("coordinates/short", "1", entity, _DECIMAL_SHORT, 0.6, None, _MAP_WORDS, None, 60),
        PatternRule("coordinates/named", "1", entity, _NAMED, 0.7),
        PatternRule("coordinates/degrees", "1", entity, _DEGREES, 0.8),
        PatternRule("coordinates/geo", "1", entity, _GEO, 0.9),
        PatternRule("coordinates/maps", "1", entity, _MAPS, 0.9),
        PatternRule("coordinates/plus_code", "1", entity, _PLUS_CODE, 0.6),
        PatternRule("coordinates/what3words", "1", entity, _WHAT3WORDS, 0.8),
    )
