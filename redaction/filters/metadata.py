"""Conditions on what is known about a trace beside its text: papers, tags, and the teacher's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date

from redaction.filters.hits import Tag
from redaction.filters.policy import MetadataRule

__all__ = ["metadata"]


def metadata(rules: Sequence[MetadataRule]) -> Callable[[Mapping[str, str]], Iterator[Tag]]:
    """What says which conditions are not met, by their names. An absent or blank value meets none that is not optional."""

    def tags(known: Mapping[str, str]) -> Iterator[Tag]:
        for rule in rules:
            if rule.on and not _met(rule, known.get(rule.field, "").strip()):
                yield Tag(rule.name, action="flag" if rule.action == "flag" else "drop")

    return tags


def _met(rule: MetadataRule, value: str) -> bool:
    if not value:
        return rule.optional
    if rule.one_of and value not in rule.one_of:
        return False
    if value in rule.none_of:
        return False
    return rule.not_before is None or _not_before(value, rule.not_before)


def _not_before(value: str, day: date) -> bool:
    try:
        return date.fromisoformat(value) >= day
    except ValueError:
        return False
