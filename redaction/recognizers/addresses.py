"""Street addresses of many countries, PO boxes, flats and postcodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redaction.recognizers.address_tail import POSTCODE, UNIT, US_STATE, Tail, places_of, read_tail
from redaction.recognizers.gates import Needs
from redaction.recognizers.rule import CASE, TIMEOUT_S, Hit, PatternRule, Rule, compiled, matches

__all__ = ["address_rules"]

_NO_UNIT = r"(?!(?i:apt|apto|appt|suite|ste|unit|flat|box)\b)"
# Possessive and bounded, so that a line of capitals costs no more than its length.
_CAP = rf"{_NO_UNIT}\p{{Lu}}[\p{{L}}'’.-]{{0,40}}+"
_UK_POSTCODE = r"(?:[A-Z]{1,2}\d[A-Z\d]?\s?\d[ABD-HJLNP-UW-Z]{2})"
_LOWER_TAIL = (
    r"(?:\s*,?\s+(?:\d{5}|\d{2}-\d{3}|\d{4}\s?[a-z]{2})\s+\p{L}+|\s*,?\s+[a-z]{1,2}\d[a-z\d]?\s?\d[a-z]{2}\b"
    r"|\s*,\s*\p{L}+\s+[a-z]{1,2}\d[a-z\d]?\s?\d[a-z]{2}\b)?"
)
_UNIT_BEFORE = r"(?:(?:flat|apt\.?|apartment|unit|suite|room|floor|lot|no\.?)\s?\#?\w{1,4}\s*,?\s*)?"
_NUMBER_BEFORE = r"(?:\d{1,5}[a-zA-Z]?,?\s)?"
_NUMBER = r"\d{1,4}(?:\s?[a-zA-Z](?!\p{L}))?(?:\s?[-/]\s?\d{1,4}\s?[a-zA-Z]?(?!\p{L}))?(?!\d|[.,:]\d|\s?%)"

_PLAIN_TYPE = r"(?:street|road|lane|avenue|crescent|terrace|boulevard|blvd|gardens|grove|mews|highway|parkway|ave|rd)"
_CAPPED_TYPE = (
    r"(?:Street|St|Road|Rd|Lane|Ln|Avenue|Ave?|Av|Drive|Drv?|Close|Court|Ct|Way|Place|Pl|Plaza|Plz|Crescent|Cres|Terrace|Ter"
    r"|Gardens|Gdns|Grove|Grv|Square|Sq|Hill|Park|Row|Walk|Manor|Mnr|Point|Pt|Cove|Cv|Ridge|Rdg|Pike|Turnpike|Freeway|Fwy"
    r"|Expressway|Expy|Route|Crossing|Xing|Landing|Glen|Heights|Hts|Bypass|Concourse|Esplanade|Esp|Promenade|Circuit"
    r"|Cct|Broadway"
    r"|Mews|Boulevard|Blvd|Bl|Parkway|Pkwy|Highway|Hwy|Quay|View|Rise|Green|Yard|Wharf|Fields?|Meadows?|Circle|Cir"
    r"|Estate|Marg|Nagar"
    r"|Trail|Trl|Parade|Pde|Drove|Croft|Path|Bank|End|Loop|Alley|Aly|Chase|Strand|Wynd|Brae|Mount|Vale|Common|Gate"
    r"|Hollow|Springs?"
    r"|STREET|ST|ROAD|RD|AVENUE|AVE|LANE|LN|DRIVE|DR|COURT|CT|BLVD|BOULEVARD|PLACE|PL|WAY|CIRCLE|CIR|HWY|HIGHWAY|PKWY|TERRACE)"
)
_HOUSE = (
    rf"(?:{_CAP}(?:\s{_CAP}){{0,2}}\s(?:Farm|House|Cottage|Lodge|Barn|Mill|Court|Hall|Villa|Manor|Rectory|Building)\s*,\s*)?"
)
_ENGLISH = compiled(
    rf"(?<![\w.,/$£€-]) (?i:{_UNIT_BEFORE}) {_HOUSE} {_NUMBER_BEFORE} \d{{1,5}}[a-zA-Z]?(?:\s?[-/]\s?\d{{1,4}}[a-zA-Z]?)?,?\s"
    rf" (?:(?:[NSEW]{{1,2}}\.?|North|South|East|West|the|The|of)\s)?"
    rf" (?:(?:{_CAP}|\d{{1,3}}(?:st|nd|rd|th))\s){{1,4}}? {_CAPPED_TYPE}\b\.?"
    rf" (?:\s(?:North|South|East|West|[NSEW]{{1,2}})\b)?",
    CASE,
)
_ENGLISH_ORDINAL = compiled(
    r"(?<![\w.,/$£€-]) \d{1,5}\s(?:(?:[NSEW]{1,2}\.?|North|South|East|West)\s)?"
    r"\d{1,3}(?:st|nd|rd|th|ST|ND|RD|TH)\s(?:Street|St|Avenue|Ave|Road|Rd|Place|Pl|Drive|Dr|Court|Ct|Lane|Ln|STREET|ST"
    r"|AVE)\b\.?"
    r" | (?<![\w.,/$£€-]) \d{1,5}\s(?:[NSEW]\.?\s)?(?:Broadway|Highway\s\d{1,3}|(?:US|State|County)\s(?:Highway|Hwy"
    r"|Route|Road|Rd)\s\d{1,4}"
    r"|(?:Route|Rte|Hwy)\.?\s\d{1,4})\b",
    CASE,
)
_ENGLISH_LOWER = compiled(
    rf"(?<![\w.,/-]) {_UNIT_BEFORE} \d{{1,5}}[a-z]?,?\s (?:(?!(?:on|in|at|the|to|of|for|and|per|x|days?|hours?|minutes?"
    rf"|miles?|years?"
    rf"|lanes?|cm|mm|m|km|times|more|other|different|car|cars)\b)[\p{{L}}'-]+\s){{1,2}}? {_PLAIN_TYPE}\b\.? {_LOWER_TAIL}"
)
_ENGLISH_NAMED = compiled(
    rf"(?<!\w) {_CAP}(?:\s{_CAP})?\s(?:Farm|House|Cottage|Lodge|Barn|Rectory) \s*,\s* {_CAP}(?:\s{_CAP}){{0,2}} \s*,?\s+"
    rf" {_UK_POSTCODE}\b",
    CASE,
)
# A road without a number is an address only where the sentence says that somebody or something is there.
_ROAD = compiled(
    rf"\b (?i: on | at | off | near | along | lives?\sin | live\son | lived\son | corner\sof | junction\sof "
    rf"| intersection\sof | from | and )"
    rf" \s (?P<value> (?:{_CAP}\s){{1,2}} (?:Street|Road|Avenue|Lane|Boulevard|Crescent|Ave|Blvd|Rd)\b)",
    CASE,
)

_PO_BOX = compiled(
    rf"(?<![\w-]) {_NUMBER_BEFORE} (?: p\.?\s?o\.?\s?-?\s?box(?:es)? | post(?:al)?\s?box | post\soffice\sbox "
    rf"| g\.?p\.?o\.?\sbox"
    r" | locked\sbag | private\sbag | postfach | postbus | postboks | postboks | postilokero | boîte\spostale "
    r"| casilla(?:\spostal)?"
    r" | casella\spostale | caixa\spostal | apartado(?:\s(?:postal|de\scorreos))? | apdo\.? | skrytka(?:\spocztowa)? "
    r"| pf\. | c\.p\."
    r" | a/ya | pmb | cedex | b\.?p\.? ) [\s:]{1,2} (?:no\.?\s|nr\.?\s|n[º°]\.?\s"
    r"|\#)? \d{1,6}(?:[ ]\d{2,3}){0,2} (?![\w]|[.,]\d)"
)
_MILITARY = compiled(
    r"(?<![\w-]) (?: (?:psc|cmr|omc|unit)\s\d{1,5}(?:,?\s+box\s\d{1,6})? | us(?:s|ns|cgc"
    r"|nv)\s \p{L}[\p{L}.'-]{0,40}(?:\s\p{L}[\p{L}.'-]{0,40}){0,2})"
    r" [\s,]+ (?:apo|fpo|dpo),?\s+a[aep]\s+\d{5}(?:-\d{4})?"
    r" | (?<![\w-]) (?:psc|cmr|unit)\s\d{1,5},?\s+box\s\d{1,6} | (?<![\w-]) (?:apo|fpo|dpo),?\s+a[aep]\s+\d{5}(?:-\d{4})?"
)
_UNIT_ALONE = compiled(
    r"(?<![\w-]) (?: (?i:apartment|apt|suite|ste|flat|penthouse)(?:\.|(?=\s|\#|\d)) | (?i:unit|room|rm\.?|bldg\.?)\s\# )"
    r" \s?\#?\s? (?: \d{1,5}[A-Za-z]? | [A-Z]-?\d{1,4} | [A-Z] (?=\s?[,\n]) ) (?![\w]|[.,:%]\d|\s?(?:km|m2|sqm|people"
    r"|rooms?|bed|min))",
    CASE,
)

_ENDINGS_NORTH = (
    # German, Dutch, Danish, Norwegian, Swedish, Finnish, Icelandic. "ring" after a vowel ends English participles.
    r"(?:stra(?:ß|ss)e|str\.?|weg|platz|allee|gasse|(?<![aeiouy])ring|damm|ufer|steig|chaussee|markt|hof|zeile|graben"
    r"|gürtel|brücke"
    r"|straat|laan|plein|gracht|kade|dijk|singel|steeg|dreef|straatweg|vej|gade|stræde|torv|plads|vænget|toften|parken"
    r"|bakken|engen|marken"
    r"|gatan|vägen|väg|gränd|torget|stigen|allén|backen|veien|vegen|vei|gata|gaten|svingen|stien|terrasse"
    r"|katu|kuja|polku|raitti|aukio|kaari|rinne|väylä|penger|ranta|(?<!\b(?:neck|bow|swee|cu|bes|hot|aun|pat))tie|vegur"
    r"|stígur|braut)"
)
_GERMANIC = compiled(
    rf"(?<![\w-]) {_NUMBER_BEFORE} (?: (?:{_CAP}[\s-]){{0,2}}? \p{{L}}[\p{{L}}-]{{2,30}}? (?i:{_ENDINGS_NORTH}) "
    rf"| (?:{_CAP}[\s-]){{1,3}}(?:Stra(?:ß|ss)e|Str\.|Weg|Platz|Allee|Ring|Damm|Ufer|Gasse|straat|laan|weg|plein|vei"
    rf"|vej|gate|gade|väg|gata"
    rf"|allé|Allé|plads|plass)"
    rf"| (?:Am|An\sder|An\sden|Im|In\sder|In\sden|Auf\sdem|Auf\sder|Zum|Zur|Unter\sden|Hinter\sder|Bei\sder|Aan\sde"
    rf"|Op\sde|Op\sden)"
    rf"\s{_CAP}(?:\s{_CAP})? ) \s {_NUMBER}",
    CASE,
)
_GERMANIC_LOWER = compiled(
    rf"(?<![\w-]) \p{{L}}{{3,30}}(?:stra(?:ß|ss)e|str\.|straat|laan|gracht|plein|gasse"
    rf"|allee|vägen|gatan|veien|katu) \s? \d{{1,4}}\s?[a-z]? (?!\p{{L}}|\d) {_LOWER_TAIL}"
)

_LINK = (
    r"(?:(?:de\sla|de\slos|de\slas|du|des|de|del|della|delle|dello|dei|degli|di|da|do|dos|das|d'|l'|la|le|les|el|los|las"
    r"|al|dell'|san|santa|saint|sainte|st|e|y|et)[\s]?)"
)
_NO_ENGLISH = r"(?!(?:apt|apto|appt|suite|unit|box|in|on|at|for|with|the|and|to|of|is|was|near|from|by|or|my|our)\b)"
_ROMANCE_WORDS = (
    rf"{_LINK}{{0,3}}{_NO_ENGLISH}\p{{L}}[\p{{L}}'.-]{{0,40}}(?:[\s-]{_LINK}{{0,2}}{_NO_ENGLISH}"
    rf"(?:\p{{L}}[\p{{L}}'.-]{{0,40}}|\d{{1,2}}(?=\sd))){{0,4}}?"
)
_FRENCH_TYPE = (
    r"(?:rue|avenue|av\.?|boulevard|bd|blvd|place|pl\.|chemin|ch\.|all[ée]e|all[ée]es|impasse|imp\.|quai|cours|route"
    r"|rte|passage|square"
    r"|faubourg|villa|sentier|ruelle|esplanade|promenade|voie|cité|résidence|lotissement|rond-point|hameau|montée|traverse)"
)
_FRENCH = compiled(
    rf"(?<![\w.,/-]) {_NUMBER_BEFORE} \d{{1,4}}(?:\s?(?:bis|ter|quater|[a-d]))?\s*,?\s {_FRENCH_TYPE}"
    rf" \s {_LINK}{{0,3}}(?:{_NO_UNIT}(?-i:\p{{Lu}})[\p{{L}}'.-]{{0,40}}"
    rf"|\d{{1,2}}\s\p{{L}}+)(?:[\s-]{_LINK}{{0,2}}{_NO_UNIT}(?-i:\p{{Lu}})[\p{{L}}'.-]{{0,40}}){{0,3}}"
)
_FRENCH_AFTER = compiled(
    rf"(?<![\w-]) {_NUMBER_BEFORE} {_FRENCH_TYPE} \s {_LINK}{{0,3}}{_NO_UNIT}(?-i:\p{{Lu}})[\p{{L}}'.-]{{0,40}}"
    rf"(?:[\s-]{_LINK}{{0,2}}{_NO_UNIT}(?-i:\p{{Lu}})[\p{{L}}'.-]{{0,40}}){{0,3}}"
    rf" ,?\s {_NUMBER}"
)
_FRENCH_LOWER = compiled(
    rf"(?<![\w.,/-]) \d{{1,4}}(?:\s?(?:bis|ter))?\s*,?\s (?:rue|avenue|boulevard|chemin"
    rf"|impasse) \s {_ROMANCE_WORDS} (?=\s*(?:[,.;!?\n]|$|\d{{5}})) {_LOWER_TAIL}"
)
_FRENCH_LOWER_AFTER = compiled(
    rf"(?<![\w-]) {_NUMBER_BEFORE} (?:rue|boulevard|impasse|chemin|quai) \s {_ROMANCE_WORDS} ,?\s \d{{1,4}}(?!\p{{L}}"
    rf"|\d|[.:]\d)"
)
_SOUTHERN = compiled(
    rf"(?<![\w-]) {_NUMBER_BEFORE} (?:calle|c/|c\.(?=\s\p{{L}}{{3}})|cl\.|avenida|avda\.?|av\.|avd\.|paseo|p\.º|plaza"
    rf"|pza\.?|carrer|passeig|pla[çc]a"
    rf"|ronda|camino|carrera|cra\.|cr\.|carretera|ctra\.|callejón|glorieta|travesía|cuesta|jirón|via|viale|v\.le|v\."
    rf"|piazza|piazzale|p\.zza"
    rf"|p\.le|corso|c\.so|vicolo|largo|strada|str\.|borgo|rua|r\.|travessa|alameda|estrada|praceta|beco|rodovia|quinta"
    rf"|avinguda|lungomare"
    rf"|lungotevere|lungarno|contrada|località|salita|vico|praça|pç\.|bulevardul|bd\.|calea|aleea|șoseaua|șos\.|splaiul"
    rf"|intrarea)"
    rf" \s? {_ROMANCE_WORDS} \s*,?\s* (?:n[º°.ro]{{0,2}}\s?|num\.?\s?|n[úu]mero\s|s/n\s?"
    rf"|\#\s?)? \d{{1,5}}\s?[a-z]?(?!\p{{L}}|\d|[.:]\d|\s?%)"
    rf" (?:/\w{{1,3}})? (?:\s?-\s?\d{{1,4}}(?!\d))?"
    rf" (?:\s*,?\s*\d{{1,2}}\s?[º°ªoa]\.?\s?(?:\w{{1,4}}\b)? | \s*,?\s*(?:piso|puerta|int\.?|interno|scala|esc\.?"
    rf"|bajo|apto\.?|apt\.?|bloco|sala|casa|depto\.?|dpto\.?|local|planta)\s?\w{{0,4}}){{0,3}}"
)
_SLAVIC = compiled(
    rf"(?<![\w-]) {_NUMBER_BEFORE} (?: (?:ul|al|pl|os|nám|tř|ул|просп|пер|вул|бул|пр)\.\s? | (?:ulica|ulice|ulici|aleja"
    rf"|plac|náměstí|námestie"
    rf"|nábřeží|třída|trieda|trg|cesta|bulevar|avenija|улица|проспект|пр-т|переулок|бульвар|вулиця"
    rf"|площадь)\s (?=(?-i:\p{{Lu}})) )"
    rf" (?:\p{{L}}[\p{{L}}.-]{{0,40}}|\d{{1,2}}\.?)(?:\s\p{{L}}[\p{{L}}.-]{{0,40}}){{0,3}}? \s?,?\s (?:д\.\s?"
    rf"|буд\.\s?|č\.?p?\.?\s?|br\.\s?)?"
    rf" \d{{1,4}}[a-zа-я]?(?:\s?/\s?\d{{1,4}}|\s?m\.?\s?\d{{1,4}}|,?\sкв\.?\s?\d{{1,4}})? (?!\d)"
)
_TYPE_LAST = compiled(
    # Hungarian, Slovene, Croatian, Estonian, Latvian, Lithuanian, Turkish, Greek: the word for street stands last.
    rf"(?<![\w-]) {_NUMBER_BEFORE} (?:{_CAP}\s){{1,3}} (?:utca|u\.|út|útja|tér|tere|körút|krt\.|köz|sétány|fasor"
    rf"|rakpart|ulica|cesta|trg|pot|ulice"
    rf"|třída|tee|tn|tänav|pst|mnt|iela|prospekts|bulvāris|gatvė|g\.|pr\.|alėja|Caddesi|Cad\.|Cd\.|Sokak|Sokağı|Sok\."
    rf"|Sk\.|Bulvarı|Blv\."
    rf"|katu|gata|gate|väg|vei|vej|Street|Road)"
    rf" \s (?:No\s?[:.]?\s?)? {_NUMBER} (?:\.(?=\s|,|$))?",
    CASE,
)
_CZECH = compiled(
    rf"(?<![\w-]) {_NUMBER_BEFORE} (?:{_CAP}\s)? \p{{Lu}}\p{{L}}{{2,20}}(?:sk[áé]|ck[áé]|ná|ní|ého|ých|ově|ého) \s {_NUMBER}",
    CASE,
)
# No word in these says street: only a flat's number or a town with its postcode behind makes them an address.
_WEAK = compiled(
    rf"(?<![\w.,/$£€-]) (?: {_NUMBER_BEFORE} (?:{_CAP}\s){{1,3}}? {_NUMBER} | \d{{1,5}}[a-zA-Z]? (?:,?\s(?:{_CAP}"
    rf"|\d{{1,2}})){{1,5}}? )"
    rf" (?= [\s,;?>|]{{1,6}} (?:{UNIT}) )"
    rf" | (?<![\w.,/$£€-]) (?: {_NUMBER_BEFORE} {_CAP}(?:\s{_CAP}){{0,2}}? \s {_NUMBER} "
    rf"| \d{{1,5}}[a-zA-Z]? (?:\s{_CAP}){{1,4}}? )"
    rf" (?= \s?[,\n]\s? (?: {POSTCODE} \s{_CAP} | {_CAP}(?:\s{_CAP})?,?\s(?:{US_STATE}\s\d{{5}}|{_UK_POSTCODE}) ) )",
    CASE,
)

_CORNER = compiled(
    rf"\b (?i:corner|intersection|junction|crossing) \s of \s (?P<value> (?:the\s)?(?:\d{{1,5}}\s)?(?:{_CAP}"
    rf"|\d{{1,3}}(?:st|nd|rd|th))"
    rf"(?:\s(?:{_CAP}|\d{{1,4}})){{0,4}} \s(?:and|&)\s (?:\d{{1,5}}\s)?(?:{_CAP}|\d{{1,3}}(?:st|nd|rd"
    rf"|th))(?:\s(?:{_CAP}|\d{{1,4}})){{0,3}} )",
    CASE,
)
_CUED = compiled(
    rf"(?<![\w]) (?: {_NUMBER_BEFORE} {_CAP}(?:[\s-](?:(?:de|del|la|van|den|der|di|da|do|of|the)\s)?{_CAP}){{0,3}} \s {_NUMBER}"
    rf" | \d{{1,5}}[a-zA-Z]?(?:-\d{{1,4}})? (?:,?\s(?!AM\b|PM\b){_CAP}){{1,4}} )",
    CASE,
)
_CUE = compiled(
    r"\b (?: (?:post(?:al)?\s|mailing\s|home\s|street\s|billing\s|shipping\s|delivery\s)?address(?:\sis|\swas"
    r"|\sto)?\s?[:=]? | addr\.?\s?[:=]?"
    r" | (?:live|lives|lived|living|reside[sd]?|residing|stay(?:s|ing|ed)?|located|situated|based|office\sis"
    r"|meet(?:\s(?:me|us|you))?|registered)"
    r" \s(?:at|on) | (?:deliver(?:ed|y)?|ship(?:ped)?|sen[dt](?:\s(?:it|them|this))?|mail(?:ed)?|return(?:ed)?|moved"
    r"|taxi|ride|drive|cab|come|go)"
    r" \s to | (?:side|corner)\sof | wohnhaft(?:\sin)? | wohnt?\s(?:in|am) | adresse\s?(?:ist|est)?\s?:? "
    r"| anschrift\s?:? | direcci[oó]n\s?(?:es)?\s?:?"
    r" | indirizzo\s?[:è]? | adres\s?(?:to|is)?\s?:? | endereço\s?:? ) \s* $"
)

_POSTCODE_ALONE = compiled(
    rf"(?<![\w-]) (?:{_UK_POSTCODE} | [ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z][ ]\d[ABCEGHJ-NPRSTV-Z]\d) (?![\w-])", CASE
)
_POSTCODE_NAMED = compiled(
    r"\b(?:post\s?code | post(?:al)?\s?code | zip(?:\s?code|\+4)? | plz | postleitzahl | code\spostal "
    r"| c[oó]digo\spostal | cap | cep | pin\s?code"
    r" | kod\spocztowy | postnummer | postinumero | psč | irsz\.? | eircode) [\"']? (?:\s(?:is|ist|es|est|è"
    r"|of))? \s?[:=]{0,2}\s?[\"']?"
    r"(?P<value>\d{5}(?:-\d{3,4})?|\d{2}-\d{3}|\d{4}-\d{3}|\d{4}\s?[a-z]{2}\b|[a-z]{1,2}\d[a-z\d]?\s?\d[a-z]{2}\b"
    r"|\d{3}\s\d{2,3}"
    r"|[a-z]\d[a-z][ -]?\d[a-z]\d|[a-z]{2}[ -]?\d{4,5}|\d{3,7})(?![\w]|[.,]\d)"
)
_CITY_LINE = compiled(
    rf"(?<![\w-]) \d{{4}}\s(?!AM|PM|AD|BC|EU|US|UK)[A-Z]{{2}}\s{_CAP} | (?<![\w-]) \d{{2}}-\d{{3}}\s{_CAP} "
    rf"| (?<![\w-]) [A-Z]{{1,2}}-\d{{4,5}}\s{_CAP}"
    rf" | (?<![\w-]) (?:{_CAP}\s){{0,2}}{_CAP},\s{US_STATE}\.?,?\s\d{{5}}(?:-\d{{4}})?(?![\w-]) "
    rf"| (?<![\w-]) {US_STATE}\s\d{{5}}(?:-\d{{4}})?(?![\w-])",
    CASE,
)


_DIGIT = Needs(digits=1)


@dataclass(frozen=True, slots=True)
class StreetRule:
    """A street by its pattern, with the rest of the address behind it.

    Args:
        context: searched before the street, if given.
        weak: whether the pattern alone proves nothing, so that a flat's number or a postcode must follow.
    """

    id: str
    pattern: Any
    score: float
    weak: bool = False
    context: Any = None
    needs: Needs = _DIGIT
    version: str = "2"
    entity: str = "ADDRESS"

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        found = [m for m in matches(self.pattern, text) if self.context is None or self._cued(text, m.start())]
        places = places_of(doc) if found else []
        for match in found:
            tail = Tail(match.end() - 1, False) if _closes_sentence(match[0]) else read_tail(text, match.end(), places)
            if tail.sure or not self.weak:
                yield Hit(self.entity, match.start(), tail.end, self.score, self.id, self.version)

    def _cued(self, text: str, start: int) -> bool:
        return self.context.search(text[max(0, start - 30) : start], timeout=TIMEOUT_S) is not None


def _closes_sentence(street: str) -> bool:
    """Whether the full stop at the end is the sentence's: no long word is an abbreviation."""
    return street.endswith(".") and street[-5:-1].isalpha() and street[-6:-5].isalpha()


_SOUTHERN_WORDS = Needs(
    1,
    (
        "call",
        "c/",
        "c.",
        "cl.",
        "av",
        "paseo",
        "p.",
        "pl",
        "pz",
        "carr",
        "pass",
        "ronda",
        "camin",
        "cra.",
        "cr.",
        "ctra",
        "glor",
        "trav",
        "cuesta",
        "jir",
        "via",
        "v.",
        "piazz",
        "corso",
        "vico",
        "largo",
        "str",
        "borgo",
        "rua",
        "r.",
        "alam",
        "estr",
        "prac",
        "beco",
        "rodo",
        "quinta",
        "lung",
        "contr",
        "locali",
        "salita",
        "bulev",
        "bd.",
        "calea",
        "aleea",
        "splai",
        "intrar",
    ),
)
_FRENCH_WORDS = Needs(
    1,
    (
        "rue",
        "avenue",
        "av.",
        "boulevard",
        "bd",
        "blvd",
        "place",
        "pl.",
        "chemin",
        "ch.",
        "all",
        "impasse",
        "imp.",
        "quai",
        "cours",
        "route",
        "rte",
        "passage",
        "square",
        "faubourg",
        "villa",
        "sentier",
        "esplanade",
        "promenade",
        "voie",
        "lotis",
        "rond",
        "hameau",
        "mont",
        "traverse",
    ),
)


def address_rules() -> tuple[Rule, ...]:
    streets = (
        StreetRule("address/english", _ENGLISH, 0.8),
        StreetRule("address/english_ordinal", _ENGLISH_ORDINAL, 0.8),
        StreetRule("address/germanic", _GERMANIC, 0.8),
        StreetRule("address/french", _FRENCH, 0.8, needs=_FRENCH_WORDS),
        StreetRule("address/french_after", _FRENCH_AFTER, 0.7, needs=_FRENCH_WORDS),
        StreetRule("address/southern", _SOUTHERN, 0.8, needs=_SOUTHERN_WORDS),
        StreetRule("address/slavic", _SLAVIC, 0.7),
        StreetRule("address/type_last", _TYPE_LAST, 0.7),
        StreetRule("address/czech", _CZECH, 0.6),
        StreetRule("address/weak", _WEAK, 0.6, weak=True),
        StreetRule("address/cued", _CUED, 0.5, context=_CUE),
        StreetRule("address/po_box", _PO_BOX, 0.7),
        StreetRule("address/military", _MILITARY, 0.8),
        StreetRule("address/unit", _UNIT_ALONE, 0.5),
    )
    plain = (
        ("english_lower", _ENGLISH_LOWER, 0.6),
        ("english_named", _ENGLISH_NAMED, 0.7),
        ("road", _ROAD, 0.4),
        ("corner", _CORNER, 0.5),
        ("germanic_lower", _GERMANIC_LOWER, 0.7),
        ("french_lower", _FRENCH_LOWER, 0.6),
        ("french_lower_after", _FRENCH_LOWER_AFTER, 0.5),
        ("postcode", _POSTCODE_ALONE, 0.6),
        ("postcode_named", _POSTCODE_NAMED, 0.7),
        ("city_line", _CITY_LINE, 0.5),
    )
    return streets + tuple(PatternRule(f"address/{name}", "2", "ADDRESS", pattern, score) for name, pattern, score in plain)
