"""Order, account and ticket numbers: the policy lists their patterns, since every company makes its own."""

from __future__ import annotations

import regex  # type: ignore[import-untyped]

from redaction.recognizers.rule import PatternRule, Rule

__all__ = ["order_rules"]


def order_rules(patterns: tuple[str, ...]) -> tuple[Rule, ...]:
    """One rule per pattern of the policy. A number that goes on beyond the pattern is another number."""
    return tuple(
        PatternRule(
            f"order_number/{n}", "1", "ORDER_NUMBER", regex.compile(rf"(?<![\w-])(?:{p})(?![\w-])", regex.IGNORECASE), 0.9
        )
        for n, p in enumerate(patterns, start=1)
    )
