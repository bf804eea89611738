"""Presidio's phone recogniser, with each region tried only where it can have a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["PhoneFinder"]

_DIGITS = re.compile(r"\d+")
_PLUS = "+＋"
_KINDS = (
    "fixed_line",
    "mobile",
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)
"""Kinds of number that phonenumbers knows; a valid number is one of them."""
_MAX_CANDIDATES = 60_000
"""phonenumbers gives up on a text after 65,535 tries; texts near that are left to it wholly."""
_VALID = 1


@dataclass(frozen=True, slots=True)
class _Region:
    code: str
    number: re.Pattern[str] | None
    """Found in the digits of every stretch with a valid national number; None where that cannot be told."""
    abroad: re.Pattern[str]
    """What is dialled before a foreign country's code."""


class PhoneFinder:
    """Spans that `presidio_analyzer.PhoneRecognizer.analyze` finds.

    It runs phonenumbers' matcher once for each region. The matcher looks at stretches of digits and punctuation, which are
    the same for every region until one of them is a number. So the stretches are cut once, and a region's matcher runs only
    if a stretch can hold one of its numbers: a valid number's national part is a piece of the stretch's digits that matches
    a pattern of a region under the country's calling code. A number after a plus sign is the same in every region, so one of
    the other regions finds it for all.

    Args:
        recognizer: a PhoneRecognizer.
    """

    def __init__(self, recognizer: Any) -> None:
        import phonenumbers
        from phonenumbers import phonenumbermatcher, phonenumberutil

        self._leniency: int = recognizer.leniency
        self._matcher = phonenumbers.PhoneNumberMatcher
        self._pattern: re.Pattern[str] = phonenumbermatcher._PATTERN
        self._second: re.Pattern[str] = phonenumberutil._SECOND_NUMBER_START_PATTERN
        self._regions = [_region(code) for code in recognizer.supported_regions]

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Spans of the numbers, region by region; some come more than once."""
        for region in self._worth_trying(text):
            for match in self._matcher(text, region.code, leniency=self._leniency):
                yield match.start, match.end

    def _worth_trying(self, text: str) -> list[_Region]:
        candidates = self._candidates(text)
        if not candidates:
            return []
        unclear = self._leniency < _VALID or len(candidates) > _MAX_CANDIDATES
        # An extension's letters may be read as digits.
        if unclear or any(c.isalpha() for candidate in candidates for c in candidate):
            return self._regions
        stretches = [_DIGITS.findall(candidate) for candidate in candidates]
        national = [region for region in self._regions if any(_may_have(region, groups) for groups in stretches)]
        if any(plus in candidate for candidate in candidates for plus in _PLUS):
            national += [region for region in self._regions if region not in national][:1]
        return national

    def _candidates(self, text: str) -> list[str]:
        """The stretches that the matcher looks at as long as none of them is a number."""
        found: list[str] = []
        match = self._pattern.search(text)
        while match is not None and len(found) <= _MAX_CANDIDATES:
            candidate = match[0]
            second = self._second.search(candidate)
            if second:
                candidate = candidate[: second.start()]
            found.append(candidate)
            match = self._pattern.search(text, match.start() + len(candidate))
        return found


def _may_have(region: _Region, groups: list[str]) -> bool:
    """Whether a stretch, given as its groups of digits, may hold a number of a region or one dialled from there."""
    if region.number is None:
        return True
    digits = "".join(groups)
    if region.number.search(digits):
        return True
    # A prefix for calls abroad stands where a group starts.
    position = 0
    for group in groups:
        if region.abroad.match(digits, position):
            return True
        position += len(group)
    return False


def _region(code: str) -> _Region:
    import phonenumbers
    from phonenumbers.phonemetadata import PhoneMetadata

    calling_code = phonenumbers.country_code_for_region(code)
    under = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(calling_code, ())
    metadata_of: Any = PhoneMetadata.metadata_for_region_or_calling_code
    found = {name: metadata_of(calling_code, name) for name in {code, *under}}
    # Numbers are rewritten by the rules of the region itself or of the main one under its calling code. A rule may put digits
    # into a number that the text does not have.
    rules = [found[name].national_prefix_transform_rule or "" for name in {code, *under[:1]} if found[name]]
    if None in found.values() or not all(re.fullmatch(r"(?:\\\d)?", rule) for rule in rules):
        return _Region(code, None, re.compile(""))
    kinds = (getattr(metadata, kind) for metadata in found.values() for kind in _KINDS)
    patterns = sorted({kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern})
    abroad = found[code].international_prefix or "(?!)"
    return _Region(code, re.compile("|".join(f"(?:{p})" for p in patterns)), re.compile(abroad))
