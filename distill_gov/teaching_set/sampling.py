"""Sampling by slice: which of the traces that could be taught are taught, so that the student does not over-focus.

What stays depends on the ids and the project's key alone, never on the order of a file or on who else is there: within a slice,
traces stand in the order of the keyed hash of their id, and the first ones stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from distill_gov.records.keys import Subkey
from distill_gov.settings import SamplingSettings
from distill_gov.traces import Trace

__all__ = ["NO_SLICE", "quotas", "sampled_out", "slice_of"]

NO_SLICE = "(none)"
"""The slice of traces that name none."""


def slice_of(trace: Trace, by: str) -> str:
    """A trace's slice: its language, or its tag of that name."""
    value = trace.language if by == "language" else trace.tags.get(by)
    return NO_SLICE if value in (None, "") else str(value)


def quotas(sizes: Mapping[str, int], settings: SamplingSettings) -> dict[str, int]:
    """How many traces of each slice stay.

    No slice gives more than it has or than ``cap``. If that is more than ``total``, the total is divided by weight (a slice's
    own size, or the same for all); what a small or capped slice cannot give goes to the others by the same weights, and what
    rounding leaves to those with the largest remainders (Hamilton's method), ties by name.
    """
    limits = {name: size if settings.cap is None else min(size, settings.cap) for name, size in sizes.items()}
    if settings.total is None or sum(limits.values()) <= settings.total:
        return limits
    weights = dict(sizes) if settings.weights == "traffic" else dict.fromkeys(sizes, 1)
    given: dict[str, int] = {}
    while True:
        open_, left = [name for name in sorted(limits) if name not in given], settings.total - sum(given.values())
        whole = sum(weights[name] for name in open_)
        # In integers, so that no rounding of floats decides: a share is left * weight / whole.
        filled = [name for name in open_ if left * weights[name] >= limits[name] * whole]
        if not filled:
            break
        given |= {name: limits[name] for name in filled}
    given |= {name: left * weights[name] // whole for name in open_}
    rest = settings.total - sum(given.values())
    by_remainder = sorted(open_, key=lambda name: (-(left * weights[name] % whole), name))
    return given | {name: given[name] + 1 for name in by_remainder[:rest]}


def sampled_out(traces: Sequence[Trace], settings: SamplingSettings, key: Subkey) -> dict[str, str]:
    """The traces that do not stay, by id, each with the reason code: ``cap``, or the weights by which the total was divided."""
    by_slice: dict[str, list[str]] = {}
    for trace in traces:
        by_slice.setdefault(slice_of(trace, settings.by), []).append(trace.id)
    stay = quotas(Counter({name: len(ids) for name, ids in by_slice.items()}), settings)
    out: dict[str, str] = {}
    for name, ids in by_slice.items():
        for place, item in enumerate(sorted(ids, key=lambda own: (key.mac(own), own))):
            if settings.cap is not None and place >= settings.cap:
                out[item] = "cap"
            elif place >= stay[name]:
                out[item] = settings.weights
    return out
