"""Companies, authorities and institutions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.model_entities import ModelEntities
from redaction.recognizers.rule import CASE, Hit, Rule, compiled, matches

__all__ = ["organization_rules"]

_NAME = r"(?:\p{Lu}[\p{L}\p{M}\d.'’&-]*)"
_LINK = r"(?:[ ](?:(?:of|the|and|for|de|du|des|der|di|y|et|&|und)[ ]){0,2}|,[ ])"
_LEGAL = (
    r"(?:Inc|LLC|L\.L\.C|LLP|LP|Ltd|Limited|PLC|plc|Corp|Corporation|Co|Company|GmbH|AG|KG|KGaA|SE|e\.V|OHG|UG|SA|S\.A|SAS|SARL|S\.à[ ]r\.l"
    r"|SpA|S\.p\.A|SRL|S\.r\.l|Srl|SL|S\.L|NV|N\.V|BV|B\.V|AB|ASA|A/S|ApS|Oy|Oyj|OÜ|AS|Sp\.[ ]z[ ]o\.o|Kft|Zrt|d\.o\.o|s\.r\.o|a\.s"
    r"|Pty|Pvt|K\.K|KK|Bhd|Sdn|Ltda|Tbk|PT|JSC|OJSC|OOO|PJSC)"
)
_KIND = (
    r"(?:Group|Holdings?|Partners|Associates|Industries|Enterprises|Technologies|Technology|Systems|Solutions|Services|Consulting"
    r"|Consultants|Consultancy|Capital|Ventures|Investments|Bank|Insurance|Assurance|Mutual|Financial|Pharmaceuticals|Pharma"
    r"|Laboratories|Labs|Software|Networks|Media|Entertainment|Pictures|Studios|Records|Airlines|Airways|Motors|Automotive|Energy"
    r"|Petroleum|Electric|Electronics|Foods|Brewery|Logistics|Foundation|Institute|University|College|School|Academy|Hospital|Clinic"
    r"|Medical[ ]Center|Church|Museum|Library|Orchestra|Association|Society|Union|Federation|Council|Committee|Commission|Agency"
    r"|Authority|Ministry|Department|Bureau|Trust|Club|League|Times|Post|Herald|Tribune|Journal|Gazette|Brothers|Bros|Sons"
    r"|Hotel|Resort|Restaurant|Analytics|Dynamics|Robotics|Biotech|Therapeutics|Semiconductor|Semiconductors|Telecom|Communications)"
)
_LEGAL_FORM = compiled(rf"(?<![\w@./]) (?P<value> {_NAME} (?:{_LINK}{_NAME}){{0,4}} ,?[ ]{_LEGAL}\.? ) (?![\w@])", CASE)
_NAMED_KIND = compiled(rf"(?<![\w@./]) (?P<value> {_NAME} (?:{_LINK}{_NAME}){{0,4}} [ ]{_KIND} ) (?![\w@])", CASE)
_KIND_OF = compiled(
    rf"(?<![\w@./]) (?P<value> {_KIND} [ ](?:of|for|at)[ ](?:the[ ])? {_NAME} (?:[ ]{_NAME}){{0,3}} ) (?![\w@])", CASE
)
_SURNAMES = compiled(
    r"(?<![\w@./]) (?P<value> \p{Lu}[\p{L}'-]+ (?:,[ ]\p{Lu}[\p{L}'-]+){0,3} ,?[ ](?:and|&)[ ] \p{Lu}[\p{L}'-]+ ) (?![\w@])", CASE
)
_EMPLOYED = compiled(
    rf"\b(?:(?i:work(?:s|ed|ing)?[ ](?:for|at|with)|employed[ ](?:by|at)|employee[ ](?:of|at)|joined|founded|acquired[ ](?:by)?|hired[ ]by"
    rf"|C[EFTO]O[ ](?:of|at)|founder[ ]of|company[ ](?:is|called|named)|(?:company|organi[sz]ation|employer|vendor|service_name|firm)[:=]"
    rf"|invest(?:ed|s)?[ ]in|shares[ ](?:of|in)|subsidiary[ ]of|offices[ ]of|customer[ ]of|intern(?:ed|ship)?[ ]at)) [ ]{{1,2}}(?:the[ ])?"
    rf" (?P<value> {_NAME} (?:{_LINK}{_NAME}){{0,3}} ) (?![\w@])",
    CASE,
)


class NamedCompanies:
    """A legal form (`GmbH`, `Inc.`), a kind of institution (`University`), or a place where people are employed."""

    id = "organization/named"
    version = "1"
    entity = "ORGANIZATION"

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        if not any(c.isupper() for c in text):
            return
        for pattern, score in ((_LEGAL_FORM, 0.8), (_NAMED_KIND, 0.6), (_KIND_OF, 0.6), (_EMPLOYED, 0.6)):
            for match in matches(pattern, text):
                start, end = self._without_opening(text, *match.span("value"))
                if end > start:
                    yield Hit(self.entity, start, end, score, self.id, self.version)

    def _without_opening(self, text: str, start: int, end: int) -> tuple[int, int]:
        """Without common words (`The`, `At`) that a sentence begins with."""
        while start < end:
            word = text[start:end].split(" ")[0]
            if not self._lexicon.is_common(word.strip(",.")):
                break
            start = min(end, start + len(word) + 1)
        return start, end


def organization_rules(lexicon: Lexicon) -> tuple[Rule, ...]:
    return (ModelEntities("ORGANIZATION", lexicon), NamedCompanies(lexicon))
