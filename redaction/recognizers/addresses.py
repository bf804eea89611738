"""Street addresses in the styles of seven languages, with postcode and town where they follow."""

from __future__ import annotations

from redaction.recognizers.rule import CASE, PatternRule, Rule, compiled

__all__ = ["address_rules"]

_CAP = r"\p{Lu}[\p{L}'.-]*"
_UK_POSTCODE = r"(?:[A-Z]{1,2}\d[A-Z\d]?\s?\d[ABD-HJLNP-UW-Z]{2})"
_EIRCODE = r"(?:[AC-FHKNPRTV-Y]\d[\dW]\s?[AC-FHKNPRTV-Y\d]{4})"
_US_TAIL = r"(?:[A-Z]{2}\s\d{5}(?:-\d{4})?)"
_CODE = r"(?:[A-Z]{1,2}-)?(?:\d{4,5}(?:\s?[A-Z]{2}\b)?|\d{2}-\d{3}|\d{3}\s\d{2}|\d{4}-\d{3})"
_TOWN = rf"{_CAP}(?:[\s-](?:(?:am|an\sder|de|del|della|do|la|le|les|sur|upon|on|en|in|bei|den)[\s-])*{_CAP}){{0,2}}"
# A town is taken only after a postcode or a comma: a capital after a house number may just begin a sentence.
_TAIL = (
    rf"(?:\s*,?\s+{_CODE}\s+{_TOWN}|\s*,\s*{_TOWN}\s*,?\s+(?:{_UK_POSTCODE}|{_US_TAIL}|{_EIRCODE}|{_CODE})"
    rf"|\s*,?\s+(?:{_UK_POSTCODE}|{_US_TAIL}|{_EIRCODE})|\s*,\s*{_TOWN})?"
)
_TAIL_TWICE = rf"(?:\s*,\s*{_TOWN}(?=\s*,))?{_TAIL}"
_LOWER_TAIL = (
    r"(?:\s*,?\s+(?:\d{5}|\d{2}-\d{3}|\d{4}\s?[a-z]{2})\s+\p{L}+|\s*,?\s+[a-z]{1,2}\d[a-z\d]?\s?\d[a-z]{2}\b"
    r"|\s*,\s*\p{L}+\s+[a-z]{1,2}\d[a-z\d]?\s?\d[a-z]{2}\b)?"
)
_UNIT = r"(?:(?:flat|apt\.?|apartment|unit|suite|room|floor|lot|no\.?)\s?\#?\w{1,4}\s*,?\s*)?"
_UNIT_AFTER = r"(?:\s*,?\s*(?i:(?:flat|apt\.?|apartment|unit|suite|\#)\s?\w{1,5}))?"

_PLAIN_TYPE = r"(?:street|road|lane|avenue|crescent|terrace|boulevard|blvd|gardens|grove|mews|highway|parkway|ave|rd)"
_CAPPED_TYPE = (
    r"(?:Street|St|Road|Rd|Lane|Ln|Avenue|Ave|Drive|Dr|Close|Court|Ct|Way|Place|Pl|Crescent|Cres|Terrace|Gardens"
    r"|Gdns|Grove|Square|Sq|Hill|Park|Row|Walk"
    r"|Mews|Boulevard|Blvd|Parkway|Pkwy|Highway|Hwy|Quay|View|Rise|Green|Yard|Wharf|Fields?|Meadows?|Circle|Cir"
    r"|Trail|Parade|Drove|Croft|Path|Bank|End|Loop|Alley|Chase|Strand|Wynd|Brae|Mount|Vale)"
)
_HOUSE = (
    rf"(?:{_CAP}(?:\s{_CAP}){{0,2}}\s(?:Farm|House|Cottage|Lodge|Barn|Mill|Court|Hall|Villa|Manor|Rectory|Building)\s*,\s*)?"
)
_ENGLISH = compiled(
    rf"(?<![\w.,/-]) (?i:{_UNIT}) {_HOUSE} \d{{1,5}}[a-zA-Z]?(?:\s?[-/]\s?\d{{1,4}}[a-zA-Z]?)?,?\s (?:(?:[NSEW]\.?"
    rf"|the|The|of)\s)? (?:{_CAP}\s){{1,3}}? {_CAPPED_TYPE}\b\.?"
    rf"(?:\s(?:North|South|East|West|[NSEW]{{1,2}})\b)? {_UNIT_AFTER} {_TAIL_TWICE}",
    CASE,
)
_ENGLISH_LOWER = compiled(
    rf"(?<![\w.,/-]) {_UNIT} \d{{1,5}}[a-z]?,?\s (?:(?!(?:on|in|at|the|to|of|for|and|per|x|days?|hours?|cm|mm|m|km"
    rf"|times)\b)[\p{{L}}'-]+\s){{1,2}}? {_PLAIN_TYPE}\b\.? {_LOWER_TAIL}"
)
_ENGLISH_NAMED = compiled(
    rf"(?<!\w) {_CAP}(?:\s{_CAP})?\s(?:Farm|House|Cottage|Lodge|Barn"
    rf"|Rectory) \s*,\s* {_CAP}(?:\s{_CAP}){{0,2}} \s*,?\s+ {_UK_POSTCODE}\b",
    CASE,
)
_PO_BOX = compiled(r"\b p\.?\s?o\.?\s?box \s \d{1,6} | \b postfach \s \d[\d ]{1,8}\d")

_GERMANIC_END = (
    r"(?:stra(?:ß|ss)e|str\.?|weg|platz|allee|gasse|ring|damm|ufer|steig|chaussee|markt|hof|berg|straat|laan|plein"
    r"|gracht|kade|dijk|singel|hof|pad|steeg|vej|gade|gatan|vägen|veien|gata)"
)
_NUMBER = r"\d{1,4}(?:\s?[a-zA-Z](?!\p{L}))?(?:\s?[-/]\s?\d{1,4}\s?[a-zA-Z]?(?!\p{L}))?"
_GERMANIC = compiled(
    rf"(?<![\w-]) (?: (?:{_CAP}[\s-]){{0,2}}? \p{{L}}[\p{{L}}-]{{2,30}}? (?i:{_GERMANIC_END}) "
    rf"| (?:{_CAP}[\s-]){{1,3}}(?:Stra(?:ß|ss)e|Str\.|Weg|Platz|Allee|Ring) | (?:Am|An\sder|An\sden|Im|In\sder"
    rf"|Auf\sdem|Zum|Zur|Unter\sden|Aan\sde|Op\sde)\s{_CAP}(?:\s{_CAP})? ) \s {_NUMBER}(?!\d) {_TAIL}",
    CASE,
)
_GERMANIC_LOWER = compiled(
    rf"(?<![\w-]) \p{{L}}{{3,30}}(?:stra(?:ß|ss)e|str\.|straat|laan|gracht|plein|gasse"
    rf"|allee) \s? \d{{1,4}}\s?[a-z]? (?!\p{{L}}|\d) {_LOWER_TAIL}"
)

_LINK = (
    r"(?:(?:de\sla|de\slos|de\slas|du|des|de|del|della|delle|degli|dei|di|da|do|dos|das|d'|l'|la|le|les|el|los|las"
    r"|al|dell'|san|santa|saint|sainte|st)[\s]?)"
)
_ROMANCE_WORDS = rf"{_LINK}{{0,3}}\p{{L}}[\p{{L}}'.-]*(?:[\s-]{_LINK}{{0,2}}\p{{L}}[\p{{L}}'.-]*){{0,4}}?"
_FRENCH = compiled(
    rf"(?<![\w.,/-]) \d{{1,4}}(?:\s?(?:bis|ter|[a-d]))?\s*,?\s (?:rue|avenue|av\.|boulevard|bd|place|chemin"
    rf"|all[ée]e|impasse|quai|cours|route|passage|square|faubourg|villa)"
    rf" \s {_LINK}{{0,3}}(?-i:\p{{Lu}})[\p{{L}}'.-]*(?:[\s-]{_LINK}{{0,2}}(?-i:\p{{Lu}})[\p{{L}}'.-]*){{0,3}} (?-i:{_TAIL})"
)
_FRENCH_LOWER = compiled(
    rf"(?<![\w.,/-]) \d{{1,4}}(?:\s?(?:bis|ter))?\s*,?\s (?:rue|avenue|boulevard|chemin"
    rf"|impasse) \s {_ROMANCE_WORDS} (?=\s*(?:[,.;!?\n]|$|\d{{5}})) {_LOWER_TAIL}"
)
_SOUTHERN = compiled(
    rf"(?<![\w-]) (?:calle|c/|c\.|avenida|avda\.?|av\.|paseo|plaza|pza\.?|carrer|passeig|pla[çc]a|ronda|camino"
    rf"|carretera|via|viale|v\.le|piazza|p\.zza|corso|vicolo|largo|strada|rua|travessa|avinguda|lungomare"
    rf"|lungotevere|contrada|praça)"
    rf" \s? {_ROMANCE_WORDS} \s*,?\s* (?:n[º°.o]{{0,2}}\s?|num\.?\s?)? \d{{1,4}}\s?[a-z]?(?!\p{{L}}|\d) (?:/\w{{1,3}})?"
    rf" (?:\s*,?\s*\d{{1,2}}\s?[º°ªoa]\.?\s?(?:\w{{1,4}}\b)? | \s*,\s*(?:piso|puerta|int\.?|interno|scala|esc\.?"
    rf"|bajo)\s?\w{{0,4}}){{0,2}} (?-i:{_TAIL})"
)
_POLISH = compiled(
    rf"(?<![\w-]) (?:ul|al|pl|os)\.\s? (?:\p{{L}}[\p{{L}}.-]*"
    rf"|\d{{1,2}})(?:\s\p{{L}}[\p{{L}}.-]*){{0,3}}? \s \d{{1,4}}[a-z]?(?:\s?/\s?\d{{1,4}}"
    rf"|\s?m\.?\s?\d{{1,4}})? (?!\d) (?-i:{_TAIL})"
)
_POSTCODE = compiled(rf"(?<![\w-]) {_UK_POSTCODE} (?![\w-])", CASE)
_POSTCODE_NAMED = compiled(
    r"\b(?:post\s?code|postal\scode|zip(?:\s?code)?|plz|postleitzahl|code\spostal|c[oó]digo\spostal|cap"
    r"|kod\spocztowy) (?:\s(?:is|ist|es|est|è))? \s?[:=]?\s?"
    r"(?P<value>\d{5}(?:-\d{4})?|\d{2}-\d{3}|\d{4}\s?[a-z]{2}|[a-z]{1,2}\d[a-z\d]?\s?\d[a-z]{2})\b"
)
_CITY_LINE = compiled(rf"(?<![\w-]) \d{{4}}\s[A-Z]{{2}}\s{_CAP} | (?<![\w-]) \d{{2}}-\d{{3}}\s{_CAP}", CASE)


def address_rules() -> tuple[Rule, ...]:
    named = {
        "english": (_ENGLISH, 0.8),
        "english_lower": (_ENGLISH_LOWER, 0.6),
        "english_named": (_ENGLISH_NAMED, 0.7),
        "po_box": (_PO_BOX, 0.7),
        "germanic": (_GERMANIC, 0.8),
        "germanic_lower": (_GERMANIC_LOWER, 0.7),
        "french": (_FRENCH, 0.8),
        "french_lower": (_FRENCH_LOWER, 0.6),
        "southern": (_SOUTHERN, 0.8),
        "polish": (_POLISH, 0.8),
        "postcode": (_POSTCODE, 0.6),
        "postcode_named": (_POSTCODE_NAMED, 0.7),
        "city_line": (_CITY_LINE, 0.5),
    }
    return tuple(PatternRule(f"address/{name}", "1", "ADDRESS", pattern, score) for name, (pattern, score) in named.items())
