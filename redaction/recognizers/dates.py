"""Dates, times, dates of birth and ages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.recognizers.gates import Needs
from redaction.recognizers.named_entities import named_entities
from redaction.recognizers.rule import CASE, TIMEOUT_S, Hit, PatternRule, Rule, compiled, matches

__all__ = ["age_rules", "birth_date_rules", "date_time_rules"]

# Month names of nine languages in full and in their usual short forms; a stem would take "market" for March.
_MONTH = (
    r"(?: jan(?:uar[yi]?|vier|eiro|vāris|uari)? | ene(?:ro)? | gennaio | stycz(?:nia|eń) | jänner"
    r"| feb(?:ruar[yi]?|brero|braio|ruari)? | f[eé]v(?:rier|ereiro)? | lut(?:ego|y)"
    r"| mar(?:ch|s|zo|ço|ca|zec)? | märz | mrz | maart | mrt | apr(?:il[e]?)? | avr(?:il)? | abr(?:il)? | kwie(?:tnia|cień)"
    r"| ma[yij] | mayo | maio | mei | maggio | maja | june? | juni | junio | junho | juin | giugno | czerw(?:ca|iec)"
    r"| jul[yi]? | julio | julho | juil(?:let)? | luglio | lip(?:ca|iec)"
    r"| aug(?:ust(?:us|i)?)? | agosto | ao[uû]t | sierp(?:nia|ień)"
    r"| sept?(?:ember|embre|iembre)? | set(?:tembre|embro) | wrze(?:śnia|sień)"
    r"| o[ck]t(?:ober|obre|ubre)? | outubro | ottobre | pa[zź]dziernika?"
    r"| nov(?:ember|embre|iembre|embro)? | listopada? | de[cz](?:ember|embre|embro)? | d[eé]c(?:embre)? | dic(?:iembre|embre)?"
    r"| grud(?:nia|zień) )"
)
_SURE_MONTH = (
    r"(?: jan(?:uary)? | feb(?:ruary)? | march | april | apr | may | june | july | jul | jun | aug(?:ust)? | sept?(?:ember)?"
    r"| oct(?:ober)? | nov(?:ember)? | dec(?:ember)? | januar | februar | märz | mai | juni | juli | oktober | dezember"
    r"| janvier | f[eé]vrier | mars | avril | juin | juillet | ao[uû]t | septembre | octobre | novembre | d[eé]cembre"
    r"| enero | febrero | marzo | abril | mayo | junio | julio | agosto | septiembre | octubre | noviembre | diciembre"
    r"| gennaio | febbraio | aprile | maggio | giugno | luglio | settembre | ottobre | dicembre )"
)
_WEEKDAY = (
    r"(?: mon(?:day)? | tue(?:s|sday)? | wed(?:nesday)? | thu(?:rs|r|rsday)? | fri(?:day)? | sat(?:urday)? | sun(?:day)?"
    r"| montag | dienstag | mittwoch | donnerstag | freitag | samstag | sonntag"
    r"| lundi | mardi | mercredi | jeudi | vendredi | samedi | dimanche"
    r"| lunes | martes | mi[eé]rcoles | jueves | viernes | s[aá]bado | domingo )"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH_NUMBER = r"(?:0?[1-9]|1[0-2])"
_YEAR = r"(?:1[5-9]|20|21)\d\d"
_ZONE = r"(?:\s?(?:z|utc|gmt|[ecmp][sd]t|cest|cet|bst|ist)\b(?:[+-]\d{1,2})?|\s?[+-]\d{2}:?\d{2}(?!\d))"
_CLOCK = rf"(?:[01]?\d|2[0-4])[:.h][0-5]\d(?::[0-5]\d(?:[.,]\d{{1,9}})?)?(?:\s?[ap]\.?m\b\.?)?{_ZONE}?"
_TIME_AFTER = rf"(?:(?:\s?t\s?|,?\s+(?:at\s|um\s|à\s|@\s?)?|:){_CLOCK})?"

_ISO = compiled(rf"(?<![\w.]|\d-) {_YEAR}-(?:0?[1-9]|1[0-2])-{_DAY} {_TIME_AFTER} (?![\d/]|-\d)")
_COMPACT = compiled(r"(?<![\w.-]) (?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]) t? [0-2]\d[0-5]\d[0-5]\d z? (?![\w-])")
_NUMERIC = compiled(
    rf"(?<![\w.,/:+-]) (?: {_YEAR}[/.]{_MONTH_NUMBER}[/.]{_DAY}"
    rf"| (?:{_DAY}(?P<a>[/.-]){_MONTH_NUMBER}|{_MONTH_NUMBER}(?P<a>[/.-]){_DAY})(?P=a)(?:{_YEAR}|\d\d) ) {_TIME_AFTER}"
    r" (?![\d/]|[.:,-]\d|\s?(?:%|€|\$))"
)
_LINKED = r"(?:\s?[-/.]\s?|(?:st|nd|rd|th|\.|º|er)?,?\s(?:of\s|de\s|di\s|d[ae]l?\s)?)"
_DAY_RANGE = rf"{_DAY}(?:st|nd|rd|th|\.)?(?:\s?(?:-|to|and|&|bis)\s?{_DAY})?"
_SPELT = compiled(
    rf"(?<![\w/.-]) (?: {_WEEKDAY}\b[.,]{{0,2}}\s (?:the\s|den\s)? )? (?:"
    rf" {_DAY_RANGE}{_LINKED}{_MONTH}\b\.? (?:\s?[-/,.]?\s?(?:de\s|del\s|of\s|in\s)?(?:{_YEAR}|'\d\d|(?<=-)\d\d)(?!\d))?"
    rf"| {_MONTH}\.?[\s-](?:the\s)?{_DAY_RANGE}(?:st|nd|rd|th)?(?![\d%:]|[.,]\d\d?(?!\d)) (?:,?\s(?:of\s)?(?:{_YEAR}"
    rf"|'\d\d)(?!\d))?"
    rf"| {_MONTH}\.?,?[\s-]\s?(?:de\s|of\s|')?{_YEAR} ) (?!\d) {_TIME_AFTER}"
)
_SYSLOG = compiled(rf"(?<!\w) (?:{_WEEKDAY}\s)? {_MONTH}\s{{1,2}}{_DAY}\s{_CLOCK}(?:\s[a-z]{{3,4}})?(?:\s{_YEAR})? (?!\w)")
_CLOCK_TIME = compiled(
    r"(?<![\w.,:/+-]) (?: (?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,6})?)? (?:\s?[ap]\.?m\b\.?)?"
    rf" | (?:0?[1-9]|1[0-2])(?:[.][0-5]\d)?\s?(?:[ap]\.m\.|[ap]m\b|o'?clock\b) ) {_ZONE}? (?![\w:]|[.,]\d)"
)
_YEAR_NAMED = compiled(
    rf"\b (?: in | since | born | from | until | till | by | before | after | during | circa | around | year | founded"
    rf" | established | class\sof | (?:early|mid|late)(?:\s|-) | summer | winter | spring | autumn | fall | seit | depuis"
    rf" | desde | dal | en | im\sjahr | copyright | © )"
    rf" \s (?:the\s)? (?:(?:early|mid|late)[\s-])? (?P<value>{_YEAR}(?:\s?[-/]\s?(?:{_YEAR}|\d\d)(?!\d))?) (?!['’]?s?\w"
    rf"|[.,]\d|-\d|\s?(?:€|\$|%|eur|usd))"
)
_YEARS_BETWEEN = compiled(rf"(?<![\w.,/-]) {_YEAR} \s?[-–]\s? (?:{_YEAR}|present) (?![\w-])")
_EPOCH = compiled(
    r"\b(?:timestamp|epoch|time|ts|iat|exp|nbf)[\"']?\s?[:=]\s?(?P<value>1[0-9]{9}(?:\d{3})?(?:\.\d{1,6})?)(?!\d)"
)

_HAS_DATE = compiled(
    rf"(?<!\d)(?:{_YEAR})(?!\d) | (?<![\p{{L}}])(?:{_SURE_MONTH}|{_WEEKDAY})(?![\p{{L}}]) | \d{{1,2}}[:h]\d\d "
    rf"| \d[/.-]\d{{1,2}}[/.-]\d"
    r" | \d\s?[ap]\.?m\b"
)
_VAGUE_DAY = compiled(
    rf"(?: (?:the|this|next|last|every|each|on|coming|past|between|from|until|before|after|early|late|all|a) \s )* {_WEEKDAY}s?"
    rf" (?: [\s,]+ (?:to|through|thru|and|or|until|-|morning|afternoon|evening|night|tomorrow|today|{_WEEKDAY}s?) )*"
)
_WEEKDAY_MET = compiled(
    r"\b(?i:on|by|until|till|since|from|meet|met|for|see\syou|due|arrived?|called)\s"
    r"(?P<value>(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Montag|Dienstag|Mittwoch|Donnerstag|Freitag|Samstag"
    r"|Sonntag)\b (?!s|\sto\b)",
    CASE,
)


class DatesOfModel:
    """spaCy's DATE and TIME entities that tell a time: a year, month or clock in them. "Today", "two weeks" tell none."""

    needs = Needs(
        like=r"\d|day|tag|jan|feb|m[aä]r|apr|ma[iy]|ju[nl]|aug|sep|oct|nov|dec|[oô][ku]t|déc|f[eé]v|gen|mag|giu|lug|ago|set|ott|di[cz]|di\b|ene|abr|avr"
    )
    id = "date_time/spacy"
    version = "1"
    entity = "DATE_TIME"

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for found in named_entities(doc):
            if found.label_ in {"DATE", "TIME"} and self._telling(text[found.start_char : found.end_char]):
                yield Hit(self.entity, found.start_char, found.end_char, 0.5, self.id, self.version)

    @staticmethod
    def _telling(value: str) -> bool:
        return (
            len(value) <= 60
            and _HAS_DATE.search(value, timeout=TIMEOUT_S) is not None
            and _VAGUE_DAY.fullmatch(value, timeout=TIMEOUT_S) is None
        )


def date_time_rules() -> tuple[Rule, ...]:
    def rule(name: str, pattern: Any, score: float) -> PatternRule:
        return PatternRule(f"date_time/{name}", "1", "DATE_TIME", pattern, score)

    return (
        rule("iso", _ISO, 0.9),
        rule("compact", _COMPACT, 0.5),
        rule("numeric", _NUMERIC, 0.7),
        rule("spelt", _SPELT, 0.7),
        rule("syslog", _SYSLOG, 0.8),
        rule("clock", _CLOCK_TIME, 0.5),
        rule("year", _YEAR_NAMED, 0.5),
        rule("years", _YEARS_BETWEEN, 0.5),
        rule("epoch", _EPOCH, 0.6),
        rule("weekday", _WEEKDAY_MET, 0.4),
        DatesOfModel(),
    )


_FULL_DATE = compiled(
    rf"(?<![\w/.-]) (?: \d{{1,2}}[./ -]\s?\d{{1,2}}[./ -]\s?(?:\d{{4}}|\d{{2}}) | \d{{4}}[./-]\d{{1,2}}[./-]\d{{1,2}}"
    rf"| \d{{1,2}}(?:st|nd|rd|th|\.|º|er)?\s(?:of\s|de\s|di\s)?{_MONTH}\.?,?\s?(?:de\s|del\s)?(?:\d{{4}}|'?\d{{2}})"
    rf"| {_MONTH}\.?\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}} | \d{{1,2}}-{_MONTH}-\d{{2,4}} | (?:19|20)\d{{6}} ) (?![\w/-])"
)
_BIRTH_WORDS = compiled(
    r"(?: \bborn\b | \bd\.?\s?o\.?\s?b\b\.? | \bbirth\s?-?\s?(?:date|day)\b | \bdate\sof\sbirth\b | \bb-?day\b "
    r"| \bgeb\b\.? | \bgeboren\b | \bgeburts(?:datum|tag)\w*"
    r"| \bn[eé]e?\sle\b | \bnaissance\b | \bnacid[oa]\b | \bnacimiento\b | \bnat[oa]\b | \bnascita\b "
    r"| \bgeboortedatum\b | \bgeboren\sop\b | \burodz\w* | \bur\.\s"
    r"| \bnascid[oa]\b | \bnascimento\b | \bfødt\b | \bfödd\b | \bsyntynyt\b | \bverjaardag\b | \bcumplea\w* "
    r"| \banniversaire\b | \bcompleanno\b )"
    r" [^\n]{0,60} $"
)
_BIRTH_AFTER = compiled(
    r"[^\n\d]{0,60} \b(?:date\sof\sbirth|birth\s?(?:date|day)|d\.?o\.?b\.?|was\sborn|geburtsdatum|geboortedatum)\b"
)
_BIRTH_FIELD = compiled(
    r"(?: date[_ -]?of[_ -]?birth | birth[_ -]?(?:date|day) | dob ) [\"']? \s? [:=>]{1,2} \s? [\"']?"
    r" (?P<value>[\d./-]{6,10}|\d{1,2}\s\p{L}{3,12}\s\d{4})"
)
_LONG_AGO = compiled(r"(?<!\d)(?:19[2-9]\d|200\d)(?!\d)")


def _long_ago(value: str) -> bool:
    return _LONG_AGO.search(value) is not None


def birth_date_rules(*, other_dates: bool) -> tuple[Rule, ...]:
    """Dates near a word of birth.

    Args:
        other_dates: whether the policy looks for DATE_TIME as well. Where it does not, full dates from 1920 to 2009 are
            taken too: the dates that a message is about are younger.
    """
    near = (
        PatternRule("birth_date/near", "1", "BIRTH_DATE", _FULL_DATE, 0.8, None, _BIRTH_WORDS, _BIRTH_AFTER, 80),
        PatternRule("birth_date/field", "1", "BIRTH_DATE", _BIRTH_FIELD, 0.9),
    )
    if other_dates:
        return near
    return (*near, PatternRule("birth_date/long_ago", "1", "BIRTH_DATE", _FULL_DATE, 0.5, _long_ago))


_TENS = r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
_ONES = r"(?:one|two|three|four|five|six|seven|eight|nine)"
_SPELT_NUMBER = (
    rf"(?:{_TENS}(?:[\s-]{_ONES})?|{_ONES}|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)"
)
_YEARS = r"(?:1[01]\d|[1-9]?\d)"
_AGE_OLD = compiled(
    rf"(?<![\w.,-]) (?P<value> (?:{_YEARS}|{_SPELT_NUMBER}) (?:\s?½)? [\s-]? (?:(?:years?|yrs?|months?|weeks?"
    rf"|days?)[\s-]+(?:old|of\sage)s?"
    r" | y\.?/?o\.?\b | jahre\salt\b | jährige?[rnms]?\b | ans\b(?=\s?[,.)]) | años\sde\sedad\b | anni\b(?=\s?[,.)]) "
    r"| jaar\soud\b"
    r" | lat(?:a|ek)?\b(?=\s?[,.)]) | anos\sde\sidade\b ) )"
)
_AGE_NAMED = compiled(
    rf"\b (?: aged? | at\sage | (?:my|his|her|their|your|the)\sage(?:\sis|\swas|\sof)? | at\s(?:the|an)\sage\sof "
    rf"| alter | edad | âge"
    rf" | leeftijd | turn(?:s|ed|ing)? | aged\sbetween ) [\"']? \s?[:=]?\s? (?:just\s|only\s|about\s|around\s|over\s|under\s)?"
    rf" (?P<value>{_YEARS}|{_SPELT_NUMBER}) (?![\w%°$€£]|[.,:/-]\d|\s?(?:km|kg|miles?|degrees|percent|lights?|the|off)\b)"
)
_AGE_SAID = compiled(
    rf"\b (?: (?:i'?\s?a?m|he'?s|she'?s|i\swas|(?:he|she)\s(?:is|was)|(?:who|when\si|when\she|when\sshe|mother|father"
    rf"|mum|mom|dad|son"
    rf"|daughter|wife|husband|brother|sister|grand\w+|baby|kid|child)\s(?:is|was)) ) \s (?:just|only|now|already|about"
    rf"|almost|nearly)?\s?"
    rf" (?P<value>[1-9]\d|[2-9]|{_TENS}(?:[\s-]{_ONES})?) (?= \s? (?: [.,;!?)] (?!\d) | $ | \n | (?:and|when|but|now|so"
    rf"|years|yrs|with"
    rf"|living|from|male|female|m|f)\b (?!\s(?:minutes|hours|days)) ) )"
)
_AGE_APPOSED = compiled(
    r"(?<=\p{Lu}[\p{L}'.-]{1,20},\s|\p{Lu}[\p{L}'.-]{1,20}\s\() (?P<value>[1-9]\d) (?: (?=,\s\p{Ll}) | (?=\)) )", CASE
)
_MONTH_BEFORE = compiled(rf"\b{_MONTH}\.?,?\s\(?$")
_AGE_DECADE = compiled(r"\b in \s (?:my|his|her|their|your) \s (?:(?:early|mid|late)[\s-])? (?P<value>[2-9]0'?s|teens)\b")


class ApposedAges:
    """The news' way to tell an age: a name, a comma, the number, a comma. After a month the number is a day."""

    needs = Needs(digits=2)
    id = "age/apposed"
    version = "1"
    entity = "AGE"

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        people = [(e.start_char, e.end_char) for e in named_entities(doc) if e.label_ == "PERSON"]
        for match in matches(_AGE_APPOSED, text):
            start, end = match.span("value")
            if any(b <= start <= b + 2 for _, b in people):
                yield Hit(self.entity, start, end, 0.5, self.id, self.version)


def age_rules() -> tuple[Rule, ...]:
    def rule(name: str, pattern: Any, score: float) -> PatternRule:
        return PatternRule(f"age/{name}", "1", "AGE", pattern, score)

    return (
        rule("old", _AGE_OLD, 0.8),
        rule("named", _AGE_NAMED, 0.7),
        rule("said", _AGE_SAID, 0.5),
        rule("decade", _AGE_DECADE, 0.5),
        ApposedAges(),
    )
