"""Names of persons: spaCy's entities, given names, and the places in a message where people put their name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redaction.casing import seen_by_model
from redaction.recognizers.capitals import UnknownCapitals
from redaction.recognizers.lexicon import Lexicon
from redaction.recognizers.model_entities import ModelEntities
from redaction.recognizers.named_entities import named_entities
from redaction.recognizers.rule import CASE, TIMEOUT_S, Hit, Rule, compiled, matches

__all__ = ["name_rules"]

_PARTICLE = r"(?i:van|von|de|den|der|da|di|del|della|dos|du|la|le|el|al|bin|ibn|ter|ten|zu|af|av|mc|mac|st\.|y|e)"
_INITIAL = r"\p{L}\."
_PLAIN = r"\p{L}[\p{L}\p{M}]*(?:['-]\p{L}[\p{L}\p{M}]*)*"
_CAPITAL = r"(?:(?:\p{Lu}'|O'|D')?\p{Lu}[\p{L}\p{M}]+(?:['-]\p{L}[\p{L}\p{M}]+)*)"
_TITLE = (
    r"(?:(?i:dr|prof|mr|mrs|ms|mx|miss|sir|dame|rev|herrn?|frau|sig|sig\.ra|signora?|sra?|se[ñn]ora?|mme|mlle"
    r"|madame|monsieur|pani?|dhr|mevr|mevrouw|meneer)\.?\s)"
)

_SPACE = r"[ \t]+"
_ANY_NAME = (
    rf"{_TITLE}{{0,2}}(?:{_INITIAL}\s?){{0,2}}{_PLAIN}(?:{_SPACE}(?:{_PARTICLE}{_SPACE}){{0,2}}(?:{_PLAIN}|{_INITIAL})){{0,3}}"
)
_CAPITAL_NAME = (
    rf"{_TITLE}{{0,2}}(?:{_INITIAL}\s?){{0,2}}{_CAPITAL}(?:{_SPACE}(?:{_PARTICLE}{_SPACE}){{0,2}}(?:{_CAPITAL}"
    rf"|\p{{Lu}}\.)){{1,3}}"
)

_TITLED = compiled(
    rf"(?<!\w) (?i:dr|prof|mr|mrs|ms|mx|miss|sir|dame|herrn?|frau|signora?|se[ñn]ora?|sra?|mme|madame|monsieur"
    rf"|pani?|dhr|mevr|mevrouw|meneer)\.?{_SPACE}"
    rf"(?P<name>(?:\p{{Lu}}\.\s?){{0,2}}{_CAPITAL}(?:{_SPACE}(?:{_PARTICLE}{_SPACE}){{0,2}}{_CAPITAL}){{0,2}})",
    CASE,
)
_TITLED_LOWER = compiled(
    rf"(?<![\w.]) (?:(?:mr|mrs|ms|dr|prof)\.|mrs?){_SPACE}"
    rf"(?P<name>[\p{{Ll}}\p{{M}}'-]{{3,}}(?:{_SPACE}[\p{{Ll}}\p{{M}}'-]{{3,}})?)(?!\w)",
    CASE,
)
_STRONG_ANCHOR = compiled(
    rf"(?: \b(?:my|his|her|their|the|full|account|customer|card|profile|first|last|family)?\s?(?:name|surname)(?:'s"
    rf"|s)?\s?(?:is|was|should\sbe|on\s\w+(?:\s\w+)?\sis)?\s?[:=]?"
    rf" | \b(?:account\s?holder|card\s?holder|consignee|addressee|recipient|applicant|customer|contact|sender|cc"
    rf"|from|to|attn|kontoinhaber\w*|inhaber|empf[äa]nger|titulaire|titular|intestatario|naam|nom|nombre|nome"
    rf"|imi[eę])\s?(?:is|:|=)"
    rf" | \baccount\s?holder | \bcard\s?holder | \bapplicant | \bname"
    rf" | \bi\s?am\scalled | \bich\shei(?:ß|ss)e | \bmein\sname\sist | \bje\sm'appelle | \bmon\snom\sest "
    rf"| \bme\sllamo | \bmi\snombre\ses | \bmi\schiamo | \bil\smio\snome\sè | \bnazywam\ssię | \bmam\sna\simię"
    rf" | \bik\sheet | \bmijn\snaam\sis | \bme\schamo | \bo\smeu\snome\sé ) \s* [\"'(]? (?-i:(?P<value>{_ANY_NAME})) (?![\w@])"
)
_WEAK_ANCHOR = compiled(
    rf"\b (?: called | named | this\sis | it'?s | it\sis | i'?m | i\sam | im | am | ask\sfor | speak\sto "
    rf"| talk(?:ed)?\s(?:to|with) | spoke\s(?:to|with) | contact(?:\sis)? | dear | hi | hello | hey | signed "
    rf"| signed\sby | says | say | from | to | of | with | by | for | is | he\swas | she\swas"
    rf" | instead\sof | tell | my\s(?:ex|wife|husband|partner|boyfriend|girlfriend|gf|bf|son|daughter|brother"
    rf"|sister|mother|father|mum|mom|dad|boss|colleague|friend|neighbou?r|flatmate|roommate|landlord|cousin|uncle"
    rf"|aunt|lawyer|doctor|manager)"
    rf" | neighbou?r | agent | colleague | technician | courier | driver | hier\s(?:ist|spricht) | ich\sbin "
    rf"| je\ssuis | c'est | soy | sono | ik\sben | jestem | hallo | hola | ciao | bonjour | liebe[r]? "
    rf"| sehr\sgeehrte[r]? | beste | attention ) [\s,:]+ (?-i:(?P<value>{_ANY_NAME})) (?![\w@])"
)
_CLOSING = compiled(
    rf"(?: \b(?:thanks|thank\syou|thx|thanx|ty|tysm|cheers|(?:kind(?:est)?|best|warm|many)?\s?(?:regards|wishes)"
    rf"|best|sincerely|yours(?:\s(?:truly|faithfully|sincerely))?|love|ta|bye|greetings|rgds|br|kr"
    rf"|danke(?:\ssch[öo]n)?|vielen\sdank|(?:viele|liebe|beste|freundliche|mit\sfreundlichen|sch[öo]ne)\sgr[üu](?:ß"
    rf"|ss)en?|gru(?:ß|ss)|lg|vg|mfg|merci(?:\sd'avance|\sbeaucoup)?|cordialement|bien\s[àa]\svous|gracias"
    rf"|(?:un\s)?saludos?(?:\scordiales)?"
    rf"|grazie(?:\smille)?|(?:cordiali\s|distinti\s)?saluti|bedankt|groet(?:en|jes)?"
    rf"|met\svriendelijke\sgroet(?:en)?|mvg|alvast\sbedankt|dzi[eę]kuj[eę]|dzi[eę]ki|pozdrawiam|z\spowa[żz]aniem"
    rf"|obrigad[oa]|cumprimentos|abra[çc]os?)"
    rf"|(?<=[\s.!?])x{{1,3}}) (?:[\s,.!-]+|\s[-/]\s) (?-i:(?P<value>{_ANY_NAME})) (?= \s*(?:$|[.,!\n\ufffc(+\d]|x+\b) )"
)
# A stretch between marks that consists of nothing but a name: at the end of a message, before a phone number, in commas.
_SEGMENT = compiled(
    rf"(?: ^ | (?<=[.!?;:,\n(\"\u2026\ufffc-]) ) [ \t*_~-]{{0,3}} (?P<value>{_ANY_NAME}) [ \t]* (?= $ "
    rf"| [.!?;:,\n)\"\ufffc(+] | [x]{{1,3}}\b | -{{1,2}}\s )",
    CASE,
)
_CAPITAL_RUN = compiled(rf"(?<![\w@./-]) (?P<value>{_CAPITAL_NAME}) (?![\w@]|-\w)", CASE)
_WORD = compiled(rf"(?<![\w@./:=-]) {_PLAIN} (?![\w@/=]|[.:-]\w)", CASE)
_CONTACT_AFTER = compiled(r"[\s,.:;-]* (?: \ufffc | [+(]{0,2}\d[\d\s()./-]{6,} | [\w.+-]+@ )")
_SENDER = compiled(r"(?<![\w.@-]) (?P<value> \p{Lu}\.\s?\p{Lu}[\p{L}'-]{2,} | \p{Ll}\.\s\p{Ll}{4,} ) (?![\w@])", CASE)


_COMPANY = frozenset(
    (
        "ag",
        "bank",
        "bv",
        "cafe",
        "co",
        "company",
        "consulting",
        "corp",
        "dental",
        "design",
        "energy",
        "gmbh",
        "group",
        "hotel",
        "inc",
        "insurance",
        "kft",
        "llc",
        "llp",
        "ltd",
        "media",
        "plc",
        "practice",
        "sa",
        "sarl",
        "school",
        "services",
        "shop",
        "solutions",
        "spa",
        "srl",
        "store",
        "studio",
        "studios",
        "systems",
        "telecom",
        "university",
    )
)
"""Words of a company's name: a run of capitals with one of them is no person, unless something else says so."""


class NameJudge:
    """Says whether a run of tokens is a name, by how the tokens look and what the lexicon knows of them."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    def tokens(self, value: str) -> list[str]:
        return [token.strip(".") for token in value.split() if len(token.strip(".")) > 1]

    def is_unknown(self, token: str) -> bool:
        """Neither an ordinary word, nor shouted, nor camel case: such a token may be a surname."""
        if self.lexicon.is_given_name(token):
            return True
        if self.lexicon.is_technical(token):
            return False
        if any(c.isupper() for c in token[1:]) and not (
            token[:2] in {"Mc", "O'", "D'"} or "-" in token or token.startswith("Mac")
        ):
            return False
        return len(token) > 2 and not self.lexicon.is_word(token)

    def listed(self, value: str) -> bool:
        return any(self.lexicon.is_given_name(token) for token in self.tokens(value))

    def stated(self, value: str) -> bool:
        """After `my name is`: a given name of any kind, or capitals that are no everyday words, or no word at all."""
        tokens = self.tokens(value)
        return bool(tokens) and any(self.lexicon.may_be_given_name(t) or self.is_unknown(t) for t in tokens)

    def placed(self, value: str) -> bool:
        """Standing alone, or after a greeting: the tokens must look like a name by themselves."""
        tokens = self.tokens(value)
        unknown = sum(self.is_unknown(t) for t in tokens)
        capitals = sum(t[0].isupper() for t in tokens)
        if not tokens or any(t.casefold() in _COMPANY for t in tokens):
            return False
        if self.lexicon.is_given_name(tokens[0]):
            return len(tokens) == 1 or unknown + capitals > 1
        if len(tokens) == 1:
            return False
        if capitals == len(tokens):
            return unknown > 0
        return capitals == 0 and unknown == len(tokens) and all(len(t) > 3 for t in tokens)


_NAMED = frozenset({"PERSON", "ORG", "GPE", "NORP", "FAC", "WORK_OF_ART", "PRODUCT", "LOC"})


class SpacyNames:
    """Entities of the spaCy model that hold up against the lexicon.

    The model is trained on edited English: on other languages only runs with a listed given name are believed.
    """

    id = "person/spacy"
    version = "1"
    entity = "PERSON"

    def __init__(self, judge: NameJudge) -> None:
        self._judge = judge

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        entities = [e for e in named_entities(doc) if e.label_ in _NAMED]
        if not entities:
            return
        shown = seen_by_model(text, doc)
        # A model of another language was chosen for the text: it knows it.
        foreign = doc.lang_ == "en" and self._judge.lexicon.language(text) != "en"
        for entity in entities:
            for match in matches(_CAPITAL_RUN, shown[entity.start_char : entity.end_char]):
                start, end = entity.start_char + match.start("value"), entity.start_char + match.end("value")
                if self._believed(match["value"], entity.label_, foreign):
                    yield Hit(self.entity, start, end, 0.7, self.id, self.version)
            said = shown[entity.start_char : entity.end_char]
            if entity.label_ == "PERSON" and len(said.split()) == 1 and said[:1].isupper() and not foreign:
                token = said.removesuffix("'s")
                opens = before(text, entity.start_char, " \t\"'(") in ("", ".", "!", "?", "\n")
                if token.isalpha() and self._judge.is_unknown(token) and (not opens or self._judge.listed(token)):
                    yield Hit(self.entity, entity.start_char, entity.start_char + len(token), 0.5, self.id, self.version)

    def _believed(self, value: str, label: str, foreign: bool) -> bool:
        tokens = self._judge.tokens(value)
        if any(token.casefold() in self._judge.lexicon.allowed for token in tokens):
            return False
        if self._judge.listed(value):
            return True
        if any(token.casefold() in _COMPANY for token in tokens):
            return False
        if label != "PERSON" or foreign:
            return False
        return any(self._judge.is_unknown(t) for t in tokens) or not any(self._judge.lexicon.is_common(t) for t in tokens)


class GivenNames:
    """A listed given name, in either case, with the surname that follows it."""

    id = "person/given_name"
    version = "1"
    entity = "PERSON"

    def __init__(self, judge: NameJudge) -> None:
        self._judge = judge

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        words = list(matches(_WORD, text))
        for index, match in enumerate(words):
            given = self._judge.lexicon.is_given_name(match[0])
            if not given and not (self._judge.lexicon.may_be_given_name(match[0]) and match[0][0].isupper()):
                continue
            end, surnames = self._surnames(text, words, index)
            if given or surnames:
                yield Hit(self.entity, match.start(), end, 0.6, self.id, self.version)

    def _surnames(self, text: str, words: list[Any], index: int) -> tuple[int, int]:
        """End of the name that begins at a word, and how many tokens after it belong to it."""
        capital = words[index][0][0].isupper()
        end = seen = words[index].end()
        taken, initial, linked = 0, False, False
        for word in words[index + 1 : index + 6]:
            if text[seen : word.start()].strip(" \t") not in ("", "." if initial else ""):
                break
            seen, initial = word.end(), len(word[0]) == 1 and word[0].isupper() == capital
            if initial:
                linked = word[0] == "v"
                continue
            if self._judge.lexicon.is_particle(word[0]):
                linked = True
                continue
            joined = linked and word[0][0].isupper() == capital and not self._judge.lexicon.is_common(word[0])
            if not (joined or self._is_surname(word[0], capital)):
                break
            end, taken = word.end(), taken + 1
        return end, taken

    def _is_surname(self, token: str, capital: bool) -> bool:
        if token.casefold() in self._judge.lexicon.allowed or len(token) < 2:
            return False
        if capital:
            return token[0].isupper() and not token.isupper() and not self._judge.lexicon.is_common(token)
        return (self._judge.is_unknown(token) or self._judge.lexicon.is_surname(token)) and len(token) > 3


class PlacedNames:
    """Names where people put them: after `my name is`, in a greeting, a sign-off, between commas, before a phone number."""

    id = "person/placed"
    version = "1"
    entity = "PERSON"

    def __init__(self, judge: NameJudge) -> None:
        self._judge = judge

    def find(self, text: str, doc: Any) -> Iterator[Hit]:
        for match in matches(_TITLED, text):
            if any(not self._judge.lexicon.is_common(token) for token in self._judge.tokens(match["name"])):
                yield self._hit(match.span(), 0.8)
        for match in matches(_TITLED_LOWER, text):
            first, *rest = self._judge.tokens(match["name"])
            if not self._judge.lexicon.is_technical(first):
                named = rest and (self._judge.is_unknown(rest[0]) or self._judge.lexicon.is_surname(rest[0]))
                yield self._hit((match.start(), match.end() if named else match.start("name") + len(first)), 0.6)
        for match in matches(_STRONG_ANCHOR, text):
            yield from self._after_anchor(match, text, 0.8, strong=True)
        for match in matches(_WEAK_ANCHOR, text, overlapped=True):
            yield from self._after_anchor(match, text, 0.6, strong=False)
        for match in matches(_CLOSING, text, overlapped=True):
            if self._closes(match["value"]):
                yield self._hit(match.span("value"), 0.8)
        for match in matches(_SENDER, text):
            if self._judge.stated(match["value"]):
                yield self._hit(match.span("value"), 0.6)
        yield from self._segments(text)

    def _hit(self, span: tuple[int, int], score: float) -> Hit:
        return Hit(self.entity, *span, score, self.id, self.version)

    def _after_anchor(self, match: Any, text: str, score: float, *, strong: bool) -> Iterator[Hit]:
        """The tokens after an anchor, up to the first that belongs to the sentence again."""
        start = match.start("value")
        end, tokens = start, 0
        for word in matches(_WORD, match["value"]):
            token = word[0]
            named = self._judge.is_unknown(token) or (token[0].isupper() and self._judge.lexicon.may_be_given_name(token))
            if strong and tokens == 0:
                named = named or self._judge.lexicon.may_be_given_name(token)
            linked = tokens > 0 and token[0].isupper() and not token.isupper() and not self._judge.lexicon.is_common(token)
            if tokens and self._judge.lexicon.is_particle(token):
                continue
            if not (named or linked):
                break
            if not strong and tokens == 0 and not token[0].isupper() and not self._judge.lexicon.is_given_name(token):
                break
            end, tokens = start + word.end(), tokens + 1
        if not strong and any(t.casefold() in _COMPANY for t in self._judge.tokens(text[start:end])):
            return
        if tokens == 0 or (not strong and tokens == 1 and not self._judge.lexicon.may_be_given_name(text[start:end].strip())):
            return
        yield self._hit((start, end), score)

    def _closes(self, value: str) -> bool:
        tokens = self._judge.tokens(value)
        if not tokens or any(t.casefold() in self._judge.lexicon.allowed for t in tokens):
            return False
        if any(
            t[0].islower() and self._judge.lexicon.is_common(t) and not self._judge.lexicon.is_particle(t) for t in tokens[1:]
        ):
            return False
        known = [self._judge.lexicon.may_be_given_name(t) or self._judge.is_unknown(t) for t in tokens]
        return known[0] or (len(tokens) > 1 and any(known) and all(t[0].isupper() for t in tokens))

    def _segments(self, text: str) -> Iterator[Hit]:
        foreign = self._judge.lexicon.language(text) != "en"
        content_end = len(text.rstrip(" .!\n\tx"))
        for match in matches(_SEGMENT, text, overlapped=True):
            value, tokens = match["value"], self._judge.tokens(match["value"])
            if (
                not tokens
                or self._judge.lexicon.is_common(tokens[0])
                or any(t.casefold() in self._judge.lexicon.allowed for t in tokens)
            ):
                continue
            if any(
                t[0].islower() and self._judge.lexicon.is_common(t) and not self._judge.lexicon.is_particle(t) for t in tokens
            ):
                continue
            listed = self._judge.listed(value)
            contact = _CONTACT_AFTER.match(text, match.end(), timeout=TIMEOUT_S) is not None
            last = match.end() >= content_end
            opens = before(text, match.start("value"), " \t") in ("", ".", "!", "?", "\n", "\ufffc")
            plausible = listed or not foreign or (len(tokens) > 1 and value[0].isupper())
            if ((last and opens) or contact) and plausible and self._alone(value):
                yield self._hit(match.span("value"), 0.7)
            elif self._judge.placed(value) and (listed or (not foreign and len(tokens) > 1 and value[0].isupper())):
                yield self._hit(match.span("value"), 0.5)

    def _alone(self, value: str) -> bool:
        """The last words of a message, or what stands right before a phone number."""
        tokens = self._judge.tokens(value)
        if not tokens:
            return False
        capitals = all(t[0].isupper() for t in tokens if not self._judge.lexicon.is_particle(t))
        unknown = [self._judge.is_unknown(t) for t in tokens]
        if len(tokens) == 1:
            return (
                capitals and (unknown[0] or self._judge.lexicon.may_be_given_name(tokens[0])) and not tokens[0].isupper()
            ) or self._judge.listed(value)
        if capitals:
            return any(unknown) or self._judge.lexicon.may_be_given_name(tokens[0])
        return all(unknown) or self._judge.lexicon.is_given_name(tokens[0])


def before(text: str, end: int, skipped: str) -> str:
    """The last character before a place that is none of the skipped ones; empty where there is none. Copies nothing."""
    while end > 0 and text[end - 1] in skipped:
        end -= 1
    return text[end - 1 : end] if end else ""


def name_rules(lexicon: Lexicon, *, any_name: bool = False) -> tuple[Rule, ...]:
    """Rules of persons.

    Args:
        any_name: the policy takes every kind of name, so that the model's persons need no proof from the lexicon.
    """
    judge = NameJudge(lexicon)
    strict: tuple[Rule, ...] = (SpacyNames(judge), GivenNames(judge), PlacedNames(judge))
    return (*strict, ModelEntities("PERSON", lexicon), UnknownCapitals("PERSON", lexicon)) if any_name else strict
