"""Filters of redacted prompts, before the teacher is paid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from distill_gov.records.errors import DuplicateIdError
from redaction.filters import hazards, injection, language
from redaction.filters.hits import Filter, Tag
from redaction.filters.invisible import invisible
from redaction.filters.metadata import metadata
from redaction.filters.ngrams import folded, ngrams
from redaction.filters.plugins import hazard_scorer
from redaction.filters.policy import HazardRule, NearDuplicatePolicy, NearHoldoutRule, Rule
from redaction.filters.similarity import NeighbourIndex, near_duplicates
from redaction.filters.wording import length
from redaction.policy import RedactionPolicy

__all__ = ["PROMPT_HAZARDS", "PromptItem", "hazard_filters", "prompt_filters"]

PROMPT_HAZARDS = "prompt/hazard"
"""Rule of the lexicon; a scorer's has its name behind it."""


@dataclass(frozen=True, slots=True)
class PromptItem:
    """A redacted prompt."""

    id: str
    text: str
    beside: str = ""
    """What neither the user nor a model wrote: documents and tools' results. An injection may stand there as well."""
    roles: tuple[str, ...] = ("user",)
    """Who speaks, turn by turn."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What is known beside the text, by the names that :class:`MetadataRule` reads."""


def prompt_filters(
    policy: RedactionPolicy,
    prompts: Iterable[PromptItem],
    holdout: Iterable[str],
    *,
    near: NearDuplicatePolicy | None = None,
    raw_shared: Mapping[str, int] | None = None,
) -> tuple[Filter[PromptItem], ...]:
    """The prompt filters of a policy, in the order in which they decide.

    Duplicates are a matter of the whole corpus: they are worked out here, over all prompts sorted by id, and the lowest
    id stays. So the result depends neither on order nor on which other filter drops what.

    Args:
        prompts: all redacted prompts of the run; ids are unique.
        holdout: the redacted prompts of the holdout.
        near: what counts as a near-duplicate; None lets them stay.
        raw_shared: how many runs of words a prompt shared with the holdout before redaction, by id.

    Raises:
        DuplicateIdError: two prompts carry one id.
        MissingExtraError, BadInputError: a filter cannot be made.
    """
    wanted = policy.filters.prompts
    ordered = sorted(prompts, key=lambda item: item.id)
    for a, b in pairwise(ordered):
        if a.id == b.id:
            raise DuplicateIdError("two prompts carry one id", where=a.id)
    filters = _Filters()
    filters.add("prompt/empty", "1", wanted.empty, lambda i: () if folded(i.text) else (Tag("empty"),))
    filters.add("prompt/role", "1", wanted.role, _roles)
    if wanted.metadata:
        papers = metadata(wanted.metadata)
        filters.add("prompt/metadata", "1", Rule(), lambda i: papers(i.metadata))
    filters.text("prompt/length", "1", wanted.length, length)
    filters.text("prompt/language", language.VERSION, wanted.language, language.language)
    injected = injection.injection(wanted.injection_phrases)
    filters.add("prompt/injection", injection.VERSION, wanted.injection, lambda i: _everywhere(injected, i))
    filters.add("prompt/invisible", "1", wanted.invisible, lambda i: _everywhere(invisible, i))
    filters.found += hazard_filters(PROMPT_HAZARDS, wanted.hazards, lambda i: i.text)
    if wanted.near_holdout.on:
        filters.add(
            "prompt/near_holdout", "2", wanted.near_holdout, _near_holdout(list(holdout), wanted.near_holdout, raw_shared or {})
        )
    if wanted.exact_duplicates.on:
        copies = _exact_duplicates(ordered)
        filters.add(
            "prompt/exact_duplicate",
            "1",
            wanted.exact_duplicates,
            lambda i: (Tag("exact_duplicate"),) if i.id in copies else (),
        )
    if near is not None:
        alike = near_duplicates(((item.id, item.text) for item in ordered), near)
        filters.add(
            "prompt/near_duplicate", "1", Rule(),
            lambda i: (Tag("near_duplicate", round(alike[i.id], 4)),) if i.id in alike else (),
        )  # fmt: skip
    return tuple(filters.found)


class _Filters:
    """Those that are on, in order."""

    def __init__(self) -> None:
        self.found: list[Filter[PromptItem]] = []

    def add(self, rule: str, version: str, wanted: Rule, tags: Callable[[PromptItem], Iterable[Tag]]) -> None:
        if wanted.action != "off":
            self.found.append(Filter(rule, version, tags, wanted.action))

    def text(self, rule: str, version: str, wanted: Any, make: Callable[[Any], Callable[[str], Iterable[Tag]]]) -> None:
        """A filter of the text alone, which is made only where it is on."""
        if wanted.on:
            tags = make(wanted)
            self.add(rule, version, wanted, lambda item: tags(item.text))


def hazard_filters(rule: str, wanted: HazardRule, text: Callable[[Any], str]) -> list[Filter[Any]]:
    """The lexicon, which flags, and the scorer where one is named, under the policy's action.

    Raises:
        BadInputError: the scorer is not installed, does not load, or is none.
    """
    if wanted.action == "off":
        return []
    words = hazards.lexicon(wanted)
    found: list[Filter[Any]] = [Filter(rule, hazards.LEXICON_VERSION, lambda item: words(text(item)), "flag")]
    if wanted.scorer:
        scorer = hazard_scorer(wanted.scorer)
        scores = hazards.scored(wanted, scorer)
        found.append(Filter(f"{rule}/{wanted.scorer}", scorer.version, lambda item: scores(text(item)), wanted.action))
    return found


def _everywhere(tags: Callable[[str], Iterable[Tag]], item: PromptItem) -> list[Tag]:
    return [*tags(item.text), *(tags(item.beside) if item.beside else ())]


def _roles(item: PromptItem) -> Iterator[Tag]:
    if "user" not in item.roles:
        yield Tag("no_user_turn")
    elif item.roles[-1] not in ("user", "tool"):
        yield Tag("last_turn_not_users")


def _exact_duplicates(prompts: Sequence[PromptItem]) -> frozenset[str]:
    seen: set[str] = set()
    found = set()
    for item in prompts:
        plain = folded(item.text) or item.text
        if plain in seen:
            found.add(item.id)
        seen.add(plain)
    return frozenset(found)


def _near_holdout(
    holdout: Sequence[str], rule: NearHoldoutRule, raw_shared: Mapping[str, int]
) -> Callable[[PromptItem], Iterator[Tag]]:
    runs: set[str] = set().union(*(ngrams(text, rule.ngram) for text in holdout))
    index = NeighbourIndex(rule.threshold, rule.shingle)
    exact = {plain for text in holdout if (plain := folded(text))}
    for number, plain in enumerate(sorted(exact)):
        index.add(str(number), index.signed(plain))

    def tags(item: PromptItem) -> Iterator[Tag]:
        plain = folded(item.text)
        if plain in exact:
            yield Tag("same_as_holdout")
        if shared := len(runs & ngrams(item.text, rule.ngram)):
            yield Tag("shares_ngram", shared)
        if plain and (near := index.nearest(index.signed(item.text))):
            yield Tag("near_duplicate", round(near, 4))
        if item.id in raw_shared:
            yield Tag("shares_raw_ngram", raw_shared[item.id])

    return tags
