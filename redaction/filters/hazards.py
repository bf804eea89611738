"""Hazards in MLCommons' AILuminate codes: a lexicon that only flags, and a scorer of somebody's own that may decide.

The lexicon is words, not meaning: it flags the nurse's question about an overdose with the rest. English only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache

from distill_gov.records.errors import DistillGovError
from redaction.filters.hits import FAILED, Tag
from redaction.filters.ngrams import visible
from redaction.filters.plugins import HazardScorer
from redaction.filters.policy import HAZARDS, HazardRule

__all__ = ["LEXICON_VERSION", "hazard_codes", "lexicon", "scored"]

LEXICON_VERSION = "1"

_CHILD = (
    r"(?:child(?:ren)?|kids?|minors?|toddlers?|schoolgirls?|schoolboys?|under\s?age\w*|pre-?teens?|\d{1,2}[\s-]year[\s-]olds?"
    r"|(?:young|little)\s+(?:girls?|boys?))"
)
_SEXUAL = (
    r"(?:sex\w*|porn\w*|nud(?:e|es|ity)|naked|erotic\w*|orgasm\w*|undress\w*|penis|vagina|dick|boner|romantic\s+love|grop\w+)"
)
_PERSON = (
    r"(?:him|her|them|someone|somebody|people|(?:my|your|his|her|their|our|a|the|an)\s+(?:\w+(?:'s)?\s+){0,2}"
    r"(?:wife|husband|ex|girlfriend|boyfriend|partner|neighbou?rs?|roommate|flatmate|boss|chef|colleague|coworker"
    r"|co-worker|teacher|sister"
    r"|brother|mother|father|grand\w+|landlord|tenant|friend|daughter|son|man|woman|guy|girl|kid|child|witness|dog|cats?"
    r"|family|person))"
)

# One pattern a code; each alternative is a few words, so that a word of two meanings needs its company.
_LEXICON = {
    "vcr": rf"""
        (?:kill|murder|stab|strangle|behead|assassinat|lynch|maim|mutilat|electrocut|torture|kidnap|abduct|poison|shoot|drown
          |suffocat)
          (?:e|ing|ed|s|ning)?\s+{_PERSON}
      | (?:hurt|harm|injure|beat|push|punch|attack|threaten|burn|drug)(?:ing|s)?\s+(?:up\s+)?{_PERSON}
      | physically\s+hurt\w* | break\s+(?:someone|somebody|his|her|their)(?:'s)?\s+(?:jaw|arms?|legs?|neck|nose|fingers?
        |bones?)
      | (?:hire|pay|find)\s+(?:a\s+)?(?:killer|hit\s?man|assassin) | hit\s?man | contract\s+killing | firearms? | rifles?
        | pistols? | (?:hand|shot)?guns?\b | weapons?\b | ammunition
        | get\s+away\s+with\s+murder
      | (?:terror(?:ist)?|knife|acid|gun)\s+attacks? | mass\s+shooting | shoot\s+up\s+(?:a|the|my) | (?:hide
        |dispose\s+of)\s+(?:a|the)\s+body
      | (?:hiding|hide|carry|smuggle|bring)\s+(?:\w+\s+){{0,2}}(?:knife|gun|weapon)s?\b | knock\s+(?:a|the
        |some)\w*\s+\w+\s+out
      | make\s+(?:her|him|them)\s+pass\s+out | spike\s+(?:\w+\s+){{0,2}}drinks? | poison\w*\s+(?:\w+\s+){{0,4}}(?:tea|coffee
        |food|drink|bait)
      | which\s+poison | (?:lethal|untraceable|3d[\s-]?print\w*|ghost)\s+(?:\w+\s+)?guns? | animal\s+cruelty
        | people\s+(?:be\w+\s+)?(?:beheaded|killed)
    """,
    "ncr": r"""
        (?:hack|break|crack|get)\w*\s+in(?:to|side)\s+(?:\w+(?:'s)?\s+){0,4}(?:accounts?|e-?mails?|phones?|laptops?
          |computers?|servers?|servr|networks?|wi-?fi
          |cameras?|routers?|databases?|systems?|houses?|homes?|cars?|shops?)
      | hack(?:ing|ers?|ed)\b | crack\w*\s+(?:the\s+|a\s+)?passwords? | brute[\s-]?forc\w+ | (?:ransom|mal|spy)ware
        | key\s?loggers? | botnets? | ddos
      | (?:write|make|build|code|spread)\s+(?:me\s+)?(?:a\s+)?(?:computer\s+)?virus | (?:spear\s+)?phish\w*
        | credential\s+stuffing
      | (?:steal(?:s|ing)?|stole|stolen|thief|thieves|theft|rob(?:s|bed|bing|bery|beries)?|shop-?lift\w*|burgl\w+
          |loot(?:ed|ing)|pick-?pocket\w*)\b | illegal(?:ly)? | fraud\w* | swindl\w+ | forg(?:e|ed|ing|ery)\b
      | (?:trick|con|deceiv|rip)\w*\s+(?:\w+\s+){0,4}(?:out\s+of|into\s+(?:paying|giving|sending)|off)\b | heist | hot-?wire
      | (?:fake|false|forg\w+|counterfeit\w*|backdat\w+|falsif\w+|bogus)\s+(?:\w+\s+){0,3}(?:invoices?|receipts?|ids?
        |passports?|licen[cs]es?|documents?|money
          |notes?|cards?|certificates?|charit\w+|reviews?|votes?|tickets?|qr\s+codes?|cigarettes?|prescriptions?
          |\w*\s?business)
      | counterfeit\w* | launder\w*\s+(?:\w+\s+){0,2}(?:money|cash) | money\s+launder\w* | embezzl\w+ | (?:evad\w+|cheat\w*
        |dodg\w+)\s+(?:\w+\s+){0,3}tax\w*
      | tax\s+evasion | hide\s+my\s+income | insurance\s+fraud | (?:commit|it'?s)\s+fraud | scam(?:s|ming|med|mers?)?\b
        | (?:ponzi|pyramid)\s+scheme
      | cheat\w*\s+(?:\w+\s+){0,3}(?:insurance|donors?|shop|tax\s+office|money) | exploit\w*\s+(?:them\s+
        |\w+\s+){0,2}for\s+(?:money|cash)
      | blackmail\w* | extort\w* | brib(?:e|es|ing|ery) | arson | burn\s+down | (?:buy|sell|get|find|score|order|send|cook
        |make|hide|bak\w+)\s+(?:\w+\s+){0,5}
          (?:cocaine|heroin|meth\w*|crack|mdma|ecstasy|lsd|ketamine|fentanyl|weed|cannabis|steroids|illegal\s+\w*\s*drugs
            |prescription\s+drugs)
      | drug\s+deal\w* | illegal\s+(?:\w+\s+)?drugs | dark\s?(?:net|web) | black\s+market | background\s+checks?
        | without\s+(?:getting|being)\s+caught
      | alcohol\s+for\s+under\s?age | rig\w*\s+(?:\w+\s+){0,3}election | human\s+traffick\w+ | smuggl\w+
      | convinc\w+\s+(?:a\s+)?stranger\s+to\s+(?:give|send) | identity\s+theft | take\s+out\s+a\s+loan\s+as
    """,
    "src": r"""
        rap(?:e|es|ed|ing|ist)\b | sexual(?:ly)?\s+(?:assault|abus|harass|coerc|exploit)\w* | (?:sex
          |prostitut\w+)\s+traffick\w+ | grop(?:e|ed|ing)\s+(?:her|him|women|girls?)
      | upskirt\w* | revenge\s+porn | without\s+(?:her|his|their)\s+consent | date[\s-]rape | force\s+(?:her|him
        |them)\s+to\s+(?:have\s+sex|undress)
    """,
    "cse": rf"""
        {_CHILD}\W+(?:\w+\W+){{0,12}}?{_SEXUAL} | {_SEXUAL}\W+(?:\w+\W+){{0,12}}?{_CHILD} | p(?:a?edo\w*)\b
          | child\s+(?:abuse|sex\w*)\s+(?:images?|materials?|videos?)
      | groom(?:ing)?\s+(?:a\s+)?{_CHILD} | csam
    """,
    "dfm": r"""
        defam\w+ | libel\w* | slander\w* | smear\s+campaign | (?:false|fake|made[\s-]?up)\s+(?:\w+\s+){0,2}(?:article
          |rumou?rs?|accusations?|story|stories|claims?)
          \s+(?:\w+\s+){0,3}(?:that|about|of) | spread\s+(?:lies|rumou?rs) | (?:want|make|see)\s+(?:him|her
            |them)\s+(?:\w+\s+)?ruined | ruin\s+(?:his|her|their)\s+reputation
    """,
    "spc_fin": r"""
        (?:should|shall)\s+i\s+(?:invest|buy|sell|put|borrow)\s+(?:\w+\s+){0,6}(?:shares?|stocks?|crypto\w*|bitcoin|savings
          |pension|mortgage|funds?|options)
      | guaranteed\s+(?:returns?|profits?) | (?:which|what)\s+(?:stocks?|shares?|crypto\w*)\s+(?:should|to|will)
        | all\s+(?:of\s+)?my\s+savings
    """,
    "spc_hlt": r"""
        (?:what|which|how\s+(?:much|many))\s+(?:\w+\s+){0,4}(?:dos(?:e|age)|mg|pills|antibiotics?|insulin|medication)\b
      | (?:stop|skip|double|halve)\s+(?:taking\s+)?(?:my|his|her)\s+(?:medication|medicine|insulin|pills|antidepressants?)
        | diagnos(?:e|is)\s+(?:me|my)
      | (?:cut|pull|stitch|sew)\w*\s+(?:out\s+|up\s+)?(?:\w+(?:'s)?\s+){0,3}(?:tooth|teeth|wound|tumou?r|mole)\b | (?:cure
        |treat)\s+(?:\w+\s+){0,2}cancer
    """,
    "spc_ele": r"""
        (?:where|when|how)\s+(?:do|can|should)\s+i\s+(?:vote|register\s+to\s+vote) | polling\s+(?:place|station)s?
          | who\s+should\s+i\s+vote\s+for
      | (?:postal|mail[\s-]?in|absentee)\s+(?:votes?|ballots?) | (?:stop|keep|discourage)\s+(?:\w+\s+){1,3}from\s+voting
        | voter\s+suppression | election\s+(?:fraud|day)
    """,
    "spc_lgl": r"""
        (?:can|could|should|shall)\s+i\s+sue | (?:is\s+it|am\s+i)\s+(?:legally|liable) | (?:plead
          |pleading)\s+(?:not\s+)?guilty | custody\s+(?:battle|of)
      | represent\s+myself\s+in\s+court | (?:write|draft)\s+(?:me\s+)?(?:a|my)\s+(?:will|lawsuit|contract)\b | legal\s+advice
    """,
    "prv": rf"""
        dox(?:x?ed|x?ing|x)?\b | stalk\w* | spy(?:ing)?\b | snoop\w* | eavesdrop\w* | wire-?tap\w* | bug(?:ging)?\s+(?:his
          |her|their|the) | spy(?:ing|ware)?\s+on | spy\s?cam\w* | hidden\s+camera | (?:track|follow|watch
          |monitor|listen\s+to|record|film)\w*\s+{_PERSON}
          (?:'s|s)?\s+(?:\w+\s+){{0,8}}?(?:secre\w*|car|phone|without|messages|calls) | behind\s+(?:her|his|their)\s+back
            | (?:in\s+secre?i?t|secretly)
      | (?:she|he|they)\s+(?:must|should|may)\s?(?:not|n't|n’t)\s+(?:find\s+out|know|notice) | without\s+(?:her|him|them|his
        |their|anyone|anybody)\s+(?:\w+\s+)?know\w*
      | (?:find|give|get|tell|look\s+up|dig)\s+(?:me\s+|out\s+|up\s+)*(?:his|her|their|{_PERSON}'s)\s+(?:home\s+)?(?:address
        |phone\s+number|medical|bank|password|secrets?)
      | (?:someone|somebody)\s+else'?s?\s+(?:account|address|data|messages|password) | (?:show|give|send
        |read)\s+(?:me\s+)?(?:\w+\s+)?(?:neighbou?r|wife|husband|ex|boss|sister)
          (?:'?s)?\s+\w+ | facial\s+recognition | identify\s+the\s+(?:woman|man|person|girl) | collect\s+faces
    """,
    "ipv": r"""
        pirat(?:e|ed|ing)\s+(?:\w+\s+){0,3}(?:movies?|films?|music|games?|software|copy|copies|streams?|books?)
          | torrents?\b | crack(?:ed|s)?\s+(?:\w+\s+){0,2}(?:software|licen[cs]e|version)
      | (?:licen[cs]e|serial|activation)\s+keys?\s+(?:generator|for\s+free) | key\s?gens? | bypass\s+(?:the\s+)?(?:drm
        |copy\s+protection|paywall)
      | (?:full|entire|whole|complete)\s+(?:text|lyrics|book|chapter|script)\s+of | copyright\s+infring\w+
        | sell\s+(?:\w+\s+){0,3}(?:knock-?offs?|replicas?)
    """,
    "iwp": r"""
        (?:pipe|fire|petrol|nail|dirty|parcel|letter|car|suicide|fertili[sz]er)?\s*-?\s?bombs?\b | explosives? | detonat\w+
          | grenades? | molotov\w* | gunpowder | thermite | napalm
      | (?:nerve|mustard|poison|chlorine|sarin|toxic)\s+gas | nerve\s+agent | sarin | ricin | anthrax | botulinum
        | bio-?weapons? | chemical\s+weapons?
      | (?:enrich\w*|weapons?-grade)\s+(?:uranium|plutonium) | nuclear\s+(?:bomb|weapon)s? | (?:build|built|make|need
        |get)\s+(?:\w+\s+){0,4}silencers?
    """,
    "hte": r"""
        (?:hate|racist|sexist|homophobic|antisemitic|islamophobic|xenophobic|bigoted)\s+(?:speech|jokes?|post|posts|leaflet
          |flyer|slogans?|insults?|mail|message|song)
      | ethnic\s+cleansing | (?:white|racial)\s+(?:power|supremac\w+) | sub-?human | vermin | (?:insults?|jokes?|slurs?
        |mock\w*)\s+(?:\w+\s+){0,5}(?:disabled|muslims?|jews?|jewish|black
          |gays?|lesbians?|trans\w*|immigrants?|refugees?|foreigners?|women|roma) | (?:all|these|those)\s+(?:muslims|jews
          |blacks|gays|immigrants|refugees|foreigners|women)\s+(?:are|should|must)
      | go\s+back\s+to\s+(?:your|their)\s+(?:own\s+)?country | kill\s+all\s+\w+
    """,
    "ssh": r"""
        suicid\w* | (?:kill|hang|cut|harm|hurt|starve|burn)(?:ing|ting)?\s+my\s?self | self[\s-]?harm\w*
          | end(?:ing)?\s+(?:my|it|this)\s+(?:own\s+)?(?:life|all)\b | take\s+my\s+(?:own\s+)?life
      | over-?dos\w+ | (?:want|wish|rather)\s+(?:to\s+|i\s+(?:was|were)\s+)?(?:be\s+)?(?:die|dead)\b
        | don'?t\s+want\s+to\s+live | worth\s+(?:me\s+)?(?:being\s+alive|living)
      | (?:burn|cut)\w*\s+my\s+(?:skin|wrists?|arms?) | anorexi\w* | bulimi\w* | pro-?ana | thinspo | binge\s+eat\w*
        | vomit\w*\s+(?:it|my)\s | stop\s+(?:myself\s+)?(?:from\s+)?eating
      | so\s+skinny | jump\w*\s+off\s+(?:a|the)\s+(?:bridge|roof|building)
    """,
    "sxc_prn": r"""
        porn\w* | hard-?core\s+sex | erotic\w*\s+(?:story|stories|scene|roleplay|fiction) | (?:explicit|graphic)\s+sex\w*
          | sexts?\b | sexting | nudes\b | nude\s+(?:pictures?|photos?|pics?|images?)
      | dirty\s+talk | blow\s?job | orgasm\w* | masturbat\w* | escort\s+service | only\s?fans
    """,
}  # fmt: skip


@cache
def _pattern(code: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_LEXICON[code]})", re.IGNORECASE | re.VERBOSE)


def hazard_codes(text: str, codes: Collection[str] = HAZARDS) -> tuple[str, ...]:
    """The hazards whose words stand in a text, in the taxonomy's order."""
    plain = visible(text).replace("\u2019", "'")
    return tuple(code for code in HAZARDS if code in codes and _pattern(code).search(plain))


def lexicon(rule: HazardRule) -> Callable[[str], Iterator[Tag]]:
    """What flags a text's hazards by their words, and never drops."""
    return lambda text: (Tag(code, action="flag") for code in hazard_codes(text, frozenset(rule.codes)))


def scored(rule: HazardRule, scorer: HazardScorer) -> Callable[[str], Iterator[Tag]]:
    """What a scorer says: the codes at the threshold or over it.

    One that fails, or says what is no probability, drops the item.
    """
    codes = frozenset(rule.codes)

    def tags(text: str) -> Iterator[Tag]:
        try:
            scores = {code: float(value) for code, value in scorer.score(text).items()}
        except DistillGovError:
            raise
        except Exception:
            # Whatever it says is not repeated: it may quote the text.
            yield Tag(FAILED, action="drop")
            return
        if not all(code in HAZARDS and 0 <= value <= 1 for code, value in scores.items()):
            yield Tag(FAILED, action="drop")
            return
        yield from (
            Tag(code, round(scores[code], 4)) for code in HAZARDS if code in codes and scores.get(code, 0) >= rule.threshold
        )

    return tags
