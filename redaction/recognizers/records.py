"""Numbers that offices keep people under: bank accounts, patients, health insurance, driving and medical licences."""

from __future__ import annotations

from redaction.recognizers.checksums import aba_valid, dea_valid, npi_valid
from redaction.recognizers.rule import PatternRule, Rule, compiled

__all__ = ["bank_account_rules", "driver_license_rules", "medical_rules"]

# `account:`, `account no. is`, `Konto-Nr`: what stands between the word and the number.
_JOIN = (
    r"[\"']? (?: \s? (?:no\b|nr\b|num(?:ber)?s?\b|n[º°]|id\b|code\b|\#)\.? )? [\"'\s]{0,2} (?: [:=\#>]{1,2} | \b(?:is"
    r"|was|ist|es|est|è|of)\b | \s? )"
)
_JOIN = rf"(?: {_JOIN} \s? [\"'(\[\#]? )"

_ACCOUNT = compiled(
    r"\b (?: (?:bank|checking|chequing|savings|current|deposit|brokerage|beneficiary|debit|giro|client|my|joint|wire)[ _-]? )?"
    r" (?: accounts? | acct | acc(?=[\s.:]) | a/c | konto(?:nummer)? | kto | compte | cuenta | conto(?:\scorrente)? "
    r"| rekening(?:nummer)? | bankgiro"
    rf" | plusgiro | account_number ) \.? (?:\s(?:ending\s(?:in|with)|with|held|at\s\p{{L}}+))? {_JOIN}"
    r" (?P<value> \d{6,18} | \d{2,6}(?:[ -]\d{2,8}){1,4} | (?:x{2,}|\*{2,})[x*\s-]{0,12}\d{3,4} ) (?![\w]|[.,/-]\d"
    r"|\s?(?:usd|eur|gbp|dollars?|%))"
)
_LABELLED = compiled(
    rf"\b (?: iban | bban | clabe | cbu | cvu | account[ _-]?(?:number|no|num|nr) | acct[ _-]?(?:number|no|num|nr)\.? "
    rf"| bank[ _-]?account ) {_JOIN}"
    r" (?P<value> (?=[a-z]{0,4}[ -]?\d{2})[a-z0-9]{5,34}(?:[ -][a-z0-9]{2,8}){0,8} ) (?![\w]|[.,]\d)"
)
_ROUTING = compiled(
    rf"\b (?: routing | aba | rtn | transit | fedwire | ach ) (?:[ /-](?:transit|routing"
    rf"|aba))? {_JOIN} (?P<value>\d{{9}}|\d{{5}}-\d{{3}}|\d{{4}}-\d{{4}}-\d) (?!\w)"
)
_ROUTING_NEAR = compiled(r"\b(?:routing|aba|rtn|wire|transit|bank)\b [^\n]{0,60} $")
_NINE = compiled(r"(?<![\w.,+-]) \d{9} (?![\w]|[.,-]\d)")
_SORT = compiled(rf"\b sort[ -]?code {_JOIN} (?P<value>\d{{2}}[ -]?\d{{2}}[ -]?\d{{2}}) (?!\w|-\d)")
_SORT_THEN = compiled(
    r"(?<![\w-]) \d{2}-\d{2}-\d{2} [\s,/]{1,3} (?:a(?:ccoun|cc?)t?(?:\sno\.?|\snumber)?[:\s]{0,3})? (?P<value>\d{8}) (?![\w-])"
)
_BSB = compiled(
    rf"\b (?: bsb | ifsc | blz | bankleitzahl | institution | clearing ) {_JOIN} (?P<value>\d{{3}}[ -]?\d{{3}}"
    rf"|[a-z]{{4}}0[a-z0-9]{{6}}|\d{{3}}\s?\d{{3}}\s?\d{{2}}|\d{{3,5}}) (?![\w-])"
)
_BIC = compiled(
    rf"\b (?: bic | swift )(?:\s?/\s?(?:bic|swift))? (?:\scode)? {_JOIN}"
    rf" (?P<value>[a-z]{{6}}[a-z0-9]{{2}}(?:[a-z0-9]{{3}})?) (?!\w)"
)
_SWIFT_WORDS = frozenset({"transfer", "payments", "response", "messages", "delivery", "decision", "standard", "software"})


def _no_swift_word(value: str) -> bool:
    return value.isupper() or (any(c.isdigit() for c in value) and value.casefold() not in _SWIFT_WORDS)


def bank_account_rules() -> tuple[Rule, ...]:
    entity = "BANK_ACCOUNT"
    return (
        PatternRule(
            "bank_account/named",
            "1",
            entity,
            _ACCOUNT,
            0.6,
        ),
        PatternRule("bank_account/labelled", "1", entity, _LABELLED, 0.6),
        PatternRule("bank_account/routing", "1", entity, _ROUTING, 0.8),
        PatternRule("bank_account/aba", "1", entity, _NINE, 0.6, aba_valid, _ROUTING_NEAR, None, 80),
        PatternRule("bank_account/sort_code", "1", entity, _SORT, 0.8),
        PatternRule("bank_account/after_sort_code", "1", entity, _SORT_THEN, 0.6),
        PatternRule("bank_account/branch", "1", entity, _BSB, 0.7),
        PatternRule("bank_account/bic", "1", entity, _BIC, 0.7, _no_swift_word),
    )


_RECORD = compiled(
    r"\b (?: mrn | m\.r\.n\. | med(?:ical)?[ ._-]?rec(?:ord)?s? | (?:patient|chart|encounter|visit|admission|hospital"
    r"|clinic|specimen|accession"
    r"|prescription|rx|claim|referral|health(?:[ ._-]?(?:card|plan|record))?)(?=[ ._-]?(?:id|no|nr|number|num|\#"
    r"|:\s?\#?\d)) | hicn | nhi | ehr | emr | phn | ohip"
    rf" | patienten(?:nummer|-?nr|-?id) | fallnummer | historia\scl[ií]nica | cartella\sclinica | dossier\spatient )"
    rf" (?:[ ._-](?:id|no|nr|number|num))?s? {_JOIN} (?P<value>(?=[a-z-]{{0,6}}\d)[a-z0-9]{{1,14}}"
    rf"(?:[-/][a-z0-9]{{1,12}}){{0,4}}|\d{{2,4}}(?:\s\d{{2,4}}){{1,4}}) (?![\w]|[.,]\d)"
)
_MRN = compiled(
    r"(?<![\w-]) (?:mrn|pat|pid|emr|ehr)[-_:\# ]{1,2} (?=[a-z0-9-]*\d{3}) [a-z0-9]{3,14}(?:-[a-z0-9]{1,8}){0,3} (?![\w-])"
)
_INSURANCE = compiled(
    r"\b (?: (?:(?:health|medical|dental)\s(?:insurance|plan|cover)|insurance|insured|insurer|medicare|medicaid"
    r"|member(?:ship)?|subscriber|beneficiary|policy"
    r"|policyholder|enrollee|group|health\scard|hmo|ppo)(?:\s(?:insurance|card|policy|member|plan))? [ _-]?(?:id|no\b"
    r"|nr\b|number|num|\#) | medicare | medicaid"
    r" | mbi | krankenversicherungs?(?:nummer|-?nr)\.? | versicherten(?:nummer|-?nr)\.? | kvnr | tessera\ssanitaria "
    r"| carte\svitale"
    rf" | tarjeta\ssanitaria ) {_JOIN} (?P<value>(?:[a-z]{{2,4}}[ ])?(?=[a-z-]{{0,6}}\d)[a-z0-9]{{2,16}}(?:[ -]"
    rf"(?=[a-z]{{0,3}}\d)[a-z0-9]{{1,10}}){{0,4}}) (?![\w]|[.,]\d)"
)
# CMS: positions of digits and letters of the Medicare beneficiary identifier; S, L, O, I, B and Z never occur.
_MBI = compiled(
    r"(?<![\w-]) [1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?"
    r"[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}"
    r" (?![\w-])",
    0,
)
_KVNR = compiled(r"(?<!\w) [A-Z]\d{9} (?!\w)", 0)
_INSURANCE_NEAR = compiled(r"(?: versicher | krankenkasse | insur | medicare | health | patient ) [^\n]{0,60} $")

_DEA = compiled(r"(?<![\w-]) [abcdefghjklmprstux][a-z9]\d{7} (?![\w-])")
_NPI = compiled(rf"\b (?: npi | national\sprovider\s(?:id\w*|number) ) {_JOIN} (?P<value>\d{{10}}) (?!\w)")
_MEDICAL_LICENSE = compiled(
    r"\b (?: (?:medical|physician|nurs(?:e|ing)|pharmac(?:y|ist)|dental|dea|gmc|nmc|doctor'?s?)\s(?:(?:state"
    r"|board)\s)?(?:licen[cs]e|registration|reg|cert(?:ificate)?|number|no\b)"
    rf" | dea | gmc | lanr | approbation ) {_JOIN} (?P<value>(?=[a-z.-]{{0,5}}\d{{3}})[a-z0-9]{{1,6}}"
    rf"(?:[.-]?[a-z0-9]{{1,10}}){{0,3}}) (?![\w]|[.,]\d)"
)

_LICENSE_WORDS = compiled(
    r"(?: driv(?:er'?s?|ing)\s?(?:'s)?\s?(?:li[cs]en[cs]e|permit|lic\b) | dl\b | d/l\b | führerschein\w* | permis\sde\sconduire"
    r" | (?:licencia|carn[eé]t|permiso)\sde\sconduc\w* | patente(?:\sdi\sguida)? | rijbewijs\w* | prawo\sjazdy "
    r"| carta\sde\scondução | cnh\b | licen[cs]e\s(?:no|num)\w* )"
    r" [^\n]{0,40} $"
)
_LICENSE_VALUE = compiled(
    r"(?<![\w-]) (?=[a-z0-9 -]{0,12}\d{2}) (?: [a-z]{1,5}[ -]?\d{3,14}[a-z0-9]{0,6} | \d{6,16}[a-z]{0,2} "
    r"| [a-z0-9]{2,6}(?:-[a-z0-9]{2,7}){1,4}"
    r" | [a-z]{5}\d{6}[a-z0-9]{5} | (?=[a-z0-9]*\d[a-z0-9]*\d)[a-z0-9]{7,18} | \d{2,4}(?:[ ]\d{2,4}){1,4} "
    r"| \d{2}[ ][a-z]{2}[ ]\d{5} ) (?![\w-])"
)


def medical_rules() -> tuple[Rule, ...]:
    record, license_ = "MEDICAL_RECORD", "MEDICAL_LICENSE"
    return (
        PatternRule("medical_record/mrn", "1", record, _MRN, 0.8),
        PatternRule("medical_record/named", "1", record, _RECORD, 0.7),
        PatternRule("medical_record/insurance", "1", record, _INSURANCE, 0.6),
        PatternRule("medical_record/mbi", "1", record, _MBI, 0.8),
        PatternRule("medical_record/kvnr", "1", record, _KVNR, 0.7, None, _INSURANCE_NEAR, None, 80),
        PatternRule("medical_license/dea", "1", license_, _DEA, 0.8, dea_valid),
        PatternRule("medical_license/npi", "1", license_, _NPI, 0.8, npi_valid),
        PatternRule("medical_license/named", "1", license_, _MEDICAL_LICENSE, 0.7),
    )


def driver_license_rules() -> tuple[Rule, ...]:
    return (PatternRule("driver_license/named", "1", "DRIVER_LICENSE", _LICENSE_VALUE, 0.7, None, _LICENSE_WORDS, None, 70),)
