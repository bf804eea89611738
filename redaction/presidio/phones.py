"""Presidio's phone recogniser, with each region tried only where it can have a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
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
_FEWEST = 3
"""No region has shorter numbers that are valid."""
_MAX_CANDIDATES = 60_000
"""phonenumbers gives up on a text after 65,535 tries; texts near that are left to it wholly."""
_VALID = 1


FEWEST_ABROAD = 5
"""Digits that a valid number has with its country's calling code, at least; a test asks phonenumbers for all of them."""
_REWRITTEN_WITHIN = frozenset((r"(?:0|90)(?:(1[245]|2[1-35]|31|4[13]|[56]5|99)(\d{10,11}))?",))
"""Patterns of national prefixes whose rule leaves a piece of the number, without a gap (Brazil's)."""


@dataclass(frozen=True, slots=True)
class _Region:
    code: str
    number: re.Pattern[str] | None = None
    """Matches the digits from the start of a group to the end of one, if they hold a national number; None: not known."""
    fewest: int = 0
    most: int = 0
    """Digits that the pattern can match."""
    abroad: re.Pattern[str] = re.compile("(?!)")
    """What is dialled before a foreign country's code."""


class PhoneFinder:
    """Spans that `presidio_analyzer.PhoneRecognizer.analyze` finds.

    It runs phonenumbers' matcher once for each region. The matcher looks at stretches of digits and punctuation, which are
    the same for every region until one of them is a number. So the stretches are cut once, and a region's matcher runs only
    if a stretch can hold one of its numbers. It reads a stretch as a whole or from one of its groups of digits on, takes off
    prefixes in front and extensions behind, and what is left is valid if it matches the pattern of a region under
    the country's calling code. A number after a plus sign is the same in every region, so one region finds it for all.

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
        # Three letters of an extension may be read as digits.
        if unclear or any(sum(c.isalpha() for c in candidate) > 2 for candidate in candidates):
            return self._regions
        stretches = [_Stretch.of(candidate) for candidate in candidates]
        national = [region for region in self._regions if any(stretch.may_have(region) for stretch in stretches)]
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


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The digits of a stretch, where its groups start, and what may be read of it as one number."""

    digits: str
    starts: list[int]
    numbers: set[str]

    @classmethod
    def of(cls, candidate: str) -> _Stretch:
        groups = _DIGITS.findall(candidate)
        ends = list(accumulate(map(len, groups)))
        starts = [0, *ends[:-1]]
        digits = "".join(groups)
        return cls(digits, starts, {digits[start:end] for start in starts for end in ends if end - start >= _FEWEST})

    def may_have(self, region: _Region) -> bool:
        """Whether a number of the region, or one dialled from there, may be in it."""
        if region.number is None:
            return True
        for number in self.numbers:
            if region.fewest <= len(number) <= region.most and region.number.fullmatch(number):
                return True
        for start in self.starts:
            prefix = region.abroad.match(self.digits, start)
            if prefix and len(self.digits) - prefix.end() >= FEWEST_ABROAD:
                return True
        return False


def _region(code: str) -> _Region:
    import phonenumbers
    from phonenumbers.phonemetadata import PhoneMetadata

    calling_code = phonenumbers.country_code_for_region(code)
    under = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(calling_code, ())
    metadata_of: Any = PhoneMetadata.metadata_for_region_or_calling_code
    found = {name: metadata_of(calling_code, name) for name in {code, *under}}
    # Prefixes are those of the region itself or of the main one under its calling code.
    homes = [found[name] for name in {code, *under[:1]}]
    if None in found.values() or not all(_leaves_a_piece(home) for home in homes):
        return _Region(code)
    kinds = [kind for metadata in found.values() for name in _KINDS if (kind := getattr(metadata, name))]
    patterns = sorted({kind.national_number_pattern for kind in kinds if kind.national_number_pattern})
    lengths = [length for metadata in found.values() for length in metadata.general_desc.possible_length]
    # The calling code may stand in front without a plus sign; phonenumbers takes a national prefix off before and after it.
    prefix = len(str(calling_code)) + 2 * max(_longest(home.national_prefix_for_parsing) for home in homes)
    return _Region(
        code,
        re.compile(rf"\d{{0,{prefix}}}(?:{'|'.join(patterns)})"),
        min(lengths),
        max(lengths) + prefix,
        re.compile(found[code].international_prefix or "(?!)"),
    )


def _leaves_a_piece(metadata: Any) -> bool:
    """Whether what a region makes of a number's digits is always a piece of them: a rule may put others in front."""
    return not metadata.national_prefix_transform_rule or metadata.national_prefix_for_parsing in _REWRITTEN_WITHIN


def _longest(pattern: str | None) -> int:
    """The most characters that a pattern matches."""
    parser: Any = import_module("re._parser")
    return int(parser.parse(pattern or "").getwidth()[1])
