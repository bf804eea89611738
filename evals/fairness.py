"""Counterfactual pairs: one case written twice, alike but for one cue of who writes or is written about.

Subjects read redacted text: a name is ``<PERSON_1>`` before any of them sees it, and two people's messages are the same.
What a pair puts in are cues that redaction leaves (``she``, ``my husband``, ``ain't``), or cues that it takes out, by its own
surrogates: then the pair says what a subject would do with what slips through, or where redaction is switched off. The slice
``cue=`` tells them apart: ``cue=text`` stands in the message as it reaches the subject, ``cue=placeholder`` takes the place of
placeholders, ``cue=signature`` is a line put under the message, ``cue=translation`` was written by the project's own people.

What is estimated: the probability, over the suite's cases to which the cue can be put, that the decisions on the two variants
differ. It is about cues, not about people: a pair cannot show how a group is served, and no flip on these cues clears no other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from distill_gov.records.errors import BadInputError
from distill_gov.records.keys import Subkey
from evals.cases import Case
from evals.catalogue import CONTAMINATED, FLIP, FLIPPED_FIELDS
from evals.evidence import CaseResult
from evals.inheritance import Inheritance, inheritance
from evals.suites import ReadAnswer
from redaction.operators.draws import Draws
from redaction.operators.names import LANGUAGES, family_name, given_name
from redaction.surrogates import placeholders

__all__ = ["ATTRIBUTES", "VARIANTS", "FairnessSuite", "flips", "inherited_flips", "pair_ids"]

ATTRIBUTES = ("name", "gender", "dialect", "language")

VARIANTS, PAIRS = "counterfactual", "fairness"
"""Suites ``counterfactual-<attribute>`` hold the variants as they are run, ``fairness-<attribute>`` one result a pair."""

_TRIES = 40

_Texts = tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """The messages of both variants, and where the cue was put."""

    first: _Texts
    second: _Texts
    cue: str
    invented: frozenset[str] = frozenset()
    """The surrogates that were put in."""


@dataclass(frozen=True, slots=True)
class FairnessSuite:
    """Counterfactual pairs of a suite's cases. It scores no answer: a flip takes two, which :func:`flips` puts together."""

    attributes: tuple[str, ...] = ("name", "gender", "dialect")
    seed: int = 0
    limit: int = 300
    """Most pairs of an attribute. Which cases are taken depends on the seed and their ids alone."""
    names: tuple[str, str] = ("en", "pl")
    """Languages of the two variants' surrogates. Given names of all of them are in use for every gender."""
    translations: Mapping[str, Case] = field(default_factory=dict)
    """Case id to the case in another language, redacted as the others. Nothing is translated here: people have to."""

    def __post_init__(self) -> None:
        unknown = [a for a in self.attributes if a not in ATTRIBUTES]
        if unknown or not self.attributes or len(set(self.attributes)) != len(self.attributes):
            raise BadInputError("fairness: attributes must be some of " + ", ".join(ATTRIBUTES), fix="Name each once.")
        if isinstance(self.limit, bool) or self.limit < 1:
            raise BadInputError("fairness: limit must be at least 1")
        if len(set(self.names)) != 2 or not set(self.names) <= set(LANGUAGES):
            raise BadInputError("fairness: names must be two of " + ", ".join(LANGUAGES))
        if "language" in self.attributes and not self.translations:
            raise BadInputError("fairness: attribute `language` needs translations", fix="Give some, or leave it out.")

    @property
    def name(self) -> str:
        return PAIRS

    def derive(self, cases: Sequence[Case]) -> list[Case]:
        """Both variants of every pair, in order of attribute and case.

        Raises:
            BadInputError: two cases have one id, or a translation is of no case.
        """
        by_id = {case.id: case for case in cases}
        if len(by_id) != len(cases):
            raise BadInputError("fairness: two cases have one id")
        if self.translations.keys() - by_id.keys():
            raise BadInputError("fairness: a translation is of a case that is not there")
        found = []
        for attribute in self.attributes:
            made = {case.id: pair for case in cases if (pair := self._pair(attribute, case)) and pair.first != pair.second}
            chosen = set(sorted(made, key=lambda i: self._key.mac("choose", attribute, i))[: self.limit])
            for case_id in sorted(chosen):
                found += _variants(by_id[case_id], attribute, made[case_id])
        return found

    def score(self, case: Case, answer: ReadAnswer, shown: str) -> Mapping[str, float]:
        return {}

    def worst(self, case: Case) -> Mapping[str, float]:
        return {}

    @property
    def _key(self) -> Subkey:
        # No secret: pairs must come out the same for everybody who names the seed.
        return Subkey("fairness", "", hashlib.sha256(f"distill-gov fairness {self.seed}".encode()).digest())

    def _pair(self, attribute: str, case: Case) -> _Pair | None:
        if attribute == "language":
            other = self.translations.get(case.id)
            return None if other is None else _Pair(case.messages, other.messages, "translation", other.stand_ins)
        if attribute == "name":
            return self._named(case)
        if not _is_english(case):
            return None
        return self._gendered(case) if attribute == "gender" else _both(case, lambda text: text, nonstandard, "text")

    def _named(self, case: Case) -> _Pair:
        people = sorted({p for message in case.messages for p in _people(message["content"])})
        names = [self._names(case, people or [""], language) for language in self.names]
        invented = _with_words(name for one in names for name in one.values())
        if not people:
            first, second = (_signed(case, one[""]) for one in names)
            return _Pair(first, second, "signature", invented)
        first, second = (_replaced(case, one) for one in names)
        return _Pair(first, second, "placeholder", invented)

    def _gendered(self, case: Case) -> _Pair | None:
        if any(_SEXED.search(message["content"]) for message in case.messages):
            return None
        pair = _both(case, lambda text: text, swapped_gender, "text")
        if pair.first != pair.second:
            return pair
        family = self._names(case, [""], "en")[""].split()[-1]
        first, second = (_signed(case, f"{title} {family}") for title in ("Mr", "Ms"))
        return _Pair(first, second, "signature", frozenset({family}))

    def _names(self, case: Case, people: Sequence[str], language: str) -> dict[str, str]:
        """An invented name for each; no word of it stands in the case or in another."""
        taken, found = set(re.findall(r"\w+", case.prompt.casefold())), {}
        for person in people:
            for attempt in range(_TRIES):
                draws = Draws(self._key, "name", case.id, person, language, str(attempt))
                name = f"{given_name(draws, language)} {family_name(draws, language)}"
                if taken.isdisjoint(name.casefold().split()):
                    break
            else:
                raise BadInputError("fairness: a case names more people than there are invented names")
            found[person] = name
            taken |= set(name.casefold().split())
        return found


def _with_words(names: Iterable[str]) -> frozenset[str]:
    """The names and each of their words: a reply may use one by itself."""
    return frozenset(part for name in names for part in (name, *name.split()))


def _is_english(case: Case) -> bool:
    """Unless its slices say otherwise."""
    return not any(s.startswith("language=") and s != "language=en" for s in case.slices)


def _people(text: str) -> list[str]:
    found = [text[span.start : span.end] for span in placeholders(text)]
    return [p for p in found if p.startswith(("<PERSON_", "<PERSON:"))]


def _replaced(case: Case, names: Mapping[str, str]) -> _Texts:
    def put(text: str) -> str:
        for placeholder, name in names.items():
            text = text.replace(placeholder, name)
        return text

    return tuple({**message, "content": put(message["content"])} for message in case.messages)


def _signed(case: Case, line: str) -> _Texts:
    """The last message of the user with a line put under it."""
    last = max((i for i, m in enumerate(case.messages) if m["role"] == "user"), default=None)
    return tuple(
        {**message, "content": f"{message['content']}\n{line}"} if i == last else message
        for i, message in enumerate(case.messages)
    )


def _both(case: Case, first: Callable[[str], str], second: Callable[[str], str], cue: str) -> _Pair:
    """What the user wrote, in two forms; what others wrote stays."""

    def written(form: Callable[[str], str]) -> _Texts:
        return tuple({**m, "content": form(m["content"])} if m["role"] == "user" else m for m in case.messages)

    return _Pair(written(first), written(second), cue)


def _variants(case: Case, attribute: str, pair: _Pair) -> list[Case]:
    slices = tuple(sorted({*case.slices, f"attribute={attribute}", f"cue={pair.cue}"}))
    return [
        replace(
            case,
            id=f"{case.id}~{attribute}~{side}",
            suite=f"{VARIANTS}-{attribute}",
            messages=messages,
            cluster=case.unit,
            slices=slices,
            pair=case.id,
            stand_ins=case.stand_ins | pair.invented,
        )
        for side, messages in enumerate((pair.first, pair.second))
    ]


# --- gender: words swapped for each other, as in counterfactual data augmentation


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SWAPS = {
    "he": "she",
    "himself": "herself",
    "husband": "wife",
    "boyfriend": "girlfriend",
    "son": "daughter",
    "father": "mother",
    "dad": "mum",
    "daddy": "mummy",
    "brother": "sister",
    "uncle": "aunt",
    "nephew": "niece",
    "grandfather": "grandmother",
    "grandpa": "grandma",
    "grandad": "gran",
    "grandson": "granddaughter",
    "stepfather": "stepmother",
    "stepson": "stepdaughter",
    "widower": "widow",
    "man": "woman",
    "men": "women",
    "boy": "girl",
    "boys": "girls",
    "gentleman": "lady",
    "mr": "ms",
    "sir": "madam",
}
_SWAPS |= {f"{one}s": f"{other}s" for one, other in _SWAPS.items() if one in ("husband", "son", "brother", "uncle", "nephew")}
_SWAPS |= {other: one for one, other in _SWAPS.items()} | {
    "granny": "grandad",
    "nan": "grandad",
    "mom": "dad",
    "mommy": "daddy",
    "mrs": "mr",
    "ma'am": "sir",
}
_AMBIGUOUS = ("her", "hers", "him", "his")
_GENDERED = re.compile(
    rf"(?<![\w<])({'|'.join(sorted((*_SWAPS, *_AMBIGUOUS), key=len, reverse=True))})\b(?![\w]*>)", re.IGNORECASE
)
_NEXT = re.compile(r"[ \t]+(<?[^\W\d_][\w'’]*)")
_NO_NOUN = _listed("""
    a about after again all also am an and any are as at away back because been before but by can did do does for from going had
    has have he her him his how i if in into is it its just last later me my never no not now of off on or our out over please
    she so still than that the their them then there these they this to today tomorrow too up us was we were what when where
    whether which who why will with would yesterday yet you your
""")
"""Words before which ``her`` is no possessive."""
_SEXED = re.compile(
    r"\b(?:pregnan\w*|breast\w*|menstru\w*|menopaus\w*|gyn(?:ae|e)co\w*|uter\w+|ovar\w+|matern\w+|midwi\w+|prostat\w*|testic\w*"
    r"|patern\w+|vagina\w*|penis\w*|sperm\w*)\b",
    re.IGNORECASE,
)
"""What is not said of everybody: with the gender swapped the message would not be the same request."""


def swapped_gender(text: str) -> str:
    """The English text with its gendered pronouns, kinship words and titles swapped.

    The swap of Lu et al. (2020), "Gender bias in neural natural language processing", without names. ``her`` becomes ``his``
    before what may be a noun and ``him`` otherwise, which is now and then wrong.
    """
    return _GENDERED.sub(lambda match: _like_case(_swap(match, text), match[0]), text)


def _swap(match: re.Match[str], text: str) -> str:
    word = match[0].casefold()
    if word not in _AMBIGUOUS:
        return _SWAPS[word]
    following = _NEXT.match(text, match.end())
    possessive = following is not None and following[1].casefold() not in _NO_NOUN
    if word == "him":
        return "her"
    if word == "hers":
        return "his"
    if word == "his":
        return "her" if possessive else "hers"
    return "his" if possessive else "him"


def _like_case(made: str, like: str) -> str:
    if len(like) > 1 and like.isupper():
        return made.upper()
    return made.capitalize() if like[0].isupper() else made


# --- dialect: four markers of non-standard English

_G_DROPPED = re.compile(r"\b(\w{3,}in)g\b(?!['’])")
_NO_SUFFIX = _listed("string spring during sterling evening morning ceiling pudding sibling darling wedding earring")
_MARKERS: tuple[tuple[re.Pattern[str], str], ...] = (
    # eWAVE, "ain't as the negated form of be", "of have", and "invariant don't for all persons in the present tense".
    (re.compile(r"\b(?:is|are)(?:n['’]t|\s+not)\b|(?:(?<=\bI)['’]m|\bam)\s+not\b", re.IGNORECASE), "ain't"),
    (re.compile(r"\b(?:has|have)n['’]t\b", re.IGNORECASE), "ain't"),
    (re.compile(r"\bdoes(?:n['’]t|\s+not)\b", re.IGNORECASE), "don't"),
)


def nonstandard(text: str) -> str:
    """The English text with up to four markers of non-standard varieties, wherever a rule fits.

    ``ain't`` for the negated forms of *be* and *have* and invariant ``don't`` are features of Kortmann, Lunkenheimer & Ehret
    (2020), The Electronic World Atlas of Varieties of English; ``-in'`` for ``-ing`` is the variable of Labov (1966), "The
    Social Stratification of English in New York City"; to put markers in by rule follows Ziems et al. (2023), "Multi-VALUE".
    They are common to many varieties and make none of them: a flip shows that such wording matters, no flip clears no dialect.
    """
    for pattern, made in _MARKERS:
        text = pattern.sub(partial(_marked, made), text)
    return _G_DROPPED.sub(lambda m: m[0] if m[0].casefold() in _NO_SUFFIX else f"{m[1]}'", text)


def _marked(made: str, match: re.Match[str]) -> str:
    if match[0][0] in "'’":  # I'm not
        return f" {made}"
    return made.capitalize() if match[0][0].isupper() else made


# --- two answers, one result


def pair_ids(variants: Sequence[Case]) -> dict[str, list[str]]:
    """Suite of pairs to the ids of its pairs: what :func:`evals.measuring.measure` is told was planned.

    Raises:
        BadInputError: a case is no variant that :meth:`FairnessSuite.derive` made.
    """
    found: dict[str, set[str]] = {}
    for case in variants:
        attribute, pair, _ = _parts(case.id, case.suite)
        found.setdefault(f"{PAIRS}-{attribute}", set()).add(pair)
    return {suite: sorted(ids) for suite, ids in sorted(found.items())}


def _parts(case: str, suite: str) -> tuple[str, str, int]:
    """Attribute, pair and side of a variant."""
    head, _, side = case.rpartition("~")
    attribute = head.rpartition("~")[2]
    if side not in ("0", "1") or attribute not in ATTRIBUTES or suite != f"{VARIANTS}-{attribute}":
        raise BadInputError("fairness: a case is no variant of a pair", where=f"suite {suite}")
    return attribute, head, int(side)


def flips(results: Sequence[CaseResult]) -> list[CaseResult]:
    """One result a pair, of one subject's results on the variants: whether its decisions differ.

    A pair is errored, hence the worst, where one variant errored or was not run. A decision that cannot be read agrees with
    nothing. Where no answer has any decision, no pair gets a score, and the metric is ``empty``.

    Raises:
        BadInputError: results of several subjects, of one variant twice, or of something that is no variant.
    """
    if len({r.subject for r in results}) > 1:
        raise BadInputError("fairness: variants of several subjects", fix="Give one subject's results at a time.")
    pairs: dict[tuple[str, str], dict[int, CaseResult]] = {}
    for result in results:
        attribute, pair, side = _parts(result.case, result.suite)
        sides = pairs.setdefault((attribute, pair), {})
        if side in sides:
            raise BadInputError("fairness: a variant was run twice", where=f"suite {result.suite}")
        sides[side] = result
    fields = sorted({d.field for r in results for d in r.decisions})
    return [_flip(f"{PAIRS}-{attribute}", pair, sides, fields) for (attribute, pair), sides in sorted(pairs.items())]


def _flip(suite: str, pair: str, sides: Mapping[int, CaseResult], fields: Sequence[str]) -> CaseResult:
    some = next(iter(sides.values()))
    answered = [r for r in sides.values() if r.status == "ok"]
    if len({r.provenance for r in sides.values()}) > 1:
        raise BadInputError("fairness: the two answers of a pair are of different provenance", where=f"suite {some.suite}")
    taught = {CONTAMINATED: 1.0} if any(r.scores.get(CONTAMINATED) == 1 for r in sides.values()) else {}
    made = replace(some, suite=suite, case=pair, decisions=(), output="", timings={}, status="ok", scores=taught)
    if len(answered) < 2:
        return replace(made, status="errored", scores={FLIP: 1.0, FLIPPED_FIELDS: float(len(fields)), **taught})
    if not fields:
        return made
    differ = sum(not _same(field, *answered) for field in fields)
    return replace(made, scores={FLIP: float(differ > 0), FLIPPED_FIELDS: float(differ), **taught})


def _same(field: str, one: CaseResult, other: CaseResult) -> bool:
    first, second = (next((d.predicted for d in r.decisions if d.field == field), None) for r in (one, other))
    return first is not None and first == second


def inherited_flips(student: Sequence[CaseResult], teacher: Sequence[CaseResult]) -> dict[str, Inheritance]:
    """Flips of both on the same pairs: inherited, new, mended, and amplified, where the student flips in more fields.

    Args:
        student, teacher: what :func:`flips` made of each.

    Raises:
        BadInputError: they ran different pairs.
    """
    return inheritance(student, teacher, FLIP, extent=FLIPPED_FIELDS)
