"""``mask``: a value with its letters and digits covered."""

from __future__ import annotations

from redaction.policy import MaskPolicy

__all__ = ["masked"]


def masked(value: str, policy: MaskPolicy) -> str:
    """The value with its letters and digits covered, but for those that the policy shows.

    Where the policy would show more than half of them, it shows none: four digits of a PIN are the PIN.
    """
    places = [i for i, c in enumerate(value) if c.isalnum()]
    first, last = policy.keep_first, policy.keep_last
    if 2 * (first + last) > len(places):
        first = last = 0
    shown = {*places[:first], *places[len(places) - last :]}
    if policy.length == "kept":
        # Marks and spaces stay, anything else is covered: an accent standing alone would tell the letter under it.
        return "".join(c if i in shown or c.isspace() or (c.isascii() and not c.isalnum()) else policy.character
                       for i, c in enumerate(value)).translate(_BRACKETS)  # fmt: skip
    head = "".join(value[i] for i in places[:first])
    tail = "".join(value[i] for i in places[len(places) - last :])
    return head + policy.character * policy.length + tail


_BRACKETS = str.maketrans("<>", "()")
"""A masked value must not begin or end what could be read as a placeholder."""
